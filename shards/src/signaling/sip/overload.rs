//! Overload control toward softswitches (RFC 7339, RFC 7415): a server says in our Via how much it can take, and what
//! is too much for it is refused here, before it costs the server anything.

use super::hop;
use crate::random::{Keyed, Rng};
use crate::realm::Server;
use crate::types::{Flow, Instant, Transport};
use crate::wire::sip::{Message, Uri, Via};
use hashbrown::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

/// What our Via says: we can shed a share of the requests, or keep to a rate (RFC 7339 section 5.1).
pub(super) const OFFER: &str = ";oc;oc-algo=\"loss,rate\"";
/// How long a word counts that does not say how long (RFC 7339 section 4.3).
const VALIDITY: Duration = Duration::from_millis(500);
/// The longest that is believed: a server that fell silent is asked again after this.
const LONGEST: Duration = Duration::from_secs(600);
/// A burst of so many requests passes a rate that was kept before (RFC 7415 section 3.5.1: TAU is so many times T).
const BURST: u32 = 4;
/// Servers that are remembered. They are configured, so there are few.
const MOST: usize = 4096;

/// What the servers have said.
pub(super) struct Overload {
    loads: HashMap<Place, Load, Keyed>,
}

type Place = (Transport, SocketAddr);

/// What one server has said last.
#[derive(Clone, Copy, Debug)]
struct Load {
    wanted: Wanted,
    until: Instant,
    sequence: Option<Sequence>,
    /// The leaky bucket of the rate: when what is in it has run out.
    empty: Instant,
}

/// How much a server wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// So many percent fewer, at most 100 (RFC 7339 section 5.10).
    Fewer(u64),
    /// At most so many each second (RFC 7415).
    AtMost(u64),
}

/// `oc-seq`: before and behind the point.
type Sequence = (u64, u64);

/// What a response says of its sender's load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Feedback {
    wanted: Wanted,
    validity: Duration,
    sequence: Option<Sequence>,
}

impl Overload {
    /// Nobody has said anything.
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self { loads: HashMap::with_hasher(Keyed::new(rng)) }
    }

    /// Read what a response says of the server that our request went to. An older word does not beat a newer one
    /// (RFC 7339 section 4.4), and a validity of 0 ends it all (section 4.3). True: it wants less
    /// than it gets.
    pub(super) fn heed(&mut self, now: Instant, from: &Flow, response: &Message<'_>) -> bool {
        let feedback = response.top_via().and_then(|via| Feedback::read(response.bytes(), &via));
        let Some(Feedback { wanted, validity, sequence }) = feedback else { return false };
        let place = (from.transport, from.remote);
        let before = self.loads.get(&place).filter(|load| load.until > now).copied();
        if before.is_some_and(|before| sequence < before.sequence) {
            return false;
        }
        if validity.is_zero() {
            self.loads.remove(&place);
            return false;
        }
        if self.loads.len() >= MOST {
            self.loads.retain(|_, load| load.until > now);
        }
        if self.loads.len() < MOST || before.is_some() {
            let empty = before.map_or(now, |before| before.empty);
            self.loads.insert(place, Load { wanted, until: now + validity, sequence, empty });
        }
        wanted != Wanted::Fewer(0)
    }

    /// Does this server want less than it gets now?
    pub(super) fn limits(&self, now: Instant, server: &Server) -> bool {
        let load = self.loads.get(&(server.transport, server.address)).filter(|load| load.until > now);
        load.is_some_and(|load| load.wanted != Wanted::Fewer(0))
    }

    /// May one more request go to this server?
    pub(super) fn admits(&mut self, now: Instant, rng: &mut Rng, server: &Server) -> bool {
        let load = self.loads.get_mut(&(server.transport, server.address)).filter(|load| load.until > now);
        let Some(load) = load else { return true };
        match load.wanted {
            Wanted::Fewer(percent) => rng.below(100) >= percent,
            Wanted::AtMost(0) => false,
            Wanted::AtMost(rate) => load.drips(now, Duration::from_secs(1) / rate.min(1_000_000) as u32),
        }
    }
}

impl Load {
    /// The leaky bucket of RFC 7415 section 3.5.1, as the moment at which it is empty: `gap` is T, `BURST` gaps are TAU.
    fn drips(&mut self, now: Instant, gap: Duration) -> bool {
        let conforms = self.empty <= now + gap * BURST;
        if conforms {
            self.empty = self.empty.max(now) + gap;
        }
        conforms
    }
}

