//! A table of the state: an ordered map that keeps its checksum.
//!
//! What changes often, as sessions do, is not hashed each time: items that changed lately are left out of the sum, and
//! hashed when it is asked for, or when they have become many.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use naming::{Name, NameRef, NodeId};
use prost::bytes::Bytes;

use super::checksum::Checksum;
use super::chunk::Chunk;
use super::refusal::{self, Reason};

/// Items that are left out of the sum at most.
const MAX_UNSUMMED: usize = 1024;

/// What an item is found by.
pub(super) trait Key: Ord + Clone {
    fn with_bytes<T>(&self, f: impl FnOnce(&[u8]) -> T) -> T;
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

/// What an item holds.
pub(super) trait Value: Clone {
    /// Its bytes in snapshots and for the checksum: the same on every replica.
    fn to_bytes(&self) -> Vec<u8>;
    /// The valid value with these bytes.
    fn from_bytes(bytes: Bytes) -> Option<Self>;
}

impl Key for Name {
    fn with_bytes<T>(&self, f: impl FnOnce(&[u8]) -> T) -> T {
        f(self.as_bytes())
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        NameRef::from_bytes(bytes).ok().map(NameRef::to_name)
    }
}

impl Key for u64 {
    fn with_bytes<T>(&self, f: impl FnOnce(&[u8]) -> T) -> T {
        f(&self.to_be_bytes())
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_be_bytes)
    }
}

impl Key for NodeId {
    fn with_bytes<T>(&self, f: impl FnOnce(&[u8]) -> T) -> T {
        self.get().with_bytes(f)
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        <u64 as Key>::from_bytes(bytes).and_then(Self::new)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Table<K, V> {
    chunk: Chunk,
    items: BTreeMap<K, V>,
    /// Of all items but those of these keys, which are there.
    sum: Checksum,
    unsummed: BTreeSet<K>,
}

impl<K: Key, V: Value> Table<K, V> {
    pub(super) fn new(chunk: Chunk) -> Self {
        Self { chunk, items: BTreeMap::new(), sum: Checksum::default(), unsummed: BTreeSet::new() }
    }

    pub(super) fn chunk(&self) -> Chunk {
        self.chunk
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn checksum(&self) -> Checksum {
        let mut sum = self.sum;
        self.unsummed.iter().for_each(|key| sum += self.sum_of(key));
        sum
    }

    pub(super) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.items.get(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.items.iter()
    }

    /// Items from `first` on.
    pub(super) fn from<'a, Q>(
        &'a self,
        first: Bound<&Q>,
    ) -> impl Iterator<Item = (&'a K, &'a V)> + use<'a, K, V, Q>
    where
        K: std::borrow::Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.items.range::<Q, _>((first, Bound::Unbounded))
    }

    /// Whether an item of this key may be put.
    pub(super) fn admit(&self, key: &K) -> Result<(), Reason> {
        let full = self.items.len() >= self.chunk.capacity() && !self.items.contains_key(key);
        if full { Err(refusal::full(self.chunk)) } else { Ok(()) }
    }

    pub(super) fn put(&mut self, key: K, value: V) {
        if self.unsummed.insert(key.clone()) {
            // What it holds until now, if it is there.
            self.sum -= self.sum_of(&key);
        }
        self.items.insert(key, value);
        if self.unsummed.len() > MAX_UNSUMMED {
            self.sum = self.checksum();
            self.unsummed.clear();
        }
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        if !self.unsummed.remove(key) {
            self.sum -= self.sum_of(key);
        }
        self.items.remove(key)
    }

    /// Takes the items from `at` on.
    pub(super) fn split_off(&mut self, at: &K) -> Self {
        let sum = self.checksum();
        let mut right = Self::new(self.chunk);
        for (key, value) in self.items.split_off(at) {
            right.put(key, value);
        }
        self.unsummed.clear();
        self.sum = sum;
        self.sum -= right.checksum();
        right
    }

    /// What the item of this key adds to the sum: nothing if there is none.
    fn sum_of(&self, key: &K) -> Checksum {
        let Some(value) = self.items.get(key) else { return Checksum::default() };
        key.with_bytes(|key| Checksum::of_item(self.chunk, key, &value.to_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::catalog::sessions::Session;

    type Sessions = Table<u64, Session>;

    fn session(number: u8) -> Session {
        // A sequence number of that many, in a message of protocol buffers.
        Session::from_bytes(Bytes::copy_from_slice(&[8, number])).unwrap()
    }

    fn hashed_at_once(table: &Sessions) -> Checksum {
        let mut sum = Checksum::default();
        table.iter().for_each(|(key, _)| sum += table.sum_of(key));
        sum
    }

    proptest! {
        #[test]
        fn the_checksum_is_that_of_the_items(
            changes in prop::collection::vec((0..2000_u64, prop::option::weighted(0.9, 1..100_u8)), 0..4000),
            at in 0..2000_u64,
        ) {
            let mut table = Sessions::new(Chunk::Sessions);
            for (key, value) in changes {
                match value {
                    Some(value) => table.put(key, session(value)),
                    None => drop(table.remove(&key)),
                }
                prop_assert!(table.unsummed.len() <= MAX_UNSUMMED);
            }
            prop_assert_eq!(table.checksum(), hashed_at_once(&table));
            let right = table.split_off(&at);
            prop_assert_eq!(table.checksum(), hashed_at_once(&table));
            prop_assert_eq!(right.checksum(), hashed_at_once(&right));
        }
    }
}
