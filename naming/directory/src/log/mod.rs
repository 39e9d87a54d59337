//! The log of a group's member, and what of it is on a disk.
//!
//! The seam to storage is a value, not a trait: a member says which [records](Record) to make durable, in
//! order, and a shell writes them to whatever it has (a file as [`journal`] lays it out, RocksDB's columns).
//! At a start the shell hands in the [`Log`] that the records amount to. Reads never wait for a disk: the log
//! since the last compaction is in memory, as in etcd, and bounded by it.
//!
//! | module | what it is |
//! |---|---|
//! | `members` | who is in the group |
//! | `record` | a record's bytes |
//! | [`journal`] | records in an append-only file, and their recovery after a crash |

use std::collections::VecDeque;

use prost::bytes::Bytes;

use crate::Position;

pub mod journal;
mod members;
mod record;
#[cfg(test)]
mod tests;

pub use members::Members;
pub use record::RecordError;

/// What an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A command for the state machine; without data a new leader's first entry.
    Command,
    /// A change of the group's members.
    Members,
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub position: Position,
    /// What its data is.
    pub kind: EntryKind,
    /// The command, or the change.
    pub data: Bytes,
}

/// What a member has promised besides the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The newest term it knows of.
    pub term: u64,
    /// Whom it voted for in that term; 0: nobody.
    pub vote: u64,
    /// Up to which entry it knows the log to be committed.
    pub commit: u64,
}

/// What stands before the first entry of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base {
    /// The last entry that is not in the log any more.
    pub position: Position,
    /// The members by that entry.
    pub members: Members,
}

/// Something to be made durable. Records take effect in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An entry, which replaces the one of its index and all behind it, if there are any.
    Entry(Entry),
    /// The hard state.
    HardState(HardState),
    /// The log begins anew behind this: a snapshot was installed.
    Reset(Base),
    /// The log up to this is not needed any more: it is in a snapshot.
    Compact(Base),
}

/// A record that does not follow from those before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{record} does not follow a log from {first} to {last}")]
pub struct OutOfOrder {
    record: String,
    first: u64,
    last: u64,
}

/// A member's log, from its base on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    base: Base,
    entries: VecDeque<Entry>,
    hard_state: HardState,
    bytes: usize,
}

impl Log {
    /// The log of a group that begins with these members and a state at `base`: the [first](Position::FIRST)
    /// entry's, or, of a shard that was split off, the split's. All first members begin with the same. A node
    /// that joins later begins with [`Log::default`], and gets a snapshot.
    pub fn begin(base: Base) -> Self {
        let hard_state = HardState { term: base.position.term, vote: 0, commit: base.position.index };
        Self { base, hard_state, ..Self::default() }
    }

    /// What stands before its first entry.
    pub fn base(&self) -> &Base {
        &self.base
    }

    /// The index of its first entry, if it has any.
    pub fn first_index(&self) -> u64 {
        self.base.position.index + 1
    }

    /// The index of its last entry, or of its base.
    pub fn last_index(&self) -> u64 {
        self.base.position.index + self.entries.len() as u64
    }

    /// What was promised besides.
    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// Bytes of its entries' data.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The entry of this index.
    pub fn entry(&self, index: u64) -> Option<&Entry> {
        let place = index.checked_sub(self.first_index())?;
        self.entries.get(usize::try_from(place).ok()?)
    }

    /// The term of the entry of this index; of the base, too.
    pub fn term(&self, index: u64) -> Option<u64> {
        if index == self.base.position.index {
            return Some(self.base.position.term);
        }
        self.entry(index).map(|entry| entry.position.term)
    }

    /// The entries from this index on.
    pub fn entries_from(&self, index: u64) -> impl Iterator<Item = &Entry> {
        let place = index.saturating_sub(self.first_index());
        self.entries.range((place as usize).min(self.entries.len())..)
    }

    /// The entry before the last ones up to `index`, of which there are `entries` and `bytes` of data at most.
    pub(crate) fn before_last(&self, index: u64, entries: u64, bytes: usize) -> u64 {
        let mut left = bytes;
        let fits = |index: &u64| {
            let len = self.entry(*index).map_or(0, |entry| entry.data.len());
            let fits = len <= left;
            left = left.saturating_sub(len);
            fits
        };
        let first = self.first_index().max((index + 1).saturating_sub(entries));
        index - (first..=index).rev().take_while(fits).count() as u64
    }

    /// Corrects what a crash may have left of the hard state, for a member whose state has the entries up to
    /// `applied`: they are committed, and nothing is committed here that is not here.
    pub(crate) fn restart(&mut self, applied: u64) {
        let state = &mut self.hard_state;
        state.commit = state.commit.max(applied).min(self.base.position.index + self.entries.len() as u64);
        state.term = state.term.max(self.base.position.term);
    }

    /// All of it, as records that make it anew: to begin another file.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        let head = [Record::Reset(self.base.clone()), Record::HardState(self.hard_state)];
        head.into_iter().chain(self.entries.iter().cloned().map(Record::Entry))
    }

    /// Takes a record.
    ///
    /// # Errors
    /// If it does not follow from those before it. The log is as it was.
    pub fn take(&mut self, record: Record) -> Result<(), OutOfOrder> {
        if !self.follows(&record) {
            let (first, last) = (self.first_index(), self.last_index());
            return Err(OutOfOrder { record: record.to_string(), first, last });
        }
        match record {
            Record::Entry(entry) => {
                self.truncate(entry.position.index);
                self.bytes += entry.data.len();
                self.entries.push_back(entry);
            }
            Record::HardState(state) => self.hard_state = state,
            Record::Reset(base) => {
                self.truncate(0);
                self.base = base;
            }
            Record::Compact(base) => {
                while self.entries.front().is_some_and(|entry| entry.position.index <= base.position.index) {
                    self.bytes -= self.entries.pop_front().map_or(0, |entry| entry.data.len());
                }
                self.base = base;
            }
        }
        Ok(())
    }

    fn follows(&self, record: &Record) -> bool {
        match record {
            Record::Entry(Entry { position, .. }) => {
                let before = position.index.checked_sub(1).and_then(|index| self.term(index));
                before.is_some_and(|term| term <= position.term)
            }
            Record::HardState(state) => state.term >= self.hard_state.term,
            Record::Reset(base) => base.members.is_valid(),
            Record::Compact(base) => {
                base.members.is_valid() && self.term(base.position.index) == Some(base.position.term)
            }
        }
    }

    /// Drops the entries from this index on.
    fn truncate(&mut self, index: u64) {
        while self.last_index() >= index
            && let Some(entry) = self.entries.pop_back()
        {
            self.bytes -= entry.data.len();
        }
    }
}

impl std::fmt::Display for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Entry(entry) => write!(f, "entry {}", entry.position),
            Self::HardState(state) => write!(f, "the hard state of term {}", state.term),
            Self::Reset(base) => write!(f, "a reset to {}", base.position),
            Self::Compact(base) => write!(f, "a compaction to {}", base.position),
        }
    }
}
