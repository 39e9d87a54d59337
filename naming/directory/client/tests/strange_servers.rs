//! Servers that say what they must not, or what does not belong to what they were asked.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

#[path = "support/strange.rs"]
mod strange;

use naming_directory::frame;
use naming_directory::proto::{self, RecordKind, refused::Reason, reply::Outcome};
use naming_directory_client::wire::{self, FailureKind, Table, response::Body};
use proptest::prelude::*;
use prost::bytes::Bytes;
use strange::{Said, survive};

/// Components as NDN encodes them: most are names, some are none.
fn name() -> impl Strategy<Value = Bytes> {
    let component =
        prop_oneof![Just(b"a".to_vec()), Just(b"z".to_vec()), prop::collection::vec(any::<u8>(), 0..3)];
    let component = component.prop_map(|value| [&[8, value.len() as u8], &value[..]].concat());
    let name = prop::collection::vec(component, 0..3).prop_map(|name| name.concat());
    prop_oneof![9 => name, 1 => prop::collection::vec(any::<u8>(), 0..6)].prop_map(Bytes::from)
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..4_u64, 1 => any::<u64>()]
}

fn position() -> impl Strategy<Value = Option<proto::Position>> {
    prop::option::of((number(), number()).prop_map(|(term, index)| proto::Position { term, index }))
}

fn change() -> impl Strategy<Value = wire::event::Change> {
    use wire::event::Change;
    prop_oneof![
        (number(), "[/a-z]{0,3}", prop::option::of("[0-9:.]{0,9}")).prop_map(|(node, rack, address)| {
            let addresses = address.into_iter().collect();
            Change::NodeUp(wire::NodeUp { node, rack, addresses, epoch: 1 })
        }),
        number().prop_map(|node| Change::NodeDown(wire::NodeDown { node, epoch: 1 })),
        (0..6, prop::option::of(number())).prop_map(|(kind, revision)| {
            let document =
                revision.map(|revision| wire::Document { revision, value: Bytes::from_static(b"x") });
            Change::Record(wire::Record { kind, document })
        }),
        (number(), 30..34_usize).prop_map(|(node, len)| {
            Change::Copy(wire::Copy { node, digest: vec![7; len].into(), length: 1 })
        }),
        Just(Change::Split(wire::Split {})),
    ]
}

fn events() -> impl Strategy<Value = Vec<wire::Event>> {
    let event = (name(), prop::option::weighted(0.9, change()));
    prop::collection::vec(event.prop_map(|(name, change)| wire::Event { name, change }), 0..3)
}

fn shard() -> impl Strategy<Value = wire::Shard> {
    let members = || prop::collection::vec(number(), 0..4);
    let range = (name(), prop::option::of(name()));
    (number(), range, members(), members(), number(), number(), any::<bool>()).prop_map(
        |(shard, (from, until), voters, learners, leader, applied, leads)| {
            let progress =
                voters.iter().map(|node| wire::Progress { node: *node, active: true, ..Default::default() });
            let progress = progress.collect();
            wire::Shard {
                shard,
                from,
                until,
                voters,
                learners,
                leader,
                applied,
                leads,
                progress,
                ..Default::default()
            }
        },
    )
}

fn reason() -> impl Strategy<Value = Reason> {
    prop_oneof![
        number().prop_map(|version| Reason::Unsupported(proto::Unsupported { version: version as u32 })),
        (name(), prop::option::of(name()))
            .prop_map(|(from, until)| Reason::WrongShard(proto::WrongShard { from, until })),
        Just(Reason::SessionUnknown(proto::SessionUnknown {})),
        number().prop_map(|last| Reason::SequencePassed(proto::SequencePassed { last })),
        number().prop_map(|node| Reason::Held(proto::Held { node, ..Default::default() })),
        number().prop_map(|epoch| Reason::StaleEpoch(proto::StaleEpoch { epoch })),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Done(proto::Done {})),
        number().prop_map(|client| Outcome::SessionOpened(proto::SessionOpened { client })),
        prop::collection::vec(number(), 0..3).prop_map(|stale| Outcome::Renewed(proto::Renewed { stale })),
        number().prop_map(|place| {
            let refusals = vec![proto::RefusedCopy { place: place as u32, reason: 9 }];
            Outcome::Published(proto::Published { added: 1, refused: u32::MAX, refusals })
        }),
        prop::option::weighted(0.9, reason()).prop_map(|reason| Outcome::Refused(proto::Refused { reason })),
    ]
}

