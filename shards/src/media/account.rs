//! What a stream has carried and dropped, and how good it was: exact, by direction, for charging and for operators.

use super::emodel::Heard;
use super::quality::Figures;
use crate::io::DropReason;
use std::time::Duration;

/// Octets of an IPv4 header without options and a UDP header.
const IPV4_HEADERS: u64 = 28;
/// Octets of an IPv6 header without extensions and a UDP header.
const IPV6_HEADERS: u64 = 48;

/// Reasons for which a packet at a stream's port may be dropped. Others, should there be any, count together.
const REASONS: [DropReason; 10] = [
    DropReason::GateClosed,
    DropReason::NotArmed,
    DropReason::NotRtp,
    DropReason::PayloadType,
    DropReason::NotRtcp,
    DropReason::Stranger,
    DropReason::Unproven,
    DropReason::AnyFork,
    DropReason::Rate,
    DropReason::NoDestination,
];
/// The counter of all other reasons.
const OTHER: usize = REASONS.len();
/// Which counter a reason has, by its number.
const PLACES: [u8; DropReason::ALL.len()] = places();

const fn places() -> [u8; DropReason::ALL.len()] {
    let (mut places, mut at) = ([OTHER as u8; DropReason::ALL.len()], 0);
    while at < REASONS.len() {
        places[REASONS[at] as usize] = at as u8;
        at += 1;
    }
    places
}

/// Packets dropped at one end of a stream, by reason. A counter stays where it is at 4,294,967,295.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops([u32; OTHER + 1]);

impl Drops {
    /// Count one.
    pub fn count(&mut self, reason: DropReason) {
        let place = &mut self.0[usize::from(PLACES[reason as usize])];
        *place = place.saturating_add(1);
    }

    /// Packets dropped for this reason; those of all reasons without a counter of their own together.
    pub fn of(&self, reason: DropReason) -> u32 {
        self.0[usize::from(PLACES[reason as usize])]
    }

    /// All packets dropped.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|&count| u64::from(count)).sum()
    }

    /// Label and number of every reason that there was; `other` for those without a counter.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let labels = REASONS.iter().map(|reason| reason.label()).chain(["other"]);
        labels.zip(self.0).filter(|(_, count)| *count > 0)
    }
}

/// What came from one end of a stream since it was opened; re-negotiation does not reset it. Forwarded and dropped
/// packets, and those in [`Beside`], together are all that arrived at the stream's ports of that end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// RTP packets forwarded.
    pub rtp_packets: u64,
    /// Their payload octets: without RTP header and padding. Without RTP: the datagram.
    pub rtp_payload_octets: u64,
    /// Their octets on the wire from the IP header on (without IP options).
    pub rtp_ip_octets: u64,
    /// RTCP octets forwarded (UDP payload).
    pub rtcp_octets: u64,
    /// Octets (UDP payload) of dropped packets.
    pub dropped_octets: u64,
    /// RTCP datagrams forwarded; stays where it is at 4,294,967,295.
    pub rtcp_packets: u32,
    /// Packets dropped at this end's ports.
    pub drops: Drops,
}

impl Counters {
    /// Count one dropped datagram of so many octets.
    pub(super) fn drop(&mut self, reason: DropReason, octets: usize) {
        self.drops.count(reason);
        self.dropped_octets += octets as u64;
    }

    /// Count one forwarded datagram of RTCP.
    pub(super) fn rtcp(&mut self, octets: usize) {
        self.rtcp_packets = self.rtcp_packets.saturating_add(1);
        self.rtcp_octets += octets as u64;
    }

    /// Datagrams of RTP (or what stands in its place) and RTCP forwarded, and their octets of UDP payload, over IPv4 or
    /// IPv6.
    pub fn forwarded(&self, ipv4: bool) -> (u64, u64) {
        let rtp_octets = self.rtp_ip_octets - self.rtp_packets * headers(ipv4);
        (self.rtp_packets + u64::from(self.rtcp_packets), rtp_octets + self.rtcp_octets)
    }

    /// Packets dropped, for any reason.
    pub fn dropped(&self) -> u64 {
        self.drops.total()
    }

    /// Octets of forwarded RTCP from the IP header on, over IPv4 or IPv6.
    pub const fn rtcp_ip_octets(&self, ipv4: bool) -> u64 {
        self.rtcp_octets + self.rtcp_packets as u64 * headers(ipv4)
    }
}

/// STUN and DTLS forwarded from one end of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// Datagrams.
    pub packets: u64,
    /// Their octets (UDP payload).
    pub octets: u64,
}

/// Octets of the headers before a datagram's own.
const fn headers(ipv4: bool) -> u64 {
    if ipv4 { IPV4_HEADERS } else { IPV6_HEADERS }
}

