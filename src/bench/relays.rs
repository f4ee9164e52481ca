//! Relays under test, each with its own way to be told of calls.

use super::place::Site;
use super::process::{Peer, program};
use super::systems::portolan;
use anyhow::Context;
use portolan_loadgen::bare::sdp::media_address;
use portolan_loadgen::bare::{Calls, CallsPlan, Ng};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

/// Calls a second while a relay is made ready: well below what each of them takes.
const SET_UP: f64 = 400.0;

/// A relay whose calls carry media.
pub(super) trait Relay {
    /// Make a call for each pair of descriptions; says where the ends of each call are to send.
    fn set_up(&mut self, sdp: &[[String; 2]]) -> anyhow::Result<Vec<[SocketAddr; 2]>>;
    /// End all calls.
    fn tear_down(&mut self) -> anyhow::Result<()>;
    /// The process.
    fn peer(&mut self) -> &mut Peer;
}

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Portolan,
    Rtpengine,
    /// rtpengine that forwards from where it has learned only.
    RtpengineStrict,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Portolan => "Portolan",
            Self::Rtpengine => "rtpengine",
            Self::RtpengineStrict => "rtpengine, strict source",
        }
    }

    pub(super) fn start(self, site: &Site, home: &Path) -> anyhow::Result<Box<dyn Relay>> {
        Ok(match self {
            Self::Portolan => Box::new(Portolan::start(site, home)?),
            Self::Rtpengine => Box::new(Rtpengine::start(site, home, &[])?),
            Self::RtpengineStrict => Box::new(Rtpengine::start(site, home, &["strict source"])?),
        })
    }
}

/// Portolan makes calls by SIP.
struct Portolan {
    peer: Peer,
    calls: Calls,
}

impl Portolan {
    fn start(site: &Site, home: &Path) -> anyhow::Result<Self> {
        let (peer, proxy) = portolan(site, home)?;
        Ok(Self { peer, calls: Calls::open(calls_plan(site, proxy))? })
    }
}

/// Caller and callee around a proxy.
pub(super) fn calls_plan(site: &Site, proxy: SocketAddr) -> CallsPlan {
    let (caller, callee) = (site.at(4, 5060), site.at(3, 5060));
    CallsPlan { proxy, caller, callee, domain: "example.net".into() }
}

impl Relay for Portolan {
    fn set_up(&mut self, sdp: &[[String; 2]]) -> anyhow::Result<Vec<[SocketAddr; 2]>> {
        // A little longer than the calls need, so that rounding leaves none out.
        let length = Duration::from_secs_f64((sdp.len() as f64 + 0.5) / SET_UP);
        let hold = Duration::MAX;
        self.calls.run(SET_UP, length, hold, |call| sdp[call].clone())?;
        self.calls.all_up()
    }

    fn tear_down(&mut self) -> anyhow::Result<()> {
        self.calls.finish(SET_UP * 2.0)
    }

    fn peer(&mut self) -> &mut Peer {
        &mut self.peer
    }
}

/// Debian's rtpengine in userspace with one thread, told by the ng protocol, as Kamailio's module tells it where terminals
/// are behind NAT: with the address that the signaling came from.
struct Rtpengine {
    peer: Peer,
    ng: Ng,
    /// Of caller and callee.
    signaled_from: [IpAddr; 2],
    calls: usize,
}

/// Where it takes commands.
const NG: u16 = 2223;

/// Start rtpengine at this host's address.
pub(super) fn rtpengine(site: &Site, home: &Path, host: u8) -> anyhow::Result<(Peer, SocketAddr)> {
    let control = site.at(host, NG);
    let arguments = [
        "--config-file=none".into(),
        "--foreground".into(),
        "--log-stderr".into(),
        "--log-level=3".into(),
        "--table=-1".into(),
        "--num-threads=1".into(),
        format!("--interface={}", site.ip(host)),
        format!("--listen-ng={control}"),
        "--port-min=10000".into(),
        "--port-max=59999".into(),
        "--timeout=3600".into(),
        "--delete-delay=0".into(),
    ];
    let peer = site.beside(|| Peer::start(&program("rtpengine")?, &arguments, home, control))?;
    Ok((peer, control))
}

impl Rtpengine {
    fn start(site: &Site, home: &Path, flags: &'static [&'static str]) -> anyhow::Result<Self> {
        let (peer, control) = rtpengine(site, home, 5)?;
        let mut ng = Ng::new(control, flags)?;
        ng.ping()?;
        Ok(Self { peer, ng, signaled_from: site.sides().map(IpAddr::from), calls: 0 })
    }

    fn call(&mut self, number: usize, sdp: &[String; 2]) -> anyhow::Result<[SocketAddr; 2]> {
        let id = format!("bench-{number}");
        let [caller, callee] = self.signaled_from;
        let for_callee = self.ng.offer(&id, &sdp[0], caller)?;
        let for_caller = self.ng.answer(&id, &sdp[1], callee)?;
        let address = |sdp: &str| media_address(sdp).context("a description without an address");
        Ok([address(&for_caller)?, address(&for_callee)?])
    }
}

impl Relay for Rtpengine {
    fn set_up(&mut self, sdp: &[[String; 2]]) -> anyhow::Result<Vec<[SocketAddr; 2]>> {
        self.calls = sdp.len();
        let (begin, mut told) = (Instant::now(), Vec::with_capacity(self.calls));
        for (number, sdp) in sdp.iter().enumerate() {
            let due = Duration::from_secs_f64(number as f64 / SET_UP);
            std::thread::sleep(due.saturating_sub(begin.elapsed()));
            told.push(self.call(number, sdp)?);
        }
        Ok(told)
    }

    fn tear_down(&mut self) -> anyhow::Result<()> {
        (0..std::mem::take(&mut self.calls)).try_for_each(|number| self.ng.delete(&format!("bench-{number}")))
    }

    fn peer(&mut self) -> &mut Peer {
        &mut self.peer
    }
}
