//! A route over pools of real servers: by prefix, with copies, with a pool to fail over to, with a cold pool and a shadow.
#![allow(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use cluster_tests::loopback::Service;
use cluster_tests::memcached::{Command, Encoding, Item, Outcome, TcpClient};
use cluster_tests::routed::{Routed, RoutedPool};
use cluster_tests::wait;

const CLIENTS: usize = 6;
const KEYS: usize = 40;
const IN_TIME: Duration = Duration::from_secs(20);
/// Rounds of each client between two events.
const ROUNDS: u64 = 5;
/// Nothing of a pool is answered from a cache, and no key moves within it.
const BARE: &str = "cache = 0\nauto_eject = false\nprobe_interval_ms = 50\nreply_timeout_ms = 300\n";

fn pool(name: &'static str, servers: usize, keys: &'static str) -> RoutedPool {
    RoutedPool { name, servers, keys }
}

fn client(address: SocketAddrV4) -> TcpClient {
    TcpClient::connect(address).unwrap()
}

fn ask(client: &mut TcpClient, request: &str, end: &str) -> String {
    let reply = client.ask(request.as_bytes(), |reply| reply.ends_with(end.as_bytes())).unwrap();
    String::from_utf8(reply).unwrap()
}

fn items(server: &Service) -> u64 {
    server.stat("curr_items").unwrap().unwrap()
}

fn counter(routed: &Routed, name: &str) -> f64 {
    routed.admin().metrics().unwrap().sum(&format!("smartswitch_route_{name}"))
}

#[test]
fn a_get_of_keys_of_three_pools_finds_all_of_them() {
    let route = "pool = \"web\"\n[[route.prefix]]\nprefix = \"user:\"\npool = \"users\"\n\
                 [[route.prefix]]\nprefix = \"user:vip:\"\npool = \"vips\"";
    let pools = [pool("web", 2, ""), pool("users", 2, ""), pool("vips", 1, "")];
    let routed = Routed::start("split", &pools, route).unwrap();
    let mut client = client(routed.address());
    let names: Vec<String> =
        (0..300).map(|number| format!("{}{number}-key", ["", "user:", "user:vip:"][number % 3])).collect();
    for name in &names {
        assert_eq!(ask(&mut client, &format!("set {name} 0 0 2\r\nok\r\n"), "\r\n"), "STORED\r\n");
    }
    let reply = ask(&mut client, &format!("get {} none user:none\r\n", names.join(" ")), "END\r\n");
    let mut found: Vec<&str> =
        reply.lines().filter_map(|line| line.strip_prefix("VALUE ")?.split(' ').next()).collect();
    let mut expected: Vec<&str> = names.iter().map(String::as_str).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    let held: Vec<u64> = routed.servers.iter().map(items).collect();
    assert_eq!((held[0] + held[1], held[2] + held[3], held[4]), (100, 100, 100), "{held:?}");
    assert!(held.iter().all(|items| *items > 10), "{held:?}");
}

#[test]
fn no_request_fails_while_copies_die_one_after_another() {
    let route = "pool = \"a\"\nreplicas = [\"b\", \"c\"]\nacks = \"majority\"";
    let pools = [pool("a", 1, BARE), pool("b", 1, BARE), pool("c", 1, BARE)];
    let mut routed = Routed::start("copies", &pools, route).unwrap();
    under_load(routed.address(), |load| {
        for dead in 0..3 {
            routed.servers[dead].kill();
            load.go_on();
            routed.servers[dead].restart().unwrap();
            wait::until_true("the copy to be written again", IN_TIME, || {
                items(&routed.servers[dead]) == (CLIENTS * KEYS) as u64
            })
            .unwrap();
            load.go_on();
        }
    });
    let held: Vec<u64> = routed.servers.iter().map(items).collect();
    assert_eq!(held, [(CLIENTS * KEYS) as u64; 3], "all copies have all keys");
    assert!(counter(&routed, "copies_missing") > 0.0 && counter(&routed, "failed_over") > 0.0);
}

#[test]
fn no_request_fails_while_another_pool_stands_in() {
    let route = "pool = \"home\"\nfailover = [\"spare\"]";
    let pools = [pool("home", 2, BARE), pool("spare", 1, BARE)];
    let mut routed = Routed::start("failover", &pools, route).unwrap();
    under_load(routed.address(), |load| {
        assert_eq!(items(&routed.servers[2]), 0);
        routed.servers[0].kill();
        load.go_on();
        routed.servers[0].restart().unwrap();
        wait::until_true("the first pool to have its keys again", IN_TIME, || items(&routed.servers[0]) > 20)
            .unwrap();
        load.go_on();
        // Not one that is refused, but one that does not answer.
        routed.servers[1].pause().unwrap();
        load.go_on();
        routed.servers[1].resume();
        load.go_on();
    });
    assert!(items(&routed.servers[2]) > 20 && counter(&routed, "out_of_pools") == 0.0);
}

