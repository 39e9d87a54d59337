//! What each command does, and what it must not.

use naming::Name;
use prost::Message;

use super::capacity::{MAX_BATCH, SESSION_MS};
use super::*;
use crate::proto::command::Action;
use crate::proto::refused::Reason;
use crate::proto::reply::Outcome;

/// A shard and the log it applied.
pub(super) struct Shard {
    pub(super) state: Catalog,
    pub(super) log: Vec<Bytes>,
    pub(super) events: Vec<Event>,
    now: u64,
}

impl Shard {
    pub(super) fn new() -> Self {
        Self::of(Catalog::new(NameRange::all(), Position::default(), 1 << 20))
    }

    pub(super) fn of(state: Catalog) -> Self {
        Self { state, log: Vec::new(), events: Vec::new(), now: 0 }
    }

    pub(super) fn apply(&mut self, command: &proto::Command) -> Applied {
        let data = Bytes::from(command.encode_to_vec());
        let index = self.state.position().index + 1;
        self.log.push(data.clone());
        let applied = self.state.apply(Position::new(1, index), data).unwrap();
        self.events.extend(applied.changes.events.iter().cloned());
        applied
    }

    pub(super) fn run(&mut self, action: Action) -> Outcome {
        let command = proto::Command { session: None, time_ms: self.now, action: Some(action) };
        self.apply(&command).reply.outcome.unwrap()
    }

    pub(super) fn refused(&mut self, action: Action) -> Reason {
        match self.run(action) {
            Outcome::Refused(refused) => refused.reason.unwrap(),
            outcome => panic!("not refused: {outcome:?}"),
        }
    }

    pub(super) fn pass(&mut self, milliseconds: u64) {
        self.now += milliseconds;
        self.run(Action::PassTime(proto::PassTime {}));
    }

    fn in_session(&mut self, client: u64, sequence: u64, action: Action) -> proto::Reply {
        let session = Some(proto::Session { client, sequence });
        self.apply(&proto::Command { session, time_ms: self.now, action: Some(action) }).reply
    }

    fn open(&mut self) -> u64 {
        match self.run(Action::OpenSession(proto::OpenSession {})) {
            Outcome::SessionOpened(opened) => opened.client,
            outcome => panic!("{outcome:?}"),
        }
    }
}

pub(super) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(super) fn bytes(text: &str) -> Bytes {
    name(text).as_bytes().to_vec().into()
}

fn id(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

pub(super) fn register(node: u64, incarnation: u64) -> Action {
    Action::RegisterNode(proto::RegisterNode {
        node,
        rack: "r1".to_owned(),
        addresses: vec!["10.0.0.1:6363".to_owned()],
        incarnation,
        lease_ms: 1000,
    })
}

pub(super) fn put(at: &str, value: &str, expected_revision: Option<u64>) -> Action {
    let (kind, value) = (proto::RecordKind::Route.into(), Bytes::from(value.to_owned()));
    Action::PutRecord(proto::PutRecord { kind, name: bytes(at), value, expected_revision })
}

fn remove(at: &str, expected_revision: Option<u64>) -> Action {
    let kind = proto::RecordKind::Route.into();
    Action::RemoveRecord(proto::RemoveRecord { kind, name: bytes(at), expected_revision })
}

pub(super) fn acquire(at: &str, node: u64, epoch: u64) -> Action {
    Action::AcquireAuthority(proto::AcquireAuthority { prefix: bytes(at), node, epoch, lease_ms: 1000 })
}

pub(super) fn publish(node: u64, epoch: u64, names: &[&str]) -> Action {
    let copy = |text: &&str| proto::Copy { name: bytes(text), digest: vec![7; 32].into(), length: 5 };
    Action::Publish(proto::Publish { node, epoch, copies: names.iter().map(copy).collect() })
}

pub(super) fn withdraw(node: u64, names: &[&str]) -> Action {
    Action::Withdraw(proto::Withdraw { node, names: names.iter().map(|text| bytes(text)).collect() })
}

pub(super) fn retire(node: u64, epoch: u64) -> Action {
    Action::RetireHolder(proto::RetireHolder { node, epoch })
}

pub(super) fn split(at: &str) -> Action {
    Action::Split(proto::Split { at: bytes(at) })
}

fn stored(outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::Stored(stored) => stored.revision,
        outcome => panic!("{outcome:?}"),
    }
}

