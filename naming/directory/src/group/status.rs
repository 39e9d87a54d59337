//! How a member is.

use naming::NodeId;
use raft::StateRole;

use super::Group;
use crate::log::Members;

/// A member's part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the field's terms")]
pub enum Role {
    Leader,
    Follower,
    Candidate,
}

/// How a member is. Indices are of entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The member.
    pub id: NodeId,
    /// Its part.
    pub role: Role,
    /// Its term.
    pub term: u64,
    /// The leader it knows.
    pub leader: Option<NodeId>,
    /// The first entry that the log still has.
    pub first_index: u64,
    /// The last entry of the log.
    pub last_index: u64,
    /// What is committed, as far as it knows.
    pub committed: u64,
    /// What the state has.
    pub applied: u64,
    /// Bytes of the log.
    pub log_bytes: usize,
    /// The members of the group, as far as it knows.
    pub members: Members,
    /// Of the others, if it leads, in the order of their ids.
    pub progress: Vec<Progress>,
}

/// How far another member is, as the leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The member.
    pub node: NodeId,
    /// The last entry that it is known to have, durably.
    pub matched: u64,
    /// Whether it was heard of within an election timeout, about.
    pub active: bool,
    /// Whether a snapshot is on its way to it.
    pub snapshot: bool,
}

/// What a member refused and repeated since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Proposals that a limit refused.
    pub proposals_refused: u64,
    /// Peers' reads that were dropped since too many were under way. They try again.
    pub reads_dropped: u64,
    /// Rounds of reads that were not answered, and sent again.
    pub reads_retried: u64,
}

impl Group {
    /// How this member is.
    pub fn status(&self) -> Status {
        let raft = &self.raw.raft;
        let role = match raft.state {
            StateRole::Leader => Role::Leader,
            StateRole::Follower => Role::Follower,
            StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
        };
        Status {
            id: self.config.id,
            role,
            term: raft.term,
            leader: self.leader(),
            first_index: self.log().first_index(),
            last_index: raft.raft_log.last_index(),
            committed: raft.raft_log.committed,
            applied: self.applied,
            log_bytes: self.log().bytes(),
            members: self.members().clone(),
            progress: self.progress(),
        }
    }

    /// What this member refused and repeated.
    pub fn counters(&self) -> Counters {
        Counters { reads_retried: self.reads.retried(), ..self.counters }
    }

    fn progress(&self) -> Vec<Progress> {
        if !self.leads() {
            return Vec::new();
        }
        let others = self.raw.raft.prs().iter().filter(|(id, _)| **id != self.config.id.get());
        let mut progress: Vec<Progress> = others
            .filter_map(|(id, progress)| {
                Some(Progress {
                    node: NodeId::new(*id)?,
                    matched: progress.matched,
                    active: progress.recent_active,
                    snapshot: progress.state == raft::ProgressState::Snapshot,
                })
            })
            .collect();
        progress.sort_unstable_by_key(|progress| progress.node);
        progress
    }
}
