//! Members that talk to each other in memory, message by message.

use std::collections::BTreeMap;

use naming::NodeId;
use proptest::prelude::*;
use prost_raft::Message as _;
use raft::eraftpb::{self, MessageType};

use super::*;
use crate::log::{Entry, EntryKind};

fn id(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

fn begin(voters: &[u64]) -> Log {
    let members = Members::of_voters(voters.iter().map(|number| id(*number)));
    Log::begin(Base { position: Position::FIRST, members })
}

fn open(number: u64, voters: &[u64], change: impl FnOnce(&mut Config)) -> Group {
    let mut config = Config::new(id(number), 7);
    change(&mut config);
    Group::open(config, begin(voters), Position::FIRST).unwrap()
}

fn command(text: &str) -> Bytes {
    Bytes::from(text.to_owned())
}

fn kind(message: &Outgoing) -> MessageType {
    Incoming::decode(&message.bytes).unwrap().kind()
}

/// Members whose disks are at once durable and whose network loses what is `cut`.
#[derive(Default)]
struct Cluster {
    groups: BTreeMap<NodeId, Group>,
    cut: Vec<NodeId>,
    applied: BTreeMap<NodeId, Vec<Entry>>,
    reads: Vec<(NodeId, ReadId)>,
    failed: Vec<(NodeId, ReadId)>,
}

impl Cluster {
    fn new(voters: &[u64]) -> Self {
        let groups = voters.iter().map(|number| (id(*number), open(*number, voters, |_| {}))).collect();
        let mut cluster = Self { groups, ..Self::default() };
        cluster.until(|cluster| cluster.leader().is_some());
        cluster
    }

    fn add(&mut self, number: u64) {
        let config = Config::new(id(number), 7);
        let group = Group::open(config, Log::default(), Position::default()).unwrap();
        self.groups.insert(id(number), group);
    }

    fn leader(&self) -> Option<NodeId> {
        let leads = |group: &&Group| group.leads() && group.raw.raft.commit_to_current_term();
        self.groups.values().find(leads).map(|group| group.config.id)
    }

    fn lead(&mut self) -> &mut Group {
        let leader = self.leader().unwrap();
        self.groups.get_mut(&leader).unwrap()
    }

    /// Does everything there is to do.
    fn settle(&mut self) {
        loop {
            let mut messages = Vec::new();
            for (node, group) in &mut self.groups {
                loop {
                    let actions = group.ready();
                    if actions.is_empty() {
                        break;
                    }
                    messages.extend(actions.send);
                    if let Some(unsynced) = actions.persist {
                        let persisted = group.persisted(unsynced);
                        messages.extend(persisted.send);
                        persisted.install.into_iter().for_each(|position| group.applied(position.index));
                    }
                    if let Some(last) = actions.committed.last() {
                        group.applied(last.position.index);
                    }
                    self.applied.entry(*node).or_default().extend(actions.committed);
                    self.reads.extend(actions.reads.into_iter().map(|read| (*node, read)));
                    self.failed.extend(actions.failed_reads.into_iter().map(|read| (*node, read)));
                    if actions.take_snapshot {
                        let applied = group.status().applied;
                        group.snapshot_taken(Position::new(group.log().term(applied).unwrap(), applied));
                    }
                }
            }
            if messages.is_empty() {
                return;
            }
            for message in messages {
                let incoming = Incoming::decode(&message.bytes).unwrap();
                let cut = self.cut.contains(&incoming.from()) || self.cut.contains(&message.to);
                if let Some(group) = self.groups.get_mut(&message.to).filter(|_| !cut) {
                    group.step(incoming).unwrap();
                }
            }
        }
    }

    fn tick(&mut self) {
        self.groups.values_mut().for_each(Group::tick);
        self.settle();
    }

    fn until(&mut self, done: impl Fn(&Self) -> bool) {
        for _ in 0..1000 {
            if done(self) {
                return;
            }
            self.tick();
        }
        panic!("it does not come about in a thousand ticks");
    }

    fn commands(&self, node: u64) -> Vec<String> {
        let entries = self.applied.get(&id(node)).into_iter().flatten();
        let commands = entries.filter(|entry| entry.kind == EntryKind::Command && !entry.data.is_empty());
        commands.map(|entry| String::from_utf8(entry.data.to_vec()).unwrap()).collect()
    }
}

#[test]
fn what_is_proposed_is_handed_out_everywhere() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let first = cluster.lead().propose(&command("a")).unwrap();
    let second = cluster.lead().propose(&command("b")).unwrap();
    assert_eq!((first.term, first.index + 1), (second.term, second.index));
    cluster.settle();
    cluster.tick();
    for node in 1..=3 {
        assert_eq!(cluster.commands(node), ["a", "b"]);
    }
    let entries = &cluster.applied[&id(1)];
    assert!(entries.iter().any(|entry| entry.position == first && entry.data == command("a")));
}

