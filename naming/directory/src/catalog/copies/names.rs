//! The names, in order, in packed leaves under a tree of the leaves' first names.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use naming::{Name, NameRef};

use super::holders::MAX_SLOTS;
use super::leaf::{Builder, Entry, Leaf};
use crate::catalog::checksum::Checksum;

/// Packs the names of a snapshot, which come in order.
#[derive(Debug, Default)]
pub(in crate::catalog) struct NamesBuilder {
    leaves: BTreeMap<Name, Arc<Leaf>>,
    /// The leaf that is being filled, and its first name.
    leaf: Builder,
    first: Name,
    len: usize,
}

impl NamesBuilder {
    pub(in crate::catalog) fn len(&self) -> usize {
        self.len
    }

    /// Takes the next name with what a snapshot has of it; `None` if that is not valid.
    pub(in crate::catalog) fn push(&mut self, name: Name, value: &[u8]) -> Option<()> {
        let (entry, []) = Entry::read(value)? else { return None };
        // A name without holders would not be recorded. Slots ascend.
        entry.slots.last().filter(|slot| (**slot as usize) < MAX_SLOTS)?;
        if self.leaf.is_full() {
            let leaf = std::mem::take(&mut self.leaf).finish();
            self.leaves.insert(std::mem::replace(&mut self.first, name.clone()), Arc::new(leaf));
        }
        self.leaf.push(name.as_name(), &entry);
        self.len += 1;
        Some(())
    }

    pub(super) fn finish(mut self) -> Names {
        self.leaves.insert(self.first, Arc::new(self.leaf.finish()));
        Names::of(self.leaves)
    }
}

/// Names with what is recorded of them.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// By a name that is not behind the leaf's first one, and behind the last one of the leaf before it. The
    /// first is the root.
    leaves: BTreeMap<Name, Arc<Leaf>>,
    len: usize,
    /// Of all leaves' entries.
    packed: usize,
    checksum: Checksum,
}

/// Bytes around a leaf's entries, about: of the leaf itself, and of the tree.
const AROUND_A_LEAF: usize = 128;

/// What is to become of what is recorded of a name.
#[expect(clippy::large_enum_variant, reason = "it lives on the stack, for one call")]
pub(super) enum Edit {
    Keep,
    Put(Entry),
    Remove,
}

impl Names {
    pub(super) fn new() -> Self {
        Self::of(BTreeMap::new())
    }

    fn of(mut leaves: BTreeMap<Name, Arc<Leaf>>) -> Self {
        leaves.entry(Name::root()).or_default();
        let len = leaves.values().map(|leaf| leaf.len()).sum();
        let packed = leaves.values().map(|leaf| leaf.packed()).sum();
        let mut checksum = Checksum::default();
        leaves.values().for_each(|leaf| checksum += leaf.checksum());
        Self { leaves, len, packed, checksum }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of memory, about.
    pub(super) fn bytes(&self) -> usize {
        self.packed + AROUND_A_LEAF * self.leaves.len()
    }

    pub(super) fn checksum(&self) -> Checksum {
        self.checksum
    }

    pub(super) fn get(&self, name: NameRef<'_>) -> Option<Entry> {
        let upto = (Bound::Unbounded, Bound::Included(name.as_bytes()));
        let (_, leaf) = self.leaves.range::<[u8], _>(upto).next_back()?;
        leaf.at(&leaf.find(name))
    }

    /// Names from `first` on.
    pub(super) fn from<'a>(
        &'a self,
        first: Bound<NameRef<'_>>,
    ) -> impl Iterator<Item = (Name, Entry)> + use<'a> {
        let first = first.map(NameRef::to_name);
        let bound = match &first {
            Bound::Included(name) | Bound::Excluded(name) => name.as_bytes(),
            Bound::Unbounded => &[],
        };
        let upto = (Bound::Unbounded, Bound::Included(bound));
        let leaf = self.leaves.range::<[u8], _>(upto).next_back().map_or(&[][..], |(key, _)| key.as_bytes());
        let leaves = self.leaves.range::<[u8], _>((Bound::Included(leaf), Bound::Unbounded));
        leaves.flat_map(|(_, leaf)| leaf.iter()).skip_while(move |(name, _)| match &first {
            Bound::Included(first) => name < first,
            Bound::Excluded(first) => name <= first,
            Bound::Unbounded => false,
        })
    }

    /// How many names there are from each of these on, before the next: in order, the root first.
    pub(super) fn runs(&self) -> impl Iterator<Item = (NameRef<'_>, usize)> {
        self.leaves.iter().map(|(first, leaf)| (first.as_name(), leaf.len()))
    }

    /// Changes what is recorded of a name as `decide` says, who is told what it is.
    pub(super) fn edit<T>(
        &mut self,
        name: NameRef<'_>,
        decide: impl FnOnce(Option<Entry>) -> (Edit, T),
    ) -> T {
        let upto = (Bound::Unbounded, Bound::Included(name.as_bytes()));
        let Some((key, leaf)) = self.leaves.range_mut::<[u8], _>(upto).next_back() else {
            // The first leaf is the root's, which no name stands before.
            return decide(None).1;
        };
        let place = leaf.find(name);
        let (edit, told) = decide(leaf.at(&place));
        let entry = match &edit {
            Edit::Keep => return told,
            Edit::Put(entry) => Some(entry),
            Edit::Remove => None,
        };
        let leaf = Arc::make_mut(leaf);
        let before = (leaf.len(), leaf.packed(), leaf.checksum());
        let appended = leaf.set(name, place, entry);
        self.len = self.len + leaf.len() - before.0;
        self.checksum += leaf.checksum();
        self.checksum -= before.2;
        let overflow = leaf.overflow(appended);
        let packed = leaf.packed() + overflow.as_ref().map_or(0, |(_, right)| right.packed());
        self.packed = self.packed + packed - before.1;
        if let Some((first, right)) = overflow {
            self.leaves.insert(first, Arc::new(right));
        } else if leaf.len() == 0 && !key.as_name().is_empty() {
            let key = key.clone();
            self.leaves.remove(&key);
        }
        told
    }

    /// Takes the names from `at` on.
    pub(super) fn split_off(&mut self, at: NameRef<'_>) -> Self {
        let mut right = self.leaves.split_off(at.as_bytes());
        if let Some(mut boundary) = self.leaves.last_entry() {
            let part = Arc::make_mut(boundary.get_mut()).split_off(at);
            right.insert(Name::root(), Arc::new(part));
        }
        *self = Self::of(std::mem::take(&mut self.leaves));
        Self::of(right)
    }

    /// The copies of each slot.
    pub(super) fn references(&self) -> Vec<u64> {
        let mut references: Vec<u64> = Vec::new();
        for leaf in self.leaves.values() {
            leaf.each_slot(|slot| {
                let slot = slot as usize;
                references.resize(references.len().max(slot + 1), 0);
                references[slot] += 1;
            });
        }
        references
    }

    /// Bytes of memory that it takes, about.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.leaves.iter().map(|(name, leaf)| leaf.memory() + name.as_bytes().len() + 64).sum()
    }
}
