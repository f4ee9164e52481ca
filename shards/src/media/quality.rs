//! What reception of one direction was like: loss, order and jitter out of RTP, the far receiver's view and the round
//! trip out of RTCP (RFC 3550 sections 6.4 and A).
//!
//! Integers only, no table and no allocation: it runs for every packet. What the figures mean to a listener is
//! [`super::emodel`]'s, when somebody asks.

use super::formats::{Codec, Formats};
use crate::types::Instant;
use crate::wire::rtcp::{Block, SenderInfo};
use crate::wire::rtp::Rtp;
use std::time::Duration;

/// A step of the sequence number beyond this is a jump, not a gap (RFC 3550 section A.1).
const MAX_DROPOUT: u16 = 3_000;
/// A packet so many behind the newest is late; further back it is a jump.
const MAX_MISORDER: u16 = 100;
/// Of so many packets before the newest it is known whether they came.
const WINDOW: u16 = u32::BITS as u16;
/// Extended sequence numbers begin here, so that one may come before the first.
const FIRST_CYCLE: u32 = 1 << 16;
/// Two packets that come so much apart from what their timestamps say do not show jitter, but a new timeline.
const NEW_TIMELINE: u64 = 2_000_000;
/// A round trip longer than this, in 1/65536 s, is none.
const LONGEST_TRIP: u32 = 60 << 16;
/// [`Quality::tick`] of the clock of video.
const VIDEO_TICK: u32 = ((1_000_000_u64 << 16) / 90_000) as u32;
/// Microseconds that figures are rounded down to which need not be exact.
const COARSE: u64 = 64;
/// No payload type: types have seven bits.
const NO_TYPE: u8 = u8::MAX;
/// No round trip was measured.
const UNKNOWN: u32 = u32::MAX;

/// One direction of a stream, as it came from its sender.
#[derive(Clone, Debug)]
pub struct Quality {
    /// The stream in force.
    ssrc: u32,
    /// Extended sequence numbers of the newest packet and of the first, of this SSRC.
    newest: u32,
    first: u32,
    /// Bit n: the packet n before the newest came.
    window: u32,
    /// Packets that were due, of streams before this one and before its last jump.
    due_before: u32,
    received: u32,
    late: u32,
    duplicates: u32,
    /// RFC 3550 section A.8: sixteenths of a microsecond.
    jitter: u32,
    /// When the last packet came that was timed, in microseconds, and its timestamp.
    arrived: u32,
    timestamp: u32,
    /// Microseconds of a tick of the clock, in 1/65536; 0: not timed.
    tick: u32,
    /// Where a jump would go on.
    jumped: u16,
    /// The largest payload of speech.
    largest: u16,
    payload_type: u8,
    codec: Codec,
    flags: Flags,
    /// The time in the last sender report, and when it came, in 1/65536 s.
    report: u32,
    report_came: u32,
    /// What the far receiver last said: fraction lost in the top octet, cumulative number below.
    reported_lost: u32,
    /// Its jitter, in coarse units.
    reported_jitter: u16,
    /// The highest value of `jitter` so far, in coarse units.
    peak: u16,
    /// Between us and the sender of this direction, in 1/65536 s.
    round_trip: u32,
}

/// What is so or not, a bit each: five booleans would take five octets of every direction of every stream.
#[derive(Clone, Copy, Debug, Default)]
struct Flags(u8);

impl Flags {
    /// A packet came.
    const BEGUN: u8 = 1;
    /// `arrived` and `timestamp` are those of the packet before.
    const TIMED: u8 = 2;
    /// The sender has said that it is silent: comfort noise, or a packet that is much smaller than its others.
    const RESTING: u8 = 4;
    /// The last packet was comfort noise.
    const NOISE: u8 = 8;
    /// The last packet was a jump.
    const JUMPED: u8 = 16;
    /// The far receiver has reported.
    const REPORTED: u8 = 32;

    const fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    const fn set(&mut self, flag: u8, value: bool) {
        self.0 = if value { self.0 | flag } else { self.0 & !flag };
    }
}

