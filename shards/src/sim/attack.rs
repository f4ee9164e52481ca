//! What strangers send.

use super::gateway::Language;
use crate::random::Rng;

/// Stands in every media packet of an attacker, so that one that gets through is known.
pub const MARK: &[u8] = b"ATTACKER";

/// A well-formed RTP packet (PCMU, sometimes an event), or now and then RTCP (a report or a BYE) or bytes of no kind.
pub fn media(rng: &mut Rng, sequence: u16, ssrc: u32) -> Vec<u8> {
    let (kind, size, words) = match rng.below(8) {
        0 => ([0x80, 200], 28, Some(6)),
        1 => ([rng.u64() as u8, rng.u64() as u8], 20 + rng.below(200) as usize, None),
        2 => ([0x81, 203], 20, Some(4)),
        3 => ([0x80, 101], 20, None),
        _ => ([0x80, 0], 172, None),
    };
    let mut packet = kind.to_vec();
    packet.extend_from_slice(&words.unwrap_or(sequence).to_be_bytes());
    packet.extend_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(MARK);
    packet.resize(size, 0xff);
    packet
}

/// Something for a signaling port: noise, half a message, or a request that belongs to nothing.
pub fn signaling(salt: u64) -> Vec<u8> {
    let mut rng = Rng::new([salt as u8; 32]);
    match salt % 5 {
        0 => noise(&mut rng),
        1 => request("INVITE", salt)[..40].to_vec(),
        2 => request("BYE", salt),
        3 => request("OPTIONS", salt),
        _ => b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 198.51.100.10;branch=z9hG4bKx\r\nCSeq: 1 INVITE\r\n\r\n"
            .to_vec(),
    }
}

/// The same for a gateway's, by what gateways speak.
pub fn gateway(language: Language, salt: u64) -> Vec<u8> {
    let mut rng = Rng::new([salt as u8; 32]);
    let (id, line) = (1 + salt % 999_999_999, salt % 4);
    if salt.is_multiple_of(7) {
        return noise(&mut rng);
    }
    if language != Language::Mgcp {
        return language.stranger(id as u32, line as u32, salt);
    }
    let text = match salt % 7 {
        1 => format!("CRCX {id} aaln/{line}@[192.168.1.10] MGCP 1.0\r\nC: 1\r\nM: sendrecv\r\n"),
        2 => format!("RSIP {id} *@[192.168.1.10] MGCP 1.0\r\nRM: restart\r\n"),
        3 => format!("NTFY {id} aaln/{line}@gw0.example.org MGCP 1.0\r\nX: 1\r\nO: L/hu\r\n"),
        4 => format!("200 {id} OK\r\nI: 1\r\n"),
        5 => format!("DLCX {id} *@gw0.example.org MGCP 1.0\r\n"),
        _ => format!("RSIP {id} *@"),
    };
    text.into_bytes()
}

fn noise(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = vec![0; 1 + rng.below(1_400) as usize];
    rng.fill(&mut bytes);
    bytes
}

fn request(method: &str, salt: u64) -> Vec<u8> {
    format!(
        "{method} sip:u0@198.51.100.10;pl={salt:x} SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.66:5060;branch=z9hG4bK{salt:x}\r\n\
         From: <sip:x@192.0.2.66>;tag={salt:x}\r\n\
         To: <sip:u0@198.51.100.10>;tag=1\r\n\
         Call-ID: {salt:x}\r\n\
         CSeq: 1 {method}\r\n\
         Max-Forwards: 70\r\n\
         Content-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_media_packet_of_an_attacker_is_marked() {
        let mut rng = Rng::new([1; 32]);
        for n in 0..100 {
            let packet = media(&mut rng, n, 7);
            assert!(packet.windows(MARK.len()).any(|window| window == MARK));
        }
    }
}
