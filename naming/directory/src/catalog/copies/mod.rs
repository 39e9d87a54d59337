//! Where the copies of immutable names are.
//!
//! Ten million names and more: they stand in order in packed [leaves](leaf) of up to 96, under a tree of
//! their first names, and a [slot](holders) stands for each holder. That takes about 50 bytes a name, most of
//! which is its digest. Leaves are shared with clones until they change, so that a clone, which is what a
//! snapshot is written from, costs a pointer a leaf.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use naming::{Digest, Name, NameRef, NodeId};

use super::capacity::{COPIES_OF_A_NAME, MAX_REFUSALS_LISTED, PURGED_AT_ONCE};
use super::changes::{Change, Event};
use super::checksum::Checksum;
use super::chunk::Chunk;
use super::command::{self, Claim};
use super::refusal::Reason;
use super::table::Table;
use crate::proto;
use crate::proto::CopyRefusal;

mod holders;
mod leaf;
#[cfg(test)]
mod tests;

pub(super) use holders::{Holder, Slot};
use holders::{Holders, MAX_SLOTS};
use leaf::{Builder, Leaf, Slots};

/// What is known of an immutable name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copies {
    /// Of its content.
    pub digest: Digest,
    /// Bytes of its content.
    pub length: u64,
    /// Who holds a copy: at least one, in the order of their ids.
    pub holders: Vec<NodeId>,
}

/// Packs the names of a snapshot, which come in order.
#[derive(Debug, Default)]
pub(super) struct CopyTableBuilder {
    leaves: BTreeMap<Name, Arc<Leaf>>,
    /// The leaf that is being filled, and its first name.
    leaf: Builder,
    first: Name,
    len: usize,
}

impl CopyTableBuilder {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Takes the next name with what a snapshot has of it; `None` if that is not valid.
    pub(super) fn push(&mut self, name: Name, value: &[u8]) -> Option<()> {
        let (entry, []) = leaf::Entry::read(value)? else { return None };
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

    fn finish(mut self) -> BTreeMap<Name, Arc<Leaf>> {
        self.leaves.insert(self.first, Arc::new(self.leaf.finish()));
        self.leaves
    }
}

#[derive(Clone, Debug)]
pub(super) struct CopyTable {
    /// By a name that is not behind the leaf's first one and behind the last one of the leaf before it. The
    /// first is the root.
    leaves: BTreeMap<Name, Arc<Leaf>>,
    len: usize,
    checksum: Checksum,
    pub(super) holders: Holders,
    /// The last name that was looked at for copies of retired holders.
    purged: Option<Name>,
}

impl CopyTable {
    pub(super) fn new() -> Self {
        Self::of_leaves(BTreeMap::new(), Holders::new())
    }

    fn of_leaves(mut leaves: BTreeMap<Name, Arc<Leaf>>, holders: Holders) -> Self {
        leaves.entry(Name::root()).or_default();
        let len = leaves.values().map(|leaf| leaf.len()).sum();
        let mut checksum = Checksum::default();
        leaves.values().for_each(|leaf| checksum += leaf.checksum());
        Self { leaves, len, checksum, holders, purged: None }
    }

    /// Names that have copies, those of retired holders among them.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Of the names and of the holders.
    pub(super) fn checksum(&self) -> Checksum {
        let mut sum = self.checksum;
        sum += self.holders.checksum();
        sum
    }

    pub(super) fn purged(&self) -> Option<&Name> {
        self.purged.as_ref()
    }

    pub(super) fn get(&self, name: NameRef<'_>) -> Option<Copies> {
        self.visible(&self.entry(name)?)
    }

