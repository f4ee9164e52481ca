//! Places of one side as the other side is told them: our own address, and the real place sealed into the label.
//!
//! Nothing is remembered, so a place that a redirection, a transfer or a list of contacts named may come back at any
//! time, through any shard, and is then the exact octets again on its own side.

use super::home::Home;
use super::hop::{self, LABEL, Ours};
use crate::realm::Server;
use crate::signaling::label::{Label, Sealer};
use crate::signaling::siv::Use;
use crate::types::{Side, Transport};
use crate::wire::Span;
use crate::wire::sip::Uri;
use crate::wire::splice::Splice;
use bytes::Bytes;
use data_encoding::BASE32_DNSSEC as BASE32;
use std::net::{IpAddr, SocketAddr};

/// A place that was hidden.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The side that it is on.
    pub(super) side: Side,
    /// A terminal's place means something to that terminal only: where it was heard.
    pub(super) home: Option<Home>,
    /// The binding or dialog whose contact it is.
    pub(super) label: Option<Label>,
    /// `host[:port]` and the parameters that were taken out with it, exactly as they were written.
    pub(super) at: Vec<u8>,
}

/// Octets of a place that are sealed, at most: a label is at most 570 characters long. Parameters that find no room
/// are left out.
const LONGEST: usize = 272;

impl Place {
    /// The place that a URI names; `None` for a host that is longer than a name can be (RFC 1035 section 2.3.4).
    pub(super) fn of(
        side: Side,
        home: Option<Home>,
        label: Option<Label>,
        bytes: &[u8],
        uri: &Uri,
    ) -> Option<Self> {
        let written = Some(uri.hostport.of(bytes).to_vec()).filter(|written| written.len() <= LONGEST);
        let mut at = written.or_else(|| Some(plain_address(uri.host_ip(bytes)?, uri.port)))?;
        for name in hop::HOP_PARAMS {
            let param = uri.param(bytes, name).map(|param| param.span.of(bytes)).unwrap_or_default();
            at.extend(if at.len() + param.len() <= LONGEST { param } else { &[] });
        }
        Some(Self { side, home, label, at })
    }

    /// Write it as a label: letters and digits whose case does not matter.
    pub(super) fn seal(&self, sealer: &Sealer) -> String {
        let mut plain = vec![self.side as u8];
        plain.extend(self.label.map_or_else(|| vec![0], |label| [&[1][..], &label.to_bytes()].concat()));
        plain.extend(self.home.map_or_else(|| vec![0], Home::to_bytes));
        plain.extend_from_slice(&self.at);
        BASE32.encode(&sealer.seal_bytes(Use::Place, &plain))
    }

    /// Read a label; `None` if it is none of a place, or not ours.
    pub(super) fn open(sealer: &Sealer, text: &[u8]) -> Option<Self> {
        let sealed = BASE32.decode(&text.to_ascii_lowercase()).ok()?;
        let plain = sealer.open_bytes(Use::Place, &sealed)?;
        let (&side, rest) = plain.split_first()?;
        let (&labelled, rest) = rest.split_first()?;
        let (label, rest) = rest.split_at_checked(if labelled == 1 { Label::OCTETS } else { 0 })?;
        let (home, at) = match rest.strip_prefix(&[0]) {
            Some(at) => (None, at),
            None => Home::from_bytes(rest).map(|(home, at)| (Some(home), at))?,
        };
        Some(Self {
            side: if side == Side::Access as u8 { Side::Access } else { Side::Core },
            home,
            label: Label::from_bytes(label),
            at: at.to_vec(),
        })
    }

    /// The place that a URI's label names.
    pub(super) fn named(sealer: &Sealer, bytes: &[u8], uri: &Uri) -> Option<Self> {
        Self::open(sealer, hop::label_of(bytes, uri)?)
    }

    /// How it is reached, by TLS where the URI's scheme wants that; `None` when its host is no address.
    pub(super) fn server(&self, secure: bool) -> Option<Server> {
        let text = [b"sip:", &self.at[..]].concat();
        let uri = Uri::parse(&text, Span::new(0, text.len())).ok()?;
        let named = uri.param(&text, b"transport").and_then(|param| Transport::named(param.value?.of(&text)));
        let transport = named.filter(|transport| transport.is_secure() || !secure);
        let transport = transport.unwrap_or(if secure { Transport::Tls } else { Transport::Udp });
        let address = SocketAddr::new(uri.host_ip(&text)?, uri.port.unwrap_or(transport.default_port()));
        Some(Server { transport, ..Server::udp(address) })
    }

    /// The URI that stood here before it was hidden: `uri` with the place itself in the place of ours.
    pub(super) fn restore(&self, bytes: &[u8], uri: &Uri) -> Vec<u8> {
        let head = Span::new(uri.span.start, uri.hostport.start).of(bytes);
        [head, &self.at[..], &hop::kept_params(bytes, uri), headers(bytes, uri)].concat()
    }
}

/// An address and a port in their shortest form.
fn plain_address(ip: IpAddr, port: Option<u16>) -> Vec<u8> {
    port.map_or_else(|| host_of(ip), |port| SocketAddr::new(ip, port).to_string()).into_bytes()
}

/// A URI at our own address, with this label.
pub(super) fn at_ours(bytes: &[u8], uri: &Uri, ours: Ours, label: &str) -> Vec<u8> {
    let mut new = hop::contact_at(bytes, uri, ours, Some(label));
    new.extend_from_slice(headers(bytes, uri));
    new
}

