//! Keys with copies in several pools.

use std::time::Duration;

use super::rig::Rig;
use super::routes::{items, named, route};
use crate::protocol::binary::Header;
use crate::proxy::ClientId;
use crate::proxy::pool::Pool;
use crate::proxy::route::{Acks, Destination};

/// So many pools of one server, each with a copy of everything. None is ejected.
fn copied(copies: usize, acks: Acks) -> (Rig, ClientId) {
    let copy = |index: usize| {
        let mut copy = named(&format!("copy{index}"), 1, true);
        copy.probing.auto_eject = false;
        copy
    };
    let pools: Vec<Pool> = (0..copies).map(copy).collect();
    let to = Destination { replicas: (1..copies as u16).collect(), acks, ..Destination::of(0) };
    let mut rig = Rig::routed(pools, route(to, vec![]));
    let client = rig.open();
    (rig, client)
}

/// What each pool says to `request`.
fn each(rig: &mut Rig, request: &str) -> Vec<String> {
    (0..rig.servers.len())
        .map(|pool| {
            let client = rig.open_at(pool as u16);
            rig.ask(client, request)
        })
        .collect()
}

#[test]
fn a_write_goes_to_all_copies() {
    let (mut rig, client) = copied(3, Acks::All);
    for (request, reply, held) in [
        ("set a 5 0 1\r\n1\r\n", "STORED\r\n", "VA 1 f5\r\n1\r\n"),
        ("append a 0 0 1\r\n0\r\n", "STORED\r\n", "VA 2 f5\r\n10\r\n"),
        ("incr a 7\r\n", "17\r\n", "VA 2 f5\r\n17\r\n"),
        ("ma a N0 q\r\nmn\r\n", "MN\r\n", "VA 2 f5\r\n18\r\n"),
        ("add a 0 0 1\r\n0\r\n", "NOT_STORED\r\n", "VA 2 f5\r\n18\r\n"),
        ("replace a 6 0 1\r\n2\r\n", "STORED\r\n", "VA 1 f6\r\n2\r\n"),
        ("set a 0 0 1 noreply\r\n3\r\nmn\r\n", "MN\r\n", "VA 1 f0\r\n3\r\n"),
        ("ms a 1 q F9\r\n4\r\nmn\r\n", "MN\r\n", "VA 1 f9\r\n4\r\n"),
        ("delete a\r\n", "DELETED\r\n", "EN\r\n"),
        ("delete a\r\n", "NOT_FOUND\r\n", "EN\r\n"),
        ("incr a 1\r\n", "NOT_FOUND\r\n", "EN\r\n"),
        ("ms a 1 ME\r\n5\r\n", "HD\r\n", "VA 1 f0\r\n5\r\n"),
    ] {
        assert_eq!(rig.ask(client, request), reply, "{request}");
        assert_eq!(each(&mut rig, "mg a v f\r\n"), [held, held, held], "{request}");
    }
    assert_eq!(rig.ask(client, "flush_all\r\n"), "OK\r\n");
    assert_eq!(each(&mut rig, "get a\r\n"), ["END\r\n"; 3]);
}

#[test]
fn a_touch_reaches_all_copies_and_the_nearest_answers() {
    let (mut rig, client) = copied(2, Acks::All);
    assert_eq!(rig.ask(client, "set a 0 0 1\r\n1\r\nset b 0 0 1\r\n1\r\n"), "STORED\r\nSTORED\r\n");
    assert_eq!(rig.ask(client, "gat 100 a\r\n"), "VALUE a 0 1\r\n1\r\nEND\r\n");
    assert_eq!(each(&mut rig, "mg a t\r\n"), ["HD t100\r\n"; 2]);
    assert_eq!(rig.ask(client, "gat 200 a b\r\n"), "VALUE a 0 1\r\n1\r\nVALUE b 0 1\r\n1\r\nEND\r\n");
    assert_eq!(each(&mut rig, "mg b t\r\n"), ["HD t200\r\n"; 2]);
    assert_eq!(rig.ask(client, "mg a T300 t\r\n"), "HD t300\r\n");
    assert_eq!(rig.ask(client, "touch b 300\r\n"), "TOUCHED\r\n");
    assert_eq!(each(&mut rig, "mg b t\r\n"), ["HD t300\r\n"; 2]);
}