fn granted(outcome: &Outcome) -> (u64, u64) {
    match outcome {
        Outcome::Granted(granted) => (granted.term, granted.expires_ms),
        outcome => panic!("{outcome:?}"),
    }
}

const DONE: Outcome = Outcome::Done(proto::Done {});

#[test]
fn a_node_has_an_epoch_for_each_start() {
    let mut shard = Shard::new();
    assert_eq!(shard.run(register(7, 1)), Outcome::Registered(proto::Registered { epoch: 1 }));
    // Once more, in the same life.
    assert_eq!(shard.run(register(7, 1)), Outcome::Registered(proto::Registered { epoch: 1 }));
    assert_eq!(shard.run(register(7, 2)), Outcome::Registered(proto::Registered { epoch: 3 }));
    assert_eq!(shard.state.node(id(7)).unwrap().location.rack.as_str(), "r1");
    assert_eq!(shard.run(Action::RemoveNode(proto::RemoveNode { node: 7 })), DONE);
    assert_eq!(shard.state.node(id(7)), None);
    assert_eq!(shard.run(register(7, 3)), Outcome::Registered(proto::Registered { epoch: 5 }));
}

#[test]
fn a_node_that_does_not_renew_is_down() {
    let mut shard = Shard::new();
    shard.run(register(7, 1));
    shard.run(register(8, 1));
    let renew = |node, epoch| {
        let nodes = vec![proto::NodeEpoch { node, epoch }, proto::NodeEpoch { node: 9, epoch: 1 }];
        Action::RenewNodes(proto::RenewNodes { nodes, lease_ms: 1000 })
    };
    shard.pass(600);
    assert_eq!(shard.run(renew(7, 1)), Outcome::Renewed(proto::Renewed { stale: vec![9] }));
    assert_eq!(shard.run(renew(8, 1)), Outcome::Renewed(proto::Renewed { stale: vec![8, 9] }));
    shard.events.clear();
    shard.pass(600);
    let down = |node, epoch| Event {
        name: nodes::name_of(id(node)),
        change: Change::NodeDown { node: id(node), epoch },
    };
    assert_eq!(shard.events, [down(8, 2)]);
    shard.pass(400);
    assert_eq!(shard.events, [down(8, 2), down(7, 1)]);
    // It was only slow.
    assert_eq!(shard.run(renew(7, 1)), Outcome::Renewed(proto::Renewed { stale: vec![9] }));
    assert!(matches!(shard.events.last().unwrap().change, Change::NodeUp { epoch: 1, .. }));
    assert_eq!(shard.state.nodes(None).count(), 2);
    assert_eq!(shard.state.nodes(Some(id(7))).map(|node| node.location.node).collect::<Vec<_>>(), [id(8)]);
}

