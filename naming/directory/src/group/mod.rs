//! A member of a Raft group, without I/O: what happens goes in, what is to be done comes out.
//!
//! The consensus is `raft` (raft-rs); no type of it leaves this module. What this adds is an order of things
//! that cannot be got wrong by accident, and a check of everything that comes from outside before `raft`,
//! which panics on it, sees it.
//!
//! # The loop of a shell
//!
//! | what happens | call |
//! |---|---|
//! | a tick passed | [`Group::tick`] |
//! | bytes came from a peer | [`Incoming::decode`], [`Group::step`] |
//! | a command or a read is wanted | [`Group::propose`], [`Group::read_index`] |
//! | members or the leader are to change | [`Group::change_members`], [`Group::transfer_leader`] |
//! | after any of these | [`Group::ready`], until its [`Actions`] are empty |
//! | what it says to write is durable | [`Group::persisted`] |
//! | entries it handed out are in the state | [`Group::applied`] |
//! | a snapshot of the state is durable | [`Group::snapshot_taken`] |
//!
//! # The order
//!
//! A member keeps its word by having it on disk before it gives it. Messages that promise something (that
//! entries are here, that a vote was cast) are inside [`Unsynced`], the value that also has the records to
//! write, and only [`Group::persisted`], which takes it, gives them out. A leader's appends promise nothing
//! but that it leads, and go out at once, while its own disk writes (Ongaro's thesis, section 10.2.1), unless
//! its *term or vote* is not durable yet: where one voter is a majority, `raft` would let it send entries of
//! a term that a crash makes it forget, and use again for others. Entries are handed out to be applied only
//! when they are committed *and* durable here.
//!
//! # Deterministic
//!
//! `raft` draws election timeouts at random; they are replaced by a function of the [seed](Config::seed) and
//! the term. So a simulation is repeated exactly by its seed.
//!
//! # Bounded
//!
//! Proposals, uncommitted bytes, messages under way, reads under way and the log's bytes have limits in
//! [`Config`]; what is beyond them is refused with an error. A follower that is behind the log gets a
//! snapshot.

use std::collections::VecDeque;

use naming::NodeId;
use prost::bytes::Bytes;
use raft::eraftpb::MessageType;
use raft::{RawNode, StateRole};

use crate::Position;
use crate::log::{Base, HardState, Log, Members, Record};

mod change;
mod config;
mod error;
mod message;
mod reads;
mod ready;
mod status;
mod store;
#[cfg(test)]
mod tests;

pub use change::MemberChange;
pub use config::{Config, Retired};
pub use error::{ChangeError, Keeps, OpenError, ProposeError, StepError, TooManyReads, TransferError};
pub use message::{Incoming, MAX_MESSAGE_LEN, MessageError, Outgoing};
pub use reads::ReadId;
pub use ready::{Actions, Persisted, Unsynced};
pub use status::{Counters, Progress, Role, Status};

use reads::Reads;
use store::{Snapshot, Store};

/// One member of one group.
pub struct Group {
    config: Config,
    raw: RawNode<Store>,
    reads: Reads,
    /// The members from each of these entries on, the base's first.
    members: VecDeque<(u64, Members)>,
    /// Up to which entry the state was when this started.
    restored: u64,
    /// Up to which entry the state is.
    applied: u64,
    /// To be written with the next records.
    records: Vec<Record>,
    /// Of `raft`'s readies: the last one, the last that changed the term or the vote, and the last that is
    /// durable.
    ready: u64,
    promised: u64,
    durable: u64,
    /// What was last written of the hard state.
    written: HardState,
    /// Whom reads were last sent to, and in which term.
    leader: (u64, u64),
    /// Up to which entry the state will be once the snapshot that the log begins with is installed.
    installing: u64,
    snapshot_asked: bool,
    /// Of the state.
    names: u64,
    counters: Counters,
}

