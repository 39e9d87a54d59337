//! What is known of the names of one shard.

use std::collections::BTreeMap;
use std::ops::{Add, Sub};
use std::time::Instant;

use naming::{Location, Name, NameRef, NodeId};
use naming_directory::catalog::{Change, Copies, Event, HeardCopies, Record, RecordKind};
use naming_directory::proto::CopyRefusal;
use naming_directory::{Bytes, Position, ShardId};

use super::lost::Lost;
use super::{Counters, Unknown};

/// Bytes of a name with facts beside its own and those of its records: of the facts, and of the tree.
const AROUND_FACTS: usize = size_of::<(Name, Facts)>() + 16;
/// Bytes of one more name with copies beside its own, at most: of its entry, and of a leaf that it may take.
const AROUND_COPIES: usize = 192;
/// Shards that a part's names were of before, which are remembered: one is added when a shard is split, so it takes as many
/// splits to forget one.
const FORMER: usize = 32;
/// Turns of removing what retired holders had that go with one message, at most.
const PURGES: usize = 16;

/// How much there is, or may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Names: one for its copies, and one for what else is known of it.
    pub names: usize,
    /// Bytes of memory, about.
    pub bytes: usize,
}

impl Size {
    /// Whether one more name would go beyond this.
    fn is_reached(self, used: Size) -> bool {
        used.names >= self.names || used.bytes >= self.bytes
    }

    pub(super) fn max(self, other: Size) -> Size {
        Size { names: self.names.max(other.names), bytes: self.bytes.max(other.bytes) }
    }

    pub(super) fn min(self, other: Size) -> Size {
        Size { names: self.names.min(other.names), bytes: self.bytes.min(other.bytes) }
    }
}

impl Add for Size {
    type Output = Size;

    fn add(self, other: Size) -> Size {
        Size { names: self.names + other.names, bytes: self.bytes + other.bytes }
    }
}

impl Sub for Size {
    type Output = Size;

    /// Nothing, where there is less.
    fn sub(self, other: Size) -> Size {
        Size { names: self.names.saturating_sub(other.names), bytes: self.bytes.saturating_sub(other.bytes) }
    }
}

impl std::iter::Sum for Size {
    fn sum<I: Iterator<Item = Size>>(sizes: I) -> Size {
        sizes.fold(Size::default(), Add::add)
    }
}

/// What a part may grow by with an event, at most.
pub(super) fn most_of(event: &Event) -> Size {
    let value = match &event.change {
        Change::NodeUp { location, .. } => size_of_val(&location.addresses[..]),
        Change::Record { record: Some(record), .. } => record.value.len(),
        _ => 0,
    };
    // Room is never filled to the last byte.
    let bytes = event.name.as_bytes().len() + AROUND_FACTS.max(AROUND_COPIES) + value + 1;
    Size { names: 1, bytes }
}

/// What there is one of under a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    node: Option<(Location, u64)>,
    records: [Option<Record>; RecordKind::ALL.len()],
    /// To whom the authority was given last, in which term.
    pub(super) authority: Option<(Option<NodeId>, u64)>,
}

impl Facts {
    pub(super) fn route(&self) -> Option<&Record> {
        self.records[RecordKind::Route as usize].as_ref()
    }

    fn weight(&self, name: &Name) -> usize {
        let records = self.records.iter().flatten().map(|record| record.value.len());
        let addresses = self.node.as_ref().map_or(0, |(location, _)| size_of_val(&location.addresses[..]));
        AROUND_FACTS + name.as_bytes().len() + records.sum::<usize>() + addresses
    }

    fn each(&self, name: NameRef<'_>, mut tell: impl FnMut(Event)) {
        let mut tell = |change| tell(Event { name: name.to_name(), change });
        if let Some((location, epoch)) = &self.node {
            tell(Change::NodeUp { location: location.clone(), epoch: *epoch });
        }
        for (kind, record) in RecordKind::ALL.into_iter().zip(&self.records) {
            if let Some(record) = record {
                tell(Change::Record { kind, record: Some(record.clone()) });
            }
        }
        if let Some((node, term)) = self.authority {
            tell(Change::Authority { node, term });
        }
    }
}

/// Where a part's shard was when it was last heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) shard: ShardId,
    pub(super) position: Position,
    pub(super) heard: Instant,
}

/// The names of one shard from the one on that the part is kept by.
#[derive(Debug)]
pub(super) struct Part {
    /// The first name behind it; `None`: all that are under the prefix.
    pub(super) until: Option<Name>,
    pub(super) place: Place,
    /// Of which shards the names were before.
    pub(super) former: Vec<ShardId>,
    copies: HeardCopies,
    facts: BTreeMap<Name, Facts>,
    facts_bytes: usize,
    /// Names whose copies found no room since they were listed. None of them is in `copies`: what is there is whole.
    lost_copies: Lost,
    /// Names whose facts found none.
    lost_facts: Lost,
    /// Turns of purging that are left for this message.
    purges: usize,
}

impl Part {
    pub(super) fn new(until: Option<Name>, place: Place) -> Self {
        Self {
            until,
            place,
            former: Vec::new(),
            copies: HeardCopies::default(),
            facts: BTreeMap::new(),
            facts_bytes: 0,
            lost_copies: Lost::default(),
            lost_facts: Lost::default(),
            purges: PURGES,
        }
    }

    pub(super) fn contains(&self, name: NameRef<'_>) -> bool {
        self.until.as_ref().is_none_or(|until| name < until.as_name())
    }

    pub(super) fn size(&self) -> Size {
        Size { names: self.copies.names() + self.facts.len(), bytes: self.copies.bytes() + self.facts_bytes }
    }