#[test]
fn an_authority_has_one_holder_at_a_time() {
    let mut shard = Shard::new();
    assert_eq!(granted(&shard.run(acquire("/mc/web", 1, 5))), (1, 1000));
    shard.pass(400);
    assert_eq!(granted(&shard.run(acquire("/mc/web", 1, 5))), (1, 1400));
    let held = proto::Held { node: 1, epoch: 5, term: 1, remaining_ms: 1000 };
    assert_eq!(shard.refused(acquire("/mc/web", 2, 9)), Reason::Held(held));
    // An earlier life of the holder, and a later one.
    assert_eq!(shard.refused(acquire("/mc/web", 1, 4)), Reason::StaleEpoch(proto::StaleEpoch { epoch: 5 }));
    assert_eq!(granted(&shard.run(acquire("/mc/web", 1, 6))), (2, 1400));
    shard.pass(999);
    assert!(matches!(shard.refused(acquire("/mc/web", 2, 9)), Reason::Held(_)));
    shard.pass(1);
    assert_eq!(granted(&shard.run(acquire("/mc/web", 2, 9))), (3, 2400));
    let key = name("/mc/web/user:42");
    let (prefix, authority) = shard.state.authority(key.as_name()).unwrap();
    assert_eq!((prefix.to_name(), authority.node, authority.term), (name("/mc/web"), Some(id(2)), 3));
    let release = |node, epoch| {
        Action::ReleaseAuthority(proto::ReleaseAuthority { prefix: bytes("/mc/web"), node, epoch })
    };
    assert_eq!(shard.refused(release(1, 6)), Reason::NotFound(proto::NotFound {}));
    assert_eq!(shard.run(release(2, 9)), DONE);
    assert_eq!(granted(&shard.run(acquire("/mc/web", 1, 6))), (4, 2400));
    assert_eq!(shard.state.authorities(name("/mc").as_name(), None).count(), 1);
}

#[test]
fn a_record_is_changed_if_it_is_the_one_expected() {
    let mut shard = Shard::new();
    let first = stored(&shard.run(put("/a", "1", Some(0))));
    assert_eq!(shard.refused(put("/a", "2", Some(0))), Reason::Conflict(proto::Conflict { revision: first }));
    let second = stored(&shard.run(put("/a", "2", Some(first))));
    assert!(second > first);
    let third = stored(&shard.run(put("/a", "3", None)));
    assert_eq!(
        shard.refused(remove("/a", Some(second))),
        Reason::Conflict(proto::Conflict { revision: third })
    );
    assert_eq!(shard.run(remove("/a", Some(third))), DONE);
    assert_eq!(shard.refused(remove("/a", None)), Reason::NotFound(proto::NotFound {}));
}

#[test]
fn records_are_found_by_prefix() {
    let mut shard = Shard::new();
    for at in ["/a", "/a/b/c", "/ab", "/b"] {
        shard.run(put(at, at, None));
    }
    let longest = |text: &str| {
        let name = name(text);
        shard.state.longest_record(RecordKind::Route, name.as_name()).map(|(prefix, _)| prefix.to_string())
    };
    assert_eq!(longest("/a/b/c/d").as_deref(), Some("/a/b/c"));
    assert_eq!(longest("/a/b").as_deref(), Some("/a"));
    assert_eq!(longest("/c"), None);
    let listed = |prefix: &str, after: Option<&str>| -> Vec<String> {
        let (prefix, after) = (name(prefix), after.map(name));
        let records =
            shard.state.records(RecordKind::Route, prefix.as_name(), after.as_ref().map(Name::as_name));
        records.map(|(name, _)| name.to_string()).collect()
    };
    assert_eq!(listed("/", None), ["/a", "/a/b/c", "/b", "/ab"]);
    assert_eq!(listed("/a", None), ["/a", "/a/b/c"]);
    assert_eq!(listed("/a", Some("/a")), ["/a/b/c"]);
    assert_eq!(shard.state.records(RecordKind::Pool, NameRef::default(), None).count(), 0);
}