#[test]
fn a_cold_pool_fills_from_the_warm_one() {
    let route = "pool = \"cold\"\nwarm_from = \"warm\"";
    let routed = Routed::start("warming", &[pool("cold", 2, ""), pool("warm", 1, "")], route).unwrap();
    let mut warm = client(routed.servers[2].address());
    for number in 0..500 {
        let life = if number % 2 == 0 { 0 } else { 1000 };
        let set = format!("set {number}-key {number} {life} 4\r\n{number:04}\r\n");
        assert_eq!(ask(&mut warm, &set, "\r\n"), "STORED\r\n");
    }
    let mut client = client(routed.address());
    for chunk in (0..500).collect::<Vec<_>>().chunks(50) {
        let names: Vec<String> = chunk.iter().map(|number| format!("{number}-key")).collect();
        let reply = ask(&mut client, &format!("get {}\r\n", names.join(" ")), "END\r\n");
        for number in chunk {
            let item = format!("VALUE {number}-key {number} 4\r\n{number:04}\r\n");
            assert!(reply.contains(&item), "{number}: {reply}");
        }
    }
    assert_eq!(items(&routed.servers[0]) + items(&routed.servers[1]), 500);
    assert_eq!(ask(&mut client, "mg 0-key t\r\n", "\r\n"), "HD t-1\r\n");
    let left = ask(&mut client, "mg 1-key t\r\n", "\r\n");
    let left: u32 = left.trim().strip_prefix("HD t").unwrap().parse().unwrap();
    assert!((900..=1000).contains(&left), "{left}");
    wait::until_true("the counters", IN_TIME, || counter(&routed, "warm_hits") == 500.0).unwrap();
    assert_eq!(ask(&mut client, "delete 2-key\r\n", "\r\n"), "DELETED\r\n");
    assert_eq!(ask(&mut client, "get 2-key\r\n", "END\r\n"), "END\r\n");
    assert_eq!(ask(&mut warm, "get 2-key\r\n", "END\r\n"), "END\r\n");
}

#[test]
fn a_shadow_gets_its_share_and_slows_nobody() {
    let route = "pool = \"web\"\nshadow = \"shadow\"\nshadow_share = 0.2";
    let mut routed = Routed::start("shadow", &[pool("web", 1, ""), pool("shadow", 1, "")], route).unwrap();
    let mut client = client(routed.address());
    let mut set = |number: usize| {
        assert_eq!(ask(&mut client, &format!("set {number}-key 0 0 2\r\nok\r\n"), "\r\n"), "STORED\r\n");
    };
    (0..2000).for_each(&mut set);
    assert_eq!(items(&routed.servers[0]), 2000);
    wait::until_true("the shadow's share", IN_TIME, || (300..500).contains(&items(&routed.servers[1])))
        .unwrap();
    routed.servers[1].pause().unwrap();
    (2000..4000).for_each(&mut set);
    routed.servers[1].resume();
    assert_eq!(items(&routed.servers[0]), 4000);
}

/// Clients that store and read keys of their own, round after round.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    rounds: [AtomicU64; CLIENTS],
    failures: std::sync::Mutex<Vec<String>>,
}

/// Stops the load when dropped, so also when something fails beside it.
struct Stop<'a>(&'a Load);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

/// Does something while clients ask, round after round; no request may fail.
fn under_load(address: SocketAddrV4, act: impl FnOnce(&Load)) {
    let load = Load::default();
    thread::scope(|scope| {
        let _stop = Stop(&load);
        for index in 0..CLIENTS {
            let load = &load;
            scope.spawn(move || load.run(index, address));
        }
        load.go_on();
        act(&load);
    });
    load.check();
}

impl Load {
    /// One client, until it is stopped.
    fn run(&self, index: usize, address: SocketAddrV4) {
        let mut stream = client(address);
        while !self.stop.load(Ordering::Relaxed) {
            for key in 0..KEYS {
                let name = format!("{key}-key-{index}");
                let set = Command::Set(Item::new(0, "value"));
                for command in [&set, &Command::Get] {
                    // That an item is absent is no failure: the server may be a new one.
                    match stream.execute(Encoding::Text, name.as_bytes(), command) {
                        Ok(Outcome::Done | Outcome::Value { .. } | Outcome::Absent) => {}
                        other => self.failures.lock().unwrap().push(format!("{name} {command:?}: {other:?}")),
                    }
                }
            }
            let names: Vec<String> = (0..KEYS).map(|key| format!("{key}-key-{index}")).collect();
            let get = format!("get {}\r\n", names.join(" "));
            let end = |reply: &[u8]| {
                reply.ends_with(b"END\r\n") || reply.windows(12).any(|word| word == b"SERVER_ERROR")
            };
            match stream.ask(get.as_bytes(), end) {
                Ok(reply) if reply.ends_with(b"END\r\n") => {}
                other => self.failures.lock().unwrap().push(format!("{other:?}")),
            }
            self.rounds[index].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until each client has done some more rounds.
    fn go_on(&self) {
        let aims: Vec<u64> =
            self.rounds.iter().map(|rounds| rounds.load(Ordering::Relaxed) + ROUNDS).collect();
        let there =
            || self.rounds.iter().zip(&aims).all(|(rounds, aim)| rounds.load(Ordering::Relaxed) >= *aim);
        wait::until_true("the load to go on", IN_TIME, there).unwrap();
    }

    /// That no request failed.
    fn check(&self) {
        let failures = self.failures.lock().unwrap();
        assert!(
            failures.is_empty(),
            "{} requests failed, the first: {:#?}",
            failures.len(),
            &failures[..failures.len().min(5)]
        );
    }
}
