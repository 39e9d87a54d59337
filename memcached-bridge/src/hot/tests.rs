use std::collections::HashMap;
use std::time::Duration;

use fabric::packet::checksum::Sum;
use fabric::time::Nanos;

use super::random::{Random, Zipf};
use super::*;
use crate::coherence::Stamp;

fn hash(key: &[u8]) -> u64 {
    KeyHasher::new(7).hash(0, key)
}

fn item<'a>(key: &'a [u8], value: &'a [u8]) -> Item<'a> {
    Item { key, flags: 0, cas: 1, value, installed: Nanos(0), expires: Nanos(1), stamp: Stamp::default() }
}

fn put(table: &mut HotTable, key: &[u8], value: &[u8]) -> Inserted {
    table.insert(hash(key), item(key, value))
}

fn value_of(table: &mut HotTable, key: &[u8]) -> Option<Vec<u8>> {
    table.find(hash(key), key).map(|hit| hit.value().to_vec())
}

#[test]
fn replies_read_as_memcached_writes_them() {
    let mut table = HotTable::new(1 << 20);
    let stamp = Stamp { bucket_epoch: 3, pool_epoch: 4 };
    let item = Item {
        key: b"key",
        flags: 42,
        cas: 12345,
        value: b"a\r\nb",
        installed: Nanos(5),
        expires: Nanos(6),
        stamp,
    };
    assert_eq!(table.insert(hash(b"key"), item), Inserted::New);
    table.note_refresh(hash(b"key"), b"key", Nanos(9));
    let hit = table.find(hash(b"key"), b"key").unwrap();
    assert_eq!((hit.installed(), hit.expires(), hit.stamp()), (Nanos(5), Nanos(6), stamp));
    assert_eq!(hit.refresh_not_before(), Nanos(9));
    assert_eq!((hit.key(), hit.value(), hit.flags(), hit.cas()), (&b"key"[..], &b"a\r\nb"[..], 42, 12345));
    assert_eq!(hit.get_reply(), b"VALUE key 42 4\r\na\r\nb\r\nEND\r\n");
    assert_eq!(hit.get_entry(), b"VALUE key 42 4\r\na\r\nb\r\n");
    let mut out = [0; 64];
    let len = hit.write_gets(&mut out);
    assert_eq!(&out[..len], b"VALUE key 42 4 12345\r\na\r\nb\r\nEND\r\n");
    assert_eq!(hit.write_get(&mut [0; 5]), 0);
    assert_eq!(hit.write_gets(&mut [0; 5]), 0);
}

#[test]
fn sums_are_those_of_the_bytes_at_every_parity() {
    let mut table = HotTable::new(16 << 20);
    let mut out = vec![0; 1 << 20];
    for key_len in 1..6 {
        for value_len in [0, 1, 2, 9, 10, 99, 100, 1400, 65_500, 70_000, 1_000_000] {
            for cas in [0, 7, 10, u64::MAX] {
                let (key, value) = (vec![b'k'; key_len], vec![0xa7; value_len]);
                table.insert(hash(&key), Item { cas, flags: u32::MAX, ..item(&key, &value) });
                let hit = table.find(hash(&key), &key).unwrap();
                let len = hit.write_get(&mut out);
                assert_eq!(len, hit.reply_len(false));
                assert_eq!(hit.get_sum(), Sum::of(&out[..len]));
                let len = hit.write_gets(&mut out);
                assert_eq!(len, hit.reply_len(true));
                assert_eq!(hit.gets_sum(), Sum::of(&out[..len]));
                assert_eq!(hit.value_sum(), Sum::of(&value));
            }
        }
    }
}

#[test]
fn the_same_key_of_two_pools_is_two_keys() {
    let hasher = KeyHasher::new(1);
    let mut table = HotTable::new(1 << 20);
    for pool in [0u16, 1, 7, u16::MAX] {
        table.insert(hasher.hash(pool, b"key"), item(b"key", &pool.to_be_bytes()));
    }
    for pool in [0u16, 1, 7, u16::MAX] {
        assert_eq!(table.find(hasher.hash(pool, b"key"), b"key").unwrap().value(), pool.to_be_bytes());
    }
}

