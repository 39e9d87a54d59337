//! Clients that have to authenticate themselves.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::rig::{Rig, pool};
use crate::session::credentials::Credentials;

fn guarded() -> Rig {
    let mut pool = pool(2, false);
    pool.credentials = Some(Arc::new(Credentials::parse(b"alice:wonderland\n").unwrap()));
    Rig::with(pool)
}

fn request(opcode: u8, key: &[u8], value: &[u8]) -> Vec<u8> {
    let body = (key.len() + value.len()) as u32;
    let mut head = vec![0x80, opcode, 0, key.len() as u8, 0, 0, 0, 0];
    head.extend_from_slice(&body.to_be_bytes());
    head.resize(24, 0);
    [&head, key, value].concat()
}

/// The statuses of the replies to `requests`.
fn ask(rig: &mut Rig, client: crate::proxy::ClientId, requests: &[Vec<u8>]) -> Vec<u16> {
    rig.send(client, &requests.concat());
    rig.run();
    let bytes = rig.take_bytes(client);
    let mut rest = &bytes[..];
    let mut statuses = Vec::new();
    while !rest.is_empty() {
        statuses.push(u16::from_be_bytes([rest[6], rest[7]]));
        rest = &rest[24 + usize::from(u16::from_be_bytes([rest[10], rest[11]]))..];
    }
    statuses
}

#[test]
fn strangers_get_the_version_and_are_closed_for_anything_else() {
    for step in [1, usize::MAX] {
        let mut rig = guarded();
        rig.step = step;
        let client = rig.open();
        assert_eq!(ask(&mut rig, client, &[request(0x0b, b"", b"")]), [0]);
        assert_eq!(ask(&mut rig, client, &[request(0x00, b"k", b""), request(0x00, b"k", b"")]), [0x20]);
        assert_eq!((rig.closed.clone(), rig.connected.clone()), (vec![client], vec![0, 0]));
        let text = rig.open();
        rig.send(text, b"get a\r\n");
        rig.run();
        assert_eq!(rig.take(text), "");
        assert_eq!(rig.closed, [client, text]);
    }
}

#[test]
fn who_authenticates_is_served() {
    for step in [1, usize::MAX] {
        let mut rig = guarded();
        rig.step = step;
        let client = rig.open();
        let (list, wrong) = (request(0x20, b"", b""), request(0x21, b"PLAIN", b"\0alice\0nope"));
        assert_eq!(ask(&mut rig, client, &[list, wrong]), [0, 0x20]);
        let right = request(0x21, b"PLAIN", b"\0alice\0wonderland");
        let get = request(0x00, b"k", b"");
        assert_eq!(ask(&mut rig, client, &[right, get.clone(), get]), [0, 1, 1]);
        let pool = rig.shared.pool();
        let credentials = pool.credentials.as_ref().unwrap();
        let counts =
            [&credentials.auth_cmds, &credentials.auth_errors].map(|count| count.load(Ordering::Relaxed));
        assert_eq!(counts, [2, 1]);
    }
}

#[test]
fn a_long_message_is_refused_and_swallowed() {
    let mut rig = guarded();
    let client = rig.open();
    let long = request(0x21, b"PLAIN", &[b'x'; 70_000]);
    assert_eq!(ask(&mut rig, client, &[long, request(0x0b, b"", b"")]), [0x82, 0]);
    assert_eq!(rig.closed, []);
}

#[test]
fn without_a_password_file_there_is_nothing_to_authenticate_against() {
    let mut rig = Rig::new(1);
    let client = rig.open();
    assert_eq!(ask(&mut rig, client, &[request(0x20, b"", b"")]), [0x81]);
}

/// A step of a stranger: everything but the right password.
fn of_a_stranger() -> impl Strategy<Value = Vec<u8>> {
    let field = || "(alice|wonderland|bob|)\0?";
    let message = (field(), field(), field()).prop_map(|(one, two, three)| [one, two, three].concat());
    let wrong = message.prop_filter("right", |said| {
        let fields: Vec<&str> = said.splitn(4, '\0').collect();
        !matches!(fields[..], ["" | "alice", "alice", "wonderland"])
    });
    prop_oneof![
        Just(request(0x20, b"", b"")),
        Just(request(0x0b, b"", b"")),
        (0x21u8..=0x22, "(PLAIN|plain|CRAM-MD5)", wrong).prop_map(|(opcode, mechanism, said)| request(
            opcode,
            mechanism.as_bytes(),
            said.as_bytes()
        )),
        (0u8..0x28, "[a-z]{0,2}", "[a-z]{0,1}").prop_map(|(opcode, key, value)| request(
            opcode,
            key.as_bytes(),
            value.as_bytes()
        )),
        proptest::collection::vec(any::<u8>(), 0..40),
    ]
}

proptest! {
    #[test]
    fn without_the_right_password_nobody_reaches_a_server(
        requests in proptest::collection::vec(of_a_stranger(), 0..12),
        step in 1usize..64,
    ) {
        let mut rig = guarded();
        let client = rig.open();
        for piece in requests.concat().chunks(step) {
            rig.send(client, piece);
            rig.run();
        }
        prop_assert_eq!(&rig.connected, &[0, 0]);
        prop_assert!(!rig.take_bytes(client).windows(13).any(|said| said == b"Authenticated"));
    }
}
