use std::collections::HashMap;
use std::time::Duration;

use fabric::time::Nanos;
use proptest::prelude::*;

use super::arithmetic::{Count, NotCounted};
use super::read::Read;
use super::remove::{Delete, Deleted};
use super::write::{Mode, Stored, Write};
use super::*;

fn at(seconds: u64) -> Now {
    Now { at: Nanos(0) + Duration::from_secs(seconds), unix: 1_800_000_000 + seconds }
}

fn write(mode: Mode, value: &[u8]) -> Write<'_> {
    let (flags, cas, expiry) = (0, 0, Expiry::NEVER);
    Write { mode, value, flags, expiry, cas, accept_stale: false, binary_key: false }
}

fn set(store: &Store, key: &[u8], value: &[u8]) -> u64 {
    match store.entry(key, at(0)).write(write(Mode::Set, value)) {
        Stored::Stored(cas) => cas,
        other => panic!("a set was answered {other:?}"),
    }
}

fn get(store: &Store, key: &[u8], now: Now) -> Option<Vec<u8>> {
    store.entry(key, now).read(Read::default(), |seen| seen.item.value().to_vec())
}

fn count(up: bool, delta: u64) -> Count {
    Count { up, delta, cas: 0, vivify: None, touch: None }
}

#[test]
fn who_may_not_wait_is_turned_away_while_another_holds_the_shard() {
    let store = Store::new(Limits::default());
    set(&store, b"k", b"v");
    let impatient = || {
        store
            .entry_if(b"k", at(0), Patience::Look)
            .map(|mut entry| entry.read(Read::default(), |seen| seen.item.value().to_vec()))
    };
    let held = store.entry(b"k", at(0));
    assert_eq!(impatient(), Err(Busy));
    assert_eq!(store.usage_if(Patience::Look).map(|usage| usage.curr_items), Err(Busy));
    drop(held);
    assert_eq!(impatient(), Ok(Some(b"v".to_vec())));
    assert_eq!(store.usage_if(Patience::Look).map(|usage| usage.curr_items), Ok(1));
}

#[test]
fn conditions_of_writes() {
    let store = Store::new(Limits::default());
    let try_write = |mode, value: &'static [u8]| store.entry(b"k", at(0)).write(write(mode, value));
    assert_eq!(try_write(Mode::Replace, b"x"), Stored::NotStored);
    assert_eq!(try_write(Mode::Append, b"x"), Stored::NotStored);
    assert_eq!(try_write(Mode::Cas, b"x"), Stored::NotFound);
    assert_eq!(try_write(Mode::Add, b"m"), Stored::Stored(1));
    assert_eq!(try_write(Mode::Add, b"x"), Stored::NotStored);
    assert_eq!(try_write(Mode::Append, b"z"), Stored::Stored(2));
    assert_eq!(try_write(Mode::Prepend, b"a"), Stored::Stored(3));
    assert_eq!(get(&store, b"k", at(0)).as_deref(), Some(&b"amz"[..]));
    assert_eq!(try_write(Mode::Cas, b"x"), Stored::Exists);
    let matching = Write { cas: 3, ..write(Mode::Cas, b"new") };
    assert_eq!(store.entry(b"k", at(0)).write(matching), Stored::Stored(4));
    assert_eq!(store.entry(b"k", at(0)).write(matching), Stored::Exists);
    let counters = store.usage().counters;
    assert_eq!((counters.cas_hits, counters.cas_badval, counters.cas_misses), (1, 2, 1));
}

#[test]
fn items_end_at_their_second_and_touch_moves_the_end() {
    let store = Store::new(Limits::default());
    let ends = |seconds| Expiry::from_wire(seconds, at(0));
    for key in [b"a", b"b"] {
        store.entry(key, at(0)).write(Write { expiry: ends(10), ..write(Mode::Set, b"v") });
    }
    assert!(store.entry(b"a", at(9)).touch(ends(20)));
    assert!(get(&store, b"b", at(9)).is_some());
    assert!(get(&store, b"b", at(10)).is_none());
    assert!(get(&store, b"a", at(19)).is_some());
    assert!(!store.entry(b"a", at(20)).touch(ends(30)));
    store.entry(b"c", at(0)).write(Write { expiry: ends(-1), ..write(Mode::Set, b"v") });
    assert!(get(&store, b"c", at(0)).is_none());
    assert_eq!(store.usage().counters.get_expired, 3);
    assert_eq!(store.usage().curr_items, 0);
}

