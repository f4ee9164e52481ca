//! TPKT (RFC 1006 section 6): messages on a TCP connection, each after four octets with its length. H.248 (Annex D.2) and
//! H.323 use it.

use super::Span;
use crate::fault::Fault;

/// Octets before each message: version 3, a reserved one, and the length of all in two.
pub const HEADER: usize = 4;

/// The first message of a stream: where its payload is, which may be empty. `None`: read more. The next begins at the
/// payload's end.
///
/// # Errors
/// [`Fault::Malformed`] when the stream is none of TPKT; [`Fault::Refused`] when the payload is longer than `limit` octets.
/// The stream cannot be read any further.
pub fn frame(stream: &[u8], limit: usize) -> Result<Option<Span>, Fault> {
    let fault = Fault::Malformed("TPKT header");
    match *stream {
        [version, ..] if version != 3 => Err(fault),
        [_, _, high, low, ..] => {
            let end = usize::from(u16::from_be_bytes([high, low]));
            let length = end.checked_sub(HEADER).ok_or(fault)?;
            if length > limit {
                return Err(Fault::Refused("TPKT too long"));
            }
            Ok((end <= stream.len()).then(|| Span::new(HEADER, end)))
        }
        _ => Ok(None),
    }
}

/// A message with its header; `None` when it is longer than the header can say.
pub fn wrap(payload: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(payload.len() + HEADER).ok()?;
    Some([&[3, 0], length.to_be_bytes().as_slice(), payload].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_is_cut_off_when_it_is_whole() {
        let stream = b"\x03\x00\x00\x07abc\x03\x00\x00\x04";
        assert_eq!(frame(stream, 3), Ok(Some(Span::new(4, 7))));
        assert_eq!(frame(&stream[7..], 3), Ok(Some(Span::new(4, 4))));
        assert!((0..7).all(|cut| frame(&stream[..cut], 3) == Ok(None)));
    }

    #[test]
    fn what_is_no_tpkt_or_too_long_is_refused() {
        assert!(matches!(frame(b"\x02", 9), Err(Fault::Malformed(_))));
        assert!(matches!(frame(b"MEGACO/1", 9), Err(Fault::Malformed(_))));
        assert!(matches!(frame(b"\x03\x00\x00\x03", 9), Err(Fault::Malformed(_))));
        assert!(matches!(frame(b"\x03\x00\x00\x0e", 9), Err(Fault::Refused(_))));
        assert_eq!(wrap(&vec![0; 65_532]), None);
    }

    proptest! {
        #[test]
        fn what_is_wrapped_is_found(payload in proptest::collection::vec(any::<u8>(), 0..600), more: Vec<u8>) {
            let mut stream = wrap(&payload).unwrap();
            stream.extend_from_slice(&more);
            let found = frame(&stream, 600).unwrap().unwrap();
            prop_assert_eq!(found.of(&stream), payload);
        }

        #[test]
        fn any_octets_are_safe(stream: Vec<u8>, limit in 0_usize..100) {
            if let Ok(Some(found)) = frame(&stream, limit) {
                prop_assert!(found.end <= stream.len() && found.len() <= limit);
            }
        }
    }
}
