//! What several test files need. Each of them uses its own part.
#![allow(dead_code)]

use cluster_tests::admin::Metrics;
use cluster_tests::linearizability::Recorder;
use cluster_tests::memcached::{Command, Encoding, Item, Outcome, UdpClient, decode};
use cluster_tests::rack::{Driver, Host, Rack, RackBuilder, Server};
use cluster_tests::wait;
use std::ops::Range;
use std::thread;
use std::time::Duration;

/// Long enough for anything that works.
pub(crate) const IN_TIME: Duration = Duration::from_secs(5);

/// The seeds that `SEEDS` asks for (`100` or `7..8`), the first `default` ones unless it does.
pub(crate) fn seeds(default: u64) -> Range<u64> {
    let Ok(asked) = std::env::var("SEEDS") else { return 1..default + 1 };
    match asked.split_once("..") {
        Some((from, to)) => from.parse().unwrap()..to.parse().unwrap(),
        None => 1..asked.parse::<u64>().unwrap() + 1,
    }
}

/// Pings `address` from `host`; panics if no answer comes.
pub(crate) fn ping(host: &Host, address: &str) {
    if let Err(error) = host.exec("ping", &["-c", "3", "-i", "0.02", "-W", "2", address]) {
        panic!("{}: {error}", host.name);
    }
}

/// Pauses `server` for that long: the length is what is tested, not a wait for something.
pub(crate) fn pause_for(server: &Server, length: Duration) {
    server.pause().unwrap();
    thread::sleep(length);
    server.resume();
}

/// Runs every command on `key` in an order in which each has an effect, and records it.
pub(crate) fn script(recorder: &Recorder, key: &str, mut execute: impl FnMut(&Command) -> Option<Outcome>) {
    let mut run = |command: Command| {
        let call = recorder.call(0, key, command.clone());
        let outcome = execute(&command);
        if let Some(outcome) = outcome.clone() {
            recorder.returned(call, outcome);
        }
        outcome
    };
    let item = |value: &str| Item::new(77, value);
    run(Command::Get);
    run(Command::Replace(item("no")));
    run(Command::Append(b"no".to_vec()));
    run(Command::Delete);
    run(Command::Touch);
    run(Command::Add(item("b")));
    run(Command::Add(item("no")));
    run(Command::Append(b"c".to_vec()));
    run(Command::Prepend(b"a".to_vec()));
    run(Command::Get);
    let Some(Outcome::Value { item: seen, cas: Some(unique) }) = run(Command::Gets) else {
        panic!("{key}: gets tells no CAS unique")
    };
    assert_eq!(seen, item("abc"));
    run(Command::Increment(1));
    run(Command::Cas(item("9"), unique));
    run(Command::Cas(item("no"), unique));
    run(Command::Get);
    run(Command::Increment(2));
    run(Command::Get);
    run(Command::Decrement(5));
    run(Command::Gat);
    run(Command::Touch);
    run(Command::Replace(item("z")));
    run(Command::Get);
    run(Command::Delete);
    run(Command::Get);
}

/// A rack of two clients and `servers` servers around SmartSwitch.
pub(crate) fn smart(driver: Driver, servers: usize) -> RackBuilder {
    Rack::builder("smart").clients(2).servers(servers).driver(driver)
}

/// A UDP client of the pool; to be called inside a host.
pub(crate) fn pool_client(rack: &Rack) -> UdpClient {
    UdpClient::connect(rack.vip()).unwrap()
}

/// The reply to one request in the text protocol, up to and with its last line.
///
/// # Panics
/// If none comes in time.
pub(crate) fn text(udp: &mut UdpClient, request: &str) -> String {
    let reply =
        udp.ask(request.as_bytes(), |reply| decode(Encoding::Text, &Command::Get, reply).is_some()).unwrap();
    String::from_utf8(reply.unwrap_or_else(|| panic!("no reply to {request:?}"))).unwrap()
}

/// Stores `value` under `key`; panics if it is not stored.
pub(crate) fn set(udp: &mut UdpClient, key: &str, value: &[u8]) {
    let stored = udp.execute(Encoding::Text, key.as_bytes(), &Command::Set(Item::new(0, value))).unwrap();
    assert_eq!(stored, Some(Outcome::Done), "set {key}");
}

/// The value of `key`, `None` if there is none; panics if there is no answer.
pub(crate) fn get(udp: &mut UdpClient, key: &str) -> Option<Vec<u8>> {
    match udp.execute(Encoding::Text, key.as_bytes(), &Command::Get).unwrap() {
        Some(Outcome::Value { item, .. }) => Some(item.value),
        Some(Outcome::Absent) => None,
        other => panic!("get {key}: {other:?}"),
    }
}

/// The index of the one server that holds `key`; panics if none or several do.
pub(crate) fn holder(rack: &Rack, key: &str) -> usize {
    let holders: Vec<usize> =
        (0..rack.servers().len()).filter(|at| rack.server(*at).holds(key).unwrap()).collect();
    assert_eq!(holders.len(), 1, "{key} is on {holders:?}");
    holders[0]
}

/// Asks for `key` until the node answers itself.
pub(crate) fn heat(rack: &Rack, udp: &mut UdpClient, key: &str) {
    let hits = |rack: &Rack| rack.admin().metrics().unwrap().sum("hits");
    let before = hits(rack);
    // A fill has 100 ms until it is tried again, which on a busy machine takes more than one try.
    wait::until_true(format!("{key} to be cached"), 4 * IN_TIME, || {
        (0..20).for_each(|_| drop(get(udp, key)));
        hits(rack) > before
    })
    .unwrap();
}

/// What the node counted as dropped, refused or lost, for messages.
pub(crate) fn losses(rack: &Rack) -> Vec<(String, f64)> {
    let counted = rack.admin().metrics().unwrap().grown_since(&Metrics::default());
    let is_loss =
        |name: &str| ["drop", "refused", "lost", "missed", "timeout"].iter().any(|word| name.contains(word));
    counted.into_iter().filter(|(name, _)| is_loss(name)).collect()
}
