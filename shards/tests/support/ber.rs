//! H.248 messages in binary (H.248.1 Annex A), made out of the same in text. It writes with code of its own.

use portolan_shards::wire::h248::{
    Action, Body, ChangeAddress, Command, Counted, Description, ErrorDescriptor, Kind, Message, Method, Mid,
    Mode, ServiceChange, Statistic, Stream, Termination, Transaction, Verb,
};
use std::net::IpAddr;

/// The message in binary; its SDP raw in its octet strings, or as IA5Strings in them.
pub(crate) fn ber(text: &str, wrapped: bool) -> Vec<u8> {
    let message = Message::parse(text.as_bytes()).unwrap_or_else(|unread| panic!("{unread:?}: {text}"));
    let writer = Writer { message: &message, wrapped };
    let body = match &message.body {
        Body::Error(error) => writer.error(0xa0, error),
        Body::Transactions(all) => {
            tlv(0xa1, &all.iter().map(|t| writer.transaction(t)).collect::<Vec<_>>().concat())
        }
    };
    let parts =
        [number(0x80, u64::from(message.version)), tlv(0xa1, &mid(&message.mid, 0)), tlv(0xa2, &body)];
    tlv(0x30, &tlv(0xa1, &parts.concat()))
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let head = match length {
        0..=127 => vec![tag, length as u8],
        128..=255 => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    [head, content.to_vec()].concat()
}

fn number(tag: u8, value: u64) -> Vec<u8> {
    let octets = value.to_be_bytes();
    let from = octets.iter().position(|octet| *octet != 0).unwrap_or(7);
    let zero = if octets[from] >= 0x80 { &[0][..] } else { &[] };
    tlv(tag, &[zero, &octets[from..]].concat())
}

fn mid(mid: &Mid, first: u8) -> Vec<u8> {
    let named = |tag: u8, name: &[u8], port: &Option<u16>| {
        let port = port.map(|port| number(0x81, u64::from(port))).unwrap_or_default();
        tlv(0xa0 + first + tag, &[tlv(0x80, name), port].concat())
    };
    match mid {
        Mid::Ip(IpAddr::V4(ip), port) => named(0, &ip.octets(), port),
        Mid::Ip(IpAddr::V6(ip), port) => named(1, &ip.octets(), port),
        Mid::Domain(name, port) => named(2, name.as_bytes(), port),
        Mid::Device(name) => tlv(0x83 + first, name.as_bytes()),
        Mid::Mtp(octets) => tlv(0x84 + first, octets),
    }
}

fn termination(name: &Termination) -> Vec<u8> {
    let (wildcard, id) = match name {
        name if name.is_root() => (Vec::new(), vec![0xff; 8]),
        name if name.is_choose() => (tlv(4, &[0x7f]), vec![0; 8]),
        name if name.is_all() => (tlv(4, &[0x3f]), vec![0; 8]),
        name => (Vec::new(), name.name().to_vec()),
    };
    tlv(0x30, &[tlv(0xa0, &wildcard), tlv(0x81, &id)].concat())
}

fn terminations(command: &Command) -> Vec<u8> {
    tlv(0xa0, &command.terminations.iter().map(termination).collect::<Vec<_>>().concat())
}

struct Writer<'m> {
    message: &'m Message<'m>,
    wrapped: bool,
}

