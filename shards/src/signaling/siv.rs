//! Deterministic sealing: the same text always gives the same octets, so that what several shards seal, or one shard
//! seals again, is equal. Nothing is remembered.
//!
//! The shape of RFC 5297 (SIV) with HMAC-SHA256 in the place of CMAC: the authenticator, cut to 16 octets, is the
//! initial counter of AES-256-CTR.

use aws_lc_rs::cipher::{AES_256, DecryptingKey, DecryptionContext, UnboundCipherKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;

/// Octets that sealing adds.
pub const OVERHEAD: usize = 16;

/// What a sealed text is for: one that was sealed for something else does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Use {
    /// A masked Call-ID.
    CallId = 1,
    /// A place that a URI named.
    Place = 2,
}

/// Seals and opens texts of any length.
pub struct Siv {
    authenticate: hmac::Key,
    /// In counter mode enciphering and deciphering are the same.
    encipher: DecryptingKey,
}

impl Siv {
    /// Both keys, derived from the root.
    pub fn new(root: &hmac::Key) -> Self {
        let authenticate = hmac::sign(root, b"portolan siv authenticate");
        let encipher = hmac::sign(root, b"portolan siv encipher");
        let key = UnboundCipherKey::new(&AES_256, encipher.as_ref()).expect("HMAC-SHA256 gives 32 octets");
        Self {
            authenticate: hmac::Key::new(hmac::HMAC_SHA256, authenticate.as_ref()),
            encipher: DecryptingKey::ctr(key).expect("AES-256 has counter mode"),
        }
    }

    /// Seal `plain`: [`OVERHEAD`] octets longer, the same every time.
    pub fn seal(&self, for_use: Use, plain: &[u8]) -> Vec<u8> {
        let iv = self.authenticator(for_use, plain);
        let mut sealed = [&iv[..], plain].concat();
        self.cipher(iv, &mut sealed[OVERHEAD..]);
        sealed
    }

    /// Open `sealed`; `None` if it is not ours, of another secret, changed, or was sealed for something else.
    pub fn open(&self, for_use: Use, sealed: &[u8]) -> Option<Vec<u8>> {
        let (iv, text) = sealed.split_first_chunk::<OVERHEAD>()?;
        let mut plain = text.to_vec();
        self.cipher(*iv, &mut plain);
        let right = self.authenticator(for_use, &plain);
        verify_slices_are_equal(&right, iv).ok().map(|()| plain)
    }

    fn authenticator(&self, for_use: Use, plain: &[u8]) -> [u8; OVERHEAD] {
        let mut context = hmac::Context::with_key(&self.authenticate);
        context.update(&[for_use as u8]);
        context.update(plain);
        let mut iv = [0; OVERHEAD];
        iv.copy_from_slice(&context.sign().as_ref()[..OVERHEAD]);
        iv
    }

    fn cipher(&self, iv: [u8; OVERHEAD], text: &mut [u8]) {
        let context = DecryptionContext::Iv128(FixedLength::from(iv));
        self.encipher.decrypt(text, context).expect("counter mode takes any length");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn siv(secret: u8) -> Siv {
        Siv::new(&hmac::Key::new(hmac::HMAC_SHA256, &[secret; 32]))
    }

    #[test]
    fn only_the_same_use_and_secret_open_it() {
        let sealed = siv(1).seal(Use::CallId, b"abc");
        assert_eq!(siv(1).open(Use::CallId, &sealed).as_deref(), Some(&b"abc"[..]));
        assert_eq!(siv(1).open(Use::Place, &sealed), None);
        assert_eq!(siv(2).open(Use::CallId, &sealed), None);
        assert_eq!(siv(1).open(Use::CallId, &sealed[..15]), None);
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens_and_what_was_changed_does_not(
            plain in proptest::collection::vec(any::<u8>(), 0..300),
            at in any::<prop::sample::Index>(),
        ) {
            let mut sealed = siv(1).seal(Use::Place, &plain);
            prop_assert_eq!(&siv(1).seal(Use::Place, &plain), &sealed);
            prop_assert_eq!(sealed.len(), plain.len() + OVERHEAD);
            prop_assert_eq!(siv(1).open(Use::Place, &sealed), Some(plain));
            let at = at.index(sealed.len());
            sealed[at] ^= 1;
            prop_assert_eq!(siv(1).open(Use::Place, &sealed), None);
        }
    }
}
