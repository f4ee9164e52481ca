//! Who sends what when, and what comes of it.

use super::{Begins, Cell, From};
use crate::bench::place::Site;
use anyhow::Context;
use portolan_loadgen::bare::sdp::Audio;
use serde::Serialize;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Between two packets of each end.
const PTIME: Duration = Duration::from_millis(20);
/// Packet times: the ends begin to speak, what is unheard counts, the late attacker begins, the NAT moves one call, the
/// end.
const SPEAK: u32 = 10;
const COUNT: u32 = 25;
const LATE: u32 = 40;
const MOVE: u32 = 60;
const END: u32 = 140;
/// What is still on its way at the end.
const DRAIN: Duration = Duration::from_millis(200);
/// Where the terminal believes itself to be.
const PRIVATE: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
/// First port of the ends.
const FIRST_PORT: u16 = 7_000;
/// Synchronization sources of the ends and of attackers.
const HONEST: u32 = 0x600d;
const FORGED: u32 = 0x0bad;

/// What an attacker got of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Tally {
    /// Packets of the call that came to him.
    pub(super) bled: u64,
    /// Packets of his that an end heard.
    pub(super) injected: u64,
    /// Packets of the ends that the other one did not hear.
    pub(super) unheard: u64,
}

impl Tally {
    pub(super) const fn plus(self, other: Self) -> Self {
        Self {
            bled: self.bled + other.bled,
            injected: self.injected + other.injected,
            unheard: self.unheard + other.unheard,
        }
    }
}

/// All calls; the last one has no attacker, but a NAT that moves it.
pub(super) struct Scene {
    calls: Vec<Call>,
    moved: Moved,
}

/// The terminal's new place.
struct Moved {
    socket: UdpSocket,
    spoke: Option<Instant>,
    heard: Option<Instant>,
}

struct Call {
    cell: Option<Cell>,
    terminal: UdpSocket,
    peer: UdpSocket,
    attacker: UdpSocket,
    /// The relay's ports for the terminal and for its peer.
    relay: [SocketAddr; 2],
    tally: Tally,
    /// Packets that count, less those that were heard.
    due: u64,
    heard: u64,
}

fn socket(ip: Ipv4Addr, port: u16) -> anyhow::Result<UdpSocket> {
    let socket = UdpSocket::bind((ip, port)).with_context(|| format!("cannot bind {ip}:{port}"))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

impl Scene {
    pub(super) fn new(site: &Site, cells: &[Cell]) -> anyhow::Result<Self> {
        let all = cells.iter().copied().map(Some).chain([None]);
        let calls = all.zip((FIRST_PORT..).step_by(2)).map(|(cell, port)| Call::new(site, cell, port));
        let calls = calls.collect::<anyhow::Result<_>>()?;
        let [terminal, _] = site.sides();
        Ok(Self { calls, moved: Moved { socket: socket(terminal, 0)?, spoke: None, heard: None } })
    }

    /// What both ends of each call say of themselves.
    pub(super) fn descriptions(&self) -> Vec<[String; 2]> {
        self.calls.iter().map(Call::descriptions).collect()
    }

    /// The whole play; `relay` says for each call where its terminal and its peer send.
    pub(super) fn play(&mut self, relay: &[[SocketAddr; 2]]) -> anyhow::Result<()> {
        for (call, relay) in self.calls.iter_mut().zip(relay) {
            call.relay = *relay;
        }
        let start = Instant::now();
        for tick in 0..END {
            std::thread::sleep((PTIME * tick).saturating_sub(start.elapsed()));
            for call in &mut self.calls {
                call.tick(tick, &mut self.moved);
            }
            self.listen();
        }
        std::thread::sleep(DRAIN);
        self.listen();
        Ok(())
    }

    fn listen(&mut self) {
        for call in &mut self.calls {
            call.listen();
        }
        let news = received(&self.moved.socket).iter().any(|packet| packet.ssrc == HONEST);
        if news && self.moved.heard.is_none() {
            self.moved.heard = Some(Instant::now());
        }
    }

    pub(super) fn tallies(&self) -> impl Iterator<Item = Tally> + Clone + '_ {
        let unheard = |call: &Call| call.due.saturating_sub(call.heard);
        self.calls
            .iter()
            .filter(|call| call.cell.is_some())
            .map(move |call| Tally { unheard: unheard(call), ..call.tally })
    }

    /// From the moved terminal's first packet until it heard its peer.
    pub(super) fn rebound(&self) -> Option<Duration> {
        Some(self.moved.heard? - self.moved.spoke?)
    }
}

