//! Finds addresses in a message that have no business there.

use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr};

/// The networks whose addresses must never be seen here.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    nets: Vec<IpNet>,
}

impl Watch {
    /// Watch for addresses of these networks.
    pub fn new(nets: impl IntoIterator<Item = IpNet>) -> Self {
        Self { nets: nets.into_iter().collect() }
    }

    /// Every watched IPv4 address that stands in `bytes` as text, in order, repeats included.
    pub fn scan(&self, bytes: &[u8]) -> Vec<IpAddr> {
        let words = bytes.split(|b| !(b.is_ascii_digit() || *b == b'.'));
        words.filter(|w| w.len() >= 7).filter_map(address).filter(|a| self.watches(*a)).collect()
    }

    /// The same where addresses are four octets, as H.248 in BER has them: component 0 of an address with or without a
    /// port, which is a short component 0 itself.
    pub fn scan_binary(&self, bytes: &[u8]) -> Vec<IpAddr> {
        let is_address = |word: &&[u8]| matches!(word, [0xA0, 6..=11, 0x80, 4, ..]);
        let words = bytes.windows(8).filter(is_address);
        let addresses = words.map(|word| IpAddr::from([word[4], word[5], word[6], word[7]]));
        addresses.filter(|address| self.watches(*address)).collect()
    }

    fn watches(&self, address: IpAddr) -> bool {
        self.nets.iter().any(|net| net.contains(&address))
    }
}

fn address(word: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(word).ok()?.trim_matches('.');
    text.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_watched_addresses_wherever_they_stand() {
        let watch = Watch::new(["192.168.0.0/16".parse().expect("net")]);
        let message = b"Via: SIP/2.0/UDP 10.0.0.1:5060\r\nContact: <sip:a@192.168.1.10:5060>\r\n\r\nc=IN IP4 192.168.7.8\r\n";
        let seen: Vec<_> = watch.scan(message).iter().map(ToString::to_string).collect();
        assert_eq!(seen, ["192.168.1.10", "192.168.7.8"]);
    }

    #[test]
    fn finds_addresses_of_four_octets_where_ber_has_them() {
        let watch = Watch::new(["10.0.0.0/8".parse().expect("net")]);
        let message = b"\xa1\x0c\xa0\x0a\x80\x04\x0a\x00\x00\x07\x81\x02\x0b\x80\xa2\x27\x80\x04\x0awjO";
        let seen: Vec<_> = watch.scan_binary(message).iter().map(ToString::to_string).collect();
        assert_eq!(seen, ["10.0.0.7"], "and not in a transaction's number");
    }

    #[test]
    fn version_numbers_are_not_addresses() {
        let watch = Watch::new(["0.0.0.0/0".parse().expect("net")]);
        assert!(watch.scan(b"User-Agent: phone 2.0.1234567 1.2.3.4.5").is_empty());
    }
}