#[test]
fn promises_wait_for_the_disk() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let leader = cluster.leader().unwrap();
    cluster.lead().propose(&command("a")).unwrap();
    let follower = *cluster.groups.keys().find(|node| **node != leader).unwrap();
    let mut actions = cluster.lead().ready();
    // The leader's appends need not wait for its own disk.
    let append = actions.send.iter().find(|message| message.to == follower).unwrap();
    assert_eq!(kind(append), MessageType::MsgAppend);
    assert!(actions.committed.is_empty());
    let group = cluster.groups.get_mut(&follower).unwrap();
    group.step(Incoming::decode(&append.bytes).unwrap()).unwrap();
    let asked = group.ready();
    assert!(asked.send.is_empty(), "{:?}", asked.send);
    let unsynced = asked.persist.unwrap();
    assert!(
        unsynced.must_sync() && unsynced.records().iter().any(|record| matches!(record, Record::Entry(_)))
    );
    // What comes meanwhile waits, too: the same entries once more, say.
    group.step(Incoming::decode(&append.bytes).unwrap()).unwrap();
    let later = group.ready();
    assert!(later.send.is_empty() && later.persist.as_ref().unwrap().records().is_empty());
    let promised = group.persisted(unsynced).send;
    assert_eq!(promised.iter().map(kind).collect::<Vec<_>>(), [MessageType::MsgAppendResponse]);
    assert_eq!(group.persisted(later.persist.unwrap()).send.len(), 1);
    // With the follower's word and its own disk the leader has a majority; with one of them it has not.
    let leading = cluster.lead();
    leading.step(Incoming::decode(&promised[0].bytes).unwrap()).unwrap();
    assert!(leading.ready().committed.is_empty());
    let _ = leading.persisted(actions.persist.take().unwrap());
    assert!(leading.ready().committed.iter().any(|entry| entry.data == command("a")));
}

#[test]
fn a_single_voters_term_is_durable_before_anybody_hears_of_it() {
    let mut cluster = Cluster::new(&[1]);
    cluster.add(2);
    cluster.lead().change_members(&[MemberChange::AddLearner(id(2))]).unwrap();
    cluster.until(|cluster| {
        cluster.groups[&id(2)].status().applied == cluster.groups[&id(1)].status().last_index
    });
    // The voter starts again, and leads at once.
    let (log, applied) = {
        let group = &cluster.groups[&id(1)];
        (group.log().clone(), group.status().applied)
    };
    let position = Position::new(log.term(applied).unwrap(), applied);
    let mut group = Group::open(Config::new(id(1), 8), log, position).unwrap();
    let mut unsynced = Vec::new();
    while !group.leads() {
        group.tick();
        let actions = group.ready();
        assert!(actions.send.is_empty(), "{:?}", actions.send);
        unsynced.extend(actions.persist);
    }
    group.propose(&command("a")).unwrap();
    let actions = group.ready();
    assert!(actions.send.is_empty(), "{:?}", actions.send);
    unsynced.extend(actions.persist);
    let sent: Vec<Outgoing> =
        unsynced.into_iter().flat_map(|unsynced| group.persisted(unsynced).send).collect();
    assert!(sent.iter().any(|message| kind(message) == MessageType::MsgAppend));
    // From then on its disk is not waited for.
    group.step(Incoming::decode(&response(2, 1, group.term(), applied)).unwrap()).unwrap();
    let _ = group.ready();
    group.propose(&command("b")).unwrap();
    assert!(group.ready().send.iter().any(|message| kind(message) == MessageType::MsgAppend));
}

