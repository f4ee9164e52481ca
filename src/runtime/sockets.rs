//! Which socket belongs to what: arrays on the media path, a map for the few signaling sockets.

use crate::io::datagrams::{Datagrams, Dscp, Kind, Slot};
use portolan_shards::io::Listener;
use portolan_shards::realm::{Mapping, Marking};
use portolan_shards::types::{MediaPort, RealmId, ShardId};
use slab::Slab;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Media of this port.
    Media(MediaPort),
    /// Signaling, of the listener of this number. It is not here itself because every packet of media looks up its place.
    Signaling(u32),
}

/// The open sockets of one shard.
#[derive(Debug)]
pub(super) struct Sockets {
    shard: ShardId,
    /// By realm number.
    realms: Vec<Option<Ports>>,
    /// By slot index.
    places: Vec<Option<Place>>,
    /// By number.
    listeners: Slab<Listener>,
    listening: HashMap<SocketAddr, (Slot, u32)>,
}

/// The shard's slice of a realm's media ports.
#[derive(Debug)]
struct Ports {
    address: IpAddr,
    first: u16,
    slots: Vec<Option<Slot>>,
    /// Of sockets that are opened from now on.
    marking: Marking,
}

impl Sockets {
    /// Nothing is open.
    pub(super) fn new(shard: ShardId) -> Self {
        Self {
            shard,
            realms: Vec::new(),
            places: Vec::new(),
            listeners: Slab::new(),
            listening: HashMap::new(),
        }
    }

    /// Makes room for the realms of a new generation. Those that went stay: sessions may still use them.
    pub(super) fn learn(&mut self, mapping: &Mapping) {
        for realm in &mapping.realms {
            let number = usize::from(realm.id.0);
            if self.realms.len() <= number {
                self.realms.resize_with(number + 1, || None);
            }
            let slice = realm.media.slice(mapping.shards, self.shard);
            let ports = self.realms[number].get_or_insert_with(|| Ports {
                address: realm.address,
                first: slice.first,
                slots: vec![None; slice.len()],
                marking: realm.marking,
            });
            ports.marking = realm.marking;
        }
    }

    /// What the socket of an arrival is for.
    pub(super) fn place(&self, slot: Slot) -> Option<Place> {
        *self.places.get(slot.index())?
    }

    /// The listener of this number.
    pub(super) fn listener(&self, number: u32) -> Option<Listener> {
        self.listeners.get(number as usize).copied()
    }

    /// The socket of a media port.
    pub(super) fn media(&self, port: MediaPort) -> Option<Slot> {
        let ports = self.realms.get(usize::from(port.realm.0))?.as_ref()?;
        *ports.slots.get(usize::from(port.port.checked_sub(ports.first)?))?
    }

    /// The socket that listens on a signaling address.
    pub(super) fn signaling(&self, local: SocketAddr) -> Option<Slot> {
        self.listening.get(&local).map(|(slot, _)| *slot)
    }

    /// Opens a media port; fine when it is open already.
    ///
    /// # Errors
    /// The port is not of this shard's slice, or those of [`Datagrams::open`].
    pub(super) fn open_media(&mut self, ring: &mut impl Datagrams, port: MediaPort) -> io::Result<()> {
        let entry = self.entry(port).ok_or(io::ErrorKind::InvalidInput)?;
        if entry.2.is_none() {
            let dscp = Dscp::new(entry.1.media);
            let slot = ring.open(SocketAddr::new(entry.0, port.port), Kind::Media, dscp)?;
            *entry.2 = Some(slot);
            self.put(slot, Place::Media(port));
        }
        Ok(())
    }

    /// Closes a media port.
    pub(super) fn close_media(&mut self, ring: &mut impl Datagrams, port: MediaPort) {
        if let Some(slot) = self.entry(port).and_then(|(_, _, slot)| slot.take()) {
            self.close(ring, slot);
        }
    }

    /// Starts to listen; fine when the address is open already.
    ///
    /// # Errors
    /// Those of [`Datagrams::open`].
    pub(super) fn listen(&mut self, ring: &mut impl Datagrams, listener: Listener) -> io::Result<()> {
        if self.listening.contains_key(&listener.address) {
            return Ok(());
        }
        let dscp = self.signaling_dscp(listener.realm);
        let slot = ring.open(listener.address, Kind::Signaling { shared: listener.shared }, dscp)?;
        let number = self.listeners.insert(listener) as u32;
        self.listening.insert(listener.address, (slot, number));
        self.put(slot, Place::Signaling(number));
        Ok(())
    }

    /// Stops listening.
    pub(super) fn unlisten(&mut self, ring: &mut impl Datagrams, listener: Listener) {
        if let Some((slot, number)) = self.listening.remove(&listener.address) {
            self.listeners.remove(number as usize);
            self.close(ring, slot);
        }
    }

    /// How signaling sockets of a realm are marked.
    pub(super) fn signaling_dscp(&self, realm: RealmId) -> Dscp {
        let ports = self.realms.get(usize::from(realm.0)).and_then(Option::as_ref);
        ports.map_or(Dscp::default(), |ports| Dscp::new(ports.marking.signaling))
    }

    fn entry(&mut self, port: MediaPort) -> Option<(IpAddr, Marking, &mut Option<Slot>)> {
        let ports = self.realms.get_mut(usize::from(port.realm.0))?.as_mut()?;
        let slot = ports.slots.get_mut(usize::from(port.port.checked_sub(ports.first)?))?;
        Some((ports.address, ports.marking, slot))
    }

    fn put(&mut self, slot: Slot, place: Place) {
        if self.places.len() <= slot.index() {
            self.places.resize(slot.index() + 1, None);
        }
        self.places[slot.index()] = Some(place);
    }

    fn close(&mut self, ring: &mut impl Datagrams, slot: Slot) {
        ring.close(slot);
        self.places[slot.index()] = None;
    }
}
