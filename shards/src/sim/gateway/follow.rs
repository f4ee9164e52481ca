//! Which messages are of one call, and what they say in a few words.

use super::super::ladder::Lane;
use super::dial;
use super::language::Language;
use super::order::{Message, Mode, Order, Restart, Seen, Told, What};
use std::collections::BTreeSet;

/// Follows one call.
#[derive(Clone, Debug)]
pub(in super::super) struct Follow {
    language: Language,
    call: u32,
    /// Transactions of the call, by the side that they are on; what they ask, and of whom.
    asked: Vec<(Lane, u32, &'static str, String)>,
    /// Lines in the call, by the names that they have at the controller.
    lines: BTreeSet<(String, String)>,
    /// What the controller asked to be told of these lines.
    requests: BTreeSet<u32>,
}

impl Follow {
    pub(in super::super) fn new(language: Language, call: u32) -> Self {
        let (lines, requests) = (BTreeSet::new(), BTreeSet::new());
        Self { language, call, asked: Vec::new(), lines, requests }
    }

    /// What a datagram says of the call; nothing when it is of others.
    pub(in super::super) fn labels(&mut self, lane: Lane, bytes: &[u8]) -> Vec<String> {
        let messages = self.language.read(bytes).unwrap_or_default();
        messages.iter().filter_map(|message| self.label(lane, message)).collect()
    }

    fn label(&mut self, lane: Lane, message: &Message) -> Option<String> {
        let Message { id, told } = message;
        if let Told::Order(order) = told {
            return self.takes(lane, *id, order).then(|| {
                let verb = self.language.verb(&order.what);
                self.asked.push((lane, *id, verb, order.name.clone()));
                format!(" {verb}{} ", detail(&order.what))
            });
        }
        let (.., verb, name) = self.asked.iter().find(|(at, asked, ..)| (*at, *asked) == (lane, *id))?;
        let (verb, name) = (*verb, name.clone());
        Some(match told {
            Told::Answer { answer, .. } => {
                if let (Lane::Core, Some(line)) = (lane, &answer.line) {
                    self.lines.insert((name, line.clone()));
                }
                let sdp = if answer.local.is_some() { " (SDP)" } else { "" };
                format!(" {} {verb}{sdp} ", answer.code)
            }
            Told::Pending => format!(" pending {verb} "),
            _ => format!(" confirmed {verb} "),
        })
    }

    fn takes(&mut self, lane: Lane, id: u32, order: &Order) -> bool {
        let again = self.asked.iter().any(|(at, asked, ..)| (*at, *asked) == (lane, id));
        let line = (order.name.clone(), order.line.clone());
        let ours = match &order.what {
            What::Create { number, .. } | What::Modify { number, .. } => *number == self.call,
            What::Delete { number, .. } => *number == Some(self.call),
            What::Watch { request, .. } | What::Notify { request, .. } if self.requests.contains(request) => {
                true
            }
            What::Notify { seen, .. } => seen.iter().any(|seen| self.is_dialled(seen)),
            What::Watch { request, .. } => {
                let known = lane == Lane::Core && self.lines.contains(&line);
                known && self.requests.insert(*request)
            }
            _ => false,
        };
        if ours && lane == Lane::Core && !order.line.contains('$') {
            self.lines.insert(line);
        }
        ours || again
    }

    fn is_dialled(&self, seen: &Seen) -> bool {
        matches!(seen, Seen::Digits(digits) if dial::call(digits).is_some_and(|spec| spec.call == self.call))
    }
}

fn detail(what: &What) -> String {
    let sdp = |remote: &Option<String>| if remote.is_some() { " (SDP)" } else { "" };
    match what {
        What::Restart { method, .. } => match method {
            Restart::Restart => " restart".into(),
            Restart::Forced => " forced".into(),
            Restart::Disconnected => " disconnected".into(),
        },
        What::Notify { seen, .. } => seen.iter().map(|seen| format!(" {}", name(seen))).collect(),
        What::Watch { signal, .. } => signal.map(|signal| format!(" {signal:?}")).unwrap_or_default(),
        What::Create { mode, remote, .. } | What::Modify { mode, remote, .. } => {
            let mode = match mode {
                Mode::SendRecv => "sendrecv",
                Mode::SendOnly => "sendonly",
                Mode::RecvOnly => "recvonly",
                Mode::Inactive => "inactive",
            };
            format!(" {mode}{}", sdp(remote))
        }
        What::Audit | What::Delete { .. } => String::new(),
    }
}

const fn name(seen: &Seen) -> &'static str {
    match seen {
        Seen::OffHook => "off-hook",
        Seen::OnHook => "on-hook",
        Seen::Flash => "flash",
        Seen::Digits(_) => "digits",
    }
}
