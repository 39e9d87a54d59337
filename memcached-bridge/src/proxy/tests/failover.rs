//! Keys that several pools are asked for in turn.

use std::time::Duration;

use super::rig::{Rig, pool};
use super::routes::{items, named, route};
use crate::protocol::binary::Header;
use crate::proxy::ClientId;
use crate::proxy::limits::MaxTtl;
use crate::proxy::pool::Pool;
use crate::proxy::route::{Destination, RouteCounters};

const HOME: usize = 0;
const SPARE: usize = 1;

/// A server, and one to fail over to; neither is ejected.
fn spared(on_miss: bool) -> (Rig, ClientId) {
    let mut home = named("home", 1, true);
    home.probing.auto_eject = false;
    let to = Destination {
        failover: vec![1],
        failover_ttl: Some(MaxTtl { seconds: 60 }),
        failover_on_miss: on_miss,
        ..Destination::of(0)
    };
    let mut rig =
        Rig::routed(vec![home, Pool { name: "spare".to_owned(), ..pool(1, true) }], route(to, vec![]));
    let client = rig.open();
    (rig, client)
}

fn counters(rig: &Rig) -> &RouteCounters {
    &rig.proxy.routes[0].counters
}

#[test]
fn a_server_that_cannot_be_reached_is_stood_in_for() {
    let (mut rig, client) = spared(false);
    rig.refusing = vec![HOME];
    assert_eq!(rig.ask(client, "set a 0 0 1\r\n1\r\n"), "STORED\r\n");
    assert_eq!(rig.ask(client, "get a\r\n"), "VALUE a 0 1\r\n1\r\nEND\r\n");
    assert_eq!(rig.ask(client, "get a b a\r\n"), "VALUE a 0 1\r\n1\r\nVALUE a 0 1\r\n1\r\nEND\r\n");
    assert_eq!(rig.ask(client, "incr a 4\r\n"), "5\r\n");
    assert_eq!(rig.ask(client, "mg a v k\r\n"), "VA 1 ka\r\n5\r\n");
    assert_eq!((items(&rig)[HOME], items(&rig)[SPARE]), (0, 1));
    assert!(counters(&rig).failed_over > 3 && counters(&rig).out_of_pools == 0);
}

#[test]
fn a_server_that_does_not_answer_costs_its_deadline_until_it_is_known_to_be_down() {
    let (mut rig, client) = spared(false);
    assert_eq!(rig.ask(client, "set a 0 0 1\r\n1\r\n"), "STORED\r\n");
    rig.silent = vec![HOME];
    for _ in 0..3 {
        assert_eq!(rig.ask(client, "get b\r\nset c 0 0 1\r\n3\r\n"), "");
        rig.pass(Duration::from_millis(1100));
        assert_eq!(rig.take(client), "END\r\nSTORED\r\n");
    }
    assert_eq!(rig.ask(client, "get c\r\n"), "VALUE c 0 1\r\n3\r\nEND\r\n", "at once");
    rig.silent.clear();
    rig.pass(Duration::from_secs(2));
    assert_eq!(rig.ask(client, "get a\r\n"), "VALUE a 0 1\r\n1\r\nEND\r\n", "a probe found it back");
}

#[test]
fn keys_of_one_line_are_asked_for_one_by_one_when_it_fails() {
    for write in ["", "set z 0 0 1\r\n1\r\n"] {
        let (mut rig, client) = spared(false);
        let spare = rig.open_at(1);
        assert_eq!(rig.ask(spare, "set a 0 0 1\r\n1\r\nset c 0 0 1\r\n3\r\n"), "STORED\r\nSTORED\r\n");
        assert_eq!(rig.ask(client, "get a b c\r\n"), "END\r\n");
        let requests = rig.proxy.pools[HOME].view.status.server_requests().next().unwrap();
        assert_eq!(requests, 1, "one line");
        rig.silent = vec![HOME];
        assert_eq!(rig.ask(client, format!("get a b c\r\n{write}get b\r\nget c none\r\n")), "");
        rig.pass(Duration::from_millis(1100));
        let stored = if write.is_empty() { "" } else { "STORED\r\n" };
        let expected = format!(
            "VALUE a 0 1\r\n1\r\nVALUE c 0 1\r\n3\r\nEND\r\n{stored}END\r\nVALUE c 0 1\r\n3\r\nEND\r\n"
        );
        assert_eq!(rig.take(client), expected);
        rig.refusing = vec![HOME, SPARE];
        rig.reset(HOME);
        rig.reset(SPARE);
        let reply = rig.ask(client, "get a b c\r\nmn\r\n");
        assert!(reply.starts_with("SERVER_ERROR") && reply.ends_with("\r\nMN\r\n"), "{reply}");
        assert!(rig.proxy.attempts.is_empty());
    }
}

#[test]
fn a_pipeline_keeps_its_order_while_its_server_dies() {
    let (mut rig, client) = spared(false);
    assert_eq!(rig.ask(client, "set a 0 0 1\r\n1\r\n"), "STORED\r\n");
    rig.silent = vec![HOME];
    let pipeline = "set a 0 0 1\r\n2\r\nget a\r\nappend a 0 0 1\r\n3\r\nmg a v\r\nmn\r\nget a x\r\n";
    assert_eq!(rig.ask(client, pipeline), "");
    rig.refusing = vec![HOME];
    rig.reset(HOME);
    rig.run();
    let expected =
        "STORED\r\nVALUE a 0 1\r\n2\r\nEND\r\nSTORED\r\nVA 2\r\n23\r\nMN\r\nVALUE a 0 2\r\n23\r\nEND\r\n";
    assert_eq!(rig.take(client), expected);
}

