//! What a shell sees of a replica. Many of them, and everything that goes wrong, are in the simulation.

use super::*;
use crate::catalog::snapshot::Restore;
use crate::catalog::{NameRange, RecordKind, ReplicatedTime};
use crate::log::{Members, Record};
use crate::proto::command::Action;
use crate::proto::reply::Outcome;

const HISTORY_BYTES: usize = 1 << 16;

fn id(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

fn begin(number: u64, voters: &[u64]) -> Replica {
    let members = Members::of_voters(voters.iter().map(|number| id(*number)));
    let log = Log::begin(Base { position: Position::FIRST, members });
    let state = Catalog::new(NameRange::all(), Position::FIRST, HISTORY_BYTES);
    Replica::open(Config::new(id(number), 7), log, state).unwrap()
}

fn command(action: Action) -> proto::Command {
    proto::Command { action: Some(action), ..Default::default() }
}

fn name(text: &str) -> naming::Name {
    text.parse().unwrap()
}

fn bytes(text: &str) -> Bytes {
    name(text).as_bytes().to_vec().into()
}

fn put(at: &str) -> proto::Command {
    let kind = proto::RecordKind::Route.into();
    command(Action::PutRecord(proto::PutRecord { kind, name: bytes(at), ..Default::default() }))
}

/// Does what there is to do, with a disk that is at once durable; all of it together, and what was sent.
fn settle(replica: &mut Replica) -> Output {
    let mut all = Output::default();
    loop {
        let output = replica.poll().unwrap();
        if output.is_empty() {
            return all;
        }
        all.send.extend(output.send);
        if let Some(unsynced) = output.persist {
            all.send.extend(replica.persisted(unsynced));
        }
        all.replies.extend(output.replies);
        all.abandoned.extend(output.abandoned);
        all.reads.extend(output.reads);
        all.changes.extend(output.changes);
        all.split.extend(output.split);
        all.snapshot = output.snapshot.or(all.snapshot);
    }
}

fn at(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn leading() -> Replica {
    let mut replica = begin(1, &[1]);
    while replica.group().term_led().is_none() {
        replica.tick(at(0));
        let _ = settle(&mut replica);
    }
    replica
}

#[test]
fn a_command_is_stamped_executed_and_answered() {
    let mut replica = leading();
    replica.propose(RequestId(7), put("/a"), at(1_000)).unwrap();
    replica.propose(RequestId(8), put("/b"), at(1_250)).unwrap();
    let output = settle(&mut replica);
    let answered: Vec<RequestId> = output.replies.iter().map(|(id, _)| *id).collect();
    assert_eq!(answered, [RequestId(7), RequestId(8)]);
    assert!(output.replies.iter().all(|(_, reply)| matches!(reply.outcome, Some(Outcome::Stored(_)))));
    assert_eq!((output.changes.len(), replica.state().time()), (2, ReplicatedTime(250)));
    replica.read(ReadId(1)).unwrap();
    assert_eq!(settle(&mut replica).reads, [ReadId(1)]);
    assert!(replica.state().record(RecordKind::Route, name("/b").as_name()).is_some());
}

#[test]
fn a_leader_lets_time_pass() {
    let mut replica = leading();
    let entry = replica.state().position();
    for tick in 0..=2 * u64::from(Config::new(id(1), 7).pass_time_ticks) {
        replica.tick(at(tick * 50));
        let _ = settle(&mut replica);
    }
    assert!(replica.state().time() >= ReplicatedTime(900), "{:?}", replica.state().time());
    assert!(replica.state().position().index > entry.index);
}

#[test]
fn proposals_of_a_leader_that_is_none_any_more_are_abandoned() {
    let mut replicas: Vec<Replica> = (1..=3).map(|number| begin(number, &[1, 2, 3])).collect();
    let leader = loop {
        replicas.iter_mut().for_each(|replica| replica.tick(at(0)));
        let sent: Vec<Outgoing> = replicas.iter_mut().flat_map(|replica| settle(replica).send).collect();
        for message in sent {
            let replica = &mut replicas[message.to.get() as usize - 1];
            replica.step(Incoming::decode(&message.bytes).unwrap()).unwrap();
        }
        if let Some(leader) = replicas.iter().position(|replica| replica.group().term_led().is_some()) {
            break leader;
        }
    };
    // Nobody hears of it, and in an election timeout it hears of nobody.
    let replica = &mut replicas[leader];
    let _ = settle(replica);
    replica.propose(RequestId(1), put("/a"), at(0)).unwrap();
    let mut abandoned = Vec::new();
    while replica.group().term_led().is_some() {
        replica.tick(at(0));
        abandoned.extend(settle(replica).abandoned);
    }
    assert_eq!(abandoned, [RequestId(1)]);
    assert!(matches!(replica.propose(RequestId(2), put("/a"), at(0)), Err(ProposeError::NotLeader { .. })));
}

#[test]
fn a_restarted_replica_goes_on_from_its_snapshot_and_its_log() {
    let mut replica = leading();
    replica.propose(RequestId(1), put("/a"), at(0)).unwrap();
    let _ = settle(&mut replica);
    let chunks: Vec<Vec<u8>> = SnapshotWriter::new(replica.state()).collect();
    replica.snapshot_taken(replica.state().position());
    replica.propose(RequestId(2), put("/b"), at(0)).unwrap();
    let _ = settle(&mut replica);
    let mut restore = Restore::new(HISTORY_BYTES);
    chunks.iter().for_each(|chunk| restore.push(chunk).unwrap());
    let mut log = Log::default();
    replica.group().log().records().for_each(|record| log.take(record).unwrap());
    let mut again = Replica::open(Config::new(id(1), 8), log, restore.finish().unwrap()).unwrap();
    while again.group().term_led().is_none() {
        again.tick(at(0));
        let _ = settle(&mut again);
    }
    assert!(again.state().record(RecordKind::Route, name("/b").as_name()).is_some());
}

#[test]
fn a_shard_that_is_split_off_begins_where_it_was_split() {
    let mut replica = leading();
    replica.propose(RequestId(1), put("/z"), at(0)).unwrap();
    let split = command(Action::Split(proto::Split { at: bytes("/m") }));
    replica.propose(RequestId(2), split, at(0)).unwrap();
    let output = settle(&mut replica);
    let [SplitOff { state, log }] = <[SplitOff; 1]>::try_from(output.split).unwrap();
    assert_eq!(
        (state.position(), &log.base().members),
        (replica.state().position(), replica.group().members())
    );
    assert!(state.record(RecordKind::Route, name("/z").as_name()).is_some());
    let mut right = Replica::open(Config::new(id(1), 8), log, state).unwrap();
    while right.group().term_led().is_none() {
        right.tick(at(0));
        let _ = settle(&mut right);
    }
    right.propose(RequestId(1), put("/zz"), at(0)).unwrap();
    assert!(matches!(settle(&mut right).replies[0].1.outcome, Some(Outcome::Stored(_))));
}

#[test]
fn a_snapshot_is_announced_and_comes_first() {
    let mut leader = leading();
    leader.propose(RequestId(1), put("/a"), at(0)).unwrap();
    leader.change_members(&[MemberChange::AddLearner(id(2))]).unwrap();
    let empty = Catalog::new(NameRange::all(), Position::default(), HISTORY_BYTES);
    let mut joins = Replica::open(Config::new(id(2), 7), Log::default(), empty).unwrap();
    let (announced, state) = loop {
        leader.tick(at(0));
        let output = settle(&mut leader);
        if output.snapshot.is_some() {
            leader.snapshot_taken(leader.state().position());
        }
        if let Some(message) = output.send.iter().find(|message| message.snapshot.is_some()) {
            break (Incoming::decode(&message.bytes).unwrap(), leader.state().clone());
        }
        for message in output.send {
            joins.step(Incoming::decode(&message.bytes).unwrap()).unwrap();
        }
        for message in settle(&mut joins).send {
            leader.step(Incoming::decode(&message.bytes).unwrap()).unwrap();
        }
    };
    assert!(joins.step(announced.clone()).is_err(), "the state is missing");
    let other = Catalog::new(NameRange::all(), Position::new(9, 9), HISTORY_BYTES);
    assert!(joins.step_snapshot(announced.clone(), other).is_err(), "the state is another one");
    joins.step_snapshot(announced, state).unwrap();
    let unsynced = joins.poll().unwrap().persist.unwrap();
    assert!(unsynced.records().iter().any(|record| matches!(record, Record::Reset(_))));
    assert_eq!(joins.state().position(), Position::default(), "the log does not know of it yet");
    let _ = joins.persisted(unsynced);
    assert_eq!(joins.state().checksum(), leader.state().checksum());
}
