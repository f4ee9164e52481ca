//! Codecs by name and payload type: the clock that a timestamp counts, and what listening to one costs in quality.

/// What a payload type carries, as far as figures depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Not known: no quality is estimated.
    #[default]
    Other,
    /// Telephone events (RFC 4733): all packets of one have the same timestamp, so they are not timed.
    Event,
    /// Comfort noise (RFC 3389): the speaker is silent.
    Noise,
    /// G.711, either law.
    G711,
    /// G.722.
    G722,
    /// G.723.1.
    G723,
    /// G.726 of any rate.
    G726,
    /// G.729, with or without annexes.
    G729,
    /// GSM full rate (06.10).
    Gsm,
    /// GSM enhanced full rate (06.60).
    GsmEfr,
    /// iLBC (RFC 3952).
    Ilbc,
    /// AMR (RFC 4867).
    Amr,
    /// AMR-WB (RFC 4867).
    AmrWb,
    /// Opus (RFC 7587).
    Opus,
}

/// What a codec costs on the scale of the E-model (ITU-T G.107).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Impairment {
    /// Equipment impairment factor Ie without loss.
    pub equipment: f64,
    /// Packet-loss robustness factor Bpl; more is more robust.
    pub robustness: f64,
    /// Look-ahead in milliseconds.
    pub look_ahead: f64,
}

/// Names of codecs in rtpmap attributes (RFC 3551, RFC 4855), in lower case.
const NAMES: &[(&str, Codec)] = &[
    ("telephone-event", Codec::Event),
    ("cn", Codec::Noise),
    ("pcmu", Codec::G711),
    ("pcma", Codec::G711),
    ("g722", Codec::G722),
    ("g723", Codec::G723),
    ("g726-16", Codec::G726),
    ("g726-24", Codec::G726),
    ("g726-32", Codec::G726),
    ("g726-40", Codec::G726),
    ("g729", Codec::G729),
    ("g729a", Codec::G729),
    ("gsm", Codec::Gsm),
    ("gsm-efr", Codec::GsmEfr),
    ("ilbc", Codec::Ilbc),
    ("amr", Codec::Amr),
    ("amr-wb", Codec::AmrWb),
    ("opus", Codec::Opus),
];

impl Codec {
    /// By the encoding name of an rtpmap attribute, whatever its case.
    pub fn named(name: &[u8]) -> Self {
        let known = NAMES.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name));
        known.map_or(Self::Other, |(_, codec)| *codec)
    }

    /// The name for figures, in lower case.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::Event => "telephone-event",
            Self::Noise => "cn",
            Self::G711 => "g711",
            Self::G722 => "g722",
            Self::G723 => "g723",
            Self::G726 => "g726",
            Self::G729 => "g729",
            Self::Gsm => "gsm",
            Self::GsmEfr => "gsm-efr",
            Self::Ilbc => "ilbc",
            Self::Amr => "amr",
            Self::AmrWb => "amr-wb",
            Self::Opus => "opus",
        }
    }

    /// Is somebody speaking, rather than dialling or silent, or is it no speech at all?
    pub const fn is_speech(self) -> bool {
        !matches!(self, Self::Other | Self::Event | Self::Noise)
    }

    /// What it costs. G.711 (with the concealment of its appendix I), G.729A, G.723.1 and GSM EFR are ITU-T G.113
    /// appendix I; of GSM full rate, G.726 and iLBC the equipment factor is, and the robustness is taken from
    /// their kin; AMR is taken at 12.2 kbit/s, which is GSM EFR. G.722, AMR-WB and Opus are estimates on this scale,
    /// which ends at narrowband speech: their true quality without loss is better than it can say.
    pub const fn impairment(self) -> Option<Impairment> {
        let (equipment, robustness, look_ahead) = match self {
            Self::Other | Self::Event | Self::Noise => return None,
            Self::G711 => (0.0, 25.1, 0.0),
            Self::G722 => (0.0, 13.0, 1.0),
            Self::G723 => (15.0, 16.1, 7.5),
            Self::G726 => (7.0, 17.0, 0.0),
            Self::G729 => (11.0, 19.0, 5.0),
            Self::Gsm => (20.0, 10.0, 0.0),
            Self::GsmEfr | Self::Amr => (5.0, 10.0, 5.0),
            Self::Ilbc => (11.0, 32.0, 5.0),
            Self::AmrWb => (0.0, 13.0, 5.0),
            Self::Opus => (0.0, 20.0, 6.5),
        };
        Some(Impairment { equipment, robustness, look_ahead })
    }
}

/// Clock rates are kept in this many ticks per second, which divides all that are in use.
const CLOCK_UNIT: u32 = 25;
/// Formats of one stream that are remembered beside the static ones.
const FORMATS: usize = 6;

