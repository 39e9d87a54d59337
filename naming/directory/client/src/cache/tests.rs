//! The table, told by hand.

use naming::{Digest, Location, NodeId};
use naming_directory::catalog::{Change, Event, Record, RecordKind};

use super::*;
use crate::client::{Held, Routed};

mod plain;

type Clock = std::time::Instant;

const AMPLE: Size = Size { names: 1_000_000, bytes: 1 << 30 };
/// However old.
const ANY: Duration = Duration::MAX;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn node(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

fn event(text: &str, change: Change) -> Event {
    Event { name: name(text), change }
}

fn copy(number: u64, content: u8) -> Change {
    Change::Copy { node: node(number), digest: Digest::of(&[content]), length: content.into() }
}

fn record(kind: RecordKind, value: Option<&str>) -> Change {
    let record = value.map(|value| Record { revision: 1, value: value.to_owned().into() });
    Change::Record { kind, record }
}

fn route(value: &str) -> Change {
    record(RecordKind::Route, Some(value))
}

/// Of shard 1, unless said otherwise; asked for and told at once.
struct Rig {
    table: Table,
    now: Clock,
}

impl Rig {
    fn new(prefix: &str, capacity: Size) -> Self {
        Self { table: Table::new(name(prefix), capacity), now: Clock::now() }
    }

    fn list(&mut self, shard: u64, index: u64, from: &str, until: Option<&str>, events: Vec<Event>) {
        let (shard, position) = (ShardId(shard), Position::new(1, index));
        let (from, until, asked) = (name(from), until.map(name), self.now);
        self.table.take(Seen::Listing { from, until, shard, position, asked, events }, self.now);
    }

    fn change(&mut self, index: u64, from: &str, events: Vec<Event>) {
        let position = Position::new(1, index);
        let changes = Seen::Changes { from: name(from), shard: ShardId(1), position, current: true, events };
        self.table.take(changes, self.now);
    }

    fn holders(&self, text: &str) -> Result<usize, Unknown> {
        let name = name(text);
        let known = self.table.resolve(name.as_name(), Age { now: self.now, max: ANY })?;
        Ok(known.copies.map_or(0, |copies| copies.holders.len()))
    }

    fn age_of(&self, text: &str) -> Duration {
        let name = name(text);
        let known = self.table.resolve(name.as_name(), Age { now: self.now, max: ANY }).unwrap();
        self.now - known.heard
    }

    fn size(&self) -> Size {
        self.table.listed().iter().map(|listed| listed.size).sum()
    }
}

#[test]
fn what_finds_no_room_is_never_said_not_to_be() {
    let capacity = Size { names: 2, ..AMPLE };
    let mut rig = Rig::new("/", capacity);
    rig.list(
        1,
        1,
        "/",
        None,
        vec![event("/a", copy(1, 1)), event("/b", copy(1, 1)), event("/c", copy(1, 1))],
    );
    assert_eq!((rig.holders("/a"), rig.holders("/b")), (Ok(1), Ok(1)));
    assert_eq!((rig.holders("/c"), rig.holders("/d")), (Err(Unknown::NotKept), Ok(0)));
    assert_eq!(rig.table.counters().copies_not_kept, 1);
    // A name that is there is told of whole.
    rig.change(2, "/", vec![event("/a", copy(2, 1))]);
    assert_eq!(rig.holders("/a"), Ok(2));
    // Who goes makes room; not for a name that found none before, of which something may be missing.
    rig.change(
        3,
        "/",
        vec![
            event("/b", Change::CopyGone { node: node(1) }),
            event("/c", copy(2, 1)),
            event("/d", copy(1, 1)),
        ],
    );
    assert_eq!(
        (rig.holders("/b"), rig.holders("/c"), rig.holders("/d")),
        (Ok(0), Err(Unknown::NotKept), Ok(1))
    );
    rig.change(4, "/", vec![event("/", Change::HolderRetired { node: node(1) }), event("/e", copy(3, 1))]);
    assert_eq!((rig.holders("/a"), rig.holders("/e"), rig.size().names), (Ok(1), Ok(1), 2));
    // Listed anew, all of it is known again.
    rig.list(1, 9, "/", None, vec![event("/a", copy(1, 1))]);
    assert_eq!((rig.holders("/a"), rig.holders("/b")), (Ok(1), Ok(0)));
    assert_eq!(rig.holders("/c"), Ok(0));
}

#[test]
fn bytes_are_bounded_too() {
    let mut rig = Rig::new("/", Size { names: 1_000_000, bytes: 100_000 });
    let copies = (0..5000).map(|number| event(&format!("/b/{number:05}"), copy(1, 1)));
    rig.list(1, 1, "/", None, copies.collect());
    let (size, counters) = (rig.size(), rig.table.counters());
    assert!(size.bytes <= 100_000 && size.names > 1000, "{size:?}");
    assert_eq!(size.names as u64 + counters.copies_not_kept, 5000);
    assert_eq!(rig.holders("/b/00001"), Ok(1));
    rig.change(3, "/", vec![event("/b", route("x"))]);
    assert_eq!(rig.table.counters().facts_not_kept, 1);
    assert_eq!(rig.holders("/b/00001"), Err(Unknown::NotKept), "its route is not known");
    assert_eq!(rig.table.list(name("/").as_name(), Age { now: rig.now, max: ANY }), Err(Unknown::NotKept));
    assert!(rig.size().bytes <= 100_000);
}

#[test]
fn what_others_tell_does_not_wait_for_a_listing_nor_take_its_room() {
    let mut rig = Rig::new("/", Size { names: 6, ..AMPLE });
    let copies = |names: &[&str], number| names.iter().map(|name| event(name, copy(number, 1))).collect();
    rig.list(1, 1, "/", Some("/m"), copies(&["/a", "/b"], 1));
    rig.list(1, 1, "/m", None, copies(&["/m"], 1));
    let listing = Seen::Listing {
        from: Name::root(),
        until: Some(name("/m")),
        shard: ShardId(1),
        position: Position::new(1, 9),
        asked: rig.now,
        events: copies(&["/a", "/a", "/b", "/c", "/d"], 2),
    };
    let mut coming = rig.table.begin(listing).unwrap();
    assert!(coming.take(rig.table.reserve(&coming)));
    // Two names are there and may be needed again.
    rig.change(2, "/m", copies(&["/n", "/o", "/p", "/q"], 1));
    assert_eq!((rig.holders("/p"), rig.holders("/q")), (Ok(1), Err(Unknown::NotKept)));
    assert_eq!((rig.holders("/b"), rig.holders("/c")), (Ok(1), Ok(0)), "as it was");
    while coming.take(rig.table.reserve(&coming)) {}
    assert_eq!(rig.table.replace(coming).len(), 1);
    assert_eq!((rig.holders("/b"), rig.holders("/c"), rig.size().names), (Ok(1), Err(Unknown::NotKept), 6));
    // What was kept for it is free now.
    rig.change(3, "/", vec![event("/a", Change::CopyGone { node: node(2) })]);
    rig.change(3, "/m", copies(&["/r"], 1));
    assert_eq!((rig.holders("/r"), rig.size().names), (Ok(1), 6));
}

#[test]
fn one_message_does_not_remove_all_that_retired_holders_had() {
    let live = 20_000;
    let mut rig = Rig::new("/", Size { names: live + 1, ..AMPLE });
    let mut copies: Vec<_> = (0..live).map(|number| event(&format!("/b/{number:05}"), copy(1, 1))).collect();
    copies.push(event("/c", copy(2, 1)));
    rig.list(1, 1, "/", None, copies);
    assert_eq!(rig.size().names, live + 1);
    rig.change(2, "/", vec![event("/", Change::HolderRetired { node: node(2) }), event("/x", copy(3, 1))]);
    assert_eq!((rig.holders("/c"), rig.holders("/x")), (Ok(0), Err(Unknown::NotKept)));
    (3..9).for_each(|index| rig.change(index, "/", Vec::new()));
    assert_eq!(rig.size().names, live);
    rig.change(9, "/", vec![event("/y", copy(3, 1))]);
    assert_eq!(rig.holders("/y"), Ok(1));
}

#[test]
fn whoever_has_no_leader_tells_no_news() {
    let mut rig = Rig::new("/", AMPLE);
    rig.list(1, 1, "/", None, Vec::new());
    let second = Duration::from_secs(1);
    rig.now += second;
    let current = |current| Seen::Changes {
        from: Name::root(),
        shard: ShardId(1),
        position: Position::new(1, 2),
        current,
        events: vec![event("/a", copy(1, 1))],
    };
    rig.table.take(current(false), rig.now);
    assert_eq!((rig.age_of("/a"), rig.holders("/a")), (second, Ok(1)), "what it tells is so all the same");
    rig.table.take(current(true), rig.now);
    assert_eq!(rig.age_of("/a"), Duration::ZERO);
}

#[test]
fn a_split_leaves_what_was_known_to_grow_old() {
    let mut rig = Rig::new("/", AMPLE);
    rig.list(
        1,
        5,
        "/",
        None,
        vec![event("/a", copy(1, 1)), event("/m/x", copy(1, 1)), event("/z", copy(1, 1))],
    );
    let is_at = |rig: &Rig, text: &str, shard, index| {
        rig.table.is_at(name(text).as_name(), ShardId(shard), Position::new(1, index))
    };
    assert!(is_at(&rig, "/z", 1, 5) && !is_at(&rig, "/z", 1, 6) && !is_at(&rig, "/z", 2, 1));
    let retired = || event("/", Change::HolderRetired { node: node(1) });
    rig.change(6, "/", vec![event("/m", Change::Split), retired()]);
    assert_eq!((rig.holders("/a"), rig.holders("/m/x"), rig.holders("/z")), (Ok(0), Ok(1), Ok(1)));
    rig.now += Duration::from_secs(9);
    rig.change(7, "/", vec![]);
    assert_eq!((rig.age_of("/a").as_secs(), rig.age_of("/z").as_secs()), (0, 9));
    assert!(rig.table.is_complete());
    // It has all that its shard had, and whoever has it now begins with that.
    assert!(is_at(&rig, "/z", 1, 6) && !is_at(&rig, "/z", 1, 7));
    rig.list(2, 3, "/m", None, vec![event("/m/x", copy(2, 1)), event("/z", copy(2, 1))]);
    assert!(is_at(&rig, "/z", 1, 99) && is_at(&rig, "/z", 2, 3) && !is_at(&rig, "/z", 2, 4));
    assert!(!is_at(&rig, "/a", 1, 99));
    // That it was split may also show in a listing.
    rig.list(2, 8, "/m", Some("/n"), vec![event("/m/x", copy(2, 1))]);
    assert_eq!((rig.holders("/z"), is_at(&rig, "/z", 2, 8), is_at(&rig, "/m/x", 2, 8)), (Ok(1), false, true));
    assert_eq!(rig.table.listed().len(), 3);
}

#[test]
fn a_shard_that_has_none_of_the_names_any_more_tells_nothing_of_them() {
    let mut rig = Rig::new("/m", AMPLE);
    rig.table.inherit(Inherited::default(), rig.now);
    rig.list(1, 5, "/m", None, vec![event("/m/x", copy(1, 1))]);
    let retired = event("/", Change::HolderRetired { node: node(1) });
    rig.change(6, "/m", vec![event("/k", Change::Split), retired]);
    assert_eq!(rig.holders("/m/x"), Ok(1));
}

#[test]
fn what_is_above_the_prefix_is_inherited_as_it_was_asked_for() {
    let mut rig = Rig::new("/a/b", AMPLE);
    rig.list(
        1,
        1,
        "/a/b",
        None,
        vec![
            event("/a/b/c", route("own")),
            event("/a/b/c", Change::Authority { node: Some(node(1)), term: 4 }),
        ],
    );
    assert_eq!(rig.holders("/a"), Err(Unknown::Elsewhere));
    assert_eq!((rig.holders("/a/b/c/d"), rig.holders("/a/b/x")), (Ok(0), Err(Unknown::Unlisted)));
    let authority = Held { prefix: name("/a"), node: Some(node(2)), epoch: 1, term: 7, remaining: ANY };
    let above = Routed { prefix: Name::root(), record: Record { revision: 1, value: "above".into() } };
    rig.table.inherit(Inherited { authority: Some(authority), route: Some(above) }, rig.now);
    rig.now += Duration::from_secs(5);
    rig.change(2, "/a/b", vec![]);
    assert_eq!((rig.age_of("/a/b/c/d").as_secs(), rig.age_of("/a/b/x").as_secs()), (0, 5));
    let (own, inherits) = (name("/a/b/c/d"), name("/a/b/x"));
    let max = Duration::from_secs(4);
    let own = rig.table.resolve(own.as_name(), Age { now: rig.now, max }).unwrap();
    assert_eq!((own.authority.unwrap().term, own.route.unwrap().prefix), (4, name("/a/b/c").as_name()));
    let old = rig.table.resolve(inherits.as_name(), Age { now: rig.now, max });
    assert_eq!(old, Err(Unknown::TooOld(Duration::from_secs(5))));
    let found = rig.table.resolve(inherits.as_name(), Age { now: rig.now, max: ANY }).unwrap();
    let (authority, route) = (found.authority.unwrap(), found.route.unwrap());
    assert_eq!((authority.prefix, authority.node, authority.term), (name("/a").as_name(), Some(node(2)), 7));
    assert_eq!((route.prefix.is_empty(), &route.record.value[..]), (true, &b"above"[..]));
}
