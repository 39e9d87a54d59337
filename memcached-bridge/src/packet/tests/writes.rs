use std::time::Duration;

use super::rig::*;

/// Every write-class command of every form, for key `k`, and the reply that acknowledges it.
const WRITES: [(&str, &str); 17] = [
    ("set k 0 0 1\r\nn\r\n", "STORED\r\n"),
    ("add k 0 0 1\r\nn\r\n", "NOT_STORED\r\n"),
    ("replace k 0 0 1\r\nn\r\n", "STORED\r\n"),
    ("append k 0 0 1\r\nn\r\n", "STORED\r\n"),
    ("prepend k 0 0 1\r\nn\r\n", "STORED\r\n"),
    ("cas k 0 0 1 7\r\nn\r\n", "EXISTS\r\n"),
    ("incr k 1\r\n", "2\r\n"),
    ("decr k 1\r\n", "0\r\n"),
    ("touch k 9\r\n", "TOUCHED\r\n"),
    ("gat 9 k\r\n", "VALUE k 0 1\r\nn\r\nEND\r\n"),
    ("delete k\r\n", "DELETED\r\n"),
    ("ms k 1\r\nn\r\n", "HD\r\n"),
    ("md k\r\n", "HD\r\n"),
    ("ma k\r\n", "HD\r\n"),
    ("mg k N30 v\r\n", "VA 1\r\nn\r\n"),
    ("mg k T30\r\n", "HD\r\n"),
    ("ms aw== 1 b\r\nn\r\n", "HD\r\n"),
];

#[test]
fn every_write_voids_what_is_cached_before_it_reaches_its_server_and_again_before_its_reply_goes_on() {
    for (command, acknowledgement) in WRITES {
        let mut rig = Rig::new(1, true);
        rig.heat("k", "old", 1, -1);
        rig.sent(CLIENTS);
        rig.ask(1, command);
        let write = rig.sent(server_port(0)).pop().expect(command);
        rig.ask(2, "get k\r\n");
        assert!(rig.got().is_empty(), "{command:?}: a hit while the write was under way");
        assert!(rig.take_fill(0).is_none(), "{command:?}: a fill while the write was under way");
        rig.reply(0, &write, acknowledgement);
        assert_eq!(rig.got(), [(1, acknowledgement.to_string())], "{command:?}");
        rig.ask(3, "get k\r\n");
        assert!(rig.got().is_empty(), "{command:?}: a hit after the write");
        assert_eq!((rig.counter("writes"), rig.counter("writes_acknowledged")), (1, 1), "{command:?}");
        assert!(rig.take_fill(0).is_some(), "{command:?}: cacheable again");
    }
}

#[test]
fn binary_writes_count_too() {
    let mut rig = Rig::new(1, true);
    rig.heat("k", "old", 1, -1);
    rig.sent(CLIENTS);
    let mut body = vec![0x80, 1, 0, 1, 8, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 1];
    body.extend([0; 16]);
    body.extend(b"kn");
    let frame = request(CLIENT, crate::protocol::udp::Frame::single(1), &body);
    rig.arrive(CLIENTS, &frame);
    assert_eq!(rig.counter("writes"), 1);
    rig.ask(2, "get k\r\n");
    assert!(rig.got().is_empty());
}

#[test]
fn a_fill_that_a_write_overtakes_is_not_installed() {
    let mut rig = Rig::new(1, true);
    rig.ask(1, "get k\r\n");
    rig.ask(1, "get k\r\n");
    let fill = rig.take_fill(0).expect("hot");
    rig.ask(2, "set k 0 0 3\r\nnew\r\n");
    let write = rig.sent(server_port(0)).pop().expect("the write");
    rig.reply(0, &write, "STORED\r\n");
    rig.reply(0, &fill, "VA 3 f0 c1 t-1 kk\r\nold\r\n");
    assert_eq!(rig.counter("fills_overtaken"), 1);
    rig.sent(CLIENTS);
    rig.ask(3, "get k\r\n");
    assert!(rig.got().is_empty());
}

