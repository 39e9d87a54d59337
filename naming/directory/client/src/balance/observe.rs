//! What is made of what nodes tell, and remembered of what they told before: who has been silent for how long, and how
//! learners come on. Without I/O and clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use naming::{NodeId, Rack};
use naming_directory::balance::{Action, Learner, Node, Shard, Standing, Stray, View};

use super::survey::Survey;
use crate::ShardId;
use crate::wire;

/// Entries that a member may be behind and count as current: fewer than a learner may be behind that is to vote.
const MAX_LAG: u64 = 500;
/// A learner that somebody else added, and lets be for so long after it has caught up, is nobody's.
const ADOPT_AFTER: Duration = Duration::from_secs(30);
/// A learner that has come no further for so long is stuck. Within that a snapshot has to arrive.
const STUCK_AFTER: Duration = Duration::from_secs(600);
/// A replica of a node that is no member may be one that has just become one.
const STRAY_AFTER: Duration = Duration::from_secs(2);
/// Until a node is told again that it is no member.
const TELL_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// What is remembered.
#[derive(Debug, Default)]
pub(super) struct Observer {
    replace_after: Option<Duration>,
    /// When each node was last heard of by anybody.
    heard: BTreeMap<NodeId, Duration>,
    racks: BTreeMap<NodeId, Rack>,
    learners: BTreeMap<(ShardId, NodeId), Seen>,
    /// Learners that were added from here.
    own: BTreeSet<(ShardId, NodeId)>,
    /// From when on a replica of no member is to be told.
    strays: BTreeMap<(ShardId, NodeId), Duration>,
    /// What each shard's leader had executed.
    applied: BTreeMap<ShardId, u64>,
}

/// How a learner has come on.
#[derive(Clone, Copy, Debug)]
struct Seen {
    matched: u64,
    /// When it last came further.
    came: Duration,
    /// Since when it has been current.
    current: Option<Duration>,
}

impl Observer {
    pub(super) fn new(replace_after: Option<Duration>) -> Self {
        Self { replace_after, ..Self::default() }
    }

    /// Up to which entry the shard's leader had executed the log when it was last seen.
    pub(super) fn applied(&self, shard: ShardId) -> u64 {
        self.applied.get(&shard).copied().unwrap_or_default()
    }

    /// Notes a step that was taken.
    pub(super) fn note(&mut self, shard: ShardId, action: Action, now: Duration) {
        match action {
            Action::Add(node) => drop(self.own.insert((shard, node))),
            Action::Promote { node, .. } | Action::Drop(node) => drop(self.own.remove(&(shard, node))),
            Action::Retire(node) => drop(self.strays.insert((shard, node), now + TELL_AGAIN_AFTER)),
            Action::Lead(_) => {}
        }
    }

    /// How things are `now`, of a clock with any origin.
    pub(super) fn view(&mut self, survey: &Survey, now: Duration) -> View {
        let leaders = leaders(survey);
        self.applied = leaders.iter().map(|(id, leader)| (*id, leader.applied)).collect();
        self.hear(survey, &leaders, now);
        let mut shards: BTreeMap<ShardId, Shard> = BTreeMap::new();
        for told in survey.answers.values().flat_map(|answer| &answer.shards) {
            let id = ShardId(told.shard);
            let best = leaders.get(&id).copied().unwrap_or(told);
            if best.voters.is_empty() {
                continue;
            }
            shards.entry(id).or_insert_with(|| self.shard(id, best, now));
        }
        self.note_strays(survey, &leaders, now, &mut shards);
        self.learners.retain(|(shard, node), _| {
            shards.get(shard).is_some_and(|shard| shard.learners.contains_key(node))
        });
        let members =
            shards.values().flat_map(|shard| shard.voters.iter().chain(shard.learners.keys())).copied();
        let all: BTreeSet<NodeId> =
            survey.registered.keys().chain(survey.answers.keys()).copied().chain(members).collect();
        let nodes = all.into_iter().map(|id| (id, self.node(survey, id, now))).collect();
        View { nodes, shards }
    }

    fn hear(&mut self, survey: &Survey, leaders: &BTreeMap<ShardId, &wire::Shard>, now: Duration) {
        self.racks.extend(survey.registered.iter().map(|(id, rack)| (*id, rack.clone())));
        let active = leaders.values().flat_map(|leader| &leader.progress).filter(|progress| progress.active);
        let active = active.filter_map(|progress| NodeId::new(progress.node));
        for id in survey.registered.keys().chain(survey.answers.keys()).copied().chain(active) {
            self.heard.insert(id, now);
        }
        let members =
            leaders.values().flat_map(|leader| &leader.voters).filter_map(|voter| NodeId::new(*voter));
        for id in members {
            self.heard.entry(id).or_insert(now);
        }
    }

