//! A client of a pool with passwords. Before it has given one it reaches no server, and until then it is answered as by the
//! embedded server with the same passwords, in whatever pieces it sends.
//!
//! The first byte of the input is the length of the pieces. The rest is a list of what the client sends: a kind, a
//! length, and so many bytes.
#![no_main]

use std::sync::Arc;
use std::time::Duration;

use fabric::time::Nanos;
use libfuzzer_sys::fuzz_target;
use memcached_bridge::hashing::{Distribution, KeyHash};
use memcached_bridge::proxy::limits::ClientLimits;
use memcached_bridge::proxy::pool::{Deadlines, Pool, Probing, Server as PoolServer};
use memcached_bridge::proxy::{Action, ClientId, Proxy, SharedPool, Transmit};
use memcached_bridge::session::credentials::Credentials;
use memcached_bridge::session::stats::ServerFacts;
use memcached_bridge::session::{Needs, Server, Session};
use memcached_bridge::store::{Limits, MIN_MEMORY_BYTES, Now, Store};

const NOW: Nanos = Nanos(1 << 30);
const RIGHT: &[u8] = b"\0u\0p";
const LIST: u8 = 0x20;
const AUTHENTICATE: u8 = 0x21;
const STEP: u8 = 0x22;

fn credentials() -> Credentials {
    Credentials::parse(b"u:p\n").expect("one user")
}

/// What the client sends.
fn stream(mut script: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    while let &[kind, len, ref behind @ ..] = script {
        let (bytes, behind) = behind.split_at(behind.len().min(len.into()));
        script = behind;
        match kind & 7 {
            0 => push(&mut stream, LIST, b"", b""),
            1 => push(&mut stream, AUTHENTICATE, b"PLAIN", RIGHT),
            2 => push(&mut stream, AUTHENTICATE, b"PLAIN", bytes),
            3 => push(&mut stream, STEP, b"PLAIN", RIGHT),
            4 => push(&mut stream, STEP, b"PLAIN", bytes),
            5 => push(&mut stream, 0x0b, b"", b""),
            6 => push(&mut stream, kind >> 3, bytes, b""),
            _ => stream.extend_from_slice(bytes),
        }
    }
    stream
}

fn push(out: &mut Vec<u8>, opcode: u8, key: &[u8], value: &[u8]) {
    let body = (key.len() + value.len()) as u32;
    out.extend_from_slice(&[0x80, opcode, 0, key.len() as u8, 0, 0, 0, 0]);
    out.extend_from_slice(&body.to_be_bytes());
    out.extend_from_slice(&[7; 12]);
    out.extend_from_slice(key);
    out.extend_from_slice(value);
}

/// What a client got, and whether its connection was closed then.
#[derive(Debug, Default, PartialEq)]
struct Dialogue {
    replies: Vec<u8>,
    closed: bool,
    /// A server was asked: what it would say is not there.
    forwarded: bool,
}

fn with_session(stream: &[u8], piece: usize) -> Dialogue {
    let limits = Limits { memory_bytes: MIN_MEMORY_BYTES, item_bytes: 4096 };
    let credentials = Some(credentials());
    let server = Server { store: Store::new(limits), facts: ServerFacts::default(), credentials };
    let (mut session, mut held, mut dialogue) = (Session::new(), Vec::new(), Dialogue::default());
    for piece in stream.chunks(piece) {
        held.extend_from_slice(piece);
        loop {
            let progress = session.receive(&held, &server, Now::default(), &mut dialogue.replies);
            held.drain(..progress.consumed);
            match progress.needs {
                Needs::Input => break,
                Needs::Output => {}
                Needs::Close => return Dialogue { closed: true, ..dialogue },
                Needs::Store => panic!("a patient session was turned away"),
            }
        }
    }
    dialogue
}

impl Transmit for Dialogue {
    fn transmit(&mut self, _client: ClientId, parts: &[&[u8]]) -> usize {
        let before = self.replies.len();
        parts.iter().for_each(|part| self.replies.extend_from_slice(part));
        self.replies.len() - before
    }
}

fn pool() -> Pool {
    let time = Duration::from_secs(1);
    Pool {
        name: "fuzz".to_owned(),
        servers: vec![PoolServer { name: "one".to_owned(), weight: 1 }],
        distribution: Distribution::Modula,
        key_hash: KeyHash::Fnv1a64,
        hash_tag: None,
        cache: None,
        deadlines: Deadlines { connect: time, reply: time },
        probing: Probing { interval: time, failures: 2, auto_eject: true },
        lanes: 1,
        limits: ClientLimits::default(),
        credentials: Some(Arc::new(credentials())),
    }
}

fn with_proxy(stream: &[u8], piece: usize) -> Dialogue {
    let shared = SharedPool::new(pool(), 1, 1).expect("a ring");
    let mut proxy = Proxy::new(vec![shared], 0, 1);
    let client = proxy.client_opened(0, NOW);
    let mut dialogue = Dialogue::default();
    for piece in stream.chunks(piece) {
        proxy.client_received(client, piece, NOW, &mut dialogue);
        while let Some(action) = proxy.next_action() {
            match action {
                Action::SendToClient(_) => {
                    let output = proxy.client_output(client).to_vec();
                    dialogue.replies.extend_from_slice(&output);
                    proxy.client_sent(client, output.len(), NOW, &mut dialogue);
                }
                Action::CloseClient(_) => dialogue.closed = true,
                Action::Connect(..) => dialogue.forwarded = true,
                _ => {}
            }
        }
        if dialogue.closed || dialogue.forwarded {
            break;
        }
    }
    dialogue
}

fuzz_target!(|data: &[u8]| {
    let Some((&piece, script)) = data.split_first() else { return };
    let stream = stream(script);
    let whole = with_session(&stream, stream.len().max(1));
    let proxied = with_proxy(&stream, piece.max(1).into());
    let authenticated = proxied.replies.windows(13).any(|window| window == b"Authenticated");
    assert!(authenticated || !proxied.forwarded, "a stranger reached a server");
    if authenticated {
        // The proxy waits for a value that the embedded server would not even begin to store.
        assert!(whole.replies.starts_with(&proxied.replies));
    } else {
        assert_eq!(proxied, whole);
    }
});
