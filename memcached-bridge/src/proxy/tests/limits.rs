//! What clients may do.

use std::sync::Arc;
use std::time::Duration;

use super::rig::{Rig, pool};
use crate::proxy::limits::{ClientLimits, ENOUGH_BYTES, MaxTtl, Rate, TokenBucket};

fn limited(limits: ClientLimits) -> Rig {
    let mut pool = pool(2, false);
    pool.limits = limits;
    Rig::with(pool)
}

/// A counter as it was last published.
fn counter(rig: &mut Rig, name: &str) -> u64 {
    rig.pass(Duration::from_millis(10));
    let counters = rig.shared.threads()[0].counters.read();
    counters.into_iter().find(|(other, _, _)| *other == name).unwrap().2
}

#[test]
fn beyond_the_pools_rate_requests_are_refused_in_their_turn() {
    let rate = Some(Rate { per_second: 10, burst: 5 });
    let mut rig = limited(ClientLimits { rate, ..ClientLimits::default() });
    let (first, second) = (rig.open(), rig.open());
    assert_eq!(rig.ask(first, "get a b c\r\nmn\r\n"), "END\r\nMN\r\n");
    let busy = "SERVER_ERROR the pool gets too many requests\r\n";
    let asked = "get a\r\nget b\r\nget c\r\nset a 0 0 2\r\nhi\r\nset b 0 0 2 noreply\r\nhi\r\nversion\r\n";
    assert_eq!(rig.ask(second, asked), format!("END\r\nEND\r\n{busy}{busy}VERSION 1.6.18\r\n"));
    rig.pass(Duration::from_millis(100));
    assert_eq!(rig.ask(first, "get a\r\nget a\r\n"), format!("END\r\n{busy}"));
    assert_eq!(counter(&mut rig, "refused_pool_rate"), 4);
}

#[test]
fn a_clients_connections_share_its_rate_and_others_have_theirs() {
    let mut rig = limited(ClientLimits::default());
    let bucket = || Arc::new(TokenBucket::new(Rate { per_second: 1, burst: 3 }));
    let (one, other) = (bucket(), bucket());
    let clients = [one.clone(), one, other].map(|bucket| {
        let client = rig.open();
        rig.proxy.limit_client(client, Some(bucket));
        client
    });
    assert_eq!(rig.ask(clients[0], "get a\r\nget a\r\n"), "END\r\nEND\r\n");
    let busy = "SERVER_ERROR this client sends too many requests\r\n";
    assert_eq!(rig.ask(clients[1], "get a\r\nget a\r\n"), format!("END\r\n{busy}"));
    assert_eq!(rig.ask(clients[2], "get a\r\nget a\r\n"), "END\r\nEND\r\n");
    assert_eq!(counter(&mut rig, "refused_client_rate"), 1);
}

#[test]
fn a_request_that_comes_byte_by_byte_is_counted_once() {
    let rate = Some(Rate { per_second: 1, burst: 3 });
    let mut rig = limited(ClientLimits { rate, ..ClientLimits::default() });
    rig.step = 1;
    let client = rig.open();
    let set = format!("set a 0 0 100000\r\n{}\r\n", "v".repeat(100_000));
    assert_eq!(rig.ask(client, format!("{set}set b 0 0 4\r\nabcd\r\n")), "STORED\r\nSTORED\r\n");
    assert_eq!(rig.ask(client, "touch a 0\r\n"), "TOUCHED\r\n");
    let busy = "SERVER_ERROR the pool gets too many requests\r\n";
    assert_eq!(rig.ask(client, set + "mn\r\n"), format!("{busy}MN\r\n"));
}

