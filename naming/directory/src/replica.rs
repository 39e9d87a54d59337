//! A replica of a shard: a [member](Group) of its group, and the [state](Catalog) that the group's log makes.
//! What a shell drives, one for each shard it is in; how to is in the [group's](crate::group) docs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use naming::{NameRef, NodeId};
use prost::Message;
use prost::bytes::Bytes;

use crate::catalog::snapshot::SnapshotWriter;
use crate::catalog::{ApplyError, Catalog, Changes, LeaderClock};
use crate::group::{
    ChangeError, Config, Group, Incoming, MemberChange, OpenError, Outgoing, Persisted, ProposeError, ReadId,
    StepError, TooManyReads, TransferError, Unsynced,
};
use crate::log::{Base, Entry, EntryKind, Log};
use crate::{Position, proto};

/// A proposal, as whoever makes it calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What is to be done next.
#[derive(Debug, Default)]
#[must_use = "a replica that is not obeyed stands still"]
pub struct Output {
    /// Messages to be sent.
    pub send: Vec<Outgoing>,
    /// Records to be made durable, and to be given back to [`Replica::persisted`] then.
    pub persist: Option<Unsynced>,
    /// Replies to proposals.
    pub replies: Vec<(RequestId, proto::Reply)>,
    /// Proposals of which is not known whether they are executed. In a session they can be sent again, to the
    /// next leader.
    pub abandoned: Vec<RequestId>,
    /// Reads that the state may serve as it is now.
    pub reads: Vec<ReadId>,
    /// Reads that could not be confirmed in time.
    pub failed_reads: Vec<ReadId>,
    /// What changed, for those who watch.
    pub changes: Vec<Arc<Changes>>,
    /// A shard that was split off, which this node has to take up as a member of its group.
    pub split: Vec<SplitOff>,
    /// A snapshot of the state, to be made durable and noted by [`Replica::snapshot_taken`].
    pub snapshot: Option<SnapshotWriter>,
}

/// A shard that begins. Its state and its log, durable, are where its replicas start from.
#[derive(Debug)]
pub struct SplitOff {
    /// The state.
    pub state: Catalog,
    /// The log, with the members of the shard it was split from.
    pub log: Log,
}

/// One replica of one shard.
#[derive(Debug)]
pub struct Replica {
    group: Group,
    state: Catalog,
    /// Of the term in which it led last.
    clock: Option<(u64, LeaderClock)>,
    /// Proposals by their index, each with its term.
    waiting: BTreeMap<u64, (u64, RequestId)>,
    /// Proposals of an earlier term, of whose index another one was made since.
    lost: Vec<RequestId>,
    /// The states of snapshots that were announced, by their entries, until their places in the log are
    /// durable.
    incoming: BTreeMap<u64, Catalog>,
    idle_ticks: u32,
    pass_time_ticks: u32,
}

impl Output {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.send.is_empty()
            && self.persist.is_none()
            && self.replies.is_empty()
            && self.abandoned.is_empty()
            && self.reads.is_empty()
            && self.failed_reads.is_empty()
            && self.changes.is_empty()
            && self.split.is_empty()
            && self.snapshot.is_none()
    }
}

impl Replica {
    /// The replica whose disk holds `log` and a snapshot of `state`.
    ///
    /// # Errors
    /// If they do not belong together.
    pub fn open(config: Config, log: Log, state: Catalog) -> Result<Self, OpenError> {
        let group = Group::open(config, log, state.position())?;
        Ok(Self {
            group,
            state,
            clock: None,
            waiting: BTreeMap::new(),
            lost: Vec::new(),
            incoming: BTreeMap::new(),
            idle_ticks: 0,
            pass_time_ticks: config.pass_time_ticks,
        })
    }

    /// The state. For a linearizable read wait for [`Output::reads`].
    pub fn state(&self) -> &Catalog {
        &self.state
    }

    /// The member.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// Lets a tick pass. `now` is of a monotonic clock with any origin, always the same.
    pub fn tick(&mut self, now: Duration) {
        self.group.tick();
        self.idle_ticks += 1;
        if self.idle_ticks >= self.pass_time_ticks {
            let action = proto::command::Action::PassTime(proto::PassTime {});
            let command = proto::Command { action: Some(action), ..proto::Command::default() };
            // A follower does not, and a leader that is overloaded has others' commands to carry the time.
            let _ = self.submit(command, now);
        }
    }

    /// Takes a message.
    ///
    /// # Errors
    /// If it does not fit, or announces a snapshot, which [`Self::step_snapshot`] takes.
    pub fn step(&mut self, message: Incoming) -> Result<(), StepError> {
        if let Some(position) = message.snapshot() {
            return Err(StepError::Refused(format!("the snapshot of entry {position} is not here")));
        }
        self.group.step(message)
    }

    /// Takes a message that announces a snapshot, with the state that was restored from it, which is durable.
    ///
    /// # Errors
    /// If it is not the snapshot that was announced, or does not fit.
    pub fn step_snapshot(&mut self, message: Incoming, state: Catalog) -> Result<(), StepError> {
        let position = state.position();
        if message.snapshot() != Some(position) {
            return Err(StepError::Refused(format!("the snapshot of entry {position} is another one")));
        }
        self.group.step(message)?;
        // A log that has the entry already needs no snapshot of it.
        if self.group.takes_snapshot(position) {
            self.incoming.insert(position.index, state);
        }
        Ok(())
    }

