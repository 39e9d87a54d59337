//! The log as `raft` asks for it.

use std::cell::Cell;

use naming::NodeId;
use raft::eraftpb;
use raft::{GetEntriesContext, RaftState, StorageError};

use crate::Position;
use crate::log::{Entry, EntryKind, Log, Members};

/// A snapshot of the state that the shell holds, durably.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) position: Position,
    pub(super) members: Members,
}

/// Everything is in memory, so nothing here fails for a disk's sake.
pub(super) struct Store {
    pub(super) log: Log,
    pub(super) snapshot: Option<Snapshot>,
    /// Whether a follower needs a newer snapshot than there is.
    pub(super) wanted: Cell<bool>,
}

impl raft::Storage for Store {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let state = self.log.hard_state();
        let hard_state = eraftpb::HardState { term: state.term, vote: state.vote, commit: state.commit };
        Ok(RaftState { hard_state, conf_state: conf_state_of(&self.log.base().members) })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<eraftpb::Entry>> {
        if low < self.log.first_index() {
            return Err(StorageError::Compacted.into());
        }
        let limit = max_size.into().unwrap_or(u64::MAX);
        let mut bytes = 0;
        let entries = self.log.entries_from(low).take_while(|entry| entry.position.index < high);
        // At least one, however large.
        let fitting = entries.take_while(|entry| {
            let first = bytes == 0;
            bytes += entry.data.len() as u64 + ENTRY_OVERHEAD;
            first || bytes <= limit
        });
        Ok(fitting.map(entry_of).collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        let missing =
            if index < self.log.first_index() { StorageError::Compacted } else { StorageError::Unavailable };
        self.log.term(index).ok_or(missing.into())
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.log.first_index())
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.log.last_index())
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<eraftpb::Snapshot> {
        // One from before a member was added would not tell it that it is one.
        let useful = self.snapshot.as_ref().filter(|snapshot| {
            let position = snapshot.position;
            let known = NodeId::new(to).is_some_and(|to| snapshot.members.all().contains(&to));
            known && position.index >= request_index && position.index >= self.log.base().position.index
        });
        let Some(snapshot) = useful else {
            self.wanted.set(true);
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        };
        let metadata = eraftpb::SnapshotMetadata {
            conf_state: Some(conf_state_of(&snapshot.members)),
            index: snapshot.position.index,
            term: snapshot.position.term,
        };
        Ok(eraftpb::Snapshot { data: Vec::new(), metadata: Some(metadata) })
    }
}

/// Bytes of an encoded entry beside its data, about.
const ENTRY_OVERHEAD: u64 = 24;

pub(super) fn entry_of(entry: &Entry) -> eraftpb::Entry {
    let kind = match entry.kind {
        EntryKind::Command => eraftpb::EntryType::EntryNormal,
        EntryKind::Members => eraftpb::EntryType::EntryConfChangeV2,
    };
    let Position { term, index } = entry.position;
    let data = entry.data.to_vec();
    eraftpb::Entry { entry_type: kind.into(), term, index, data, ..eraftpb::Entry::default() }
}

/// The entry in `raft`'s form; its kind was checked when it came in.
pub(super) fn entry_from(entry: eraftpb::Entry) -> Entry {
    let command = entry.entry_type == i32::from(eraftpb::EntryType::EntryNormal);
    Entry {
        position: Position::new(entry.term, entry.index),
        kind: if command { EntryKind::Command } else { EntryKind::Members },
        data: entry.data.into(),
    }
}

pub(super) fn conf_state_of(members: &Members) -> eraftpb::ConfState {
    let numbers = |nodes: &std::collections::BTreeSet<NodeId>| nodes.iter().map(|node| node.get()).collect();
    eraftpb::ConfState {
        voters: numbers(&members.voters),
        learners: numbers(&members.learners),
        voters_outgoing: numbers(&members.outgoing),
        learners_next: numbers(&members.learners_next),
        auto_leave: false,
    }
}

/// The members that `state` says, if a group can be like that.
pub(super) fn members_of(state: &eraftpb::ConfState) -> Option<Members> {
    Members::of_numbers(
        [&state.voters, &state.learners, &state.voters_outgoing, &state.learners_next].map(Vec::as_slice),
    )
}