#[test]
fn copies_are_published_and_withdrawn() {
    let mut shard = Shard::new();
    let added = |outcome| match outcome {
        Outcome::Published(published) => (published.added, published.refused),
        outcome => panic!("{outcome:?}"),
    };
    assert_eq!(added(shard.run(publish(1, 1, &["/x/1", "/x/2"]))), (2, 0));
    assert_eq!(added(shard.run(publish(2, 1, &["/x/2", "/x/3"]))), (2, 0));
    assert_eq!(added(shard.run(publish(1, 1, &["/x/1"]))), (0, 0));
    let holders =
        |shard: &Shard, text: &str| shard.state.copies(name(text).as_name()).map(|copies| copies.holders);
    assert_eq!(holders(&shard, "/x/2"), Some(vec![id(1), id(2)]));
    let removed = Outcome::Withdrawn(proto::Withdrawn { removed: 1 });
    assert_eq!(shard.run(withdraw(1, &["/x/2", "/x/3"])), removed);
    assert_eq!(holders(&shard, "/x/2"), Some(vec![id(2)]));
    assert_eq!(shard.run(withdraw(2, &["/x/2"])), removed);
    assert_eq!(holders(&shard, "/x/2"), None);
    let listed: Vec<Name> =
        shard.state.names_with_copies(name("/x").as_name(), None).map(|(name, _)| name).collect();
    assert_eq!(listed, [name("/x/1"), name("/x/3")]);
}

#[test]
fn a_name_stands_for_one_content() {
    let mut shard = Shard::new();
    shard.run(publish(1, 1, &["/x/1", "/x/2"]));
    let Action::Publish(mut other) = publish(2, 1, &["/x/1", "/x/2", "/x/3"]) else { unreachable!() };
    other.copies[1].digest = vec![8; 32].into();
    let Outcome::Published(published) = shard.run(Action::Publish(other)) else { unreachable!() };
    let refusal = proto::RefusedCopy { place: 1, reason: proto::CopyRefusal::OtherContent.into() };
    assert_eq!((published.added, published.refused, published.refusals), (2, 1, vec![refusal]));
    assert_eq!(shard.state.counters().copies_refused, 1);
    let many: Vec<Outcome> = (2..70).map(|node| shard.run(publish(node, 1, &["/y"]))).collect();
    let Some(Outcome::Published(last)) = many.last() else { unreachable!() };
    assert_eq!(last.refusals[0].reason(), proto::CopyRefusal::EnoughCopies);
    assert_eq!(shard.state.copies(name("/y").as_name()).unwrap().holders.len(), capacity::COPIES_OF_A_NAME);
}

#[test]
fn a_retired_holder_is_gone_at_once_and_stays_away() {
    let mut shard = Shard::new();
    shard.run(publish(1, 5, &["/x/1", "/x/2"]));
    shard.run(publish(2, 5, &["/x/2"]));
    shard.events.clear();
    assert_eq!(shard.run(retire(1, 5)), DONE);
    assert_eq!(shard.events, [Event { name: Name::root(), change: Change::HolderRetired { node: id(1) } }]);
    assert_eq!(shard.state.copies(name("/x/1").as_name()), None);
    assert_eq!(shard.state.copies(name("/x/2").as_name()).unwrap().holders, [id(2)]);
    // What was under way when it was retired.
    assert_eq!(shard.refused(publish(1, 5, &["/x/1"])), Reason::StaleEpoch(proto::StaleEpoch { epoch: 6 }));
    shard.run(publish(1, 6, &["/x/1"]));
    assert_eq!(shard.state.copies(name("/x/1").as_name()).unwrap().holders, [id(1)]);
    assert_eq!(
        shard.state.tables().find(|table| table.0 == "slots").unwrap().1,
        2,
        "the retired slot is purged"
    );
}

