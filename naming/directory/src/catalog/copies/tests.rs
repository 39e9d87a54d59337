//! The packed table against a plain one.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::catalog::capacity::MAX_BATCH;

/// Few enough names and nodes that they meet, enough names for several leaves.
const NAMES: u64 = 400;
const NODES: u64 = 5;

#[derive(Clone, Debug)]
enum Step {
    Publish { node: u64, first: u64, count: u64, content: u8 },
    Withdraw { node: u64, first: u64, count: u64 },
    Retire { node: u64 },
    Purge,
}

/// Names and their content and holders, and which epoch each node is in.
#[derive(Default)]
struct Plain {
    names: BTreeMap<Name, (u8, BTreeSet<NodeId>)>,
    epochs: BTreeMap<u64, u64>,
}

fn name_of(number: u64) -> Name {
    format!("/hdfs/c/{}/seg={}", number / 50, number % 50).parse().unwrap()
}

fn id(node: u64) -> NodeId {
    NodeId::new(node).unwrap()
}

fn names(first: u64, count: u64) -> Vec<Name> {
    let mut names: Vec<Name> = (first..(first + count).min(NAMES)).map(name_of).collect();
    names.sort();
    names
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (node, first) = (1..=NODES, 0..NAMES);
    let step = prop_oneof![
        4 => (node.clone(), first.clone(), 1..120_u64, 0..2_u8)
            .prop_map(|(node, first, count, content)| Step::Publish { node, first, count, content }),
        3 => (node.clone(), first, 1..120_u64)
            .prop_map(|(node, first, count)| Step::Withdraw { node, first, count }),
        1 => node.prop_map(|node| Step::Retire { node }),
        2 => Just(Step::Purge),
    ];
    prop::collection::vec(step, 1..60)
}

fn copy<'a>(name: &'a Name, content: u8) -> command::Copy<'a> {
    command::Copy { name: name.as_name(), digest: Digest::of(&[content]), length: content.into() }
}

impl Plain {
    fn epoch(&self, node: u64) -> u64 {
        self.epochs.get(&node).copied().unwrap_or(1)
    }

    /// How many copies were added or removed.
    fn take(&mut self, step: &Step) -> u32 {
        let mut changed = 0;
        match *step {
            Step::Publish { node, first, count, content } => {
                for name in names(first, count) {
                    let (held, holders) = self.names.entry(name).or_insert((content, BTreeSet::new()));
                    changed += u32::from(*held == content && holders.insert(id(node)));
                }
            }
            Step::Withdraw { node, first, count } => {
                for name in names(first, count) {
                    changed += u32::from(self.remove(&name, node));
                }
            }
            Step::Retire { node } => {
                let names: Vec<Name> = self.names.keys().cloned().collect();
                names.iter().for_each(|name| {
                    self.remove(name, node);
                });
                *self.epochs.entry(node).or_insert(1) += 1;
            }
            Step::Purge => {}
        }
        changed
    }

    fn remove(&mut self, name: &Name, node: u64) -> bool {
        let Some((_, holders)) = self.names.get_mut(name) else { return false };
        let removed = holders.remove(&id(node));
        if holders.is_empty() {
            self.names.remove(name);
        }
        removed
    }

    fn listed(&self) -> Vec<(Name, Copies)> {
        let copies = |(content, holders): &(u8, BTreeSet<NodeId>)| Copies {
            digest: Digest::of(&[*content]),
            length: (*content).into(),
            holders: holders.iter().copied().collect(),
        };
        self.names.iter().map(|(name, held)| (name.clone(), copies(held))).collect()
    }
}

