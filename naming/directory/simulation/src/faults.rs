//! What goes wrong, and when.

use cluster_tests::random::Random;
use naming::NodeId;
use naming_directory::group::{MemberChange, Role};
use naming_directory::proto;
use naming_directory::proto::command::Action;
use naming_directory::replica::RequestId;

use crate::host::command;
use crate::world::{Event, Shard, World};

/// Something goes wrong, or is changed while other things are wrong.
pub(crate) fn strike(world: &mut World) -> Result<(), String> {
    let shard = Shard(world.ctx.random.below(2));
    match world.ctx.random.below(20) {
        0..4 => crash_some(world),
        4 => crash_all(world),
        5..7 => isolate(world),
        7 => halve(world),
        8 => cut_one_way(world),
        9..11 => world.ctx.network.heal_links(),
        11 => change_weather(world),
        12 => change_disk(world),
        13 => jump_clock(world),
        14..16 => transfer(world, shard)?,
        16..19 => change_members(world, shard)?,
        _ => split(world)?,
    }
    Ok(())
}

/// Everything is well from now on.
pub(crate) fn heal(world: &mut World) {
    world.ctx.network.heal_links();
    world.ctx.network.set_weather(0, 0, 0);
    for host in world.hosts.values_mut() {
        host.sync_micros = 1_000;
        if !host.up && host.life > 0 {
            world.ctx.after(1_000, Event::Start { host: host.id });
        }
    }
}

fn random_host(world: &mut World) -> NodeId {
    *world.ctx.random.pick(&world.ctx.settings.nodes)
}

fn crash(world: &mut World, id: NodeId) {
    let down = 1_000 + world.ctx.random.below(1_500_000) as u64;
    if let Some(host) = world.hosts.get_mut(&id).filter(|host| host.up) {
        host.crash(&mut world.ctx);
        world.ctx.after(down, Event::Start { host: id });
    }
}

fn crash_some(world: &mut World) {
    // More often than not the leader: there is the most to lose.
    let victim = match leader(world, Shard(0)) {
        Some(leader) if world.ctx.random.one_in(2) => leader,
        _ => random_host(world),
    };
    crash(world, victim);
}

fn crash_all(world: &mut World) {
    let nodes = world.ctx.settings.nodes.clone();
    nodes.into_iter().for_each(|id| crash(world, id));
}

fn isolate(world: &mut World) {
    let id = leader(world, Shard(0)).unwrap_or(world.ctx.settings.nodes[0]);
    let nodes = world.ctx.settings.nodes.clone();
    let way = world.ctx.random.below(3);
    for other in nodes.into_iter().filter(|other| *other != id) {
        if way != 1 {
            world.ctx.network.cut(id, other);
        }
        if way != 2 {
            world.ctx.network.cut(other, id);
        }
    }
}

fn halve(world: &mut World) {
    let nodes = world.ctx.settings.nodes.clone();
    let sides: Vec<bool> = nodes.iter().map(|_| world.ctx.random.one_in(2)).collect();
    for (from, side) in nodes.iter().zip(&sides) {
        for (to, _) in nodes.iter().zip(&sides).filter(|(_, other)| *other != side) {
            world.ctx.network.cut(*from, *to);
        }
    }
}

fn cut_one_way(world: &mut World) {
    let (from, to) = (random_host(world), random_host(world));
    world.ctx.network.cut(from, to);
}

fn change_weather(world: &mut World) {
    let random = &mut world.ctx.random;
    let (lost, doubled, late) = match random.below(3) {
        0 => (0, 0, 0),
        1 => (random.below(50), random.below(50), random.below(50)),
        _ => (random.below(300), random.below(300), random.below(300)),
    };
    world.ctx.network.set_weather(lost, doubled, late);
}

fn change_disk(world: &mut World) {
    let id = random_host(world);
    let slow = [1_000, 1_000, 20_000, 400_000, 1_500_000];
    let micros = *world.ctx.random.pick(&slow);
    if let Some(host) = world.hosts.get_mut(&id) {
        host.sync_micros = micros;
    }
}

