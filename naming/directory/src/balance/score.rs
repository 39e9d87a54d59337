//! What is better than what.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use naming::NodeId;

use super::{Reason, Shard, View};
use crate::ShardId;

/// How many replicas each node has, and how many groups it leads.
pub(super) struct Loads {
    replicas: BTreeMap<NodeId, usize>,
    leads: BTreeMap<NodeId, usize>,
}

/// A voter, and the node that is to take its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Swap {
    pub(super) old: NodeId,
    pub(super) new: NodeId,
    pub(super) reason: Reason,
}

/// The less, the better: pairs of voters in one rack, then how uneven replicas are, then what has to be copied.
pub(super) type Rank = (isize, Reverse<isize>, u64);

impl Loads {
    pub(super) fn of(view: &View) -> Self {
        let (mut replicas, mut leads) = (BTreeMap::new(), BTreeMap::new());
        for shard in view.shards.values() {
            for node in shard.voters.iter().chain(shard.learners.keys()) {
                *replicas.entry(*node).or_default() += 1;
            }
            if let Some(leader) = shard.leader {
                *leads.entry(leader).or_default() += 1;
            }
        }
        Self { replicas, leads }
    }

    /// The same without one replica of the node.
    pub(super) fn without(mut self, node: NodeId) -> Self {
        if let Some(replicas) = self.replicas.get_mut(&node) {
            *replicas -= 1;
        }
        self
    }

    pub(super) fn replicas(&self, node: NodeId) -> usize {
        self.replicas.get(&node).copied().unwrap_or_default()
    }

    pub(super) fn leads(&self, node: NodeId) -> usize {
        self.leads.get(&node).copied().unwrap_or_default()
    }
}

/// Pairs of nodes that share a rack. One whose rack is not known shares it with nobody.
pub(super) fn pairs<'a>(view: &View, nodes: impl IntoIterator<Item = &'a NodeId>) -> isize {
    let mut racks = BTreeMap::new();
    for rack in nodes.into_iter().filter_map(|node| view.rack(*node)) {
        *racks.entry(rack).or_insert(0) += 1;
    }
    racks.values().map(|nodes: &isize| nodes * (nodes - 1) / 2).sum()
}

/// Pairs of voters in one rack with `new` among them, in place of `old` if that is given.
pub(super) fn pairs_after(view: &View, voters: &BTreeSet<NodeId>, old: Option<NodeId>, new: NodeId) -> isize {
    pairs(view, voters.iter().filter(|voter| Some(**voter) != old).chain([&new]))
}

/// Whether all voters are there: what is not urgent waits until they are.
pub(super) fn is_healthy(view: &View, shard: &Shard) -> bool {
    shard.voters.iter().all(|voter| view.here(*voter) && shard.current.contains(voter))
}

/// The best swap of a group that is good for something, with `new` for one of its voters.
pub(super) fn swap(
    view: &View,
    loads: &Loads,
    id: ShardId,
    shard: &Shard,
    new: NodeId,
) -> Option<(Rank, Swap)> {
    let before = pairs(view, &shard.voters);
    // The only voter leads, and has nobody to hand that to.
    if shard.voters.len() < 2 || !is_healthy(view, shard) {
        return None;
    }
    let gains = shard.voters.iter().filter_map(|&old| {
        let more = pairs_after(view, &shard.voters, Some(old), new) - before;
        let surplus = loads.replicas(old) as isize - loads.replicas(new) as isize;
        let reason = match () {
            () if more < 0 => Reason::Racks,
            () if more == 0 && surplus >= 2 && id != ShardId::FIRST => Reason::Replicas,
            () => return None,
        };
        Some(((more, Reverse(surplus), shard.names), Swap { old, new, reason }))
    });
    gains.min_by_key(|(rank, swap)| (*rank, swap.old))
}