#[test]
fn equal_hashes_do_not_mix_up_keys() {
    let mut table = HotTable::new(1 << 20);
    for key in 0..10u8 {
        table.insert(99, item(&[b'a' + key], &[key]));
    }
    for key in 0..10u8 {
        assert_eq!(table.find(99, &[b'a' + key]).unwrap().value(), [key]);
    }
    assert!(table.find(99, b"z").is_none());
}

#[test]
fn what_does_not_fit_is_refused_and_voids_the_old() {
    let mut table = HotTable::new(64 << 10);
    assert_eq!(put(&mut table, b"key", b"old"), Inserted::New);
    assert_eq!(put(&mut table, b"key", &[0; 60_000]), Inserted::TooLarge);
    assert_eq!(value_of(&mut table, b"key"), None);
    assert_eq!(put(&mut table, b"", b"x"), Inserted::TooLarge);
    assert_eq!(put(&mut table, &[b'k'; 251], b"x"), Inserted::TooLarge);
    assert_eq!(put(&mut table, &[b'k'; 250], b"x"), Inserted::New);
    assert_eq!(put(&mut HotTable::new(16 << 20), b"key", &[0; 1 << 20]), Inserted::TooLarge);
}

#[test]
fn a_table_without_room_holds_nothing() {
    for capacity in 0..3000 {
        let mut table = HotTable::new(capacity);
        assert!(table.memory_bytes() <= capacity);
        table.prefetch(5);
        table.guess(5);
        put(&mut table, b"k", b"v");
        assert!(!table.remove(1, b"absent"));
    }
}

/// A table against a map that forgets nothing: what is found is the last value inserted, never another, and the
/// table keeps within its memory.
#[test]
fn finds_only_the_last_value_of_a_key() {
    for seed in 0..40 {
        let mut random = Random(seed);
        let mut table = HotTable::new(20_000 + random.below(60_000) as usize);
        let memory = table.memory_bytes();
        let mut last: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
        let mut found = 0;
        for step in 0..6000u64 {
            let key = format!("key-{}", random.below(400)).into_bytes();
            match random.below(100) {
                0..60 => {
                    let value = value_of(&mut table, &key);
                    found += usize::from(value.is_some());
                    assert!(value.is_none() || value.as_ref() == last.get(&key), "seed {seed} step {step}");
                }
                60..95 => {
                    let value = vec![step as u8; random.below(1500).min(random.below(1500)) as usize];
                    let inserted = put(&mut table, &key, &value);
                    if inserted == Inserted::TooLarge {
                        last.remove(&key);
                    } else {
                        last.insert(key.clone(), value.clone());
                        assert_eq!(value_of(&mut table, &key), Some(value), "seed {seed} step {step}");
                    }
                }
                95..99 => {
                    table.remove(hash(&key), &key);
                    last.remove(&key);
                    assert_eq!(value_of(&mut table, &key), None, "seed {seed} step {step}");
                }
                _ if random.chance(3) => {
                    table.clear();
                    last.clear();
                }
                _ => {}
            }
            assert_eq!(table.memory_bytes(), memory);
            assert!(table.bytes() <= memory && table.len() <= last.len());
        }
        assert!(found > 100, "seed {seed}");
        check_count(&table);
    }
}

/// The index holds as many keys as the table says, each of them once.
fn check_count(table: &HotTable) {
    let mut top = Hottest::new(10_000);
    while !table.hottest(&mut top, 7) {}
    let mut keys: Vec<_> = top.sorted().iter().map(|key| key.key.clone()).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), table.len());
}