    fn node(&self, survey: &Survey, id: NodeId, now: Duration) -> Node {
        let silent = self.heard.get(&id).map_or(Duration::ZERO, |heard| now.saturating_sub(*heard));
        let answer = survey.answers.get(&id);
        let standing = match (answer, self.replace_after) {
            (Some(_), _) => Standing::Here,
            (None, Some(after)) if silent >= after => Standing::Gone,
            (None, _) => Standing::Silent,
        };
        // Where a node is that is not registered, other members would not know.
        let accepts = answer.is_some_and(|answer| answer.accepts) && survey.registered.contains_key(&id);
        Node { rack: self.racks.get(&id).cloned(), standing, accepts }
    }

    fn shard(&mut self, id: ShardId, told: &wire::Shard, now: Duration) -> Shard {
        let ids = |numbers: &[u64]| numbers.iter().filter_map(|number| NodeId::new(*number)).collect();
        let is_current = |progress: &&wire::Progress| {
            progress.active && !progress.snapshot && told.last.saturating_sub(progress.matched) <= MAX_LAG
        };
        let leader = NodeId::new(told.leader).filter(|_| told.leads);
        let current: BTreeSet<NodeId> = told
            .progress
            .iter()
            .filter(is_current)
            .filter_map(|progress| NodeId::new(progress.node))
            .chain(leader)
            .collect();
        let learners: Vec<NodeId> = told.learners.iter().filter_map(|number| NodeId::new(*number)).collect();
        let learners = learners.into_iter().map(|learner| {
            let matched = told.progress.iter().find(|progress| progress.node == learner.get());
            let matched = matched.map_or(0, |progress| progress.matched);
            (learner, self.learner(id, learner, matched, current.contains(&learner), now))
        });
        Shard {
            names: told.names,
            leader,
            voters: ids(&told.voters),
            learners: learners.collect(),
            joint: !told.outgoing.is_empty(),
            current,
            strays: BTreeMap::new(),
        }
    }

    fn learner(
        &mut self,
        shard: ShardId,
        node: NodeId,
        matched: u64,
        current: bool,
        now: Duration,
    ) -> Learner {
        let fresh = Seen { matched, came: now, current: None };
        let seen = self.learners.entry((shard, node)).or_insert(fresh);
        if matched > seen.matched || current {
            (seen.matched, seen.came) = (matched, now);
        }
        seen.current = if current { seen.current.or(Some(now)) } else { None };
        let own = self.own.contains(&(shard, node));
        match seen.current {
            Some(since) if own || now.saturating_sub(since) >= ADOPT_AFTER => Learner::Ready,
            None if now.saturating_sub(seen.came) >= STUCK_AFTER => Learner::Stuck,
            None if own => Learner::Coming,
            _ => Learner::Foreign,
        }
    }

    /// Replicas of nodes that are no members, if they were none some time ago, too, and know nothing that leaders do not.
    fn note_strays(
        &mut self,
        survey: &Survey,
        leaders: &BTreeMap<ShardId, &wire::Shard>,
        now: Duration,
        shards: &mut BTreeMap<ShardId, Shard>,
    ) {
        let mut strays = BTreeMap::new();
        for (node, answer) in &survey.answers {
            for told in answer.shards.iter().filter(|told| !told.leads) {
                let id = ShardId(told.shard);
                let Some(leader) = leaders.get(&id) else { continue };
                if leader.members().any(|member| member == *node)
                    || told.term > leader.term
                    || told.last > leader.applied
                {
                    continue;
                }
                let due = self.strays.get(&(id, *node)).copied().unwrap_or(now + STRAY_AFTER);
                strays.insert((id, *node), due);
                if let Some(shard) = shards.get_mut(&id) {
                    shard.strays.insert(*node, if due <= now { Stray::Due } else { Stray::Fresh });
                }
            }
        }
        self.strays = strays;
    }
}

/// Each shard as its leader says, the one of the latest term.
fn leaders(survey: &Survey) -> BTreeMap<ShardId, &wire::Shard> {
    let mut leaders: BTreeMap<ShardId, &wire::Shard> = BTreeMap::new();
    for told in survey.answers.values().flat_map(|answer| &answer.shards).filter(|told| told.leads) {
        let known = leaders.entry(ShardId(told.shard)).or_insert(told);
        if told.term > known.term {
            *known = told;
        }
    }
    leaders
}

#[cfg(test)]
mod tests {
    use naming_directory::balance::Action;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn id(number: u64) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn rack() -> Rack {
        "r1".parse().unwrap()
    }