#[test]
fn counting_wraps_up_stops_down_and_keeps_the_length() {
    let store = Store::new(Limits::default());
    let step = |up, delta| store.entry(b"n", at(0)).count(count(up, delta), |counted| counted.number);
    assert_eq!(step(true, 1), Err(NotCounted::NotFound));
    set(&store, b"n", b"18446744073709551615");
    assert_eq!(step(true, 5), Ok(4));
    assert_eq!(get(&store, b"n", at(0)).as_deref(), Some(&b"4                   "[..]));
    set(&store, b"n", b"99");
    assert_eq!(step(true, 1), Ok(100));
    assert_eq!(step(false, 101), Ok(0));
    assert_eq!(get(&store, b"n", at(0)).as_deref(), Some(&b"0  "[..]));
    set(&store, b"n", b"abc");
    assert_eq!(step(true, 1), Err(NotCounted::NonNumeric));
}

#[test]
fn a_flush_ends_what_was_stored_before_it_at_once_or_when_it_is_due() {
    let store = Store::new(Limits::default());
    set(&store, b"a", b"1");
    store.flush_all(0, at(0));
    assert!(get(&store, b"a", at(0)).is_none());
    set(&store, b"a", b"2");
    store.flush_all(10, at(0));
    assert!(get(&store, b"a", at(9)).is_some());
    set(&store, b"b", b"2");
    assert!(get(&store, b"a", at(10)).is_none());
    set(&store, b"c", b"3");
    assert!(get(&store, b"b", at(11)).is_none());
    assert!(get(&store, b"c", at(11)).is_some());
    assert_eq!(store.usage().counters.get_flushed, 3);
}

#[test]
fn a_delete_can_ask_for_a_cas_or_only_invalidate() {
    let store = Store::new(Limits::default());
    let cas = set(&store, b"k", b"v");
    let delete = |delete| store.entry(b"k", at(0)).delete(delete);
    assert_eq!(delete(Delete { cas: Some(cas + 1), ..Delete::default() }), Deleted::Exists);
    assert_eq!(delete(Delete { invalidate: true, ..Delete::default() }), Deleted::Deleted);
    let read = || {
        store.entry(b"k", at(0)).read(Read { may_win: true, ..Read::default() }, |seen| {
            (seen.item.stale, seen.won, seen.token_sent)
        })
    };
    assert_eq!(read(), Some((true, true, false)));
    assert_eq!(read(), Some((true, false, true)));
    assert_eq!(delete(Delete::default()), Deleted::Deleted);
    assert_eq!(delete(Delete::default()), Deleted::NotFound);
}

#[test]
fn one_reader_is_told_to_fill_a_missing_or_ending_item() {
    let store = Store::new(Limits::default());
    let ends = |seconds| Some(Expiry::from_wire(seconds, at(0)));
    let won = |read| store.entry(b"k", at(0)).read(read, |seen| seen.won);
    let vivify = Read { vivify: ends(30), may_win: true, ..Read::default() };
    assert_eq!(won(vivify), Some(true));
    assert_eq!(won(vivify), Some(false));
    store.entry(b"k", at(0)).write(Write { expiry: ends(5).unwrap(), ..write(Mode::Set, b"v") });
    assert_eq!(won(Read { refill: ends(3), may_win: true, ..Read::default() }), Some(false));
    assert_eq!(won(Read { refill: ends(20), may_win: true, ..Read::default() }), Some(true));
    assert_eq!(won(Read { refill: ends(20), may_win: true, ..Read::default() }), Some(false));
}

#[test]
fn what_was_just_stored_is_there_and_the_bound_holds() {
    let limits = Limits { memory_bytes: 1 << 20, item_bytes: 64 << 10 };
    let store = Store::new(limits);
    let value = vec![b'v'; 60 << 10];
    for round in 0..20_000_u32 {
        let key = format!("key-{}", round.wrapping_mul(2_654_435_761) % 5_000);
        let len = if round % 7 == 0 { value.len() - (round as usize % 1000) } else { round as usize % 300 };
        set(&store, key.as_bytes(), &value[..len]);
        assert_eq!(get(&store, key.as_bytes(), at(0)).map(|value| value.len()), Some(len), "round {round}");
        assert!(store.usage().bytes <= limits.memory_bytes, "round {round}: {} bytes", store.usage().bytes);
    }
    assert!(store.usage().counters.evictions > 0);
    assert!(store.usage().bytes > limits.memory_bytes / 2, "much of the memory lies idle");
}