#[test]
fn a_retry_is_answered_and_not_executed() {
    let mut shard = Shard::new();
    let client = shard.open();
    let first = shard.in_session(client, 1, put("/a", "1", None));
    let other = shard.run(put("/a", "2", None));
    assert_eq!(shard.in_session(client, 1, put("/a", "1", None)), first);
    let record = shard.state.record(RecordKind::Route, name("/a").as_name()).unwrap();
    assert_eq!((record.revision, &record.value[..]), (stored(&other), &b"2"[..]));
    assert_eq!(shard.state.counters().repeated, 1);
    shard.in_session(client, 3, put("/a", "3", None));
    let refused = |reply: proto::Reply| match reply.outcome {
        Some(Outcome::Refused(refused)) => refused.reason.unwrap(),
        outcome => panic!("{outcome:?}"),
    };
    let passed = Reason::SequencePassed(proto::SequencePassed { last: 3 });
    assert_eq!(refused(shard.in_session(client, 1, put("/a", "1", None))), passed);
    assert_eq!(refused(shard.in_session(client, 0, put("/a", "1", None))), passed);
    let close = Action::CloseSession(proto::CloseSession {});
    assert_eq!(shard.in_session(client, 4, close).outcome, Some(DONE));
    let unknown = Reason::SessionUnknown(proto::SessionUnknown {});
    assert_eq!(refused(shard.in_session(client, 5, put("/a", "5", None))), unknown);
}

#[test]
fn a_silent_session_expires_and_its_commands_are_not_executed() {
    let mut shard = Shard::new();
    let (silent, busy) = (shard.open(), shard.open());
    assert_ne!(silent, busy);
    shard.in_session(silent, 1, put("/a", "1", None));
    shard.pass(SESSION_MS);
    shard.in_session(busy, 1, put("/b", "1", None));
    assert_eq!(shard.state.sessions.table.len(), 2);
    shard.pass(1);
    assert_eq!(shard.state.sessions.table.len(), 1);
    assert!(matches!(shard.in_session(silent, 1, put("/a", "1", None)).outcome, Some(Outcome::Refused(_))));
    assert_eq!(shard.state.counters().sessions_expired, 1);
}

#[test]
fn time_does_not_go_back() {
    let mut shard = Shard::new();
    shard.pass(500);
    shard.now = 200;
    shard.pass(0);
    assert_eq!(shard.state.time(), ReplicatedTime(500));
}

#[test]
fn what_is_not_understood_has_a_reply_and_changes_nothing() {
    let mut shard = Shard::new();
    let client = shard.open();
    let action = |shard: &mut Shard, data: &[u8]| {
        let index = shard.state.position().index + 1;
        let applied = shard.state.apply(Position::new(1, index), Bytes::copy_from_slice(data)).unwrap();
        match applied.reply.outcome.unwrap() {
            Outcome::Refused(refused) => refused.reason.unwrap(),
            outcome => panic!("{outcome:?}"),
        }
    };
    let before = shard.state.sessions.table.checksum();
    // Field 4000, a message: an action of a later release, in a session.
    let session =
        proto::Command { session: Some(proto::Session { client, sequence: 1 }), ..Default::default() };
    let mut later = session.encode_to_vec();
    later.extend([0x82, 0xfa, 0x01, 0x01, 0x00]);
    assert_eq!(action(&mut shard, &later), Reason::Unsupported(proto::Unsupported { version: 1 }));
    assert_eq!(action(&mut shard, b""), Reason::Unsupported(proto::Unsupported { version: 1 }));
    assert!(matches!(action(&mut shard, b"\xff\xff"), Reason::Malformed(_)));
    assert!(matches!(action(&mut shard, &vec![0; capacity::MAX_COMMAND_LEN + 1]), Reason::Malformed(_)));
    // The session still expects its first command.
    assert_eq!(shard.state.sessions.table.checksum(), before);
    assert!(matches!(shard.in_session(client, 1, put("/a", "1", None)).outcome, Some(Outcome::Stored(_))));
}

