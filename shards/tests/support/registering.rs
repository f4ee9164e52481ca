//! A phone that registers, and the registrar that answers it.

use super::{ACCESS, Sent, World, addr, mapping};
use portolan_shards::realm::{Mapping, Registration, Route};
use portolan_shards::types::{Flow, Transport};

pub(crate) const CONTACT: &str = "<sip:alice@192.168.1.10:5060;ob>;+sip.instance=\"<urn:uuid:1>\";expires=60";

/// A mapping whose registrations follow this policy.
pub(crate) fn with(registration: Registration) -> Mapping {
    Mapping { routes: vec![Route { registration, ..Route::all(ACCESS, 0) }], ..mapping(1) }
}

/// A REGISTER of alice's.
#[derive(Clone)]
pub(crate) struct Register {
    pub(crate) cseq: u32,
    pub(crate) call_id: &'static str,
    /// Header lines, Contact among them.
    pub(crate) lines: String,
    /// What stands behind the branch in the phone's Via.
    pub(crate) via: &'static str,
}

impl Register {
    pub(crate) fn new(contact: &str, cseq: u32) -> Self {
        Self { cseq, call_id: "reg-1", lines: format!("Contact: {contact}\n"), via: ";rport" }
    }

    pub(crate) fn and(mut self, line: &str) -> Self {
        self.lines += line;
        self.lines.push('\n');
        self
    }

    pub(crate) fn text(&self) -> String {
        let Self { cseq, call_id, lines, via } = self;
        format!(
            "REGISTER sip:example.net SIP/2.0\nVia: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bK{call_id}{cseq}{via}\n\
             Max-Forwards: 70\nFrom: <sip:alice@example.net>;tag=a{cseq}\nTo: <sip:alice@example.net>\n\
             Call-ID: {call_id}\nCSeq: {cseq} REGISTER\n{lines}Content-Length: 0\n\n"
        )
    }
}

/// The registrar's answer to a forwarded REGISTER.
pub(crate) fn answer(request: &Sent, status: &str, lines: &str) -> String {
    format!(
        "SIP/2.0 {status}\nVia: {}\nFrom: {}\nTo: {};tag=r\nCall-ID: {}\nCSeq: {}\n{lines}Content-Length: 0\n\n",
        request.header("Via"),
        request.header("From"),
        request.header("To"),
        request.header("Call-ID"),
        request.header("CSeq"),
    )
}

/// The flow of a datagram from there to the access realm.
pub(crate) fn from(remote: &str) -> Flow {
    let local = addr("198.51.100.10:5060");
    Flow { realm: ACCESS, transport: Transport::Udp, local, remote: addr(remote), stream: None }
}

impl World {
    /// A REGISTER comes by this flow: what is sent because of it.
    pub(crate) fn registers(&mut self, flow: Flow, register: &Register) -> Vec<Sent> {
        self.deliver(0, flow, &register.text())
    }

    /// A REGISTER is sent on and answered 200 with the contacts as they came up and these lines more: what the
    /// registrar saw, and what the terminal saw.
    pub(crate) fn registered(&mut self, flow: Flow, register: &Register, more: &str) -> (Sent, Sent) {
        let up = self.registers(flow, register).remove(0);
        let listed =
            up.headers("Contact").iter().map(|value| format!("Contact: {value}\n")).collect::<String>();
        let down = self.answers(&up, "200 OK", &(listed + more));
        (up, down)
    }

    /// The registrar answers: what the terminal sees.
    pub(crate) fn answers(&mut self, up: &Sent, status: &str, lines: &str) -> Sent {
        let home = up.flow.local.to_string();
        self.core_sends(&home, &answer(up, status, lines)).remove(0)
    }

    pub(crate) fn bindings(&mut self) -> u64 {
        self.shards.iter_mut().map(|shard| shard.stats().bindings).sum()
    }
}

impl Sent {
    /// The values of all header lines of this name.
    pub(crate) fn headers(&self, name: &str) -> Vec<String> {
        let prefix = format!("{name}: ");
        self.text().lines().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_owned).collect()
    }

    /// The `expires` parameter of the first Contact.
    pub(crate) fn expires(&self) -> u64 {
        let contact = self.header("Contact");
        let after = contact.split(";expires=").nth(1).unwrap_or_else(|| panic!("no lifetime: {contact}"));
        after.split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok()).expect("a number")
    }

    pub(crate) fn status(&self) -> u16 {
        self.text().split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default()
    }
}

/// A request from the softswitch outside any dialog.
pub(crate) fn message(uri: &str, call: &str, lines: &str) -> String {
    format!(
        "MESSAGE {uri} SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.20;branch=z9hG4bK{call}\n{lines}Max-Forwards: 69\n\
         From: <sip:bob@example.net>;tag=b\nTo: <sip:alice@example.net>\nCall-ID: {call}\nCSeq: 1 MESSAGE\n\
         Content-Length: 0\n\n"
    )
}

/// The URI between the angles of a header.
pub(crate) fn uri_of(value: &str) -> String {
    value.split(['<', '>']).nth(1).expect("a URI").to_owned()
}

/// What a MESSAGE to this URI becomes, from the address that the URI names.
pub(crate) fn calls(world: &mut World, uri: &str, call: &str) -> Sent {
    world.core_sends("10.0.0.10:6000", &message(uri, call, "")).remove(0)
}
