//! The hash of a key that the hot table, the sketch and the epochs share.

use std::fmt;
use std::hash::Hasher;

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;

/// 2^64 divided by the golden ratio, odd.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

const SOME_BITS: u64 = (1 << 63) | (1 << 31) | 1;

/// The finalizer of SplitMix64 (Steele, Lea and Flood 2014).
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(GOLDEN);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A keyed 64-bit hash (foldhash). Every worker of a node must use the same seed; a seed clients cannot guess keeps them
/// from choosing keys that collide.
#[derive(Clone)]
pub struct KeyHasher {
    seed: u64,
    shared: SharedSeed,
}

impl KeyHasher {
    /// The hash keyed with `seed`.
    pub fn new(seed: u64) -> Self {
        // foldhash multiplies by its seed as it is: with few bits set, or none, it would not mix.
        Self { seed: mix(seed) | SOME_BITS, shared: SharedSeed::from_u64(mix(!seed)) }
    }

    /// The hash of `key` in `pool`. The same key in two pools never has the same hash, so a hash and its key name
    /// the pool, too.
    #[inline]
    pub fn hash(&self, pool: u16, key: &[u8]) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared);
        hasher.write(key);
        // Times an odd constant is a bijection: the terms of two pools differ.
        hasher.finish() ^ u64::from(pool).wrapping_mul(GOLDEN)
    }
}

impl fmt::Debug for KeyHasher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The seed is a secret.
        formatter.debug_struct("KeyHasher").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn keys_differ_in_every_part_of_the_hash_whatever_the_seed() {
        for seed in [0, 1, 2, u64::MAX, 1 << 63, GOLDEN, GOLDEN.wrapping_neg()] {
            let hasher = KeyHasher::new(seed);
            for length in [4, 8, 9, 16, 17, 27, 40, 250] {
                let keys = 1000u32;
                let hashes: HashSet<u64> = (0..keys)
                    .map(|number| {
                        let mut key = vec![0; length];
                        key[length - 4..].copy_from_slice(&number.to_le_bytes());
                        hasher.hash(0, &key)
                    })
                    .collect();
                assert_eq!(hashes.len(), keys as usize, "seed {seed}, length {length}");
                for shift in [0, 16, 32, 48] {
                    let parts: HashSet<u16> = hashes.iter().map(|hash| (hash >> shift) as u16).collect();
                    assert!(parts.len() > 970, "seed {seed}, length {length}: {} at {shift}", parts.len());
                }
            }
        }
    }
}