#[test]
fn a_scan_does_not_wash_out_what_is_hot() {
    let mut table = HotTable::new(256 << 10);
    let hot: Vec<_> = (0..100).map(|key| format!("hot-{key}").into_bytes()).collect();
    for key in &hot {
        put(&mut table, key, &[1; 100]);
    }
    for scanned in 0..20_000 {
        put(&mut table, format!("scan-{scanned}").as_bytes(), &[2; 100]);
        let key = &hot[scanned % hot.len()];
        table.find(hash(key), key);
    }
    assert!(hot.iter().all(|key| value_of(&mut table, key).is_some()));
    assert!(table.statistics().promoted >= 100);
}

#[test]
fn a_key_that_comes_back_soon_goes_to_the_main_ring() {
    let mut table = HotTable::new(256 << 10);
    for filling in 0..2000 {
        put(&mut table, format!("fill-{filling}").as_bytes(), &[2; 100]);
    }
    put(&mut table, b"key", &[1; 100]);
    let mut scanned = 0;
    while value_without_touch(&table, b"key") {
        put(&mut table, format!("scan-{scanned}").as_bytes(), &[2; 100]);
        scanned += 1;
    }
    put(&mut table, b"key", &[1; 100]);
    assert_eq!(table.statistics().recalled, 1);
    for scanned in 0..1000 {
        put(&mut table, format!("more-{scanned}").as_bytes(), &[2; 100]);
    }
    assert!(value_of(&mut table, b"key").is_some());
}

fn value_without_touch(table: &HotTable, key: &[u8]) -> bool {
    let mut top = Hottest::new(100_000);
    table.hottest(&mut top, usize::MAX);
    top.sorted().iter().any(|hot| hot.key.as_slice() == key)
}

#[test]
fn nothing_leaves_before_the_table_is_full() {
    let mut table = HotTable::new(256 << 10);
    let mut inserted = 0;
    while table.bytes() < table.memory_bytes() * 8 / 10 {
        put(&mut table, format!("fill-{inserted}").as_bytes(), &[2; 100]);
        inserted += 1;
        assert_eq!(table.len(), inserted);
    }
}

#[test]
fn a_replaced_value_keeps_its_hits_at_any_size() {
    let mut table = HotTable::new(1 << 20);
    put(&mut table, b"key", b"1");
    for round in 1..=50 {
        assert_eq!(table.find(hash(b"key"), b"key").unwrap().hits(), round);
        let value = vec![1; round as usize % 7 * 50];
        assert_eq!(put(&mut table, b"key", &value), Inserted::Replaced);
    }
    assert_eq!(table.len(), 1);
}

#[test]
fn the_hottest_are_found_in_steps() {
    let mut table = HotTable::new(1 << 20);
    for key in 0..200u32 {
        let key = key.to_string().into_bytes();
        put(&mut table, &key, b"v");
        for _ in 0..key.len() + usize::from(key == b"77") * 9 + usize::from(key == b"5") * 20 {
            table.find(hash(&key), &key);
        }
    }
    let mut top = Hottest::new(2);
    while !table.hottest(&mut top, 5) {}
    let top: Vec<_> = top.sorted().iter().map(|hot| (hot.key.to_vec(), hot.hits, hot.value_len)).collect();
    assert_eq!(top, [(b"5".to_vec(), 21, 1), (b"77".to_vec(), 11, 1)]);
}

/// The share of requests found, of a table filled on every miss, against a plain LRU of as many keys as the
/// table came to hold.
#[test]
fn finds_at_least_as_much_as_an_lru_under_zipf() {
    let mut random = Random(3);
    let zipf = Zipf::new(100_000, 0.99);
    let mut table = HotTable::new(1 << 20);
    let mut hits = 0;
    let requests: Vec<usize> = (0..600_000).map(|_| zipf.sample(&mut random)).collect();
    for (index, rank) in requests.iter().enumerate() {
        let key = format!("{rank:016}").into_bytes();
        if table.find(hash(&key), &key).is_some() {
            hits += usize::from(index > 200_000);
        } else {
            put(&mut table, &key, &[7; 32]);
        }
    }
    let lru = lru_hits(&requests, table.len(), 200_000);
    println!("S3-FIFO {hits}, LRU of {} keys {lru}, of 400,000; {:?}", table.len(), table.statistics());
    assert!(hits >= lru);
    assert!(table.statistics().displaced < 500);
}