fn resolution() -> impl Strategy<Value = wire::Resolution> {
    let copies = (31..34_usize, number()).prop_map(|(len, holder)| wire::Copies {
        digest: vec![7; len].into(),
        length: 1,
        holders: vec![holder],
    });
    let authority = (number(), any::<u64>()).prop_map(|(node, remaining_ms)| wire::Authority {
        prefix_len: u32::MAX,
        node,
        remaining_ms,
        ..Default::default()
    });
    let route = number().prop_map(|len| wire::Route { prefix_len: len as u32, ..Default::default() });
    (prop::option::of(copies), prop::option::of(authority), prop::option::of(route))
        .prop_map(|(copies, authority, route)| wire::Resolution { copies, authority, route })
}

/// Some with a checksum that is right, by whoever wrote nonsense.
fn chunk() -> impl Strategy<Value = Body> {
    let payload = prop::collection::vec(any::<u8>(), 0..20);
    let framed = (0..13_u8, payload).prop_map(|(kind, payload)| {
        let mut data = Vec::new();
        frame::write(&mut data, kind, &payload);
        data
    });
    let data = prop_oneof![3 => framed, 1 => prop::collection::vec(any::<u8>(), 0..30)];
    data.prop_map(|data| Body::Chunk(wire::Chunk { data: data.into() }))
}

fn body() -> impl Strategy<Value = Body> {
    let reply = prop::option::weighted(0.9, outcome())
        .prop_map(|outcome| Body::Reply(proto::Reply { position: None, outcome }));
    let resolved = (prop::collection::vec(resolution(), 0..4), position())
        .prop_map(|(resolutions, position)| Body::Resolved(wire::Resolved { resolutions, position }));
    let cursor = (0..8, name()).prop_map(|(table, name)| wire::Cursor { table, name });
    let listing = (events(), prop::option::of(cursor), position(), name(), prop::option::of(name()))
        .prop_map(|(events, next, position, from, until)| {
            Body::Listing(wire::Listing { events, next, position, from, until })
        });
    let changed = (position(), position(), events()).prop_map(|(after, position, events)| {
        Body::Changed(wire::Changed { after, position, events, current: true })
    });
    let shards = || prop::collection::vec(shard(), 0..3);
    let description = (shards(), shards(), any::<bool>()).prop_map(|(shards, elsewhere, accepts)| {
        Body::Description(wire::Description { shards, elsewhere, accepts, beginning: None })
    });
    let failure = (0..9, number())
        .prop_map(|(kind, leader)| Body::Failure(wire::Failure { kind, text: "no".to_owned(), leader }));
    let begun = Just(Body::SnapshotBegun(wire::SnapshotBegun {}));
    let done = Just(Body::Done(wire::Done {}));
    prop_oneof![reply, resolved, listing, changed, description, failure, begun, chunk(), done]
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        5 => Just(Said::Proper),
        5 => body().prop_map(|body| Said::Body(Box::new(body))),
        1 => prop::collection::vec(any::<u8>(), 0..20).prop_map(Said::Bytes),
        1 => Just(Said::Nothing),
    ]
}

proptest! {
    // The smallest input that fails is printed; it belongs into a test of its own.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_client_survives_them(said in prop::collection::vec(said(), 0..12)) {
        survive(said);
    }
}

fn always(body: Body) -> Vec<Said> {
    vec![Said::Proper, Said::Body(Box::new(body))]
}

#[test]
fn whoever_says_the_same_for_ever_is_given_up() {
    let refused = |reason| {
        Body::Reply(proto::Reply {
            outcome: Some(Outcome::Refused(proto::Refused { reason: Some(reason) })),
            ..Default::default()
        })
    };
    let cursor = wire::Cursor { table: Table::Copies.into(), name: Bytes::from_static(b"\x08\x01a") };
    let elsewhere = wire::Listing { from: Bytes::from_static(b"\x08\x01z"), ..Default::default() };
    for body in [
        refused(Reason::SessionUnknown(proto::SessionUnknown {})),
        refused(Reason::WrongShard(proto::WrongShard::default())),
        Body::Listing(wire::Listing { next: Some(cursor), ..Default::default() }),
        Body::Listing(elsewhere),
        Body::Changed(wire::Changed {
            events: vec![wire::Event {
                name: Bytes::new(),
                change: Some(wire::event::Change::Record(wire::Record {
                    kind: RecordKind::Unspecified.into(),
                    document: None,
                })),
            }],
            ..Default::default()
        }),
        Body::Failure(wire::Failure { kind: FailureKind::Gap.into(), ..Default::default() }),
        Body::Failure(wire::Failure { kind: FailureKind::WrongShard.into(), ..Default::default() }),
        Body::Failure(wire::Failure { kind: FailureKind::NotLeader.into(), leader: 2, ..Default::default() }),
    ] {
        println!("{body:?}");
        survive(always(body));
    }
}
