//! A session of any protocol over a small store: whatever comes, in whatever pieces, memory stays bounded. The first
//! byte of the input chooses the kind of session, the second the length of the pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use memcached_bridge::protocol::MAX_MULTIGET_LINE_LEN;
use memcached_bridge::session::credentials::Credentials;
use memcached_bridge::session::datagram::answer_datagram;
use memcached_bridge::session::stats::ServerFacts;
use memcached_bridge::session::{Needs, OUTPUT_BYTES, Server, Session};
use memcached_bridge::store::{Limits, MIN_MEMORY_BYTES, Now, Store};

const LIMITS: Limits = Limits { memory_bytes: MIN_MEMORY_BYTES, item_bytes: 4096 };
/// The longest unfinished request: a line, or a binary head of 24 + 255 + 65,535 bytes with its value.
const MAX_HELD: usize = MAX_MULTIGET_LINE_LEN + 1;
/// The longest reply to one command that does not come in several calls.
const MAX_REPLY: usize = 16 * 1024;
const MAX_DATAGRAMS: usize = 1 << 20;

fn server(authenticates: bool) -> Server {
    let credentials = authenticates.then(|| Credentials::parse(b"u:p\n").expect("one user"));
    Server { store: Store::new(LIMITS), facts: ServerFacts::default(), credentials }
}

fn check(server: &Server) {
    assert!(server.store.usage().bytes <= LIMITS.memory_bytes);
}

fn stream(server: &Server, input: &[u8], piece: usize) {
    let mut session = Session::new();
    let (mut held, mut out) = (Vec::new(), Vec::new());
    for piece in input.chunks(piece) {
        held.extend_from_slice(piece);
        loop {
            out.clear();
            let progress = session.receive(&held, server, Now::default(), &mut out);
            held.drain(..progress.consumed);
            assert!(out.len() <= OUTPUT_BYTES + MAX_REPLY);
            check(server);
            match progress.needs {
                Needs::Input => break,
                Needs::Output => assert!(progress.consumed > 0 || !out.is_empty(), "it turns in circles"),
                Needs::Store => panic!("a patient session was turned away"),
                Needs::Close => return,
            }
        }
        assert!(held.len() <= MAX_HELD);
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&[kind, piece], input)) = data.split_first_chunk() else { return };
    let server = server(kind & 1 == 1);
    if kind & 2 == 0 {
        return stream(&server, input, piece.max(1).into());
    }
    let mut out = Vec::new();
    for datagram in input.chunks(usize::from(piece.max(1)) * 8) {
        if let Ok(reply) = answer_datagram(datagram, &server, Now::default(), MAX_DATAGRAMS, &mut out) {
            let mut sent = Vec::new();
            (0..reply.datagrams()).for_each(|sequence| reply.write(sequence, &mut sent));
        }
        assert!(out.len() <= MAX_DATAGRAMS + OUTPUT_BYTES + MAX_REPLY);
        check(&server);
    }
});