/// One direction of a stream: what came from one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Packets and octets.
    pub counters: Counters,
    /// What passed beside media.
    pub beside: Beside,
    /// What reception was like.
    pub figures: Figures,
    /// Time between two packets, as described.
    pub ptime: Duration,
}

impl Account {
    /// The share of packets that did not come here, 0 to 1; `None`: none was due.
    pub fn loss(&self) -> Option<f64> {
        let Figures { expected, lost, .. } = self.figures;
        (expected > 0).then(|| f64::from(lost) / f64::from(expected))
    }

    /// What the other end hears of this direction: `None` where it is no speech, or nothing came. Loss and jitter are the
    /// worse of ours and the receiver's, if it has reported; delay is half of the round trips on both sides, as far as
    /// they are known, one packet, the codec's look-ahead and a jitter buffer of twice the jitter, at least one packet.
    pub fn heard(&self, other: &Self) -> Option<Heard> {
        let Figures { codec, expected, lost, jitter, reported, .. } = self.figures;
        let look_ahead = codec.impairment()?.look_ahead;
        let here = self.loss()?;
        let gone = reported.map_or(lost, |reported| u32::try_from(reported.lost).unwrap_or(0));
        let loss = here.max(f64::from(gone) / f64::from(expected));
        let millis = |time: Duration| time.as_secs_f64() * 1_000.0;
        let ptime = millis(self.ptime);
        let jitter = millis(reported.map_or(jitter, |reported| reported.jitter.max(jitter)));
        let trips = [self, other].into_iter().filter_map(|account| account.figures.round_trip);
        let way = millis(trips.sum()) / 2.0;
        Some(Heard { codec, loss, delay: way + ptime + look_ahead + (2.0 * jitter).max(ptime) })
    }

    /// The mean opinion score of what the other end hears (ITU-T G.107), 1 to 4.5.
    pub fn score(&self, other: &Self) -> Option<f64> {
        self.heard(other)?.score()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::formats::Codec;
    use crate::media::quality::{Quality, Reported};

    #[test]
    fn every_reason_of_a_stream_has_a_counter_and_others_share_one() {
        let mut drops = Drops::default();
        for reason in DropReason::ALL {
            drops.count(*reason);
        }
        assert_eq!(drops.total(), DropReason::ALL.len() as u64);
        assert!(REASONS.iter().all(|reason| drops.of(*reason) == 1));
        let other = (DropReason::ALL.len() - REASONS.len()) as u32;
        assert_eq!(drops.of(DropReason::MeshFull), other);
        assert_eq!(drops.iter().last(), Some(("other", other)));
    }

    #[test]
    fn rtcp_octets_from_the_ip_header_on() {
        let counters = Counters { rtcp_packets: 3, rtcp_octets: 100, ..Counters::default() };
        assert_eq!((counters.rtcp_ip_octets(true), counters.rtcp_ip_octets(false)), (184, 244));
    }

    fn account(expected: u32, lost: u32, reported: Option<Reported>) -> Account {
        let figures = Quality::default().figures();
        let figures = Figures { codec: Codec::G711, expected, lost, reported, ..figures };
        Account {
            counters: Counters::default(),
            beside: Beside::default(),
            figures,
            ptime: Duration::from_millis(20),
        }
    }

    #[test]
    fn the_listener_gets_the_worse_of_what_is_known() {
        let jitter = Duration::from_millis(30);
        let reported = Reported { fraction: 0, lost: 10, jitter };
        let (ours, quiet) = (account(100, 2, None), account(0, 0, None));
        assert_eq!(ours.heard(&quiet).map(|heard| (heard.loss, heard.delay)), Some((0.02, 40.0)));
        let heard = account(100, 2, Some(reported)).heard(&quiet);
        assert_eq!(heard.map(|heard| (heard.loss, heard.delay)), Some((0.1, 80.0)));
        let duplicates = Reported { lost: -5, ..reported };
        assert_eq!(account(100, 2, Some(duplicates)).heard(&quiet).map(|heard| heard.loss), Some(0.02));
    }

    #[test]
    fn the_way_is_half_of_both_round_trips() {
        let (mut one, mut other) = (account(100, 0, None), account(100, 0, None));
        one.figures.round_trip = Some(Duration::from_millis(100));
        other.figures.round_trip = Some(Duration::from_millis(60));
        assert_eq!(one.heard(&other).map(|heard| heard.delay), Some(120.0));
    }

    #[test]
    fn no_packet_and_no_speech_have_no_score() {
        let quiet = account(0, 0, None);
        assert_eq!(quiet.score(&quiet), None);
        let mut event = account(10, 0, None);
        event.figures.codec = Codec::Other;
        assert_eq!(event.score(&quiet), None);
    }
}
