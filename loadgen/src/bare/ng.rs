//! The ng protocol: how a relay of the rtpengine kind is told of calls.

use super::bencode::Value;
use anyhow::{Context, bail};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// A command that was not answered is given again after this long; the relay answers a repeated one from memory.
const PATIENCE: Duration = Duration::from_millis(500);
/// So often.
const TRIES: u32 = 6;

/// The relay, and what was last said to it.
#[derive(Debug)]
pub struct Ng {
    socket: UdpSocket,
    cookie: u64,
    /// Of every offer and answer.
    flags: &'static [&'static str],
}

impl Ng {
    /// A relay that listens for commands here, and how it is to treat all calls.
    ///
    /// # Errors
    /// No socket is to be had.
    pub fn new(relay: SocketAddr, flags: &'static [&'static str]) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(relay)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket, cookie: 0, flags })
    }

    /// Does it live?
    ///
    /// # Errors
    /// It does not answer, or says no; so for all commands.
    pub fn ping(&mut self) -> anyhow::Result<()> {
        self.command([("command", "ping".into())]).map(drop)
    }

    /// The caller's description, which came from here: its media is expected from the same host, whatever it announces.
    /// Gives the description for the callee.
    ///
    /// # Errors
    /// As [`Self::ping`].
    pub fn offer(&mut self, call: &str, sdp: &str, from: IpAddr) -> anyhow::Result<String> {
        self.describe("offer", call, sdp, from, None)
    }

    /// The callee's description, as [`Self::offer`]; gives the one for the caller.
    ///
    /// # Errors
    /// As [`Self::ping`].
    pub fn answer(&mut self, call: &str, sdp: &str, from: IpAddr) -> anyhow::Result<String> {
        self.describe("answer", call, sdp, from, Some("callee"))
    }

    /// The call is over.
    ///
    /// # Errors
    /// As [`Self::ping`].
    pub fn delete(&mut self, call: &str) -> anyhow::Result<()> {
        self.command([("command", "delete".into()), ("call-id", call.into()), ("from-tag", "caller".into())])
            .map(drop)
    }

    /// What the relay knows of a call.
    ///
    /// # Errors
    /// As [`Self::ping`].
    pub fn query(&mut self, call: &str) -> anyhow::Result<Value> {
        self.command([("command", "query".into()), ("call-id", call.into())])
    }

    fn describe(
        &mut self,
        what: &str,
        call: &str,
        sdp: &str,
        from: IpAddr,
        to: Option<&str>,
    ) -> anyhow::Result<String> {
        let flags = [&["SIP source address"], self.flags].concat();
        let entries = [
            ("command", what.into()),
            ("call-id", call.into()),
            ("from-tag", "caller".into()),
            ("ICE", "remove".into()),
            ("flags", Value::texts(&flags)),
            ("received-from", Value::texts(&[if from.is_ipv4() { "IP4" } else { "IP6" }, &from.to_string()])),
            ("replace", Value::texts(&["origin", "session-connection"])),
            ("sdp", sdp.into()),
        ];
        let answer = self.command(entries.into_iter().chain(to.map(|tag| ("to-tag", tag.into()))))?;
        answer.text("sdp").map(Into::into).with_context(|| format!("{what}: no description came back"))
    }

    fn command<'a>(&mut self, entries: impl IntoIterator<Item = (&'a str, Value)>) -> anyhow::Result<Value> {
        self.cookie += 1;
        let cookie = format!("b{}", self.cookie);
        let datagram = format!("{cookie} {}", Value::dictionary(entries).encode());
        for _ in 0..TRIES {
            // A refusal is an answer too: the relay does not listen yet.
            let sent = self.socket.send(datagram.as_bytes());
            if let Some(answer) = sent.is_ok().then(|| self.receive(&cookie)).transpose()?.flatten() {
                return judged(answer);
            }
        }
        bail!("the relay does not answer")
    }

    /// The answer to this cookie; `None` when none came in time.
    fn receive(&self, cookie: &str) -> anyhow::Result<Option<Value>> {
        let mut buffer = [0; 65_536];
        loop {
            let length = match self.socket.recv(&mut buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    std::thread::sleep(PATIENCE);
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            };
            let text = str::from_utf8(&buffer[..length]).context("an answer is no text")?;
            if let Some(value) = text.strip_prefix(cookie).and_then(|rest| rest.strip_prefix(' ')) {
                return Value::decode(value).context("an answer is no bencoding").map(Some);
            }
        }
    }
}

fn judged(answer: Value) -> anyhow::Result<Value> {
    match answer.text("result") {
        Some("ok" | "pong") => Ok(answer),
        _ => bail!("the relay says {}", answer.text("error-reason").unwrap_or("no")),
    }
}
