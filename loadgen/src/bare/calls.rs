//! Plain calls through a proxy over UDP: INVITE, 200, ACK, BYE, 200, with descriptions. One thread is caller and callee.
//!
//! Nothing is repeated: on loopback nothing is lost but by a proxy that is too slow, and that shows as a failed call.

use super::message::Received;
use super::sdp::media_address;
use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use socket2::SockRef;
use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Room for a burst of messages.
const BUFFER: usize = 4 << 20;
/// A call that has not gone on for this long has failed.
const PATIENCE: Duration = Duration::from_secs(5);
/// A call that is begun or ended this much later than planned is late; more than one in a hundred says that the
/// generator is the limit.
const LATE: Duration = Duration::from_millis(20);
/// Datagrams that are taken from one socket before it is the other's turn.
const BATCH: usize = 32;

/// Who calls whom.
#[derive(Clone, Debug)]
pub struct CallsPlan {
    /// Where the caller sends.
    pub proxy: SocketAddr,
    /// Where the caller is.
    pub caller: SocketAddr,
    /// Where the proxy finds the callee.
    pub callee: SocketAddr,
    /// The domain of both.
    pub domain: String,
}

/// What came of the calls so far.
#[derive(Clone, Debug)]
pub struct CallCounts {
    /// Begun.
    pub started: u64,
    /// Answered.
    pub answered: u64,
    /// Ended by an answered BYE.
    pub ended: u64,
    /// Refused, or given up.
    pub failed: u64,
    /// Messages that belong to no call, or cannot be read.
    pub strange: u64,
    /// From INVITE to its 200, in microseconds.
    pub setup: Histogram<u64>,
    /// How much later than planned calls were begun, in microseconds.
    pub lateness: Histogram<u64>,
}

