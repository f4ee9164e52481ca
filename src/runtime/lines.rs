//! The connections of one shard as the runtime sees them: whose each is, and how much of a message has come.

use super::layers::Layers;
use crate::io::streams::StreamSlot;
use portolan_shards::io::Listener;
use portolan_shards::limits::{MAX_STREAM_MESSAGE, STREAM_STALL};
use portolan_shards::types::{Flow, Instant, Proto, StreamId, Transport};
use portolan_shards::wire::sip::{Frame, Framer};
use portolan_shards::wire::tpkt;
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;

macro_rules! ends {
    ($($(#[$doc:meta])* $name:ident => $label:literal,)+) => {
        /// How a connection ended (`portolan_streams_closed_total{end}`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum StreamEnd { $($(#[$doc])* $name,)+ }

        impl StreamEnd {
            /// All of them, in counter order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];
            /// The metric label.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)+ }
            }
        }
    };
}

ends! {
    /// We had no more use for it.
    Ours => "ours",
    /// Its peer closed it.
    Peer => "peer",
    /// It was reset, or its peer is out of reach.
    Error => "error",
    /// It was dialled and not answered.
    Unreached => "unreached",
    /// A message, a handshake or a dialling took too long.
    Stall => "stall",
    /// A handshake of TLS or WebSocket failed.
    Handshake => "handshake",
    /// What came was not SIP, or too large, or broke the rules of a layer below.
    Malformed => "malformed",
    /// Its peer does not read what we write.
    Overflow => "overflow",
}

/// What became of the connections of one shard.
#[derive(Clone, Copy, Debug, Default)]
pub struct StreamFigures {
    /// Open now, in the order of [`Transport::ALL`].
    pub open: [u64; Transport::ALL.len()],
    /// Accepted so far.
    pub accepted: u64,
    /// Not accepted: refused by a limit or an access rule, or no file was to be had.
    pub refused: u64,
    /// Dialled so far.
    pub dialled: u64,
    /// Ended, in the order of [`StreamEnd::ALL`].
    pub closed: [u64; StreamEnd::ALL.len()],
}

/// One connection.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) slot: StreamSlot,
    pub(super) flow: Flow,
    /// What is spoken on it.
    pub(super) proto: Proto,
    /// TLS and WebSocket; `None`: messages as they are.
    pub(super) layers: Option<Box<Layers>>,
    pub(super) intake: Intake,
    /// It is being dialled.
    pub(super) dialling: bool,
    /// When it is given up unless something gets done before.
    due: Option<Instant>,
}

impl Line {
    pub(super) fn new(
        slot: StreamSlot,
        flow: Flow,
        proto: Proto,
        layers: Option<Layers>,
        dialling: bool,
    ) -> Self {
        let (layers, intake) = (layers.map(Box::new), Intake::new(proto));
        Self { slot, flow, proto, layers, intake, dialling, due: None }
    }
}

/// The beginning of a message whose rest has not come yet.
#[derive(Debug)]
pub(super) struct Intake {
    framing: Framing,
    /// Empty, and without memory, between messages.
    pub(super) held: Vec<u8>,
    /// Answers to our pings that are still to come.
    pub(super) pongs: u8,
}

/// How a protocol marks where its messages end.
#[derive(Debug)]
enum Framing {
    /// By blank lines and lengths (RFC 3261 section 18.3).
    Sip(Framer),
    /// By a header of four octets, which the message keeps (RFC 1006 section 6, H.248.1 Annex D.2).
    Tpkt,
}

impl Intake {
    fn new(proto: Proto) -> Self {
        let framing = match proto {
            Proto::Sip | Proto::Mgcp => Framing::Sip(Framer::default()),
            Proto::H248 => Framing::Tpkt,
        };
        Self { framing, held: Vec::new(), pongs: 0 }
    }

    /// What the stream begins with, where the answer to a ping of ours is known for what it is.
    pub(super) fn next(&mut self, stream: &[u8]) -> Frame {
        match &mut self.framing {
            Framing::Sip(_) if self.pongs > 0 && stream.starts_with(b"\r\n") => {
                self.pongs -= 1;
                Frame::Pong(2)
            }
            Framing::Sip(framer) => framer.next(stream, MAX_STREAM_MESSAGE),
            Framing::Tpkt => match tpkt::frame(stream, MAX_STREAM_MESSAGE) {
                Ok(payload) => payload.map_or(Frame::Partial, |payload| Frame::Message(payload.end)),
                Err(fault) => Frame::Broken(fault),
            },
        }
    }
}

