//! RTP between the ends of many calls at one even pace, each packet stamped: what a relay adds, loses and mistakes.
//!
//! One socket an end, as phones have. The kernel notes when a packet comes to a socket, so that the generator's own
//! tardiness in reading it is no delay of the relay's. Nothing waits at the sockets, they are asked in the order in which
//! packets must come: on loopback, waking a waiter would be charged to the relay that sends to it.

use super::kernel::drops;
use anyhow::Context;
use hdrhistogram::Histogram;
use nix::errno::Errno;
use nix::sys::socket::sockopt::ReceiveTimestampns;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, send, setsockopt};
use nix::sys::time::TimeSpec;
use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Octets of a packet: the RTP header and 20 ms of PCMU.
pub const PACKET: usize = 172;
/// Packets that may leave before the sockets are read again.
const BURST: u64 = 16;
/// Packets that may be taken before it is looked what is due.
const TAKEN: usize = 32;
/// A socket is not asked any more for a packet that has not come after this long; the last sweep finds it.
const OVERDUE: Duration = Duration::from_millis(100);
/// The generator never sleeps for longer than this, and this often: where it has a real-time priority, the kernel would
/// otherwise take the core from it for 50 ms of each second (sched(7)).
const PAUSE: Duration = Duration::from_micros(120);
const PAUSE_EACH: Duration = Duration::from_millis(1);
/// After the last packet was sent, those on their way may take this long.
const DRAIN: Duration = Duration::from_millis(200);
/// More than one packet in a hundred later than this: the generator shapes the traffic, and not the plan. A virtual machine
/// is itself away for some milliseconds now and then, which is no reason to discard a round: everybody meets it.
const LATE: Duration = Duration::from_millis(5);
const MAGIC: [u8; 4] = *b"bare";

/// The ends of all calls.
#[derive(Debug)]
pub struct Media {
    ends: Vec<End>,
    /// Which ends must hear a packet, and since when, in the order of sending.
    awaited: VecDeque<(usize, Instant)>,
    sides: [Ipv4Addr; 2],
    /// The next to send, and how far it is to the one after.
    turn: (usize, usize),
    /// Which run a packet belongs to.
    run: u32,
    /// Room for the kernel's time stamp.
    control: Vec<u8>,
}

#[derive(Debug)]
struct End {
    socket: UdpSocket,
    packet: [u8; PACKET],
    sequence: u32,
    samples: u32,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Counts {
    /// Packets that left.
    pub sent: u64,
    /// Packets that came to the other end of their call.
    pub received: u64,
    /// Packets that came somewhere else, or were changed.
    pub strange: u64,
    /// Packets that the kernel did not take.
    pub refused: u64,
    /// Packets that came, but found no room at the generator's sockets.
    pub overflowed: u64,
    /// From before a packet is sent until it is at the other end's socket, in nanoseconds.
    pub delay: Histogram<u64>,
    /// How much later than planned packets left, in nanoseconds.
    pub lateness: Histogram<u64>,
}

impl Counts {
    fn new() -> anyhow::Result<Self> {
        let histogram = || Histogram::new_with_bounds(1, 60_000_000_000, 3);
        let (delay, lateness) = (histogram()?, histogram()?);
        Ok(Self { sent: 0, received: 0, strange: 0, refused: 0, overflowed: 0, delay, lateness })
    }

    /// A packet came to an end in this run. One of an earlier run is nobody's.
    fn heard(&mut self, stamp: Option<Stamp>, arrived: u64, (end, run): (usize, u32)) {
        match stamp {
            Some(stamp) if stamp.run != run => {}
            Some(stamp) if stamp.end as usize == end ^ 1 => {
                self.received += 1;
                self.delay.saturating_record(arrived.saturating_sub(stamp.sent).max(1));
            }
            _ => self.strange += 1,
        }
    }

    /// Packets that did not arrive.
    pub fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.received)
    }

    /// Share of the packets that did not arrive.
    pub fn loss(&self) -> f64 {
        self.lost() as f64 / self.sent.max(1) as f64
    }

    /// The added delay that so large a share of the packets did not exceed, in microseconds.
    pub fn delay_us(&self, quantile: f64) -> f64 {
        self.delay.value_at_quantile(quantile) as f64 / 1e3
    }

    /// Why the generator itself was the limit, if it was; the figures then say nothing about the relay.
    pub fn limited(&self) -> Option<String> {
        let late = Duration::from_nanos(self.lateness.value_at_quantile(0.99));
        match (self.refused, self.overflowed) {
            (0, 0) if late <= LATE => None,
            (0, 0) => Some(format!("one packet in a hundred left {late:.1?} late or more")),
            (0, over) => Some(format!("{over} packets found no room at the generator's sockets")),
            (refused, _) => Some(format!("the kernel refused {refused} packets")),
        }
    }
}