#[test]
fn binary_clients_are_told_by_status() {
    let rate = Some(Rate { per_second: 1, burst: 1 });
    let mut rig = limited(ClientLimits { rate, max_value: Some(3), ..ClientLimits::default() });
    let client = rig.open();
    let request = |opcode: u8, extras: &[u8], value: &[u8]| {
        let body = extras.len() + 1 + value.len();
        let mut head = vec![0x80, opcode, 0, 1, extras.len() as u8, 0, 0, 0, 0, 0, 0, body as u8];
        head.resize(24, 0);
        [&head, extras, b"k", value].concat()
    };
    rig.send(
        client,
        &[request(0x01, &[0; 8], b"long"), request(0x00, b"", b""), request(0x00, b"", b"")].concat(),
    );
    rig.run();
    let mut replies = &rig.take_bytes(client)[..];
    for status in [0x03, 0x01, 0x85] {
        let body = usize::from(u16::from_be_bytes([replies[10], replies[11]]));
        assert_eq!(u16::from_be_bytes([replies[6], replies[7]]), status);
        replies = &replies[24 + body..];
    }
    assert_eq!(replies, b"");
}

#[test]
fn a_value_that_is_too_large_is_refused_and_swallowed() {
    let mut rig = limited(ClientLimits { max_value: Some(70_000), ..ClientLimits::default() });
    let client = rig.open();
    for (len, reply) in
        [(70_000, "STORED\r\n"), (70_001, "SERVER_ERROR object too large for cache\r\n"), (10, "STORED\r\n")]
    {
        let set = format!("set a 0 0 {len}\r\n{}\r\nmn\r\n", "v".repeat(len));
        assert_eq!(rig.ask(client, set), format!("{reply}MN\r\n"));
    }
    assert_eq!(counter(&mut rig, "refused_too_large"), 1);
}

#[test]
fn items_live_no_longer_than_the_pool_allows() {
    let max_ttl = Some(MaxTtl { seconds: 60 });
    let mut rig = limited(ClientLimits { max_ttl, ..ClientLimits::default() });
    let client = rig.open();
    let dialogue = "set a 0 0 1\r\n1\r\nmg a t\r\nms b 1 T30\r\n1\r\nmg b t\r\ntouch b 0\r\nmg b t\r\n\
                    gat 90 a b\r\nset big 0 0 70000\r\n";
    let value = "v".repeat(70_000);
    rig.ask(client, format!("{dialogue}{value}\r\n"));
    assert_eq!(rig.ask(client, "mg a t\r\nmg b t\r\nmg big t\r\n"), "HD t60\r\nHD t60\r\nHD t60\r\n");
    assert_eq!(rig.ask(client, "ms c 1 q T9 I c f h k l s t u v\r\n1\r\nmn\r\n"), "MN\r\n");
    let full = "ms c 1 q I c f h k l s t u v F0 J0 D1 MS P L E\r\n1\r\nmn\r\n";
    assert!(rig.ask(client, full).ends_with("MN\r\n"));
}

#[test]
fn who_leaves_a_request_unfinished_is_cut_however_slowly_it_sends() {
    let mut rig = limited(ClientLimits { stall: Duration::from_secs(10), ..ClientLimits::default() });
    let (idle, begins, trickles, uploads) = (rig.open(), rig.open(), rig.open(), rig.open());
    rig.send(begins, b"get so");
    let mut large = format!("set a 0 0 {}\r\n", 100 * ENOUGH_BYTES);
    large.push_str(&"v".repeat(100));
    rig.send(uploads, large.as_bytes());
    for _ in 0..9 {
        rig.send(trickles, b"x");
        rig.send(uploads, &vec![b'v'; ENOUGH_BYTES]);
        rig.pass(Duration::from_secs(1));
    }
    assert_eq!(rig.closed, []);
    for _ in 0..3 {
        rig.send(trickles, b"x");
        rig.send(uploads, &vec![b'v'; ENOUGH_BYTES]);
        rig.pass(Duration::from_secs(1));
    }
    assert_eq!(rig.closed.len(), 2, "{:?}", rig.closed);
    assert!(rig.closed.contains(&begins) && rig.closed.contains(&trickles));
    for _ in 0..12 {
        rig.send(uploads, b"v");
        rig.pass(Duration::from_secs(1));
    }
    assert!(rig.closed.contains(&uploads), "a value that trickles holds a connection");
    assert_eq!(rig.ask(idle, "mn\r\n"), "MN\r\n", "an idle connection is no offence");
    assert_eq!(counter(&mut rig, "cut_stalled"), 3);
}
