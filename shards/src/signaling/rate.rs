//! The nominal rate of a stream, as its description says (RFC 4566: b=, a=rtpmap, a=ptime).

use crate::media::{Rate, codec};
use crate::wire::sdp::{Media, Sdp};
use smallvec::SmallVec;
use std::time::Duration;

/// Octets per second of a stream of no other kind without b=: 4 Mbit/s.
const VIDEO_OCTETS: u32 = 500_000;
/// The same for fax (T.38, RFC 7345: UDPTL or RTP), with threefold redundancy at 33.6 kbit/s.
const FAX_OCTETS: u32 = 20_000;
/// The same for text (T.140, RFC 4103) with redundancy.
const TEXT_OCTETS: u32 = 4_000;
/// Less than this is not believed of an audio stream's b= line: 8 kbit/s. Of others: a sixteenth of what they may take.
const LEAST_AUDIO: u32 = 1_000;
/// Video packets are rarely smaller than this on the mean.
const MEAN_PACKET: u32 = 500;
/// A short header extension (RFC 8285) in each packet.
const EXTENSION: u32 = 8;
/// SRTP's authentication tag of at most 16 octets (RFC 7714) and a key identifier.
const SECURITY: u32 = 20;
/// Packet times in milliseconds, where none is announced.
const DEFAULT_PTIME: u16 = 20;

/// What a stream of one description may carry each way; `secure`: it is SRTP.
pub(super) fn nominal(sdp: &Sdp<'_>, at: usize, media: &Media, secure: bool) -> Rate {
    let (least, most) = range(sdp, at, media);
    let octets = bandwidth(sdp, media).map_or(most, |octets| octets.max(least));
    let overhead = EXTENSION + if secure { SECURITY } else { 0 };
    let rate = Rate::rtp(octets, packet_time(sdp, at, media));
    Rate { packets_per_s: rate.packets_per_s.max(octets / MEAN_PACKET), ..rate }.with_overhead(overhead)
}

/// What b= says, of the stream or else of the session, in octets per second.
pub(super) fn bandwidth(sdp: &Sdp<'_>, media: &Media) -> Option<u32> {
    media.bandwidth_as.or(sdp.bandwidth_as).map(|kbit| kbit.saturating_mul(125))
}

/// Time between two packets: a=ptime, or less where a=maxptime is less.
pub(super) fn packet_time(sdp: &Sdp<'_>, at: usize, media: &Media) -> Duration {
    let longest = attribute(sdp, at, b"maxptime").find_map(number);
    let announced = media.ptime.unwrap_or(DEFAULT_PTIME);
    Duration::from_millis(longest.map_or(u64::from(announced), |most| most.min(announced.into())))
}

/// The least that b= may say, and what the stream takes without it, in payload octets per second.
fn range(sdp: &Sdp<'_>, at: usize, media: &Media) -> (u32, u32) {
    let kind = media.kind.of(sdp.bytes());
    let is = |name: &[u8]| kind.eq_ignore_ascii_case(name);
    let most = match () {
        () if is(b"audio") => return (LEAST_AUDIO, audio(sdp, at, media)),
        () if is(b"image") => FAX_OCTETS,
        () if is(b"text") => TEXT_OCTETS,
        () => VIDEO_OCTETS,
    };
    (most / 16, most)
}

/// One of a stream's audio formats.
struct Format {
    number: u8,
    octets: u32,
    redundant: bool,
}

/// What the largest of its codecs takes; twice that where packets repeat earlier ones (RFC 2198).
fn audio(sdp: &Sdp<'_>, at: usize, media: &Media) -> u32 {
    let named = attribute(sdp, at, b"rtpmap").filter_map(format).collect::<SmallVec<[Format; 16]>>();
    let (mut most, mut redundant) = (0, false);
    for number in (0..128).filter(|number| media.has_payload_type(*number)) {
        let name = named.iter().find(|format| format.number == number);
        redundant |= name.is_some_and(|format| format.redundant);
        let octets = name.map(|format| format.octets).or(codec::of_type(number));
        most = most.max(octets.unwrap_or(codec::UNKNOWN_AUDIO));
    }
    match most {
        0 => codec::UNKNOWN_AUDIO,
        most if redundant => most.saturating_mul(2),
        most => most,
    }
}

/// `96 opus/48000/2` (RFC 4566 section 6).
fn format(value: &[u8]) -> Option<Format> {
    let mut words = value.split(|b| *b == b' ').filter(|word| !word.is_empty());
    let number = number(words.next()?)?.try_into().ok()?;
    let mut parts = words.next()?.split(|b| *b == b'/');
    let name = parts.next()?;
    let mut figure = || parts.next().and_then(self::number).and_then(|figure| u32::try_from(figure).ok());
    let (clock, channels) = (figure().unwrap_or(8_000), figure().unwrap_or(1));
    let redundant = codec::is_redundant(name);
    let octets = if redundant { 0 } else { codec::of_encoding(name, clock, channels) };
    Some(Format { number, octets, redundant })
}