    /// Names from `first` on with their copies.
    pub(super) fn from<'a>(
        &'a self,
        first: Bound<NameRef<'_>>,
    ) -> impl Iterator<Item = (Name, Copies)> + use<'a> {
        self.entries(first).filter_map(|(name, entry)| Some((name, self.visible(&entry)?)))
    }

    /// Names behind a place with what a snapshot has of them.
    pub(super) fn items<'a>(
        &'a self,
        first: Bound<NameRef<'_>>,
    ) -> impl Iterator<Item = (Name, Vec<u8>)> + use<'a> {
        self.entries(first).map(|(name, entry)| {
            let mut value = Vec::new();
            entry.write(&mut value);
            (name, value)
        })
    }

    /// The table that was written to a snapshot; `None` if its parts contradict each other.
    pub(super) fn restored(
        names: CopyTableBuilder,
        nodes: Table<NodeId, Holder>,
        slots: Table<u64, Slot>,
        purged: Option<Name>,
    ) -> Option<Self> {
        let table = Self::of_leaves(names.finish(), Holders::new());
        let holders = Holders::of(nodes, slots, table.references())?;
        Some(Self { holders, purged, ..table })
    }

    /// Records copies of one node.
    pub(super) fn publish(
        &mut self,
        claim: Claim,
        copies: &[command::Copy<'_>],
        events: &mut Vec<Event>,
    ) -> Result<proto::Published, Reason> {
        let slot = self.holders.claim(claim)?;
        let mut published = proto::Published::default();
        for (place, copy) in copies.iter().enumerate() {
            match self.add(slot, copy) {
                Ok(false) => {}
                Ok(true) => {
                    published.added += 1;
                    let change = Change::Copy { node: claim.node, digest: copy.digest, length: copy.length };
                    events.push(Event { name: copy.name.to_name(), change });
                }
                Err(reason) => {
                    published.refused += 1;
                    if published.refusals.len() < MAX_REFUSALS_LISTED {
                        let refusal = proto::RefusedCopy { place: place as u32, reason: reason.into() };
                        published.refusals.push(refusal);
                    }
                }
            }
        }
        self.holders.forget_if_unused(slot);
        Ok(published)
    }

    /// Removes copies of one node; how many there were.
    pub(super) fn withdraw(&mut self, node: NodeId, names: &[NameRef<'_>], events: &mut Vec<Event>) -> u32 {
        let Some(slot) = self.holders.slot_of(node) else { return 0 };
        let mut removed = 0;
        for &name in names {
            let Some(mut entry) = self.entry(name).filter(|entry| entry.slots.contains(&slot)) else {
                continue;
            };
            entry.slots.retain(|other| *other != slot);
            self.set(name, (!entry.slots.is_empty()).then_some(&entry));
            self.holders.release(slot);
            events.push(Event { name: name.to_name(), change: Change::CopyGone { node } });
            removed += 1;
        }
        removed
    }

    /// All copies that the node published in epochs up to this one are gone.
    pub(super) fn retire(
        &mut self,
        claim: Claim,
        first: NameRef<'_>,
        events: &mut Vec<Event>,
    ) -> Result<(), Reason> {
        if self.holders.retire(claim)? {
            let change = Change::HolderRetired { node: claim.node };
            events.push(Event { name: first.to_name(), change });
        }
        Ok(())
    }

    /// Removes copies of retired holders, a few at a time. By number of names, not of leaves: replicas may
    /// have cut their leaves differently.
    pub(super) fn purge(&mut self) {
        if !self.holders.any_retired() {
            self.purged = None;
            return;
        }
        let first = self.purged.as_ref().map_or(Bound::Unbounded, |name| Bound::Excluded(name.as_name()));
        let names: Vec<(Name, leaf::Entry)> = self.entries(first).take(PURGED_AT_ONCE).collect();
        for (name, entry) in &names {
            let retired: Slots =
                entry.slots.iter().copied().filter(|slot| self.holders.is_retired(*slot)).collect();
            if retired.is_empty() {
                continue;
            }
            let mut kept = entry.clone();
            kept.slots.retain(|slot| !retired.contains(slot));
            self.set(name.as_name(), (!kept.slots.is_empty()).then_some(&kept));
            retired.iter().for_each(|slot| self.holders.release(*slot));
        }
        self.purged = names.into_iter().nth(PURGED_AT_ONCE - 1).map(|(name, _)| name);
    }

    /// Takes the names from `at` on. Each half keeps the holders that it has copies of, or retired epochs.
    pub(super) fn split_off(&mut self, at: NameRef<'_>) -> Self {
        let mut right = self.leaves.split_off(at.as_bytes());
        if let Some(mut boundary) = self.leaves.last_entry() {
            let part = Arc::make_mut(boundary.get_mut()).split_off(at);
            right.insert(Name::root(), Arc::new(part));
        }
        let left = std::mem::take(&mut self.leaves);
        let (before, behind) = match self.purged.take() {
            Some(name) if name.as_name() < at => (Some(name), None),
            name => (None, name),
        };
        let right = Self { purged: behind, ..Self::of_leaves(right, self.holders.clone()).recounted() };
        *self = Self { purged: before, ..Self::of_leaves(left, self.holders.clone()).recounted() };
        right
    }

    fn recounted(mut self) -> Self {
        self.holders.recount(self.references());
        self
    }

    /// The copies of each slot.
    fn references(&self) -> Vec<u64> {
        let mut references: Vec<u64> = Vec::new();
        for leaf in self.leaves.values() {
            for slot in leaf.iter().flat_map(|(_, entry)| entry.slots) {
                let slot = slot as usize;
                references.resize(references.len().max(slot + 1), 0);
                references[slot] += 1;
            }
        }
        references
    }

    /// Whether the copy was not recorded before.
    fn add(&mut self, slot: u32, copy: &command::Copy<'_>) -> Result<bool, CopyRefusal> {
        let old = self.entry(copy.name);
        let visible =
            old.as_ref().is_some_and(|old| old.slots.iter().any(|slot| !self.holders.is_retired(*slot)));
        if old.is_none() && self.len >= Chunk::Copies.capacity() {
            return Err(CopyRefusal::Full);
        }
        let mut entry = leaf::Entry { digest: copy.digest, length: copy.length, slots: Slots::new() };
        if let Some(old) = &old {
            if visible && (old.digest, old.length) != (copy.digest, copy.length) {
                return Err(CopyRefusal::OtherContent);
            }
            entry.slots = old.slots.clone();
        }
        let Err(place) = entry.slots.binary_search(&slot) else { return Ok(false) };
        if entry.slots.len() == COPIES_OF_A_NAME {
            return Err(CopyRefusal::EnoughCopies);
        }
        entry.slots.insert(place, slot);
        self.set(copy.name, Some(&entry));
        self.holders.reference(slot);
        Ok(true)
    }

    fn visible(&self, entry: &leaf::Entry) -> Option<Copies> {
        let mut holders: Vec<NodeId> =
            entry.slots.iter().filter_map(|slot| self.holders.node_of(*slot)).collect();
        holders.sort_unstable();
        (!holders.is_empty()).then_some(Copies { digest: entry.digest, length: entry.length, holders })
    }

    fn entry(&self, name: NameRef<'_>) -> Option<leaf::Entry> {
        let upto = (Bound::Unbounded, Bound::Included(name.as_bytes()));
        self.leaves.range::<[u8], _>(upto).next_back()?.1.get(name)
    }

    /// Names from `first` on, with what is recorded of them.
    fn entries<'a>(
        &'a self,
        first: Bound<NameRef<'_>>,
    ) -> impl Iterator<Item = (Name, leaf::Entry)> + use<'a> {
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

    fn set(&mut self, name: NameRef<'_>, entry: Option<&leaf::Entry>) {
        let upto = (Bound::Unbounded, Bound::Included(name.as_bytes()));
        let Some((key, leaf)) = self.leaves.range_mut::<[u8], _>(upto).next_back() else { return };
        let leaf = Arc::make_mut(leaf);
        let before = (leaf.len(), leaf.checksum());
        let appended = leaf.set(name, entry);
        self.len = self.len + leaf.len() - before.0;
        self.checksum += leaf.checksum();
        self.checksum -= before.1;
        if let Some((first, right)) = leaf.overflow(appended) {
            self.leaves.insert(first, Arc::new(right));
        } else if leaf.len() == 0 && !key.as_name().is_empty() {
            let key = key.clone();
            self.leaves.remove(&key);
        }
    }
}
