//! Clients over TCP while servers of their pool, or the node, die and come back.
#![allow(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use cluster_tests::loopback::Service;
use cluster_tests::memcached::{Command, Encoding, Item, Outcome, TcpClient};
use cluster_tests::proxied::Proxied;
use cluster_tests::wait;

const KEYS: usize = 60;
const CLIENTS: usize = 8;
const REPLY_TIMEOUT_MS: u64 = 200;
/// Three requests without a reply, or a probe, or all keys of a server without a reply one after the other; many times over.
const IN_TIME: Duration = Duration::from_secs(40);
/// How often something that is to be quick may take too long, as others may have the processor.
const TRIES: usize = 5;

fn pool(name: &str, auto_eject: bool) -> Proxied {
    let pool = Proxied::start(name, 3, |pool| {
        // All requests go to the servers.
        pool.cache = Some("0");
        pool.auto_eject = Some(auto_eject);
        pool.reply_timeout_ms = Some(REPLY_TIMEOUT_MS);
        pool.probe_interval_ms = Some(50);
    });
    pool.unwrap()
}

#[test]
fn a_killed_server_is_ejected_and_returns() {
    survives("killed", true, Service::kill, |server| server.restart().unwrap());
}

#[test]
fn a_paused_server_is_ejected_and_returns() {
    survives("paused", true, |server| server.pause().unwrap(), Service::resume);
}

#[test]
fn a_killed_server_that_is_not_ejected_keeps_its_keys() {
    survives("killed-kept", false, Service::kill, |server| server.restart().unwrap());
}

#[test]
fn a_paused_server_that_is_not_ejected_keeps_its_keys() {
    survives("paused-kept", false, |server| server.pause().unwrap(), Service::resume);
}

/// Breaks the first of three servers under load and mends it: requests fail for its keys alone, and as long as it is
/// broken and in the ring.
fn survives(
    name: &str,
    auto_eject: bool,
    break_it: impl FnOnce(&mut Service),
    mend_it: impl FnOnce(&mut Service),
) {
    let mut pool = pool(&format!("survives-{name}"), auto_eject);
    let address = pool.address();
    fill(&pool);
    let lost = held(&pool.servers[0]);
    let others: Vec<Vec<usize>> = pool.servers[1..].iter().map(held).collect();
    assert!(!lost.is_empty() && others.iter().all(|keys| !keys.is_empty()));

    let load = Load::default();
    let (broken, whole, back) = thread::scope(|scope| {
        let _stop = Stop(&load);
        for client in 0..CLIENTS {
            let load = &load;
            scope.spawn(move || load.run(client, address));
        }
        load.wait_clean("the load to begin");
        let broken = Instant::now();
        break_it(&mut pool.servers[0]);
        let whole = if auto_eject {
            load.wait_clean("the keys of the broken server to go to others")
        } else {
            load.wait_failure_of_each(&lost);
            Instant::now()
        };
        mend_it(&mut pool.servers[0]);
        // What it has from before says nothing.
        clear(&pool.servers[0]);
        wait::until_true("the server to get its keys back", IN_TIME, || held(&pool.servers[0]) == lost)
            .unwrap();
        let back = load.wait_clean("requests not to fail any more");
        load.wait_clean("the load to go on");
        (broken, whole, back)
    });
    let until = if auto_eject { whole } else { back };
    let failures = load.failures();
    let expected = |failure: &&Failure| {
        lost.contains(&failure.key) && failure.returned >= broken && failure.called <= until
    };
    let wrong: Vec<_> = failures.iter().filter(|failure| !expected(failure)).collect();
    assert!(wrong.is_empty(), "broken at {broken:?}, whole at {until:?}, lost keys {lost:?}: {wrong:#?}");
    assert!(!failures.is_empty(), "nobody noticed");
    let elsewhere: Vec<Vec<usize>> = pool.servers[1..].iter().map(held).collect();
    assert_eq!(elsewhere == others, !auto_eject, "{lost:?} went to {elsewhere:?} beside {others:?}");
}

#[test]
fn a_node_that_is_killed_and_started_again_serves_within_a_second() {
    let mut pool = pool("restarted", true);
    fill(&pool);
    let mut took = Vec::new();
    while took.len() < TRIES && took.last().is_none_or(|last| *last >= Duration::from_secs(1)) {
        let mut before = TcpClient::connect(pool.address()).unwrap();
        assert_eq!(before.execute(Encoding::Text, b"0-key", &Command::Get).unwrap(), value());
        pool.node.kill();
        assert!(before.execute(Encoding::Text, b"0-key", &Command::Get).is_err());
        let killed = Instant::now();
        pool.node.restart().unwrap();
        let mut client = TcpClient::connect(pool.address()).unwrap();
        for key in 0..KEYS {
            let outcome = client.execute(Encoding::Text, name(key).as_bytes(), &Command::Get).unwrap();
            assert_eq!(outcome, value(), "{}", name(key));
        }
        took.push(killed.elapsed());
    }
    assert!(took.iter().any(|took| *took < Duration::from_secs(1)), "{took:?}");
}