#[test]
fn malformed_commands() {
    let mut shard = Shard::new();
    let bad_name = |at: &mut Bytes| *at = Bytes::from_static(b"\x00");
    let mut cases = vec![
        register(0, 1),
        acquire("/a", 0, 1),
        publish(1, 1, &[]),
        publish(1, 1, &["/b", "/a"]),
        publish(1, 1, &["/a", "/a"]),
        withdraw(1, &["/b", "/a"]),
        Action::Publish(proto::Publish { node: 1, epoch: 1, copies: vec![proto::Copy::default(); 1] }),
        Action::Withdraw(proto::Withdraw { node: 1, names: vec![bytes("/a"); MAX_BATCH + 1] }),
        put("/a", &"x".repeat(capacity::MAX_RECORD_LEN + 1), None),
        Action::CloseSession(proto::CloseSession {}),
    ];
    for (rack, address, lease_ms) in [("", "1.1.1.1:1", 1), ("r", "1.1.1.1", 1), ("r", "1.1.1.1:1", 0)] {
        let (rack, addresses) = (rack.to_owned(), vec![address.to_owned()]);
        cases.push(Action::RegisterNode(proto::RegisterNode {
            node: 1,
            rack,
            addresses,
            incarnation: 1,
            lease_ms,
        }));
    }
    if let Action::PutRecord(mut request) = put("/a", "1", None) {
        bad_name(&mut request.name);
        cases.push(Action::PutRecord(request));
    }
    let before = shard.state.nodes.table.checksum();
    for case in cases {
        let shown = format!("{case:?}");
        assert!(matches!(shard.refused(case), Reason::Malformed(_)), "{shown}");
    }
    assert_eq!(shard.state.nodes.table.checksum(), before);
    let unknown = proto::PutRecord { kind: 99, name: bytes("/a"), ..Default::default() };
    assert!(matches!(shard.refused(Action::PutRecord(unknown)), Reason::Unsupported(_)));
}

#[test]
fn a_later_version_stops_an_earlier_release() {
    let mut shard = Shard::new();
    let raise = |version| proto::Command {
        action: Some(Action::RaiseVersion(proto::RaiseVersion { version })),
        ..Default::default()
    };
    assert_eq!(shard.apply(&raise(VERSION)).reply.outcome, Some(DONE));
    let before = (shard.state.position(), shard.state.checksum());
    let next = Position::new(1, 2);
    let error = shard.state.apply(next, raise(VERSION + 1).encode_to_vec().into()).unwrap_err();
    assert_eq!(error, ApplyError::TooNew { at: next, version: VERSION + 1 });
    assert_eq!((shard.state.position(), shard.state.checksum()), before);
}

#[test]
fn a_full_table_refuses_what_is_new() {
    let mut shard = Shard::new();
    for pool in 0..capacity::POOLS {
        let kind = proto::RecordKind::Pool.into();
        let name = bytes(&format!("/mc/{pool}"));
        let put = proto::PutRecord { kind, name, ..Default::default() };
        assert!(matches!(shard.run(Action::PutRecord(put)), Outcome::Stored(_)));
    }
    let put = |at: &str| {
        Action::PutRecord(proto::PutRecord {
            kind: proto::RecordKind::Pool.into(),
            name: bytes(at),
            ..Default::default()
        })
    };
    let full = Reason::Full(proto::Full { table: "pools".to_owned(), capacity: capacity::POOLS as u64 });
    assert_eq!(shard.refused(put("/mc/one-more")), full);
    assert!(matches!(shard.run(put("/mc/0")), Outcome::Stored(_)));
    assert_eq!(shard.state.counters().table_full, 1);
}