impl Feedback {
    /// Read the parameters of our own Via as the server gave it back. Without a value `oc` is only our own word: the
    /// server does not know overload control.
    fn read(bytes: &[u8], via: &Via) -> Option<Self> {
        let value = |name: &[u8]| Some(via.param(bytes, name)?.value?.of(bytes));
        let number = |name: &[u8]| std::str::from_utf8(value(name)?).ok()?.parse::<u64>().ok();
        let amount = number(b"oc")?;
        let algorithm = value(b"oc-algo").unwrap_or(b"loss");
        let wanted = match algorithm.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) {
            Some(b"rate") => Wanted::AtMost(amount),
            Some(b"loss") | None if amount <= 100 => Wanted::Fewer(amount),
            // A server that does not know us by our own Via echoes both.
            _ => return None,
        };
        let validity = number(b"oc-validity").map_or(VALIDITY, Duration::from_millis).min(LONGEST);
        Some(Self { wanted, validity, sequence: value(b"oc-seq").and_then(sequence) })
    }
}

fn sequence(value: &[u8]) -> Option<Sequence> {
    let (before, behind) = std::str::from_utf8(value).ok()?.split_once('.')?;
    // The digits behind the point are a fraction: 0.5 is more than 0.25.
    let behind = behind.get(..5.min(behind.len()))?;
    let scale = 10_u64.pow(5 - behind.len() as u32);
    Some((before.parse().ok()?, behind.parse::<u64>().ok()? * scale))
}

/// Is this a request that is never refused for a server's sake: an emergency call, or one of a resource priority that a
/// network gives (RFC 7339 section 5.10.1, RFC 4412)?
pub(super) fn is_urgent(message: &Message<'_>) -> bool {
    let bytes = message.bytes();
    let line = |name: &[u8]| hop::lines_named(message, name).to_ascii_lowercase();
    let has = |line: &[u8], word: &[u8]| line.windows(word.len()).any(|part| part == word);
    if has(&line(b"Priority"), b"emergency") || has(&line(b"Resource-Priority"), b"esnet.") {
        return true;
    }
    let uri = message.request_uri().and_then(|span| Uri::parse(bytes, span).ok());
    let user = uri.and_then(|uri| uri.user).map(|user| user.of(bytes)).unwrap_or_default();
    message.method() == b"INVITE" && [&b"112"[..], b"911", b"sos"].contains(&user)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Span;

    fn read(params: &str) -> Option<Feedback> {
        let text = format!("SIP/2.0/UDP 10.0.0.10:6000;branch=z9hG4bKx;rport{params}");
        let via = Via::parse(text.as_bytes(), Span::new(0, text.len())).unwrap();
        Feedback::read(text.as_bytes(), &via)
    }

    #[test]
    fn only_what_a_server_filled_in_counts() {
        assert_eq!(read(";oc;oc-algo=\"loss,rate\""), None, "our own word");
        assert_eq!(read(""), None);
        assert_eq!(read(";oc=101;oc-algo=\"loss\""), None);
        assert_eq!(read(";oc=20;oc-algo=\"loss,rate\""), None, "which of the two?");
        assert_eq!(read(";oc=x"), None);
        let feedback = read(";oc=20;oc-algo=\"loss\";oc-validity=1500;oc-seq=1282321615.782").unwrap();
        assert_eq!(feedback.wanted, Wanted::Fewer(20));
        assert_eq!(feedback.validity, Duration::from_millis(1500));
        assert_eq!(feedback.sequence, Some((1_282_321_615, 78_200)));
        assert_eq!(read(";oc=150;oc-algo=\"rate\"").unwrap().wanted, Wanted::AtMost(150));
        assert_eq!(read(";oc=5").unwrap().validity, VALIDITY);
    }

    #[test]
    fn a_bucket_keeps_its_rate() {
        let mut load =
            Load { wanted: Wanted::AtMost(10), until: Instant::ZERO, sequence: None, empty: Instant::ZERO };
        let gap = Duration::from_millis(100);
        let millis = |n: u64| Instant::from_nanos(n * 1_000_000);
        let passed = (0..10_000).filter(|n| load.drips(millis(*n), gap)).count();
        assert!((100..=100 + BURST as usize + 1).contains(&passed), "{passed} in ten seconds");
    }
}
