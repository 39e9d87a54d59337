//! Who holds copies. In the table of copies a small number, a *slot*, stands for a node: one or two bytes for
//! each copy.
//!
//! A node whose copies are all gone is *retired*: its slot is marked, which hides them at once, and purged
//! from the table little by little. Epochs up to the one it was retired in cannot publish any more; a later
//! one gets another slot.

use std::collections::BTreeSet;

use naming::NodeId;
use prost::Message;
use prost::bytes::Bytes;

use crate::catalog::capacity::HOLDERS;
use crate::catalog::checksum::Checksum;
use crate::catalog::chunk::Chunk;
use crate::catalog::command::Claim;
use crate::catalog::refusal::{self, Reason};
use crate::catalog::table::{Table, Value};
use crate::proto::state;

/// Slots are numbered below this.
pub(super) const MAX_SLOTS: usize = HOLDERS;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::catalog) struct Holder {
    /// Epochs up to this one are retired.
    retired: u64,
    slot: Option<u32>,
}

impl Value for Holder {
    fn to_bytes(&self) -> Vec<u8> {
        state::Holder { retired: self.retired, slot: self.slot }.encode_to_vec()
    }

    fn from_bytes(bytes: Bytes) -> Option<Self> {
        let message = state::Holder::decode(bytes).ok()?;
        Some(Self { retired: message.retired, slot: message.slot })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::catalog) struct Slot {
    node: NodeId,
    retired: bool,
}

impl Value for Slot {
    fn to_bytes(&self) -> Vec<u8> {
        state::Slot { node: self.node.get(), retired: self.retired }.encode_to_vec()
    }

    fn from_bytes(bytes: Bytes) -> Option<Self> {
        let message = state::Slot::decode(bytes).ok()?;
        Some(Self { node: NodeId::new(message.node)?, retired: message.retired })
    }
}

#[derive(Clone, Debug)]
pub(in crate::catalog) struct Holders {
    pub(in crate::catalog) nodes: Table<NodeId, Holder>,
    pub(in crate::catalog) slots: Table<u64, Slot>,
    /// Copies of each slot; numbers that are nobody's have none.
    references: Vec<u64>,
    /// Numbers below the length of `references` that are nobody's.
    free: BTreeSet<u32>,
    retired: usize,
}

impl Holders {
    pub(super) fn new() -> Self {
        let (nodes, slots) = (Table::new(Chunk::Holders), Table::new(Chunk::Slots));
        Self { nodes, slots, references: Vec::new(), free: BTreeSet::new(), retired: 0 }
    }

    /// The holders of restored tables, with the copies that `references` counts; `None` if the tables
    /// contradict each other.
    pub(super) fn of(
        nodes: Table<NodeId, Holder>,
        slots: Table<u64, Slot>,
        mut references: Vec<u64>,
    ) -> Option<Self> {
        let end = slots.iter().last().map_or(0, |(number, _)| number.saturating_add(1));
        let end = usize::try_from(end).ok().filter(|end| *end <= MAX_SLOTS)?;
        let named = nodes.iter().all(|(node, holder)| {
            let slot = holder.slot.map(|slot| slots.get(&slot.into()));
            slot.is_none_or(|slot| slot.is_some_and(|slot| slot.node == *node && !slot.retired))
        });
        let counted = references
            .iter()
            .enumerate()
            .all(|(number, count)| *count == 0 || slots.get(&(number as u64)).is_some());
        if !named || !counted || references.len() > end {
            return None;
        }
        references.resize(end, 0);
        let free = (0..end as u32).filter(|number| slots.get(&u64::from(*number)).is_none()).collect();
        let retired = slots.iter().filter(|(_, slot)| slot.retired).count();
        Some(Self { nodes, slots, references, free, retired })
    }

    /// Of both tables.
    pub(super) fn checksum(&self) -> Checksum {
        let mut sum = self.nodes.checksum();
        sum += self.slots.checksum();
        sum
    }

    /// Whether copies of retired holders are left.
    pub(super) fn any_retired(&self) -> bool {
        self.retired > 0
    }

    pub(super) fn is_retired(&self, slot: u32) -> bool {
        self.slots.get(&slot.into()).is_none_or(|slot| slot.retired)
    }

    /// Whose the slot is, unless that node is retired.
    pub(super) fn node_of(&self, slot: u32) -> Option<NodeId> {
        self.slots.get(&slot.into()).filter(|slot| !slot.retired).map(|slot| slot.node)
    }

    pub(super) fn slot_of(&self, node: NodeId) -> Option<u32> {
        self.nodes.get(&node)?.slot
    }

    /// The slot of a node that publishes; it may have to be given back by [`Self::forget_if_unused`].
    pub(super) fn claim(&mut self, claim: Claim) -> Result<u32, Reason> {
        let holder = self.nodes.get(&claim.node).copied().unwrap_or_default();
        if claim.epoch <= holder.retired {
            return Err(refusal::stale_epoch(holder.retired + 1));
        }
        if let Some(slot) = holder.slot {
            return Ok(slot);
        }
        let number = self.free.first().copied().unwrap_or(self.references.len() as u32);
        self.nodes.admit(&claim.node)?;
        self.slots.admit(&number.into())?;
        if !self.free.remove(&number) {
            self.references.push(0);
        }
        self.slots.put(number.into(), Slot { node: claim.node, retired: false });
        self.nodes.put(claim.node, Holder { slot: Some(number), ..holder });
        Ok(number)
    }

    /// Retires the node's epochs up to this one. Whether it held copies.
    pub(super) fn retire(&mut self, claim: Claim) -> Result<bool, Reason> {
        self.nodes.admit(&claim.node)?;
        let holder = self.nodes.get(&claim.node).copied().unwrap_or_default();
        if claim.epoch <= holder.retired {
            return Err(refusal::stale_epoch(holder.retired + 1));
        }
        if let Some(slot) = holder.slot {
            self.slots.put(slot.into(), Slot { node: claim.node, retired: true });
            self.retired += 1;
        }
        self.nodes.put(claim.node, Holder { retired: claim.epoch, slot: None });
        Ok(holder.slot.is_some())
    }

    /// Hides what the node holds until now, whatever epoch it was published in.
    pub(super) fn hide(&mut self, node: NodeId) {
        let Some(number) = self.nodes.remove(&node).and_then(|holder| holder.slot) else { return };
        self.slots.put(number.into(), Slot { node, retired: true });
        self.retired += 1;
    }

    pub(super) fn reference(&mut self, slot: u32) {
        self.references[slot as usize] += 1;
    }

    pub(super) fn release(&mut self, slot: u32) {
        self.references[slot as usize] -= 1;
        self.forget_if_unused(slot);
    }

    /// Frees the slot if no copy is left, and forgets its node unless it has retired epochs.
    pub(super) fn forget_if_unused(&mut self, number: u32) {
        if self.references[number as usize] > 0 {
            return;
        }
        let Some(slot) = self.slots.remove(&number.into()) else { return };
        self.free.insert(number);
        if slot.retired {
            self.retired -= 1;
            return;
        }
        match self.nodes.get(&slot.node).copied() {
            Some(Holder { retired: 0, .. }) => drop(self.nodes.remove(&slot.node)),
            Some(holder) => self.nodes.put(slot.node, Holder { slot: None, ..holder }),
            None => {}
        }
    }

    /// Knows the copies that `references` counts, and forgets who has none.
    pub(super) fn recount(&mut self, references: Vec<u64>) {
        let end = self.references.len();
        self.references = references;
        self.references.resize(end, 0);
        for number in 0..end as u32 {
            self.forget_if_unused(number);
        }
    }
}
