use std::net::IpAddr;
use std::sync::Barrier;

use super::*;
use crate::hot::random::Random;

const START: Nanos = Nanos(1 << 40);

fn coherence(buckets: usize, in_flight: usize) -> Arc<Coherence> {
    Coherence::new(CoherenceLimits { buckets, in_flight, ..CoherenceLimits::default() })
}

fn at(millis: u64) -> Nanos {
    START + Duration::from_millis(millis)
}

fn id(coherence: &Coherence, request: u64) -> WriteId {
    coherence.write_id(IpAddr::from([10, 0, 0, 1]), 1, request, 0)
}

fn key(bucket: u64) -> u64 {
    bucket << 20
}

fn fillable(coherence: &Coherence, bucket: u64, now: Nanos) -> bool {
    coherence.may_fill(&coherence.snapshot(now), key(bucket)).is_some()
}

#[test]
fn a_write_voids_its_bucket_and_bars_it_until_its_reply() {
    let coherence = coherence(4, 64);
    let view = coherence.snapshot(START);
    let stamp = coherence.may_fill(&view, key(1)).unwrap();
    let other = coherence.may_fill(&view, key(2)).unwrap();
    assert!(coherence.is_current(&view, key(1), stamp));
    coherence.begin_write(id(&coherence, 1), key(1), START).unwrap();
    assert!(!coherence.is_current(&view, key(1), stamp));
    assert!(coherence.is_current(&view, key(2), other));
    assert!(!fillable(&coherence, 1, START));
    assert_eq!(coherence.end_write(id(&coherence, 1)), Ended::Matched);
    assert!(fillable(&coherence, 1, START));
    assert!(!coherence.is_current(&view, key(1), stamp));
    assert_eq!(coherence.end_write(id(&coherence, 1)), Ended::Unknown);
}

#[test]
fn a_lost_reply_bars_its_bucket_for_one_lease_and_a_late_one_bumps_it() {
    let coherence = coherence(4, 64);
    coherence.begin_write(id(&coherence, 1), key(1), START).unwrap();
    coherence.sweep(at(999), 1000);
    assert!(!fillable(&coherence, 1, at(999)));
    coherence.sweep(at(1010), 1000);
    assert!(fillable(&coherence, 1, at(1010)));
    assert_eq!(coherence.statistics().late, 1);
    let view = coherence.snapshot(at(1010));
    let stamp = coherence.may_fill(&view, key(1)).unwrap();
    assert_eq!(coherence.end_write(id(&coherence, 1)), Ended::Matched);
    assert!(!coherence.is_current(&view, key(1), stamp));
    coherence.sweep(at(5100), 1000);
    assert_eq!(coherence.statistics().late, 0);
    assert_eq!(coherence.end_write(id(&coherence, 1)), Ended::Unknown);
}

#[test]
fn a_reply_that_could_be_two_writes_bumps_both() {
    let coherence = coherence(4, 64);
    let id = id(&coherence, 1);
    coherence.begin_write(id, key(1), START).unwrap();
    coherence.begin_write(id, key(2), at(100)).unwrap();
    assert_eq!(coherence.end_write(id), Ended::Matched);
    // The older is taken for ended, though remembered; the other is still barred.
    assert!(fillable(&coherence, 1, at(100)) && !fillable(&coherence, 2, at(100)));
    let view = coherence.snapshot(at(100));
    let stamp = coherence.may_fill(&view, key(1)).unwrap();
    assert_eq!(coherence.end_write(id), Ended::Matched);
    assert!(!coherence.is_current(&view, key(1), stamp));
    assert!(fillable(&coherence, 2, at(100)));
}

#[test]
fn a_repeated_write_is_ended_once_for_each_reply() {
    let coherence = coherence(4, 64);
    let id = id(&coherence, 1);
    coherence.begin_write(id, key(1), START).unwrap();
    coherence.begin_write(id, key(1), START).unwrap();
    assert_eq!(coherence.end_write(id), Ended::Matched);
    assert!(!fillable(&coherence, 1, START));
    assert_eq!(coherence.end_write(id), Ended::Matched);
    assert!(fillable(&coherence, 1, START));
    assert_eq!(coherence.end_write(id), Ended::Unknown);
}

#[test]
fn a_full_set_refuses_and_leaves_nothing_pending() {
    let coherence = coherence(4, 8);
    for request in 0..8 {
        coherence.begin_write(id(&coherence, request), key(1), START).unwrap();
    }
    assert_eq!(coherence.begin_write(id(&coherence, 8), key(2), START), Err(InFlightFull));
    assert!(fillable(&coherence, 2, START));
    assert_eq!(coherence.statistics().refused, 1);
    assert_eq!(coherence.statistics().in_flight, 8);
}

#[test]
fn late_writes_give_way_and_their_replies_are_then_unknown() {
    let coherence = coherence(4, 8);
    for request in 0..8 {
        coherence.begin_write(id(&coherence, request), key(1), at(10 * request)).unwrap();
    }
    coherence.sweep(at(1500), 1000);
    coherence.begin_write(id(&coherence, 8), key(2), at(1500)).unwrap();
    assert_eq!(coherence.statistics().forgotten, 1);
    let forgotten = (0..8).filter(|request| coherence.end_write(id(&coherence, *request)) == Ended::Unknown);
    assert_eq!(forgotten.count(), 1);
}