impl Group {
    /// A member whose disk holds `log` and a snapshot of the state at entry `applied`, both durably. A group
    /// begins with a snapshot, too: of the state at its [first entry](Position::FIRST). Only a node that
    /// joins has none.
    ///
    /// # Errors
    /// If the log and the state do not belong together.
    pub fn open(config: Config, mut log: Log, applied: Position) -> Result<Self, OpenError> {
        config.check()?;
        if log.term(applied.index) != Some(applied.term) {
            let (first, last) = (log.first_index(), log.last_index());
            return Err(OpenError::NotTogether { snapshot: applied, first, last });
        }
        log.restart(applied.index);
        let base = log.base().clone();
        let hard_state = log.hard_state();
        let store = Store { log, snapshot: None, wanted: std::cell::Cell::new(false) };
        let raw = RawNode::new(
            &config.to_raft(base.position.index),
            store,
            &slog::Logger::root(slog::Discard, slog::o!()),
        )
        .map_err(|error| OpenError::Settings(error.to_string()))?;
        let mut group = Self {
            raw,
            reads: Reads::new(&config),
            members: VecDeque::from([(base.position.index, base.members)]),
            restored: applied.index,
            applied: base.position.index,
            records: Vec::new(),
            ready: 0,
            promised: 0,
            durable: 0,
            written: hard_state,
            leader: (0, 0),
            installing: 0,
            snapshot_asked: false,
            names: 0,
            counters: Counters::default(),
            config,
        };
        group.note_restored();
        group.settle();
        Ok(group)
    }

    /// Lets a tick pass.
    pub fn tick(&mut self) {
        self.reads.tick();
        if self.leads() || self.may_campaign() {
            self.raw.tick();
        }
        self.leave_joint();
        self.settle();
    }

    /// Takes a message from a peer.
    ///
    /// # Errors
    /// If it does not fit this member's log, or was sent to another one. Nothing happened.
    pub fn step(&mut self, message: Incoming) -> Result<(), StepError> {
        self.check(&message)?;
        match message.kind() {
            MessageType::MsgReadIndex if self.raw.raft.pending_read_count() >= self.config.max_reads => {
                self.counters.reads_dropped += 1;
                return Ok(());
            }
            // Leadership is not handed to a member that cannot take it: the leader notices.
            MessageType::MsgTimeoutNow if !self.may_campaign() => return Ok(()),
            // It may have been a member once, and have given up what it had: who asks may be one of that time, to whom it
            // would count as a voter that knows of nothing newer.
            _ if message.wants_vote() && !self.may_vote() => return Ok(()),
            _ => {}
        }
        if message.kind() == MessageType::MsgAppendResponse {
            self.tell_commits_unless_more_than(message.message.index);
        }
        let stepped = self.raw.step(message.message);
        self.settle();
        match stepped {
            // From a node that was removed, say.
            Ok(()) | Err(raft::Error::StepPeerNotFound) => Ok(()),
            Err(error) => Err(StepError::Refused(error.to_string())),
        }
    }

    /// Proposes a command. It is at the returned place if an entry of that index *and* term is handed out; if
    /// another term's entry is, it never will be.
    ///
    /// # Errors
    /// If it was not taken.
    ///
    /// # Panics
    /// If the command is empty: such an entry is a new leader's first.
    pub fn propose(&mut self, command: &Bytes) -> Result<Position, ProposeError> {
        assert!(!command.is_empty(), "an empty command");
        let refused = self.refusal(command.len()).or_else(|| {
            let proposed = self.raw.propose(Vec::new(), command.to_vec());
            proposed.is_err().then_some(ProposeError::Overloaded)
        });
        if let Some(error) = refused {
            self.counters.proposals_refused += u64::from(!matches!(error, ProposeError::NotLeader { .. }));
            return Err(error);
        }
        Ok(self.last_position())
    }

    /// Asks when a read may be served: as soon as [`Actions::reads`] has `id`, the state is one that no older
    /// answer was given from since this call.
    ///
    /// # Errors
    /// If too many reads are under way.
    pub fn read_index(&mut self, id: ReadId) -> Result<(), TooManyReads> {
        self.reads.ask(id)
    }

    /// Hands leadership to another voter. It fails silently if that one does not take over within an election
    /// timeout.
    ///
    /// # Errors
    /// If this member does not lead, or the other cannot.
    pub fn transfer_leader(&mut self, to: NodeId) -> Result<(), TransferError> {
        if !self.leads() {
            return Err(TransferError::NotLeader { leader: self.leader() });
        }
        if !self.members().voters.contains(&to) {
            return Err(TransferError::NotAVoter(to));
        }
        self.raw.transfer_leader(to.get());
        self.settle();
        Ok(())
    }

