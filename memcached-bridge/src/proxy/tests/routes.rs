//! Clients of a route.

use super::rig::{Rig, pool};
use crate::proxy::limits::{ClientLimits, Rate};
use crate::proxy::pool::Pool;
use crate::proxy::route::{Destination, Route};

pub(super) fn named(name: &str, servers: usize, cache: bool) -> Pool {
    Pool { name: name.to_owned(), ..pool(servers, cache) }
}

pub(super) fn route(default: Destination, prefixes: Vec<(&str, Destination)>) -> Route {
    Route {
        name: "front".to_owned(),
        default,
        prefixes: prefixes.into_iter().map(|(prefix, to)| (prefix.as_bytes().to_vec(), to)).collect(),
        limits: ClientLimits::default(),
        credentials: None,
    }
}

/// Servers 0 and 1 are of the first pool, 2 of that of `user:`, 3 of that of `user:vip:`.
fn split(cache: bool) -> Rig {
    let prefixes = vec![("user:", Destination::of(1)), ("user:vip:", Destination::of(2))];
    let pools = vec![named("web", 2, cache), named("users", 1, cache), named("vips", 1, cache)];
    Rig::routed(pools, route(Destination::of(0), prefixes))
}

pub(super) fn items(rig: &Rig) -> Vec<usize> {
    rig.servers.iter().map(|server| server.store.usage().curr_items).collect()
}

#[test]
fn keys_go_where_their_longest_prefix_leads() {
    let mut rig = split(false);
    let client = rig.open();
    for key in ["user:1", "user:2", "user:vip:1", "other"] {
        assert_eq!(rig.ask(client, format!("set {key} 0 0 1\r\n1\r\n")), "STORED\r\n");
    }
    let held = items(&rig);
    assert_eq!((held[0] + held[1], held[2], held[3]), (1, 2, 1));
    assert_eq!(rig.ask(client, "get user:vip:1\r\n"), "VALUE user:vip:1 0 1\r\n1\r\nEND\r\n");
    assert_eq!(rig.ask(client, "delete user:1\r\n"), "DELETED\r\n");
    assert_eq!(items(&rig)[2], 1);
    let mut direct = rig.open_at(1);
    assert_eq!(rig.ask(direct, "get user:2\r\n"), "VALUE user:2 0 1\r\n1\r\nEND\r\n", "keys are not changed");
    direct = rig.open_at(2);
    assert_eq!(rig.ask(direct, "get user:2\r\n"), "END\r\n", "another pool's door leads there alone");
}

#[test]
fn a_get_of_keys_of_several_pools_is_gathered() {
    for step in [1, 7, usize::MAX] {
        let mut rig = split(false);
        rig.step = step;
        let client = rig.open();
        let keys: Vec<String> =
            (0..30).map(|number| format!("{}{number}", ["a", "user:", "user:vip:"][number % 3])).collect();
        for key in &keys {
            assert_eq!(rig.ask(client, format!("set {key} 0 0 2\r\nvv\r\n")), "STORED\r\n");
        }
        for verb in ["get", "gat 0"] {
            let reply = rig.ask(client, format!("{verb} {} none user:none\r\n", keys.join(" ")));
            let mut found: Vec<&str> =
                reply.lines().filter_map(|line| line.strip_prefix("VALUE ")?.split(' ').next()).collect();
            found.sort_unstable();
            let mut expected: Vec<&str> = keys.iter().map(String::as_str).collect();
            expected.sort_unstable();
            assert_eq!(found, expected, "{verb} in steps of {step}");
            assert!(reply.ends_with("vv\r\nEND\r\n"), "{reply}");
        }
    }
}

