//! A seeded world around two threads' proxies of one pool, or of a route over two: a network that cuts, delays and resets, servers that freeze,
//! clients that pipeline, dawdle and leave. Checked are the order and the completeness of replies, and that what clients
//! read of each key can be explained by one register.
//!
//! `PROXY_SEED` repeats a run, `PROXY_SEEDS` runs so many.

mod history;
mod world;

use history::History;

use super::route::Acks;
use world::{Faults, Shape, World};

/// Things that happen before everything is mended.
const EVENTS: usize = 6000;
/// Seeds of every day.
const SEEDS: u64 = 150;

fn seeds() -> Vec<u64> {
    let given = |name: &str| std::env::var(name).ok().map(|seed| seed.parse::<u64>().unwrap());
    match given("PROXY_SEED") {
        Some(seed) => vec![seed],
        None => (1..=given("PROXY_SEEDS").unwrap_or(SEEDS)).collect(),
    }
}

/// Runs each seed, and says which one failed.
fn run(faults: Faults, shape: Shape, check: impl Fn(&History) -> Result<(), String>) -> (u64, u64) {
    let (mut hits, mut read) = (0, 0);
    for seed in seeds() {
        let mut world = World::new(seed, faults, shape);
        world.run(EVENTS);
        world.heal();
        let checked = world.check_replies().and_then(|()| check(&world.history));
        if let Err(wrong) = checked {
            panic!("PROXY_SEED={seed}: {wrong}");
        }
        hits += world.hits();
        read += world.history.reads();
    }
    (hits, read)
}

const NO_FAULTS: Faults = Faults { network: false, ejection: false };
const FAULTS: Faults = Faults { network: true, ejection: false };

fn nothing_failed(history: &History) -> Result<(), String> {
    history.check()?;
    match history.refused() {
        0 => Ok(()),
        refused => Err(format!("{refused} requests were refused")),
    }
}

#[test]
fn with_all_copies_up_every_read_has_a_place_in_the_order_of_writes() {
    let (hits, read) = run(NO_FAULTS, Shape::Copies(Acks::All), nothing_failed);
    assert!(hits > read / 20, "{hits} hits in {read} reads say little");
}

#[test]
fn one_acknowledgement_is_not_enough_for_that() {
    // Another copy than the one that reads are answered by may have given it.
    let stale = |seed| {
        let mut world = World::new(seed, NO_FAULTS, Shape::Copies(Acks::One));
        world.run(EVENTS);
        world.heal();
        world.check_replies().unwrap();
        world.history.check().is_err()
    };
    assert!((1..=SEEDS).any(stale), "the world finds no stale read: it looks at the wrong thing");
}

#[test]
fn without_faults_a_pool_to_fail_over_to_or_to_fill_from_changes_nothing() {
    run(NO_FAULTS, Shape::Failover, nothing_failed);
    run(NO_FAULTS, Shape::Warm, nothing_failed);
}

#[test]
fn replies_are_in_order_and_whole_while_servers_of_a_route_come_and_go() {
    // What a pool has that was down is old by design, so values are not checked.
    for shape in [Shape::Copies(Acks::All), Shape::Copies(Acks::One), Shape::Failover, Shape::Warm] {
        run(FAULTS, shape, |_| Ok(()));
    }
}

#[test]
fn every_read_has_a_place_in_the_order_of_writes() {
    let (hits, read) = run(Faults { network: true, ejection: false }, Shape::Pool, History::check);
    assert!(hits > read / 20, "{hits} hits in {read} reads say little");
}

#[test]
fn without_faults_nothing_fails() {
    run(NO_FAULTS, Shape::Pool, nothing_failed);
}

#[test]
fn replies_are_in_order_and_whole_while_servers_come_and_go() {
    // What a server has that comes back is old by design, so its values are not checked.
    run(Faults { network: true, ejection: true }, Shape::Pool, |_| Ok(()));
}