    /// Notes that a peer could not be reached with the last message.
    pub fn report_unreachable(&mut self, peer: NodeId) {
        self.raw.report_unreachable(peer.get());
    }

    /// Notes whether the snapshot that [`Outgoing::snapshot`] announced reached its peer.
    pub fn report_snapshot(&mut self, peer: NodeId, delivered: bool) {
        let status = if delivered { raft::SnapshotStatus::Finish } else { raft::SnapshotStatus::Failure };
        self.raw.report_snapshot(peer.get(), status);
    }

    /// Notes that the state has the entries that were handed out, up to this one; or the snapshot that was
    /// installed.
    ///
    /// # Panics
    /// If they were not handed out.
    pub fn applied(&mut self, index: u64) {
        if index > self.applied {
            self.applied = index;
            self.raw.advance_apply_to(index);
            self.leave_joint();
            self.settle();
        }
    }

    /// Notes how many names the state has.
    pub fn note_names(&mut self, names: u64) {
        self.names = names;
    }

    /// Notes that a snapshot of the state at this entry is durable: followers that are far behind get it, and
    /// the log before it goes.
    ///
    /// # Panics
    /// If the state was never there.
    pub fn snapshot_taken(&mut self, position: Position) {
        assert!(position.index <= self.applied, "a snapshot of {position}, behind {}", self.applied);
        self.snapshot_asked = false;
        if position.index > self.snapshot_index() {
            self.keep_snapshot(position);
            let Config { retained_entries, retained_bytes, .. } = self.config;
            self.compact(self.log().before_last(position.index, retained_entries, retained_bytes));
        }
    }

    /// Notes that a snapshot that was asked for failed: it is asked for again.
    pub fn snapshot_failed(&mut self) {
        self.snapshot_asked = false;
    }

    /// Whether the log is going to begin anew behind this snapshot, which was just announced.
    pub fn takes_snapshot(&self, position: Position) -> bool {
        let metadata = self.raw.snap().and_then(|snapshot| snapshot.metadata.as_ref());
        metadata.is_some_and(|metadata| (metadata.term, metadata.index) == (position.term, position.index))
    }

    /// Its term.
    pub fn term(&self) -> u64 {
        self.raw.raft.term
    }

    /// Its term, if it leads.
    pub fn term_led(&self) -> Option<u64> {
        self.leads().then(|| self.term())
    }

    /// The leader it knows of.
    pub fn leader(&self) -> Option<NodeId> {
        NodeId::new(self.raw.raft.leader_id)
    }

    /// What is to be remembered if this node gives the group up: it was told that it is no member any more, by entry `through`
    /// if that is not 0.
    ///
    /// # Errors
    /// If it is a member, as far as it knows. If entries are told: also if it has later ones, or hears a leader; then it may be
    /// a member again.
    pub fn give_up(&self, through: u64) -> Result<Retired, Keeps> {
        let (is_member, last) = (self.members().all().contains(&self.config.id), self.log().last_index());
        match self.leader() {
            Some(leader) if is_member || (through != 0 && self.hears_leader()) => Err(Keeps::Led(leader)),
            _ if through != 0 && last > through => Err(Keeps::Later(last)),
            _ => Ok(self.retired()),
        }
    }

    /// Whether a leader was heard within the time after which a voter would look for another one: leaders talk to members
    /// only, also to those who do not know yet that they are.
    fn hears_leader(&self) -> bool {
        let raft = &self.raw.raft;
        self.leader().is_some() && raft.election_elapsed < raft.randomized_election_timeout()
    }

    /// The log.
    pub fn log(&self) -> &Log {
        &self.raw.store().log
    }

    /// The members, by the entries that were handed out.
    pub fn members(&self) -> &Members {
        self.members_at(u64::MAX)
    }

    /// Once the state is where it was restored to, the snapshot it was restored from is one that followers
    /// may get.
    fn note_restored(&mut self) {
        let restored = self.restored;
        if self.applied >= restored
            && restored > self.snapshot_index()
            && let Some(term) = self.log().term(restored)
        {
            self.keep_snapshot(Position::new(term, restored));
        }
    }

