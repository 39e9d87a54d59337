//! What is to be done, and in which order.

use raft::eraftpb;

use super::Group;
use super::message::{Outgoing, decode_change};
use super::reads::ReadId;
use super::store::{Snapshot, entry_from, members_of};
use crate::Position;
use crate::log::{Base, Entry, EntryKind, HardState, Record};

/// What is to be done next. The parts may be done in any order, or at the same time.
#[derive(Debug, Default)]
#[must_use = "a member that is not obeyed stands still"]
pub struct Actions {
    /// Messages that promise nothing that is not durable: to be sent.
    pub send: Vec<Outgoing>,
    /// Records to be written and synced, with the messages that wait for that.
    pub persist: Option<Unsynced>,
    /// Entries to be applied to the state, in order; committed, and durable here.
    pub committed: Vec<Entry>,
    /// Reads that the state may serve as it is.
    pub reads: Vec<ReadId>,
    /// Reads that could not be confirmed in time: there is no leader, or no majority.
    pub failed_reads: Vec<ReadId>,
    /// Whether a snapshot of the state should be taken, made durable and [noted](Group::snapshot_taken).
    pub take_snapshot: bool,
}

/// Records that are not durable yet, and what was promised on their strength.
#[derive(Debug)]
#[must_use = "what it promises is sent once it was given back to `Group::persisted`"]
pub struct Unsynced {
    number: u64,
    records: Vec<Record>,
    promised: Vec<Outgoing>,
    installed: Option<Position>,
    must_sync: bool,
}

impl Unsynced {
    /// To be written, in this order. May be empty: then it waits for what was written before.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Whether they, and all before them, must be synced before this is given back. If not, writing is
    /// enough. Where there are no records, nothing is left to do once all before were given back.
    pub fn must_sync(&self) -> bool {
        self.must_sync
    }
}

/// What may happen now that records are durable.
#[derive(Debug, Default)]
#[must_use = "promises have to be sent to count"]
pub struct Persisted {
    /// To be sent.
    pub send: Vec<Outgoing>,
    /// The state is to be replaced by the snapshot of this entry, which came with the message that announced
    /// it, and that is [`applied`](Group::applied) then.
    pub install: Option<Position>,
}

impl Actions {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.send.is_empty()
            && self.persist.is_none()
            && self.committed.is_empty()
            && self.reads.is_empty()
            && self.failed_reads.is_empty()
            && !self.take_snapshot
    }
}

impl Group {
    /// What is to be done. To be asked again until there is nothing.
    pub fn ready(&mut self) -> Actions {
        self.begin_reads();
        let mut actions = Actions::default();
        if self.raw.has_ready() || !self.records.is_empty() {
            self.collect(&mut actions);
        }
        actions.reads = self.reads.served(self.applied);
        actions.failed_reads = self.reads.failed();
        actions.take_snapshot = self.wants_snapshot();
        self.settle();
        actions
    }

    /// Notes that these records, and all that were handed out before them, are durable.
    pub fn persisted(&mut self, unsynced: Unsynced) -> Persisted {
        let entry = |record: &Record| match record {
            Record::Entry(entry) => Some(entry.position.index),
            _ => None,
        };
        self.tell_commits_unless_more_than(unsynced.records.iter().rev().find_map(entry).unwrap_or(u64::MAX));
        self.raw.on_persist_ready(unsynced.number);
        self.durable = self.durable.max(unsynced.number);
        self.settle();
        Persisted { send: unsynced.promised, install: unsynced.installed }
    }

    /// Followers learn what is committed with the next entries, if a leader has more of them than `acknowledged`, which is what
    /// may be committed now: the rest will be, or its commitment be told with heartbeats. Told by itself it costs a message to
    /// each follower, and an answer.
    pub(super) fn tell_commits_unless_more_than(&mut self, acknowledged: u64) {
        let more = self.raw.raft.raft_log.last_index() > acknowledged;
        self.raw.skip_bcast_commit(more);
    }

    fn collect(&mut self, actions: &mut Actions) {
        let mut ready = self.raw.ready();
        let number = ready.number();
        let (early, promised) = (ready.take_messages(), ready.take_persisted_messages());
        for state in ready.take_read_states() {
            self.reads.confirm(&state.request_ctx, state.index);
        }
        let installed = self.reset(ready.snapshot());
        let records = self.take_records(&mut ready);
        let committed = ready.take_committed_entries();
        let waiting = self.durable < self.ready;
        let states = |record: &Record| matches!(record, Record::HardState(_));
        let must_sync = ready.must_sync() || waiting || records.iter().any(states);
        // By now the log in memory has what `raft` is going to look for there.
        self.raw.advance_append_async(ready);
        self.ready = number;
        let nothing_to_wait_for = records.is_empty() && !waiting;
        let (send, promised): (Vec<_>, Vec<_>) = match self.promised <= self.durable {
            true if nothing_to_wait_for => (early.into_iter().chain(promised).collect(), Vec::new()),
            true => (early, promised),
            false => (Vec::new(), early.into_iter().chain(promised).collect()),
        };
        let outgoing = |messages: Vec<eraftpb::Message>| messages.iter().filter_map(Outgoing::of).collect();
        actions.send = outgoing(send);
        if nothing_to_wait_for {
            self.raw.on_persist_ready(number);
            self.durable = number;
        } else {
            let promised = outgoing(promised);
            actions.persist = Some(Unsynced { number, records, promised, installed, must_sync });
        }
        actions.committed = self.hand_out(&committed);
    }

