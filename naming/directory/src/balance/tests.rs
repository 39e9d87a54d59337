//! Each rule by itself, and all of them on random directories, until nothing is to be done any more.

use proptest::prelude::*;

use super::*;

const GOALS: Goals = Goals { replicas: 3 };

fn id(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

fn node(rack: u64) -> Node {
    Node { rack: Some(format!("r{rack}").parse().unwrap()), standing: Standing::Here, accepts: true }
}

/// Nodes 1, 2, ... in these racks.
fn nodes(racks: &[u64]) -> BTreeMap<NodeId, Node> {
    racks.iter().zip(1..).map(|(rack, number)| (id(number), node(*rack))).collect()
}

/// A group of these voters, the first of which leads.
fn shard(voters: &[u64]) -> Shard {
    let voters: Vec<NodeId> = voters.iter().copied().map(id).collect();
    Shard {
        names: 10,
        leader: voters.first().copied(),
        voters: voters.iter().copied().collect(),
        current: voters.iter().copied().collect(),
        ..Shard::default()
    }
}

/// These groups; the first shard is the first one.
fn view(racks: &[u64], shards: &[&[u64]]) -> View {
    let shards = shards.iter().zip(1..).map(|(voters, number)| (ShardId(number), shard(voters)));
    View { nodes: nodes(racks), shards: shards.collect() }
}

fn next(view: &View) -> Option<(u64, Action)> {
    next_step(view, &GOALS).map(|step| (step.shard.0, step.action))
}

fn promote(node: u64, old: u64) -> Action {
    Action::Promote { node: id(node), instead_of: Some(id(old)) }
}

/// What the step makes of the groups, if nothing fails.
fn take(view: &mut View, step: Step) {
    let shard = view.shards.get_mut(&step.shard).unwrap();
    match step.action {
        Action::Lead(node) => shard.leader = Some(node),
        Action::Add(node) => drop(shard.learners.insert(node, Learner::Coming)),
        Action::Promote { node, instead_of } => {
            shard.learners.remove(&node);
            shard.voters.insert(node);
            shard.current.insert(node);
            if let Some(old) = instead_of {
                shard.voters.remove(&old);
                shard.current.remove(&old);
                shard.strays.insert(old, Stray::Due);
            }
        }
        Action::Drop(node) => drop(shard.learners.remove(&node)),
        Action::Retire(node) => drop(shard.strays.remove(&node)),
    }
}

/// Learners catch up; whether there were any.
fn catch_up(view: &mut View) -> bool {
    let mut any = false;
    for learner in view.shards.values_mut().flat_map(|shard| shard.learners.values_mut()) {
        any |= std::mem::replace(learner, Learner::Ready) == Learner::Coming;
    }
    any
}

#[test]
fn a_dead_voter_is_replaced_by_a_learner_that_has_caught_up() {
    let mut view = view(&[1, 2, 3, 3, 4], &[&[1, 2, 3]]);
    view.nodes.get_mut(&id(3)).unwrap().standing = Standing::Silent;
    view.shards.get_mut(&ShardId::FIRST).unwrap().current.remove(&id(3));
    assert_eq!(next(&view), None, "it may come back");
    view.nodes.get_mut(&id(3)).unwrap().standing = Standing::Gone;
    let step = next_step(&view, &GOALS).unwrap();
    assert_eq!((step.action, step.reason), (Action::Add(id(4)), Reason::Dead));
    take(&mut view, step);
    assert_eq!(next(&view), None, "it catches up");
    catch_up(&mut view);
    assert_eq!(next(&view), Some((1, promote(4, 3))));
    view.nodes.get_mut(&id(4)).unwrap().standing = Standing::Silent;
    assert_eq!(next(&view), Some((1, Action::Drop(id(4)))), "the learner is gone, too");
}

#[test]
fn a_group_without_a_majority_is_left_alone() {
    let mut view = view(&[1, 2, 3, 4, 5], &[&[1, 2, 3]]);
    for number in [2, 3] {
        view.nodes.get_mut(&id(number)).unwrap().standing = Standing::Gone;
        view.shards.get_mut(&ShardId::FIRST).unwrap().current.remove(&id(number));
    }
    assert_eq!(next(&view), None);
    let shard = view.shards.get_mut(&ShardId::FIRST).unwrap();
    shard.current.insert(id(2));
    assert!(next(&view).is_some());
    view.shards.get_mut(&ShardId::FIRST).unwrap().leader = None;
    assert_eq!(next(&view), None);
}

#[test]
fn groups_grow_by_odd_numbers() {
    assert_eq!(next(&view(&[1, 2], &[&[1]])), None, "two bear no loss, as one does, and are two to lose");
    assert_eq!(next(&view(&[1, 1, 2], &[&[1]])), Some((1, Action::Add(id(3)))));
    let mut view = view(&[1, 2, 3], &[&[1, 2]]);
    assert_eq!(next(&view), Some((1, Action::Add(id(3)))));
    view.nodes.get_mut(&id(3)).unwrap().accepts = false;
    assert_eq!(next(&view), None);
}

#[test]
fn voters_of_one_rack_are_spread_and_who_leads_hands_over_before_it_goes() {
    let mut view = view(&[1, 1, 2, 3], &[&[1, 2, 3]]);
    let step = next_step(&view, &GOALS).unwrap();
    assert_eq!((step.action, step.reason), (Action::Add(id(4)), Reason::Racks));
    take(&mut view, step);
    catch_up(&mut view);
    assert_eq!(next(&view), Some((1, Action::Lead(id(2)))), "node 1 is to go");
    view.shards.get_mut(&ShardId::FIRST).unwrap().leader = Some(id(2));
    assert_eq!(next(&view), Some((1, promote(4, 1))));
}

#[test]
fn numbers_are_evened_out_for_two_or_more_and_never_by_the_first_shard() {
    let view = view(&[1, 2, 3, 4], &[&[1, 2, 3]]);
    assert_eq!(next(&view), None);
    let shards: [&[u64]; 3] = [&[1, 2, 3], &[2, 1, 3], &[3, 1, 2]];
    let mut view = self::view(&[1, 2, 3, 4], &shards);
    view.shards.get_mut(&ShardId(2)).unwrap().names = 20;
    let step = next_step(&view, &GOALS).unwrap();
    assert_eq!((step.shard, step.action, step.reason), (ShardId(3), Action::Add(id(4)), Reason::Replicas));
}

#[test]
fn leaders_are_evened_out() {
    let view = view(&[1, 2, 3], &[&[1, 2, 3], &[1, 2, 3], &[1, 2, 3]]);
    assert_eq!(next(&view), Some((2, Action::Lead(id(2)))));
}

#[test]
fn what_a_move_has_left_behind_goes_before_its_node_gets_a_replica_again() {
    let mut view = view(&[1, 2, 3], &[&[1, 2]]);
    view.shards.get_mut(&ShardId::FIRST).unwrap().strays.insert(id(3), Stray::Fresh);
    assert_eq!(next(&view), None);
    view.shards.get_mut(&ShardId::FIRST).unwrap().strays.insert(id(3), Stray::Due);
    assert_eq!(next(&view), Some((1, Action::Retire(id(3)))));
}

#[test]
fn what_others_began_is_left_to_them() {
    let mut view = view(&[1, 2, 3, 4], &[&[1, 2], &[1, 2]]);
    view.shards.get_mut(&ShardId(1)).unwrap().learners.insert(id(3), Learner::Foreign);
    assert_eq!(next(&view).map(|(shard, _)| shard), Some(2));
    view.shards.get_mut(&ShardId(1)).unwrap().learners.insert(id(3), Learner::Stuck);
    assert_eq!(next(&view), Some((1, Action::Drop(id(3)))));
}

#[derive(Clone, Debug)]
struct Random {
    racks: Vec<u64>,
    gone: Vec<bool>,
    refusing: Vec<bool>,
    groups: Vec<Vec<usize>>,
}

fn random() -> impl Strategy<Value = Random> {
    (1..9_usize).prop_flat_map(|len| {
        let groups = prop::collection::vec(prop::collection::vec(0..len, 1..6), 1..9);
        let rarely = || prop::collection::vec(prop::bool::weighted(0.15), len);
        (prop::collection::vec(0..5_u64, len), rarely(), rarely(), groups)
            .prop_map(|(racks, gone, refusing, groups)| Random { racks, gone, refusing, groups })
    })
}

impl Random {
    fn view(&self) -> View {
        let mut nodes = nodes(&self.racks);
        for (node, (gone, refuses)) in nodes.values_mut().zip(self.gone.iter().zip(&self.refusing)) {
            node.standing = if *gone { Standing::Gone } else { Standing::Here };
            node.accepts = !refuses;
        }
        let shard = |voters: &Vec<usize>| {
            let mut shard = shard(&voters.iter().map(|voter| *voter as u64 + 1).collect::<Vec<_>>());
            shard.current.retain(|voter| nodes[voter].standing == Standing::Here);
            shard.leader = shard.current.first().copied().filter(|_| shard.is_able());
            shard
        };
        let shards = self.groups.iter().zip(1..).map(|(voters, number)| (ShardId(number), shard(voters)));
        View { shards: shards.collect(), nodes }
    }
}

/// Nodes that are there and take replicas, and are no members.
fn free(view: &View, shard: &Shard) -> Vec<NodeId> {
    let able = view.nodes.iter().filter(|(id, node)| node.accepts && view.here(**id));
    able.map(|(id, _)| *id).filter(|id| !shard.voters.contains(id)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn it_comes_to_an_end_and_harms_nothing_on_the_way(random in random()) {
        let mut view = random.view();
        let before = view.clone();
        let mut steps = 0;
        loop {
            let Some(step) = next_step(&view, &GOALS) else {
                if catch_up(&mut view) {
                    continue;
                }
                break;
            };
            steps += 1;
            prop_assert!(steps < 2000, "no end: {step:?}");
            let (id, old) = (step.shard, view.shards[&step.shard].clone());
            prop_assert!(old.is_able() || matches!(step.action, Action::Retire(_)), "{step:?} of a group that is not able");
            if let Action::Promote { instead_of: Some(out), .. } = step.action {
                prop_assert!(old.leader != Some(out), "who leads cannot be removed");
            }
            take(&mut view, step);
            let new = &view.shards[&id];
            prop_assert!(new.voters.len() >= old.voters.len(), "{step:?} lowers the number of voters");
            prop_assert!(new.voters.difference(&old.voters).count() <= 1, "one at a time");
            prop_assert!(new.is_able(), "{step:?} leaves no majority: {new:?}");
            let moving: usize = view.shards.values().map(|shard| shard.learners.len()).sum();
            prop_assert!(moving <= 1, "one at a time");
        }
        for (id, shard) in &view.shards {
            if !shard.is_able() {
                prop_assert_eq!(Some(shard), before.shards.get(id), "it is left alone");
                continue;
            }
            let free = free(&view, shard);
            prop_assert!(free.is_empty() || shard.voters.iter().all(|voter| view.here(*voter)), "the dead are replaced");
            prop_assert!(shard.voters.len() >= 3 || shard.voters.len() + free.len() < 3, "there are enough");
            let used: BTreeSet<_> = shard.voters.iter().map(|voter| view.rack(*voter)).collect();
            let spread = used.len() == shard.voters.len() || free.iter().all(|node| used.contains(&view.rack(*node)));
            let healthy = shard.voters.len() > 1 && score::is_healthy(&view, shard);
            prop_assert!(spread || !healthy, "racks: {shard:?}");
            let leads = |node: NodeId| view.shards.values().filter(|shard| shard.leader == Some(node)).count();
            let leader = shard.leader.unwrap();
            if *id != ShardId::FIRST {
                prop_assert!(shard.current.iter().all(|voter| leads(leader) < leads(*voter) + 2), "leaders: {shard:?}");
            }
        }
        if random.racks.len() > 3 && !random.gone.contains(&true) && !random.refusing.contains(&true) {
            // Where every node is a rack of its own, nothing hinders evenness.
            let mut view = view;
            let racks = view.nodes.values_mut().zip(0..);
            racks.for_each(|(node, rack)| *node = self::node(rack));
            while let Some(step) = next_step(&view, &GOALS) {
                take(&mut view, step);
                catch_up(&mut view);
            }
            let others = || view.shards.iter().filter(|(id, shard)| **id != ShardId::FIRST && shard.voters.len() > 1).map(|(_, shard)| shard);
            let count = |node: &NodeId| view.shards.values().filter(|shard| shard.voters.contains(node)).count();
            let movable = |node: &&NodeId| others().any(|shard| shard.voters.contains(*node));
            let most = view.nodes.keys().filter(movable).map(count).max().unwrap_or(0);
            let least = view.nodes.keys().map(count).min().unwrap_or(0);
            let stuck = others().all(|shard| shard.voters.iter().all(|voter| count(voter) < most));
            prop_assert!(most <= least + 1 || stuck, "{most} and {least}: {view:?}");
        }
    }
}
