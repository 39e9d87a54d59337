//! The switch as its ports see it: frames in, frames out.

mod rig;

use std::sync::Arc;
use std::time::Duration;

use fabric::io::{PacketBuf, PortId};
use fabric::packet::MacAddr;
use fabric::stations::StationsConfig;
use fabric::worker::Mailboxes;
use proptest::prelude::*;
use rig::{A, B, C, Rig, frame, tagged};

#[test]
fn an_unknown_station_is_flooded_and_a_known_one_is_not() {
    let mut rig = Rig::new(4);
    let ab = frame(A, B, b"from a to b");
    assert_eq!(rig.pass(0, &ab), [(1, ab.clone()), (2, ab.clone()), (3, ab)]);
    let ba = frame(B, A, b"from b to a");
    assert_eq!(rig.pass(2, &ba), [(0, ba)]);
    let ab = frame(A, B, b"again");
    assert_eq!(rig.pass(0, &ab), [(2, ab)]);
    let counters = rig.worker.counters();
    assert_eq!((counters.flooded, counters.switched, counters.stations_learned), (1, 2, 2));
    assert_eq!((counters.received, counters.transmitted), (3, 5));
}

#[test]
fn groups_are_flooded() {
    let mut rig = Rig::new(3);
    for group in [MacAddr::BROADCAST, MacAddr([0x33, 0x33, 0, 0, 0, 1])] {
        let to_all = frame(A, group, b"all");
        assert_eq!(rig.pass(1, &to_all), [(0, to_all.clone()), (2, to_all)]);
    }
    assert_eq!(rig.worker.counters().flooded, 2);
}

#[test]
fn bridge_protocols_are_not_forwarded() {
    let mut rig = Rig::new(2);
    for last in 0..16 {
        assert_eq!(rig.pass(0, &frame(A, MacAddr([1, 0x80, 0xc2, 0, 0, last]), b"bpdu")), []);
    }
    assert_eq!(rig.worker.counters().link_local_group, 16);
    assert_eq!(rig.pass(0, &frame(A, MacAddr([1, 0x80, 0xc2, 0, 0, 16]), b"other")).len(), 1);
}

#[test]
fn a_frame_does_not_go_back() {
    let mut rig = Rig::new(2);
    rig.pass(0, &frame(A, B, b""));
    assert_eq!(rig.pass(0, &frame(B, A, b"")), []);
    assert_eq!(rig.worker.counters().same_port, 1);
}

#[test]
fn a_switch_of_one_port_has_nowhere_to_flood_to() {
    let mut rig = Rig::new(1);
    assert_eq!(rig.pass(0, &frame(A, B, b"")), []);
    assert_eq!(rig.worker.counters().no_other_port, 1);
}

#[test]
fn a_station_that_moved_is_found_at_its_new_port() {
    let mut rig = Rig::new(3);
    rig.pass(0, &frame(A, B, b""));
    assert_eq!(rig.pass(1, &frame(B, A, b"1"))[0].0, 0);
    rig.pass(2, &frame(A, B, b""));
    assert_eq!(rig.pass(1, &frame(B, A, b"2"))[0].0, 2);
    rig.pass(0, &frame(A, B, b""));
    assert_eq!(rig.pass(1, &frame(B, A, b"3"))[0].0, 0);
    assert_eq!(rig.worker.counters().stations_moved, 2);
}

#[test]
fn a_silent_station_is_forgotten() {
    let mut rig = Rig::new(3);
    rig.pass(0, &frame(A, B, b""));
    rig.wait(Duration::from_secs(300));
    assert_eq!(rig.pass(1, &frame(B, A, b"")).len(), 1);
    rig.wait(Duration::from_secs(1));
    assert_eq!(rig.pass(1, &frame(B, A, b"")).len(), 2);
}

#[test]
fn a_station_that_talks_is_not_forgotten() {
    let mut rig = Rig::new(3);
    for _ in 0..10 {
        rig.pass(0, &frame(A, B, b""));
        rig.wait(Duration::from_secs(100));
    }
    assert_eq!(rig.pass(1, &frame(B, A, b"")).len(), 1);
}

#[test]
fn more_stations_than_fit_are_flooded_not_lost() {
    let mut rig = Rig::with_stations(3, StationsConfig { capacity: 16, ..StationsConfig::default() });
    let station = |number: u8| MacAddr([2, 0, 0, 0, 1, number]);
    for number in 0..100 {
        rig.pass(0, &frame(station(number), B, b""));
    }
    let copies: Vec<_> = (0..100).map(|number| rig.pass(1, &frame(B, station(number), b"")).len()).collect();
    assert!(copies.iter().all(|copies| *copies == 1 || *copies == 2));
    assert!(copies.iter().filter(|copies| **copies == 1).count() <= 16);
    let counters = rig.worker.counters();
    assert!(counters.stations_evicted >= 100 - 16, "{counters:?}");
}

#[test]
fn vlans_are_apart() {
    let mut rig = Rig::new(3);
    rig.pass(0, &tagged(5, A, B, b""));
    rig.pass(1, &tagged(6, A, B, b""));
    assert_eq!(rig.pass(2, &tagged(5, B, A, b""))[0].0, 0);
    assert_eq!(rig.pass(2, &tagged(6, B, A, b""))[0].0, 1);
    assert_eq!(rig.pass(2, &tagged(7, B, A, b"")).len(), 2, "unknown there");
    assert_eq!(rig.pass(2, &frame(B, A, b"")).len(), 2, "unknown there too");
    let priority_only = tagged(0, A, C, b"");
    rig.pass(1, &priority_only);
    assert_eq!(rig.pass(2, &frame(C, A, b""))[0].0, 1, "a priority tag is no VLAN");
}