#[test]
fn a_split_divides_everything_and_each_half_refuses_the_other() {
    let mut shard = Shard::new();
    let client = shard.open();
    for (at, node) in [("/a", 1), ("/m", 2), ("/z", 3)] {
        shard.run(put(at, at, None));
        shard.run(acquire(at, node, 1));
        shard.run(publish(node, 1, &[&format!("{at}/1"), &format!("{at}/2")]));
    }
    shard.run(register(9, 1));
    let executed = shard.in_session(client, 1, put("/z", "once", None));
    assert!(matches!(shard.refused(split("/")), Reason::WrongShard(_)));
    let command = proto::Command { action: Some(split("/m")), ..Default::default() };
    let applied = shard.apply(&command);
    let right = *applied.split.unwrap();
    assert_eq!(
        (shard.state.range().to_string(), right.range().to_string()),
        ("[/, /m)".into(), "[/m, end)".into())
    );
    let count = |state: &Catalog| {
        let (all, route) = (NameRef::default(), RecordKind::Route);
        (
            state.records(route, all, None).count(),
            state.authorities(all, None).count(),
            state.names_with_copies(all, None).count(),
        )
    };
    assert_eq!((count(&shard.state), count(&right)), ((1, 1, 2), (2, 2, 4)));
    // Components of four bytes stand behind those of one.
    assert!(shard.state.node(id(9)).is_none() && right.node(id(9)).is_some());
    assert_eq!(shard.events.last().unwrap().change, Change::Split);
    let wrong = Reason::WrongShard(proto::WrongShard { from: Bytes::new(), until: Some(bytes("/m")) });
    assert_eq!(shard.refused(put("/z", "2", None)), wrong);
    assert_eq!(shard.refused(publish(1, 1, &["/a/3", "/m/3"])), wrong);
    let mut right = Shard::of(right);
    assert!(matches!(right.refused(put("/a", "2", None)), Reason::WrongShard(_)));
    // What was executed before the split is known to both.
    assert_eq!(right.in_session(client, 1, put("/z", "once", None)), executed);
    assert_eq!(right.state.copies(name("/m/1").as_name()).unwrap().holders, [id(2)]);
}

/// Where the shard is split, and how many names stand before.
fn divided(shard: &Shard) -> Option<(String, usize)> {
    let middle = shard.state.middle()?;
    let mut left = shard.state.clone();
    left.split(middle.as_name()).unwrap();
    Some((middle.to_string(), left.names()))
}

#[test]
fn a_shard_is_divided_in_its_middle_and_no_block_of_it() {
    let mut shard = Shard::new();
    assert_eq!(divided(&shard), None);
    shard.run(publish(1, 1, &["/a/1"]));
    shard.run(put("/a/1", "", None));
    assert_eq!((divided(&shard), shard.state.names()), (None, 2), "one name, twice");
    for block in 10..22 {
        let chunks: Vec<String> = (0..5).map(|chunk| format!("/h/{block}/v=1/seg={chunk}")).collect();
        shard.run(publish(1, 1, &chunks.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    // 31 of 62 stand before the fifth chunk of the block.
    assert_eq!(divided(&shard), Some(("/h/15".to_owned(), 27)));
    // Half as many again behind them: what is under a prefix stays together if that is not more than a quarter.
    shard.run(publish(
        1,
        1,
        &(100..130)
            .map(|number| format!("/zz/{number}"))
            .collect::<Vec<_>>()
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    ));
    assert_eq!(divided(&shard), Some(("/h/18".to_owned(), 42)));
}

#[test]
fn nodes_are_not_divided() {
    let mut shard = Shard::new();
    (1..=20).for_each(|node| drop(shard.run(register(node, 1))));
    assert_eq!(divided(&shard), None);
    shard.run(put("/stream/clicks", "", None));
    assert_eq!(divided(&shard), Some(("/stream".to_owned(), 20)));
    (10..20).for_each(|number| drop(shard.run(put(&format!("/b/{number}"), "", None))));
    assert_eq!(divided(&shard), Some(("/node".to_owned(), 10)));
}

#[test]
fn a_large_shard_is_divided_by_runs_of_names() {
    let mut shard = Shard::new();
    let names: Vec<String> = (0..20_000).map(|number| format!("/h/{number:05}/v=1/seg=0")).collect();
    for batch in names.chunks(MAX_BATCH) {
        shard.run(publish(1, 1, &batch.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    let (at, before) = divided(&shard).unwrap();
    assert!((9_800..=10_200).contains(&before) && at.len() == "/h/00000".len(), "{at}: {before}");
}