/// That `from` has entries up to `index`.
fn response(from: u64, to: u64, term: u64, index: u64) -> Vec<u8> {
    let msg_type = MessageType::MsgAppendResponse.into();
    eraftpb::Message { msg_type, from, to, term, index, ..Default::default() }.encode_to_vec()
}

#[test]
fn the_commit_index_is_written_with_the_entries_it_came_with() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let leader = cluster.leader().unwrap();
    let follower = *cluster.groups.keys().find(|node| **node != leader).unwrap();
    cluster.lead().propose(&command("a")).unwrap();
    cluster.settle();
    cluster.tick();
    let committed = cluster.groups[&follower].status().committed;
    // That it is committed came alone, and was not worth a write.
    assert!(cluster.groups[&follower].log().hard_state().commit < committed);
    cluster.lead().propose(&command("b")).unwrap();
    cluster.settle();
    assert!(cluster.groups[&follower].log().hard_state().commit >= committed);
}

#[test]
fn what_is_committed_is_told_once_nothing_else_is_under_way() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let leader = cluster.leader().unwrap();
    let follower = *cluster.groups.keys().find(|node| **node != leader).unwrap();
    let leading = cluster.lead();
    let mut appends_after = |step: &mut dyn FnMut(&mut Group)| {
        step(leading);
        let mut appends = Vec::new();
        loop {
            let actions = leading.ready();
            if actions.is_empty() {
                return appends;
            }
            let sent = actions.send.iter().filter(|message| kind(message) == MessageType::MsgAppend);
            appends.extend(sent.map(|message| Incoming::decode(&message.bytes).unwrap().message.commit));
            if let Some(unsynced) = actions.persist {
                let _ = leading.persisted(unsynced);
            }
        }
    };
    let mut places = Vec::new();
    for text in ["a", "b"] {
        appends_after(&mut |leading| places.push(leading.propose(&command(text)).unwrap()));
    }
    let mut acknowledged = |place: Position| {
        let message = response(follower.get(), leader.get(), place.term, place.index);
        appends_after(&mut |leading| leading.step(Incoming::decode(&message).unwrap()).unwrap())
    };
    assert_eq!(acknowledged(places[0]), [], "the other entry's commitment says it, too");
    assert_eq!(acknowledged(places[1]), [places[1].index; 2]);
}

#[test]
fn proposals_are_refused_with_a_reason() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let leader = cluster.leader().unwrap();
    let follower = *cluster.groups.keys().find(|node| **node != leader).unwrap();
    let refused = cluster.groups.get_mut(&follower).unwrap().propose(&command("a"));
    assert_eq!(refused, Err(ProposeError::NotLeader { leader: Some(leader) }));
    let mut alone = open(1, &[1, 2, 3], |_| {});
    let error = alone.propose(&command("a")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "this member does not lead its group, and knows no leader; try again in a moment"
    );

    let mut group = open(1, &[1], |config| {
        (config.max_proposal_bytes, config.max_uncommitted_bytes, config.max_append_bytes) = (10, 15, 10);
    });
    while !group.leads() {
        group.tick();
    }
    let large = Bytes::from(vec![1; 11]);
    assert_eq!(group.propose(&large), Err(ProposeError::TooLarge { len: 11, limit: 10 }));
    group.propose(&command("0123456789")).unwrap();
    assert_eq!(group.propose(&command("0123456789")), Err(ProposeError::Overloaded));
    assert_eq!(group.counters().proposals_refused, 2);
    let unsynced = group.ready().persist.unwrap();
    let _ = group.persisted(unsynced);
    assert!(!group.ready().committed.is_empty());
    group.propose(&command("0123456789")).unwrap();
}