#[test]
fn slots_of_many_small_items_do_not_keep_large_ones_out() {
    let limits = Limits { memory_bytes: 4 << 20, item_bytes: 1 << 20 };
    let store = Store::new(limits);
    for number in 0..100_000_u32 {
        set(&store, &number.to_be_bytes(), b"");
    }
    assert!(store.usage().curr_items > 20_000);
    let value = vec![b'v'; 900 << 10];
    for number in 0..4_u8 {
        set(&store, &[number], &value);
    }
    assert_eq!((0..4_u8).filter(|number| get(&store, &[*number], at(0)).is_some()).count(), 4);
    assert!(store.usage().bytes <= limits.memory_bytes);
}

#[test]
fn eviction_spares_what_is_read() {
    let store = Store::new(Limits { memory_bytes: 256 << 10, item_bytes: 4 << 10 });
    set(&store, b"hot", b"wanted");
    for number in 0..20_000_u32 {
        set(&store, &number.to_be_bytes(), &[0; 100]);
        assert!(get(&store, b"hot", at(0)).is_some(), "evicted after {number}");
    }
}

#[test]
fn a_sweep_removes_what_has_ended() {
    let store = Store::new(Limits { memory_bytes: 256 << 10, item_bytes: 4 << 10 });
    let expiry = Expiry::from_wire(5, at(0));
    for number in 0..500_u32 {
        store.entry(&number.to_be_bytes(), at(0)).write(Write { expiry, ..write(Mode::Set, b"v") });
    }
    set(&store, b"stays", b"v");
    for _ in 0..64 {
        store.sweep(at(6));
    }
    assert_eq!(store.usage().curr_items, 1);
    assert_eq!(store.usage().counters.expired_unfetched, 500);
}

#[test]
fn too_large_a_value_takes_the_old_one_with_it() {
    let store = Store::new(Limits::default());
    assert!(!store.is_too_large(b"big", 1_048_510, 0));
    assert!(store.is_too_large(b"big", 1_048_520, 0));
    set(&store, b"k", b"old");
    store.entry(b"k", at(0)).refuse_too_large(false);
    assert!(get(&store, b"k", at(0)).is_some());
    store.entry(b"k", at(0)).refuse_too_large(true);
    assert!(get(&store, b"k", at(0)).is_none());
}

#[derive(Clone, Debug)]
enum Step {
    Set(u8, u16),
    Append(u8, u16),
    Get(u8),
    Delete(u8),
    Sweep,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (any::<u8>(), 0..3000_u16).prop_map(|(key, len)| Step::Set(key, len)),
        1 => (any::<u8>(), 0..300_u16).prop_map(|(key, len)| Step::Append(key, len)),
        3 => any::<u8>().prop_map(Step::Get),
        1 => any::<u8>().prop_map(Step::Delete),
        1 => Just(Step::Sweep),
    ];
    proptest::collection::vec(step, 1..400)
}

proptest! {
    /// Against a plain map: a store may have lost an item to eviction, but never holds another value for its key,
    /// never holds a deleted one, and never goes over its bound.
    #[test]
    fn a_store_is_a_map_that_forgets(steps in steps()) {
        let limits = Limits { memory_bytes: 64 << 10, item_bytes: 8 << 10 };
        let store = Store::new(limits);
        let mut model = HashMap::<u8, Vec<u8>>::new();
        for (round, step) in steps.into_iter().enumerate() {
            match step {
                Step::Set(key, len) => {
                    let value = vec![round as u8; usize::from(len)];
                    set(&store, &[key], &value);
                    prop_assert_eq!(get(&store, &[key], at(0)), Some(value.clone()));
                    model.insert(key, value);
                }
                Step::Append(key, len) => {
                    let value = vec![round as u8; usize::from(len)];
                    if let Stored::Stored(_) = store.entry(&[key], at(0)).write(write(Mode::Append, &value)) {
                        model.entry(key).or_default().extend(value);
                    }
                }
                Step::Get(key) => {
                    let found = get(&store, &[key], at(0));
                    prop_assert!(found.is_none() || found.as_ref() == model.get(&key));
                }
                Step::Delete(key) => {
                    store.entry(&[key], at(0)).delete(Delete::default());
                    prop_assert_eq!(get(&store, &[key], at(0)), None);
                    model.remove(&key);
                }
                Step::Sweep => store.sweep(at(0)),
            }
            prop_assert!(store.usage().bytes <= limits.memory_bytes);
        }
    }
}