impl Default for Quality {
    /// Nothing came.
    fn default() -> Self {
        Self {
            ssrc: 0,
            newest: 0,
            first: 0,
            window: 0,
            due_before: 0,
            received: 0,
            late: 0,
            duplicates: 0,
            jitter: 0,
            arrived: 0,
            timestamp: 0,
            tick: 0,
            jumped: 0,
            largest: 0,
            payload_type: NO_TYPE,
            codec: Codec::Other,
            flags: Flags::default(),
            report: 0,
            report_came: 0,
            reported_lost: 0,
            reported_jitter: 0,
            peak: 0,
            round_trip: UNKNOWN,
        }
    }
}

impl Quality {
    /// An accepted packet of this direction.
    pub fn receive(&mut self, now: Instant, rtp: &Rtp, formats: &Formats) {
        if rtp.ssrc != self.ssrc || !self.flags.has(Flags::BEGUN) {
            self.restart(rtp.ssrc, rtp.sequence);
            self.received = self.received.wrapping_add(1);
        } else if !self.follow(rtp.sequence) {
            return;
        }
        if rtp.payload_type != self.payload_type {
            self.change(rtp.payload_type, formats);
        }
        self.weigh(rtp.payload.len());
        self.time(now, rtp.timestamp);
    }

    /// Payload types may mean something else from now on.
    pub const fn renegotiated(&mut self) {
        self.payload_type = NO_TYPE;
    }

    /// A sender report of this direction was forwarded: its answers will tell how far the far end is.
    pub fn sender_reported(&mut self, now: Instant, sender: &SenderInfo) {
        if self.ssrc().is_none_or(|ssrc| ssrc == sender.ssrc) {
            (self.report, self.report_came) = (sender.time, short(now));
        }
    }

    /// A receiver's report about this direction came from its far end.
    pub fn reported(&mut self, block: &Block) {
        let lost = u32::from(block.fraction) << 24 | block.lost.cast_unsigned() & 0xff_ffff;
        let jitter = (u64::from(block.jitter) * u64::from(self.tick)) >> 16;
        self.reported_lost = lost;
        self.reported_jitter = coarse(jitter);
        self.flags.set(Flags::REPORTED, true);
    }

    /// How far the sender of that report is from here: it answers what was forwarded to it, of direction `forwarded`.
    pub fn answered(&mut self, now: Instant, block: &Block, forwarded: &Self) {
        if block.last_report == 0 || block.last_report != forwarded.report {
            return;
        }
        let trip = short(now).wrapping_sub(forwarded.report_came).wrapping_sub(block.delay);
        // A receiver rounds its delay, so that a short trip may come out below zero.
        let trip = if trip.cast_signed() < 0 { 0 } else { trip };
        if trip <= LONGEST_TRIP {
            self.round_trip = trip;
        }
    }

    /// The stream in force; `None` before the first packet.
    pub fn ssrc(&self) -> Option<u32> {
        self.flags.has(Flags::BEGUN).then_some(self.ssrc)
    }

    /// Has the sender said that it is silent, as far as its last packet tells?
    pub const fn is_resting(&self) -> bool {
        self.flags.has(Flags::RESTING)
    }

    /// Is it audio? Other media counts in ticks of 90 kHz (RFC 3551 section 5), or has a clock that is not known.
    pub const fn is_audio(&self) -> bool {
        self.codec.is_speech() || self.tick != 0 && self.tick != VIDEO_TICK
    }

    /// All figures so far.
    pub fn figures(&self) -> Figures {
        let due = self.due_before.wrapping_add(self.due());
        let reported = self.flags.has(Flags::REPORTED).then(|| Reported {
            fraction: (self.reported_lost >> 24) as u8,
            lost: (self.reported_lost << 8).cast_signed() >> 8,
            jitter: fine(self.reported_jitter),
        });
        let trip = (self.round_trip != UNKNOWN).then_some(u64::from(self.round_trip));
        Figures {
            ssrc: self.ssrc(),
            codec: self.codec,
            expected: due,
            received: self.received,
            lost: due.saturating_sub(self.received),
            late: self.late,
            duplicates: self.duplicates,
            jitter: Duration::from_micros(u64::from(self.jitter / 16)),
            peak_jitter: fine(self.peak),
            reported,
            round_trip: trip.map(|trip| Duration::from_micros((trip * 1_000_000) >> 16)),
        }
    }