#[test]
fn a_write_whose_reply_is_lost_keeps_its_key_uncacheable_for_a_lease_and_a_late_reply_voids_again() {
    let mut rig = Rig::new(1, true);
    rig.ask(1, "set k 0 0 3\r\nnew\r\n");
    let write = rig.sent(server_port(0)).pop().expect("the write");
    rig.ask(2, "get k\r\n");
    rig.ask(2, "get k\r\n");
    assert!(rig.take_fill(0).is_none());
    rig.pass(LEASE + Duration::from_millis(200));
    rig.heat("k", "old", 1, -1);
    rig.reply(0, &write, "STORED\r\n");
    rig.sent(CLIENTS);
    rig.ask(3, "get k\r\n");
    assert!(rig.got().is_empty(), "the late write was acknowledged, and the cache held an older value");
}

#[test]
fn noreply_writes_keep_their_key_uncacheable_for_a_lease() {
    let mut rig = Rig::new(1, true);
    rig.ask(1, "set k 0 0 3 noreply\r\nnew\r\n");
    rig.ask(2, "get k\r\n");
    rig.ask(2, "get k\r\n");
    assert!(rig.take_fill(0).is_none());
    rig.pass(LEASE + Duration::from_millis(200));
    rig.heat("k", "new", 1, -1);
}

#[test]
fn flush_all_reaches_every_server_and_voids_every_key() {
    let mut rig = Rig::new(2, true);
    rig.heat("k", "old", 1, -1);
    rig.sent(CLIENTS);
    rig.ask(1, "flush_all\r\n");
    let asked: Vec<_> = (0..2).map(|server| rig.sent(server_port(server)).pop().expect("a part")).collect();
    rig.ask(2, "get k\r\n");
    assert!(rig.got().is_empty());
    rig.reply(0, &asked[0], "OK\r\n");
    assert!(rig.got().is_empty(), "one server has not answered");
    rig.reply(1, &asked[1], "OK\r\n");
    assert_eq!(rig.got(), [(1, "OK\r\n".to_string())]);
    rig.ask(3, "get k\r\n");
    assert!(rig.got().is_empty());
}

#[test]
fn around_a_delayed_flush_nothing_is_answered_from_the_cache() {
    let mut rig = Rig::new(1, true);
    rig.ask(1, "flush_all 10\r\n");
    let part = rig.sent(server_port(0)).pop().expect("the part");
    rig.reply(0, &part, "OK\r\n");
    rig.heat("k", "old", 1, -1);
    rig.sent(CLIENTS);
    rig.ask(2, "get k\r\n");
    assert_eq!(rig.got().len(), 1, "the flush is far away");
    rig.pass(Duration::from_millis(9_500));
    for _ in 0..4 {
        rig.ask(3, "get k\r\n");
    }
    assert!(rig.take_fill(0).is_none() && rig.got().is_empty());
}

#[test]
fn traffic_straight_to_a_server_voids_the_cache() {
    let mut rig = Rig::new(1, true);
    rig.heat("k", "old", 1, -1);
    rig.sent(CLIENTS);
    // A TCP segment to the server's own address, port 11211, with a payload.
    let mut frame = Vec::new();
    frame.extend(server_mac(0).0);
    frame.extend(CLIENT_MAC.0);
    frame.extend([8, 0, 0x45, 0, 0, 43, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 11]);
    frame.extend([0x9c, 0x40, 0x2b, 0xcb, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 1, 0, 0, 0, 0, 0]);
    frame.extend(b"set");
    write_header_checksum(&mut frame);
    rig.arrive(CLIENTS, &frame);
    assert_eq!(rig.sent_raw(server_port(0)), [frame], "switched unharmed");
    assert_eq!(rig.counter("direct_frames"), 1);
    rig.ask(1, "get k\r\n");
    assert!(rig.got().is_empty());
}
