//! The few messages that a proxy sends by itself.

use super::ber::{self, around, element, integer};
use super::{Acked, Context, Encoding, Method, Mid, Termination};

/// How and as whom a message is sent.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// How it is written.
    pub encoding: Encoding,
    /// The protocol's version.
    pub version: u8,
    /// Its originator.
    pub mid: &'a Mid,
}

/// The root termination as a TerminationID in binary, without its identifier and length.
const ROOT: [u8; 12] = [0xa0, 0, 0x81, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];

impl Envelope<'_> {
    /// A request that asks nothing of the root: is anyone there? (section 7.2.5)
    pub fn audit(&self, id: u32) -> Vec<u8> {
        match self.encoding {
            Encoding::Text => {
                self.text(&format!("Transaction={id}{{Context=-{{AuditValue=ROOT{{Audit{{}}}}}}}}"))
            }
            Encoding::Ber => {
                self.request(id, Context::Null, around(0xa5, &[element(0xa0, &ROOT), element(0xa1, &[])]))
            }
        }
    }

    /// A request that says how the gateway as a whole stands; the reason is a code and words, such as
    /// `905 Termination taken out of service`.
    pub fn service_change(&self, id: u32, method: Method, reason: &str) -> Vec<u8> {
        let reason = plain(reason);
        let (token, number) = method.written().unwrap_or(("Restart", 3));
        match self.encoding {
            Encoding::Text => self.text(&format!(
                "Transaction={id}{{Context=-{{ServiceChange=ROOT{{Services{{Method={token},Reason=\"{reason}\"}}}}}}}}"
            )),
            Encoding::Ber => {
                let value = element(4, &element(0x16, reason.as_bytes()));
                let parameters = around(0xa1, &[integer(0x80, number), element(0xa4, &value)]);
                self.request(id, Context::Null, around(0xa7, &[list(), parameters]))
            }
        }
    }

    /// A request that takes a termination, which is named exactly, out of its context.
    pub fn subtract(&self, id: u32, context: Context, termination: &Termination) -> Vec<u8> {
        let name = termination.name();
        match self.encoding {
            Encoding::Text => {
                let (context, name) = (context.number(), String::from_utf8_lossy(name));
                self.text(&format!("Transaction={id}{{Context={context}{{Subtract={name}{{Audit{{}}}}}}}}"))
            }
            Encoding::Ber => {
                let name = around(0x30, &[element(0xa0, &[]), element(0x81, name)]);
                self.request(id, context, around(0xa3, &[element(0xa0, &name)]))
            }
        }
    }

    /// The reply to a ServiceChange of the root, which may name another controller to turn to.
    pub fn service_change_reply(&self, id: u32, mgc: Option<&Mid>) -> Vec<u8> {
        match self.encoding {
            Encoding::Text => {
                let mgc = mgc.map(|mgc| format!("MgcIdToTry={mgc},")).unwrap_or_default();
                let version = self.version;
                self.text(&format!(
                    "Reply={id}{{Context=-{{ServiceChange=ROOT{{Services{{{mgc}Version={version}}}}}}}}}"
                ))
            }
            Encoding::Ber => {
                let mgc = mgc.map(|mgc| element(0xa0, &ber::mid(mgc))).unwrap_or_default();
                let parameters = around(0xa1, &[mgc, integer(0x82, u32::from(self.version))]);
                let reply = around(0xa7, &[list(), element(0xa1, &parameters)]);
                let action = around(0x30, &[integer(0x80, 0), element(0xa3, &reply)]);
                self.reply(id, element(0xa1, &action))
            }
        }
    }

    /// A reply that refuses the whole request (codes in H.248.8).
    pub fn refuse(&self, id: u32, code: u16, text: &str) -> Vec<u8> {
        let text = plain(text);
        match self.encoding {
            Encoding::Text => self.text(&format!("Reply={id}{{Error={code}{{\"{text}\"}}}}")),
            Encoding::Ber => self.reply(id, error(code, &text)),
        }
    }

    /// An error descriptor instead of transactions: the message that was received cannot be read.
    pub fn refuse_message(&self, code: u16, text: &str) -> Vec<u8> {
        let text = plain(text);
        match self.encoding {
            Encoding::Text => self.text(&format!("Error={code}{{\"{text}\"}}")),
            Encoding::Ber => self.binary(&error(code, &text)),
        }
    }

    /// The request was received and is being worked on.
    pub fn pending(&self, id: u32) -> Vec<u8> {
        match self.encoding {
            Encoding::Text => self.text(&format!("Pending={id}{{}}")),
            Encoding::Ber => self.transactions(element(0xa1, &integer(0x80, id))),
        }
    }

    /// Replies have arrived.
    pub fn acknowledge(&self, acks: &[Acked]) -> Vec<u8> {
        match self.encoding {
            Encoding::Text => self.text(&acknowledged_text(acks)),
            Encoding::Ber => self.transactions(acknowledged_ber(acks)),
        }
    }

    fn text(&self, body: &str) -> Vec<u8> {
        format!("MEGACO/{} {}\r\n{body}\r\n", self.version, self.mid).into_bytes()
    }

    fn request(&self, id: u32, context: Context, command: Vec<u8>) -> Vec<u8> {
        let command = element(0x30, &around(0xa0, &[command]));
        let action = around(0x30, &[integer(0x80, context.number()), element(0xa3, &command)]);
        self.transactions(around(0xa0, &[integer(0x80, id), element(0xa1, &action)]))
    }

    fn reply(&self, id: u32, result: Vec<u8>) -> Vec<u8> {
        self.transactions(around(0xa2, &[integer(0x80, id), around(0xa2, &[result])]))
    }

    fn transactions(&self, transaction: Vec<u8>) -> Vec<u8> {
        self.binary(&around(0xa1, &[transaction]))
    }

    fn binary(&self, body: &[u8]) -> Vec<u8> {
        let version = integer(0x80, u32::from(self.version));
        let message = around(0xa1, &[version, element(0xa1, &ber::mid(self.mid)), element(0xa2, body)]);
        element(0x30, &message)
    }
}

/// A list with the root in it.
fn list() -> Vec<u8> {
    element(0xa0, &element(0x30, &ROOT))
}

fn error(code: u16, text: &str) -> Vec<u8> {
    around(0xa0, &[integer(0x80, u32::from(code)), element(0x81, text.as_bytes())])
}

/// `TransactionResponseAck{1-3,5}`
pub(super) fn acknowledged_text(acks: &[Acked]) -> String {
    let ranges = acks.iter().map(|ack| match ack.first == ack.last {
        true => ack.first.to_string(),
        false => format!("{}-{}", ack.first, ack.last),
    });
    format!("TransactionResponseAck{{{}}}", ranges.collect::<Vec<_>>().join(","))
}

/// The same in binary.
pub(super) fn acknowledged_ber(acks: &[Acked]) -> Vec<u8> {
    let ranges = acks.iter().map(|ack| {
        let last = if ack.last == ack.first { Vec::new() } else { integer(0x81, ack.last) };
        around(0x30, &[integer(0x80, ack.first), last])
    });
    around(0xa3, &ranges.collect::<Vec<_>>())
}

/// What a quoted string and an IA5String can hold.
fn plain(text: &str) -> String {
    text.chars().filter(|c| (c.is_ascii_graphic() || *c == ' ') && *c != '"').collect()
}