    /// Packets due of the stream in force since its last jump.
    fn due(&self) -> u32 {
        if self.flags.has(Flags::BEGUN) { self.newest.wrapping_sub(self.first).wrapping_add(1) } else { 0 }
    }

    /// Another stream, or the same from another number on: sums go on.
    fn restart(&mut self, ssrc: u32, sequence: u16) {
        self.due_before = self.due_before.wrapping_add(self.due());
        self.ssrc = ssrc;
        self.first = FIRST_CYCLE + u32::from(sequence);
        self.newest = self.first;
        self.window = 1;
        self.flags.set(Flags::BEGUN, true);
        self.flags.set(Flags::TIMED | Flags::JUMPED, false);
    }

    /// One more packet of the stream in force; false when it was there already, or may be no part of it.
    fn follow(&mut self, sequence: u16) -> bool {
        let step = sequence.wrapping_sub(self.newest as u16);
        let behind = step.wrapping_neg();
        if (1..=MAX_DROPOUT).contains(&step) {
            self.newest = self.newest.wrapping_add(u32::from(step));
            self.window = self.window.checked_shl(u32::from(step)).unwrap_or(0) | 1;
        } else if behind < WINDOW && self.window >> behind & 1 == 1 {
            self.duplicates = self.duplicates.wrapping_add(1);
            return false;
        } else if behind <= MAX_MISORDER {
            self.window |= 1_u32.checked_shl(u32::from(behind)).unwrap_or(0);
            self.first = self.first.min(self.newest.wrapping_sub(u32::from(behind)));
            self.late = self.late.wrapping_add(1);
        } else {
            return self.jump(sequence);
        }
        self.flags.set(Flags::JUMPED, false);
        self.received = self.received.wrapping_add(1);
        true
    }

    /// Far from what was expected: believed when the next packet goes on from there (RFC 3550 section A.1).
    fn jump(&mut self, sequence: u16) -> bool {
        if !self.flags.has(Flags::JUMPED) || sequence != self.jumped {
            self.jumped = sequence.wrapping_add(1);
            self.flags.set(Flags::JUMPED, true);
            return false;
        }
        self.restart(self.ssrc, sequence.wrapping_sub(1));
        self.received = self.received.wrapping_add(1);
        self.follow(sequence)
    }

    /// Another payload type: another clock, or none.
    fn change(&mut self, payload_type: u8, formats: &Formats) {
        let (codec, clock) = formats.of(payload_type);
        self.payload_type = payload_type;
        let timed = clock != 0 && codec != Codec::Event;
        let tick = if timed { ((1_000_000_u64 << 16) / u64::from(clock)) as u32 } else { 0 };
        if tick != self.tick {
            self.tick = tick;
            self.flags.set(Flags::TIMED, false);
        }
        if !matches!(codec, Codec::Event | Codec::Noise) {
            self.codec = codec;
        }
        self.flags.set(Flags::NOISE, codec == Codec::Noise);
    }

    /// Does the sender speak, by the size of its packet? Silence descriptors (G.729 annex B, AMR, Opus) are packets of
    /// the codec itself, less than half as large as its others.
    fn weigh(&mut self, payload: usize) {
        let payload = u16::try_from(payload).unwrap_or(u16::MAX);
        self.largest = self.largest.max(payload);
        let resting = self.flags.has(Flags::NOISE) || payload < self.largest / 2;
        self.flags.set(Flags::RESTING, resting);
    }