fn lru_hits(requests: &[usize], capacity: usize, from: usize) -> usize {
    let mut last_used: HashMap<usize, usize> = HashMap::new();
    let mut by_age = std::collections::BTreeMap::new();
    let mut hits = 0;
    for (now, rank) in requests.iter().enumerate() {
        if let Some(before) = last_used.insert(*rank, now) {
            by_age.remove(&before);
            hits += usize::from(now > from);
        }
        by_age.insert(now, *rank);
        if by_age.len() > capacity
            && let Some((_, oldest)) = by_age.pop_first()
        {
            last_used.remove(&oldest);
        }
    }
    hits
}

#[test]
fn an_estimate_is_never_below_the_count_of_its_window() {
    for seed in 0..20 {
        let mut random = Random(seed);
        let mut sketch = Sketch::new(Duration::from_secs(1));
        let mut counts: HashMap<u64, u64> = HashMap::new();
        for _ in 0..30_000 {
            let key = random.below(5_000).min(random.below(5_000));
            let weight = 1 + random.below(8) as u16;
            let hash = hash(&key.to_le_bytes());
            let count = counts.entry(hash).or_default();
            *count += u64::from(weight);
            assert!(u64::from(sketch.observe(hash, weight)) >= *count, "seed {seed}");
            if random.below(10_000) == 0 {
                sketch.decay();
                counts.clear();
            }
        }
        assert!(
            counts.iter().all(|(hash, count)| u64::from(sketch.estimate(*hash)) >= *count),
            "seed {seed}"
        );
    }
}

#[test]
fn a_counter_stops_at_its_ceiling() {
    let mut sketch = Sketch::new(Duration::from_secs(1));
    assert_eq!(sketch.observe(1, u16::MAX), u16::MAX);
    assert_eq!(sketch.observe(1, 9), u16::MAX);
}

#[test]
fn what_is_no_longer_asked_for_cools_down() {
    let mut sketch = Sketch::new(Duration::from_secs(1));
    let second = |seconds| Nanos(0) + Duration::from_secs(seconds);
    sketch.tick(second(0));
    sketch.observe(1, 1000);
    sketch.tick(second(0) + Duration::from_millis(999));
    assert_eq!(sketch.estimate(1), 1000);
    sketch.tick(second(1));
    assert_eq!(sketch.estimate(1), 500);
    sketch.tick(second(3));
    assert_eq!(sketch.estimate(1), 125);
    sketch.tick(second(1000));
    assert_eq!(sketch.estimate(1), 0);
}

/// A Zipf stream of a million requests for a million keys in one window: every key above the threshold is reported,
/// and few others are.
#[test]
fn finds_the_keys_that_are_hot_and_few_others() {
    let zipf = Zipf::new(1_000_000, 0.99);
    for seed in 0..2 {
        let mut random = Random(seed);
        let mut sketch = Sketch::new(Duration::from_secs(1));
        let mut counts: HashMap<usize, u32> = HashMap::new();
        const THRESHOLD: u32 = 1000;
        let mut reported = std::collections::HashSet::new();
        for _ in 0..1_000_000 {
            let rank = zipf.sample(&mut random);
            *counts.entry(rank).or_default() += 1;
            if u32::from(sketch.observe(hash(&rank.to_le_bytes()), 1)) >= THRESHOLD {
                reported.insert(rank);
            }
        }
        let hot: Vec<_> =
            counts.iter().filter(|(_, count)| **count >= THRESHOLD).map(|(rank, _)| *rank).collect();
        assert!(hot.iter().all(|rank| reported.contains(rank)));
        println!("seed {seed}: {} hot, {} reported", hot.len(), reported.len());
        assert!(reported.len() * 100 <= hot.len() * 120, "seed {seed}");
    }
}
