//! Which names found no room.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use naming::NameRef;

/// Bits of a set: with a thousand names one of sixty others is taken for one of them; with a million all are.
const BITS: usize = 1 << 16;

/// A set of names that may have others too: it takes the same few bytes however many they are. Nothing is taken out of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Lost(Option<Box<[u64]>>);

impl Lost {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn insert(&mut self, name: NameRef<'_>) {
        let bit = bit_of(name);
        let words = self.0.get_or_insert_with(|| vec![0; BITS / 64].into());
        words[bit / 64] |= 1 << (bit % 64);
    }

    pub(super) fn may_have(&self, name: NameRef<'_>) -> bool {
        let Some(words) = &self.0 else { return false };
        let bit = bit_of(name);
        words[bit / 64] & (1 << (bit % 64)) != 0
    }
}

fn bit_of(name: NameRef<'_>) -> usize {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(name) as usize % BITS
}
