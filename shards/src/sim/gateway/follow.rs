//! Which messages are of one call, and what they say in a few words.

use super::super::ladder::Lane;
use super::dial;
use super::language::Language;
use super::order::{Message, Method, Mode, Order, Seen, Told, What};
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// Follows one call.
#[derive(Clone, Debug)]
pub(in super::super) struct Follow {
    language: Language,
    call: u32,
    /// Transactions of the call.
    asked: Vec<Asked>,
    /// Lines and connections in the call, by the names that they and their gateways have at the controller.
    names: BTreeSet<(String, String)>,
    /// What the controller asked to be told of these lines.
    requests: BTreeSet<u32>,
}

/// A transaction: its side, its number there, what it asks, of whose gateway.
#[derive(Clone, Debug)]
struct Asked {
    lane: Lane,
    id: u32,
    verb: &'static str,
    who: String,
}

impl Follow {
    pub(in super::super) fn new(language: Language, call: u32) -> Self {
        let (names, requests) = Default::default();
        Self { language, call, asked: Vec::new(), names, requests }
    }

    /// What a datagram between an endpoint and `peer` says of the call; nothing when it is of others.
    pub(in super::super) fn labels(&mut self, lane: Lane, peer: SocketAddr, bytes: &[u8]) -> Vec<String> {
        let messages = self.language.read(bytes).unwrap_or_default();
        messages.iter().filter_map(|message| self.label(lane, peer, message)).collect()
    }

    fn label(&mut self, lane: Lane, peer: SocketAddr, message: &Message) -> Option<String> {
        let Message { id, told } = message;
        if let Told::Order(order) = told {
            let who = self.language.whose(&order.name, peer);
            return self.takes(lane, *id, &who, order).then(|| {
                let verb = self.language.verb(&order.what);
                self.asked.push(Asked { lane, id: *id, verb, who });
                format!(" {verb}{} ", detail(&order.what))
            });
        }
        let asked = self.asked.iter().find(|asked| (asked.lane, asked.id) == (lane, *id))?;
        let (verb, who) = (asked.verb, asked.who.clone());
        Some(match told {
            Told::Answer { answer, .. } => {
                if lane == Lane::Core {
                    let (line, connection) = (answer.line.clone(), answer.connection.clone());
                    self.names.extend(line.into_iter().chain(connection).map(|name| (who.clone(), name)));
                }
                let sdp = if answer.local.is_some() { " (SDP)" } else { "" };
                format!(" {} {verb}{sdp} ", answer.code)
            }
            Told::Pending => format!(" pending {verb} "),
            _ => format!(" confirmed {verb} "),
        })
    }

    fn takes(&mut self, lane: Lane, id: u32, who: &str, order: &Order) -> bool {
        let across = self.language.keeps_numbers();
        let again = self.asked.iter().any(|asked| asked.id == id && (across || asked.lane == lane));
        let known = |name: &String| {
            let meant = |(of, known): &(String, String)| of == who && self.language.is_meant(name, known);
            lane == Lane::Core && self.names.iter().any(meant)
        };
        let ours = match &order.what {
            What::Create { number, .. } => *number == self.call,
            What::Modify { number, connection, .. } => *number == self.call || known(connection),
            What::Delete { number, connection, .. } => {
                *number == Some(self.call) || connection.as_ref().is_some_and(known)
            }
            What::Watch { request, .. } | What::Notify { request, .. } if self.requests.contains(request) => {
                true
            }
            What::Notify { seen, .. } => seen.iter().any(|seen| self.is_dialled(seen)),
            What::Watch { request, .. } => known(&order.line) && self.requests.insert(*request),
            _ => false,
        };
        if ours && lane == Lane::Core && !order.line.contains(['$', '*']) {
            self.names.insert((who.to_owned(), order.line.clone()));
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
            Method::Restart => " restart".into(),
            Method::Forced => " forced".into(),
            Method::Disconnected => " disconnected".into(),
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