/// One payload type of a description.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Format {
    /// Payload type 0 is static, so an entry of zeros is free.
    payload_type: u8,
    codec: Codec,
    clock: u16,
}

/// What a stream's payload types are (RFC 3551 table 4 and rtpmap attributes). Of many dynamic types the first six are
/// known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Formats([Format; FORMATS]);

impl Formats {
    /// Note what an rtpmap attribute says: clock rate in ticks per second, a multiple of 25 up to 1.6 MHz; others count
    /// as unknown. What was said first stands.
    pub fn add(&mut self, payload_type: u8, codec: Codec, clock: u32) {
        let clock = if clock.is_multiple_of(CLOCK_UNIT) { clock / CLOCK_UNIT } else { 0 };
        let format = Format { payload_type, codec, clock: u16::try_from(clock).unwrap_or(0) };
        if assigned(payload_type) == (codec, clock * CLOCK_UNIT) {
            return;
        }
        let taken = self.0.iter().any(|known| known.payload_type == payload_type);
        let free = self.0.iter_mut().find(|known| known.payload_type == 0);
        if let Some(free) = free.filter(|_| !taken && payload_type != 0) {
            *free = format;
        }
    }

    /// All of these, and those of `other` whose types are not among them, as far as there is room.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        for format in &other.0 {
            self.add(format.payload_type, format.codec, u32::from(format.clock) * CLOCK_UNIT);
        }
        self
    }

    /// What a payload type carries, and its clock rate in ticks per second; 0: unknown.
    pub fn of(&self, payload_type: u8) -> (Codec, u32) {
        let said = self.0.iter().find(|known| known.payload_type == payload_type && payload_type != 0);
        match said {
            Some(format) => (format.codec, u32::from(format.clock) * CLOCK_UNIT),
            None => assigned(payload_type),
        }
    }
}

/// The static payload types (RFC 3551 tables 4 and 5).
const fn assigned(payload_type: u8) -> (Codec, u32) {
    match payload_type {
        0 | 8 => (Codec::G711, 8_000),
        2 => (Codec::G726, 8_000),
        3 => (Codec::Gsm, 8_000),
        4 => (Codec::G723, 8_000),
        9 => (Codec::G722, 8_000),
        13 | 19 => (Codec::Noise, 8_000),
        18 => (Codec::G729, 8_000),
        5 | 7 | 12 | 15 => (Codec::Other, 8_000),
        6 => (Codec::Other, 16_000),
        10 | 11 => (Codec::Other, 44_100),
        16 => (Codec::Other, 11_025),
        17 => (Codec::Other, 22_050),
        14 | 25..=34 => (Codec::Other, 90_000),
        _ => (Codec::Other, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn static_types_need_no_attribute() {
        let formats = Formats::default();
        assert_eq!(formats.of(0), (Codec::G711, 8_000));
        assert_eq!(formats.of(18), (Codec::G729, 8_000));
        assert_eq!(formats.of(34), (Codec::Other, 90_000));
        assert_eq!(formats.of(96), (Codec::Other, 0));
    }

    #[test]
    fn dynamic_types_are_what_was_said_first() {
        let mut formats = Formats::default();
        formats.add(111, Codec::named(b"OPUS"), 48_000);
        formats.add(111, Codec::named(b"speex"), 16_000);
        formats.add(10, Codec::Other, 11_025);
        assert_eq!(formats.of(111), (Codec::Opus, 48_000));
        assert_eq!(formats.of(10), (Codec::Other, 11_025));
    }

    #[test]
    fn two_descriptions_are_joined_as_far_as_there_is_room() {
        let (mut one, mut other) = (Formats::default(), Formats::default());
        (96..100).for_each(|n| one.add(n, Codec::Amr, 8_000));
        (98..110).for_each(|n| other.add(n, Codec::AmrWb, 16_000));
        let both = one.and(&other);
        assert_eq!((both.of(98).0, both.of(100).0, both.of(101).0), (Codec::Amr, Codec::AmrWb, Codec::AmrWb));
        assert_eq!(both.of(102), (Codec::Other, 0));
    }

    #[test]
    fn a_clock_that_cannot_be_kept_is_unknown() {
        let mut formats = Formats::default();
        formats.add(96, Codec::Other, 8_001);
        formats.add(97, Codec::Other, u32::MAX - 20);
        assert_eq!((formats.of(96).1, formats.of(97).1), (0, 0));
    }

    #[test]
    fn every_speech_codec_has_its_cost() {
        for (_, codec) in NAMES {
            assert_eq!(codec.impairment().is_some(), codec.is_speech(), "{codec:?}");
        }
    }
}