/// A URI whose label is ours, at our own address on the other side: there it leads back to us.
pub(super) fn again_at(sealer: &Sealer, bytes: &[u8], uri: &Uri, ours: Ours) -> Option<Bytes> {
    let label = hop::label_of(bytes, uri).filter(|_| !is_unknown(sealer, bytes, uri))?;
    Some(Bytes::from(at_ours(bytes, uri, ours, &String::from_utf8_lossy(label))))
}

/// A URI with another label.
pub(super) fn relabelled(bytes: &[u8], uri: &Uri, label: &str) -> Option<Vec<u8>> {
    let value = uri.param(bytes, LABEL)?.value?;
    let mut splice = Splice::new(bytes);
    splice.replace(value, label);
    Some(splice.finish())
}

/// What a URI's label names: a binding or a dialog, by itself or as the one whose place it is.
pub(super) fn label_in(sealer: &Sealer, bytes: &[u8], uri: &Uri) -> Option<Label> {
    let text = hop::label_of(bytes, uri)?;
    sealer.open(text).or_else(|| Place::open(sealer, text)?.label)
}

/// The place that a URI's label names, and where its terminal was when it named it: no binding's or dialog's contact.
pub(super) fn at_home(sealer: &Sealer, bytes: &[u8], uri: &Uri) -> Option<(Place, Home)> {
    let place = Place::named(sealer, bytes, uri).filter(|place| place.label.is_none())?;
    let home = place.home?;
    Some((place, home))
}

/// Does a URI carry a label that does not open?
pub(super) fn is_unknown(sealer: &Sealer, bytes: &[u8], uri: &Uri) -> bool {
    let unknown = |text| sealer.open(text).is_none() && Place::open(sealer, text).is_none();
    hop::label_of(bytes, uri).is_some_and(unknown)
}

/// A host as a URI writes it.
pub(super) fn host_of(ip: IpAddr) -> String {
    if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() }
}

fn headers<'b>(bytes: &'b [u8], uri: &Uri) -> &'b [u8] {
    uri.headers.unwrap_or(Span::empty(uri.span.end)).of(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signaling::label::Kind;
    use crate::table::Key;
    use crate::types::{Flow, RealmId, ShardId};

    fn uri(text: &[u8]) -> Uri {
        Uri::parse(text, Span::new(0, text.len())).expect("a URI")
    }

    fn home() -> Home {
        let [local, remote] = ["198.51.100.10:5060", "203.0.113.7:4001"].map(|text| text.parse().unwrap());
        let flow = Flow { realm: RealmId(0), transport: Transport::Udp, local, remote, stream: None };
        Home::of(&flow, ShardId(3))
    }

    #[test]
    fn a_hidden_place_is_restored_to_the_octet() {
        let sealer = Sealer::new(&[7; 32]);
        let ours =
            Ours { address: "198.51.100.10:5060".parse().unwrap(), transport: Transport::Udp, asks: false };
        let key = Key { slot: 7, generation: 9 };
        let label = Label { kind: Kind::CoreDialog, shard: ShardId(3), key };
        for text in [
            &b"sip:bob@10.0.0.77:5070;x=1?Replaces=abc%40h"[..],
            b"sip:10.0.0.77",
            b"sips:bob:pw@[2001:db8::77]:5061;transport=tls;gr=urn:uuid:1",
            b"sip:b@10.0.0.77;maddr=10.0.0.78;lr",
        ] {
            for (home, label) in [(None, None), (Some(home()), Some(label)), (Some(home()), None)] {
                let place = Place::of(Side::Core, home, label, text, &uri(text)).expect("a place");
                let hidden = at_ours(text, &uri(text), ours, &place.seal(&sealer));
                assert!(!hidden.windows(5).any(|octets| octets == b"10.0." || octets == b"2001:"));
                let upper = hidden.to_ascii_uppercase();
                let found = hop::label_of(&upper, &uri(&upper)).expect("a label");
                let opened = Place::open(&sealer, found).expect("ours");
                assert_eq!(opened, place);
                assert_eq!(opened.restore(&hidden, &uri(&hidden)), text, "{}", hidden.escape_ascii());
                assert_eq!(label_in(&sealer, &hidden, &uri(&hidden)), label);
            }
        }
    }

    #[test]
    fn a_label_has_a_greatest_length() {
        let sealer = Sealer::new(&[7; 32]);
        let label = Label { kind: Kind::Binding, shard: ShardId(3), key: Key { slot: 7, generation: 9 } };
        let [many, zeros] = ["y".repeat(400), "0".repeat(400)];
        for (text, at) in [
            (format!("sip:b@10.0.0.77;maddr={many};transport=tcp"), "10.0.0.77;transport=tcp"),
            (format!("sip:b@10.0.0.77:{zeros}5060"), "10.0.0.77:5060"),
            (format!("sip:b@{}", "n".repeat(LONGEST)), &*"n".repeat(LONGEST)),
        ] {
            let text = text.as_bytes();
            let place =
                Place::of(Side::Access, Some(home()), Some(label), text, &uri(text)).expect("a place");
            assert_eq!(place.at, at.as_bytes());
            assert!(place.seal(&sealer).len() <= 570, "{}", place.seal(&sealer).len());
        }
        let endless = format!("sip:b@{}", "n".repeat(LONGEST + 1)).into_bytes();
        assert_eq!(Place::of(Side::Access, None, None, &endless, &uri(&endless)), None);
    }

    #[test]
    fn a_label_of_something_else_is_no_place() {
        let sealer = Sealer::new(&[7; 32]);
        assert_eq!(Place::open(&sealer, b""), None);
        assert_eq!(Place::open(&sealer, &[b'a'; 64]), None);
        let call_id = BASE32.encode(&sealer.seal_bytes(Use::CallId, &[0; 40]));
        assert_eq!(Place::open(&sealer, call_id.as_bytes()), None);
    }
}
