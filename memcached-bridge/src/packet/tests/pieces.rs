//! Requests and replies that are no plain UDP packets: in fragments, with IP options, oddly tagged.

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
