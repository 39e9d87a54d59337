//! Many clients over TCP, few keys, all of them hot, values that expire, flushes, servers that are paused, killed and
//! restarted: one register per key must explain every outcome. `SEEDS=100` runs more seeds than the few of every day,
//! `SEEDS=7..8` one of them again.
#![allow(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod support;

use std::thread;
use std::time::Duration;

use cluster_tests::linearizability::{CallId, Recorder, Route, Workload, check};
use cluster_tests::memcached::{Encoding, Outcome, TcpClient};
use cluster_tests::proxied::Proxied;
use cluster_tests::random::Random;
use support::seeds;

/// Shorter than a paused server's pause, so that leases end while it is away.
const LEASE_MS: u64 = 100;
/// Shorter than some pauses, so that writes are given up and carried out afterwards.
const REPLY_TIMEOUT_MS: u64 = 150;

fn hot_pool(name: &str) -> Proxied {
    let pool = Proxied::start(name, 2, |pool| {
        pool.lease_ms = Some(LEASE_MS);
        pool.hot_threshold = Some(2);
        // What an ejected server comes back with is old.
        pool.auto_eject = Some(false);
        pool.reply_timeout_ms = Some(REPLY_TIMEOUT_MS);
        pool.probe_interval_ms = Some(20);
    });
    pool.unwrap()
}

fn workload(pool: &Proxied, seed: u64) -> Workload {
    Workload {
        seed,
        clients: 16,
        commands: 300,
        keys: 6,
        write_one_in: 6,
        patience: Duration::ZERO,
        rest: Duration::from_millis(20),
        expiring_one_in: 4,
        flush_one_in: 200,
        encodings: vec![Encoding::Text, Encoding::Meta, Encoding::Binary],
        routes: vec![Route::Tcp(pool.address())],
    }
}

/// Runs `workload` with `meanwhile` beside it; returns the errors that clients saw.
fn run(workload: &Workload, meanwhile: impl FnOnce(&Recorder)) -> Vec<String> {
    let report = workload.run(&[], meanwhile).unwrap();
    let (seed, history) = (workload.seed, report.history);
    // What failed may or may not have been carried out: too much of it explains everything.
    let (pending, all) = (history.pending(), history.len());
    assert!(pending * 4 < all, "seed {seed}: {pending} of {all} pending: {:?}", report.errors.last());
    if let Err(violation) = check(&history) {
        panic!("seed {seed}: {violation}");
    }
    report.errors
}

/// The test is about what the node answers itself.
fn assert_hits(pool: &Proxied, runs: usize) {
    let metrics = pool.admin().metrics().unwrap();
    let hits = metrics.sum("hits");
    println!("{hits} hits in {runs} runs; {} fills", metrics.sum("fills_installed"));
    assert!(hits > 100.0 * runs as f64, "only {hits} hits in {runs} runs: the cache was not tested");
}

#[test]
fn while_all_is_well() {
    let pool = hot_pool("linearizable-well");
    let seeds = seeds(2);
    for seed in seeds.clone() {
        assert_eq!(run(&workload(&pool, seed), |_| ()), Vec::<String>::new(), "seed {seed}");
    }
    assert_hits(&pool, seeds.count());
}

#[test]
fn while_servers_are_paused() {
    let mut pool = hot_pool("linearizable-paused");
    let seeds = seeds(3);
    for seed in seeds.clone() {
        let workload = workload(&pool, seed);
        let mut random = Random::new(seed);
        run(&workload, |_| {
            for _ in 0..6 {
                thread::sleep(Duration::from_millis(random.below(200) as u64));
                let server = &mut pool.servers[random.below(2)];
                server.pause().unwrap();
                // How long is what is tested.
                thread::sleep(Duration::from_millis(20 + random.below(400) as u64));
                server.resume();
            }
        });
    }
    assert_hits(&pool, seeds.count());
}

#[test]
fn while_servers_are_killed_and_restarted() {
    let mut pool = hot_pool("linearizable-killed");
    let seeds = seeds(3);
    for seed in seeds.clone() {
        let workload = workload(&pool, seed);
        let held: Vec<Vec<String>> = held(&pool, &workload.key_names());
        let mut random = Random::new(seed);
        run(&workload, |recorder| {
            for _ in 0..4 {
                thread::sleep(Duration::from_millis(random.below(400) as u64));
                let index = random.below(2);
                let losses: Vec<CallId> = held[index].iter().map(|key| recorder.loss(key)).collect();
                pool.servers[index].kill();
                thread::sleep(Duration::from_millis(random.below(200) as u64));
                pool.servers[index].restart().unwrap();
                // What the node had cached it answers for a lease, unless it hears of the restart before.
                thread::sleep(Duration::from_millis(LEASE_MS));
                losses.into_iter().for_each(|loss| recorder.returned(loss, Outcome::Done));
            }
        });
    }
    assert_hits(&pool, seeds.count());
}

/// Which of `keys` each server has, by asking the pool to store them. They are deleted again.
fn held(pool: &Proxied, keys: &[String]) -> Vec<Vec<String>> {
    let line = |reply: &[u8]| reply.ends_with(b"\r\n");
    let ask = |client: &mut TcpClient, request: String| client.ask(request.as_bytes(), line).unwrap();
    let mut client = TcpClient::connect(pool.address()).unwrap();
    for key in keys {
        assert_eq!(ask(&mut client, format!("set {key} 0 0 1\r\n1\r\n")), b"STORED\r\n");
    }
    let held = pool.servers.iter().map(|server| {
        let mut server = TcpClient::connect(server.address()).unwrap();
        let holds = |key: &&String| ask(&mut server, format!("touch {key} 0\r\n")) == b"TOUCHED\r\n";
        keys.iter().filter(holds).cloned().collect()
    });
    let held = held.collect();
    for key in keys {
        assert_eq!(ask(&mut client, format!("delete {key}\r\n")), b"DELETED\r\n");
    }
    held
}
