//! A pool that is filled from an older one.

use std::time::Duration;

use super::rig::Rig;
use super::routes::{named, route};
use crate::proxy::ClientId;
use crate::proxy::route::{Destination, RouteCounters};

/// A cold pool and a warm one, a client of the route, and one of the warm pool's own.
fn warming() -> (Rig, ClientId, ClientId) {
    let to = Destination { warm_from: Some(1), ..Destination::of(0) };
    let mut rig = Rig::routed(vec![named("cold", 2, true), named("warm", 1, true)], route(to, vec![]));
    let (client, warm) = (rig.open(), rig.open_at(1));
    (rig, client, warm)
}

fn counters(rig: &Rig) -> &RouteCounters {
    &rig.proxy.routes[0].counters
}

#[test]
fn what_is_missing_comes_from_the_warm_pool_with_its_life() {
    let (mut rig, client, warm) = warming();
    let cold = rig.open_at(0);
    assert_eq!(rig.ask(warm, "set a 5 100 1\r\n1\r\nset b 6 0 1\r\n2\r\n"), "STORED\r\nSTORED\r\n");
    rig.pass(Duration::from_secs(10));
    assert_eq!(rig.ask(cold, "get a b\r\n"), "END\r\n");
    assert_eq!(rig.ask(client, "get a\r\n"), "VALUE a 5 1\r\n1\r\nEND\r\n");
    assert_eq!(rig.ask(cold, "mg a v f t\r\n"), "VA 1 f5 t90\r\n1\r\n");
    let both = rig.ask(client, "get b none a\r\n");
    assert!(both.contains("VALUE a 5 1\r\n1\r\n") && both.contains("VALUE b 6 1\r\n2\r\n"), "{both}");
    assert!(both.ends_with("END\r\n") && both.matches("VALUE").count() == 2, "{both}");
    assert_eq!(rig.ask(cold, "mg b v f t\r\n"), "VA 1 f6 t-1\r\n2\r\n");
    assert_eq!((counters(&rig).warm_hits, counters(&rig).warm_misses), (2, 1));
    assert_eq!(rig.ask(client, "get a\r\n"), "VALUE a 5 1\r\n1\r\nEND\r\n");
    assert_eq!(counters(&rig).warm_hits, 2, "it is there now");
}

#[test]
fn every_request_that_needs_its_key_finds_it() {
    for (request, reply, held) in [
        ("incr a 5\r\n", "12\r\n", "12"),
        ("decr a 5 noreply\r\nmn\r\n", "MN\r\n", "2"),
        ("append a 0 0 1\r\nx\r\n", "STORED\r\n", "7x"),
        ("prepend a 0 0 1\r\nx\r\n", "STORED\r\n", "x7"),
        ("replace a 0 0 1\r\nx\r\n", "STORED\r\n", "x"),
        ("touch a 0\r\n", "TOUCHED\r\n", "7"),
        ("gat 0 a\r\n", "VALUE a 3 1\r\n7\r\nEND\r\n", "7"),
        ("gets a\r\n", "VALUE a 3 1 1\r\n7\r\nEND\r\n", "7"),
        ("mg a v q\r\nmn\r\n", "VA 1\r\n7\r\nMN\r\n", "7"),
        ("mg YQ== b k v\r\n", "VA 1 ka\r\n7\r\n", "7"),
        ("ma a v\r\n", "VA 1\r\n8\r\n", "8"),
        ("ms a 1 MR q\r\nx\r\nmn\r\n", "MN\r\n", "x"),
        ("ms a 1 MA\r\nx\r\n", "HD\r\n", "7x"),
        ("set a 0 0 1\r\nx\r\n", "STORED\r\n", "x"),
    ] {
        let (mut rig, client, warm) = warming();
        assert_eq!(rig.ask(warm, "set a 3 0 1\r\n7\r\n"), "STORED\r\n");
        assert_eq!(rig.ask(client, request), reply, "{request}");
        let expected = rig.ask(client, "get a\r\n");
        assert!(expected.contains(&format!("\r\n{held}\r\n")), "{request}: {expected}");
        assert!(rig.proxy.attempts.is_empty() && rig.proxy.warming == 0);
    }
}