/// Does all there is to do; whether a snapshot was asked for.
fn run(group: &mut Group) -> bool {
    let mut asked = false;
    loop {
        let actions = group.ready();
        if actions.is_empty() {
            return asked;
        }
        asked |= actions.take_snapshot;
        if let Some(unsynced) = actions.persist {
            let _ = group.persisted(unsynced);
        }
        if let Some(last) = actions.committed.last() {
            group.applied(last.position.index);
        }
    }
}

fn run_leader(adjust: impl FnOnce(&mut Config)) -> Group {
    let mut group = open(1, &[1], adjust);
    while !group.leads() {
        group.tick();
    }
    run(&mut group);
    group
}

#[test]
fn a_large_state_is_written_less_often() {
    let mut group = run_leader(|config| config.snapshot_entries = 10);
    let mut entries_until_asked = |names| {
        group.note_names(names);
        let entries = (1..).find(|_| {
            group.propose(&command("a")).unwrap();
            run(&mut group)
        });
        let applied = group.status().applied;
        group.snapshot_taken(Position::new(group.term(), applied));
        entries.unwrap()
    };
    assert!(entries_until_asked(0) <= 10);
    assert_eq!(entries_until_asked(5), 10);
    assert_eq!(entries_until_asked(30), 30);
}

#[test]
fn a_log_that_waits_for_a_snapshot_takes_no_more() {
    let mut group = run_leader(|config| (config.max_log_bytes, config.snapshot_bytes) = (20, 10));
    group.propose(&command("0123456789")).unwrap();
    assert!(run(&mut group), "a snapshot is asked for");
    group.propose(&command("0123456789")).unwrap();
    assert!(!run(&mut group), "and is not asked for again");
    assert_eq!(group.propose(&command("a")), Err(ProposeError::LogFull { bytes: 20 }));
    group.config.retained_entries = 0;
    let applied = group.status().applied;
    group.snapshot_taken(Position::new(group.term(), applied));
    group.propose(&command("a")).unwrap();
    assert_eq!(group.log().first_index(), applied + 1);
}

#[test]
fn members_change_by_joint_consensus() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let leader = cluster.leader().unwrap();
    let [dead, other] = [1, 2, 3].map(id).into_iter().filter(|node| *node != leader).collect::<Vec<_>>()[..]
    else {
        unreachable!()
    };
    cluster.cut.push(dead);
    cluster.add(4);
    let replace = [MemberChange::AddVoter(id(4)), MemberChange::Remove(dead)];
    let change = |cluster: &mut Cluster, changes: &[MemberChange]| cluster.lead().change_members(changes);
    assert_eq!(change(&mut cluster, &replace), Err(ChangeError::NotALearner(id(4))));
    assert_eq!(change(&mut cluster, &[MemberChange::Remove(leader)]), Err(ChangeError::LeaderItself(leader)));
    assert_eq!(change(&mut cluster, &[MemberChange::Remove(id(9))]), Err(ChangeError::Absent(id(9))));
    assert_eq!(change(&mut cluster, &[MemberChange::AddLearner(dead)]), Err(ChangeError::Present(dead)));
    assert_eq!(change(&mut cluster, &[]), Err(ChangeError::Contradiction(leader)));
    change(&mut cluster, &[MemberChange::AddLearner(id(4))]).unwrap();
    assert_eq!(change(&mut cluster, &replace), Err(ChangeError::Busy));
    cluster.lead().config.max_promotion_lag = 0;
    cluster.settle();
    cluster.until(|cluster| cluster.groups[&id(4)].members().learners.contains(&id(4)));
    cluster.until(|cluster| {
        let leading = &cluster.groups[&cluster.leader().unwrap()];
        !leading.members().is_joint() && leading.check_promotion(id(4)).is_ok()
    });
    change(&mut cluster, &replace).unwrap();
    let expected = Members::of_voters([leader, other, id(4)]);
    cluster.until(|cluster| {
        [leader, other, id(4)].iter().all(|node| *cluster.groups[node].members() == expected)
    });
    // Whoever starts again knows that the change is over, though nothing was proposed after it: else it needed a majority of
    // the members before it as well, who may have given up what they had.
    for node in [leader, other, id(4)] {
        let group = &cluster.groups[&node];
        let (log, last_change) = (group.log().clone(), group.members.back().unwrap().0);
        assert!(log.hard_state().commit >= last_change, "{node}: {:?}, {last_change}", log.hard_state());
    }
    // A snapshot was what the new member began with.
    assert!(cluster.groups[&id(4)].log().first_index() > 2);
    // The dead one comes back, is told nothing, and disturbs nobody.
    cluster.cut.clear();
    let term = cluster.lead().term();
    (0..100).for_each(|_| cluster.tick());
    assert_eq!((cluster.leader(), cluster.lead().term()), (Some(leader), term));
}

