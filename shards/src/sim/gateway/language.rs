//! The protocols, as far as they differ in what is written.

use super::super::leak::Watch;
use super::h248::{self, Kind, Said};
use super::order::{Answer, Message, Order, What};
use super::{h248_binary, h248_text, mgcp};
use crate::types::Proto;
use std::net::{IpAddr, SocketAddr};

/// What a gateway and who controls it speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// MGCP (RFC 3435).
    Mgcp,
    /// H.248 in text (H.248.1 annex B).
    H248Text,
    /// H.248 in binary (H.248.1 annex A).
    H248Binary,
}

impl Language {
    /// The protocol.
    pub const fn proto(self) -> Proto {
        match self {
            Self::Mgcp => Proto::Mgcp,
            Self::H248Text | Self::H248Binary => Proto::H248,
        }
    }

    /// Where a gateway listens, and its controller as far as it knows (RFC 3435 section 3.5, H.248.1 annex D).
    pub const fn gateway_port(self) -> u16 {
        match self {
            Self::Mgcp => 2427,
            Self::H248Text | Self::H248Binary => 2944,
        }
    }

    /// Where a controller listens.
    pub const fn controller_port(self) -> u16 {
        match self {
            Self::Mgcp => 2727,
            Self::H248Text | Self::H248Binary => 2944,
        }
    }