#[test]
fn a_pinned_station_cannot_be_taken() {
    let mut rig = Rig::new(3);
    rig.stations.pin(0, A, PortId(0)).unwrap();
    assert_eq!(rig.pass(1, &frame(A, B, b"spoofed")), []);
    assert_eq!(rig.worker.counters().spoofed_station, 1);
    assert_eq!(rig.pass(1, &frame(B, A, b""))[0].0, 0);
    assert_eq!(rig.pass(0, &frame(A, B, b"")).len(), 1);
}

#[test]
fn frames_for_the_node_itself_go_nowhere() {
    let mut rig = Rig::new(3);
    rig.stations.pin(0, A, PortId::NONE).unwrap();
    assert_eq!(rig.pass(1, &frame(B, A, b"")), []);
    assert_eq!(rig.worker.counters().unclaimed, 1);
}

#[test]
fn runts_are_dropped() {
    let mut rig = Rig::new(2);
    for len in 0..14 {
        assert_eq!(rig.pass(0, &frame(A, B, b"")[..len]), []);
    }
    assert_eq!(rig.worker.counters().runt, 14);
    assert_eq!(rig.pass(0, &frame(A, B, b"")[..14]).len(), 1);
}

#[test]
fn jumbo_frames_pass_byte_for_byte() {
    let mut rig = Rig::new(3);
    let body: Vec<u8> = (0..9000_u32).map(|n| (n * 7) as u8).collect();
    let jumbo = frame(A, B, &body);
    assert_eq!(rig.pass(0, &jumbo), [(1, jumbo.clone()), (2, jumbo)]);
}

#[test]
fn many_frames_leave_in_the_order_they_came() {
    let mut rig = Rig::new(2);
    let frames: Vec<_> = (0..1000_u32).map(|number| frame(A, B, &number.to_be_bytes())).collect();
    for frame in &frames {
        rig.worker.io().arrive(PortId(0), frame);
    }
    for _ in 0..16 {
        rig.step();
    }
    let sent: Vec<_> = rig.sent().into_iter().map(|(_, frame)| frame).collect();
    assert_eq!(sent, frames);
}

#[test]
fn a_full_port_refuses_and_is_counted() {
    let mut rig = Rig::new(2);
    rig.worker.io().limit_sent(PortId(1), 10);
    for _ in 0..64 {
        rig.worker.io().arrive(PortId(0), &frame(A, B, b""));
    }
    let work = rig.step();
    assert_eq!((work.received, work.transmitted), (64, 10));
    assert_eq!(rig.worker.counters().port_refused, 54);
    assert_eq!(rig.sent().len(), 10);
    rig.check_pool();
}

#[test]
fn an_empty_pool_floods_to_one_port_at_least() {
    let mut rig = Rig::with_pool(4, 1);
    let ab = frame(A, B, b"");
    assert_eq!(rig.pass(0, &ab), [(3, ab)]);
    assert_eq!(rig.worker.counters().flood_no_packet, 2);
}

#[test]
fn workers_share_their_stations() {
    let mut one = Rig::new(3);
    let mut other = Rig::beside(&one, Mailboxes::new(2, 8), 1);
    one.pass(0, &frame(A, B, b""));
    assert_eq!(other.pass(1, &frame(B, A, b""))[0].0, 0);
    assert_eq!(one.pass(2, &frame(C, B, b""))[0].0, 1);
    other.pass(2, &frame(A, B, b""));
    assert_eq!(one.pass(1, &frame(B, A, b""))[0].0, 2, "moved, as the other worker saw");
    assert!(Arc::ptr_eq(&one.stations, &other.stations));
}

/// Frames as they come, and as they should not: any bytes, any length, addresses that meet.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let mac = || (0_u8..4, 0_u8..4).prop_map(|(kind, last)| [kind, 0x80, 0xc2, 0, 0, last * 8]);
    let ethertype =
        prop::sample::select(vec![[0x08, 0x00], [0x81, 0x00], [0x88, 0xa8], [0x86, 0xdd], [0x08, 0x06]]);
    let body = prop::collection::vec(any::<u8>(), 0..100);
    let likely = (mac(), mac(), ethertype, body)
        .prop_map(|(dst, src, ethertype, body)| [&dst[..], &src[..], &ethertype[..], &body[..]].concat());
    prop_oneof![3 => likely, 1 => prop::collection::vec(any::<u8>(), 0..200)]
}

proptest! {
    #[test]
    fn what_no_function_claims_passes_unharmed(
        frames in prop::collection::vec((0_u16..4, any_frame()), 1..60),
        functions in 0_usize..3,
    ) {
        let mut rig = Rig::with_functions(4, (0..functions).map(|_| rig::claims_nothing()).collect());
        for (port, frame) in frames {
            let before = rig.worker.counters().clone();
            let sent = rig.pass(port, &frame);
            prop_assert!(sent.iter().all(|(out, copy)| *copy == frame && *out != port));
            let after = rig.worker.counters();
            let dropped = rig::dropped(after) - rig::dropped(&before);
            prop_assert_eq!(dropped, u64::from(sent.is_empty()), "sent {} times, {:?}", sent.len(), after);
            prop_assert_eq!(after.runt - before.runt, u64::from(frame.len() < 14));
            rig.check_pool();
        }
    }
}

#[test]
fn a_packet_knows_where_it_came_in() {
    let mut rig = Rig::new(2);
    rig.worker.io().arrive(PortId(1), &frame(A, B, b""));
    rig.step();
    let packet = rig.worker.io().take_sent(PortId(0)).unwrap();
    assert_eq!(packet.ingress(), PortId(1));
}
