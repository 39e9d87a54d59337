//! Hot keys: what is answered without a server, and what is not.

use std::time::Duration;

use super::rig::{Rig, pool};
use crate::protocol::binary::Header;
use crate::proxy::{ClientId, MAX_UNSENT};

const ITEM: &str = "VALUE k 7 2\r\n10\r\n";

/// A pool of one server whose key `k` is hot, and two clients.
fn hot() -> (Rig, ClientId, ClientId) {
    let mut rig = Rig::with(pool(1, true));
    let (one, other) = (rig.open(), rig.open());
    assert_eq!(rig.ask(one, "set k 7 0 2\r\n10\r\n"), "STORED\r\n");
    heat(&mut rig, one);
    (rig, one, other)
}

fn heat(rig: &mut Rig, client: ClientId) {
    for _ in 0..4 {
        assert_eq!(rig.ask(client, "get k\r\n"), format!("{ITEM}END\r\n"));
    }
}

/// What `request` is answered while no server answers.
fn from_cache(rig: &mut Rig, client: ClientId, request: &str) -> String {
    rig.silent = vec![0];
    let reply = rig.ask(client, request);
    rig.silent.clear();
    rig.run();
    rig.take(client);
    reply
}

#[test]
fn a_hot_key_is_answered_in_every_form() {
    let (mut rig, one, _) = hot();
    for (request, reply) in [
        ("get k\r\n", "VALUE k 7 2\r\n10\r\nEND\r\n"),
        ("gets k\r\n", "VALUE k 7 2 1\r\n10\r\nEND\r\n"),
        ("get k k\r\n", "VALUE k 7 2\r\n10\r\nVALUE k 7 2\r\n10\r\nEND\r\n"),
        ("gets k k\r\n", "VALUE k 7 2 1\r\n10\r\nVALUE k 7 2 1\r\n10\r\nEND\r\n"),
        ("mg k v f c s k Oabc q\r\n", "VA 2 f7 c1 s2 kk Oabc\r\n10\r\n"),
        ("mg k\r\n", "HD\r\n"),
        // What only the server knows.
        ("mg k t\r\n", ""),
        ("mg k T30\r\n", ""),
        ("mg aw== b v\r\n", ""),
        ("gat 0 k\r\n", ""),
        ("get other\r\n", ""),
    ] {
        heat(&mut rig, one);
        assert_eq!(from_cache(&mut rig, one, request), reply, "{request:?}");
    }
    assert_eq!(rig.ask(one, "get k other k\r\n"), format!("{ITEM}{ITEM}END\r\n"));
}

#[test]
fn a_hot_key_is_answered_in_binary() {
    let (mut rig, _, _) = hot();
    let client = rig.open();
    for (opcode, key) in [(0x00, ""), (0x09, ""), (0x0c, "k"), (0x0d, "k")] {
        let header = Header {
            magic: 0x80,
            opcode,
            key_len: 1,
            extras_len: 0,
            data_type: 0,
            status: 0,
            body_len: 1,
            opaque: 77,
            cas: 0,
        };
        rig.silent = vec![0];
        rig.send(client, &[&header.to_bytes()[..], b"k"].concat());
        rig.run();
        let reply = rig.take_bytes(client);
        let answered = Header::parse(&reply).unwrap();
        assert_eq!((answered.opcode, answered.status, answered.opaque, answered.cas), (opcode, 0, 77, 1));
        assert_eq!(reply[24..], [&7u32.to_be_bytes()[..], key.as_bytes(), b"10"].concat());
    }
}

/// A hot value of 100 KB, and the item that tells it.
fn heat_long(rig: &mut Rig, client: ClientId) -> String {
    let value = "v".repeat(100 << 10);
    let set = format!("set long 0 0 {}\r\n{value}\r\n", value.len());
    assert_eq!(rig.ask(client, set), "STORED\r\n");
    for _ in 0..4 {
        rig.ask(client, "get long\r\n");
    }
    format!("VALUE long 0 {}\r\n{value}\r\n", value.len())
}

#[test]
fn hot_values_of_every_length_come_whole_in_one_reply() {
    let (mut rig, one, _) = hot();
    let long = heat_long(&mut rig, one);
    for (request, reply) in [
        ("get k long k\r\n", format!("{ITEM}{long}{ITEM}END\r\n")),
        ("get long long\r\nget k k\r\n", format!("{long}{long}END\r\n{ITEM}{ITEM}END\r\n")),
    ] {
        heat(&mut rig, one);
        assert!(from_cache(&mut rig, one, request) == reply, "{request:?}");
    }
    let many = format!("get{}\r\n", " k".repeat(200));
    assert!(from_cache(&mut rig, one, &many) == format!("{}END\r\n", ITEM.repeat(200)));
}

#[test]
fn a_client_that_takes_nothing_is_owed_no_more_hot_values_than_its_bound() {
    let (mut rig, one, other) = hot();
    let long = heat_long(&mut rig, one);
    rig.deafen(other);
    rig.send(other, format!("get{}\r\n", " long".repeat(100)).as_bytes());
    rig.act();
    let owed = rig.proxy.client_output(other).len();
    assert!((MAX_UNSENT..3 * MAX_UNSENT).contains(&owed), "{owed} bytes");
    rig.hear(other);
    rig.run();
    assert!(rig.take(other) == format!("{}END\r\n", long.repeat(100)));
}