    fn shard(leads: bool) -> wire::Shard {
        let progress = |node| wire::Progress { node, matched: 90, active: node != 3, snapshot: false };
        wire::Shard {
            shard: 1,
            voters: vec![1, 2, 3],
            leader: 1,
            term: 5,
            applied: 90,
            last: 90,
            progress: if leads { [2, 3].map(progress).to_vec() } else { Vec::new() },
            leads,
            ..wire::Shard::default()
        }
    }

    /// Nodes 1 and 2 answer, 3 does not.
    fn survey() -> Survey {
        let answer =
            |leads| wire::Description { shards: vec![shard(leads)], accepts: true, ..Default::default() };
        Survey {
            registered: [1, 2].map(|number| (id(number), rack())).into(),
            answers: [(id(1), answer(true)), (id(2), answer(false))].into(),
        }
    }

    fn leader(survey: &mut Survey) -> &mut wire::Shard {
        &mut survey.answers.get_mut(&id(1)).unwrap().shards[0]
    }

    #[test]
    fn who_is_silent_to_all_for_long_is_gone() {
        let mut observer = Observer::new(Some(60 * SECOND));
        let standing = |view: View| view.nodes[&id(3)].standing;
        assert_eq!(standing(observer.view(&survey(), SECOND)), Standing::Silent);
        // Its leader hears it, or its lease runs.
        let mut heard = survey();
        leader(&mut heard).progress[1].active = true;
        assert_eq!(standing(observer.view(&heard, 50 * SECOND)), Standing::Silent);
        let mut registered = survey();
        registered.registered.insert(id(3), rack());
        assert_eq!(standing(observer.view(&registered, 100 * SECOND)), Standing::Silent);
        assert_eq!(standing(observer.view(&survey(), 159 * SECOND)), Standing::Silent);
        let view = observer.view(&survey(), 160 * SECOND);
        let shard = &view.shards[&ShardId::FIRST];
        assert_eq!((&shard.current, shard.leader), (&[1, 2].map(id).into(), Some(id(1))));
        assert_eq!(standing(view), Standing::Gone);
        let mut never = Observer::new(None);
        never.view(&survey(), SECOND);
        assert_eq!(standing(never.view(&survey(), 10_000 * SECOND)), Standing::Silent);
    }

    #[test]
    fn learners_of_others_are_theirs_until_they_let_them_be() {
        let mut survey = survey();
        let leader = leader(&mut survey);
        leader.learners = vec![4];
        leader.progress.push(wire::Progress { node: 4, matched: 0, active: true, snapshot: true });
        let mut observer = Observer::new(None);
        let learner = |observer: &mut Observer, survey: &Survey, at: Duration| {
            observer.view(survey, at).shards[&ShardId::FIRST].learners[&id(4)]
        };
        assert_eq!(learner(&mut observer, &survey, SECOND), Learner::Foreign);
        assert_eq!(learner(&mut observer, &survey, 2 * STUCK_AFTER), Learner::Stuck);
        let mut own = Observer::new(None);
        own.note(ShardId::FIRST, Action::Add(id(4)), SECOND);
        assert_eq!(learner(&mut own, &survey, SECOND), Learner::Coming);
        self::leader(&mut survey).progress[2] =
            wire::Progress { node: 4, matched: 90, active: true, snapshot: false };
        assert_eq!(learner(&mut own, &survey, SECOND), Learner::Ready);
        assert_eq!(learner(&mut observer, &survey, 2 * STUCK_AFTER), Learner::Foreign);
        assert_eq!(learner(&mut observer, &survey, 2 * STUCK_AFTER + ADOPT_AFTER), Learner::Ready);
    }

    #[test]
    fn a_replica_of_no_member_is_told_if_it_knows_nothing_more() {
        let mut observer = Observer::new(None);
        let mut survey = survey();
        let stray = wire::Description {
            shards: vec![wire::Shard { last: 80, ..shard(false) }],
            ..Default::default()
        };
        survey.answers.insert(id(9), stray);
        let strays = |observer: &mut Observer, survey: &Survey, at: Duration| {
            observer.view(survey, at).shards[&ShardId::FIRST].strays.get(&id(9)).copied()
        };
        let fresh = strays(&mut observer, &survey, SECOND);
        assert_eq!(fresh, Some(Stray::Fresh), "it may have become one a moment ago");
        assert_eq!(strays(&mut observer, &survey, SECOND + STRAY_AFTER), Some(Stray::Due));
        observer.note(ShardId::FIRST, Action::Retire(id(9)), SECOND + STRAY_AFTER);
        let told = strays(&mut observer, &survey, 2 * SECOND + STRAY_AFTER);
        assert_eq!(told, Some(Stray::Fresh));
        survey.answers.get_mut(&id(9)).unwrap().shards[0].last = 91;
        assert_eq!(strays(&mut observer, &survey, 10 * TELL_AGAIN_AFTER), None);
    }
}
