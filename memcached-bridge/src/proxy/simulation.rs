//! A seeded world around two threads' proxies of one pool: a network that cuts, delays and resets, servers that freeze,
//! clients that pipeline, dawdle and leave. Checked are the order and the completeness of replies, and that what clients
//! read of each key can be explained by one register.
//!
//! `PROXY_SEED` repeats a run, `PROXY_SEEDS` runs so many.

mod history;
mod world;

use history::History;
use world::{Faults, World};

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
fn run(faults: Faults, check: impl Fn(&History) -> Result<(), String>) -> (u64, u64) {
    let (mut hits, mut read) = (0, 0);
    for seed in seeds() {
        let mut world = World::new(seed, faults);
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

#[test]
fn every_read_has_a_place_in_the_order_of_writes() {
    let (hits, read) = run(Faults { network: true, ejection: false }, History::check);
    assert!(hits > read / 20, "{hits} hits in {read} reads say little");
}

#[test]
fn without_faults_nothing_fails() {
    run(Faults { network: false, ejection: false }, |history| {
        history.check()?;
        if history.refused() > 0 {
            Err(format!("{} requests were refused", history.refused()))
        } else {
            Ok(())
        }
    });
}

#[test]
fn replies_are_in_order_and_whole_while_servers_come_and_go() {
    // What a server has that comes back is old by design, so its values are not checked.
    run(Faults { network: true, ejection: true }, |_| Ok(()));
}
