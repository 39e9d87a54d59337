//! Whoever moves replicas and leaders, as one more client: it looks at how things are, and does what is decided then some
//! time later, when they may be different. There may be several at it at once.

use std::collections::{BTreeMap, BTreeSet};

use naming::NodeId;
use naming_directory::ShardId;
use naming_directory::balance::{self, Action, Goals, Learner, Node, Standing, Step, Stray, View};
use naming_directory::group::{MemberChange, Status};

use crate::faults;
use crate::world::{Event, Micros, Shard, World};

/// Racks, over which nodes are spread.
const RACKS: u64 = 3;
/// Entries that a member may be behind and count as current.
const MAX_LAG: u64 = 20;
/// Time in which what was seen may change.
const MAX_DELAY_MICROS: usize = 300_000;

/// What was decided, and what it was decided from.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    step: Step,
    voters: BTreeSet<NodeId>,
    /// What the leader had executed.
    applied: u64,
}

/// Looks, and decides.
pub(crate) fn look(world: &mut World) {
    let mut shards = BTreeMap::new();
    let mut applied = BTreeMap::new();
    for shard in [Shard(0), Shard(1)] {
        let Some(leader) = faults::leader(world, shard) else { continue };
        let Some(status) = status(world, leader, shard) else { continue };
        applied.insert(id_of(shard), status.applied);
        shards.insert(id_of(shard), view_of(world, shard, &status));
    }
    let goals = Goals { replicas: *world.ctx.random.pick(&[3, 3, 5]) };
    let Some(step) = balance::next_step(&View { nodes: nodes(world), shards: shards.clone() }, &goals) else {
        return;
    };
    let voters = shards.remove(&step.shard).unwrap_or_default().voters;
    let plan = Plan { step, voters, applied: applied.get(&step.shard).copied().unwrap_or_default() };
    let delay = world.ctx.random.below(MAX_DELAY_MICROS) as Micros;
    world.ctx.after(delay, Event::Balance(plan));
}

/// Does what was decided.
pub(crate) fn act(world: &mut World, plan: &Plan) -> Result<(), String> {
    let Step { shard, action, reason } = plan.step;
    let shard = Shard(shard.0 as usize - 1);
    if let Action::Retire(node) = action {
        let Some(host) = world.hosts.get_mut(&node).filter(|host| host.up) else { return Ok(()) };
        if host.retire(shard, plan.applied, &mut world.ctx) {
            world.ctx.tally.retired += 1;
        }
        return Ok(());
    }
    let Some(leader) = faults::leader(world, shard) else { return Ok(()) };
    let Some(host) = world.hosts.get_mut(&leader) else { return Ok(()) };
    let Some(live) = host.live(shard) else { return Ok(()) };
    let taken = match action {
        Action::Lead(node) => live.replica.transfer_leader(node).is_ok(),
        _ if live.replica.group().members().voters != plan.voters => false,
        action => live.replica.change_members(&changes_of(action)).is_ok(),
    };
    if taken {
        world.ctx.tally.balanced += 1;
        world.ctx.note(|| format!("shard {}: {action}: {reason}", shard.0));
    }
    host.drive(shard, &mut world.ctx)
}

fn changes_of(action: Action) -> Vec<MemberChange> {
    match action {
        Action::Add(node) => vec![MemberChange::AddLearner(node)],
        Action::Promote { node, instead_of } => {
            let old = instead_of.map(MemberChange::Remove);
            [MemberChange::AddVoter(node)].into_iter().chain(old).collect()
        }
        Action::Drop(node) => vec![MemberChange::Remove(node)],
        Action::Lead(_) | Action::Retire(_) => Vec::new(),
    }
}

fn id_of(shard: Shard) -> ShardId {
    ShardId(shard.0 as u64 + 1)
}

fn status(world: &mut World, node: NodeId, shard: Shard) -> Option<Status> {
    let host = world.hosts.get_mut(&node).filter(|host| host.up)?;
    Some(host.live(shard)?.replica.group().status())
}

fn nodes(world: &mut World) -> BTreeMap<NodeId, Node> {
    let ids = world.ctx.settings.nodes.clone();
    let node = |id: NodeId| {
        let standing = match world.hosts.get(&id).is_some_and(|host| host.up) {
            true => Standing::Here,
            // It comes back before long, whatever is believed.
            false if world.ctx.random.one_in(2) => Standing::Gone,
            false => Standing::Silent,
        };
        let rack = format!("r{}", id.get() % RACKS).parse().ok();
        (id, Node { rack, standing, accepts: true })
    };
    ids.into_iter().map(node).collect()
}

fn view_of(world: &mut World, shard: Shard, leader: &Status) -> balance::Shard {
    let near = |matched: u64| leader.last_index.saturating_sub(matched) <= MAX_LAG;
    let current = leader
        .progress
        .iter()
        .filter(|progress| progress.active && !progress.snapshot && near(progress.matched));
    let current: BTreeSet<NodeId> = current.map(|progress| progress.node).chain([leader.id]).collect();
    let learner = |node: &NodeId| if current.contains(node) { Learner::Ready } else { Learner::Coming };
    let members = leader.members.all();
    let ids = world.ctx.settings.nodes.clone();
    let is_stray = |id: &NodeId| {
        let status = status(world, *id, shard).filter(|_| !members.contains(id));
        status.is_some_and(|status| {
            status.last_index > 0 && status.term <= leader.term && status.last_index <= leader.applied
        })
    };
    let strays: Vec<NodeId> = ids.into_iter().filter(is_stray).collect();
    balance::Shard {
        names: 1,
        leader: Some(leader.id),
        voters: leader.members.voters.clone(),
        learners: leader.members.learners.iter().map(|node| (*node, learner(node))).collect(),
        joint: leader.members.is_joint(),
        strays: strays.into_iter().map(|node| (node, Stray::Due)).collect(),
        current,
    }
}