    /// What stands between two messages of a datagram, where there may be two.
    pub(super) const fn joint(self) -> Option<&'static str> {
        match self {
            Self::Mgcp => Some(".\r\n"),
            Self::H248Text | Self::H248Binary => None,
        }
    }

    /// How the sender of a message at this address is called in it.
    pub(super) fn mid(self, local: SocketAddr) -> String {
        match self {
            Self::Mgcp => String::new(),
            Self::H248Text | Self::H248Binary => format!("[{}]:{}", local.ip(), local.port()),
        }
    }

    /// Where all gateways behind a proxy are reached, if that is one address: its own.
    pub fn shared(self, core: SocketAddr) -> Option<SocketAddr> {
        (self == Self::Mgcp).then_some(core)
    }

    /// Where a gateway of this name is reached, where its name says so.
    pub(super) fn reach(self, name: &str) -> Option<SocketAddr> {
        match self {
            Self::Mgcp => None,
            Self::H248Text | Self::H248Binary => address(name),
        }
    }

    /// A gateway's own name, by its address in brackets or by a domain.
    pub fn name(self, host: &str) -> String {
        let port = self.gateway_port();
        match self {
            Self::Mgcp => host.to_owned(),
            _ if host.starts_with('[') => format!("{host}:{port}"),
            Self::H248Text | Self::H248Binary => format!("<{host}>:{port}"),
        }
    }

    /// Whose gateway a command is about, as seen at the controller: by its name, or by where it is reached.
    pub(super) fn whose(self, name: &str, peer: SocketAddr) -> String {
        match self {
            Self::Mgcp => name.to_owned(),
            Self::H248Text | Self::H248Binary => peer.to_string(),
        }
    }

    /// Has a transaction the same number on both sides of a proxy?
    pub(super) const fn keeps_numbers(self) -> bool {
        matches!(self, Self::H248Text | Self::H248Binary)
    }

    /// What the names of lines begin with.
    pub(super) const fn line(self) -> &'static str {
        match self {
            Self::Mgcp => "aaln/",
            Self::H248Text | Self::H248Binary => "al/",
        }
    }

    /// All lines.
    pub(super) fn all(self) -> String {
        match self {
            Self::Mgcp => "*".into(),
            Self::H248Text | Self::H248Binary => "al/*".into(),
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
            Self::H248Text | Self::H248Binary => format!("{number}|rtp/{number}"),
        }
    }

    /// Does a command that names a connection like this mean the one of that name?
    pub(super) fn is_meant(self, named: &str, connection: &str) -> bool {
        match (self, named.strip_suffix('*')) {
            (Self::Mgcp, _) | (_, None) => connection.eq_ignore_ascii_case(named),
            (_, Some(context)) => connection.starts_with(context),
        }
    }

    /// What a command is called.
    pub(super) const fn verb(self, what: &What) -> &'static str {
        match self {
            Self::Mgcp => mgcp::verb(what),
            Self::H248Text | Self::H248Binary => h248::verb(what),
        }
    }

    /// Whom gateways shall tell what happens, where the protocol has a word for it: a controller at this address.
    pub(super) fn entity(self, address: SocketAddr) -> Option<String> {
        match self {
            Self::Mgcp => Some(format!("agent@[{}]:{}", address.ip(), address.port())),
            Self::H248Text | Self::H248Binary => None,
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
    pub(super) fn order(self, id: u32, me: &str, order: &Order) -> Vec<u8> {
        match self {
            Self::Mgcp => mgcp::order(id, order).into_bytes(),
            Self::H248Text | Self::H248Binary => self.say(&h248::order(id, me, order)),
        }
    }

    /// Write the final answer to a command. `confirm`: ask for a confirmation.
    pub(super) fn answer(self, id: u32, me: &str, order: &Order, answer: &Answer, confirm: bool) -> Vec<u8> {
        match self {
            Self::Mgcp => mgcp::answer(id, order, answer, confirm).into_bytes(),
            Self::H248Text | Self::H248Binary => self.say(&h248::answer(id, me, order, answer, confirm)),
        }
    }

    /// Write that an answer will take a while.
    pub(super) fn pending(self, id: u32, me: &str) -> Vec<u8> {
        match self {
            Self::Mgcp => format!("100 {id} Pending\r\n").into_bytes(),
            Self::H248Text | Self::H248Binary => {
                self.say(&Said { mid: me.into(), kind: Kind::Pending, id, ..Said::default() })
            }
        }
    }

    /// Write that an answer has arrived.
    pub(super) fn confirm(self, id: u32, me: &str) -> Vec<u8> {
        match self {
            Self::Mgcp => format!("000 {id}\r\n").into_bytes(),
            Self::H248Text | Self::H248Binary => {
                self.say(&Said { mid: me.into(), acknowledged: vec![id], ..Said::default() })
            }
        }
    }

    /// Something that a stranger sends in H.248: a request that belongs to nothing, a reply, or half of one.
    pub(in super::super) fn stranger(self, id: u32, line: u32, salt: u64) -> Vec<u8> {
        let bytes = self.say(&h248::stranger(id, line, salt));
        let half = bytes.len() / 2;
        if salt % 6 == 5 { bytes[..half].to_vec() } else { bytes }
    }

    fn say(self, said: &Said) -> Vec<u8> {
        if self == Self::H248Binary { h248_binary::write(said) } else { h248_text::write(said).into_bytes() }
    }

    /// Read a datagram.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn read(self, bytes: &[u8]) -> Result<Vec<Message>, String> {
        let said = match self {
            Self::Mgcp => return mgcp::read(bytes),
            Self::H248Text => {
                std::str::from_utf8(bytes).map_err(|error| error.to_string()).and_then(h248_text::read)
            }
            Self::H248Binary => h248_binary::read(bytes),
        };
        said.and_then(|said| h248::messages(&said)).map_err(|why| format!("H.248: {why}"))
    }

    /// Watched addresses in a message.
    pub(super) fn addresses(self, watch: &Watch, bytes: &[u8]) -> Vec<IpAddr> {
        let mut found = watch.scan(bytes);
        if self == Self::H248Binary {
            found.extend(watch.scan_binary(bytes));
        }
        found
    }

    /// A message in a few words.
    pub(super) fn summary(self, bytes: &[u8]) -> String {
        match self {
            Self::H248Binary => bytes.escape_ascii().to_string(),
            Self::Mgcp | Self::H248Text => String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

/// `[10.0.0.1]:2944` as an address.
pub(super) fn address(mid: &str) -> Option<SocketAddr> {
    let (ip, port) = mid.strip_prefix('[')?.split_once("]:")?;
    Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?))
}
