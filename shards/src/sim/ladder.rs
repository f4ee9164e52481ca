//! One call's message flow, drawn on both sides of Portolan.

use super::gateway::follow::Follow;
use super::plan::Speech;
use crate::types::Instant;
use std::fmt::Write as _;
use std::net::SocketAddr;

/// Collects the signaling messages of one call as its endpoints saw them.
///
/// Give it every datagram through [`Ladder::see`]; it keeps those of the chosen call.
#[derive(Clone, Debug)]
pub struct Ladder {
    call: u32,
    speech: Speech,
    call_id: Option<String>,
    /// Where gateways speak.
    follow: Option<Follow>,
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
struct Step {
    at: Instant,
    lane: Lane,
    outbound: bool,
    peer: SocketAddr,
    label: String,
}

/// On which side of Portolan a message was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// By a terminal.
    Access,
    /// By the softswitch.
    Core,
}

const MAX_STEPS: usize = 200;

impl Ladder {
    /// Follow the call with this number (header `X-Call`).
    pub const fn new(call: u32) -> Self {
        Self { call, speech: Speech::Sip, call_id: None, follow: None, steps: Vec::new() }
    }

    /// The same among those who speak so.
    pub fn of(speech: Speech, call: u32) -> Self {
        match speech {
            Speech::Sip => Self::new(call),
            Speech::Gateways(language) => {
                Self { speech, follow: Some(Follow::new(language, call)), ..Self::new(call) }
            }
        }
    }

    /// An endpoint of `lane` sent (`outbound`) `bytes` to `peer`, or received it from there.
    pub fn see(&mut self, at: Instant, lane: Lane, outbound: bool, peer: SocketAddr, bytes: &[u8]) {
        if self.steps.len() >= MAX_STEPS {
            return;
        }
        let labels = match (self.follow.as_mut(), std::str::from_utf8(bytes)) {
            (Some(follow), _) => follow.labels(lane, peer, bytes),
            (None, Ok(text)) => self.belongs(text).then(|| label(text)).into_iter().collect(),
            (None, Err(_)) => Vec::new(),
        };
        let step = |label| Step { at, lane, outbound, peer, label };
        self.steps.extend(labels.into_iter().map(step));
    }

    /// Nothing seen?
    pub const fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The flow as text: terminal, Portolan's two addresses, softswitch. One line per message.
    pub fn render(&self) -> String {
        let (subscriber, switch) = self.speech.parties();
        let mut out = format!(
            "{:>9}  {:<10}{:^34}{:^12}{:^34}{:>12}\n",
            "ms", subscriber, "access side", "Portolan", "core side", switch
        );
        let start = self.steps.first().map_or(Instant::ZERO, |s| s.at);
        for step in &self.steps {
            let ms = step.at.since(start).as_secs_f64() * 1e3;
            let _ = writeln!(out, "{ms:9.2}  {}", step.draw());
        }
        out
    }

    fn belongs(&mut self, text: &str) -> bool {
        let id = header(text, "Call-ID");
        if self.call_id.is_some() {
            return self.call_id.as_deref() == id;
        }
        let number = header(text, "X-Call").and_then(|v| v.split(';').next()).and_then(|n| n.parse().ok());
        if number != Some(self.call) {
            return false;
        }
        self.call_id = id.map(str::to_owned);
        true
    }
}

impl Step {
    fn draw(&self) -> String {
        let rightward = (self.lane == Lane::Access) == self.outbound;
        let arrow = arrow(&self.label, rightward);
        let peer = self.peer.to_string();
        match self.lane {
            Lane::Access => format!("{:<10}{arrow} {peer:<15}", "|"),
            Lane::Core => format!("{:<10}{:<34} {peer:>15} {arrow}", "|", ""),
        }
    }
}

fn arrow(label: &str, rightward: bool) -> String {
    let line = format!("{label:-^30}");
    if rightward { format!("|{line}->") } else { format!("<-{line}|") }
}

fn label(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    let cseq = header(text, "CSeq").and_then(|v| v.split_whitespace().nth(1)).unwrap_or("?");
    let body = if text.contains("\r\nm=audio") { " (SDP)" } else { "" };
    match first.strip_prefix("SIP/2.0 ") {
        Some(status) => format!(" {} {cseq}{body} ", &status[..status.len().min(3)]),
        None => format!(" {}{body} ", first.split(' ').next().unwrap_or_default()),
    }
}

fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    let mut pairs = head.lines().filter_map(|l| l.split_once(':'));
    pairs.find(|(n, _)| n.trim().eq_ignore_ascii_case(name)).map(|(_, v)| v.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_only_the_chosen_call() {
        let peer = "127.0.1.1:5060".parse().expect("address");
        let mut ladder = Ladder::new(7);
        let other = b"INVITE sip:x SIP/2.0\r\nX-Call: 8\r\nCall-ID: b\r\nCSeq: 1 INVITE\r\n\r\n";
        let ours = b"INVITE sip:x SIP/2.0\r\nX-Call: 7;talk=1\r\nCall-ID: a\r\nCSeq: 1 INVITE\r\n\r\n";
        let answer = b"SIP/2.0 200 OK\r\nCall-ID: a\r\nCSeq: 1 INVITE\r\n\r\n";
        ladder.see(Instant::ZERO, Lane::Access, true, peer, other);
        ladder.see(Instant::ZERO, Lane::Access, true, peer, ours);
        ladder.see(Instant::ZERO, Lane::Access, false, peer, answer);
        let text = ladder.render();
        assert_eq!(text.lines().count(), 3);
        assert!(text.contains("- INVITE -") && text.contains("- 200 INVITE -"), "{text}");
    }
}