#[test]
fn a_flush_and_statistics_are_for_all_pools() {
    let mut rig = split(true);
    let client = rig.open();
    for key in ["user:1", "user:vip:1", "a", "b", "c"] {
        assert_eq!(rig.ask(client, format!("set {key} 0 0 1\r\n1\r\n")), "STORED\r\n");
    }
    let statistics = rig.ask(client, "stats\r\n");
    assert!(statistics.contains("STAT curr_items 5\r\n"), "{statistics}");
    assert_eq!(rig.ask(client, "flush_all\r\n"), "OK\r\n");
    assert_eq!(rig.ask(client, "get a b c user:1 user:vip:1\r\n"), "END\r\n");
    assert_eq!(rig.ask(client, "version\r\n"), "VERSION 1.6.18\r\n");
}

#[test]
fn a_pools_cache_is_one_for_its_door_and_for_routes() {
    let mut rig = split(true);
    let (routed, direct) = (rig.open(), rig.open_at(1));
    assert_eq!(rig.ask(routed, "set user:1 0 0 1\r\n1\r\n"), "STORED\r\n");
    let hits = |rig: &Rig| rig.proxy.pools[1].counters.hits;
    for _ in 0..10 {
        assert_eq!(rig.ask(routed, "get user:1\r\n"), "VALUE user:1 0 1\r\n1\r\nEND\r\n");
    }
    let before = hits(&rig);
    assert!(before > 0, "the key is hot");
    assert_eq!(rig.ask(direct, "get user:1\r\n"), "VALUE user:1 0 1\r\n1\r\nEND\r\n");
    assert_eq!(rig.ask(routed, "get user:1 a\r\n"), "VALUE user:1 0 1\r\n1\r\nEND\r\n");
    assert_eq!(hits(&rig), before + 2);
    assert_eq!(rig.ask(direct, "set user:1 0 0 1\r\n2\r\n"), "STORED\r\n");
    assert_eq!(rig.ask(routed, "get user:1\r\n"), "VALUE user:1 0 1\r\n2\r\nEND\r\n");
    assert_eq!(rig.ask(routed, "gat 0 user:1 a\r\n"), "VALUE user:1 0 1\r\n2\r\nEND\r\n");
    assert_eq!(hits(&rig), before + 2);
}

#[test]
fn a_large_value_goes_to_the_pool_of_its_key() {
    let mut rig = split(false);
    let client = rig.open();
    let value = "v".repeat(300_000);
    let set = format!("set user:1 0 0 {}\r\n{value}\r\n", value.len());
    assert_eq!(rig.ask(client, set), "STORED\r\n");
    assert_eq!(items(&rig)[2], 1);
    assert_eq!(rig.ask(client, "mg user:1 s\r\n"), "HD s300000\r\n");
}

#[test]
fn binary_clients_are_routed_by_key_as_well() {
    let mut rig = split(false);
    let client = rig.open();
    let mut set = vec![0x80, 0x01, 0, 6, 8, 0, 0, 0, 0, 0, 0, 15, 0, 0, 0, 7];
    set.extend([0; 16]);
    set.extend(b"user:1v");
    rig.ask(client, &set);
    assert_eq!(items(&rig)[2], 1);
}

#[test]
fn what_a_routes_clients_may_do_is_the_routes_to_say() {
    let mut narrow = route(Destination::of(0), vec![("user:", Destination::of(1))]);
    narrow.limits.rate = Some(Rate { per_second: 1, burst: 2 });
    narrow.limits.max_value = Some(10);
    let mut users = named("users", 1, false);
    users.limits.max_value = Some(1);
    let mut rig = Rig::routed(vec![named("web", 1, false), users], narrow);
    let client = rig.open();
    assert_eq!(rig.ask(client, "set user:1 0 0 2\r\nok\r\n"), "STORED\r\n");
    assert_eq!(
        rig.ask(client, "set user:1 0 0 11\r\n01234567890\r\n"),
        "SERVER_ERROR object too large for cache\r\n"
    );
    assert_eq!(rig.ask(client, "get a\r\n"), "END\r\n");
    assert_eq!(rig.ask(client, "get a\r\n"), "SERVER_ERROR the pool gets too many requests\r\n");
}
