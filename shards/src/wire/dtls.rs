//! DTLS records on a media port (RFC 5764, RFC 7983): whether a datagram can be some, and nothing more. Keys and
//! contents are the ends' own.

/// Octets of a record's header in the clear.
const HEADER: usize = 13;
/// Octets of the shortest ciphered record of DTLS 1.3: first octet, sequence number, ciphertext (RFC 9147 section 4.2.3).
const SHORTEST: usize = 18;

/// Does the first octet name DTLS (RFC 7983 section 7)?
pub const fn is_dtls(first: u8) -> bool {
    matches!(first, 20..=63)
}

/// Can the datagram be records of a handshake that makes keys for SRTP? Records in the clear of versions 1.0, 1.2 or
/// 1.3 tile it, each a change of cipher, an alert, a handshake message or an acknowledgement; or ciphered records of DTLS 1.3
/// or such with a connection identifier (RFC 9146), whose ends only their receiver knows, come after them. Application
/// data of DTLS 1.2 is none: such an association carries nothing.
pub fn is_handshake(datagram: &[u8]) -> bool {
    let mut rest = datagram;
    while let Some(&first) = rest.first() {
        match first {
            20..=22 | 26 => match after_record(rest) {
                Some(next) => rest = next,
                None => return false,
            },
            25 | 32..=63 => return rest.len() >= SHORTEST,
            _ => return false,
        }
    }
    !datagram.is_empty()
}

/// What follows a record in the clear, which is not empty.
fn after_record(rest: &[u8]) -> Option<&[u8]> {
    let (header, body) = rest.split_first_chunk::<HEADER>()?;
    let length = usize::from(u16::from_be_bytes([header[11], header[12]]));
    let known = header[1] == 0xfe && matches!(header[2], 0xfc | 0xfd | 0xff);
    body.get(length..).filter(|_| known && length > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, version: [u8; 2], body: &[u8]) -> Vec<u8> {
        let head = [kind, version[0], version[1], 0, 0, 0, 0, 0, 0, 0, 0, 0, body.len() as u8];
        [&head, body].concat()
    }

    #[test]
    fn records_tile_the_datagram() {
        let hello = record(22, [0xfe, 0xfd], &[1; 40]);
        assert!(is_handshake(&hello) && is_handshake(&[&hello[..], &hello].concat()));
        assert!(is_handshake(&[&hello[..], &record(20, [0xfe, 0xff], &[1])].concat()));
        assert!(!is_handshake(&hello[..hello.len() - 1]) && !is_handshake(&[&hello[..], &[0]].concat()));
        assert!(!is_handshake(&[]) && !is_handshake(&hello[..12]));
    }

    #[test]
    fn another_version_or_content_is_none() {
        assert!(!is_handshake(&record(22, [3, 3], &[1; 40])), "TLS");
        assert!(!is_handshake(&record(23, [0xfe, 0xfd], &[1; 40])), "application data");
        assert!(!is_handshake(&record(22, [0xfe, 0xfd], &[])), "an empty handshake message");
    }

    #[test]
    fn ciphered_records_may_follow() {
        let ciphered = [0x2e; 20];
        assert!(is_handshake(&ciphered) && !is_handshake(&ciphered[..17]));
        assert!(is_handshake(&[&record(22, [0xfe, 0xfd], &[2; 9])[..], &ciphered].concat()));
    }

    #[test]
    fn the_first_octet_tells() {
        assert!(is_dtls(20) && is_dtls(63) && !is_dtls(19) && !is_dtls(64) && !is_dtls(0) && !is_dtls(0x80));
    }
}
