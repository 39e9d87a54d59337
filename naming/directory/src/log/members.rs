//! Who is in a group.

use std::collections::BTreeSet;

use naming::NodeId;

use crate::proto;

/// The members of a group by a place in its log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Those who decide.
    pub voters: BTreeSet<NodeId>,
    /// Those who only follow.
    pub learners: BTreeSet<NodeId>,
    /// While the group changes its voters (joint consensus): those before, who decide, too. Empty otherwise.
    pub outgoing: BTreeSet<NodeId>,
    /// Of those: who becomes a learner when the change is over.
    pub learners_next: BTreeSet<NodeId>,
}

impl Members {
    /// A group of these voters.
    pub fn of_voters(voters: impl IntoIterator<Item = NodeId>) -> Self {
        Self { voters: voters.into_iter().collect(), ..Self::default() }
    }

    /// Everybody.
    pub fn all(&self) -> BTreeSet<NodeId> {
        let sets = [&self.voters, &self.learners, &self.outgoing, &self.learners_next];
        sets.into_iter().flatten().copied().collect()
    }

    /// Whether the group is between two sets of voters.
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether a group can be like that.
    pub fn is_valid(&self) -> bool {
        let votes = |node: &NodeId| self.voters.contains(node) || self.outgoing.contains(node);
        !self.voters.is_empty()
            && !self.learners.iter().any(votes)
            && self
                .learners_next
                .iter()
                .all(|node| self.outgoing.contains(node) && !self.voters.contains(node))
    }

    pub(super) fn to_proto(&self) -> proto::log::Members {
        let numbers = |nodes: &BTreeSet<NodeId>| nodes.iter().map(|node| node.get()).collect();
        proto::log::Members {
            voters: numbers(&self.voters),
            learners: numbers(&self.learners),
            voters_outgoing: numbers(&self.outgoing),
            learners_next: numbers(&self.learners_next),
        }
    }

    pub(super) fn of_proto(message: &proto::log::Members) -> Option<Self> {
        Self::of_numbers(
            [&message.voters, &message.learners, &message.voters_outgoing, &message.learners_next]
                .map(Vec::as_slice),
        )
    }

    /// The members with these ids: voters, learners, outgoing voters, next learners; `None` if a group cannot
    /// be like that.
    pub(crate) fn of_numbers(numbers: [&[u64]; 4]) -> Option<Self> {
        let nodes =
            |numbers: &[u64]| numbers.iter().map(|number| NodeId::new(*number)).collect::<Option<_>>();
        let [voters, learners, outgoing, learners_next] = numbers.map(nodes);
        let members =
            Self { voters: voters?, learners: learners?, outgoing: outgoing?, learners_next: learners_next? };
        members.is_valid().then_some(members)
    }
}
