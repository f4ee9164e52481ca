//! What must hold for any octets that are taken for DTLS records.

use portolan_shards::wire::dtls;

/// Reads `data`, alone and behind a whole record.
pub(crate) fn run(data: &[u8]) {
    let whole = dtls::is_handshake(data);
    assert!(!whole || data.len() >= 14 && data.first().is_some_and(|first| dtls::is_dtls(*first)));
    let alert = [21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40];
    assert!(dtls::is_handshake(&alert));
    assert_eq!(dtls::is_handshake(&[&alert, data].concat()), whole || data.is_empty());
}
