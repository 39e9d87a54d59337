//! A sample of requests for a pool whose answers nobody waits for.

use std::time::Duration;

use super::rig::Rig;
use super::routes::{items, named, route};
use crate::proxy::ClientId;
use crate::proxy::route::{Destination, RouteCounters, Shadow, Share};

/// A server, and a shadow with this share of its keys.
fn shadowed(share: f64) -> (Rig, ClientId) {
    let shadow = Some(Shadow { pool: 1, share: Share::of(share) });
    let to = Destination { shadow, ..Destination::of(0) };
    let mut rig = Rig::routed(vec![named("web", 1, true), named("shadow", 1, true)], route(to, vec![]));
    let client = rig.open();
    (rig, client)
}

fn counters(rig: &Rig) -> &RouteCounters {
    &rig.proxy.routes[0].counters
}

#[test]
fn a_shadow_gets_its_share_of_keys() {
    let (mut rig, client) = shadowed(0.25);
    for number in 0..2000 {
        assert_eq!(rig.ask(client, format!("set user:{number} 0 0 1\r\n1\r\n")), "STORED\r\n");
        assert_eq!(rig.ask(client, format!("get user:{number}\r\n")).len(), 25 + number.to_string().len());
    }
    let held = items(&rig);
    assert_eq!(held[0], 2000);
    assert!((450..550).contains(&held[1]), "{held:?}");
    assert_eq!(counters(&rig).shadowed, 2 * held[1] as u64, "each key with all of its requests");
}

#[test]
fn whatever_is_asked_reaches_the_shadow_and_its_answers_nobody() {
    let (mut rig, client) = shadowed(1.0);
    let shadow = rig.open_at(1);
    assert_eq!(rig.ask(shadow, "set a 9 0 5\r\nother\r\n"), "STORED\r\n");
    for (request, reply, held) in [
        ("get a b\r\n", "END\r\n", "VA 5\r\nother\r\n"),
        ("add a 0 0 1\r\n1\r\n", "STORED\r\n", "VA 5\r\nother\r\n"),
        ("set a 0 0 1 noreply\r\n1\r\nmn\r\n", "MN\r\n", "VA 1\r\n1\r\n"),
        ("incr a 4\r\n", "5\r\n", "VA 1\r\n5\r\n"),
        ("mg a v q\r\n", "VA 1\r\n5\r\n", "VA 1\r\n5\r\n"),
        ("ma b N0 q\r\nmn\r\n", "HD\r\nMN\r\n", "VA 1\r\n5\r\n"),
        ("delete a\r\n", "DELETED\r\n", "EN\r\n"),
    ] {
        assert_eq!(rig.ask(client, request), reply, "{request}");
        assert_eq!(rig.ask(shadow, "mg a v\r\n"), held, "{request}");
    }
    assert_eq!(counters(&rig).shadowed, 8);
    assert_eq!(rig.ask(client, "flush_all\r\n"), "OK\r\n");
    assert_eq!(rig.ask(shadow, "mg b v\r\n"), "VA 1\r\n0\r\n", "that is not of one key");
}

#[test]
fn a_shadow_that_does_not_answer_slows_nobody() {
    let (mut rig, client) = shadowed(1.0);
    rig.silent = vec![1];
    let value = "v".repeat(10_000);
    for number in 0..200 {
        let set = format!("set {number} 0 0 {}\r\n{value}\r\n", value.len());
        assert_eq!(rig.ask(client, set), "STORED\r\n");
    }
    let &RouteCounters { shadowed, shadow_dropped, .. } = counters(&rig);
    assert!(shadowed < 30 && shadow_dropped > 170, "{shadowed} of 10 kB each and {shadow_dropped} not");
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.ask(client, "get 1\r\n").len(), 10_000 + 24);
    rig.refusing = vec![1];
    rig.reset(1);
    assert_eq!(rig.ask(client, "get 1\r\n").len(), 10_000 + 24);
    let large = "v".repeat(100_000);
    let before = counters(&rig).shadow_dropped;
    assert_eq!(rig.ask(client, format!("set a 0 0 100000\r\n{large}\r\n")), "STORED\r\n");
    assert_eq!(counters(&rig).shadow_dropped, before + 1);
}
