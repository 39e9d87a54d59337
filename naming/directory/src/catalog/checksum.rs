//! The state's checksum: a sum, modulo 2^128, of the hashes of all items.
//!
//! It is kept while the state changes (an item that goes is subtracted, one that comes is added), not
//! computed at snapshots: so replicas can be compared after every entry, a restored snapshot is checked
//! against the state it was taken of, and a split need not hash either half. The price is at most two hashes of
//! about a hundred bytes for a change, and none for what changes again soon. A sum does not depend on the order of changes, nor on how tables are laid
//! out in memory. It finds mistakes, not forgers: nobody but replicas writes states.

use std::ops::{AddAssign, SubAssign};

use super::chunk::Chunk;

/// The checksum of a part of the state, or of all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checksum(u128);

impl Checksum {
    /// Bytes of a checksum.
    pub const LEN: usize = 16;

    /// Of one item of a table.
    pub(super) fn of_item(table: Chunk, key: &[u8], value: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[table as u8]);
        hasher.update(&(key.len() as u32).to_le_bytes());
        hasher.update(key);
        hasher.update(value);
        let mut sum = [0; Self::LEN];
        sum.copy_from_slice(&hasher.finalize().as_bytes()[..Self::LEN]);
        Self(u128::from_le_bytes(sum))
    }

    /// Its bytes.
    pub fn to_bytes(self) -> [u8; Checksum::LEN] {
        self.0.to_le_bytes()
    }
}

impl AddAssign for Checksum {
    fn add_assign(&mut self, other: Self) {
        self.0 = self.0.wrapping_add(other.0);
    }
}

impl SubAssign for Checksum {
    fn sub_assign(&mut self, other: Self) {
        self.0 = self.0.wrapping_sub(other.0);
    }
}

impl std::fmt::Display for Checksum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