#[derive(Debug)]
enum Place {
    Listener(Listener),
    Line(Box<Line>),
}

/// The listeners and connections of one shard.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// By slot index.
    places: Vec<Option<Place>>,
    serials: HashMap<u32, StreamSlot>,
    listeners: HashMap<(Transport, SocketAddr), StreamSlot>,
    /// What must get done by when.
    stalls: BTreeSet<(Instant, StreamSlot)>,
    pub(super) figures: StreamFigures,
}

impl Lines {
    /// Is this address listened to?
    pub(super) fn listens(&self, listener: &Listener) -> bool {
        self.listeners.contains_key(&(listener.transport, listener.address))
    }

    pub(super) fn put_listener(&mut self, slot: StreamSlot, listener: Listener) {
        self.listeners.insert((listener.transport, listener.address), slot);
        self.put(slot, Place::Listener(listener));
    }

    pub(super) fn take_listener(&mut self, listener: &Listener) -> Option<StreamSlot> {
        let slot = self.listeners.remove(&(listener.transport, listener.address))?;
        self.places[slot.index()] = None;
        Some(slot)
    }

    /// What a listener's slot listens for.
    pub(super) fn listener(&self, slot: StreamSlot) -> Option<Listener> {
        match self.places.get(slot.index())?.as_ref()? {
            Place::Listener(listener) => Some(*listener),
            Place::Line(_) => None,
        }
    }

    /// Keeps a connection.
    pub(super) fn put_line(&mut self, line: Line) {
        if let Some(stream) = line.flow.stream {
            self.serials.insert(stream.serial, line.slot);
        }
        self.figures.open[line.flow.transport as usize] += 1;
        self.put(line.slot, Place::Line(Box::new(line)));
    }

    fn put(&mut self, slot: StreamSlot, place: Place) {
        if self.places.len() <= slot.index() {
            self.places.resize_with(slot.index() + 1, || None);
        }
        self.places[slot.index()] = Some(place);
    }

    pub(super) fn line(&mut self, slot: StreamSlot) -> Option<&mut Line> {
        match self.places.get_mut(slot.index())?.as_mut()? {
            Place::Line(line) if line.slot == slot => Some(line),
            _ => None,
        }
    }

    /// The connection of this number.
    pub(super) fn by_id(&self, id: StreamId) -> Option<StreamSlot> {
        self.serials.get(&id.serial).copied()
    }

    /// Forgets a connection, and counts how it ended.
    pub(super) fn take_line(&mut self, slot: StreamSlot, end: StreamEnd) -> Option<Box<Line>> {
        self.expect(slot, None);
        let place = self.places.get_mut(slot.index())?;
        if !matches!(place, Some(Place::Line(line)) if line.slot == slot) {
            return None;
        }
        let Some(Place::Line(line)) = place.take() else { return None };
        if let Some(stream) = line.flow.stream {
            self.serials.remove(&stream.serial);
        }
        self.figures.open[line.flow.transport as usize] -= 1;
        self.figures.closed[end as usize] += 1;
        Some(line)
    }

    /// From `now` on the connection has [`STREAM_STALL`] to get something done; `None`: it has all the time.
    pub(super) fn expect(&mut self, slot: StreamSlot, now: Option<Instant>) {
        let due = now.map(|now| now + STREAM_STALL);
        let Some(line) = self.line(slot) else { return };
        let before = std::mem::replace(&mut line.due, due);
        if let Some(before) = before {
            self.stalls.remove(&(before, slot));
        }
        if let Some(due) = due {
            self.stalls.insert((due, slot));
        }
    }

    /// Has it a time by which something must be done?
    pub(super) fn is_expected(&mut self, slot: StreamSlot) -> bool {
        self.line(slot).is_some_and(|line| line.due.is_some())
    }

    /// When the next connection is given up.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.stalls.first().map(|(due, _)| *due)
    }

    /// A connection whose time is over.
    pub(super) fn overdue(&self, now: Instant) -> Option<StreamSlot> {
        self.stalls.first().filter(|(due, _)| *due <= now).map(|(_, slot)| *slot)
    }
}