impl Writer<'_> {
    fn error(&self, tag: u8, error: &ErrorDescriptor) -> Vec<u8> {
        let text = error.text.of(self.message.bytes());
        tlv(tag, &[number(0x80, u64::from(error.code)), tlv(0x81, text)].concat())
    }

    fn transaction(&self, transaction: &Transaction) -> Vec<u8> {
        let id = number(0x80, u64::from(transaction.id));
        let reply = transaction.kind == Kind::Reply;
        let actions = transaction.actions.iter().map(|action| self.action(action, reply)).collect::<Vec<_>>();
        let actions = tlv(0xa1, &actions.concat());
        match transaction.kind {
            Kind::Request => tlv(0xa0, &[id, actions].concat()),
            Kind::Pending => tlv(0xa1, &id),
            Kind::Reply => {
                let result = transaction.error.as_ref().map_or(actions, |error| self.error(0xa0, error));
                let wanted = if transaction.ack_required { tlv(0x81, &[]) } else { Vec::new() };
                let segment = transaction.segment.map(|segment| {
                    let last = if segment.last { tlv(0x84, &[]) } else { Vec::new() };
                    [number(0x83, u64::from(segment.number)), last].concat()
                });
                tlv(0xa2, &[id, wanted, tlv(0xa2, &result), segment.unwrap_or_default()].concat())
            }
            Kind::ResponseAck => {
                let acks = transaction.acks.iter().map(|ack| {
                    let (first, last) =
                        (number(0x80, u64::from(ack.first)), number(0x81, u64::from(ack.last)));
                    tlv(0x30, &[first, last].concat())
                });
                tlv(0xa3, &acks.collect::<Vec<_>>().concat())
            }
            Kind::Segment => panic!("no test needs it"),
        }
    }

    fn action(&self, action: &Action, reply: bool) -> Vec<u8> {
        let context = number(0x80, u64::from(action.context.number()));
        let commands = action.commands.iter().map(|command| match reply {
            true => self.reply(command),
            false => self.request(command),
        });
        let commands = tlv(0xa3, &commands.collect::<Vec<_>>().concat());
        tlv(0x30, &[context, commands].concat())
    }

    fn request(&self, command: &Command) -> Vec<u8> {
        let names = match command.verb {
            Verb::AuditCapability | Verb::AuditValue => {
                retagged(0xa0, &termination(&command.terminations[0]))
            }
            _ => terminations(command),
        };
        let media = if command.streams.is_empty() { Vec::new() } else { self.media(0xa0, command) };
        let (tag, rest) = match command.verb {
            Verb::Add => (0xa0, tlv(0xa1, &media)),
            Verb::Move => (0xa1, tlv(0xa1, &media)),
            Verb::Modify => (0xa2, tlv(0xa1, &media)),
            Verb::Subtract => (0xa3, Vec::new()),
            Verb::AuditCapability | Verb::AuditValue => {
                let asked = command.audit.is_some_and(|audit| !audit.empty);
                let token = if asked { tlv(0x80, &[5, 0x20]) } else { Vec::new() };
                (if command.verb == Verb::AuditValue { 0xa5 } else { 0xa4 }, tlv(0xa1, &token))
            }
            Verb::Notify => {
                let event = tlv(0x30, &[tlv(0x80, &[0, 9, 0, 5]), tlv(0xa2, &[])].concat());
                (0xa6, tlv(0xa1, &[number(0x80, 7), tlv(0xa1, &event)].concat()))
            }
            Verb::ServiceChange => {
                let change = command.service_change.as_ref().expect("its parameters");
                (0xa7, tlv(0xa1, &self.change(change)))
            }
        };
        tlv(0x30, &tlv(0xa0, &tlv(tag, &[names, rest].concat())))
    }

    fn reply(&self, command: &Command) -> Vec<u8> {
        let names = terminations(command);
        let error = |tag: u8| command.error.as_ref().map(|error| self.error(tag, error));
        let mut said = error(0xa0).unwrap_or_default();
        if !command.streams.is_empty() {
            said.extend(self.media(0xa1, command));
        }
        if !command.statistics.is_empty() {
            said.extend(tlv(
                0xa9,
                &command.statistics.iter().map(|s| self.statistic(s)).collect::<Vec<_>>().concat(),
            ));
        }
        let audit = if said.is_empty() { Vec::new() } else { tlv(0xa1, &said) };
        match command.verb {
            Verb::Add => tlv(0xa0, &[names, audit].concat()),
            Verb::Move => tlv(0xa1, &[names, audit].concat()),
            Verb::Modify => tlv(0xa2, &[names, audit].concat()),
            Verb::Subtract => tlv(0xa3, &[names, audit].concat()),
            Verb::AuditCapability | Verb::AuditValue => {
                // AuditResult: TerminationID and TerminationAudit.
                let name = retagged(0xa0, &termination(&command.terminations[0]));
                let result = tlv(0xa2, &[name, tlv(0xa1, &said)].concat());
                tlv(if command.verb == Verb::AuditValue { 0xa5 } else { 0xa4 }, &result)
            }
            Verb::Notify => tlv(0xa6, &[names, error(0xa1).unwrap_or_default()].concat()),
            Verb::ServiceChange => {
                let result = match (error(0xa0), &command.service_change) {
                    (Some(error), _) => error,
                    (None, Some(change)) => tlv(0xa1, &self.changed(change)),
                    (None, None) => tlv(0xa1, &[]),
                };
                tlv(0xa7, &[names, tlv(0xa1, &result)].concat())
            }
        }
    }

    fn change(&self, change: &ServiceChange) -> Vec<u8> {
        let method = match change.method {
            Some(Method::Failover) => 0,
            Some(Method::Forced) => 1,
            Some(Method::Graceful) => 2,
            Some(Method::Restart) => 3,
            Some(Method::Disconnected) => 4,
            _ => 5,
        };
        let reason = format!("{} reason", change.reason.unwrap_or(900));
        let parts = [
            number(0x80, method),
            change.address.as_ref().map(|address| tlv(0xa1, &change_address(address))).unwrap_or_default(),
            change.version.map(|version| number(0x82, u64::from(version))).unwrap_or_default(),
            tlv(0xa4, &tlv(4, &tlv(0x16, reason.as_bytes()))),
            change.mgc.as_ref().map(|mgc| tlv(0xa6, &mid(mgc, 0))).unwrap_or_default(),
        ];
        parts.concat()
    }

    fn changed(&self, change: &ServiceChange) -> Vec<u8> {
        let parts = [
            change.mgc.as_ref().map(|mgc| tlv(0xa0, &mid(mgc, 0))).unwrap_or_default(),
            change.address.as_ref().map(|address| tlv(0xa1, &change_address(address))).unwrap_or_default(),
            change.version.map(|version| number(0x82, u64::from(version))).unwrap_or_default(),
        ];
        parts.concat()
    }

    fn statistic(&self, statistic: &Statistic) -> Vec<u8> {
        let name: [u8; 4] = match statistic.counted {
            Counted::OctetsSent => [0, 11, 0, 2],
            Counted::OctetsReceived => [0, 11, 0, 3],
            Counted::PacketsSent => [0, 12, 0, 4],
            Counted::PacketsReceived => [0, 12, 0, 5],
            other => panic!("{other:?}"),
        };
        let value = number(2, statistic.value.expect("a number"));
        tlv(0x30, &[tlv(0x80, &name), tlv(0xa1, &tlv(4, &value))].concat())
    }

    fn media(&self, tag: u8, command: &Command) -> Vec<u8> {
        let streams = command.streams.iter().map(|stream| self.stream(stream)).collect::<Vec<_>>();
        tlv(tag, &tlv(0xa1, &tlv(0xa1, &streams.concat())))
    }

    fn stream(&self, stream: &Stream) -> Vec<u8> {
        let mode = stream.mode.map(|mode| match mode {
            Mode::SendOnly => 0,
            Mode::ReceiveOnly => 1,
            Mode::SendReceive => 2,
            Mode::Inactive => 3,
            Mode::Loopback => 4,
        });
        let control = mode.map(|mode| tlv(0xa0, &[number(0x80, mode), tlv(0xa3, &[])].concat()));
        let described = |tag: u8, description: &Option<Description>| {
            description.as_ref().map(|description| self.description(tag, description)).unwrap_or_default()
        };
        let parts =
            [control.unwrap_or_default(), described(0xa1, &stream.local), described(0xa2, &stream.remote)];
        let parms = tlv(0xa1, &parts.concat());
        tlv(0x30, &[number(0x80, u64::from(stream.id)), parms].concat())
    }

    fn description(&self, tag: u8, description: &Description) -> Vec<u8> {
        let groups = description.groups.iter().map(|group| {
            let sdp = String::from_utf8(self.message.sdp(group).into_owned()).expect("text");
            tlv(0x30, &sdp.lines().map(|line| self.property(line)).collect::<Vec<_>>().concat())
        });
        tlv(tag, &tlv(0xa0, &groups.collect::<Vec<_>>().concat()))
    }

    /// Annex C.11.
    fn property(&self, line: &str) -> Vec<u8> {
        let (letter, value) = line.split_once('=').expect("a line of SDP");
        let letters = ["v", "o", "s", "i", "u", "e", "p", "c", "b", "z", "k", "a", "t", "r", "m"];
        let at = letters.iter().position(|known| *known == letter).expect("a line of SDP");
        let value = if self.wrapped { tlv(0x16, value.as_bytes()) } else { value.as_bytes().to_vec() };
        let name = tlv(0x80, &[0, 0, 0xb0, at as u8 + 1]);
        tlv(0x30, &[name, tlv(0xa1, &tlv(4, &value))].concat())
    }
}

fn retagged(tag: u8, element: &[u8]) -> Vec<u8> {
    [&[tag][..], &element[1..]].concat()
}

fn change_address(address: &ChangeAddress) -> Vec<u8> {
    match address {
        ChangeAddress::Port(port) => number(0x80, u64::from(*port)),
        ChangeAddress::Mid(at) => mid(at, 1),
    }
}