#[test]
fn what_is_stored_elsewhere_does_not_live_long_and_is_deleted_too() {
    let (mut rig, client) = spared(false);
    rig.refusing = vec![HOME];
    assert_eq!(rig.ask(client, "set a 0 0 1\r\n1\r\n"), "STORED\r\n");
    let spare = rig.open_at(1);
    assert_eq!(rig.ask(spare, "mg a t\r\n"), "HD t60\r\n");
    rig.refusing.clear();
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.ask(client, "get a\r\n"), "END\r\n");
    assert_eq!(rig.ask(client, "delete a\r\n"), "NOT_FOUND\r\n", "says the server of the key");
    assert_eq!(rig.ask(spare, "get a\r\n"), "END\r\n");
    assert_eq!(rig.ask(client, "set a 0 0 1\r\n1\r\n"), "STORED\r\n");
    assert_eq!(rig.ask(client, "mg a t\r\n"), "HD t-1\r\n", "at home it lives as long as it was told");
}

#[test]
fn a_miss_leads_on_only_if_it_is_to() {
    for on_miss in [false, true] {
        let (mut rig, client) = spared(on_miss);
        let spare = rig.open_at(1);
        assert_eq!(rig.ask(spare, "set a 5 0 1\r\n1\r\n"), "STORED\r\n");
        let expected = |found: &str, missed: &str| if on_miss { found.to_owned() } else { missed.to_owned() };
        for (request, found, missed) in [
            ("get a\r\n", "VALUE a 5 1\r\n1\r\nEND\r\n", "END\r\n"),
            ("get none\r\n", "END\r\n", "END\r\n"),
            ("get a none a\r\n", "VALUE a 5 1\r\n1\r\nVALUE a 5 1\r\n1\r\nEND\r\n", "END\r\n"),
            ("mg a f\r\n", "HD f5\r\n", "EN\r\n"),
            ("mg none q\r\nmn\r\n", "MN\r\n", "MN\r\n"),
            ("mg none f k\r\n", "EN knone\r\n", "EN knone\r\n"),
            ("touch none 0\r\n", "NOT_FOUND\r\n", "NOT_FOUND\r\n"),
        ] {
            assert_eq!(rig.ask(client, request), expected(found, missed), "{request:?}");
        }
        let mut getk = vec![0x80, 0x0c, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9];
        getk.extend([0; 8]);
        getk.extend(b"a");
        let binary = rig.open();
        rig.send(binary, &getk);
        rig.run();
        let reply = Header::parse(&rig.take_bytes(binary)).unwrap();
        assert_eq!((reply.status, reply.opaque), (u16::from(!on_miss), 9));
        assert_eq!(counters(&rig).missed_over > 0, on_miss);
    }
}

#[test]
fn when_no_pool_is_left_the_client_is_told() {
    let (mut rig, client) = spared(false);
    rig.refusing = vec![HOME, SPARE];
    let gone = "SERVER_ERROR the server of this key cannot be reached\r\n";
    assert_eq!(rig.ask(client, "get a\r\n"), gone);
    assert_eq!(rig.ask(client, "get a b\r\n"), gone);
    assert_eq!(
        rig.ask(client, "set a 0 0 1\r\n1\r\nset a 0 0 1 noreply\r\n2\r\nmn\r\n"),
        format!("{gone}MN\r\n")
    );
    assert!(counters(&rig).out_of_pools >= 3);
    rig.refusing.clear();
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.ask(client, "get a\r\n"), "END\r\n");
    assert!(rig.proxy.attempts.is_empty());
}

#[test]
fn a_large_value_goes_to_a_server_that_is_up() {
    let (mut rig, client) = spared(false);
    rig.refusing = vec![HOME];
    assert_eq!(rig.ask(client, "get a\r\n"), "END\r\n");
    let value = "v".repeat(200_000);
    assert_eq!(rig.ask(client, format!("set a 0 0 {}\r\n{value}\r\n", value.len())), "STORED\r\n");
    assert_eq!(rig.ask(client, "mg a s t\r\n"), "HD s200000 t60\r\n");
}

#[test]
fn a_hot_key_is_answered_of_the_pool_that_is_asked() {
    let (mut rig, client) = spared(false);
    for value in ["1", "2"] {
        assert_eq!(rig.ask(client, format!("set a 0 0 1\r\n{value}\r\n")), "STORED\r\n");
        for _ in 0..6 {
            assert_eq!(rig.ask(client, "get a\r\n"), format!("VALUE a 0 1\r\n{value}\r\nEND\r\n"));
        }
        rig.refusing = vec![HOME];
        rig.reset(HOME);
    }
    let hits: Vec<u64> = rig.proxy.pools.iter().map(|pool| pool.counters.hits).collect();
    assert!(hits[HOME] > 0 && hits[SPARE] > 0, "{hits:?}");
}