#[test]
fn leadership_is_handed_over() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let leader = cluster.leader().unwrap();
    let to = *cluster.groups.keys().find(|node| **node != leader).unwrap();
    assert_eq!(cluster.lead().transfer_leader(id(9)), Err(TransferError::NotAVoter(id(9))));
    cluster.lead().transfer_leader(to).unwrap();
    assert_eq!(cluster.lead().propose(&command("a")), Err(ProposeError::Transferring));
    cluster.until(|cluster| cluster.leader() == Some(to));
    let refused = cluster.groups.get_mut(&leader).unwrap().transfer_leader(to);
    assert_eq!(refused, Err(TransferError::NotLeader { leader: Some(to) }));
}

#[test]
fn reads_are_confirmed_or_fail_but_never_hang() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let leader = cluster.leader().unwrap();
    let follower = *cluster.groups.keys().find(|node| **node != leader).unwrap();
    cluster.lead().propose(&command("a")).unwrap();
    for node in [leader, follower] {
        cluster.groups.get_mut(&node).unwrap().read_index(ReadId(1)).unwrap();
    }
    cluster.settle();
    cluster.tick();
    cluster.reads.sort();
    let mut both = [(leader, ReadId(1)), (follower, ReadId(1))];
    both.sort();
    assert_eq!(cluster.reads, both);
    // Nobody answers; then somebody does.
    cluster.cut.push(follower);
    cluster.groups.get_mut(&follower).unwrap().read_index(ReadId(2)).unwrap();
    (0..5).for_each(|_| cluster.tick());
    assert_eq!(cluster.reads.len(), 2);
    cluster.cut.clear();
    cluster.until(|cluster| cluster.reads.contains(&(follower, ReadId(2))));
    assert!(cluster.groups[&follower].counters().reads_retried > 0);
    // A leader without a majority confirms nothing.
    cluster.cut = cluster.groups.keys().copied().filter(|node| *node != leader).collect();
    cluster.groups.get_mut(&leader).unwrap().read_index(ReadId(3)).unwrap();
    cluster.until(|cluster| !cluster.failed.is_empty());
    assert_eq!(cluster.failed, [(leader, ReadId(3))]);
    let limited = cluster.groups.get_mut(&leader).unwrap();
    limited.reads = Reads::new(&Config { max_reads: 1, ..limited.config });
    limited.read_index(ReadId(4)).unwrap();
    assert_eq!(limited.read_index(ReadId(5)), Err(TooManyReads { limit: 1 }));
}

#[test]
fn a_log_and_a_state_that_do_not_belong_together_are_refused() {
    let config = Config::new(id(1), 1);
    for applied in [Position::new(1, 2), Position::new(2, 1), Position::default()] {
        let error = Group::open(config, begin(&[1]), applied).unwrap_err();
        assert_eq!(error, OpenError::NotTogether { snapshot: applied, first: 2, last: 1 });
    }
    let error =
        Group::open(Config { heartbeat_ticks: 0, ..config }, begin(&[1]), Position::FIRST).unwrap_err();
    assert!(matches!(error, OpenError::Settings(_)));
    let error = Group::open(Config { max_append_bytes: 1 << 30, ..config }, begin(&[1]), Position::FIRST);
    assert!(matches!(error, Err(OpenError::Settings(_))));
}