/// A machine was suspended, say, and its monotonic clock counted that.
fn jump_clock(world: &mut World) {
    let id = random_host(world);
    let jump = world.ctx.random.below(20 * 60) as u64 * 1_000_000;
    if let Some(host) = world.hosts.get_mut(&id) {
        host.clock_offset += jump;
        world.ctx.tally.clock_jumps += 1;
    }
}

pub(crate) fn leader(world: &mut World, shard: Shard) -> Option<NodeId> {
    let hosts = world.hosts.values_mut();
    let mut leaders = hosts.filter_map(|host| {
        let id = host.id;
        let status = host.live(shard)?.replica.group().status();
        (status.role == Role::Leader).then_some((status.term, id))
    });
    leaders.by_ref().max().map(|(_, id)| id)
}

fn transfer(world: &mut World, shard: Shard) -> Result<(), String> {
    let to = random_host(world);
    let Some(id) = leader(world, shard) else { return Ok(()) };
    let Some(host) = world.hosts.get_mut(&id) else { return Ok(()) };
    if let Some(live) = host.live(shard)
        && live.replica.transfer_leader(to).is_ok()
    {
        world.ctx.tally.transfers += 1;
    }
    host.drive(shard, &mut world.ctx)
}

/// Adds, promotes, removes or replaces, as the members allow.
fn change_members(world: &mut World, shard: Shard) -> Result<(), String> {
    let Some(id) = leader(world, shard) else { return Ok(()) };
    let nodes = world.ctx.settings.nodes.clone();
    let Some(host) = world.hosts.get_mut(&id) else { return Ok(()) };
    let Some(live) = host.live(shard) else { return Ok(()) };
    let members = live.replica.group().members().clone();
    let changes = choose_change(&mut world.ctx.random, id, &nodes, &members);
    if !changes.is_empty() && live.replica.change_members(&changes).is_ok() {
        world.ctx.tally.member_changes += 1;
        world.ctx.note(|| format!("shard {}: {changes:?} of {members:?}", shard.0));
    }
    host.drive(shard, &mut world.ctx)
}

fn choose_change(
    random: &mut Random,
    leader: NodeId,
    nodes: &[NodeId],
    members: &naming_directory::log::Members,
) -> Vec<MemberChange> {
    let others: Vec<NodeId> = members.voters.iter().copied().filter(|node| *node != leader).collect();
    let learners: Vec<NodeId> = members.learners.iter().copied().collect();
    let strangers: Vec<NodeId> = nodes.iter().copied().filter(|node| !members.all().contains(node)).collect();
    let (enough, few) = (members.voters.len() > 3, members.voters.len() < 3);
    if let Some(learner) = learners.first() {
        let mut changes = vec![MemberChange::AddVoter(*learner)];
        if !few && !others.is_empty() {
            changes.push(MemberChange::Remove(*random.pick(&others)));
        }
        return changes;
    }
    if enough && random.one_in(2) && !others.is_empty() {
        return vec![MemberChange::Remove(*random.pick(&others))];
    }
    if strangers.is_empty() { Vec::new() } else { vec![MemberChange::AddLearner(*random.pick(&strangers))] }
}

fn split(world: &mut World) -> Result<(), String> {
    if world.ctx.tally.splits > 0 || world.ctx.random.one_in(2) {
        return Ok(());
    }
    let Some(id) = leader(world, Shard(0)) else { return Ok(()) };
    let Some(host) = world.hosts.get_mut(&id) else { return Ok(()) };
    let now = host.clock(world.ctx.now);
    let at: naming::Name = "/m".parse().unwrap_or_default();
    let split = Action::Split(proto::Split { at: at.as_bytes().to_vec().into() });
    if let Some(live) = host.live(Shard(0)) {
        // Nobody waits for the reply. A second split at the same name is refused.
        let _ = live.replica.propose(RequestId(0), command(split), now);
    }
    host.drive(Shard(0), &mut world.ctx)
}
