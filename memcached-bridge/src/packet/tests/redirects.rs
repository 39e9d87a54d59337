use proptest::prelude::*;

use super::rig::*;
use crate::protocol::udp::Frame;

#[test]
fn a_get_goes_to_the_server_of_its_key_with_nothing_but_the_destination_mac_changed() {
    let mut rig = Rig::new(2, false);
    for server in 0..2 {
        let key = rig.key_of(server, 0);
        let frame = request(CLIENT, Frame::single(7), format!("get {key}\r\n").as_bytes());
        rig.arrive(CLIENTS, &frame);
        let sent = rig.sent_raw(server_port(server));
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0][..6], server_mac(server).0);
        assert_eq!(sent[0][6..], frame[6..]);
    }
    assert_eq!(rig.counter("redirected"), 2);
}

#[test]
fn every_command_form_reaches_the_server_of_its_key() {
    for command in [
        "get KEY\n",
        "gets  KEY \r\n",
        "mg KEY v\r\n",
        "delete KEY\r\n",
        "set KEY 0 0 1\r\nx\r\n",
        "touch KEY 9\r\n",
    ] {
        let mut rig = Rig::new(2, true);
        let key = rig.key_of(1, 3);
        rig.ask(1, &command.replace("KEY", &key));
        assert_eq!(rig.sent(server_port(1)).len(), 1, "{command:?}");
    }
}

#[test]
fn invalid_commands_get_memcacheds_own_error_and_go_nowhere() {
    let too_long = format!("get {}\r\n", "k".repeat(251));
    let cases = [
        ("bogus\r\n", "ERROR\r\n"),
        (too_long.as_str(), "CLIENT_ERROR bad command line format\r\n"),
        ("set a 0 0 1\r\nxyz\r\n", "CLIENT_ERROR bad data chunk\r\n"),
    ];
    for (command, error) in cases {
        let mut rig = Rig::new(1, true);
        rig.ask(5, command);
        assert_eq!(rig.got(), [(5, error.to_string())], "{command:?}");
        assert!(rig.sent(server_port(0)).is_empty(), "{command:?}");
    }
}

#[test]
fn a_write_behind_another_command_is_seen_or_nothing_is_forwarded() {
    let mut rig = Rig::new(1, true);
    rig.ask(1, "get a\r\nset b 0 0 1\r\ny\r\n");
    assert_eq!((rig.counter("writes"), rig.counter("redirected")), (1, 1));
    rig.ask(2, "get a\r\nset b 0 0 9\r\ny\r\n");
    assert_eq!((rig.counter("redirected"), rig.counter("drop_truncated_request")), (1, 1));
}

#[test]
fn strangers_get_nothing_forwarded() {
    let mut rig = Rig::new(1, true);
    for body in ["get a\r\n", "set a 0 0 1\r\nx\r\n", "bogus\r\n"] {
        let frame = request(STRANGER, Frame::single(1), body.as_bytes());
        rig.arrive(CLIENTS, &frame);
    }
    assert!(rig.sent(server_port(0)).is_empty() && rig.got().is_empty());
    assert_eq!(rig.counter("drop_client_not_allowed"), 3);
}

#[test]
fn arp_for_the_virtual_address_is_answered_and_other_arp_is_flooded() {
    let mut rig = Rig::new(1, false);
    let mut ask = |target: [u8; 4]| {
        let mut frame = vec![0xff; 6];
        frame.extend(CLIENT_MAC.0);
        frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        frame.extend(CLIENT_MAC.0);
        frame.extend(CLIENT.octets());
        frame.extend([0; 6]);
        frame.extend(target);
        rig.arrive(CLIENTS, &frame);
        (rig.sent_raw(CLIENTS), rig.sent_raw(server_port(0)))
    };
    let (answered, flooded) = ask(VIP.octets());
    assert_eq!((answered.len(), flooded.len()), (1, 0));
    assert_eq!(answered[0][22..28], NODE_MAC.0);
    let (answered, flooded) = ask([10, 0, 0, 9]);
    assert_eq!((answered.len(), flooded.len()), (0, 1));
}

#[test]
fn a_request_of_several_datagrams_goes_on_whole_once_it_is_whole() {
    let mut rig = Rig::new(2, true);
    let key = rig.key_of(1, 0);
    let body = format!("set {key} 0 0 9\r\nabcdefghi\r\n");
    let (first, second) = body.as_bytes().split_at(20);
    let frame = |sequence, part| request(CLIENT, Frame { request_id: 3, sequence, total: 2 }, part);
    rig.arrive(CLIENTS, &frame(1, second));
    assert!(rig.sent(server_port(1)).is_empty());
    rig.arrive(CLIENTS, &frame(0, first));
    assert_eq!(rig.sent(server_port(1)).len(), 2);
    assert_eq!(rig.counter("writes"), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn fragments_in_any_order_reach_the_server_of_their_key(order in Just((0..4).collect::<Vec<usize>>()).prop_shuffle()) {
        let mut rig = Rig::new(2, true);
        let key = rig.key_of(1, 0);
        let value = "v".repeat(4000);
        let body = format!("set {key} 0 0 4000\r\n{value}\r\n");
        let pieces = fragments(&request(CLIENT, Frame::single(3), body.as_bytes()), 1024);
        for (count, index) in order.iter().enumerate() {
            prop_assert_eq!(rig.sent_raw(server_port(1)).len(), 0, "after {} fragments", count);
            rig.arrive(CLIENTS, &pieces[*index]);
        }
        let sent = rig.sent_raw(server_port(1));
        prop_assert_eq!(sent.len(), pieces.len());
        for (sent, piece) in sent.iter().zip(&pieces) {
            prop_assert_eq!(&sent[6..], &piece[6..]);
        }
        prop_assert_eq!(rig.counter("writes"), 1);
    }

    /// Whatever comes to the virtual address, nothing panics, and every packet goes back to the pool.
    #[test]
    fn any_bytes_are_survived(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 1..20)) {
        let mut rig = Rig::new(2, true);
        for (id, body) in bodies.iter().enumerate() {
            let frame = request(CLIENT, Frame { request_id: id as u16, sequence: 0, total: 1 + (id as u16 & 1) }, body);
            rig.arrive(CLIENTS, &frame);
        }
        rig.pass(std::time::Duration::from_secs(2));
        for port in 0..3 {
            rig.sent_raw(fabric::io::PortId(port));
        }
        prop_assert_eq!(rig.worker.io().pool().in_use(), 0);
    }
}