fn take(table: &mut CopyTable, plain: &Plain, step: &Step) -> u32 {
    let mut events = Vec::new();
    match *step {
        Step::Publish { node, first, count, content } => {
            let names = names(first, count);
            let copies: Vec<_> = names.iter().map(|name| copy(name, content)).collect();
            let claim = Claim { node: id(node), epoch: plain.epoch(node) };
            let published = table.publish(claim, &copies, &mut events).unwrap();
            assert_eq!(events.len(), published.added as usize);
            published.added
        }
        Step::Withdraw { node, first, count } => {
            let names = names(first, count);
            let names: Vec<_> = names.iter().map(Name::as_name).collect();
            table.withdraw(id(node), &names, &mut events)
        }
        Step::Retire { node } => {
            let claim = Claim { node: id(node), epoch: plain.epoch(node) };
            table.retire(claim, NameRef::default(), &mut events).unwrap();
            let late = table.publish(claim, &[copy(&name_of(0), 0)], &mut events);
            assert!(late.is_err(), "a retired epoch published");
            0
        }
        Step::Purge => {
            table.purge();
            0
        }
    }
}

/// What the table says of itself, computed anew.
fn check(table: &CopyTable) {
    let mut sum = Checksum::default();
    let mut count = 0;
    for (name, value) in table.items(Bound::Unbounded) {
        sum += Checksum::of_item(Chunk::Copies, name.as_bytes(), &value);
        count += 1;
    }
    assert_eq!((table.names.checksum(), table.len()), (sum, count));
    // All of them, by which it is counted anew.
    assert_eq!(table.clone().names.split_off(NameRef::default()).bytes(), table.names.bytes());
    let names: Vec<Name> = table.items(Bound::Unbounded).map(|(name, _)| name).collect();
    assert!(names.is_sorted_by(|one, next| one < next));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, ..ProptestConfig::default() })]

    #[test]
    fn it_is_what_a_plain_table_is(steps in steps(), from in 0..NAMES, at in 0..NAMES) {
        let (mut table, mut plain) = (CopyTable::new(), Plain::default());
        for step in &steps {
            let changed = take(&mut table, &plain, step);
            prop_assert_eq!(changed, plain.take(step), "{:?}", step);
            let listed: Vec<_> = table.from(Bound::Unbounded).collect();
            prop_assert_eq!(&listed, &plain.listed(), "{:?}", step);
        }
        check(&table);
        let first = name_of(from);
        let found = plain.listed().into_iter().find(|(name, _)| *name == first).map(|(_, copies)| copies);
        prop_assert_eq!(table.get(first.as_name()), found);
        for bound in [Bound::Included(first.as_name()), Bound::Excluded(first.as_name())] {
            let in_bound = |name: &Name| match bound {
                Bound::Included(first) => name.as_name() >= first,
                _ => name.as_name() > first.as_name(),
            };
            let expected: Vec<_> = plain.listed().into_iter().filter(|(name, _)| in_bound(name)).collect();
            prop_assert_eq!(table.from(bound).collect::<Vec<_>>(), expected);
        }
        // Purged to the end, nothing of the retired is left.
        for _ in 0..2 * (NAMES as usize / PURGED_AT_ONCE + 2) {
            table.purge();
        }
        prop_assert_eq!(table.len(), plain.names.len());
        prop_assert!(!table.holders.any_retired());
        check(&table);
        // Both halves hold what they should.
        let at = name_of(at);
        let right = table.split_off(at.as_name());
        let halves: Vec<_> = table.from(Bound::Unbounded).chain(right.from(Bound::Unbounded)).collect();
        prop_assert_eq!(halves, plain.listed());
        prop_assert!(right.from(Bound::Unbounded).all(|(name, _)| name >= at));
        check(&table);
        check(&right);
    }
}

impl Plain {
    /// As a watcher takes what it is told: without contradiction.
    fn hear(&mut self, step: &Step) {
        if let Step::Publish { first, count, content, .. } = *step {
            let other = |(held, _): &(u8, BTreeSet<NodeId>)| *held != content;
            for name in names(first, count) {
                if self.names.get(&name).is_some_and(other) {
                    self.names.remove(&name);
                }
            }
        }
        self.take(step);
    }
}