#[test]
fn a_cas_is_decided_where_its_unique_was_read() {
    let (mut rig, client) = copied(2, Acks::All);
    let far = rig.open_at(1);
    // Uniques of the copies drift apart.
    assert_eq!(rig.ask(far, "set x 0 0 1\r\n1\r\nset y 0 0 1\r\n1\r\n"), "STORED\r\nSTORED\r\n");
    assert_eq!(rig.ask(client, "set a 0 0 1\r\n1\r\n"), "STORED\r\n");
    let gets = rig.ask(client, "gets a\r\n");
    let unique = gets.lines().next().unwrap().rsplit(' ').next().unwrap();
    assert_eq!(rig.ask(client, format!("cas a 0 0 1 {unique}\r\n2\r\n")), "STORED\r\n");
    assert_eq!(each(&mut rig, "get a\r\n"), ["VALUE a 0 1\r\n2\r\nEND\r\n"; 2]);
    assert_eq!(rig.ask(client, format!("cas a 0 0 1 {unique}\r\n3\r\n")), "EXISTS\r\n");
    assert_eq!(rig.ask(client, format!("ms a 1 C{unique}\r\n3\r\n")), "EX\r\n");
    assert_eq!(each(&mut rig, "get a\r\n"), ["VALUE a 0 1\r\n2\r\nEND\r\n"; 2]);
}

#[test]
fn as_many_copies_as_told_have_to_acknowledge() {
    for (acks, silent, answered) in [
        (Acks::One, vec![1, 2], true),
        (Acks::Majority, vec![2], true),
        (Acks::Majority, vec![1, 2], false),
        (Acks::All, vec![2], false),
        (Acks::All, vec![], true),
    ] {
        let (mut rig, client) = copied(3, acks);
        rig.silent = silent.clone();
        for (request, reply) in [("set a 0 0 1\r\n1\r\n", "STORED\r\n"), ("incr a 1\r\n", "2\r\n")] {
            let expected = if answered { reply } else { "" };
            assert_eq!(rig.ask(client, request), expected, "{acks:?} without {silent:?}: {request}");
        }
        rig.pass(Duration::from_millis(1500));
        if !answered {
            let replies = rig.take(client);
            assert!(replies.starts_with("SERVER_ERROR "), "{acks:?} without {silent:?}: {replies}");
        }
        let get = rig.ask(client, "get a\r\n");
        assert!(get.starts_with("VALUE a 0 1\r\n"), "reads need one copy: {get}");
    }
}

#[test]
fn with_too_few_copies_up_nothing_is_written() {
    let (mut rig, client) = copied(2, Acks::All);
    assert_eq!(rig.ask(client, "set a 0 0 1\r\n1\r\n"), "STORED\r\n");
    rig.refusing = vec![1];
    rig.reset(1);
    let refused = "SERVER_ERROR the server of this key cannot be reached\r\n";
    assert_eq!(rig.ask(client, "set a 0 0 1\r\n2\r\n"), refused, "it has to find out first");
    assert_eq!(
        rig.ask(client, "set a 0 0 1\r\n3\r\n"),
        "SERVER_ERROR too few copies of this key can be written\r\n"
    );
    assert_eq!(rig.ask(client, "get a\r\n"), "VALUE a 0 1\r\n2\r\nEND\r\n", "the second may have been done");
    rig.refusing.clear();
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.ask(client, "set a 0 0 1\r\n4\r\n"), "STORED\r\n");
    assert_eq!(each(&mut rig, "get a\r\n"), ["VALUE a 0 1\r\n4\r\nEND\r\n"; 2]);
}

#[test]
fn no_request_fails_when_one_of_three_copies_dies() {
    let (mut rig, client) = copied(3, Acks::Majority);
    for dead in 0..3 {
        rig.refusing = vec![dead];
        rig.reset(dead);
        for round in 0..5 {
            let value = format!("{dead}{round}");
            assert_eq!(rig.ask(client, format!("set a 0 0 2\r\n{value}\r\n")), "STORED\r\n", "{value}");
            let expected = format!("VALUE a 0 2\r\n{value}\r\nEND\r\n");
            assert_eq!(rig.ask(client, "get a\r\n"), expected);
            assert_eq!(rig.ask(client, "get none a\r\n"), expected);
            assert_eq!(rig.ask(client, "add b 0 0 1\r\n1\r\ndelete b\r\n"), "STORED\r\nDELETED\r\n");
        }
        rig.refusing.clear();
        rig.pass(Duration::from_secs(2));
        assert_eq!(rig.ask(client, "set a 0 0 2\r\nok\r\n"), "STORED\r\n");
    }
    rig.run();
    assert!(rig.proxy.attempts.is_empty());
}

