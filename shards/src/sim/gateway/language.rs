//! The protocols, as far as they differ in what is written.

use super::super::leak::Watch;
use super::mgcp;
use super::order::{Answer, Message, Order, What};
use crate::types::Proto;
use std::net::{IpAddr, SocketAddr};

/// What a gateway and who controls it speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// MGCP (RFC 3435).
    Mgcp,
}

impl Language {
    /// The protocol.
    pub const fn proto(self) -> Proto {
        match self {
            Self::Mgcp => Proto::Mgcp,
        }
    }

    /// Where a gateway listens, and its controller as far as it knows (RFC 3435 section 3.5, H.248.1 annex D).
    pub const fn gateway_port(self) -> u16 {
        match self {
            Self::Mgcp => 2427,
        }
    }

    /// Where a controller listens.
    pub const fn controller_port(self) -> u16 {
        match self {
            Self::Mgcp => 2727,
        }
    }

    /// What stands between two messages of a datagram, where there may be two.
    pub(super) const fn joint(self) -> Option<&'static str> {
        match self {
            Self::Mgcp => Some(".\r\n"),
        }
    }

    /// How the sender of a message at this address is called in it.
    pub(super) const fn mid(self, _: SocketAddr) -> String {
        match self {
            Self::Mgcp => String::new(),
        }
    }

    /// Where a gateway of this name is reached, where its name says so.
    pub(super) const fn reach(self, _: &str) -> Option<SocketAddr> {
        match self {
            Self::Mgcp => None,
        }
    }

    /// What the names of lines begin with.
    pub(super) const fn line(self) -> &'static str {
        match self {
            Self::Mgcp => "aaln/",
        }
    }

    /// All lines.
    pub(super) fn all(self) -> String {
        match self {
            Self::Mgcp => "*".into(),
        }
    }

    /// Any line.
    pub(super) fn any(self) -> String {
        format!("{}$", self.line())
    }

    /// A gateway's name for its connection of this number.
    pub(super) fn connection(self, number: u32) -> String {
        match self {
            Self::Mgcp => format!("{number:X}"),
        }
    }

    /// What a command is called.
    pub(super) const fn verb(self, what: &What) -> &'static str {
        match self {
            Self::Mgcp => mgcp::verb(what),
        }
    }

    /// Whom gateways shall tell what happens, where the protocol has a word for it: a controller at this address.
    pub(super) fn entity(self, address: SocketAddr) -> Option<String> {
        match self {
            Self::Mgcp => Some(format!("agent@[{}]:{}", address.ip(), address.port())),
        }
    }

    /// Does a command of a gateway name a controller at this address, by that alone?
    pub(super) fn is_ours(self, order: &Order, address: SocketAddr) -> bool {
        let plain = format!("[{}]:{}", address.ip(), address.port());
        order.entity.as_ref().is_none_or(|entity| *entity == plain)
    }

    /// Is a command fit for the gateway of this name, whose controller is there?
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn judge(self, name: &str, order: &Order, controller: SocketAddr) -> Result<(), String> {
        let there = format!("[{}]:{}", controller.ip(), controller.port());
        let wanted = if self == Self::Mgcp { name } else { &there };
        if !order.name.eq_ignore_ascii_case(wanted) {
            return Err(format!("{} is not {wanted}", order.name));
        }
        match &order.entity {
            Some(entity) if !entity.ends_with(&format!("@{there}")) => {
                Err(format!("{entity} cannot be reached"))
            }
            _ => Ok(()),
        }
    }

    /// Write a command.
    pub(super) fn order(self, id: u32, _: &str, order: &Order) -> Vec<u8> {
        match self {
            Self::Mgcp => mgcp::order(id, order).into_bytes(),
        }
    }

    /// Write the final answer to a command. `confirm`: ask for a confirmation.
    pub(super) fn answer(self, id: u32, _: &str, order: &Order, answer: &Answer, confirm: bool) -> Vec<u8> {
        match self {
            Self::Mgcp => mgcp::answer(id, order, answer, confirm).into_bytes(),
        }
    }

    /// Write that an answer will take a while.
    pub(super) fn pending(self, id: u32, _: &str) -> Vec<u8> {
        match self {
            Self::Mgcp => format!("100 {id} Pending\r\n").into_bytes(),
        }
    }

    /// Write that an answer has arrived.
    pub(super) fn confirm(self, id: u32, _: &str) -> Vec<u8> {
        match self {
            Self::Mgcp => format!("000 {id}\r\n").into_bytes(),
        }
    }

    /// Read a datagram.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn read(self, bytes: &[u8]) -> Result<Vec<Message>, String> {
        match self {
            Self::Mgcp => mgcp::read(bytes),
        }
    }

    /// Watched addresses in a message.
    pub(super) fn addresses(self, watch: &Watch, bytes: &[u8]) -> Vec<IpAddr> {
        match self {
            Self::Mgcp => watch.scan(bytes),
        }
    }

    /// A message in a few words.
    pub(super) fn summary(self, bytes: &[u8]) -> String {
        match self {
            Self::Mgcp => String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}