    fn keep_snapshot(&mut self, position: Position) {
        let members = self.members_at(position.index).clone();
        let store = self.raw.mut_store();
        store.snapshot = Some(Snapshot { position, members });
        store.wanted.set(false);
    }

    /// The entry of the newest snapshot.
    fn snapshot_index(&self) -> u64 {
        self.raw.store().snapshot.as_ref().map_or(0, |snapshot| snapshot.position.index)
    }

    fn compact(&mut self, index: u64) {
        if index <= self.log().base().position.index {
            return;
        }
        let Some(term) = self.log().term(index) else { return };
        let base = Base { position: Position::new(term, index), members: self.members_at(index).clone() };
        self.write(Record::Compact(base));
        while self.members.get(1).is_some_and(|(from, _)| *from <= index) {
            self.members.pop_front();
        }
    }

    /// Takes a record into the log in memory, and has it written.
    fn write(&mut self, record: Record) {
        let taken = self.raw.mut_store().log.take(record.clone());
        debug_assert!(taken.is_ok(), "{taken:?}");
        self.records.push(record);
    }

    /// The members from an entry on that was handed out and is not compacted.
    pub fn members_at(&self, index: u64) -> &Members {
        let after = self.members.partition_point(|(from, _)| *from <= index);
        &self.members[after.saturating_sub(1)].1
    }

    fn leads(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    /// Whether `raft` may begin an election. It looks for changes of members in entries that the state does
    /// not have yet, which are not in the log any more while a snapshot is installed; and where there is a
    /// single voter, which leads as soon as it wants to, it takes for granted that all of the log is durable.
    fn may_campaign(&self) -> bool {
        let alone = self.raw.raft.prs().is_singleton() && self.raw.raft.promotable();
        let log = &self.raw.raft.raft_log;
        self.may_vote() && self.applied >= self.installing && !(alone && log.persisted < log.last_index())
    }

    /// Whether it has what it once had and promised: its vote is then worth what others take it for. Who never had anything
    /// may vote: members of a shard that was split off, whose part of the log before the split comes late, are needed for it.
    fn may_vote(&self) -> bool {
        self.end() >= self.config.retired.last
    }

    fn end(&self) -> Position {
        let index = self.log().last_index();
        Position::new(self.log().term(index).unwrap_or_default(), index)
    }

    fn retired(&self) -> Retired {
        let had = self.config.retired;
        Retired { term: self.term().max(had.term), last: self.end().max(had.last) }
    }

    fn last_position(&self) -> Position {
        Position::new(self.raw.raft.term, self.raw.raft.raft_log.last_index())
    }

    fn refusal(&self, len: usize) -> Option<ProposeError> {
        let bytes = self.log().bytes();
        match () {
            () if !self.leads() => Some(ProposeError::NotLeader { leader: self.leader() }),
            () if self.raw.raft.lead_transferee.is_some() => Some(ProposeError::Transferring),
            () if len > self.config.max_proposal_bytes => {
                Some(ProposeError::TooLarge { len, limit: self.config.max_proposal_bytes })
            }
            () if bytes >= self.config.max_log_bytes => Some(ProposeError::LogFull { bytes }),
            () => None,
        }
    }

    /// What `raft` would panic on, or be misled by.
    fn check(&self, message: &Incoming) -> Result<(), StepError> {
        let (to, id, from) = (message.to(), self.config.id, message.from());
        if to != id {
            return Err(StepError::Misdelivered { to, id });
        }
        let last = self.raw.raft.raft_log.last_index();
        let wire = &message.message;
        match message.kind() {
            MessageType::MsgHeartbeat if wire.term >= self.term() && wire.commit > last => {
                Err(StepError::LostLog { leader: from, acknowledged: wire.commit, last })
            }
            MessageType::MsgAppendResponse
                if self.term_led() == Some(wire.term) && !wire.reject && wire.index > last =>
            {
                Err(StepError::BeyondTheLog { from, index: wire.index, last })
            }
            _ => Ok(()),
        }
    }

    /// Puts back the election timeout that `raft` may have drawn anew.
    fn settle(&mut self) {
        let timeout = self.config.election_timeout(self.raw.raft.term);
        if self.raw.raft.randomized_election_timeout() != timeout {
            self.raw.raft.set_randomized_election_timeout(timeout);
        }
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("status", &self.status()).finish_non_exhaustive()
    }
}
