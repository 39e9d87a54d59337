//! Bounds: slow clients, slow servers, large values, long pipelines.

use std::time::Duration;

use super::rig::Rig;
use crate::proxy::{MAX_HELD_VALUE, MAX_ON_THE_WAY, MAX_PIPELINE, MAX_UNSENT};

fn set(key: &str, len: usize) -> String {
    format!("set {key} 0 0 {len}\r\n{}\r\n", "v".repeat(len))
}

fn item(key: &str, len: usize) -> String {
    format!("VALUE {key} 0 {len}\r\n{}\r\n", "v".repeat(len))
}

#[test]
fn large_values_pass_both_ways() {
    for step in [4096, usize::MAX] {
        let mut rig = Rig::new(2);
        rig.step = step;
        let client = rig.open();
        let len = 20 << 20;
        let requests = format!("{}get big\r\nget none\r\n", set("big", len));
        let reply = rig.ask(client, requests);
        assert!(reply == format!("STORED\r\n{}END\r\nEND\r\n", item("big", len)), "{} bytes", reply.len());
    }
}

#[test]
fn a_client_that_sends_slowly_holds_up_nobody() {
    let mut rig = Rig::new(1);
    let (slow, quick) = (rig.open(), rig.open());
    assert_eq!(rig.ask(quick, "version\r\n"), "VERSION 1.6.18\r\n");
    // Small enough to be held, and large enough to be streamed.
    for len in [MAX_HELD_VALUE / 2, 4 * MAX_HELD_VALUE] {
        let request = set("a", len);
        rig.ask(slow, &request[..request.len() / 2]);
        assert_eq!(rig.ask(quick, "set b 0 0 1\r\n1\r\nget b\r\n"), "STORED\r\nVALUE b 0 1\r\n1\r\nEND\r\n");
        assert_eq!(rig.ask(slow, &request[request.len() / 2..]), "STORED\r\n");
        assert_eq!(rig.ask(quick, "get a\r\n"), format!("{}END\r\n", item("a", len)));
    }
    assert_eq!(rig.open_connections(0), 2, "the connection for large values is kept");
}

#[test]
fn a_streamed_value_keeps_the_order_of_its_client() {
    let mut rig = Rig::new(1);
    rig.step = 10_000;
    let client = rig.open();
    let len = 3 * MAX_HELD_VALUE;
    let requests = format!("get a\r\n{}get a\r\ndelete a\r\n{}", set("a", len), set("a", len));
    let expected = format!("END\r\nSTORED\r\n{}END\r\nDELETED\r\nSTORED\r\n", item("a", len));
    assert!(rig.ask(client, requests) == expected);
}

#[test]
fn half_a_value_is_never_stored() {
    let mut rig = Rig::new(1);
    let client = rig.open();
    let request = set("a", 4 * MAX_HELD_VALUE);
    rig.ask(client, &request[..request.len() - 1]);
    rig.proxy.client_closed(client, rig.now);
    rig.run();
    let other = rig.open();
    assert_eq!(rig.ask(other, "get a\r\n"), "END\r\n");
    assert_eq!(rig.open_connections(0), 1);
}

#[test]
fn a_value_that_the_server_refuses_is_swallowed() {
    let mut rig = Rig::new(1);
    rig.step = 100_000;
    let client = rig.open();
    let reply = rig.ask(client, format!("{}get a\r\n", set("a", 65 << 20)));
    assert_eq!(reply, "SERVER_ERROR object too large for cache\r\nEND\r\n");
}

#[test]
fn a_long_pipeline_is_read_as_far_as_it_may_be() {
    let mut rig = Rig::new(2);
    let client = rig.open();
    rig.ask(client, "get a\r\nget b\r\nget c\r\nget d\r\n");
    rig.silent = vec![0, 1];
    let requests = "get a\r\n".repeat(5 * MAX_PIPELINE);
    let rest = rig.send(client, requests.as_bytes()).len();
    rig.run();
    assert!(requests.len() - rest < 4 * 7 * MAX_PIPELINE && rest > 0, "{rest} bytes are left");
    rig.silent.clear();
    rig.run();
    let replies = rig.ask(client, &requests[requests.len() - rest..]);
    assert_eq!(replies, "END\r\n".repeat(5 * MAX_PIPELINE));
}