#[test]
fn late_writes_of_one_id_merge_before_any_is_forgotten() {
    let coherence = coherence(16, 8);
    let id = id(&coherence, 1);
    for bucket in 0..8 {
        coherence.begin_write(id, key(bucket), START).unwrap();
    }
    coherence.sweep(at(1500), 1000);
    coherence.begin_write(id, key(9), at(1500)).unwrap();
    let view = coherence.snapshot(at(1500));
    let stamps: Vec<_> = (0..8).map(|bucket| coherence.may_fill(&view, key(bucket)).unwrap()).collect();
    assert_eq!(coherence.end_write(id), Ended::Matched);
    let view = coherence.snapshot(at(1500));
    for (bucket, stamp) in stamps.into_iter().enumerate() {
        assert!(!coherence.is_current(&view, key(bucket as u64), stamp), "bucket {bucket}");
    }
    assert_eq!(coherence.statistics().forgotten, 0);
}

#[test]
fn writes_without_a_reply_share_a_cell_and_never_run_out() {
    let coherence = coherence(1 << 12, 8);
    for round in 0..5 {
        for bucket in 0..4096 {
            coherence.begin_write_without_reply(key(bucket), at(round)).unwrap();
        }
    }
    assert!(coherence.statistics().in_flight <= 9);
    assert!(!fillable(&coherence, 7, at(999)));
    coherence.sweep(at(999), 1000);
    assert!(!fillable(&coherence, 7, at(999)));
    coherence.sweep(at(1020), 1000);
    assert!((0..4096).all(|bucket| fillable(&coherence, bucket, at(1020))));
}

#[test]
fn the_last_write_without_a_reply_counts() {
    let coherence = coherence(4, 64);
    coherence.begin_write_without_reply(key(1), START).unwrap();
    coherence.begin_write_without_reply(key(1), at(900)).unwrap();
    coherence.sweep(at(1890), 1000);
    assert!(!fillable(&coherence, 1, at(1890)));
    coherence.sweep(at(1910), 1000);
    assert!(fillable(&coherence, 1, at(1910)));
}

#[test]
fn a_write_to_all_voids_and_bars_all() {
    let coherence = coherence(4, 64);
    let view = coherence.snapshot(START);
    let stamp = coherence.may_fill(&view, key(1)).unwrap();
    coherence.begin_write_all(Some(id(&coherence, 1)), START).unwrap();
    let view = coherence.snapshot(START);
    assert!(!coherence.is_current(&view, key(1), stamp));
    assert!(!fillable(&coherence, 1, START));
    assert_eq!(coherence.end_write(id(&coherence, 1)), Ended::Matched);
    assert!(fillable(&coherence, 1, START));
}

#[test]
fn a_closed_cache_answers_nothing_and_forgets_what_it_had() {
    let coherence = coherence(4, 64);
    let view = coherence.snapshot(START);
    let stamp = coherence.may_fill(&view, key(1)).unwrap();
    coherence.close(at(1000), at(2000));
    assert!(coherence.is_current(&coherence.snapshot(at(500)), key(1), stamp));
    let view = coherence.snapshot(at(1500));
    assert!(!view.is_open() && !coherence.is_current(&view, key(1), stamp));
    assert!(coherence.may_fill(&view, key(1)).is_none());
    let view = coherence.snapshot(at(2500));
    assert!(view.is_open() && !coherence.is_current(&view, key(1), stamp));
    assert!(coherence.may_fill(&view, key(1)).is_some());
}

#[test]
fn limits_are_brought_into_range() {
    let limits =
        CoherenceLimits { buckets: 0, in_flight: 0, lease: Duration::MAX, ..CoherenceLimits::default() };
    let coherence = Coherence::new(limits);
    coherence.begin_write(id(&coherence, 1), u64::MAX, START).unwrap();
    coherence.sweep(START + Duration::from_secs(299), 100);
    assert_eq!(coherence.statistics().in_flight, 1);
    coherence.sweep(START + Duration::from_secs(301), 100);
    assert_eq!(coherence.statistics().in_flight, 0);
}

/// Threads that begin, end, lose and sweep the same few cells: pending is never lost, never given back twice (which
/// a debug assertion would tell), and 0 in the end.
#[test]
fn pending_returns_to_zero_under_contention() {
    for round in 0..20 {
        let coherence = coherence(4, 8);
        let barrier = Barrier::new(4);
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let (coherence, barrier) = (&coherence, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    hammer(coherence, 4 * round + worker);
                });
            }
        });
        let last = START + Duration::from_secs(900);
        coherence.sweep(last, 1000);
        coherence.sweep(last + Duration::from_secs(10), 1000);
        let statistics = coherence.statistics();
        assert_eq!((statistics.in_flight, statistics.late), (0, 0));
        assert!((0..4).all(|bucket| fillable(&coherence, bucket, last + Duration::from_secs(10))));
    }
}

fn hammer(coherence: &Coherence, seed: u64) {
    let mut random = Random(seed);
    for step in 0..10_000u64 {
        let now = at(step * 10);
        // Few ids, so that threads end one another's writes.
        let id = id(coherence, random.below(3));
        let target = key(random.below(4));
        match random.below(10) {
            0..4 => drop(coherence.begin_write(id, target, now)),
            4..6 => {
                if coherence.end_write(id) == Ended::Unknown {
                    coherence.bump_pool();
                }
            }
            6 => drop(coherence.begin_write_without_reply(target, now)),
            7 => drop(coherence.begin_write_all(Some(id), now)),
            // Each thread's time runs on its own, so all find cells to give up.
            _ => coherence.sweep(at(step * 10 + 1500), 16),
        }
    }
}
