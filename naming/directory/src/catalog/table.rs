//! A table of the state: an ordered map that keeps its checksum.

use std::collections::BTreeMap;
use std::ops::Bound;

use naming::{Name, NameRef, NodeId};
use prost::bytes::Bytes;

use super::checksum::Checksum;
use super::chunk::Chunk;
use super::refusal::{self, Reason};

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
    checksum: Checksum,
}

impl<K: Key, V: Value> Table<K, V> {
    pub(super) fn new(chunk: Chunk) -> Self {
        Self { chunk, items: BTreeMap::new(), checksum: Checksum::default() }
    }

    pub(super) fn chunk(&self) -> Chunk {
        self.chunk
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn checksum(&self) -> Checksum {
        self.checksum
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
        self.checksum += self.sum_of(&key, &value);
        if let Some(old) = self.items.insert(key.clone(), value) {
            self.checksum -= self.sum_of(&key, &old);
        }
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let old = self.items.remove(key)?;
        self.checksum -= self.sum_of(key, &old);
        Some(old)
    }

    /// Takes the items from `at` on.
    pub(super) fn split_off(&mut self, at: &K) -> Self {
        let mut right = Self::new(self.chunk);
        for (key, value) in self.items.split_off(at) {
            right.put(key, value);
        }
        self.checksum -= right.checksum;
        right
    }

    fn sum_of(&self, key: &K, value: &V) -> Checksum {
        key.with_bytes(|key| Checksum::of_item(self.chunk, key, &value.to_bytes()))
    }
}
