//! Changes of a group's members, by joint consensus (Ongaro and Ousterhout, "In search of an understandable
//! consensus algorithm", 2014, section 6): between two sets of voters both decide. The leader, whoever it is
//! by then, ends that as soon as the first half of the change is applied.

use naming::NodeId;
use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2};

use super::Group;
use super::error::ChangeError;
use crate::Position;

/// One part of a change. All parts take effect together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// The node gets the log and does not vote.
    AddLearner(NodeId),
    /// The node, a learner until now, votes.
    AddVoter(NodeId),
    /// The node is no member any more.
    Remove(NodeId),
}

impl MemberChange {
    fn node(self) -> NodeId {
        match self {
            Self::AddLearner(node) | Self::AddVoter(node) | Self::Remove(node) => node,
        }
    }

    fn to_raft(self) -> ConfChangeSingle {
        let kind = match self {
            Self::AddLearner(_) => ConfChangeType::AddLearnerNode,
            Self::AddVoter(_) => ConfChangeType::AddNode,
            Self::Remove(_) => ConfChangeType::RemoveNode,
        };
        ConfChangeSingle { change_type: kind.into(), node_id: self.node().get() }
    }
}

impl Group {
    /// Proposes a change of members: to replace a dead node, make the new one a learner, wait until it has
    /// caught up, and then make it a voter and remove the dead one in one change.
    ///
    /// # Errors
    /// If it was not taken.
    pub fn change_members(&mut self, changes: &[MemberChange]) -> Result<Position, ChangeError> {
        if !self.leads() {
            return Err(ChangeError::NotLeader { leader: self.leader() });
        }
        if self.raw.raft.has_pending_conf()
            || self.members().is_joint()
            || self.raw.raft.lead_transferee.is_some()
        {
            return Err(ChangeError::Busy);
        }
        self.check_changes(changes)?;
        let change = ConfChangeV2 {
            transition: ConfChangeTransition::Explicit.into(),
            changes: changes.iter().map(|change| change.to_raft()).collect(),
            context: Vec::new(),
        };
        self.raw.propose_conf_change(Vec::new(), change).map_err(|_| ChangeError::Overloaded)?;
        Ok(self.last_position())
    }

    fn check_changes(&self, changes: &[MemberChange]) -> Result<(), ChangeError> {
        let members = self.members();
        let mut voters = members.voters.clone();
        for (place, change) in changes.iter().enumerate() {
            let node = change.node();
            let voter = members.voters.contains(&node);
            let learner = members.learners.contains(&node);
            if changes[..place].iter().any(|other| other.node() == node) {
                return Err(ChangeError::Contradiction(node));
            }
            match change {
                MemberChange::AddLearner(_) if voter || learner => return Err(ChangeError::Present(node)),
                MemberChange::AddVoter(_) if voter => return Err(ChangeError::Present(node)),
                MemberChange::AddVoter(_) if !learner => return Err(ChangeError::NotALearner(node)),
                MemberChange::Remove(_) if node == self.config.id => {
                    return Err(ChangeError::LeaderItself(node));
                }
                MemberChange::Remove(_) if !voter && !learner => return Err(ChangeError::Absent(node)),
                MemberChange::AddLearner(_) => {}
                MemberChange::AddVoter(_) => {
                    self.check_promotion(node)?;
                    voters.insert(node);
                }
                MemberChange::Remove(_) => {
                    voters.remove(&node);
                }
            }
        }
        match () {
            () if changes.is_empty() => Err(ChangeError::Contradiction(self.config.id)),
            () if voters.is_empty() => Err(ChangeError::NoVoters),
            () => Ok(()),
        }
    }

    pub(super) fn check_promotion(&self, node: NodeId) -> Result<(), ChangeError> {
        let matched = self.raw.raft.prs().get(node.get()).map_or(0, |progress| progress.matched);
        let behind = self.raw.raft.raft_log.last_index().saturating_sub(matched);
        if behind > self.config.max_promotion_lag {
            Err(ChangeError::Behind { node, behind })
        } else {
            Ok(())
        }
    }

    /// Ends the joint phase of a change, if this member leads and the change is applied. Whoever began it may
    /// have lost leadership since.
    pub(super) fn leave_joint(&mut self) {
        if self.leads() && self.members().is_joint() && !self.raw.raft.has_pending_conf() {
            // Refused while leadership is handed over: it is tried again with the next tick.
            let _ = self.raw.propose_conf_change(Vec::new(), ConfChangeV2::default());
        }
    }
}
