//! The table against one that knows what is told of each name by itself.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::table::Coming;
use super::*;
use crate::client::Copies;

/// All names under the prefix `/p`, in order, and some that are not; with each all of its prefixes.
const NAMES: [&str; 14] = [
    "/o", "/p", "/p/a", "/p/a/1", "/p/a/1/x", "/p/a/2", "/p/b", "/p/c", "/p/c/1", "/p/c/2", "/p/c/3", "/p/d",
    "/p/d/1", "/q",
];
const PREFIX: &str = "/p";

#[derive(Clone, Debug)]
enum Step {
    Listing {
        shard: u64,
        index: u64,
        from: usize,
        until: Option<usize>,
        late: bool,
        events: Vec<(usize, Change)>,
    },
    Changes {
        shard: u64,
        index: u64,
        from: usize,
        current: bool,
        events: Vec<(usize, Change)>,
    },
    Inherit(Option<u8>),
}

fn change() -> impl Strategy<Value = Change> {
    let node = || (1..4_u64).prop_map(node);
    let location =
        node().prop_map(|node| Location { node, rack: "/r".parse().unwrap(), addresses: Vec::new() });
    let value = prop::option::of(prop::sample::select(vec!["x", "yy", "zzz"]));
    let kind = prop::sample::select(vec![RecordKind::Route, RecordKind::Route, RecordKind::Limits]);
    prop_oneof![
        6 => (1..4_u64, 0..2_u8).prop_map(|(number, content)| copy(number, content)),
        3 => node().prop_map(|node| Change::CopyGone { node }),
        3 => (kind, value).prop_map(|(kind, value)| record(kind, value)),
        2 => (prop::option::of(node()), 1..9_u64).prop_map(|(node, term)| Change::Authority { node, term }),
        1 => location.prop_map(|location| Change::NodeUp { location, epoch: 1 }),
        1 => node().prop_map(|node| Change::NodeDown { node, epoch: 1 }),
        1 => node().prop_map(|node| Change::HolderRetired { node }),
        1 => Just(Change::Split),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let names = || 0..NAMES.len();
    let events = |len| prop::collection::vec((names(), change()), 0..len);
    let from = || prop_oneof![2 => Just(1), 3 => names()];
    let step = prop_oneof![
        3 => (1..4_u64, 0..50_u64, from(), prop::option::of(names()), any::<bool>(), events(16)).prop_map(
            |(shard, index, from, until, late, events)| Step::Listing { shard, index, from, until, late, events }),
        6 => (1..4_u64, 0..50_u64, from(), any::<bool>(), events(6)).prop_map(
            |(shard, index, from, current, events)| Step::Changes { shard, index, from, current, events }),
        1 => prop::option::of(0..3_u8).prop_map(Step::Inherit),
    ];
    prop::collection::vec(step, 1..40)
}

impl Step {
    /// What a watch tells; `None` if it is none, or tells of nothing.
    fn seen(&self, asked: Clock) -> Option<Seen> {
        let all = |events: &[(usize, Change)]| {
            events.iter().map(|(place, change)| event(NAMES[*place], change.clone())).collect()
        };
        match self {
            Self::Listing { shard, index, from, until, events, .. } => {
                let until = until.filter(|until| until > from && NAMES[*until].starts_with(PREFIX));
                (from < &13 && from > &0).then_some(())?;
                Some(Seen::Listing {
                    from: name(NAMES[*from]),
                    until: until.map(|until| name(NAMES[until])),
                    shard: ShardId(*shard),
                    position: Position::new(1, *index),
                    asked,
                    events: all(events),
                })
            }
            Self::Changes { shard, index, from, current, events } => Some(Seen::Changes {
                from: name(NAMES[*from]),
                shard: ShardId(*shard),
                position: Position::new(1, *index),
                current: *current,
                events: all(events),
            }),
            Self::Inherit(_) => None,
        }
    }
}

/// A name as it is known by itself.
#[derive(Clone, Debug)]
struct Plain {
    /// By the first name of which part it is kept: who tells of it.
    teller: Name,
    shard: ShardId,
    former: BTreeSet<ShardId>,
    index: u64,
    heard: Clock,
    content: u8,
    holders: BTreeSet<NodeId>,
    /// By what there is one of.
    facts: BTreeMap<u8, Change>,
}

impl Plain {
    fn take(&mut self, change: &Change) {
        let fact = match change {
            Change::Copy { node, length, .. } => {
                if self.content != *length as u8 {
                    (self.content, self.holders) = (*length as u8, BTreeSet::new());
                }
                self.holders.insert(*node);
                return;
            }
            Change::CopyGone { node } | Change::HolderRetired { node } => {
                self.holders.remove(node);
                return;
            }
            Change::Split => return,
            Change::NodeUp { .. } | Change::NodeDown { .. } => 0,
            Change::Record { kind, .. } => 1 + *kind as u8,
            Change::Authority { .. } => 9,
        };
        match change {
            Change::NodeDown { .. } | Change::Record { record: None, .. } => self.facts.remove(&fact),
            _ => self.facts.insert(fact, change.clone()),
        };
    }

    fn copies(&self) -> Option<Copies> {
        let (digest, length) = (Digest::of(&[self.content]), self.content.into());
        let holders: Vec<NodeId> = self.holders.iter().copied().collect();
        (!holders.is_empty()).then_some(Copies { digest, length, holders })
    }

    fn events(&self, name: &Name) -> Vec<Event> {
        let copies = self.copies().into_iter().flat_map(|copies| {
            let Copies { digest, length, holders } = copies;
            holders.into_iter().map(move |node| Change::Copy { node, digest, length })
        });
        let all = self.facts.values().cloned().chain(copies);
        all.map(|change| Event { name: name.clone(), change }).collect()
    }
}

/// All names that were listed.
#[derive(Default)]
struct PlainTable {
    names: BTreeMap<Name, Plain>,
    inherited: Option<(Option<u8>, Clock)>,
}

impl PlainTable {
    fn take(&mut self, seen: &Seen, now: Clock) {
        match seen {
            Seen::Listing { from, until, shard, position, asked, events } => {
                self.begin(seen);
                let is_listed = |name: &Name| {
                    name >= from
                        && until.as_ref().is_none_or(|until| name < until)
                        && name.to_string().starts_with(PREFIX)
                };
                let listed: Vec<Name> = NAMES.map(name).into_iter().filter(is_listed).collect();
                let old = || listed.iter().filter_map(|name| self.names.get(name));
                let former = old().flat_map(|old| old.former.iter().chain([&old.shard]));
                let former: BTreeSet<ShardId> = former.copied().filter(|former| former != shard).collect();
                for name in listed {
                    let mut plain = Plain {
                        teller: from.clone(),
                        shard: *shard,
                        former: former.clone(),
                        index: position.index,
                        heard: *asked,
                        content: 0,
                        holders: BTreeSet::new(),
                        facts: BTreeMap::new(),
                    };
                    for event in events {
                        if event.name == name || matches!(event.change, Change::HolderRetired { .. }) {
                            plain.take(&event.change);
                        }
                    }
                    self.names.insert(name, plain);
                }
            }
            Seen::Changes { from, shard, position, current, events } => {
                for plain in self.names.values_mut().filter(|plain| plain.teller == *from) {
                    plain.shard = *shard;
                    plain.index = plain.index.max(position.index);
                    plain.heard = if *current { now } else { plain.heard };
                }
                for event in events {
                    if event.change == Change::Split {
                        if event.name <= *from {
                            return;
                        }
                        let is_cut = |(name, plain): &(&Name, &mut Plain)| {
                            **name >= event.name && plain.teller == *from
                        };
                        self.names
                            .iter_mut()
                            .filter(is_cut)
                            .for_each(|(_, plain)| plain.teller = event.name.clone());
                        continue;
                    }
                    let told = self.names.iter_mut().filter(|(_, plain)| plain.teller == *from);
                    let told = told.filter(|(name, _)| {
                        **name == event.name || matches!(event.change, Change::HolderRetired { .. })
                    });
                    told.for_each(|(_, plain)| plain.take(&event.change));
                }
            }
        }
    }

    fn begin(&mut self, seen: &Seen) {
        if let Seen::Listing { from, until, .. } = seen {
            [Some(from), until.as_ref()].into_iter().flatten().for_each(|at| self.cut(at));
        }
    }

    fn cut(&mut self, at: &Name) {
        let is_cut = |(name, plain): &(&Name, &mut Plain)| *name >= at && plain.teller < *at;
        self.names.iter_mut().filter(is_cut).for_each(|(_, plain)| plain.teller = at.clone());
    }

    fn resolve<'n>(&self, name: &'n Name, age: Age) -> Result<Known<'n>, Unknown> {
        let fresh = |heard: Clock| {
            let old = age.now - heard;
            if old > age.max { Err(Unknown::TooOld(old)) } else { Ok(heard) }
        };
        if !name.to_string().starts_with(PREFIX) {
            return Err(Unknown::Elsewhere);
        }
        let own = self.names.get(name).ok_or(Unknown::Unlisted)?;
        let mut known =
            Known { copies: own.copies(), authority: None, route: None, heard: fresh(own.heard)? };
        for prefix in name.as_name().prefixes().take_while(|prefix| !prefix.is_empty()) {
            if known.authority.is_some() && known.route.is_some() {
                return Ok(known);
            }
            let plain = self.names.get(&prefix.to_name()).ok_or(Unknown::Unlisted)?;
            known.heard = known.heard.min(fresh(plain.heard)?);
            if let (None, Some(Change::Authority { node, term })) = (known.authority, plain.facts.get(&9)) {
                known.authority = Some(Holder { prefix, node: *node, term: *term });
            }
            if let (None, Some(Change::Record { record: Some(record), .. })) =
                (&known.route, plain.facts.get(&(1 + RecordKind::Route as u8)))
            {
                known.route = Some(Route { prefix, record: record.clone() });
            }
        }
        if known.authority.is_none() || known.route.is_none() {
            let (inherited, asked) = self.inherited.ok_or(Unknown::Unlisted)?;
            known.heard = known.heard.min(fresh(asked)?);
            let prefix = NameRef::default();
            known.authority =
                known.authority.or(inherited.map(|term| Holder { prefix, node: None, term: term.into() }));
        }
        Ok(known)
    }

    fn list(&self, prefix: &Name) -> Result<Vec<Event>, Unknown> {
        let mut events = Vec::new();
        for name in NAMES.map(name).iter().filter(|name| name.as_name().starts_with(prefix.as_name())) {
            events.extend(self.names.get(name).ok_or(Unknown::Unlisted)?.events(name));
        }
        Ok(events)
    }
}