impl Media {
    /// Two sockets for each call: the caller's on the first address, the callee's on the second, at even ports from
    /// `first_port` on.
    ///
    /// # Errors
    /// A socket cannot be had or bound.
    pub fn open(calls: u32, sides: [Ipv4Addr; 2], first_port: u16) -> anyhow::Result<Self> {
        let count = calls as usize * 2;
        let control = nix::cmsg_space!(TimeSpec);
        let turn = (0, stride(count));
        let (ends, awaited) = (Vec::with_capacity(count), VecDeque::new());
        let mut media = Self { ends, awaited, sides, turn, run: 0, control };
        for call in 0..calls {
            let port =
                u16::try_from(u32::from(first_port) + call * 2).context("too many calls for the ports")?;
            for side in sides {
                media.add(SocketAddr::from((side, port)))?;
            }
        }
        Ok(media)
    }

    fn add(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        let socket = UdpSocket::bind(address).with_context(|| format!("cannot bind {address}"))?;
        setsockopt(&socket, ReceiveTimestampns, &true).context("no time stamps are to be had")?;
        let index = self.ends.len();
        let mut packet = [0xFF; PACKET];
        packet[..12].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        packet[8..12].copy_from_slice(&(0x1000_0000 + index as u32).to_be_bytes());
        packet[12..16].copy_from_slice(&MAGIC);
        packet[16..20].copy_from_slice(&(index as u32).to_be_bytes());
        self.ends.push(End { socket, packet, sequence: 0, samples: 160 });
        Ok(())
    }

    /// Calls that it has ends for.
    pub fn calls(&self) -> usize {
        self.ends.len() / 2
    }

    /// Where the caller and the callee of a call listen.
    ///
    /// # Errors
    /// There is no such call.
    pub fn addresses(&self, call: usize) -> anyhow::Result<[SocketAddr; 2]> {
        let end = |side| self.ends.get(call * 2 + side).context("no such call");
        Ok([end(0)?.socket.local_addr()?, end(1)?.socket.local_addr()?])
    }

    /// From now on the ends of this call send here: the caller's, then the callee's.
    ///
    /// # Errors
    /// There is no such call, or the kernel knows no way there.
    pub fn connect(&mut self, call: usize, relay: [SocketAddr; 2]) -> anyhow::Result<()> {
        for (side, address) in relay.into_iter().enumerate() {
            let end = self.ends.get(call * 2 + side).context("no such call")?;
            end.socket.connect(address).with_context(|| format!("cannot send to {address}"))?;
        }
        Ok(())
    }

    /// Send so many packets a second for so long, all ends in turn, and take what comes. Open-loop: a packet leaves when
    /// the plan says, whatever became of the others. Returns when the last ones have come, or had their time.
    ///
    /// # Errors
    /// A histogram cannot be made.
    pub fn run(&mut self, packets_per_s: f64, length: Duration) -> anyhow::Result<Counts> {
        self.run += 1;
        self.awaited.clear();
        let before = self.overflowed();
        let mut counts = Counts::new()?;
        let gap = 1e9 / packets_per_s;
        let total = (length.as_secs_f64() * packets_per_s) as u64;
        let start = Instant::now();
        let mut paused = start;
        while counts.sent + counts.refused < total {
            let caught_up = self.send_due(start, gap, total, &mut counts);
            self.receive(&mut counts);
            if caught_up && paused.elapsed() >= PAUSE_EACH {
                std::thread::sleep(PAUSE);
                paused = Instant::now();
            }
        }
        self.sweep(&mut counts);
        counts.overflowed = self.overflowed().saturating_sub(before);
        Ok(counts)
    }

    /// Take what is still on its way, wherever it comes.
    fn sweep(&mut self, counts: &mut Counts) {
        let end = Instant::now() + DRAIN;
        loop {
            for index in 0..self.ends.len() {
                while self.take(index, counts) {}
            }
            if counts.received >= counts.sent || Instant::now() >= end {
                return;
            }
        }
    }

    fn overflowed(&self) -> u64 {
        self.sides.into_iter().map(drops).sum()
    }

    /// True when nothing more is due now.
    fn send_due(&mut self, start: Instant, gap: f64, total: u64, counts: &mut Counts) -> bool {
        for _ in 0..BURST {
            let index = counts.sent + counts.refused;
            let (elapsed, due) = (start.elapsed().as_nanos() as u64, (index as f64 * gap) as u64);
            if index >= total || elapsed < due {
                return true;
            }
            counts.lateness.saturating_record((elapsed - due).max(1));
            let sent = self.ends[self.turn.0].send(self.run);
            if sent {
                self.awaited.push_back((self.turn.0 ^ 1, Instant::now()));
            }
            self.turn.0 = (self.turn.0 + self.turn.1) % self.ends.len();
            if sent { counts.sent += 1 } else { counts.refused += 1 }
        }
        false
    }

    /// Ask the sockets where a packet must have come. One that has none yet is asked again after the others.
    fn receive(&mut self, counts: &mut Counts) {
        for _ in 0..TAKEN {
            let Some((index, since)) = self.awaited.pop_front() else { return };
            if self.take(index, counts) {
                continue;
            }
            if since.elapsed() < OVERDUE {
                self.awaited.push_back((index, since));
            }
            return;
        }
    }