#[test]
fn a_member_that_lost_its_log_is_told_so() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.lead().propose(&command("a")).unwrap();
    cluster.settle();
    cluster.tick();
    let leader = cluster.leader().unwrap();
    let follower = *cluster.groups.keys().find(|node| **node != leader).unwrap();
    // Its disk is as it was in the beginning.
    cluster.groups.insert(follower, open(follower.get(), &[1, 2, 3], |_| {}));
    cluster.lead().tick();
    let heartbeats = cluster.lead().ready().send;
    let heartbeat = heartbeats.iter().find(|message| message.to == follower).unwrap();
    let heartbeat = Incoming::decode(&heartbeat.bytes).unwrap();
    let error = cluster.groups.get_mut(&follower).unwrap().step(heartbeat).unwrap_err();
    assert!(matches!(error, StepError::LostLog { last: 1, .. }), "{error}");
}

#[test]
fn messages_that_no_peer_sends_are_refused() {
    let message = |kind: MessageType| eraftpb::Message {
        msg_type: kind.into(),
        from: 2,
        to: 1,
        term: 5,
        ..Default::default()
    };
    let entry = |term, index| eraftpb::Entry { term, index, ..Default::default() };
    let append = |entries: Vec<eraftpb::Entry>| eraftpb::Message {
        entries,
        index: 3,
        log_term: 2,
        ..message(MessageType::MsgAppend)
    };
    let snapshot = |voters: Vec<u64>, index, term| {
        let conf_state = Some(eraftpb::ConfState { voters, ..Default::default() });
        let metadata = Some(eraftpb::SnapshotMetadata { conf_state, index, term });
        let snapshot = Some(eraftpb::Snapshot { data: Vec::new(), metadata });
        eraftpb::Message { snapshot, ..message(MessageType::MsgSnapshot) }
    };
    let bad_change = eraftpb::Entry { entry_type: 2, data: vec![0x08, 0x63], ..entry(2, 4) };
    let refused = [
        eraftpb::Message { from: 0, ..message(MessageType::MsgHeartbeat) },
        eraftpb::Message { to: 0, ..message(MessageType::MsgHeartbeat) },
        eraftpb::Message { from: 1, ..message(MessageType::MsgHeartbeat) },
        eraftpb::Message { term: 0, ..message(MessageType::MsgHeartbeat) },
        eraftpb::Message { term: u64::MAX, ..message(MessageType::MsgRequestVote) },
        eraftpb::Message { msg_type: 99, ..message(MessageType::MsgHeartbeat) },
        message(MessageType::MsgHup),
        message(MessageType::MsgPropose),
        message(MessageType::MsgTransferLeader),
        message(MessageType::MsgReadIndexResp),
        eraftpb::Message { term: 0, ..message(MessageType::MsgReadIndex) },
        message(MessageType::MsgSnapshot),
        snapshot(vec![], 9, 3),
        snapshot(vec![1, 2], 0, 3),
        snapshot(vec![1, 2], 9, 6),
        eraftpb::Message { snapshot: snapshot(vec![1], 9, 3).snapshot, ..message(MessageType::MsgAppend) },
        eraftpb::Message { log_term: 0, ..append(vec![]) },
        append(vec![entry(2, 5)]),
        append(vec![entry(2, 4), entry(1, 5)]),
        append(vec![entry(6, 4)]),
        append(vec![eraftpb::Entry { entry_type: 1, ..entry(2, 4) }]),
        append(vec![eraftpb::Entry { entry_type: 9, ..entry(2, 4) }]),
        append(vec![bad_change]),
    ];
    for message in refused {
        assert!(Incoming::decode(&message.encode_to_vec()).is_err(), "{message:?}");
    }
    for message in [append(vec![entry(2, 4), entry(5, 5)]), append(vec![]), snapshot(vec![1, 2], 9, 3)] {
        assert!(Incoming::decode(&message.encode_to_vec()).is_ok(), "{message:?}");
    }
    let misdelivered =
        Incoming::decode(&eraftpb::Message { to: 3, ..append(vec![]) }.encode_to_vec()).unwrap();
    let error = open(1, &[1, 2, 3], |_| {}).step(misdelivered).unwrap_err();
    assert_eq!(error, StepError::Misdelivered { to: id(3), id: id(1) });
}