fn hear(heard: &mut HeardCopies, step: &Step) {
    match *step {
        Step::Publish { node, first, count, content } => {
            for name in names(first, count) {
                let content = (Digest::of(&[content]), content.into());
                heard.add(name.as_name(), id(node), content, true).unwrap();
            }
        }
        Step::Withdraw { node, first, count } => {
            names(first, count).iter().for_each(|name| heard.remove(name.as_name(), id(node)));
        }
        Step::Retire { node } => heard.retire(id(node)),
        Step::Purge => drop(heard.purge()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, ..ProptestConfig::default() })]

    #[test]
    fn what_is_heard_is_what_was_told_last(steps in steps(), at in 0..NAMES) {
        let (mut heard, mut plain) = (HeardCopies::default(), Plain::default());
        for step in &steps {
            hear(&mut heard, step);
            plain.hear(step);
            let listed: Vec<_> = heard.under(NameRef::default()).collect();
            prop_assert_eq!(&listed, &plain.listed(), "{:?}", step);
        }
        let at = name_of(at);
        let found = plain.listed().into_iter().find(|(name, _)| *name == at).map(|(_, copies)| copies);
        prop_assert_eq!(heard.get(at.as_name()), found);
        let mut right = heard.split_off(at.as_name());
        for half in [&mut heard, &mut right] {
            for turn in 0.. {
                prop_assert!(turn < 10);
                if !half.purge() {
                    break;
                }
            }
            check(&half.0);
        }
        // Purged to the end, no name takes room that has no copy, and no holder that has none.
        prop_assert_eq!(heard.names() + right.names(), plain.names.len());
        let holders: BTreeSet<NodeId> = plain.names.values().flat_map(|(_, holders)| holders).copied().collect();
        prop_assert!(heard.0.holders.nodes.len() <= holders.len());
    }
}

#[test]
fn without_room_only_names_that_are_there_get_copies() {
    let mut heard = HeardCopies::default();
    let (one, other) = (name_of(1), name_of(2));
    let mut add = |name: &Name, node, room| heard.add(name.as_name(), id(node), (Digest::of(b"x"), 1), room);
    assert_eq!(add(&one, 1, true), Ok(()));
    assert_eq!((add(&one, 2, false), add(&other, 1, false)), (Ok(()), Err(CopyRefusal::Full)));
    for node in 3..=COPIES_OF_A_NAME as u64 {
        assert_eq!(add(&one, node, false), Ok(()));
    }
    assert_eq!(add(&one, 100, true), Err(CopyRefusal::EnoughCopies));
    // What a retired holder had is in nobody's way.
    heard.retire(id(3));
    assert_eq!(heard.add(one.as_name(), id(100), (Digest::of(b"x"), 1), false), Ok(()));
    assert_eq!(heard.get(one.as_name()).unwrap().holders.len(), COPIES_OF_A_NAME);
}

/// Names as HDFS has them: a block's chunks, in order.
#[test]
fn a_name_takes_about_fifty_bytes() {
    let mut table = CopyTable::new();
    let mut names = Vec::new();
    for block in 0..1000_u64 {
        for chunk in 0..100 {
            let name = naming::space::hdfs_chunk("c1", "BP-1", 1 << 30 | block, naming::Version(1001), chunk);
            names.push(name.unwrap());
        }
    }
    for node in 1..=3 {
        for batch in names.chunks(MAX_BATCH) {
            let copies: Vec<_> = batch.iter().map(|name| copy(name, 1)).collect();
            table.publish(Claim { node: id(node), epoch: 1 }, &copies, &mut Vec::new()).unwrap();
        }
    }
    assert_eq!(table.len(), names.len());
    let each = table.names.memory() / names.len();
    assert!((40..55).contains(&each), "{each} bytes a name");
    let counted = table.names.bytes() / names.len();
    assert!((40..55).contains(&counted), "{counted} bytes a name, as it is counted");
}
