//! Sealed labels: what Portolan writes into a Contact so that the next request names its place.
//!
//! A label leaves Portolan and comes back through strangers, so it is enciphered and authenticated (AES-256-GCM):
//! nobody can read which shard or binding it names, nor make one up (R14). It is written in lower-case base 32,
//! because URI parameters compare without case (RFC 3261 section 19.1.4).

use super::siv::{Siv, Use};
use crate::random::Rng;
use crate::table::Key;
use crate::types::ShardId;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use data_encoding::BASE32_DNSSEC as BASE32;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

const SEALED: usize = NONCE_LEN + Label::OCTETS + 16;

/// What a label names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A registered terminal; shown to softswitches.
    Binding,
    /// A dialog, as terminals name it.
    AccessDialog,
    /// A dialog, as softswitches name it.
    CoreDialog,
}

/// An opened label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// What it names.
    pub kind: Kind,
    /// The shard that owns it.
    pub shard: ShardId,
    /// Where on that shard.
    pub key: Key,
}

/// Seals and opens labels, and hashes names to shards, under one secret that all shards share.
pub struct Sealer {
    cipher: LessSafeKey,
    siv: Siv,
    hash: [u8; 16],
}

impl Sealer {
    /// Derive all keys from the secret.
    pub fn new(secret: &[u8; 32]) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let cipher_key = hmac::sign(&root, b"portolan label");
        let hash_key = hmac::sign(&root, b"portolan dispatch");
        let cipher = UnboundKey::new(&AES_256_GCM, cipher_key.as_ref()).expect("HMAC-SHA256 gives 32 octets");
        let mut hash = [0; 16];
        hash.copy_from_slice(&hash_key.as_ref()[..16]);
        Self { cipher: LessSafeKey::new(cipher), siv: Siv::new(&root), hash }
    }

    /// Write a label: 63 characters of `a-v0-9`.
    pub fn seal(&self, rng: &mut Rng, label: Label) -> String {
        let mut nonce = [0; NONCE_LEN];
        rng.fill(&mut nonce);
        self.seal_with(nonce, label)
    }

    /// Write a label that is the same every time, so that it need not be kept: its nonce comes from what it names, and
    /// no two labels have the same.
    pub fn seal_again(&self, label: Label) -> String {
        let plain = label.to_bytes();
        let halves = [b'1', b'2'].map(|half| self.tag(&[&plain[..], &[half]].concat()).to_be_bytes());
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&halves.concat()[..NONCE_LEN]);
        self.seal_with(nonce, label)
    }

    fn seal_with(&self, nonce: [u8; NONCE_LEN], label: Label) -> String {
        let mut text = label.to_bytes();
        let tag = self
            .cipher
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut text)
            .expect("eleven octets are within AES-GCM's limit");
        BASE32.encode(&[&nonce[..], &text, tag.as_ref()].concat())
    }

    /// Read a label; `None` if it is not ours, or of another secret.
    pub fn open(&self, text: &[u8]) -> Option<Label> {
        let mut sealed =
            BASE32.decode(&text.to_ascii_lowercase()).ok().filter(|bytes| bytes.len() == SEALED)?;
        let nonce = Nonce::try_assume_unique_for_key(&sealed[..NONCE_LEN]).ok()?;
        let plain = self.cipher.open_in_place(nonce, Aad::empty(), &mut sealed[NONCE_LEN..]).ok()?;
        Label::from_bytes(plain)
    }

    /// Seal a text of any length, without randomness: the same text gives the same octets.
    pub fn seal_bytes(&self, for_use: Use, plain: &[u8]) -> Vec<u8> {
        self.siv.seal(for_use, plain)
    }

    /// Open what [`Self::seal_bytes`] sealed for the same use.
    pub fn open_bytes(&self, for_use: Use, sealed: &[u8]) -> Option<Vec<u8>> {
        self.siv.open(for_use, sealed)
    }

    /// The shard of `shards` that owns `name` (keyed: callers choose Call-IDs, and must not choose the shard).
    pub fn shard_of(&self, name: &[u8], shards: u16) -> ShardId {
        ShardId(((u128::from(self.tag(name)) * u128::from(shards)) >> 64) as u16)
    }

    /// A number that only we can derive from `name`: tags of our own answers.
    pub fn tag(&self, name: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.hash);
        hasher.write(name);
        hasher.finish()
    }
}

impl Label {
    /// Its length as octets.
    pub const OCTETS: usize = 11;

    /// As octets, to be sealed.
    pub fn to_bytes(self) -> [u8; Self::OCTETS] {
        let mut out = [0; Self::OCTETS];
        out[0] = self.kind as u8;
        out[1..3].copy_from_slice(&self.shard.0.to_be_bytes());
        out[3..7].copy_from_slice(&self.key.slot.to_be_bytes());
        out[7..].copy_from_slice(&self.key.generation.to_be_bytes());
        out
    }

    /// From the octets of [`Self::to_bytes`]; `None` if they are none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let (shard, rest) = rest.split_first_chunk()?;
        let (slot, rest) = rest.split_first_chunk()?;
        let generation = u32::from_be_bytes(rest.try_into().ok()?);
        let kind =
            [Kind::Binding, Kind::AccessDialog, Kind::CoreDialog].into_iter().nth(usize::from(*kind))?;
        let key = Key { slot: u32::from_be_bytes(*slot), generation };
        Some(Self { kind, shard: ShardId(u16::from_be_bytes(*shard)), key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label() -> Label {
        Label { kind: Kind::CoreDialog, shard: ShardId(3), key: Key { slot: 77, generation: 1 << 31 } }
    }

    #[test]
    fn a_label_opens_to_what_was_sealed_whatever_its_case() {
        let sealer = Sealer::new(&[7; 32]);
        let text = sealer.seal(&mut Rng::new([1; 32]), label());
        assert_eq!(sealer.open(text.as_bytes()), Some(label()));
        assert_eq!(sealer.open(text.to_uppercase().as_bytes()), Some(label()));
        let again = sealer.seal_again(label());
        assert_eq!((sealer.open(again.as_bytes()), sealer.seal_again(label())), (Some(label()), again));
        let other = Label { shard: ShardId(4), ..label() };
        assert_ne!(sealer.seal_again(other)[..20], sealer.seal_again(label())[..20], "another nonce");
    }

    #[test]
    fn no_changed_label_opens() {
        let sealer = Sealer::new(&[7; 32]);
        let text = sealer.seal(&mut Rng::new([1; 32]), label());
        for at in 0..text.len() {
            let mut forged = text.clone().into_bytes();
            forged[at] = if forged[at] == b'a' { b'b' } else { b'a' };
            assert_eq!(sealer.open(&forged), None, "octet {at}");
        }
        assert_eq!(Sealer::new(&[8; 32]).open(text.as_bytes()), None);
        assert_eq!(sealer.open(b""), None);
    }

    #[test]
    fn names_spread_over_all_shards() {
        let sealer = Sealer::new(&[7; 32]);
        let mut count = [0; 8];
        for n in 0..8000 {
            count[usize::from(sealer.shard_of(format!("call-{n}").as_bytes(), 8).0)] += 1;
        }
        assert!(count.iter().all(|n| (800..1200).contains(n)), "{count:?}");
    }
}