impl CallCounts {
    /// Why the generator itself was the limit, if it was.
    pub fn limited(&self) -> Option<String> {
        let late = Duration::from_micros(self.lateness.value_at_quantile(0.99));
        (late > LATE).then(|| format!("one call in a hundred began {late:.1?} late or more"))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// INVITE sent.
    Inviting,
    /// Answered; what later requests must carry.
    Talking(Dialog),
    /// BYE sent.
    Ending,
    Over,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Dialog {
    target: String,
    routes: String,
    to: String,
}

#[derive(Debug)]
struct Call {
    state: State,
    since: Instant,
    /// What caller and callee say about themselves.
    sdp: [String; 2],
    /// Where caller and callee are to send, as the proxy told them.
    relay: [Option<SocketAddr>; 2],
}

/// The calls, and the two sockets of their ends.
#[derive(Debug)]
pub struct Calls {
    plan: CallsPlan,
    epoll: Epoll,
    caller: UdpSocket,
    callee: UdpSocket,
    calls: Vec<Call>,
    /// Calls that are up, in the order in which they were answered.
    up: VecDeque<usize>,
    /// So far.
    pub counts: CallCounts,
    buffer: Vec<u8>,
}

impl Calls {
    /// The sockets of both ends.
    ///
    /// # Errors
    /// They cannot be bound.
    pub fn open(plan: CallsPlan) -> anyhow::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("cannot poll")?;
        let open = |address: SocketAddr, key| -> anyhow::Result<UdpSocket> {
            let socket = UdpSocket::bind(address).with_context(|| format!("cannot bind {address}"))?;
            socket.set_nonblocking(true)?;
            // The kernel gives what its own limit allows; less is no mistake.
            let _ = SockRef::from(&socket).set_recv_buffer_size(BUFFER);
            epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, key))?;
            Ok(socket)
        };
        let (caller, callee) = (open(plan.caller, 0)?, open(plan.callee, 1)?);
        let histogram = || Histogram::new_with_bounds(1, 60_000_000, 3);
        let (setup, lateness) = (histogram()?, histogram()?);
        let counts = CallCounts { started: 0, answered: 0, ended: 0, failed: 0, strange: 0, setup, lateness };
        let (calls, up, buffer) = (Vec::new(), VecDeque::new(), vec![0; 65_536]);
        Ok(Self { plan, epoll, caller, callee, calls, up, counts, buffer })
    }

    /// Begin one call, in which caller and callee describe themselves so.
    ///
    /// # Errors
    /// The INVITE cannot be sent.
    pub fn start(&mut self, sdp: [String; 2]) -> anyhow::Result<()> {
        let CallsPlan { domain, caller, .. } = &self.plan;
        let number = self.calls.len();
        let head = format!(
            "INVITE sip:+4930123@{domain} SIP/2.0\r\nVia: SIP/2.0/UDP {caller};branch=z9hG4bKi{number};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:1000@{domain}>;tag=a{number}\r\nTo: <sip:+4930123@{domain}>\r\n\
             Call-ID: {}\r\nCSeq: 1 INVITE\r\nContact: <sip:1000@{caller}>\r\nUser-Agent: bench\r\n\
             Allow: INVITE, ACK, BYE, CANCEL, OPTIONS\r\n",
            call_id(number)
        );
        self.tell_proxy(&with_body(&head, &sdp[0]))?;
        let since = Instant::now();
        self.calls.push(Call { state: State::Inviting, since, sdp, relay: [None; 2] });
        self.counts.started += 1;
        Ok(())
    }

    /// Begin so many calls a second for so long, and end each one `hold` after its answer. What is up at the end stays up.
    /// `sdp` describes call number n.
    ///
    /// # Errors
    /// Polling or sending fails.
    pub fn run(
        &mut self,
        rate: f64,
        length: Duration,
        hold: Duration,
        mut sdp: impl FnMut(usize) -> [String; 2],
    ) -> anyhow::Result<()> {
        let begin = Instant::now();
        let total = (length.as_secs_f64() * rate) as u64;
        let mut started = 0;
        while begin.elapsed() < length || started < total {
            let due = ((begin.elapsed().as_secs_f64() * rate) as u64 + 1).min(total);
            while started < due {
                let late = begin.elapsed().saturating_sub(Duration::from_secs_f64(started as f64 / rate));
                self.counts.lateness.saturating_record(late.as_micros().max(1) as u64);
                self.start(sdp(self.calls.len()))?;
                started += 1;
            }
            self.hang_up_after(hold)?;
            self.poll(1)?;
        }
        Ok(())
    }

    /// Wait until all calls that were begun are up, and say where the ends of each are to send.
    ///
    /// # Errors
    /// One of them does not come about, or is told no address.
    pub fn all_up(&mut self) -> anyhow::Result<Vec<[SocketAddr; 2]>> {
        let end = Instant::now() + PATIENCE;
        let missing = |calls: &Self| calls.calls.iter().filter(|call| call.state == State::Inviting).count();
        while missing(self) > 0 && Instant::now() < end {
            self.poll(10)?;
        }
        let (missing, failed) = (missing(self), self.counts.failed);
        ensure!(missing == 0 && failed == 0, "{missing} calls were not answered, {failed} refused");
        let address = |call: &Call| Some([call.relay[0]?, call.relay[1]?]);
        self.calls.iter().map(address).collect::<Option<_>>().context("a call without a media address")
    }

    /// End all calls that are up, at so many a second, and wait for the last one; what does not end has failed.
    ///
    /// # Errors
    /// Polling or sending fails.
    pub fn finish(&mut self, rate: f64) -> anyhow::Result<()> {
        let pause = Duration::from_secs_f64(1.0 / rate.max(1.0));
        let mut next = Instant::now();
        while !self.up.is_empty() {
            if Instant::now() >= next {
                self.hang_up()?;
                next += pause;
            }
            self.poll(1)?;
        }
        let end = Instant::now() + PATIENCE;
        while self.unfinished() > 0 && Instant::now() < end {
            self.poll(10)?;
            self.hang_up_after(Duration::ZERO)?;
        }
        self.counts.failed += self.unfinished();
        Ok(())
    }

    fn unfinished(&self) -> u64 {
        self.counts.started - self.counts.ended - self.counts.failed
    }

    fn hang_up_after(&mut self, hold: Duration) -> anyhow::Result<()> {
        while self.up.front().is_some_and(|&number| self.calls[number].since.elapsed() >= hold) {
            self.hang_up()?;
        }
        Ok(())
    }

    /// BYE for the call that has been up longest.
    fn hang_up(&mut self) -> anyhow::Result<()> {
        let Some(number) = self.up.pop_front() else { return Ok(()) };
        let state = std::mem::replace(&mut self.calls[number].state, State::Ending);
        let State::Talking(dialog) = state else { return Ok(()) };
        self.tell_proxy(&self.in_dialog("BYE", number, &dialog))
    }

    /// Take what has come, or comes within so many milliseconds.
    fn poll(&mut self, patience_ms: isize) -> anyhow::Result<()> {
        let mut events = [EpollEvent::empty(); 2];
        match self.epoll.wait(&mut events, patience_ms) {
            Ok(ready) => (0..ready).try_for_each(|at| self.read(events[at].data() == 0)),
            Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn read(&mut self, caller: bool) -> anyhow::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..BATCH {
            let socket = if caller { &self.caller } else { &self.callee };
            let Ok((length, from)) = socket.recv_from(&mut buffer) else { break };
            let known =
                str::from_utf8(&buffer[..length]).ok().and_then(Received::parse).and_then(|message| {
                    let number = number(message.header("Call-ID")?)?;
                    (number < self.calls.len()).then_some((number, message))
                });
            match known {
                Some((number, message)) if caller => self.answered(number, &message)?,
                Some((number, message)) => self.asked(number, &message, from)?,
                None => self.counts.strange += 1,
            }
        }
        self.buffer = buffer;
        Ok(())
    }

    /// The caller hears an answer.
    fn answered(&mut self, number: usize, message: &Received<'_>) -> anyhow::Result<()> {
        match (message.status(), message.method()) {
            (Some(200), "INVITE") => self.accepted(number, message),
            (Some(200), "BYE") => {
                let call = &mut self.calls[number];
                self.counts.ended += u64::from(call.state == State::Ending);
                call.state = State::Over;
                call.sdp = Default::default();
                Ok(())
            }
            (Some(300..), _) => {
                self.counts.failed += u64::from(self.calls[number].state != State::Over);
                self.calls[number].state = State::Over;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn accepted(&mut self, number: usize, message: &Received<'_>) -> anyhow::Result<()> {
        let dialog = Dialog {
            target: message.contact().unwrap_or_default().into(),
            routes: message.routes(),
            to: message.header("To").unwrap_or_default().into(),
        };
        self.tell_proxy(&self.in_dialog("ACK", number, &dialog))?;
        let call = &mut self.calls[number];
        if call.state == State::Inviting {
            call.relay[0] = media_address(message.body());
            self.counts.setup.saturating_record(call.since.elapsed().as_micros().max(1) as u64);
            (call.state, call.since) = (State::Talking(dialog), Instant::now());
            self.counts.answered += 1;
            self.up.push_back(number);
        }
        Ok(())
    }

    /// The callee hears a request.
    fn asked(&mut self, number: usize, message: &Received<'_>, from: SocketAddr) -> anyhow::Result<()> {
        let method = message.method();
        if message.status().is_some() || method == "ACK" {
            return Ok(());
        }
        let mut head = String::from("SIP/2.0 200 OK\r\n");
        head += &message.copied(&["Via", "Record-Route", "From", "Call-ID", "CSeq"]);
        let to = message.header("To").unwrap_or_default();
        let tag = if to.contains(";tag=") { String::new() } else { format!(";tag=b{number}") };
        head += &format!("To: {to}{tag}\r\nContact: <sip:trunk@{}>\r\n", self.plan.callee);
        let call = &mut self.calls[number];
        if method == "INVITE" {
            call.relay[1] = media_address(message.body());
        }
        let answer = with_body(&head, if method == "INVITE" { &call.sdp[1] } else { "" });
        self.callee.send_to(answer.as_bytes(), from).context("the callee cannot send")?;
        Ok(())
    }

    /// A request of the caller within the dialog.
    fn in_dialog(&self, method: &str, number: usize, dialog: &Dialog) -> String {
        let CallsPlan { domain, caller, .. } = &self.plan;
        let Dialog { target, routes, to } = dialog;
        let cseq = if method == "ACK" { 1 } else { 2 };
        let head = format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {caller};branch=z9hG4bK{method}{number};rport\r\n\
             Max-Forwards: 70\r\n{routes}From: <sip:1000@{domain}>;tag=a{number}\r\nTo: {to}\r\n\
             Call-ID: {}\r\nCSeq: {cseq} {method}\r\nUser-Agent: bench\r\n",
            call_id(number)
        );
        with_body(&head, "")
    }

    fn tell_proxy(&self, message: &str) -> anyhow::Result<()> {
        let sent = self.caller.send_to(message.as_bytes(), self.plan.proxy);
        sent.context("the caller cannot send").map(drop)
    }
}

fn call_id(number: usize) -> String {
    format!("bench-{number}")
}

fn number(call_id: &str) -> Option<usize> {
    call_id.strip_prefix("bench-")?.parse().ok()
}

fn with_body(head: &str, body: &str) -> String {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!("{head}{kind}Content-Length: {}\r\n\r\n{body}", body.len())
}

#[cfg(test)]
mod tests {
    use super::super::sdp::Audio;
    use super::*;

    /// Caller and callee with nothing between: the callee's own address is the proxy.
    fn direct(port: u16) -> Calls {
        let at = |host: u8| SocketAddr::from(([127, 97, 0, host], port));
        let plan = CallsPlan { proxy: at(2), caller: at(1), callee: at(2), domain: "example.net".into() };
        Calls::open(plan).expect("sockets")
    }

    fn sdp(number: usize) -> [String; 2] {
        let end = |host: u8| SocketAddr::from(([127, 97, 0, host], 4_000 + number as u16 * 2));
        [1, 2].map(|host| Audio::at_rate(end(host), 50.0).describe())
    }

    #[test]
    fn calls_come_about_and_end() {
        let mut calls = direct(5_060);
        let hold = Duration::from_millis(20);
        calls.run(200.0, Duration::from_millis(200), hold, sdp).expect("run");
        calls.finish(1_000.0).expect("end");
        let counts = &calls.counts;
        assert_eq!((counts.started, counts.answered, counts.ended), (40, 40, 40));
        assert_eq!((counts.failed, counts.strange), (0, 0));
    }

    #[test]
    fn the_ends_are_told_where_to_send() {
        let mut calls = direct(5_062);
        (0..3).for_each(|number| calls.start(sdp(number)).expect("call"));
        let relays = calls.all_up().expect("all up");
        let told = |host: u8| SocketAddr::from(([127, 97, 0, host], 4_004));
        assert_eq!(relays[2], [told(2), told(1)]);
    }

    #[test]
    fn a_proxy_that_is_silent_fails_calls() {
        let at = |host: u8| SocketAddr::from(([127, 97, 1, host], 5_060));
        let silent = UdpSocket::bind(at(3)).expect("socket");
        let proxy = silent.local_addr().expect("address");
        let plan = CallsPlan { proxy, caller: at(1), callee: at(2), domain: "example.net".into() };
        let mut calls = Calls::open(plan).expect("sockets");
        calls.start(sdp(0)).expect("call");
        assert!(calls.all_up().is_err());
    }
}
