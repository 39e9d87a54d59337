use std::time::Duration;

use super::rig::*;
use crate::protocol::udp::Frame;

#[test]
fn a_hot_key_is_answered_in_place() {
    let mut rig = Rig::new(2, true);
    rig.heat("k", "hello", 12, -1);
    rig.sent(CLIENTS);
    rig.ask(42, "get k\r\n");
    let sent = rig.sent(CLIENTS);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].text(), "VALUE k 5 5\r\nhello\r\nEND\r\n");
    assert_eq!(sent[0].frame, Frame::single(42));
    assert_eq!((sent[0].dst_mac, sent[0].src_mac), (CLIENT_MAC, NODE_MAC));
    assert_eq!((sent[0].udp.src, sent[0].udp.src_port), (VIP.into(), SERVICE));
    rig.ask(43, "gets k\r\n");
    assert_eq!(rig.got(), [(43, "VALUE k 5 5 12\r\nhello\r\nEND\r\n".into())]);
    assert_eq!(rig.counter("hits"), 2);
}

#[test]
fn a_hit_ends_with_its_lease_and_with_its_ttl() {
    for (ttl, valid) in [(-1, Duration::from_millis(900)), (2, Duration::from_millis(900))] {
        let mut rig = Rig::new(1, true);
        rig.heat("k", "v", 1, ttl);
        rig.pass(valid);
        rig.ask(1, "get k\r\n");
        assert_eq!(rig.got().len(), 1, "ttl {ttl}");
        rig.pass(LEASE);
        rig.ask(2, "get k\r\n");
        assert!(rig.got().is_empty(), "ttl {ttl}");
    }
}

#[test]
fn a_value_about_to_expire_is_not_cached() {
    let mut rig = Rig::new(1, true);
    rig.heat("k", "v", 1, 1);
    rig.ask(1, "get k\r\n");
    assert!(rig.got().is_empty());
    assert_eq!(rig.counter("fills_unfit"), 1);
}

#[test]
fn a_key_that_stays_hot_is_asked_for_again_before_its_lease_ends() {
    let mut rig = Rig::new(1, true);
    rig.heat("k", "old", 1, -1);
    rig.pass(Duration::from_millis(600));
    rig.ask(1, "get k\r\n");
    let fill = rig.take_fill(0).expect("a refresh");
    rig.ask(2, "get k\r\n");
    assert!(rig.take_fill(0).is_none(), "one refresh at a time");
    rig.reply(0, &fill, "VA 3 f0 c2 t-1 kk\r\nnew\r\n");
    rig.pass(Duration::from_millis(600));
    rig.sent(CLIENTS);
    rig.ask(3, "get k\r\n");
    assert_eq!(rig.got(), [(3, "VALUE k 0 3\r\nnew\r\nEND\r\n".into())]);
}

#[test]
fn strangers_are_answered_only_within_the_amplification_limit() {
    let mut rig = Rig::new(1, true);
    rig.heat("small", "v", 1, -1);
    rig.heat("large", &"v".repeat(900), 1, -1);
    rig.sent(CLIENTS);
    for (key, answers) in [("small", 1), ("large", 0)] {
        rig.arrive(CLIENTS, &request(STRANGER, Frame::single(1), format!("get {key}\r\n").as_bytes()));
        assert_eq!(rig.sent(CLIENTS).len(), answers, "{key}");
    }
}

#[test]
fn a_value_larger_than_a_packet_is_asked_for_once_a_lease() {
    let mut rig = Rig::new(1, true);
    let ask = |rig: &mut Rig| {
        rig.ask(1, "get k\r\n");
        rig.take_fill(0)
    };
    ask(&mut rig);
    let fill = ask(&mut rig).expect("hot");
    let frame = Frame { total: 2, ..Frame::single(fill.frame.request_id) };
    rig.reply_frame(0, &fill, frame, b"VA 2000 f0 c1 t-1\r\nvvvv");
    assert!(ask(&mut rig).is_none());
    rig.pass(LEASE);
    assert!((0..3).any(|_| ask(&mut rig).is_some()));
}

#[test]
fn a_forged_fill_is_dropped() {
    let mut rig = Rig::new(1, true);
    rig.ask(1, "get k\r\n");
    rig.ask(1, "get k\r\n");
    let mut fill = rig.take_fill(0).expect("hot");
    // Another generation of the same slot.
    fill.frame.request_id ^= 1 << 15;
    rig.reply(0, &fill, "VA 3 f0 c1 t-1 kk\r\nbad\r\n");
    assert_eq!(rig.counter("drop_reply_unexpected"), 1);
    assert_eq!(rig.counter("fills_installed"), 0);
}

#[test]
fn a_request_that_poses_as_the_node_goes_nowhere() {
    let mut rig = Rig::new(1, true);
    for (ip, port) in [(NODE, UPSTREAM), (VIP, 7)] {
        for body in ["get k\r\n", "mg other v f c t k\r\n"] {
            rig.arrive(CLIENTS, &request_from(ip, port, Frame::single(0), body.as_bytes()));
        }
    }
    assert!(rig.sent(server_port(0)).is_empty());
    assert_eq!(rig.counter("drop_forged_request"), 4);
}

#[test]
fn a_reply_about_another_key_is_not_installed() {
    let mut rig = Rig::new(1, true);
    rig.ask(1, "get k\r\n");
    rig.ask(1, "get k\r\n");
    let fill = rig.take_fill(0).expect("hot");
    rig.reply(0, &fill, "VA 3 f0 c1 t-1 kother\r\nbad\r\n");
    assert_eq!((rig.counter("drop_reply_unexpected"), rig.counter("fills_installed")), (1, 0));
}

#[test]
fn icmp_from_a_server_leaves_the_cache_open() {
    let mut rig = Rig::new(1, true);
    rig.heat("k", "v", 1, -1);
    rig.sent(CLIENTS);
    // Port unreachable, from the virtual address to the node.
    let mut frame = [NODE_MAC.0, server_mac(0).0].concat();
    frame.extend([
        8, 0, 0x45, 0, 0, 28, 0, 1, 0, 0, 64, 1, 0, 0, 10, 0, 0, 100, 10, 0, 0, 254, 3, 3, 0xfc, 0xfc, 0, 0,
        0, 0,
    ]);
    rig.arrive(server_port(0), &frame);
    rig.ask(1, "get k\r\n");
    assert_eq!(rig.got().len(), 1);
}

#[test]
fn a_fill_gives_the_right_to_make_a_stale_item_anew_back() {
    let mut rig = Rig::new(1, true);
    for (win, back) in [(" X W", Some("md k I C7\r\n")), (" Z X", None)] {
        rig.ask(1, "get k\r\n");
        rig.ask(2, "get k\r\n");
        let fill = rig.take_fill(0).expect("a fill");
        rig.sent(server_port(0));
        rig.reply(0, &fill, &format!("VA 1 f0 c7 t-1 kk{win}\r\nv\r\n"));
        let sent = rig.sent(server_port(0));
        assert_eq!(sent.first().map(|sent| sent.text()), back, "{win}");
        if let Some(sent) = sent.first() {
            rig.reply(0, sent, "HD\r\n");
        }
        rig.sent(CLIENTS);
        rig.ask(3, "get k\r\n");
        assert!(rig.got().is_empty(), "a stale item is not answered from the cache");
        rig.pass(2 * LEASE);
    }
    assert_eq!((rig.counter("tokens_given_back"), rig.counter("drop_reply_unexpected")), (1, 0));
}