    /// What is to be written.
    fn take_records(&mut self, ready: &mut raft::Ready) -> Vec<Record> {
        let mut records = std::mem::take(&mut self.records);
        let state = self.hard_state();
        let changed = (state.term, state.vote) != (self.written.term, self.written.vote);
        // What is committed a leader tells again: alone it is not worth a write, unless it is a change of members. With entries
        // it is, and safety hangs on it: what makes sure that a member that has the end of a change of members knows of its
        // beginning is that the leader's message that brought the one said that the other is committed.
        let accompanied = !ready.entries().is_empty() || !records.is_empty();
        if changed || (accompanied && state != self.written) {
            // Before the entries, so that a torn write leaves none of a later term than the state's.
            self.keep(Record::HardState(state), &mut records);
            self.written = state;
        }
        if changed {
            self.promised = ready.number();
        }
        for entry in ready.take_entries() {
            self.keep(Record::Entry(entry_from(entry)), &mut records);
        }
        records
    }

    /// Has it written what is committed, by itself: a change of members is. A member of an idle group that starts again would
    /// else need a majority of the members before the change as well, and those who are none any more give up what they had.
    fn note_commit(&mut self) {
        let state = HardState { commit: self.hard_state().commit, ..self.written };
        if state != self.written {
            self.write(Record::HardState(state));
            self.written = state;
        }
    }

    fn hard_state(&self) -> HardState {
        let state = self.raw.raft.hard_state();
        HardState { term: state.term, vote: state.vote, commit: state.commit }
    }

    /// Takes a record into the log in memory, and into what is written.
    fn keep(&mut self, record: Record, records: &mut Vec<Record>) {
        self.write(record);
        records.append(&mut self.records);
    }

    /// Begins the log anew behind a snapshot that a leader sent.
    fn reset(&mut self, snapshot: &eraftpb::Snapshot) -> Option<Position> {
        let metadata = snapshot.metadata.as_ref().filter(|metadata| metadata.index > 0)?;
        // It was checked when it came in.
        let members = metadata.conf_state.as_ref().and_then(members_of).unwrap_or_default();
        let position = Position::new(metadata.term, metadata.index);
        self.members = [(position.index, members.clone())].into();
        self.installing = position.index;
        self.write(Record::Reset(Base { position, members: members.clone() }));
        let store = self.raw.mut_store();
        store.snapshot = Some(Snapshot { position, members });
        store.wanted.set(false);
        Some(position)
    }

    /// Entries to be applied: those that the state does not have since it was restored. Changes of members
    /// are this member's own business, too.
    fn hand_out(&mut self, committed: &[eraftpb::Entry]) -> Vec<Entry> {
        let mut entries = Vec::with_capacity(committed.len());
        for entry in committed {
            let Some(entry) = self.log().entry(entry.index).cloned() else { continue };
            if entry.kind == EntryKind::Members {
                self.change(&entry);
            }
            if entry.position.index > self.restored {
                entries.push(entry);
            }
        }
        // What the state was restored with counts as applied.
        let restored = committed.last().map_or(0, |last| last.index.min(self.restored));
        self.applied(restored);
        self.note_restored();
        entries
    }

    fn change(&mut self, entry: &Entry) {
        // A member that took the entry in checked it.
        let Ok(change) = decode_change(&entry.data) else { return };
        // What does not fit the members at this place fits them on no member: all ignore it.
        let Ok(state) = self.raw.apply_conf_change(&change) else { return };
        let Some(members) = members_of(&state) else { return };
        let votes = members.voters.contains(&self.config.id) || members.outgoing.contains(&self.config.id);
        self.members.push_back((entry.position.index, members));
        self.note_commit();
        if self.leads() && !votes {
            // It was removed, and cannot lead without a place in the group.
            let term = self.raw.raft.term;
            self.raw.raft.become_follower(term, raft::INVALID_ID);
        }
    }

    fn begin_reads(&mut self) {
        let leader = (self.raw.raft.leader_id, self.raw.raft.term);
        if leader != self.leader {
            self.leader = leader;
            self.reads.leader_changed();
        }
        // A leader that has committed nothing in its term drops reads.
        let answered = leader.0 != 0 && (!self.leads() || self.raw.raft.commit_to_current_term());
        if answered && let Some(context) = self.reads.begin_round() {
            self.raw.read_index(context);
        }
    }

    fn wants_snapshot(&mut self) -> bool {
        let news = self.applied.saturating_sub(self.snapshot_index());
        let store = self.raw.store();
        let due = store.wanted.get()
            || news >= self.config.snapshot_entries.max(self.names)
            || store.log.bytes() >= self.config.snapshot_bytes;
        let asks = due && news > 0 && self.applied >= self.restored && !self.snapshot_asked;
        self.snapshot_asked |= asks;
        asks
    }
}
