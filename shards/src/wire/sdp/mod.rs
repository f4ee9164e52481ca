//! Session descriptions (RFC 8866): a line scanner that serves every protocol that carries them.
//!
//! It reads what a proxy replaces (addresses and ports) and what it decides by (direction, RTCP, rates); all other
//! lines are left as they are. Order does not matter, unknown lines pass, line ends may be LF only, the last may be
//! missing, and MGCP's `$` (choose) is accepted for a port or an address.

mod attribute;
mod line;
mod media;

pub use attribute::{
    Direction, argument, has_name, is_address_leak, is_bundle, is_candidate, is_ice, is_keying,
};
pub use line::{Connection, Line, Origin, Rtcp, lines};
pub use media::Media;

use crate::fault::Fault;
use crate::limits::MAX_STREAMS;
use crate::wire::splice::Splice;
use std::net::IpAddr;

/// A description. All spans are offsets in [`Sdp::bytes`].
#[derive(Clone, Debug)]
pub struct Sdp<'a> {
    bytes: &'a [u8],
    /// The o= line.
    pub origin: Option<Origin>,
    /// The first session-level c= line.
    pub connection: Option<Connection>,
    /// The session-level direction.
    pub direction: Option<Direction>,
    /// The session-level rate, kbit/s (b=AS, or b=TIAS rounded up).
    pub bandwidth_as: Option<u32>,
    /// The m= lines in their order.
    pub media: Vec<Media>,
}

impl<'a> Sdp<'a> {
    /// Reads a description: the body alone, not the message around it.
    ///
    /// # Errors
    /// [`Fault::Malformed`] when an o=, c= or m= line or an rtcp attribute cannot be read (its addresses could not be
    /// replaced), when there are two o= lines, when an rtcp attribute stands
    /// outside the media sections (RFC 3605), or a CR within a line. [`Fault::Refused`] when there are more
    /// than [`MAX_STREAMS`] m= lines.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        let mut sdp = Self {
            bytes,
            origin: None,
            connection: None,
            direction: None,
            bandwidth_as: None,
            media: Vec::new(),
        };
        for line in line::lines(bytes) {
            sdp.take(line)?;
        }
        Ok(sdp)
    }

    /// The description as it was given.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// All lines in their order, unknown and empty ones too.
    pub fn lines(&self) -> impl Iterator<Item = Line> + use<'a> {
        line::lines(self.bytes)
    }

    /// All c= lines, of the session and of every media section.
    pub fn connections(&self) -> impl Iterator<Item = Connection> + use<'a> {
        let bytes = self.bytes;
        self.lines().filter(|l| l.kind == b'c').filter_map(move |l| Connection::parse(bytes, l).ok())
    }

    /// The line end that this description uses: its first line's; CRLF when it has none.
    pub fn line_end(&self) -> &'static [u8] {
        match self.bytes.iter().position(|&b| b == b'\n') {
            Some(at) if at == 0 || self.bytes[at - 1] != b'\r' => b"\n",
            _ => b"\r\n",
        }
    }

    /// The rtpmap attributes of the section at `at`: payload type, encoding name, clock rate in ticks per second. Those
    /// that cannot be read are left out.
    pub fn rtpmaps(&self, at: usize) -> impl Iterator<Item = (u8, &'a [u8], u32)> + use<'a> {
        let bytes = self.bytes;
        let own = self.lines().filter(move |line| line.kind == b'a' && line.media == Some(at));
        own.filter_map(move |line| attribute::rtpmap(line.value.of(bytes)))
    }

    /// Whether the section's transport is RTP, of any profile.
    pub fn rtp(&self, media: &Media) -> bool {
        media::is_rtp(media.proto.of(self.bytes))
    }

    /// Where the section's media is to be sent: its own c= line's address, else the session's. `None` when that is
    /// a host name or `$`, or there is no c= line.
    pub fn address_of(&self, media: &Media) -> Option<IpAddr> {
        self.connection_of(media)?.ip
    }

    /// The c= line that applies to the section.
    pub fn connection_of(&self, media: &Media) -> Option<Connection> {
        media.connection.or(self.connection)
    }

    /// The direction that applies to the section; sendrecv when none is written (RFC 8866 6.7).
    pub fn direction_of(&self, media: &Media) -> Direction {
        media.direction.or(self.direction).unwrap_or(Direction::SendRecv)
    }

    /// One more line, given without its end, at the end of a section.
    pub fn append(&self, splice: &mut Splice<'_>, media: &Media, line: &str) {
        let end = std::str::from_utf8(self.line_end()).unwrap_or("\r\n");
        let ended = media.section.of(self.bytes).ends_with(b"\n");
        let (before, after) = if ended { ("", end) } else { (end, "") };
        splice.insert(media.section.end, format!("{before}{line}{after}"));
    }

    fn take(&mut self, line: Line) -> Result<(), Fault> {
        if line.value.of(self.bytes).contains(&b'\r') {
            return Err(Fault::Malformed("CR within a line of SDP"));
        }
        if line.kind == b'm' {
            return self.open(line);
        }
        match self.media.last_mut() {
            Some(media) => media.take(self.bytes, line),
            None => self.take_session(line),
        }
    }

    fn open(&mut self, line: Line) -> Result<(), Fault> {
        if self.media.len() == MAX_STREAMS {
            return Err(Fault::Refused("too many m= lines"));
        }
        self.media.push(Media::parse(self.bytes, line)?);
        Ok(())
    }

    fn take_session(&mut self, line: Line) -> Result<(), Fault> {
        match line.kind {
            b'o' if self.origin.is_some() => return Err(Fault::Malformed("two o= lines")),
            b'o' => self.origin = Some(Origin::parse(self.bytes, line)?),
            b'c' => self.connection = self.connection.or(Some(Connection::parse(self.bytes, line)?)),
            b'b' => self.bandwidth_as = attribute::bandwidth(self.bandwidth_as, line.value.of(self.bytes)),
            b'a' if Rtcp::parse(self.bytes, line).is_some() => {
                return Err(Fault::Malformed("rtcp attribute at session level"));
            }
            b'a' => self.direction = self.direction.or(Direction::of(line.value.of(self.bytes))),
            _ => {}
        }
        Ok(())
    }
}