/// What tells them apart comes first: FNV-1a hardly mixes the last bytes of a key.
fn name(key: usize) -> String {
    format!("{key}-key")
}

fn value() -> Outcome {
    Outcome::Value { item: Item::new(0, "first"), cas: None }
}

/// Stores all keys.
fn fill(pool: &Proxied) {
    let mut client = TcpClient::connect(pool.address()).unwrap();
    for key in 0..KEYS {
        let set = Command::Set(Item::new(0, "first"));
        let outcome = client.execute(Encoding::Text, name(key).as_bytes(), &set).unwrap();
        assert_eq!(outcome, Outcome::Done, "{}", name(key));
    }
}

/// Empties a server, behind the back of the node.
fn clear(server: &Service) {
    let mut client = TcpClient::connect(server.address()).unwrap();
    assert_eq!(client.ask(b"flush_all\r\n", |reply| reply.ends_with(b"\r\n")).unwrap(), b"OK\r\n");
}

/// The keys that a server has.
fn held(server: &Service) -> Vec<usize> {
    let mut client = TcpClient::connect(server.address()).unwrap();
    let mut holds = |key: &usize| {
        let outcome = client.execute(Encoding::Text, name(*key).as_bytes(), &Command::Get).unwrap();
        outcome != Outcome::Absent
    };
    (0..KEYS).filter(|key| holds(key)).collect()
}

/// A request that failed.
#[derive(Clone, Debug)]
struct Failure {
    key: usize,
    called: Instant,
    returned: Instant,
    #[expect(dead_code, reason = "shown if the test fails")]
    why: String,
}

/// Clients that store and read all keys, round after round.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    failures: Mutex<Vec<Failure>>,
    /// When the last round without a failure began, by client.
    clean: Mutex<[Option<Instant>; CLIENTS]>,
}

/// Stops the load when dropped, so also when something fails beside it.
struct Stop<'a>(&'a Load);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

impl Load {
    /// One client, until it is stopped.
    fn run(&self, client: usize, address: SocketAddrV4) {
        let mut stream = TcpClient::connect(address).unwrap();
        while !self.stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            let mut clean = true;
            for key in 0..KEYS {
                if self.stop.load(Ordering::Relaxed) {
                    return;
                }
                let set = Command::Set(Item::new(0, "first"));
                for command in [&set, &Command::Get] {
                    clean &= self.ask(&mut stream, key, command);
                }
            }
            if clean {
                lock(&self.clean)[client] = Some(began);
            }
        }
    }

    /// Whether a request did not fail. That an item is absent is no failure: the server may be a new one.
    fn ask(&self, stream: &mut TcpClient, key: usize, command: &Command) -> bool {
        let called = Instant::now();
        let why = match stream.execute(Encoding::Text, name(key).as_bytes(), command) {
            Ok(Outcome::Done | Outcome::Value { .. } | Outcome::Absent) => return true,
            Ok(other) => format!("{other:?}"),
            Err(error) => error.to_string(),
        };
        lock(&self.failures).push(Failure { key, called, returned: Instant::now(), why });
        false
    }

    /// Waits until each client has done a round without a failure that began after now. Gives the time when the last
    /// of these rounds began.
    fn wait_clean(&self, what: &str) -> Instant {
        let now = Instant::now();
        let rounds = wait::until(what, IN_TIME, || {
            let begun: Option<Vec<Instant>> = lock(&self.clean).iter().copied().collect();
            begun.filter(|begun| begun.iter().all(|begun| *begun > now))
        });
        match rounds {
            Ok(begun) => begun.into_iter().max().unwrap(),
            Err(error) => panic!(
                "{error}; failures end: {:#?}",
                self.failures().iter().rev().take(10).collect::<Vec<_>>()
            ),
        }
    }

    fn wait_failure_of_each(&self, keys: &[usize]) {
        let failed = || keys.iter().all(|key| lock(&self.failures).iter().any(|failure| failure.key == *key));
        wait::until_true("each key of the broken server to fail", IN_TIME, failed).unwrap();
    }

    fn failures(&self) -> Vec<Failure> {
        lock(&self.failures).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
