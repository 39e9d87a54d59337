use super::*;
use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x0a]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x0b]);

fn at(second: u64) -> Nanos {
    Nanos(second * 1_000_000_000)
}

fn table(capacity: usize) -> Stations {
    Stations::new(StationsConfig { capacity, seed: 7, ..StationsConfig::default() })
}

fn mac(number: u64) -> MacAddr {
    MacAddr::from_u64(0x0200_0000_0000 | number)
}

#[test]
fn a_station_is_learned_moves_and_ages() {
    let stations = table(64);
    assert_eq!(stations.find(0, A, at(1)), None);
    assert_eq!(stations.learn(0, A, PortId(1), at(1)), Learned::New);
    assert_eq!(stations.learn(0, A, PortId(1), at(1)), Learned::Known);
    assert_eq!(stations.learn(0, A, PortId(2), at(2)), Learned::Moved);
    assert_eq!(stations.find(0, A, at(302)), Some(PortId(2)));
    assert_eq!(stations.find(0, A, at(303)), None);
    assert_eq!(stations.learn(0, A, PortId(2), at(303)), Learned::New);
    assert_eq!(stations.learn(0, A, PortId(2), at(400)), Learned::Known);
    assert_eq!(stations.find(0, A, at(700)), Some(PortId(2)));
}

#[test]
fn vlans_are_apart() {
    let stations = table(64);
    stations.learn(0, A, PortId(1), at(0));
    stations.learn(5, A, PortId(2), at(0));
    assert_eq!(stations.find(0, A, at(0)), Some(PortId(1)));
    assert_eq!(stations.find(5, A, at(0)), Some(PortId(2)));
    assert_eq!(stations.find(6, A, at(0)), None);
}

#[test]
fn groups_and_zero_are_not_stations() {
    let stations = table(64);
    for mac in [MacAddr::BROADCAST, MacAddr([1, 0, 0x5e, 0, 0, 1]), MacAddr::default()] {
        assert_eq!(stations.learn(3, mac, PortId(1), at(0)), Learned::Ignored);
        assert_eq!(stations.find(3, mac, at(0)), None);
    }
}

#[test]
fn a_pinned_station_stays() {
    let stations = table(64);
    stations.learn(0, A, PortId(1), at(0));
    stations.pin(0, A, PortId(3)).unwrap();
    assert_eq!(stations.learn(0, A, PortId(1), at(9)), Learned::Refused);
    assert_eq!(stations.learn(0, A, PortId(3), at(9)), Learned::Known);
    assert_eq!(stations.find(0, A, at(100_000)), Some(PortId(3)));
    let all: Vec<_> = stations.snapshot(at(100_000)).collect();
    assert_eq!(all, [Station { vlan: 0, mac: A, port: PortId(3), idle: Duration::ZERO, pinned: true }]);
}

#[test]
fn a_full_bucket_forgets_the_oldest_but_not_the_pinned() {
    let stations = table(4);
    stations.pin(0, mac(0), PortId(0)).unwrap();
    for number in 1..4 {
        assert_eq!(stations.learn(0, mac(number), PortId(1), at(number)), Learned::New);
    }
    stations.learn(0, mac(1), PortId(1), at(10));
    assert_eq!(stations.learn(0, mac(4), PortId(1), at(11)), Learned::Evicted);
    let found: Vec<_> = (0..5).map(|number| stations.find(0, mac(number), at(11)).is_some()).collect();
    assert_eq!(found, [true, true, false, true, true]);

    for number in 10..13 {
        stations.pin(0, mac(number), PortId(0)).unwrap();
    }
    assert_eq!(stations.pin(0, mac(13), PortId(0)), Err(NoRoomToPin { vlan: 0, mac: mac(13) }));
    assert_eq!(stations.learn(0, mac(4), PortId(1), at(12)), Learned::Ignored);
}

#[test]
fn an_expired_station_gives_way_without_eviction() {
    let stations = table(4);
    for number in 0..4 {
        stations.learn(0, mac(number), PortId(1), at(0));
    }
    assert_eq!(stations.learn(0, mac(9), PortId(1), at(301)), Learned::New);
    assert_eq!(stations.snapshot(at(301)).count(), 1);
}