    /// RFC 3550 section A.8, in microseconds instead of ticks: D is the difference of two packets' distances.
    fn time(&mut self, now: Instant, timestamp: u32) {
        if self.tick == 0 {
            return;
        }
        let arrived = (now.as_nanos() / 1_000) as u32;
        if self.flags.has(Flags::TIMED) {
            let came = i64::from(arrived.wrapping_sub(self.arrived).cast_signed());
            let ticks = i64::from(timestamp.wrapping_sub(self.timestamp).cast_signed());
            let apart = (came - ((ticks * i64::from(self.tick)) >> 16)).unsigned_abs();
            if apart < NEW_TIMELINE {
                self.jitter = self.jitter + apart as u32 - ((self.jitter + 8) >> 4);
                self.peak = self.peak.max(coarse(u64::from(self.jitter / 16)));
            }
        }
        (self.arrived, self.timestamp) = (arrived, timestamp);
        self.flags.set(Flags::TIMED, true);
    }
}

/// A moment in 1/65536 s, as RTCP counts delays; wraps after 18 hours.
const fn short(now: Instant) -> u32 {
    ((now.as_nanos() / 1_000) * 4_096 / 62_500) as u32
}

/// Microseconds in units of 64, at most some 4 s.
fn coarse(micros: u64) -> u16 {
    u16::try_from(micros / COARSE).unwrap_or(u16::MAX)
}

fn fine(coarse: u16) -> Duration {
    Duration::from_micros(u64::from(coarse) * COARSE)
}

/// What the far receiver says about a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reported {
    /// Lost in its last interval, in 1/256.
    pub fraction: u8,
    /// Lost since it began; negative when it got duplicates.
    pub lost: i32,
    /// Interarrival jitter at its place.
    pub jitter: Duration,
}