/// Every command that may change a value, its flags, its CAS or its life.
const WRITES: [&str; 24] = [
    "set k 7 0 2\r\n11\r\n",
    "set k 7 0 2 noreply\r\n11\r\n",
    "add k 7 0 2\r\n11\r\n",
    "replace k 7 0 2\r\n11\r\n",
    "append k 7 0 2 noreply\r\n11\r\n",
    "prepend k 7 0 2\r\n11\r\n",
    "cas k 7 0 2 1\r\n11\r\n",
    "incr k 1\r\n",
    "decr k 1 noreply\r\n",
    "touch k 100\r\n",
    "gat 100 k\r\n",
    "gats 100 k\r\n",
    "gat 100 k other k\r\n",
    "delete k\r\n",
    "delete k noreply\r\n",
    "ms k 2 q\r\n11\r\n",
    "ms aw== 2 b\r\n11\r\n",
    "md k q\r\n",
    "md k I T30\r\n",
    "ma k\r\n",
    "ma k q N0\r\n",
    "mg k T30 v\r\n",
    "flush_all\r\n",
    "flush_all noreply\r\n",
];

#[test]
fn no_value_is_answered_from_before_a_write() {
    for write in WRITES {
        let (mut rig, one, other) = hot();
        // On its way to the server, it keeps the value from being answered.
        rig.silent = vec![0];
        rig.send(one, write.as_bytes());
        rig.run();
        assert_eq!(rig.ask(other, "get k\r\n"), "", "{write:?} under way");
        rig.silent.clear();
        rig.run();
        rig.take(other);
        // Done, it has voided it.
        assert_eq!(from_cache(&mut rig, other, "get k\r\n"), "", "{write:?} done");
        // A key that is read again is cached again; one that was missing not before a lease is over.
        rig.pass(Duration::from_millis(1100));
        rig.ask(other, "set k 7 0 2\r\n10\r\n");
        heat(&mut rig, other);
        assert_ne!(from_cache(&mut rig, other, "get k\r\n"), "", "{write:?} forgotten");
    }
}

#[test]
fn a_large_value_on_its_way_keeps_its_key_from_being_answered() {
    let (mut rig, one, other) = hot();
    let len = 200_000;
    let set = format!("set k 0 0 {len}\r\n{}\r\n", "v".repeat(len));
    let (most, rest) = set.split_at(set.len() - 1);
    assert_eq!(rig.ask(one, most), "");
    // Longer than a lease; its deadline does not run while it comes.
    rig.pass(Duration::from_secs(5));
    for _ in 0..5 {
        assert_eq!(rig.ask(other, "get k\r\n"), format!("{ITEM}END\r\n"));
    }
    assert_eq!(from_cache(&mut rig, other, "get k\r\n"), "");
    assert_eq!(rig.ask(one, rest), "STORED\r\n");
    assert_eq!(rig.ask(other, "get k\r\n").len(), len + "VALUE k 0 200000\r\n\r\nEND\r\n".len());
}

#[test]
fn a_write_that_is_lost_keeps_its_key_from_being_cached_until_its_connection_ends() {
    let mut limits = pool(1, true);
    limits.probing.auto_eject = false;
    let mut rig = Rig::with(limits);
    let (one, other) = (rig.open(), rig.open());
    assert_eq!(rig.ask(one, "set k 7 0 2\r\n10\r\n"), "STORED\r\n");
    heat(&mut rig, one);
    rig.silent = vec![0];
    rig.send(one, b"set k 7 0 2\r\n11\r\n");
    rig.run();
    rig.pass(Duration::from_millis(1100));
    assert!(rig.take(one).starts_with("SERVER_ERROR"));
    assert_eq!(rig.open_connections(0), 1, "it stays to be heard of");
    // The server reads new connections first, and the old write much later.
    rig.deaf_connections = rig.connections_of(0);
    rig.silent.clear();
    rig.pass(Duration::from_secs(10));
    for _ in 0..5 {
        assert_eq!(rig.ask(other, "get k\r\n"), format!("{ITEM}END\r\n"));
    }
    assert_eq!(from_cache(&mut rig, other, "get k\r\n"), "");
    rig.deaf_connections.clear();
    rig.run();
    assert_eq!(rig.open_connections(0), 1, "only the new one is left");
    rig.pass(Duration::from_millis(1100));
    for _ in 0..5 {
        assert_eq!(rig.ask(other, "get k\r\n"), "VALUE k 7 2\r\n11\r\nEND\r\n");
    }
    assert_ne!(from_cache(&mut rig, other, "get k\r\n"), "");
}

