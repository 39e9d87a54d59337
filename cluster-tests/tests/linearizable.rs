//! Many clients, few keys, all of them hot, servers that pause: every outcome must be explained by one register per
//! key. `SEEDS=100` runs more seeds than the few of every day, `SEEDS=7..8` one of them again.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod support;

use cluster_tests::linearizability::{Route, Workload, check};
use cluster_tests::memcached::Encoding;
use cluster_tests::rack::{Driver, MEMCACHED_PORT, NODE_ADDRESS, Rack};
use cluster_tests::random::Random;
use std::net::SocketAddrV4;
use std::ops::Range;
use std::thread;
use std::time::Duration;
use support::{pause_for, seeds, smart};

/// Shorter than a paused server's pause, so that leases end while it is away.
const LEASE_MS: u64 = 100;

fn hot_rack(driver: Driver, server_threads: u16) -> Rack {
    smart(driver, 2)
        .server_threads(server_threads)
        .configure(|config| {
            config.pool[0].lease_ms = LEASE_MS;
            config.pool[0].hot_threshold = 2;
            config.pool[0].auto_eject = false;
        })
        .build()
        .unwrap()
}

fn workload(rack: &Rack, seed: u64) -> Workload {
    Workload {
        seed,
        clients: 8,
        commands: 250,
        keys: 4,
        write_one_in: 5,
        patience: Duration::from_millis(150),
        rest: Duration::ZERO,
        expiring_one_in: 0,
        flush_one_in: 0,
        encodings: vec![Encoding::Text, Encoding::Text, Encoding::Meta, Encoding::Binary],
        routes: vec![Route::Udp(rack.vip())],
    }
}

/// Runs `seed` with `meanwhile` beside it; returns how many requests the node answered itself.
fn run(rack: &Rack, workload: &Workload, meanwhile: impl FnOnce()) -> f64 {
    let hits = || rack.admin().metrics().unwrap().sum("hits");
    let before = hits();
    let report = workload.run(rack.clients(), |_| meanwhile()).unwrap();
    let (seed, pending) = (workload.seed, report.history.pending());
    assert!(report.errors.is_empty(), "seed {seed}: {:?}", report.errors);
    assert!(
        pending * 10 < report.history.len(),
        "seed {seed}: {pending} of {} pending",
        report.history.len()
    );
    if let Err(violation) = check(&report.history) {
        panic!("seed {seed}: {violation}");
    }
    hits() - before
}

/// Pauses one server after another, at times drawn from the seed: how long is what is tested.
fn pauses(rack: &Rack, seed: u64) {
    let mut random = Random::new(seed);
    for _ in 0..3 {
        thread::sleep(Duration::from_millis(random.below(100) as u64));
        let server = rack.server(random.below(2));
        pause_for(server, Duration::from_millis(20 + random.below(250) as u64));
    }
}

/// Seeds beyond those asked for, at most, until the cache was really tested.
const MORE_SEEDS: usize = 10;

fn linearizable(driver: Driver, seeds: Range<u64>) {
    let rack = hot_rack(driver, 2);
    let mut hits: f64 =
        seeds.clone().map(|seed| run(&rack, &workload(&rack, seed), || pauses(&rack, seed))).sum();
    // On a busy machine paused servers and slow clients leave little time for hits: more seeds make up for it.
    for seed in (seeds.end..).take(MORE_SEEDS) {
        if hits > 100.0 {
            return;
        }
        hits += run(&rack, &workload(&rack, seed), || pauses(&rack, seed));
    }
    assert!(hits > 100.0, "only {hits} hits: the cache was not tested");
}

#[test]
fn over_af_xdp() {
    linearizable(Driver::AfXdp, seeds(4));
}

#[test]
fn over_af_packet() {
    linearizable(Driver::AfPacket, seeds(2));
}

/// Writes that reach a server past the virtual address, over TCP, are seen too.
#[test]
fn with_tcp_to_the_servers_own_address() {
    let rack = Rack::builder("one server").clients(2).servers(1).configure(|config| {
        config.pool[0].lease_ms = LEASE_MS;
        config.pool[0].hot_threshold = 2;
    });
    let rack = rack.build().unwrap();
    for seed in seeds(2) {
        let (udp, to_server) = (
            Route::Udp(rack.vip()),
            Route::Tcp(SocketAddrV4::new(rack.server(0).host.address, MEMCACHED_PORT)),
        );
        let routes = vec![udp, udp, udp, to_server];
        let workload = Workload { routes, ..workload(&rack, seed) };
        run(&rack, &workload, || ());
    }
}

/// A switch that dies takes its knowledge of leases and writes with it.
#[test]
fn with_a_switch_that_is_killed_and_comes_back() {
    let rack = hot_rack(Driver::AfXdp, 1);
    for seed in seeds(1) {
        let workload = Workload { patience: Duration::from_millis(300), ..workload(&rack, seed) };
        let report = workload.run(rack.clients(), |_| {
            thread::sleep(Duration::from_millis(100));
            rack.kill_switch();
            rack.start_switch().unwrap();
        });
        if let Err(violation) = check(&report.unwrap().history) {
            panic!("seed {seed}: {violation}");
        }
    }
}

/// Half of the clients speak TCP to the node itself, which serves the same pool there.
#[test]
fn with_clients_of_the_node_over_tcp() {
    let listen = SocketAddrV4::new(NODE_ADDRESS, MEMCACHED_PORT);
    let rack = smart(Driver::AfXdp, 2).configure(move |config| {
        config.dataplane.host_interface = Some("ss0".to_owned());
        let pool = &mut config.pool[0];
        pool.listen = Some(listen.to_string());
        (pool.lease_ms, pool.hot_threshold, pool.auto_eject) = (LEASE_MS, 2, false);
    });
    let rack = rack.build().unwrap();
    for seed in seeds(2) {
        let routes = vec![Route::Udp(rack.vip()), Route::Tcp(listen)];
        run(&rack, &Workload { routes, ..workload(&rack, seed) }, || pauses(&rack, seed));
    }
}