    /// Whether all that was told of the names found room.
    pub(super) fn is_whole(&self) -> bool {
        self.lost_copies.is_empty() && self.lost_facts.is_empty()
    }

    pub(super) fn copies(&self, name: NameRef<'_>) -> Result<Option<Copies>, Unknown> {
        match self.copies.get(name) {
            None if self.lost_copies.may_have(name) => Err(Unknown::NotKept),
            copies => Ok(copies),
        }
    }

    pub(super) fn facts(&self, name: NameRef<'_>) -> Result<Option<&Facts>, Unknown> {
        match self.facts.get(name.as_bytes()) {
            None if self.lost_facts.may_have(name) => Err(Unknown::NotKept),
            facts => Ok(facts),
        }
    }

    /// Tells how everything under `prefix` is.
    pub(super) fn each(&self, prefix: NameRef<'_>, mut tell: impl FnMut(Event)) {
        let from = (std::ops::Bound::Included(prefix.as_bytes()), std::ops::Bound::Unbounded);
        let facts = self.facts.range::<[u8], _>(from);
        for (name, facts) in facts.take_while(|(name, _)| name.as_name().starts_with(prefix)) {
            facts.each(name.as_name(), &mut tell);
        }
        for (name, copies) in self.copies.under(prefix) {
            for node in copies.holders {
                let change = Change::Copy { node, digest: copies.digest, length: copies.length };
                tell(Event { name: name.clone(), change });
            }
        }
    }

    /// The names were of that shard until now.
    pub(super) fn was_of(&mut self, shard: ShardId) {
        if shard == self.place.shard || self.former.contains(&shard) {
            return;
        }
        if self.former.len() == FORMER {
            self.former.remove(0);
        }
        self.former.push(shard);
    }

    /// Takes the names from `at` on.
    pub(super) fn split_off(&mut self, at: &Name) -> Self {
        let facts = self.facts.split_off(at);
        let facts_bytes = facts.iter().map(|(name, facts)| facts.weight(name)).sum();
        self.facts_bytes -= facts_bytes;
        Self {
            until: self.until.replace(at.clone()),
            former: self.former.clone(),
            copies: self.copies.split_off(at.as_name()),
            facts,
            facts_bytes,
            place: self.place,
            lost_copies: self.lost_copies.clone(),
            lost_facts: self.lost_facts.clone(),
            purges: PURGES,
        }
    }

    /// Takes what changed of one of its names, as far as there is room.
    pub(super) fn take(&mut self, event: Event, room: Size, counters: &mut Counters) {
        let name = event.name;
        match event.change {
            Change::NodeUp { location, epoch } => {
                self.note(name, room, counters, |facts| facts.node = Some((location, epoch)));
            }
            Change::NodeDown { .. } => self.note(name, room, counters, |facts| facts.node = None),
            Change::Record { kind, record } => {
                // Of its own: else all of the message that it came in would stay.
                let own = |record: Record| Record { value: Bytes::copy_from_slice(&record.value), ..record };
                let record = record.map(own);
                self.note(name, room, counters, |facts| facts.records[kind as usize] = record);
            }
            Change::Authority { node, term } => {
                self.note(name, room, counters, |facts| facts.authority = Some((node, term)));
            }
            Change::Copy { node, digest, length } => {
                let one_more = Size { names: 0, bytes: name.as_bytes().len() + AROUND_COPIES };
                let has_room = !self.lost_copies.may_have(name.as_name()) && self.has_room(room - one_more);
                match self.copies.add(name.as_name(), node, (digest, length), has_room) {
                    Ok(()) => {}
                    Err(CopyRefusal::EnoughCopies) => counters.holders_not_kept += 1,
                    Err(_) => {
                        self.lost_copies.insert(name.as_name());
                        counters.copies_not_kept += 1;
                    }
                }
            }
            Change::CopyGone { node } => self.copies.remove(name.as_name(), node),
            Change::HolderRetired { node } => self.copies.retire(node),
            // The part ends there: who keeps it has to see to that.
            Change::Split => {}
        }
    }

    /// With the end of a message: removes what retired holders had, as far as it goes with one.
    pub(super) fn purge(&mut self) {
        while self.purge_once() {}
        self.purges = PURGES;
    }

    /// Whether to go on.
    fn purge_once(&mut self) -> bool {
        let Some(left) = self.purges.checked_sub(1) else { return false };
        self.purges = left;
        self.copies.purge()
    }

    /// Whether there is room for one more name. What retired holders had may stand in the way: if more of it than is removed
    /// with one message, there is none.
    fn has_room(&mut self, room: Size) -> bool {
        while room.is_reached(self.size()) {
            if !self.purge_once() {
                return !room.is_reached(self.size());
            }
        }
        true
    }

    /// Changes the facts of a name. What does not fit goes whole, so that what is there is right.
    fn note(&mut self, name: Name, room: Size, counters: &mut Counters, change: impl FnOnce(&mut Facts)) {
        let old = self.facts.remove(&name);
        self.facts_bytes -= old.as_ref().map_or(0, |facts| facts.weight(&name));
        let is_lost = old.is_none() && self.lost_facts.may_have(name.as_name());
        let mut facts = old.unwrap_or_default();
        change(&mut facts);
        if facts == Facts::default() {
            return;
        }
        let weight = facts.weight(&name);
        let one_more = Size { names: 0, bytes: weight };
        if is_lost || !self.has_room(room - one_more) {
            self.lost_facts.insert(name.as_name());
            counters.facts_not_kept += 1;
            return;
        }
        self.facts_bytes += weight;
        self.facts.insert(name, facts);
    }
}
