//! Servers that fail.

use std::time::Duration;

use super::rig::Rig;
use crate::members::Change;

const UNREACHABLE: &str = "SERVER_ERROR the server of this key cannot be reached\r\n";
const TIMED_OUT: &str = "SERVER_ERROR the server of this key did not answer in time\r\n";
const CLOSED: &str = "SERVER_ERROR the server of this key closed the connection\r\n";

#[test]
fn a_connection_that_was_closed_while_idle_fails_no_request() {
    let mut rig = Rig::new(1);
    let client = rig.open();
    assert_eq!(rig.ask(client, "set a 0 0 1\r\n1\r\n"), "STORED\r\n");
    rig.reset(0);
    assert_eq!(rig.ask(client, "set a 0 0 1\r\n2\r\n"), "STORED\r\n");
    // The server closes while the request is on its way.
    rig.silent = vec![0];
    rig.send(client, b"get a\r\nget b\r\n");
    rig.act();
    rig.silent.clear();
    rig.reset(0);
    rig.run();
    assert_eq!(rig.take(client), "VALUE a 0 1\r\n2\r\nEND\r\nEND\r\n");
    assert_eq!(rig.connected, [3]);
}

#[test]
fn a_write_that_may_have_been_carried_out_is_not_repeated() {
    let mut rig = Rig::new(1);
    let client = rig.open();
    assert_eq!(rig.ask(client, "set a 0 0 1\r\n1\r\n"), "STORED\r\n");
    rig.silent = vec![0];
    rig.send(client, b"incr a 1\r\nget a\r\nincr a 1\r\n");
    rig.act();
    rig.silent.clear();
    rig.reset(0);
    rig.run();
    assert_eq!(rig.take(client), format!("{CLOSED}VALUE a 0 1\r\n1\r\nEND\r\n{CLOSED}"));
}

#[test]
fn a_server_that_cannot_be_reached_is_ejected_and_comes_back() {
    let mut rig = Rig::new(2);
    let client = rig.open();
    let key = rig.key_of(1);
    rig.refusing = vec![1];
    rig.reset(1);
    let get = format!("get {key}\r\n");
    assert_eq!(rig.ask(client, &get), UNREACHABLE);
    for _ in 0..100 {
        rig.pass(Duration::from_millis(10));
        if !rig.changes.is_empty() {
            break;
        }
        rig.ask(client, &get);
    }
    assert_eq!(rig.changes, [Change::Ejected(1)]);
    assert_eq!(rig.home(&key), 0);
    assert_eq!(rig.ask(client, &get), "END\r\n");
    rig.pass(Duration::from_secs(1));
    rig.refusing.clear();
    rig.pass(Duration::from_millis(400));
    assert_eq!(rig.changes, [Change::Ejected(1), Change::Returned(1)]);
    assert_eq!(rig.home(&key), 1);
    assert_eq!(rig.ask(client, &get), "END\r\n");
}

#[test]
fn a_server_that_does_not_answer_fails_its_keys_and_no_others() {
    let mut rig = Rig::new(2);
    let (one, other) = (rig.open(), rig.open());
    let keys = [rig.key_of(0), rig.key_of(1)];
    for key in &keys {
        assert_eq!(rig.ask(one, format!("set {key} 0 0 1\r\n1\r\n")), "STORED\r\n");
    }
    rig.silent = vec![1];
    rig.send(one, format!("get {}\r\nget {}\r\n", keys[1], keys[0]).as_bytes());
    rig.send(other, format!("get {} {}\r\n", keys[1], keys[0]).as_bytes());
    rig.run();
    let item = format!("VALUE {} 0 1\r\n1\r\n", keys[0]);
    assert_eq!((rig.take(one).as_str(), rig.take(other).as_str()), ("", ""));
    rig.pass(Duration::from_millis(1100));
    assert_eq!(rig.take(one), format!("{TIMED_OUT}{item}END\r\n"));
    // The values that could be had, and that there are others.
    assert_eq!(rig.take(other), format!("{item}{TIMED_OUT}"));
    assert_eq!(rig.ask(other, "version\r\n"), "VERSION 1.6.18\r\n");
}

/// A rig whose server has sent a part of a value of `len` bytes to a get, and what its client got of it.
fn half_way(len: usize) -> (Rig, crate::proxy::ClientId, String) {
    let mut rig = Rig::new(1);
    let client = rig.open();
    assert_eq!(rig.ask(client, format!("set a 0 0 {len}\r\n{}\r\n", "v".repeat(len))), "STORED\r\n");
    rig.step = len / 2;
    rig.send(client, b"get a\r\n");
    rig.act();
    rig.serve_once();
    rig.act();
    let half = rig.take(client);
    (rig, client, half)
}

#[test]
fn a_client_with_half_a_reply_is_cut() {
    let (mut rig, client, half) = half_way(50_000);
    assert!(half.starts_with("VALUE a 0 50000\r\nv") && !half.ends_with("END\r\n"), "{}", half.len());
    rig.reset(0);
    rig.run();
    assert_eq!(rig.closed, [client]);
}

#[test]
fn half_a_reply_that_has_not_left_is_taken_back() {
    let (mut rig, client, half) = half_way(50);
    assert_eq!(half, "");
    rig.reset(0);
    rig.run();
    assert_eq!((rig.take(client).as_str(), &rig.closed[..]), (CLOSED, &[][..]));
    assert!(rig.ask(client, "get a\r\n").ends_with("v\r\nEND\r\n"));
}

#[test]
fn a_server_that_sends_nonsense_is_left() {
    let mut rig = Rig::new(1);
    let client = rig.open();
    rig.ask(client, "get a\r\n");
    rig.inject(0, b"VALUE a 0 1\r\n1\r\nEND\r\n");
    rig.run();
    assert_eq!((rig.take(client).as_str(), rig.open_connections(0)), ("", 0));
    assert_eq!(rig.ask(client, "get a\r\n"), "END\r\n");
}

#[test]
fn no_failure_lasts_if_servers_are_not_ejected() {
    let mut pool = super::rig::pool(1, false);
    pool.probing.auto_eject = false;
    let mut rig = Rig::with(pool);
    let client = rig.open();
    rig.refusing = vec![0];
    for _ in 0..20 {
        assert_eq!(rig.ask(client, "get a\r\n"), UNREACHABLE);
        rig.pass(Duration::from_millis(50));
    }
    rig.refusing.clear();
    rig.pass(Duration::from_millis(300));
    assert_eq!(rig.ask(client, "get a\r\n"), "END\r\n");
    assert_eq!(rig.changes, []);
}

#[test]
fn a_server_with_too_many_connections_cannot_be_reached() {
    let mut rig = Rig::new(1);
    let client = rig.open();
    rig.silent = vec![0];
    rig.send(client, b"get a\r\nset a 0 0 1\r\n1\r\n");
    rig.act();
    rig.inject(0, b"ERROR Too many open connections\r\n");
    rig.silent.clear();
    rig.run();
    assert_eq!(rig.take(client), UNREACHABLE.repeat(2));
}
