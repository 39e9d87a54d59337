//! Where the copies of immutable names are.
//!
//! Ten million names and more: they stand in order in packed [leaves](leaf) of up to 96, under a
//! [tree](names) of their first names, and a [slot](holders) stands for each holder. That takes about 50
//! bytes a name, most of which is its digest. Leaves are shared with clones until they change, so that a
//! clone, which is what a snapshot is written from, costs a pointer and a name for each leaf.

use std::ops::Bound;

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

mod heard;
mod holders;
mod leaf;
mod names;
#[cfg(test)]
mod tests;

pub use heard::HeardCopies;
use holders::Holders;
pub(super) use holders::{Holder, Slot};
use leaf::{Entry, Slots};
pub(super) use names::NamesBuilder;
use names::{Edit, Names};

/// From so many names on, those of a leaf are few of all.
const RUNS_AT_LEAST: usize = 1 << 13;

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

#[derive(Clone, Debug)]
pub(super) struct CopyTable {
    names: Names,
    pub(super) holders: Holders,
    /// The last name that was looked at for copies of retired holders.
    purged: Option<Name>,
}

impl CopyTable {
    pub(super) fn new() -> Self {
        Self { names: Names::new(), holders: Holders::new(), purged: None }
    }

    /// The table that was written to a snapshot; `None` if its parts contradict each other.
    pub(super) fn restored(
        names: NamesBuilder,
        nodes: Table<NodeId, Holder>,
        slots: Table<u64, Slot>,
        purged: Option<Name>,
    ) -> Option<Self> {
        let names = names.finish();
        let holders = Holders::of(nodes, slots, names.references())?;
        Some(Self { names, holders, purged })
    }

    /// Names that have copies, those of retired holders among them.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// Of the names and of the holders.
    pub(super) fn checksum(&self) -> Checksum {
        let mut sum = self.names.checksum();
        sum += self.holders.checksum();
        sum
    }

    pub(super) fn purged(&self) -> Option<&Name> {
        self.purged.as_ref()
    }

    pub(super) fn get(&self, name: NameRef<'_>) -> Option<Copies> {
        self.visible(&self.names.get(name)?)
    }

    /// Names from `first` on with their copies.
    pub(super) fn from<'a>(
        &'a self,
        first: Bound<NameRef<'_>>,
    ) -> impl Iterator<Item = (Name, Copies)> + use<'a> {
        self.names.from(first).filter_map(|(name, entry)| Some((name, self.visible(&entry)?)))
    }

    /// How many names there are from each of these on, before the next, in order: each name by itself if there are few.
    pub(super) fn runs(&self) -> Vec<(Name, usize)> {
        if self.len() < RUNS_AT_LEAST {
            return self.names.from(Bound::Unbounded).map(|(name, _)| (name, 1)).collect();
        }
        self.names.runs().map(|(first, len)| (first.to_name(), len)).collect()
    }

    /// Names from `first` on with what a snapshot has of them.
    pub(super) fn items<'a>(
        &'a self,
        first: Bound<NameRef<'_>>,
    ) -> impl Iterator<Item = (Name, Vec<u8>)> + use<'a> {
        self.names.from(first).map(|(name, entry)| {
            let mut value = Vec::new();
            entry.write(&mut value);
            (name, value)
        })
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
            if self.drop_slots(name, |other| other == slot) == 0 {
                continue;
            }
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
        let names: Vec<(Name, Entry)> = self.names.from(first).take(PURGED_AT_ONCE).collect();
        for (name, entry) in &names {
            self.purge_name(name.as_name(), entry);
        }
        self.purged = names.into_iter().nth(PURGED_AT_ONCE - 1).map(|(name, _)| name);
    }

    /// Removes what retired holders have of a name.
    fn purge_name(&mut self, name: NameRef<'_>, entry: &Entry) {
        let retired: Slots =
            entry.slots.iter().copied().filter(|slot| self.holders.is_retired(*slot)).collect();
        if !retired.is_empty() {
            self.drop_slots(name, |slot| retired.contains(&slot));
            retired.iter().for_each(|slot| self.holders.release(*slot));
        }
    }

    /// Takes the names from `at` on. Each half keeps the holders that it has copies of, or retired epochs.
    pub(super) fn split_off(&mut self, at: NameRef<'_>) -> Self {
        let right = self.names.split_off(at);
        let behind = self.purged.take_if(|name| name.as_name() >= at);
        let mut right = Self { names: right, holders: self.holders.clone(), purged: behind };
        for half in [self, &mut right] {
            half.holders.recount(half.names.references());
        }
        right
    }

    /// Whether the copy was not recorded before.
    fn add(&mut self, slot: u32, copy: &command::Copy<'_>) -> Result<bool, CopyRefusal> {
        let (full, holders) = (self.names.len() >= Chunk::Copies.capacity(), &self.holders);
        let added = self.names.edit(copy.name, |old| {
            if old.is_none() && full {
                return (Edit::Keep, Err(CopyRefusal::Full));
            }
            let visible = |old: &Entry| old.slots.iter().any(|slot| !holders.is_retired(*slot));
            let other = |old: &Entry| (old.digest, old.length) != (copy.digest, copy.length);
            if old.as_ref().is_some_and(|old| visible(old) && other(old)) {
                return (Edit::Keep, Err(CopyRefusal::OtherContent));
            }
            let mut slots = old.map_or_else(Slots::new, |old| old.slots);
            let Err(place) = slots.binary_search(&slot) else { return (Edit::Keep, Ok(false)) };
            if slots.len() == COPIES_OF_A_NAME {
                return (Edit::Keep, Err(CopyRefusal::EnoughCopies));
            }
            slots.insert(place, slot);
            (Edit::Put(Entry { digest: copy.digest, length: copy.length, slots }), Ok(true))
        });
        if added == Ok(true) {
            self.holders.reference(slot);
        }
        added
    }

    /// Drops holders of a name, and the name with its last one; how many there were.
    fn drop_slots(&mut self, name: NameRef<'_>, gone: impl Fn(u32) -> bool) -> usize {
        self.names.edit(name, |entry| {
            let Some(mut entry) = entry else { return (Edit::Keep, 0) };
            let before = entry.slots.len();
            entry.slots.retain(|slot| !gone(*slot));
            let dropped = before - entry.slots.len();
            match (dropped, entry.slots.is_empty()) {
                (0, _) => (Edit::Keep, 0),
                (_, true) => (Edit::Remove, dropped),
                (_, false) => (Edit::Put(entry), dropped),
            }
        })
    }

    fn visible(&self, entry: &Entry) -> Option<Copies> {
        let mut holders: Vec<NodeId> =
            entry.slots.iter().filter_map(|slot| self.holders.node_of(*slot)).collect();
        holders.sort_unstable();
        (!holders.is_empty()).then_some(Copies { digest: entry.digest, length: entry.length, holders })
    }
}