/// The values of an attribute of one stream.
fn attribute<'a>(sdp: &'a Sdp<'_>, at: usize, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + 'a {
    sdp.lines().filter(move |line| line.media == Some(at) && line.kind == b'a').filter_map(move |line| {
        let value = line.value.of(sdp.bytes());
        let colon = value.iter().position(|b| *b == b':')?;
        value[..colon].eq_ignore_ascii_case(name).then(|| value[colon + 1..].trim_ascii())
    })
}

fn number(digits: &[u8]) -> Option<u64> {
    crate::wire::text::number(digits.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rate of one stream: its m= line and what follows it.
    fn rate(media: &str) -> Rate {
        let text = format!("v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n{media}");
        let text = text.replace('\n', "\r\n").replace("\r\r", "\r");
        let sdp = Sdp::parse(text.as_bytes()).unwrap();
        nominal(&sdp, 0, &sdp.media[0], media.contains("SAVP"))
    }

    fn octets(media: &str) -> u32 {
        rate(media).octets_per_s
    }

    /// Headers of 20 ms packets.
    const HEADERS: u32 = 50 * 20;

    #[test]
    fn the_largest_codec_counts() {
        assert_eq!(rate("m=audio 4 RTP/AVP 0\n"), Rate { packets_per_s: 50, octets_per_s: 8_000 + HEADERS });
        assert_eq!(octets("m=audio 4 RTP/AVP 18 4\n"), 1_000 + HEADERS);
        let more = "a=rtpmap:96 AMR-WB/16000\na=rtpmap:101 telephone-event/8000\n";
        assert_eq!(octets(&format!("m=audio 4 RTP/AVP 18 96 101\n{more}")), 3_100 + HEADERS);
        assert_eq!(octets("m=audio 4 RTP/AVP 96\na=rtpmap:96 opus/48000/2\n"), 16_000 + HEADERS);
        assert_eq!(
            octets("m=audio 4 RTP/AVP 96\na=rtpmap:96 L16/48000/2\n"),
            192_000 + 50 * 12 + 384 * EXTENSION
        );
        assert_eq!(octets("m=audio 4 RTP/AVP 99\n"), codec::UNKNOWN_AUDIO + HEADERS);
    }

    #[test]
    fn redundancy_takes_twice_as_much() {
        let red = "m=audio 4 RTP/AVP 100 0\na=rtpmap:100 RED/8000\n";
        assert_eq!(octets(red), 16_000 + HEADERS);
    }

    #[test]
    fn packet_times_count() {
        assert_eq!(rate("m=audio 4 RTP/AVP 0\na=ptime:10\n").packets_per_s, 100);
        assert_eq!(rate("m=audio 4 RTP/AVP 0\na=ptime:40\na=maxptime:30\n").packets_per_s, 33);
        assert_eq!(rate("m=audio 4 RTP/AVP 0\na=maxptime:150\n").packets_per_s, 50);
        assert_eq!(rate("m=audio 4 RTP/AVP 0\na=ptime:x\na=maxptime:\n").packets_per_s, 50);
    }

    #[test]
    fn bandwidth_comes_before_the_table_but_not_below_a_floor() {
        assert_eq!(octets("m=audio 4 RTP/AVP 0 18\nb=AS:64\n"), 8_000 + HEADERS);
        assert_eq!(octets("m=audio 4 RTP/AVP 0 18\nb=AS:16\n"), 2_000 + HEADERS);
        assert_eq!(octets("m=audio 4 RTP/AVP 0 18\nb=AS:1\n"), 1_000 + HEADERS);
        assert_eq!(octets("m=audio 4 RTP/AVP 0\nb=TIAS:96000\n"), 12_000 + HEADERS);
        assert_eq!(octets("m=video 4 RTP/AVP 96\nb=AS:1\n"), VIDEO_OCTETS / 16 + 50 * 12 + 62 * EXTENSION);
    }

    #[test]
    fn encryption_has_room_for_its_tag() {
        assert_eq!(octets("m=audio 4 RTP/SAVP 0\n"), 8_000 + HEADERS + 50 * SECURITY);
    }

    #[test]
    fn other_kinds_have_their_own() {
        assert_eq!(octets("m=video 4 RTP/AVP 31\n"), VIDEO_OCTETS + 50 * 12 + 1_000 * EXTENSION);
        assert_eq!(rate("m=video 4 RTP/AVP 31\n").packets_per_s, 1_000);
        assert_eq!(octets("m=image 4 udptl t38\n"), FAX_OCTETS + HEADERS);
        assert_eq!(octets("m=text 4 RTP/AVP 98\n"), TEXT_OCTETS + HEADERS);
    }
}