#[test]
fn a_large_value_is_streamed_to_all_copies() {
    let (mut rig, client) = copied(3, Acks::Majority);
    let value = "v".repeat(700_000);
    let set = |key: &str| format!("set {key} 0 0 {}\r\n{value}\r\n", value.len());
    assert_eq!(rig.ask(client, set("a")), "STORED\r\n");
    assert_eq!(each(&mut rig, "mg a s\r\n"), ["HD s700000\r\n"; 3]);
    let (first, rest) = (set("b").split_at(200_000).0.to_owned(), set("b").split_at(200_000).1.to_owned());
    assert_eq!(rig.ask(client, &first), "");
    rig.refusing = vec![0];
    rig.reset(0);
    assert_eq!(rig.ask(client, &rest), "STORED\r\n", "two of three have it");
    assert_eq!(rig.ask(client, "mg b s\r\n"), "HD s700000\r\n");
    rig.refusing = vec![0, 1];
    assert_eq!(rig.ask(client, &first), "");
    rig.reset(1);
    let reply = rig.ask(client, &rest);
    assert!(reply.starts_with("SERVER_ERROR "), "{reply}");
    assert_eq!(rig.ask(client, "mn\r\n"), "MN\r\n");
}

#[test]
fn a_large_value_that_one_copy_decides_is_dropped_by_the_others() {
    let (mut rig, client) = copied(2, Acks::All);
    assert_eq!(rig.ask(client, "set a 0 0 1\r\n1\r\n"), "STORED\r\n");
    let value = "v".repeat(100_000);
    assert_eq!(rig.ask(client, format!("replace a 0 0 {}\r\n{value}\r\n", value.len())), "STORED\r\n");
    assert_eq!(each(&mut rig, "mg a s\r\n"), ["HD s100000\r\n", "EN\r\n"]);
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_value_leaves_no_copy_of_it() {
    let (mut rig, client) = copied(2, Acks::All);
    assert_eq!(rig.ask(client, "set a 0 0 300000\r\nhalf of it"), "");
    rig.proxy.client_closed(client, rig.now);
    rig.run();
    assert_eq!(items(&rig), [0, 0]);
    let other = rig.open();
    assert_eq!(rig.ask(other, "set a 0 0 1\r\n1\r\n"), "STORED\r\n");
}

#[test]
fn a_cached_value_is_voided_in_every_pool_that_a_write_goes_to() {
    let (mut rig, client) = copied(2, Acks::All);
    let far = rig.open_at(1);
    assert_eq!(rig.ask(client, "set a 0 0 1\r\n1\r\n"), "STORED\r\n");
    for _ in 0..6 {
        assert_eq!(rig.ask(client, "get a\r\n"), "VALUE a 0 1\r\n1\r\nEND\r\n");
        assert_eq!(rig.ask(far, "get a\r\n"), "VALUE a 0 1\r\n1\r\nEND\r\n");
    }
    assert!(rig.proxy.pools.iter().all(|pool| pool.counters.hits > 0));
    assert_eq!(rig.ask(client, "set a 0 0 1\r\n2\r\n"), "STORED\r\n");
    assert_eq!(rig.ask(far, "get a\r\n"), "VALUE a 0 1\r\n2\r\nEND\r\n");
    assert_eq!(rig.ask(client, "incr a 1\r\n"), "3\r\n");
    assert_eq!(rig.ask(far, "get a\r\n"), "VALUE a 0 1\r\n3\r\nEND\r\n");
    assert_eq!(rig.ask(client, "get a\r\n"), "VALUE a 0 1\r\n3\r\nEND\r\n");
}

#[test]
fn binary_clients_write_all_copies_too() {
    let (mut rig, client) = copied(2, Acks::All);
    let request = |opcode: u8| {
        let mut request = vec![0x80, opcode, 0, 1, 8, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 7];
        request.extend([0; 16]);
        request.extend(b"kv");
        request
    };
    const NOOP: [u8; 24] = [0x80, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0];
    // set, setq, add, addq: the last two find the key there.
    for (opcode, replies) in
        [(0x01, vec![(0x01, 0)]), (0x11, vec![]), (0x02, vec![(0x02, 2)]), (0x12, vec![(0x12, 2)])]
    {
        rig.send(client, &[&request(opcode)[..], &NOOP].concat());
        rig.run();
        let bytes = rig.take_bytes(client);
        let (mut at, mut found) = (0, Vec::new());
        while let Some(header) = Header::parse(&bytes[at..]) {
            found.push((header.opcode, header.status));
            at += 24 + header.body_len as usize;
        }
        assert_eq!(found.pop(), Some((0x0a, 0)));
        assert_eq!(found, replies, "{opcode:#x}");
        assert_eq!(items(&rig), [1, 1]);
    }
}
