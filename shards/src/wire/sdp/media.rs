//! Media sections.

use super::attribute::{self, Direction};
use super::line::{self, Connection, Line, Rtcp};
use crate::fault::Fault;
use crate::wire::{Span, text};

/// An m= line and the lines after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Media {
    /// The m= line, with its line end.
    pub line: Span,
    /// `audio`, `video`, `image`, ...
    pub kind: Span,
    /// The port's digits, or `$`.
    pub port_span: Span,
    /// The port; 0 when the stream is rejected, or when the port is `$`.
    pub port: u16,
    /// Whether the port is `$`: the gateway is to choose one (MGCP).
    pub choose: bool,
    /// The number of ports with its slash (`/2`).
    pub count: Option<Span>,
    /// The transport (`RTP/AVP`, `udptl`, ...).
    pub proto: Span,
    /// All formats; empty at the line's end when there is none.
    pub formats: Span,
    /// The section's first c= line.
    pub connection: Option<Connection>,
    /// The rtcp attribute.
    pub rtcp: Option<Rtcp>,
    /// The line of the rtcp-mux attribute (RFC 5761).
    pub rtcp_mux: Option<Span>,
    /// The section's own direction.
    pub direction: Option<Direction>,
    /// Packet time in whole milliseconds.
    pub ptime: Option<u16>,
    /// Rate in kbit/s: b=AS, else b=TIAS rounded up.
    pub bandwidth_as: Option<u32>,
    /// Which RTP payload types the m= line lists, a bit each, lowest first; none when the transport is not RTP.
    pub payload_types: [u64; 2],
    /// The whole section, the m= line included.
    pub section: Span,
}

impl Media {
    pub(super) fn parse(bytes: &[u8], line: Line) -> Result<Self, Fault> {
        let fault = Fault::Malformed("m= line");
        let mut words = line::words(bytes, line.value);
        let mut next = || words.next().ok_or(fault);
        let (kind, ports, proto) = (next()?, next()?, next()?);
        let (port_span, count) = split_count(bytes, ports)?;
        let choose = port_span.of(bytes) == b"$";
        let port = if choose { Some(0) } else { text::port(port_span.of(bytes)) };
        let formats = text::trim(bytes, Span::new(proto.end, line.value.end));
        Ok(Self {
            line: line.line,
            kind,
            port_span,
            port: port.ok_or(Fault::Malformed("m= port"))?,
            choose,
            count,
            proto,
            formats,
            connection: None,
            rtcp: None,
            rtcp_mux: None,
            direction: None,
            ptime: None,
            bandwidth_as: None,
            payload_types: payload_types(bytes, proto, formats),
            section: line.line,
        })
    }

    /// Whether the m= line lists this RTP payload type.
    pub fn has_payload_type(&self, number: u8) -> bool {
        let word = self.payload_types.get(usize::from(number / 64));
        word.is_some_and(|bits| bits >> (number % 64) & 1 == 1)
    }

    pub(super) fn take(&mut self, bytes: &[u8], line: Line) -> Result<(), Fault> {
        self.section.end = line.line.end;
        match line.kind {
            b'c' => self.connection = self.connection.or(Some(Connection::parse(bytes, line)?)),
            b'b' => self.bandwidth_as = attribute::bandwidth(self.bandwidth_as, line.value.of(bytes)),
            b'a' => self.take_attribute(bytes, line)?,
            b'o' => return Err(Fault::Malformed("o= line in a media section")),
            _ => {}
        }
        Ok(())
    }

    fn take_attribute(&mut self, bytes: &[u8], line: Line) -> Result<(), Fault> {
        let value = line.value.of(bytes);
        if let Some(rtcp) = Rtcp::parse(bytes, line) {
            let first = self.rtcp.replace(rtcp?).is_none();
            return first.then_some(()).ok_or(Fault::Malformed("two rtcp attributes"));
        }
        match attribute::name(value) {
            name if name.eq_ignore_ascii_case(b"rtcp-mux") => {
                self.rtcp_mux = self.rtcp_mux.or(Some(line.line));
            }
            name if name.eq_ignore_ascii_case(b"ptime") => {
                self.ptime = self.ptime.or(attribute::ptime(value));
            }
            _ => self.direction = self.direction.or(Direction::of(value)),
        }
        Ok(())
    }
}

/// Whether a transport is RTP: `RTP/AVP`, `UDP/TLS/RTP/SAVPF`, ...
pub(super) fn is_rtp(proto: &[u8]) -> bool {
    proto.windows(4).any(|part| part.eq_ignore_ascii_case(b"RTP/"))
}

/// Splits `port[/count]`.
fn split_count(bytes: &[u8], ports: Span) -> Result<(Span, Option<Span>), Fault> {
    let Some(slash) = text::find_octet(bytes, ports, b'/') else {
        return Ok((ports, None));
    };
    let digits = Span::new(slash + 1, ports.end);
    text::number(digits.of(bytes)).ok_or(Fault::Malformed("m= number of ports"))?;
    Ok((Span::new(ports.start, slash), Some(Span::new(slash, ports.end))))
}

fn payload_types(bytes: &[u8], proto: Span, formats: Span) -> [u64; 2] {
    let mut bits = [0; 2];
    if is_rtp(proto.of(bytes)) {
        for number in line::words(bytes, formats).filter_map(|word| text::number(word.of(bytes))) {
            if let Some(word) = usize::try_from(number / 64).ok().and_then(|at| bits.get_mut(at)) {
                *word |= 1 << (number % 64);
            }
        }
    }
    bits
}