#[test]
fn a_value_is_answered_no_longer_than_its_lease_and_its_life() {
    let (mut rig, one, _) = hot();
    rig.pass(Duration::from_millis(980));
    assert_ne!(from_cache(&mut rig, one, "get k\r\n"), "");
    rig.pass(Duration::from_millis(100));
    rig.run();
    let (mut rig, one, _) = hot();
    rig.pass(Duration::from_millis(1010));
    assert_eq!(from_cache(&mut rig, one, "get k\r\n"), "");
    // Two seconds to live: the server may drop it after one.
    rig.ask(one, "set k 7 2 2\r\n10\r\n");
    heat(&mut rig, one);
    assert_ne!(from_cache(&mut rig, one, "get k\r\n"), "");
    rig.ask(one, "set k 7 1 2\r\n10\r\n");
    heat(&mut rig, one);
    assert_eq!(from_cache(&mut rig, one, "get k\r\n"), "");
}

#[test]
fn a_hot_key_is_asked_for_again_before_its_lease_ends() {
    let (mut rig, one, _) = hot();
    for _ in 0..100 {
        rig.pass(Duration::from_millis(30));
        assert_eq!(rig.ask(one, "get k\r\n"), format!("{ITEM}END\r\n"));
    }
    let counters = &rig.proxy.pools[0].counters;
    assert!(counters.hits >= 98, "{counters:?}");
    assert!((5..=8).contains(&counters.fills_installed), "{counters:?}");
}

#[test]
fn a_fill_that_a_write_overtook_is_not_installed() {
    let mut rig = Rig::with(pool(1, true));
    let (one, other) = (rig.open(), rig.open());
    rig.ask(one, "set k 7 0 2\r\n10\r\n");
    rig.ask(one, "get k\r\n");
    rig.silent = vec![0];
    rig.send(one, b"get k\r\nget k\r\n");
    rig.send(other, b"set k 7 0 2\r\n11\r\n");
    rig.silent.clear();
    rig.run();
    let counters = &rig.proxy.pools[0].counters;
    assert_eq!((counters.fills_sent, counters.fills_overtaken, counters.fills_installed), (1, 1, 0));
}

#[test]
fn a_delayed_flush_closes_the_cache_around_its_time() {
    let (mut rig, one, other) = hot();
    assert_eq!(rig.ask(one, "flush_all 5\r\n"), "OK\r\n");
    heat(&mut rig, one);
    assert_ne!(from_cache(&mut rig, other, "get k\r\n"), "");
    rig.pass(Duration::from_secs(4));
    for _ in 0..5 {
        rig.ask(one, "get k\r\n");
    }
    assert_eq!(from_cache(&mut rig, other, "get k\r\n"), "");
    rig.pass(Duration::from_secs(4));
    assert_eq!(rig.ask(one, "get k\r\n"), "END\r\n");
    assert_eq!(rig.ask(one, "flush_all 99999999\r\n"), "CLIENT_ERROR flush_all delay beyond 30 days\r\n");
}

#[test]
fn a_client_reads_its_own_write_in_a_pipeline() {
    let (mut rig, one, _) = hot();
    let requests = "get k\r\nset k 7 0 2\r\n11\r\nget k\r\nflush_all\r\nget k\r\n";
    let expected = format!("{ITEM}END\r\nSTORED\r\nVALUE k 7 2\r\n11\r\nEND\r\nOK\r\nEND\r\n");
    assert_eq!(rig.ask(one, requests), expected);
}

#[test]
fn a_server_that_may_have_lost_its_items_voids_what_is_cached_once_it_is_back() {
    let (mut rig, one, _) = hot();
    rig.reset(0);
    rig.run();
    assert_ne!(from_cache(&mut rig, one, "get k\r\n"), "", "answered while the server is away");
    assert_eq!(rig.ask(one, "get x\r\n"), "END\r\n");
    assert_eq!(from_cache(&mut rig, one, "get k\r\n"), "");
}

#[test]
fn a_fill_gives_the_right_to_make_a_stale_item_anew_back() {
    let (mut rig, one, other) = hot();
    assert_eq!(rig.ask(one, "md k I T30\r\n"), "HD\r\n");
    for _ in 0..4 {
        rig.ask(one, "get k\r\n");
        rig.pass(Duration::from_millis(300));
    }
    let tokens = |rig: &mut Rig| {
        rig.pass(Duration::from_millis(10));
        let counters = rig.shared.threads()[0].counters.read();
        counters.into_iter().find(|(name, _, _)| *name == "tokens_given_back").unwrap().2
    };
    assert!(tokens(&mut rig) > 0, "no fill has won");
    let stale = |reply: String| reply.split("\r\n").next().unwrap().to_owned();
    assert_eq!(stale(rig.ask(other, "mg k v\r\n")), "VA 2 X W");
    let given_back = tokens(&mut rig);
    rig.pass(Duration::from_secs(2));
    rig.ask(one, "get k\r\n");
    assert_eq!(stale(rig.ask(one, "mg k v\r\n")), "VA 2 Z X", "one client has it");
    assert_eq!(tokens(&mut rig), given_back);
    assert_eq!(rig.ask(other, "ms k 2\r\n11\r\n"), "HD\r\n");
    assert_eq!(rig.ask(one, "mg k v\r\n"), "VA 2\r\n11\r\n");
}