/// Messages as a peer with any idea of the log might make them up.
fn message() -> impl Strategy<Value = Option<Incoming>> {
    let kinds = prop::sample::select(vec![3, 4, 5, 6, 7, 8, 9, 14, 15, 16, 17, 18]);
    let small = || 0..12_u64;
    let entries =
        prop::collection::vec((1..5_u64, prop::collection::vec(any::<u8>(), 0..3), any::<bool>()), 0..4);
    let numbers = (small(), small(), small(), small(), small(), small());
    let parts = (kinds, 2..5_u64, numbers, entries, any::<bool>(), prop::collection::vec(1..6_u64, 0..4));
    parts.prop_map(|(msg_type, from, numbers, entries, reject, voters)| {
        let (term, log_term, index, commit, reject_hint, request_snapshot) = numbers;
        let entries = entries.into_iter().enumerate().map(|(place, (term, data, members))| eraftpb::Entry {
            entry_type: if members { 2 } else { 0 },
            term,
            index: index + 1 + place as u64,
            data: if members { Vec::new() } else { data },
            ..Default::default()
        });
        let conf_state = Some(eraftpb::ConfState { voters, ..Default::default() });
        let metadata = Some(eraftpb::SnapshotMetadata { conf_state, index: commit, term: log_term });
        let snapshot = (msg_type == 7).then_some(eraftpb::Snapshot { data: Vec::new(), metadata });
        let message = eraftpb::Message {
            msg_type,
            from,
            to: 1,
            term: if msg_type == 15 { 0 } else { term },
            log_term,
            index,
            commit,
            reject,
            reject_hint,
            request_snapshot,
            entries: entries.collect(),
            snapshot,
            ..Default::default()
        };
        Incoming::decode(&message.encode_to_vec()).ok()
    })
}

proptest! {
    #[test]
    fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Incoming::decode(&bytes);
    }

    /// What one peer says may contradict what it said before: that is refused, ignored or believed.
    #[test]
    fn no_peer_makes_a_member_panic(messages in prop::collection::vec(message(), 0..40)) {
        let mut group = open(1, &[1, 2, 3], |_| {});
        for message in messages.into_iter().flatten() {
            let _ = group.step(message);
            let actions = group.ready();
            if let Some(unsynced) = actions.persist {
                let persisted = group.persisted(unsynced);
                persisted.install.into_iter().for_each(|position| group.applied(position.index));
            }
            if let Some(last) = actions.committed.last() {
                group.applied(last.position.index);
            }
            group.tick();
        }
    }
}

#[test]
fn who_had_more_before_does_not_vote() {
    let mut candidate = open(1, &[1, 2], |_| {});
    let asks = loop {
        candidate.tick();
        if let Some(message) = candidate.ready().send.pop() {
            break message;
        }
    };
    let incoming = || Incoming::decode(&asks.bytes).unwrap();
    let mut voter = open(2, &[1, 2], |_| {});
    voter.step(incoming()).unwrap();
    assert!(!voter.ready().is_empty());
    let had = |index| Retired { term: 1, last: Position::new(1, index) };
    for (index, votes) in [(1, true), (2, false)] {
        let mut behind = open(2, &[1, 2], |config| config.retired = had(index));
        behind.step(incoming()).unwrap();
        assert_eq!(!behind.ready().is_empty(), votes, "{index}");
        assert_eq!(behind.retired().last, Position::new(1, index));
    }
    let empty = |retired| {
        Group::open(Config { retired, ..Config::new(id(2), 7) }, Log::default(), Position::default())
    };
    for (retired, votes) in [(Retired::default(), true), (had(1), false)] {
        let mut empty = empty(retired).unwrap();
        empty.step(incoming()).unwrap();
        assert_eq!(!empty.ready().is_empty(), votes, "{retired:?}");
    }
}