#[test]
fn nearly_all_stations_of_a_half_full_table_stay() {
    let stations = table(16_384);
    for number in 0..8192 {
        stations.learn(0, mac(number), PortId((number % 7) as u16), at(0));
    }
    let found = (0..8192).filter(|number| stations.find(0, mac(*number), at(0)).is_some()).count();
    assert!(found > 8192 * 90 / 100, "{found}");
    let distinct: HashSet<_> = stations.snapshot(at(0)).map(|station| station.mac).collect();
    assert_eq!(distinct.len(), found);
}

type Act = Box<dyn FnOnce()>;

thread_local! {
    /// What other workers do at the next places where this one can be overtaken.
    static OTHERS: RefCell<VecDeque<Act>> = const { RefCell::new(VecDeque::new()) };
}

pub(super) fn meanwhile() {
    let mut others = OTHERS.take();
    if let Some(act) = others.pop_front() {
        act();
        OTHERS.set(others);
    }
}

fn others_do(acts: impl IntoIterator<Item = Act>) {
    OTHERS.set(acts.into_iter().collect());
}

#[test]
fn a_reader_overtaken_twice_does_not_mix_two_stations() {
    let stations = Arc::new(table(4));
    for number in 1..4 {
        stations.learn(0, mac(number), PortId(9), at(10));
    }
    stations.learn(0, A, PortId(1), at(0));
    // A's key is seen; then its way is B's while the value is read, and A's again while the key is read.
    let (first, second) = (Arc::clone(&stations), Arc::clone(&stations));
    others_do([
        Box::new(move || assert_eq!(first.learn(0, B, PortId(2), at(1)), Learned::Evicted)) as Act,
        Box::new(move || assert_eq!(second.learn(0, A, PortId(1), at(2)), Learned::Evicted)),
    ]);
    assert_eq!(stations.find(0, A, at(2)), Some(PortId(1)));
}

#[test]
fn a_station_that_two_workers_meet_at_once_has_one_way() {
    let stations = Arc::new(table(4));
    let other = Arc::clone(&stations);
    others_do([Box::new(move || assert_eq!(other.learn(0, A, PortId(1), at(0)), Learned::New)) as Act]);
    stations.learn(0, A, PortId(1), at(0));
    assert_eq!(stations.snapshot(at(0)).count(), 1);
    assert_eq!(stations.learn(0, A, PortId(2), at(0)), Learned::Moved);
    assert_eq!(stations.find(0, A, at(0)), Some(PortId(2)));
    let keys: Vec<_> = stations.buckets[0].keys.iter().map(|key| key.load(Ordering::Relaxed)).collect();
    assert_eq!(keys.iter().filter(|key| **key != 0).count(), 1, "a key left behind would hide the station");
}

/// Every station has one port of its own, which its number gives; four ways, sixteen stations, so that ways change
/// hands all the time. Whatever a reader finds must be the station's own port.
#[test]
fn a_reader_never_gets_the_port_of_another_station() {
    let stations = table(4);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let (stations, done) = (&stations, &done);
            scope.spawn(move || {
                for round in 0..50_000_u64 {
                    let number = (round * 7 + writer) % 16;
                    stations.learn(0, mac(number), PortId(number as u16), at(round / 1000));
                }
                done.store(true, Ordering::Release);
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    for number in 0..16 {
                        if let Some(port) = stations.find(0, mac(number), at(0)) {
                            assert_eq!(port, PortId(number as u16));
                        }
                    }
                }
            });
        }
    });
    let macs: Vec<_> = stations.snapshot(at(300)).map(|station| station.mac).collect();
    let distinct: HashSet<_> = macs.iter().collect();
    assert_eq!(distinct.len(), macs.len(), "no station has two ways");
}

#[test]
fn every_known_station_is_written_once_a_second() {
    let stations = table(4);
    let word =
        |stations: &Stations| stations.buckets[0].values.iter().map(|v| v.load(Ordering::Relaxed)).max();
    stations.learn(0, B, PortId(1), at(5));
    let before = word(&stations);
    stations.learn(0, B, PortId(1), Nanos(5_999_999_999));
    stations.learn(0, B, PortId(1), at(4));
    assert_eq!(word(&stations), before);
    stations.learn(0, B, PortId(1), at(6));
    assert_ne!(word(&stations), before);
}
