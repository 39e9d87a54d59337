//! Which node is to replicate and lead which shard, decided from how things are: without I/O, clock or memory.
//!
//! [`next_step`] looks at a [`View`] of all shards and nodes and says the one thing to be done next, or that nothing is to
//! be gained. Whoever leads the [first shard](crate::ShardId::FIRST) asks it again and again, with a fresh view each time.
//! A move of a replica is three steps: a learner is added, it catches up, and becomes a voter in the place of another one,
//! in one joint change. What is under way is read off the groups themselves, so whoever takes over in the middle goes on.
//!
//! # What it wants, in this order
//!
//! 1. A voter that has been silent for long is replaced, if there is a node to take its place.
//! 2. A group has as many voters as were asked for; an odd number, as far as there are nodes.
//! 3. No two voters of a group share a rack, as far as there are racks.
//! 4. Nodes have about as many replicas each: no two differ by two or more if a move could change that.
//! 5. Nodes lead about as many groups each.
//!
//! Each finished move makes things better at its own level and worse at no level above it, so moves come to an end, and
//! what was done for one reason is not undone for another.
//!
//! # What it never does
//!
//! - A group loses no voter without getting another one in the same change, so the number of voters never falls.
//! - A group that changes already is left alone, and so is one without a leader or whose majority the leader does not hear
//!   of: a change could make it worse, and could not be committed anyway.
//! - Only one replica moves at a time, of all groups.
//! - The first shard is moved for a dead voter and for racks, not to even out numbers: others know where it is.
//!
//! # Why a dead voter may be replaced
//!
//! It is no matter of guessing right. If it is not dead, it loses its vote by an entry of the log like any other, agreed on
//! by the majority of the old voters and that of the new ones. It has acknowledged nothing since that they do not have, and
//! the new voter had caught up before it began to count. Waiting only saves the copying, if it comes back soon.

use std::collections::{BTreeMap, BTreeSet};

use naming::{NodeId, Rack};

use crate::ShardId;

mod decide;
mod score;
#[cfg(test)]
mod tests;

pub use decide::next_step;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goals {
    /// Voters of a group. Groups that have more keep them.
    pub replicas: usize,
}

/// How things are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// All nodes that are known of, members of groups among them.
    pub nodes: BTreeMap<NodeId, Node>,
    /// All groups.
    pub shards: BTreeMap<ShardId, Shard>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What fails with it; `None`: not known.
    pub rack: Option<Rack>,
    /// Whether it is there.
    pub standing: Standing,
    /// Whether it takes replicas that it does not have. What it has it keeps.
    pub accepts: bool,
}

/// Whether a node is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It answers.
    Here,
    /// It does not, and may come back.
    Silent,
    /// It has not for so long that its place is to be taken.
    Gone,
}

/// A group, as its leader sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shard {
    /// How many names it has: what a move costs, about.
    pub names: u64,
    /// Who leads it, if that one answers.
    pub leader: Option<NodeId>,
    /// Who votes.
    pub voters: BTreeSet<NodeId>,
    /// Who catches up.
    pub learners: BTreeMap<NodeId, Learner>,
    /// Whether it is between two sets of voters.
    pub joint: bool,
    /// Members that the leader hears of and that have almost all of the log, itself among them.
    pub current: BTreeSet<NodeId>,
    /// Nodes that have a replica and are no members any more. They get no new one before they have given that up.
    pub strays: BTreeMap<NodeId, Stray>,
}

/// How a learner is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learner {
    /// Somebody else added it, and is about to do something with it.
    Foreign,
    /// It catches up.
    Coming,
    /// It has caught up.
    Ready,
    /// It has not come any further for long.
    Stuck,
}

/// How a replica is whose node is no member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stray {
    /// It may have become a member a moment ago, or was told a moment ago that it is none.
    Fresh,
    /// It is to be told.
    Due,
}

/// The next thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// In which group.
    pub shard: ShardId,
    /// What.
    pub action: Action,
    /// What for.
    pub reason: Reason,
}

/// What to do in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The voter is to lead.
    Lead(NodeId),
    /// The node is to catch up.
    Add(NodeId),
    /// The learner is to vote, in the place of a voter if one is named.
    Promote {
        /// The learner.
        node: NodeId,
        /// The voter that it replaces.
        instead_of: Option<NodeId>,
    },
    /// The learner is to be no member any more.
    Drop(NodeId),
    /// The node is to be told that it is no member any more.
    Retire(NodeId),
}

/// What a step is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the texts say it")]
pub enum Reason {
    Dead,
    Few,
    Racks,
    Replicas,
    Leaders,
    Leftover,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Dead => "a voter has been silent for long",
            Self::Few => "the shard has too few voters",
            Self::Racks => "voters share a rack",
            Self::Replicas => "a node has more replicas than others",
            Self::Leaders => "a node leads more shards than others",
            Self::Leftover => "what a move has left behind",
        })
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lead(node) => write!(f, "node {node} is to lead"),
            Self::Add(node) => write!(f, "node {node} is to catch up"),
            Self::Promote { node, instead_of: None } => write!(f, "node {node} is to vote"),
            Self::Promote { node, instead_of: Some(old) } => {
                write!(f, "node {node} is to vote in place of {old}")
            }
            Self::Drop(node) => write!(f, "node {node} is to catch up no more"),
            Self::Retire(node) => write!(f, "node {node} is to give up its replica"),
        }
    }
}

impl View {
    fn here(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.standing == Standing::Here)
    }

    fn gone(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.standing == Standing::Gone)
    }

    fn rack(&self, node: NodeId) -> Option<&Rack> {
        self.nodes.get(&node)?.rack.as_ref()
    }
}

impl Shard {
    /// Whether it can decide, and is not deciding about its members right now.
    fn is_able(&self) -> bool {
        let current = self.voters.intersection(&self.current).count();
        self.leader.is_some() && !self.joint && current * 2 > self.voters.len()
    }
}