#[test]
fn a_client_that_takes_nothing_is_not_read_and_then_cut_for_those_behind_it() {
    let mut rig = Rig::new(1);
    let (deaf, other) = (rig.open(), rig.open());
    assert_eq!(rig.ask(other, set("a", MAX_UNSENT / 4)), "STORED\r\n");
    rig.deafen(deaf);
    let requests = "get a\r\n".repeat(40);
    let rest = rig.send(deaf, requests.as_bytes()).len();
    assert_eq!(rest, 0);
    rig.run();
    assert!(rig.proxy.client_output(deaf).len() <= 2 * MAX_UNSENT, "{}", rig.proxy.client_output(deaf).len());
    assert_eq!(rig.proxy.client_wants(deaf), 0);
    // Alone it may take its time.
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.closed, []);
    assert_eq!(rig.ask(other, "get b\r\n"), "");
    rig.pass(Duration::from_millis(1100));
    assert_eq!((rig.take(other).as_str(), &rig.closed[..]), ("END\r\n", &[deaf][..]));
}

#[test]
fn a_client_that_takes_again_gets_all() {
    let mut rig = Rig::new(2);
    rig.step = 50_000;
    let client = rig.open();
    let keys: Vec<String> = (0..8).map(|number| format!("k{number}")).collect();
    let len = MAX_UNSENT / 2 + 3;
    for key in &keys {
        assert_eq!(rig.ask(client, set(key, len)), "STORED\r\n");
    }
    rig.deafen(client);
    let one_by_one: String = keys.iter().map(|key| format!("get {key}\r\n")).collect();
    let requests = format!("{one_by_one}get {}\r\n", keys.join(" "));
    assert_eq!(rig.send(client, requests.as_bytes()).len(), 0);
    rig.run();
    rig.hear(client);
    rig.run();
    let reply = rig.take(client);
    let expected: String = keys.iter().map(|key| format!("{}END\r\n", item(key, len))).collect();
    assert!(reply.starts_with(&expected));
    assert_eq!(reply.len(), 2 * expected.len() - 7 * "END\r\n".len());
    assert!(reply.ends_with("\r\nEND\r\n"));
}

#[test]
fn a_stalled_client_is_cut() {
    let mut rig = Rig::new(1);
    let (half, deaf, idle) = (rig.open(), rig.open(), rig.open());
    rig.send(half, b"set a 0 0 100\r\nabc");
    rig.deafen(deaf);
    rig.send(deaf, b"version\r\n");
    rig.run();
    rig.pass(Duration::from_secs(58));
    assert_eq!(rig.closed, []);
    rig.pass(Duration::from_secs(4));
    rig.closed.sort();
    assert_eq!(rig.closed, [half, deaf]);
    assert_eq!(rig.ask(idle, "get a\r\n"), "END\r\n");
}

#[test]
fn a_server_that_reads_nothing_is_not_sent_without_bound() {
    let mut rig = Rig::new(1);
    let clients: Vec<_> = (0..300).map(|_| rig.open()).collect();
    rig.ask(clients[0], "get a\r\n");
    rig.silent = vec![0];
    let request = set("a", 60_000);
    for client in &clients {
        assert_eq!(rig.send(*client, request.as_bytes()).len(), 0);
        rig.act();
    }
    let on_the_way: usize = rig.proxy.backends.values().map(|backend| backend.outgoing.len()).sum();
    assert!(on_the_way < MAX_ON_THE_WAY + request.len(), "{on_the_way} bytes");
    let waiting = clients.iter().filter(|client| rig.proxy.client_wants(**client) == 0).count();
    assert_eq!(waiting, clients.len() - on_the_way / request.len());
    rig.silent.clear();
    rig.run();
    let mut stored = 0;
    for client in &clients {
        stored += usize::from(rig.take(*client) == "STORED\r\n");
    }
    assert_eq!(stored, clients.len());
}
