//! Copies, as somebody hears of them who is no replica.

use std::ops::Bound;

use naming::{Digest, Name, NameRef, NodeId};

use super::{Copies, CopyTable};
use crate::catalog::command::{Claim, Copy};
use crate::proto::CopyRefusal;

/// Who holds copies of which names, by what a watcher was told: as compact as a replica has it. What is told is how things
/// are, so nothing is refused because it contradicts what was told before.
#[derive(Clone, Debug)]
pub struct HeardCopies(pub(super) CopyTable);

impl Default for HeardCopies {
    fn default() -> Self {
        Self(CopyTable::new())
    }
}

impl HeardCopies {
    /// A node holds a copy. If the name stood for other content, that is gone. Without `room`, only of a name that is here.
    ///
    /// # Errors
    /// If there is no room for the name, of which nothing is here then ([`CopyRefusal::Full`]), or as many holders are known
    /// of it as are recorded of one ([`CopyRefusal::EnoughCopies`]).
    pub fn add(
        &mut self,
        name: NameRef<'_>,
        node: NodeId,
        content: (Digest, u64),
        room: bool,
    ) -> Result<(), CopyRefusal> {
        let (digest, length) = content;
        if !room && self.0.names.get(name).is_none() {
            return Err(CopyRefusal::Full);
        }
        let copy = Copy { name, digest, length };
        let added = match self.try_add(node, &copy) {
            Err(CopyRefusal::OtherContent) => {
                self.drop_name(name);
                self.try_add(node, &copy)
            }
            Err(CopyRefusal::EnoughCopies) => {
                if let Some(entry) = self.0.names.get(name) {
                    self.0.purge_name(name, &entry);
                }
                self.try_add(node, &copy)
            }
            added => added,
        };
        if added == Err(CopyRefusal::Full) {
            self.drop_name(name);
        }
        added
    }

    /// A node holds its copy no more.
    pub fn remove(&mut self, name: NameRef<'_>, node: NodeId) {
        let Some(slot) = self.0.holders.slot_of(node) else { return };
        if self.0.drop_slots(name, |other| other == slot) > 0 {
            self.0.holders.release(slot);
        }
    }

    /// A node holds no copies any more. They are hidden at once, and [purged](Self::purge) later.
    pub fn retire(&mut self, node: NodeId) {
        self.0.holders.hide(node);
    }

    /// Removes a few of the copies that are hidden; whether some may be left.
    pub fn purge(&mut self) -> bool {
        self.0.purge();
        self.0.holders.any_retired()
    }

    /// Takes the names from `at` on.
    #[must_use]
    pub fn split_off(&mut self, at: NameRef<'_>) -> Self {
        Self(self.0.split_off(at))
    }

    /// Names that take room: those whose copies are all hidden among them.
    pub fn names(&self) -> usize {
        self.0.len()
    }

    /// Bytes of memory, about.
    pub fn bytes(&self) -> usize {
        self.0.names.bytes()
    }

    /// Where the copies of a name are.
    pub fn get(&self, name: NameRef<'_>) -> Option<Copies> {
        self.0.get(name)
    }

    /// The names under `prefix` that have copies, in canonical order.
    pub fn under<'a>(&'a self, prefix: NameRef<'a>) -> impl Iterator<Item = (Name, Copies)> + use<'a> {
        let names = self.0.from(Bound::Included(prefix));
        names.take_while(move |(name, _)| name.as_name().starts_with(prefix))
    }

    fn try_add(&mut self, node: NodeId, copy: &Copy<'_>) -> Result<(), CopyRefusal> {
        // Epochs are the replicas' business.
        let claimed = self.0.holders.claim(Claim { node, epoch: 1 });
        let slot = claimed.map_err(|_| CopyRefusal::Full)?;
        let added = self.0.add(slot, copy);
        self.0.holders.forget_if_unused(slot);
        added.map(drop)
    }

    fn drop_name(&mut self, name: NameRef<'_>) {
        if let Some(entry) = self.0.names.get(name) {
            self.0.drop_slots(name, |_| true);
            entry.slots.iter().for_each(|slot| self.0.holders.release(*slot));
        }
    }
}