fn sorted(events: Result<Vec<Event>, Unknown>) -> Result<Vec<String>, Unknown> {
    let mut events: Vec<String> = events?.iter().map(|event| format!("{event:?}")).collect();
    events.sort();
    Ok(events)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_is_what_each_name_is_by_itself(steps in steps(), names in 0..12_usize, max in 0..20_u64) {
        let (prefix, mut now) = (name(PREFIX), Clock::now());
        let mut table = Table::new(prefix.clone(), AMPLE);
        let mut small = Table::new(prefix.clone(), Size { names, ..AMPLE });
        let mut plain = PlainTable::default();
        // A listing that is being taken in while others tell something.
        let mut late: Option<(Seen, [Coming; 2])> = None;
        for step in &steps {
            now += Duration::from_secs(1);
            if let Step::Inherit(term) = step {
                plain.inherited = Some((*term, now));
                for table in [&mut table, &mut small] {
                    let authority = term.map(|term| Held {
                        prefix: Name::root(),
                        node: None,
                        epoch: 1,
                        term: term.into(),
                        remaining: ANY,
                    });
                    table.inherit(Inherited { authority, route: None }, now);
                }
            }
            let before = late.take();
            // A listing takes a while.
            if let Some(seen) = step.seen(now - Duration::from_millis(300)) {
                if matches!(step, Step::Listing { late: true, .. }) {
                    plain.begin(&seen);
                    let begin = |table: &mut Table| {
                        let mut coming = table.begin(seen.clone()).unwrap();
                        coming.take(table.reserve(&coming));
                        coming
                    };
                    late = Some((seen.clone(), [begin(&mut table), begin(&mut small)]));
                } else {
                    plain.take(&seen, now);
                    table.take(seen.clone(), now);
                    small.take(seen, now);
                }
            }
            if let Some((seen, coming)) = before {
                plain.take(&seen, now);
                for (table, mut coming) in [&mut table, &mut small].into_iter().zip(coming) {
                    while coming.take(table.reserve(&coming)) {}
                    table.replace(coming);
                }
            }
            if let Some((seen, _)) = &late {
                plain.begin(seen);
            }
            let kept: Size = small.listed().iter().map(|listed| listed.size).sum();
            prop_assert!(kept.names <= names, "{kept:?}");
            for name in &NAMES.map(name) {
                for age in [Age { now, max: ANY }, Age { now, max: Duration::from_secs(max) }] {
                    let expected = plain.resolve(name, age);
                    prop_assert_eq!(&table.resolve(name.as_name(), age), &expected, "{} after {:?}", name, step);
                    let found = small.resolve(name.as_name(), age);
                    prop_assert!(found == expected || found == Err(Unknown::NotKept), "{found:?} is not {expected:?}");
                }
                for (shard, index) in [(1, 10), (2, 20), (3, 30)] {
                    let known = plain.names.get(name).filter(|_| name.to_string().starts_with(PREFIX));
                    let is_at = known.is_some_and(|plain| {
                        plain.former.contains(&ShardId(shard)) || (plain.shard == ShardId(shard) && plain.index >= index)
                    });
                    prop_assert_eq!(table.is_at(name.as_name(), ShardId(shard), Position::new(1, index)), is_at);
                }
                if name.as_name().starts_with(prefix.as_name()) {
                    let age = Age { now, max: ANY };
                    let expected = sorted(plain.list(name));
                    prop_assert_eq!(&sorted(table.list(name.as_name(), age)), &expected, "{} after {:?}", name, step);
                    let listed = sorted(small.list(name.as_name(), age));
                    prop_assert!(listed == expected || listed == Err(Unknown::NotKept));
                }
            }
        }
    }
}
