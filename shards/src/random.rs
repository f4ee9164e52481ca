//! Seeded randomness: a cryptographic generator, so that ports and labels cannot be guessed, and a seed, so that
//! a run can be replayed.

use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};
use siphasher::sip::SipHasher13;
use std::hash::BuildHasher;

/// A shard's generator.
#[derive(Clone, Debug)]
pub struct Rng(ChaCha12Rng);

impl Rng {
    /// A generator that repeats itself for the same seed. Seed it from the operating system in production.
    pub fn new(seed: [u8; 32]) -> Self {
        Self(ChaCha12Rng::from_seed(seed))
    }

    /// 64 random bits.
    pub fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `0..bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// Fill with random octets.
    pub fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }
}

/// Hashes the keys of tables whose names outsiders choose (Call-IDs, addresses of record, branches), so that nobody can
/// choose collisions: SipHash-1-3 under a random key.
#[derive(Clone, Debug)]
pub struct Keyed([u8; 16]);

impl Keyed {
    /// Under a key of its own.
    pub fn new(rng: &mut Rng) -> Self {
        let mut key = [0; 16];
        rng.fill(&mut key);
        Self(key)
    }
}

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0)
    }
}