impl Call {
    fn new(site: &Site, cell: Option<Cell>, port: u16) -> anyhow::Result<Self> {
        let [terminal, peer] = site.sides();
        let elsewhere = cell.is_none_or(|cell| cell.from == From::Elsewhere);
        Ok(Self {
            cell,
            terminal: socket(terminal, 0)?,
            peer: socket(peer, port)?,
            attacker: socket(if elsewhere { site.ip(66) } else { terminal }, 0)?,
            relay: [SocketAddr::from((terminal, 0)); 2],
            tally: Tally::default(),
            due: 0,
            heard: 0,
        })
    }

    fn descriptions(&self) -> [String; 2] {
        let rate = 1.0 / PTIME.as_secs_f64();
        let peer = self.peer.local_addr().unwrap_or(self.relay[0]);
        [SocketAddr::from((PRIVATE, 5_004)), peer].map(|rtp| Audio::at_rate(rtp, rate).describe())
    }

    fn tick(&mut self, tick: u32, moved: &mut Moved) {
        let begins = self.cell.map(|cell| match cell.begins {
            Begins::BeforeMedia => 0,
            Begins::WithMedia => SPEAK,
            Begins::AfterLearning => LATE,
        });
        if begins.is_some_and(|begins| tick >= begins) {
            self.attack(tick);
        }
        if tick >= SPEAK {
            let place = if self.cell.is_none() && tick >= MOVE { &moved.socket } else { &self.terminal };
            if self.cell.is_none() && tick >= MOVE {
                moved.spoke.get_or_insert_with(Instant::now);
            }
            send(place, self.relay[0], &rtp(tick, HONEST));
            send(&self.peer, self.relay[1], &rtp(tick, HONEST));
            self.due += if tick >= COUNT { 2 } else { 0 };
        }
    }

    /// To both ports of the relay, from the same place.
    fn attack(&self, tick: u32) {
        for relay in self.relay {
            match self.cell.is_some_and(|cell| cell.rtcp) {
                true => send(&self.attacker, SocketAddr::new(relay.ip(), relay.port() + 1), &rtcp()),
                false => send(&self.attacker, relay, &rtp(tick, FORGED)),
            }
        }
    }

    fn listen(&mut self) {
        for end in [&self.terminal, &self.peer] {
            for packet in received(end) {
                self.tally.injected += u64::from(packet.ssrc == FORGED);
                self.heard += u64::from(packet.ssrc == HONEST && packet.tick >= COUNT);
            }
        }
        self.tally.bled += received(&self.attacker).len() as u64;
    }
}

/// One packet that came.
struct Packet {
    ssrc: u32,
    tick: u32,
}

/// Everything that waits at a socket.
fn received(socket: &UdpSocket) -> Vec<Packet> {
    let mut buffer = [0; 2048];
    let mut packets = Vec::new();
    loop {
        match socket.recv_from(&mut buffer) {
            Ok((length, _)) => packets.push(Packet::read(&buffer[..length])),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(_) => return packets,
        }
    }
}

impl Packet {
    /// RTCP has its source where RTP has its time.
    fn read(octets: &[u8]) -> Self {
        let word = |at: usize| {
            octets.get(at..at + 4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_be_bytes)
        };
        let is_rtcp = octets.get(1) == Some(&REPORT);
        Self { ssrc: word(if is_rtcp { 4 } else { 8 }), tick: if is_rtcp { 0 } else { word(0) & 0xffff } }
    }
}

/// A receiver report (RFC 3550 section 6.4.2).
const REPORT: u8 = 201;

fn rtcp() -> Vec<u8> {
    [[0x80, REPORT, 0, 1], FORGED.to_be_bytes()].concat()
}

fn rtp(tick: u32, ssrc: u32) -> Vec<u8> {
    let head = 0x8000_0000 | tick & 0xffff;
    let mut packet = [head.to_be_bytes(), (tick * 160).to_be_bytes(), ssrc.to_be_bytes()].concat();
    packet.resize(172, 0xff);
    packet
}

/// What the kernel does not take, because nobody listens there, is not heard: the tally says so.
fn send(from: &UdpSocket, to: SocketAddr, packet: &[u8]) {
    let _ = from.send_to(packet, to);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_say_whose_they_are() {
        let packet = Packet::read(&rtp(70, HONEST));
        assert_eq!((packet.ssrc, packet.tick), (HONEST, 70));
        assert_eq!(Packet::read(&rtcp()).ssrc, FORGED);
        assert_eq!(Packet::read(&[]).ssrc, 0);
    }
}
