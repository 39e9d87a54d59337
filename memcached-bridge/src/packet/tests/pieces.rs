//! Requests and replies that are no plain UDP packets: in fragments, with IP options, oddly tagged.

use fabric::packet::MacAddr;
use fabric::packet::udp4::Udp4Spec;
use proptest::prelude::*;

use super::rig::*;
use crate::protocol::udp::Frame;

const SET: &str = "set k 0 0 30\r\nabcdefghijklmnopqrstuvwxyz0123\r\n";

fn set_in_fragments() -> Vec<Vec<u8>> {
    fragments(&request(CLIENT, Frame::single(3), SET.as_bytes()), 24)
}

#[test]
fn a_request_in_fragments_whose_checksum_is_wrong_is_dropped() {
    let mut rig = Rig::new(1, true);
    let mut pieces = set_in_fragments();
    *pieces[1].last_mut().unwrap() ^= 1;
    for piece in &pieces {
        rig.arrive(CLIENTS, piece);
    }
    assert!(rig.sent_raw(server_port(0)).is_empty());
    assert_eq!(rig.counter("drop_fragment_bad_checksum"), pieces.len() as u64);
    assert_eq!((rig.counter("writes"), rig.worker.io().pool().in_use()), (0, 0));
}

#[test]
fn a_request_in_fragments_without_a_checksum_goes_on() {
    let mut rig = Rig::new(1, true);
    let mut pieces = set_in_fragments();
    pieces[0][40..42].fill(0);
    for piece in &pieces {
        rig.arrive(CLIENTS, piece);
    }
    assert_eq!((rig.sent_raw(server_port(0)).len(), rig.counter("writes")), (pieces.len(), 1));
}

#[test]
fn a_piece_whose_header_checksum_is_wrong_is_dropped_as_its_server_would() {
    let mut rig = Rig::new(1, true);
    let options = with_options(&request(CLIENT, Frame::single(3), SET.as_bytes()));
    for (count, mut piece) in (1..).zip([set_in_fragments().swap_remove(0), options]) {
        piece[24] ^= 1;
        rig.arrive(CLIENTS, &piece);
        assert_eq!(rig.counter("drop_bad_checksum"), count);
    }
    assert!(rig.sent_raw(server_port(0)).is_empty());
    assert_eq!((rig.counter("writes"), rig.worker.io().pool().in_use()), (0, 0));
}

#[test]
fn a_request_with_ip_options_goes_on() {
    let mut rig = Rig::new(1, true);
    let frame = with_options(&request(CLIENT, Frame::single(3), SET.as_bytes()));
    rig.arrive(CLIENTS, &frame);
    assert_eq!((rig.sent_raw(server_port(0)).len(), rig.counter("writes")), (1, 1));
}

/// An untagged frame with four bytes of IP options, which say nothing.
fn with_options(frame: &[u8]) -> Vec<u8> {
    let mut frame = [&frame[..34], &[1; 4], &frame[34..]].concat();
    let total_len = (frame.len() - 14) as u16;
    frame[14] += 1;
    frame[16..18].copy_from_slice(&total_len.to_be_bytes());
    write_header_checksum(&mut frame);
    frame
}

/// A station behind the first server's port that is no server.
const IMPOSTOR: MacAddr = MacAddr([2, 0, 0, 0, 9, 9]);

/// A reply to the client from the virtual address, sent by the station `src_mac`.
fn reply_from(src_mac: MacAddr, src_port: u16) -> Vec<u8> {
    let spec = Udp4Spec {
        dst_mac: CLIENT_MAC,
        src_mac,
        vlan: 0,
        src: VIP.into(),
        dst: CLIENT.into(),
        src_port,
        dst_port: CLIENT_PORT,
        ttl: 64,
        id: 0,
    };
    datagram(&spec, Frame::single(3), b"VALUE k 0 16\r\n0123456789abcdef\r\nEND\r\n")
}

/// All forms of a reply that are no plain UDP packets.
fn odd_forms(reply: &[u8]) -> Vec<Vec<u8>> {
    let mut trailed = [reply, &[0; 4]].concat();
    let total_len = (trailed.len() - 14) as u16;
    trailed[16..18].copy_from_slice(&total_len.to_be_bytes());
    write_header_checksum(&mut trailed);
    let priority_tags = [0x81, 0, 0x20, 0, 0x81, 0, 0, 0];
    let tagged = [&reply[..12], &priority_tags, &reply[12..]].concat();
    let mut forms = fragments(reply, 24);
    forms.extend([with_options(reply), trailed, tagged]);
    forms
}

#[test]
fn replies_of_others_than_servers_are_dropped_in_every_form() {
    let mut rig = Rig::new(1, true);
    for (count, frame) in (1..).zip(odd_forms(&reply_from(IMPOSTOR, SERVICE))) {
        rig.arrive(server_port(0), &frame);
        assert!(rig.sent_raw(CLIENTS).is_empty(), "{frame:x?}");
        assert_eq!(rig.counter("drop_forged_reply"), count, "{frame:x?}");
    }
    assert_eq!(rig.worker.io().pool().in_use(), 0);
}

#[test]
fn replies_of_servers_pass_in_every_form() {
    let mut rig = Rig::new(1, true);
    for frame in odd_forms(&reply_from(server_mac(0), SERVICE)) {
        rig.arrive(server_port(0), &frame);
        assert_eq!(rig.sent_raw(CLIENTS), [frame]);
    }
    assert_eq!(rig.counter("drop_forged_reply"), 0);
}

#[test]
fn what_comes_from_the_virtual_address_by_another_port_passes() {
    let mut rig = Rig::new(1, true);
    let frame = with_options(&reply_from(IMPOSTOR, 53));
    rig.arrive(server_port(0), &frame);
    assert_eq!(rig.sent_raw(CLIENTS), [frame]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever becomes of the bytes of such packets, nothing panics, and every packet goes back to the pool.
    #[test]
    fn odd_packets_with_any_bytes_changed_are_survived(
        edits in prop::collection::vec((0_usize..100, any::<u8>()), 0..8),
        keep in 0_usize..120,
    ) {
        let mut rig = Rig::new(1, true);
        let mut frames = odd_forms(&request(CLIENT, Frame::single(3), SET.as_bytes()));
        frames.extend(odd_forms(&reply_from(IMPOSTOR, SERVICE)));
        for mut frame in frames {
            for (at, value) in &edits {
                let len = frame.len();
                frame[at % len] = *value;
            }
            frame.truncate(keep.max(14));
            rig.arrive(server_port(0), &frame);
        }
        rig.pass(std::time::Duration::from_secs(2));
        for port in 0..2 {
            rig.sent_raw(fabric::io::PortId(port));
        }
        prop_assert_eq!(rig.worker.io().pool().in_use(), 0);
    }
}