/// Figures of one direction. Packets are those that were accepted here, whether or not a gate then let them through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// The last stream; `None`: no RTP came.
    pub ssrc: Option<u32>,
    /// The last codec that was no event and no comfort noise.
    pub codec: Codec,
    /// Packets that sequence numbers say were sent, over all streams.
    pub expected: u32,
    /// Different packets that came.
    pub received: u32,
    /// Expected and not received.
    pub lost: u32,
    /// Received after a packet that was sent later.
    pub late: u32,
    /// Received again; not in `received`.
    pub duplicates: u32,
    /// Interarrival jitter now (RFC 3550 section 6.4.1).
    pub jitter: Duration,
    /// The most that it was.
    pub peak_jitter: Duration,
    /// What the receiver at the other end said last.
    pub reported: Option<Reported>,
    /// Between us and the sender of this direction.
    pub round_trip: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SSRC: u32 = 7;

    #[derive(Default)]
    struct Ear {
        quality: Quality,
        now: Instant,
        formats: Formats,
    }

    impl Ear {
        fn hear(&mut self, ssrc: u32, payload_type: u8, sequence: u16, timestamp: u32, octets: usize) {
            let payload = 12..12 + octets;
            let rtp = Rtp { payload_type, marker: false, sequence, timestamp, ssrc, payload };
            self.quality.receive(self.now, &rtp, &self.formats);
        }

        /// A packet of G.711, 20 ms after the last, at its own time.
        fn voice(&mut self, sequence: u16) {
            self.now += Duration::from_millis(20);
            self.hear(SSRC, 0, sequence, u32::from(sequence) * 160, 160);
        }

        /// Expected, received, lost, late, duplicates.
        fn sums(&self) -> [u32; 5] {
            let figures = self.quality.figures();
            [figures.expected, figures.received, figures.lost, figures.late, figures.duplicates]
        }
    }

    #[track_caller]
    fn heard(sequences: impl IntoIterator<Item = u16>, sums: [u32; 5]) {
        let mut ear = Ear::default();
        sequences.into_iter().for_each(|sequence| ear.voice(sequence));
        assert_eq!(ear.sums(), sums);
    }

    #[test]
    fn it_is_small() {
        let size = size_of::<Quality>();
        assert!(size <= 76, "{size}");
    }

    #[test]
    fn nothing_came() {
        heard([], [0; 5]);
        assert_eq!(Quality::default().figures().ssrc, None);
    }

    #[test]
    fn gaps_are_loss_also_where_the_number_wraps() {
        heard(10..20, [10, 10, 0, 0, 0]);
        heard([10, 11, 14, 15], [6, 4, 2, 0, 0]);
        heard([65_534, 65_535, 1, 2], [5, 4, 1, 0, 0]);
    }

    #[test]
    fn a_late_packet_is_not_lost_and_a_second_one_not_received() {
        heard([1, 3, 2, 4], [4, 4, 0, 1, 0]);
        heard([1, 2, 2, 3, 1], [3, 3, 0, 0, 2]);
        heard([1, 3, 2, 2], [3, 3, 0, 1, 1]);
    }

    #[test]
    fn the_first_packet_may_be_late_itself() {
        heard([5, 4, 6, 5], [3, 3, 0, 1, 1]);
        heard([0, 65_535, 1], [3, 3, 0, 1, 0]);
    }

    #[test]
    fn behind_the_window_late_packets_count_each() {
        heard((0..50).filter(|n| *n != 10).chain([10, 10]), [50, 51, 0, 2, 0]);
    }

    #[test]
    fn a_jump_is_believed_when_it_goes_on() {
        heard([1, 2, 30_000, 3, 4], [4, 4, 0, 0, 0]);
        heard([1, 2, 30_000, 30_001, 30_003], [6, 5, 1, 0, 0]);
        heard([5_000, 5_001, 100, 101], [4, 4, 0, 0, 0]);
    }

    #[test]
    fn sums_go_on_over_another_stream() {
        let mut ear = Ear::default();
        [1, 2, 4].into_iter().for_each(|sequence| ear.voice(sequence));
        ear.hear(99, 0, 60_000, 0, 160);
        ear.hear(99, 0, 60_002, 320, 160);
        assert_eq!(ear.sums(), [7, 5, 2, 0, 0]);
        assert_eq!(ear.quality.ssrc(), Some(99));
    }

    #[test]
    fn even_arrival_has_no_jitter_whatever_silences_there_are() {
        let mut ear = Ear::default();
        (0..100).for_each(|sequence| ear.voice(sequence));
        ear.now += Duration::from_secs(3);
        (100..200).for_each(|sequence| {
            ear.now += Duration::from_millis(20);
            ear.hear(SSRC, 0, sequence, u32::from(sequence) * 160 + 24_000, 160);
        });
        assert_eq!(ear.quality.figures().peak_jitter, Duration::ZERO);
    }

    /// Every second packet comes 8 ms late: the distance changes by 8 ms each time, and the mean goes there.
    #[test]
    fn jitter_is_the_mean_change_of_distance() {
        let mut ear = Ear::default();
        for sequence in 0..400_u16 {
            let late = if sequence % 2 == 1 { 8 } else { 0 };
            ear.now = Instant::ZERO + Duration::from_millis(u64::from(sequence) * 20 + late);
            ear.hear(SSRC, 0, sequence, u32::from(sequence) * 160, 160);
        }
        let jitter = ear.quality.figures().jitter.as_micros();
        assert!((7_990..=8_000).contains(&jitter), "{jitter}");
    }

    /// The algorithm of RFC 3550 section A.8 in floating point, on the same arrivals.
    #[test]
    fn jitter_agrees_with_the_formula() {
        let (mut ear, mut jitter, mut before) = (Ear::default(), 0.0_f64, None);
        ear.formats.add(111, Codec::Opus, 48_000);
        for n in 0..1_000_u64 {
            let at = n * 20_000 + n * n * 7_919 % 15_000;
            ear.now = Instant::from_nanos(at * 1_000);
            ear.hear(SSRC, 111, n as u16, (n * 960) as u32, 80);
            let transit = at as f64 - n as f64 * 20_000.0;
            jitter += before.map_or(0.0, |before: f64| (transit - before).abs() - jitter) / 16.0;
            before = Some(transit);
        }
        let measured = ear.quality.figures().jitter.as_micros() as f64;
        assert!((measured - jitter).abs() < 2.0, "{measured} is not {jitter}");
    }

    #[test]
    fn events_are_not_timed_and_a_new_timeline_is_not_jitter() {
        let mut ear = Ear::default();
        ear.formats.add(101, Codec::Event, 8_000);
        (0..10).for_each(|sequence| ear.voice(sequence));
        for sequence in 10..20 {
            ear.now += Duration::from_millis(20);
            ear.hear(SSRC, 101, sequence, 1_600, 4);
        }
        (20..30).for_each(|sequence| ear.voice(sequence));
        ear.now += Duration::from_millis(20);
        ear.hear(SSRC, 0, 30, 4_000_000_000, 160);
        let figures = ear.quality.figures();
        assert_eq!((figures.peak_jitter, figures.codec), (Duration::ZERO, Codec::G711));
        assert_eq!((figures.received, figures.lost), (31, 0));
    }

    #[test]
    fn comfort_noise_and_silence_descriptors_are_rest() {
        let mut ear = Ear::default();
        ear.formats.add(118, Codec::Noise, 8_000);
        ear.voice(1);
        assert!(!ear.quality.is_resting());
        ear.hear(SSRC, 118, 2, 320, 160);
        assert!(ear.quality.is_resting());
        ear.voice(3);
        assert!(!ear.quality.is_resting());
        ear.hear(SSRC, 0, 4, 640, 20);
        assert!(ear.quality.is_resting());
    }

    #[test]
    fn a_new_description_gives_types_a_new_meaning() {
        let mut ear = Ear::default();
        ear.formats.add(96, Codec::Amr, 8_000);
        ear.hear(SSRC, 96, 1, 0, 30);
        ear.formats = Formats::default();
        ear.formats.add(96, Codec::Opus, 48_000);
        ear.quality.renegotiated();
        ear.hear(SSRC, 96, 2, 960, 30);
        assert_eq!(ear.quality.figures().codec, Codec::Opus);
    }

    fn block(last_report: u32, delay: u32) -> Block {
        Block { about: SSRC, fraction: 128, lost: -3, jitter: 80, last_report, delay }
    }

    #[test]
    fn the_far_receiver_is_believed_about_its_own_place() {
        let mut ear = Ear::default();
        ear.voice(1);
        assert_eq!(ear.quality.figures().reported, None);
        ear.quality.reported(&block(0, 0));
        let reported = Reported { fraction: 128, lost: -3, jitter: Duration::from_micros(9_984) };
        assert_eq!(ear.quality.figures().reported, Some(reported));
    }

    /// A report goes out at 1 s, rests 2 s at the other end, and its answer comes at 3.25 s.
    #[test]
    fn the_round_trip_is_what_the_far_end_did_not_wait() {
        let (mut sender, mut receiver) = (Quality::default(), Quality::default());
        let at = |millis| Instant::ZERO + Duration::from_millis(millis);
        sender.sender_reported(at(1_000), &SenderInfo { ssrc: SSRC, time: 42, packets: 9 });
        receiver.answered(at(3_250), &block(42, 2 << 16), &sender);
        assert_eq!(receiver.figures().round_trip, Some(Duration::from_millis(250)));
    }

    #[test]
    fn answers_to_other_reports_and_impossible_ones_measure_nothing() {
        let (mut sender, mut receiver) = (Quality::default(), Quality::default());
        let at = |millis| Instant::ZERO + Duration::from_millis(millis);
        receiver.answered(at(3_250), &block(0, 0), &sender);
        sender.sender_reported(at(1_000), &SenderInfo { ssrc: SSRC, time: 42, packets: 9 });
        receiver.answered(at(3_250), &block(41, 0), &sender);
        receiver.answered(at(90_000), &block(42, 0), &sender);
        assert_eq!(receiver.figures().round_trip, None);
        receiver.answered(at(1_001), &block(42, 1 << 16), &sender);
        assert_eq!(receiver.figures().round_trip, Some(Duration::ZERO));
    }
}