#[test]
fn nothing_comes_back_that_was_written() {
    for write in ["delete a\r\n", "set a 0 1 1\r\n2\r\n", "incr a 1\r\n", "md a q\r\nmn\r\n"] {
        let (mut rig, client, warm) = warming();
        assert_eq!(rig.ask(warm, "set a 0 0 1\r\n1\r\n"), "STORED\r\n");
        rig.ask(client, write);
        assert_eq!(rig.ask(warm, "get a\r\n"), "END\r\n", "{write}");
        let cold = rig.open_at(0);
        rig.ask(cold, "delete a\r\n");
        assert_eq!(rig.ask(client, "get a\r\n"), "END\r\n", "{write}");
    }
    let (mut rig, client, warm) = warming();
    assert_eq!(rig.ask(warm, "set a 0 0 1\r\n1\r\n"), "STORED\r\n");
    let value = "v".repeat(100_000);
    assert_eq!(rig.ask(client, format!("set a 0 0 {}\r\n{value}\r\n", value.len())), "STORED\r\n");
    assert_eq!(rig.ask(warm, "get a\r\n"), "END\r\n");
    assert_eq!(rig.ask(client, "flush_all\r\n"), "OK\r\n");
    assert_eq!(rig.ask(client, "get a\r\n"), "END\r\n");
}

#[test]
fn a_key_that_is_deleted_while_it_is_fetched_stays_deleted() {
    let (mut rig, client, warm) = warming();
    let other = rig.open();
    assert_eq!(rig.ask(warm, "set a 0 0 1\r\n1\r\n"), "STORED\r\n");
    // The warm pool has answered, and its answer is on its way.
    rig.send(client, b"get a\r\n");
    for _ in 0..100 {
        if rig.proxy.warming == 1 {
            rig.send(other, b"delete a\r\n");
            while rig.act() {}
        }
        rig.act();
        rig.serve_once();
    }
    rig.run();
    rig.take(other);
    rig.take(client);
    assert_eq!(rig.ask(client, "get a\r\n"), "END\r\n");
    assert!(counters(&rig).warm_overtaken > 0);
}

#[test]
fn without_the_warm_pool_a_miss_is_a_miss() {
    let (mut rig, client, warm) = warming();
    assert_eq!(rig.ask(warm, "set a 0 0 1\r\n1\r\n"), "STORED\r\n");
    rig.refusing = vec![2];
    rig.reset(2);
    assert_eq!(rig.ask(client, "get a\r\n"), "END\r\n");
    assert_eq!(rig.ask(client, "get a b\r\n"), "END\r\n");
    assert_eq!(rig.ask(client, "set b 0 0 1\r\n1\r\n"), "STORED\r\n");
    assert!(counters(&rig).warm_lost + counters(&rig).warm_skipped >= 2);
    rig.refusing.clear();
    rig.pass(Duration::from_secs(1));
    rig.silent = vec![2];
    assert_eq!(rig.ask(client, "get a\r\n"), "");
    rig.pass(Duration::from_millis(1100));
    assert_eq!(rig.take(client), "END\r\n");
    assert_eq!(rig.proxy.warming, 0);
}

#[test]
fn a_value_that_is_too_large_to_be_held_is_not_warmed() {
    let (mut rig, client, warm) = warming();
    let value = "v".repeat(2 << 20);
    assert_eq!(rig.ask(warm, format!("set a 0 0 {}\r\n{value}\r\n", value.len())), "STORED\r\n");
    assert_eq!(rig.ask(client, "get a\r\n"), "END\r\n");
    assert_eq!(rig.ask(warm, "mg a s\r\n"), "HD s2097152\r\n");
}
