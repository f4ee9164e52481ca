//! What codecs take, so that a stream's policer can be sized from its description.

/// Payload octets per second that an audio format takes at most, where nothing else is known of it: 128 kbit/s.
pub const UNKNOWN_AUDIO: u32 = 16_000;

/// Static payload types of RFC 3551 section 6 that are audio: number, and payload octets per second.
const STATIC: [(u8, u32); 17] = [
    (0, 8_000),
    (3, 1_650),
    (4, 800),
    (5, 4_000),
    (6, 8_000),
    (7, 700),
    (8, 8_000),
    (9, 8_000),
    (10, 176_400),
    (11, 88_200),
    (12, 1_750),
    (13, 1_000),
    (14, 48_000),
    (15, 2_000),
    (16, 5_513),
    (17, 11_025),
    (18, 1_000),
];

/// Encoding names (in any case) and their payload octets per second in the largest mode. Those that stand for no voice
/// of their own (comfort noise, telephone events) are as small as they are, because another format is listed beside
/// them.
const NAMED: [(&str, u32); 51] = [
    ("PCMU", 8_000),
    ("PCMA", 8_000),
    ("PCMU-WB", 12_050),
    ("PCMA-WB", 12_050),
    ("CLEARMODE", 8_000),
    ("G722", 8_000),
    ("G7221", 6_000),
    ("G719", 16_000),
    ("G723", 800),
    ("G726-16", 2_000),
    ("G726-24", 3_000),
    ("G726-32", 4_000),
    ("G726-40", 5_000),
    ("AAL2-G726-16", 2_000),
    ("AAL2-G726-24", 3_000),
    ("AAL2-G726-32", 4_000),
    ("AAL2-G726-40", 5_000),
    ("G728", 2_000),
    ("G729", 1_000),
    ("G729D", 800),
    ("G729E", 1_500),
    ("G7291", 4_050),
    ("GSM", 1_650),
    ("GSM-EFR", 1_550),
    ("GSM-HR-08", 750),
    ("iLBC", 1_900),
    ("AMR", 1_650),
    ("AMR-WB", 3_100),
    ("AMR-WB+", 6_000),
    ("EVS", 16_100),
    ("EVRC", 1_150),
    ("EVRC0", 1_150),
    ("EVRC1", 1_150),
    ("EVRCB", 1_150),
    ("EVRCWB", 1_150),
    ("EVRCNW", 1_150),
    ("QCELP", 1_750),
    ("SMV", 1_150),
    ("VMR-WB", 1_700),
    ("BV16", 2_000),
    ("BV32", 4_000),
    ("speex", 5_525),
    ("SILK", 5_000),
    ("iSAC", 7_000),
    ("opus", 16_000),
    ("MPA", 48_000),
    ("mpeg4-generic", 40_000),
    ("MP4A-LATM", 40_000),
    ("telephone-event", 1_000),
    ("tone", 1_000),
    ("CN", 1_000),
];

/// Payload octets per second of a static payload type; `None` where the number stands for no audio.
pub fn of_type(number: u8) -> Option<u32> {
    STATIC.iter().find(|(known, _)| *known == number).map(|(_, octets)| *octets)
}

/// Payload octets per second of an encoding (RFC 4855: `a=rtpmap`), `clock` samples a second and `channels` of them.
/// An encoding that is not known takes [`UNKNOWN_AUDIO`].
pub fn of_encoding(name: &[u8], clock: u32, channels: u32) -> u32 {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    let samples = clock.min(192_000).saturating_mul(channels.clamp(1, 8));
    match () {
        () if is("L8") => samples,
        () if is("L16") => samples.saturating_mul(2),
        () if is("L24") || is("L20") => samples.saturating_mul(3),
        () => NAMED.iter().find(|(known, _)| is(known)).map_or(UNKNOWN_AUDIO, |(_, octets)| *octets),
    }
}

/// Does it repeat what other formats of the stream carry (RFC 2198)?
pub fn is_redundant(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"red")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_static_type_and_its_name_take_the_same() {
        for (number, name, clock, channels) in [
            (0, "PCMU", 8_000, 1),
            (3, "gsm", 8_000, 1),
            (4, "G723", 8_000, 1),
            (8, "pcma", 8_000, 1),
            (9, "G722", 8_000, 1),
            (10, "L16", 44_100, 2),
            (11, "L16", 44_100, 1),
            (13, "CN", 8_000, 1),
            (14, "MPA", 90_000, 1),
            (15, "G728", 8_000, 1),
            (18, "G729", 8_000, 1),
        ] {
            assert_eq!(of_type(number), Some(of_encoding(name.as_bytes(), clock, channels)), "{name}");
        }
    }

    #[test]
    fn video_and_dynamic_types_are_no_static_audio() {
        assert!([26, 31, 34, 96, 127].into_iter().all(|number| of_type(number).is_none()));
    }

    #[test]
    fn what_is_not_known_is_not_cut_short() {
        assert_eq!(of_encoding(b"X-FUTURE", 48_000, 2), UNKNOWN_AUDIO);
        assert_eq!(of_encoding(b"L16", u32::MAX, u32::MAX), 192_000 * 8 * 2);
    }
}
