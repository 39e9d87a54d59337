//! Requests whose items live longer than a pool allows: nothing but the life is another one, and in a store that carries
//! them out no item outlives the limit. The first two bytes of the input are the limit, the rest is a request.
#![no_main]

use libfuzzer_sys::fuzz_target;
use memcached_bridge::protocol::{Dialect, Head, Protocol, Request};
use memcached_bridge::proxy::limits::MaxTtl;
use memcached_bridge::session::stats::ServerFacts;
use memcached_bridge::session::{Needs, Server, Session};
use memcached_bridge::store::{Limits, MIN_MEMORY_BYTES, Now, Store};

const UNIX: u64 = 1_700_000_000;
/// Values for which there is room in the store.
const MAX_VALUE: usize = 1024;

fuzz_target!(|data: &[u8]| {
    let &[high, low, ref input @ ..] = data else { return };
    let Some(&first) = input.first() else { return };
    let limit = MaxTtl { seconds: u32::from(u16::from_be_bytes([high, low])).max(1) };
    let protocol = Protocol::detect(first);
    let Head::Complete { request, consumed, block } = protocol.parse_head(input) else { return };
    let head = &input[..consumed];
    let value_len = block.map_or(0, |block| block.value_len);
    let sent = match limit.lower(&request, head, UNIX) {
        None => head.to_vec(),
        Some(lowered) => match protocol.parse_head(&lowered) {
            Head::Complete { request: after, consumed, block: block_after } => {
                assert_eq!((consumed, block_after), (lowered.len(), block));
                assert_eq!(limit.lower(&after, &lowered, UNIX), None, "it is lowered again");
                check(&request, head, &after, &lowered);
                lowered
            }
            // There is no room for one more flag.
            _ => {
                return assert!(matches!(request.dialect, Dialect::Meta(flags) if flags.iter().count() > 15));
            }
        },
    };
    let keys: Vec<Vec<u8>> = request.keys().map(|key| key.to_vec()).collect();
    // What the text commands below cannot name.
    if value_len > MAX_VALUE || keys.iter().flatten().any(|&byte| byte <= b' ') {
        return;
    }
    let end: &[u8] = if block.is_some_and(|block| block.terminated) { b"\r\n" } else { b"" };
    let value = [&vec![b'1'; value_len], end].concat();
    // Of items that are there, and of items that are made.
    for there in [true, false] {
        let server = server();
        for key in keys.iter().filter(|_| there) {
            ask(&server, &[b"ms ", key.as_slice(), b" 1 T1\r\n1\r\n"].concat());
        }
        ask(&server, &[sent.as_slice(), &value].concat());
        for key in &keys {
            let reply = ask(&server, &[b"mg ", key.as_slice(), b" t\r\n"].concat());
            let reply = String::from_utf8(reply).expect("a reply to mg");
            let ttl = reply.split_ascii_whitespace().nth(1).map(|ttl| ttl[1..].parse::<u32>());
            let within = ttl.is_none_or(|ttl| ttl.is_ok_and(|ttl| ttl <= limit.seconds));
            assert!(within, "{reply:?} after {:?}", String::from_utf8_lossy(&sent));
        }
    }
});

/// All but the lives in `before` is in `after`.
fn check(before: &Request<'_>, head: &[u8], after: &Request<'_>, lowered: &[u8]) {
    assert!(before.keys().eq(after.keys()));
    let rest = |request: &Request<'_>| {
        (request.verb, request.flags, request.cas, request.delta, request.initial, request.quiet)
    };
    assert_eq!(rest(before), rest(after));
    match (before.dialect, after.dialect) {
        (Dialect::Binary { .. }, _) => {
            let differ = head.iter().zip(lowered).filter(|(old, new)| old != new).count();
            assert!(head.len() == lowered.len() && differ <= 4);
        }
        (Dialect::Meta(old), Dialect::Meta(new)) => {
            let lasting = |(flag, _): &(u8, &[u8])| !matches!(flag, b'T' | b'N');
            assert!(old.iter().filter(lasting).eq(new.iter().filter(lasting)));
        }
        (_, _) => {
            let words = |line: &[u8]| -> Vec<Vec<u8>> {
                line.split(|&byte| byte == b' ').map(<[u8]>::to_vec).collect()
            };
            let (old, new) = (words(head), words(lowered));
            let differ = old.iter().zip(&new).filter(|(old, new)| old != new).count();
            assert!(old.len() == new.len() && differ <= 1);
        }
    }
}

fn server() -> Server {
    let limits = Limits { memory_bytes: MIN_MEMORY_BYTES, item_bytes: 4096 };
    Server { store: Store::new(limits), facts: ServerFacts::default(), credentials: None }
}

/// What a new connection answers.
fn ask(server: &Server, input: &[u8]) -> Vec<u8> {
    let (mut session, mut out) = (Session::new(), Vec::new());
    let mut rest = input;
    loop {
        let progress = session.receive(rest, server, Now { unix: UNIX, ..Now::default() }, &mut out);
        rest = &rest[progress.consumed..];
        if progress.needs != Needs::Output {
            return out;
        }
    }
}
