//! What should never happen, with the first examples of each.

use crate::scenario::label;
use portolan_shards::sim::Event;
use portolan_shards::sim::Script;

const EXAMPLES: usize = 10;

/// Findings of the judges.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    pub(crate) private_seen_by_core: u64,
    pub(crate) core_seen_by_terminals: u64,
    pub(crate) unparseable: u64,
    pub(crate) misdelivered: u64,
    pub(crate) examples: Vec<String>,
}

impl Findings {
    /// Take note of an event, if it is a finding.
    pub(crate) fn note(&mut self, at_softswitch: bool, event: &Event) {
        let who = if at_softswitch { "the softswitch" } else { "a terminal" };
        match event {
            Event::Leak { address, message } => {
                match at_softswitch {
                    true => self.private_seen_by_core += 1,
                    false => self.core_seen_by_terminals += 1,
                }
                self.example(format!("{who} saw {address} in {message}"));
            }
            Event::Unparseable { why, bytes } => {
                self.unparseable += 1;
                self.example(format!(
                    "{who} got a message that is wrong: {why}\n{}",
                    String::from_utf8_lossy(bytes)
                ));
            }
            Event::Misdelivered { call, from } => {
                self.misdelivered += 1;
                self.example(format!("{who} got media of somebody else from {from} at call {call:?}"));
            }
            _ => {}
        }
    }

    /// A call was not what its kind must be.
    pub(crate) fn story(&mut self, call: u32, kind: Script, what: &str) {
        self.example(format!("call {call} ({}): {what}", label(kind)));
    }

    fn example(&mut self, text: String) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(text);
        }
    }
}
