use super::frames::{Frame, keyed, replies, storing};
use super::*;

fn server() -> Server {
    let credentials = Credentials::parse(b"user:secret\n").unwrap();
    Server {
        store: Store::new(Limits::default()),
        facts: ServerFacts::default(),
        credentials: Some(credentials),
    }
}

fn auth(mechanism: &'static [u8], message: &'static [u8]) -> Vec<u8> {
    Frame { opcode: 0x21, key: mechanism, value: message, ..Frame::default() }.to_bytes()
}

fn step(message: &'static [u8]) -> Vec<u8> {
    Frame { opcode: 0x22, key: b"PLAIN", value: message, ..Frame::default() }.to_bytes()
}

/// As `memcached -S` (1.6.18) answered with Cyrus SASL, `mech_list: plain` and this user.
#[test]
fn exchanges_go_as_with_memcached() {
    const FAILED: &str = "20 +|Auth failure.";
    let good: &[u8] = b"\0user\0secret";
    let ok = "21:00 +|Authenticated";
    let (failed, step_failed) = (&*format!("21:{FAILED}"), &*format!("22:{FAILED}"));
    let (noop, noop_failed) = ("0a:00", &*format!("0a:{FAILED}"));
    let table: Vec<(Vec<Vec<u8>>, Vec<&str>)> = vec![
        (vec![keyed(0x0b, b"")], vec!["0b:00 +|1.6.18"]),
        (vec![keyed(0x20, b"")], vec!["20:00 +|PLAIN"]),
        (vec![auth(b"PLAIN", good), keyed(0x0b, b"")], vec![ok, "0b:00 +|1.6.18", noop]),
        (vec![auth(b"plain", good)], vec![ok, noop]),
        (vec![auth(b"PLAIN", b"user\0user\0secret")], vec![ok, noop]),
        (vec![auth(b"PLAIN", b"other\0user\0secret")], vec![failed, noop_failed]),
        (vec![auth(b"PLAIN", b"\0user\0secret\0")], vec![failed, noop_failed]),
        (vec![auth(b"PLAIN", b"\0user\0secre")], vec![failed, noop_failed]),
        (vec![auth(b"PLAIN", b"\0u\0p"), auth(b"PLAIN", good)], vec![failed, ok, noop]),
        (vec![auth(b"FOO", b"x"), auth(b"PLAIN", good)], vec![failed, ok, noop]),
        (vec![auth(b"PLAIN", b"\0u\0p"), step(good)], vec![failed, step_failed, noop_failed]),
        (vec![step(good)], vec![step_failed, noop_failed]),
        (vec![auth(b"PLAIN", b""), step(good)], vec!["21:21", "22:00 +|Authenticated", noop]),
        (
            vec![auth(b"PLAIN", b""), step(b""), step(good)],
            vec!["21:21", step_failed, "22:00 +|Authenticated", noop],
        ),
        (vec![auth(b"PLAIN", b""), auth(b"PLAIN", good)], vec!["21:21", ok, noop]),
        (
            vec![auth(b"PLAIN", b""), keyed(0x20, b""), step(good)],
            vec!["21:21", "20:00 +|PLAIN", "22:00 +|Authenticated", noop],
        ),
        (vec![auth(b"PLAIN", good), auth(b"PLAIN", good)], vec![ok, failed, noop_failed]),
        (vec![auth(b"PLAIN", good), step(good)], vec![ok, step_failed, noop_failed]),
        (vec![auth(b"PLAIN", good), auth(b"PLAIN", b"")], vec![ok, "21:21", noop_failed]),
        (vec![auth(b"PLAIN", good), keyed(0x20, b"")], vec![ok, "20:00 +|PLAIN", noop_failed]),
        (
            vec![auth(&[b'X'; 40], b"m"), keyed(0x0b, b"")],
            vec!["21:04 +|Invalid arguments", "0b:00 +|1.6.18"],
        ),
        (
            vec![auth(b"PLAIN", &[b'v'; 600_000]), keyed(0x0b, b"")],
            vec!["21:82 +|Out of memory", "0b:00 +|1.6.18"],
        ),
    ];
    for (requests, expected) in table {
        let mut input = requests.concat();
        if expected.iter().any(|reply| reply.starts_with("0a:")) {
            input.extend(keyed(0x0a, b""));
        }
        let (bytes, needs) = converse(&server(), &input, &[]);
        assert_eq!(replies(&bytes), expected);
        let refused = expected.last().is_some_and(|reply| reply.starts_with("0a:20"));
        assert_eq!(needs, if refused { Needs::Close } else { Needs::Input }, "{expected:?}");
    }
}

#[test]
fn a_stranger_gets_nothing_done() {
    for request in
        [keyed(0x00, b"k"), storing(0x01, b"k", b"v"), keyed(0x07, b""), keyed(0x17, b""), keyed(0x7f, b"")]
    {
        let server = server();
        let (bytes, needs) = converse(&server, &request, &[]);
        assert_eq!(
            (replies(&bytes), needs),
            (vec![format!("{:02x}:20 +|Auth failure.", request[1])], Needs::Close)
        );
        assert_eq!(server.store.usage().curr_items, 0);
    }
    assert_eq!(converse(&server(), b"version\r\n", &[]), (Vec::new(), Needs::Close));
    assert!(matches!(datagrams(&server(), &keyed(0x00, b"k"), 1000), Ok(sent) if sent.len() == 1));
    let server = server();
    converse(&server, &[auth(b"PLAIN", b"\0user\0secret"), auth(b"PLAIN", b"x")].concat(), &[]);
    let credentials = server.credentials.as_ref().unwrap();
    let counted = |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!((counted(&credentials.auth_cmds), counted(&credentials.auth_errors)), (2, 1));
}