    /// Proposes a command, stamped with the state's time.
    ///
    /// # Errors
    /// If it was not taken; it is certain not to be executed then.
    pub fn propose(
        &mut self,
        id: RequestId,
        command: proto::Command,
        now: Duration,
    ) -> Result<(), ProposeError> {
        if command.action.is_none() {
            // A later release's action. It would be lost in the log: what is not known is not written again.
            return Err(ProposeError::Unknown);
        }
        let position = self.submit(command, now)?;
        let lost = self.waiting.insert(position.index, (position.term, id));
        self.lost.extend(lost.map(|(_, id)| id));
        Ok(())
    }

    /// Proposes that the names from `at` on become a shard of their own. Whether that comes about, [`Output::split`] tells.
    ///
    /// # Errors
    /// If it was not taken.
    pub fn split(&mut self, at: NameRef<'_>, now: Duration) -> Result<Position, ProposeError> {
        let split = proto::Split { at: Bytes::copy_from_slice(at.as_bytes()) };
        let action = Some(proto::command::Action::Split(split));
        self.submit(proto::Command { action, ..proto::Command::default() }, now)
    }

    /// Asks for a linearizable read.
    ///
    /// # Errors
    /// If too many are under way.
    pub fn read(&mut self, id: ReadId) -> Result<(), TooManyReads> {
        self.group.read_index(id)
    }

    /// Proposes a change of members.
    ///
    /// # Errors
    /// If it was not taken.
    pub fn change_members(&mut self, changes: &[MemberChange]) -> Result<Position, ChangeError> {
        self.group.change_members(changes)
    }

    /// Hands leadership to another voter.
    ///
    /// # Errors
    /// If this replica does not lead, or the other cannot.
    pub fn transfer_leader(&mut self, to: NodeId) -> Result<(), TransferError> {
        self.group.transfer_leader(to)
    }

    /// Notes that a peer could not be reached with the last message.
    pub fn report_unreachable(&mut self, peer: NodeId) {
        self.group.report_unreachable(peer);
    }

    /// Notes whether an announced snapshot reached its peer.
    pub fn report_snapshot(&mut self, peer: NodeId, delivered: bool) {
        self.group.report_snapshot(peer, delivered);
    }

    /// Notes that the snapshot of this entry is durable.
    pub fn snapshot_taken(&mut self, position: Position) {
        self.group.snapshot_taken(position);
    }

    /// Notes that a snapshot failed.
    pub fn snapshot_failed(&mut self) {
        self.group.snapshot_failed();
    }

    /// Notes that records are durable; gives the messages that waited for it.
    pub fn persisted(&mut self, unsynced: Unsynced) -> Vec<Outgoing> {
        let Persisted { send, install } = self.group.persisted(unsynced);
        if let Some(position) = install {
            let later = self.incoming.split_off(&(position.index + 1));
            if let Some(state) = std::mem::replace(&mut self.incoming, later).remove(&position.index) {
                self.state = state;
                self.group.applied(position.index);
            }
        }
        send
    }

    /// What is to be done. To be asked after anything happened, until there is nothing.
    ///
    /// # Errors
    /// If this release must not go on with this shard. The replica is of no use then.
    pub fn poll(&mut self) -> Result<Output, ApplyError> {
        self.group.note_names(self.state.names() as u64);
        let actions = self.group.ready();
        let mut output = Output {
            send: actions.send,
            persist: actions.persist,
            reads: actions.reads,
            failed_reads: actions.failed_reads,
            ..Output::default()
        };
        let last = actions.committed.last().map(|entry| entry.position.index);
        for entry in actions.committed {
            self.apply(entry, &mut output)?;
        }
        if let Some(last) = last {
            self.group.applied(last);
        }
        self.abandon(&mut output);
        if actions.take_snapshot {
            output.snapshot = Some(SnapshotWriter::new(&self.state));
        }
        Ok(output)
    }

    fn submit(&mut self, mut command: proto::Command, now: Duration) -> Result<Position, ProposeError> {
        let term = self.group.term();
        let clock = match self.clock {
            Some((led, clock)) if led == term => clock,
            _ => LeaderClock::new(self.state.time(), now),
        };
        command.time_ms = clock.stamp(now).0;
        let position = self.group.propose(&Bytes::from(command.encode_to_vec()))?;
        self.clock = Some((term, clock));
        self.idle_ticks = 0;
        Ok(position)
    }

    fn apply(&mut self, entry: Entry, output: &mut Output) -> Result<(), ApplyError> {
        let position = entry.position;
        let request = self.waiting.remove(&position.index);
        if entry.kind == EntryKind::Members || entry.data.is_empty() {
            self.state.skip(position);
        } else {
            let applied = self.state.apply(position, entry.data)?;
            if !applied.changes.events.is_empty() {
                output.changes.push(applied.changes);
            }
            if let Some(state) = applied.split {
                let members = self.group.members_at(position.index).clone();
                output.split.push(SplitOff { state: *state, log: Log::begin(Base { position, members }) });
            }
            if let Some((_, id)) = request.filter(|(term, _)| *term == position.term) {
                output.replies.push((id, applied.reply));
                return Ok(());
            }
        }
        // Another leader's entry is where the proposal would have been.
        output.abandoned.extend(request.map(|(_, id)| id));
        Ok(())
    }

    /// Gives up on proposals of a term in which this replica leads no more.
    fn abandon(&mut self, output: &mut Output) {
        let term = self.group.term_led();
        let lost = self.waiting.extract_if(.., |_, (proposed, _)| Some(*proposed) != term);
        output.abandoned.extend(lost.map(|(_, (_, id))| id).chain(self.lost.drain(..)));
    }
}

#[cfg(test)]
mod tests;
