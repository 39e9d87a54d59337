//! What is to be done next.

use std::cmp::Reverse;

use naming::NodeId;

use super::score::{self, Loads, Swap};
use super::{Action, Goals, Learner, Reason, Shard, Step, Stray, View};
use crate::ShardId;

/// The next step, if one is good for anything.
pub fn next_step(view: &View, goals: &Goals) -> Option<Step> {
    if let Some(step) = view.shards.iter().find_map(|(id, shard)| retire(*id, shard)) {
        return Some(step);
    }
    // What was begun is brought to its end first.
    for (id, shard) in view.shards.iter().filter(|(_, shard)| shard.is_able()) {
        for (node, learner) in &shard.learners {
            match learner {
                Learner::Foreign => {}
                Learner::Coming if view.here(*node) => return None,
                Learner::Ready if view.here(*node) => {
                    if let Some(step) = settle(view, goals, *id, shard, *node) {
                        return Some(step);
                    }
                }
                _ => return Some(Step { shard: *id, action: Action::Drop(*node), reason: Reason::Leftover }),
            }
        }
    }
    let loads = Loads::of(view);
    let quiet = || view.shards.iter().filter(|(_, shard)| shard.is_able() && shard.learners.is_empty());
    let first =
        |step: &dyn Fn(ShardId, &Shard) -> Option<Step>| quiet().find_map(|(id, shard)| step(*id, shard));
    first(&|id, shard| replace(view, &loads, id, shard))
        .or_else(|| first(&|id, shard| grow(view, goals, &loads, id, shard)))
        .or_else(|| {
            let swaps = quiet().flat_map(|(id, shard)| {
                candidates(view, shard)
                    .filter_map(|new| Some((*id, score::swap(view, &loads, *id, shard, new)?)))
            });
            let (shard, (_, swap)) =
                swaps.min_by_key(|(id, (rank, swap))| (*rank, *id, swap.old, swap.new))?;
            Some(Step { shard, action: Action::Add(swap.new), reason: swap.reason })
        })
        .or_else(|| {
            let leads = quiet().filter_map(|(id, shard)| Some((*id, lead(view, &loads, *id, shard)?)));
            let (shard, (_, node)) = leads.min_by_key(|(id, rank)| (*rank, *id))?;
            Some(Step { shard, action: Action::Lead(node), reason: Reason::Leaders })
        })
}

fn retire(id: ShardId, shard: &Shard) -> Option<Step> {
    let (node, _) = shard.strays.iter().find(|(_, stray)| **stray == Stray::Due)?;
    Some(Step { shard: id, action: Action::Retire(*node), reason: Reason::Leftover })
}

/// Nodes that could take a replica of the group.
fn candidates<'a>(view: &'a View, shard: &'a Shard) -> impl Iterator<Item = NodeId> + 'a {
    let has = |node: &NodeId| {
        shard.voters.contains(node) || shard.learners.contains_key(node) || shard.strays.contains_key(node)
    };
    let able = view.nodes.iter().filter(|(id, node)| node.accepts && view.here(**id));
    able.map(|(id, _)| *id).filter(move |node| !has(node))
}

/// The node that is best added, in place of `old` if that is given.
fn best(view: &View, loads: &Loads, shard: &Shard, old: Option<NodeId>) -> Option<NodeId> {
    let pairs = |new: NodeId| score::pairs_after(view, &shard.voters, old, new);
    candidates(view, shard).min_by_key(|new| (pairs(*new), loads.replicas(*new), *new))
}

fn replace(view: &View, loads: &Loads, id: ShardId, shard: &Shard) -> Option<Step> {
    let old = dead(view, shard)?;
    let new = best(view, loads, shard, Some(old))?;
    Some(Step { shard: id, action: Action::Add(new), reason: Reason::Dead })
}

fn dead(view: &View, shard: &Shard) -> Option<NodeId> {
    shard.voters.iter().copied().find(|voter| view.gone(*voter))
}

fn grow(view: &View, goals: &Goals, loads: &Loads, id: ShardId, shard: &Shard) -> Option<Step> {
    let possible = shard.voters.len() + candidates(view, shard).count();
    if !wants_more(goals, shard, possible) {
        return None;
    }
    let new = best(view, loads, shard, None)?;
    Some(Step { shard: id, action: Action::Add(new), reason: Reason::Few })
}

/// Whether the group should have more voters, of which so many are possible. An even number bears no more losses than one
/// less, and has one more that can be lost.
fn wants_more(goals: &Goals, shard: &Shard, possible: usize) -> bool {
    let most = possible.min(goals.replicas);
    shard.voters.len() < most.saturating_sub(usize::from(most.is_multiple_of(2)))
}

/// What becomes of a learner that has caught up; nothing yet, while a voter is silent.
fn settle(view: &View, goals: &Goals, id: ShardId, shard: &Shard, node: NodeId) -> Option<Step> {
    let step = |(action, reason)| Step { shard: id, action, reason };
    let loads = Loads::of(view).without(node);
    if let Some(old) = dead(view, shard) {
        return leave(view, &loads, shard, Swap { old, new: node, reason: Reason::Dead }).map(step);
    }
    let possible = shard.voters.len() + 1 + candidates(view, shard).count();
    if wants_more(goals, shard, possible) {
        return Some(step((Action::Promote { node, instead_of: None }, Reason::Few)));
    }
    if !score::is_healthy(view, shard) {
        return None;
    }
    match score::swap(view, &loads, id, shard, node) {
        Some((_, swap)) => leave(view, &loads, shard, swap).map(step),
        None => Some(step((Action::Drop(node), Reason::Leftover))),
    }
}

/// The voter goes and the learner comes; who leads has to hand that over before.
fn leave(view: &View, loads: &Loads, shard: &Shard, swap: Swap) -> Option<(Action, Reason)> {
    if shard.leader != Some(swap.old) {
        return Some((Action::Promote { node: swap.new, instead_of: Some(swap.old) }, swap.reason));
    }
    let others = shard.voters.iter().copied().filter(|voter| *voter != swap.old);
    let able = others.filter(|voter| view.here(*voter) && shard.current.contains(voter));
    let next = able.min_by_key(|voter| (loads.leads(*voter), *voter))?;
    Some((Action::Lead(next), swap.reason))
}

/// The voter that should lead the group, and by how much its leader leads more groups.
fn lead(view: &View, loads: &Loads, id: ShardId, shard: &Shard) -> Option<(Reverse<usize>, NodeId)> {
    let leader = shard.leader.filter(|_| id != ShardId::FIRST)?;
    let able =
        shard.voters.iter().copied().filter(|voter| view.here(*voter) && shard.current.contains(voter));
    let surplus = |voter: NodeId| loads.leads(leader).saturating_sub(loads.leads(voter));
    let best = able.max_by_key(|voter| (surplus(*voter), Reverse(*voter)))?;
    (surplus(best) >= 2).then_some((Reverse(surplus(best)), best))
}