    /// One packet of a socket; false when it has none.
    fn take(&mut self, index: usize, counts: &mut Counts) -> bool {
        let mut packet = [0; 2048];
        let (fd, flags) = (self.ends[index].socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        let mut room = [IoSliceMut::new(&mut packet)];
        let got = match recvmsg::<()>(fd, &mut room, Some(&mut self.control), flags) {
            Ok(got) => got,
            // A report about an earlier packet, whose port was closed; what came is still behind it.
            Err(Errno::ECONNREFUSED) => return true,
            Err(_) => return false,
        };
        let arrived = got.cmsgs().find_map(|message| match message {
            ControlMessageOwned::ScmTimestampns(time) => {
                Some(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
            }
            _ => None,
        });
        let length = got.bytes;
        let stamp = Stamp::read(&packet[..length]);
        counts.heard(stamp, arrived.unwrap_or_else(wall_clock), (index, self.run));
        true
    }
}

impl End {
    /// False when the kernel does not take the packet.
    fn send(&mut self, run: u32) -> bool {
        self.sequence = self.sequence.wrapping_add(1);
        let media_time = self.sequence.wrapping_mul(self.samples);
        self.packet[2..4].copy_from_slice(&(self.sequence as u16).to_be_bytes());
        self.packet[4..8].copy_from_slice(&media_time.to_be_bytes());
        self.packet[20..24].copy_from_slice(&run.to_be_bytes());
        self.packet[24..32].copy_from_slice(&wall_clock().to_be_bytes());
        let fd = self.socket.as_raw_fd();
        match send(fd, &self.packet, MsgFlags::MSG_DONTWAIT) {
            // A report about an earlier packet, whose port was closed; this one did not leave yet.
            Err(Errno::ECONNREFUSED) => send(fd, &self.packet, MsgFlags::MSG_DONTWAIT).is_ok(),
            sent => sent.is_ok(),
        }
    }
}

/// What a packet says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    end: u32,
    run: u32,
    sent: u64,
}

impl Stamp {
    fn read(packet: &[u8]) -> Option<Self> {
        let word = |at: usize| packet.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
        let whole = packet.len() == PACKET && packet[0] == 0x80 && packet[12..16] == MAGIC;
        let sent = u64::from(word(24)?) << 32 | u64::from(word(28)?);
        whole.then_some(Self { end: word(16)?, run: word(20)?, sent })
    }
}

/// Nanoseconds on the clock that the kernel stamps with.
fn wall_clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// A step that leads through all ends and not from neighbour to neighbour.
fn stride(ends: usize) -> usize {
    const fn gcd(a: usize, b: usize) -> usize {
        if b == 0 { a } else { gcd(b, a % b) }
    }
    (ends * 382 / 1_000 + 1..).find(|&step| gcd(step, ends.max(1)) == 1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDES: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 98, 0, 1), Ipv4Addr::new(127, 98, 0, 2)];

    /// Both ends of each call send to each other, with nothing between.
    fn direct(calls: u32, first_port: u16) -> Media {
        let mut media = Media::open(calls, SIDES, first_port).expect("sockets");
        for call in 0..calls as usize {
            let [caller, callee] = media.addresses(call).expect("addresses");
            media.connect(call, [callee, caller]).expect("a way");
        }
        media
    }

    #[test]
    fn every_packet_comes_to_the_other_end() {
        let counts = direct(10, 4_000).run(1_000.0, Duration::from_millis(300)).expect("run");
        assert_eq!((counts.sent, counts.received, counts.strange, counts.refused), (300, 300, 0, 0));
        assert_eq!((counts.delay.len(), counts.overflowed), (300, 0));
    }

    #[test]
    fn what_comes_to_a_wrong_end_is_strange() {
        let mut media = direct(2, 5_000);
        let [first, second] = [0, 1].map(|call| media.addresses(call).expect("addresses"));
        media.connect(0, [second[1], first[0]]).expect("a way");
        // A connected socket takes nothing from another peer, so the wrong end must expect it.
        media.connect(1, [second[1], first[0]]).expect("a way");
        let counts = media.run(400.0, Duration::from_millis(100)).expect("run");
        assert!(counts.strange > 0 && counts.received < counts.sent, "{counts:?}");
    }

    #[test]
    fn an_end_that_nobody_hears_loses_its_packets() {
        let mut media = direct(1, 6_000);
        let nobody = SocketAddr::from((SIDES[1], 6_998));
        let caller = media.addresses(0).expect("addresses")[0];
        media.connect(0, [nobody, caller]).expect("a way");
        let counts = media.run(100.0, Duration::from_millis(100)).expect("run");
        assert!(counts.lost() > 0, "{counts:?}");
    }

    #[test]
    fn the_order_leads_through_all_ends() {
        for ends in [2_usize, 4, 200, 2_000, 16_000] {
            let step = stride(ends);
            let mut seen = vec![false; ends];
            (0..ends).for_each(|turn| seen[turn * step % ends] = true);
            assert!(seen.iter().all(|&seen| seen), "{ends}");
        }
    }
}
