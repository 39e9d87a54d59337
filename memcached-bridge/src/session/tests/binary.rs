use super::frames::{Frame, keyed, replies, storing};
use super::*;

fn said(server: &Server, requests: &[Vec<u8>]) -> (Vec<String>, Needs) {
    let (bytes, needs) = converse(server, &requests.concat(), &[]);
    (replies(&bytes), needs)
}

fn count(opcode: u8, key: &[u8], delta: u8, initial: u8, expiry: [u8; 4]) -> Vec<u8> {
    let mut extras = [0; 20];
    (extras[7], extras[15]) = (delta, initial);
    extras[16..].copy_from_slice(&expiry);
    Frame { opcode, key, extras: &extras, ..Frame::default() }.to_bytes()
}

/// What memcached 1.6.18 answers, request by request.
#[test]
fn every_opcode_is_answered() {
    let touch = |opcode, key: &'static [u8]| {
        Frame { opcode, key, extras: &[0, 0, 0, 9], ..Frame::default() }.to_bytes()
    };
    let value =
        |opcode, value: &'static [u8]| Frame { opcode, key: b"a", value, ..Frame::default() }.to_bytes();
    let flush = Frame { opcode: 0x08, extras: &[0; 4], ..Frame::default() }.to_bytes();
    let (once, never) = ([0; 4], [0xff; 4]);
    let table: Vec<(Vec<u8>, &[&str])> = vec![
        (keyed(0x00, b"a"), &["00:01 +|Not found"]),
        (keyed(0x0c, b"a"), &["0c:01 +a|"]),
        (keyed(0x09, b"a"), &[]),
        (keyed(0x0d, b"a"), &[]),
        (storing(0x03, b"a", b"x"), &["03:01 +|Not found"]),
        (storing(0x13, b"a", b"x"), &["13:01 +|Not found"]),
        (value(0x0e, b"x"), &["0e:05 +|Not stored."]),
        (value(0x19, b"x"), &["19:05 +|Not stored."]),
        (storing(0x02, b"a", b"m"), &["02:00 #1"]),
        (storing(0x02, b"a", b"x"), &["02:02 +|Data exists for key."]),
        (storing(0x12, b"a", b"x"), &["12:02 +|Data exists for key."]),
        (value(0x0e, b"z"), &["0e:00 #2"]),
        (value(0x1a, b"a"), &[]),
        (keyed(0x00, b"a"), &["00:00 #3 0.0.0.7+|amz"]),
        (keyed(0x0d, b"a"), &["0d:00 #3 0.0.0.7+a|amz"]),
        (storing(0x11, b"a", b"1"), &[]),
        (count(0x05, b"a", 41, 0, once), &["05:00 #5 +|\\x00\\x00\\x00\\x00\\x00\\x00\\x00*"]),
        (count(0x16, b"a", 1, 0, once), &[]),
        (keyed(0x00, b"a"), &["00:00 #6 0.0.0.7+|41"]),
        (count(0x05, b"n", 1, 0, never), &["05:01 +|Not found"]),
        (count(0x15, b"n", 1, 0, never), &["15:01 +|Not found"]),
        (count(0x06, b"n", 1, 5, once), &["06:00 #7 +|\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x05"]),
        (keyed(0x00, b"n"), &["00:00 #7 0.0.0.0+|5"]),
        (storing(0x01, b"t", b"text"), &["01:00 #8"]),
        (count(0x05, b"t", 1, 0, once), &["05:06 +|Non-numeric server-side value for incr or decr"]),
        (touch(0x1c, b"t"), &["1c:00 #8 0.0.0.7+|"]),
        (touch(0x1c, b"-"), &["1c:01 +|Not found"]),
        (touch(0x1d, b"t"), &["1d:00 #8 0.0.0.7+|text"]),
        (touch(0x1e, b"t"), &["1e:00 #8 0.0.0.7+|text"]),
        (touch(0x23, b"t"), &["23:00 #8 0.0.0.7+t|text"]),
        (touch(0x24, b"-"), &[]),
        (touch(0x23, b"-"), &["23:01 +-|"]),
        (keyed(0x04, b"t"), &["04:00"]),
        (keyed(0x04, b"t"), &["04:01 +|Not found"]),
        (keyed(0x14, b"t"), &["14:01 +|Not found"]),
        (keyed(0x14, b"n"), &[]),
        (flush, &["08:00"]),
        (keyed(0x18, b""), &[]),
        (keyed(0x00, b"a"), &["00:01 +|Not found"]),
        (keyed(0x0a, b""), &["0a:00"]),
        (keyed(0x0b, b""), &["0b:00 +|1.6.18"]),
        (keyed(0x10, b"reset"), &["10:00"]),
        (keyed(0x10, b"sizes"), &["10:00 +sizes_status|disabled", "10:00"]),
        (keyed(0x10, b"nonsense"), &["10:01 +|Not found"]),
        (keyed(0x20, b""), &["20:81 +|Unknown command"]),
        (
            Frame { opcode: 0x21, key: b"PLAIN", value: b"\0u\0p", ..Frame::default() }.to_bytes(),
            &["21:81 +|Unknown command"],
        ),
        (
            Frame { opcode: 0x1b, extras: &[0; 4], ..Frame::default() }.to_bytes(),
            &["1b:81 +|Unknown command"],
        ),
        (
            Frame { opcode: 0x7f, key: b"k", value: b"value", ..Frame::default() }.to_bytes(),
            &["7f:81 +|Unknown command"],
        ),
        (keyed(0x0a, b""), &["0a:00"]),
    ];
    let server = server();
    let input: Vec<u8> = table.iter().flat_map(|(request, _)| request.clone()).collect();
    let expected: Vec<&str> = table.iter().flat_map(|(_, replies)| replies.iter().copied()).collect();
    let (bytes, needs) = converse(&server, &input, &[]);
    assert_eq!(
        (replies(&bytes), needs),
        (expected.iter().map(|&reply| reply.to_owned()).collect(), Needs::Input)
    );
    let every: Vec<usize> = (0..input.len()).collect();
    let cut =
        Server { store: Store::new(Limits::default()), facts: ServerFacts::default(), credentials: None };
    assert_eq!(converse(&cut, &input, &every).0, bytes, "one byte at a time");
}

#[test]
fn a_cas_makes_a_compare_and_swap_of_every_storing_request() {
    let server = server();
    let with = |opcode, cas, extras: &'static [u8], key: &'static [u8]| {
        Frame { opcode, cas, extras, key, value: b"v" }.to_bytes()
    };
    let delete = |cas| Frame { opcode: 0x04, cas, key: b"k", ..Frame::default() }.to_bytes();
    let requests = [
        with(0x01, 9, &[0; 8], b"k"),
        storing(0x01, b"k", b"v"),
        with(0x02, 9, &[0; 8], b"k"),
        with(0x02, 1, &[0; 8], b"k"),
        with(0x03, 2, &[0; 8], b"k"),
        with(0x0e, 2, &[], b"k"),
        with(0x0e, 3, &[], b"k"),
        delete(3),
        delete(4),
    ];
    let exists = "02 +|Data exists for key.";
    let expected = [
        "01:01 +|Not found",
        "01:00 #1",
        &format!("02:{exists}"),
        "02:00 #2",
        "03:00 #3",
        &format!("0e:{exists}"),
        "0e:00 #4",
        &format!("04:{exists}"),
        "04:00",
    ];
    assert_eq!(said(&server, &requests).0, expected);
}

#[test]
fn a_delayed_flush_waits_for_its_second() {
    let server = server();
    let at = |seconds: u64| Now {
        at: fabric::time::Nanos(seconds * 1_000_000_000),
        unix: 1_700_000_000 + seconds,
    };
    let ask = |request: Vec<u8>, now| {
        let mut out = Vec::new();
        Session::new().receive(&request, &server, now, &mut out);
        replies(&out)
    };
    ask(storing(0x01, b"k", b"v"), at(0));
    let flush = |opcode| Frame { opcode, extras: &[0, 0, 0, 10], ..Frame::default() }.to_bytes();
    assert_eq!(ask(flush(0x18), at(0)), [""; 0]);
    assert_eq!(ask(flush(0x08), at(0)), ["08:00"]);
    assert_eq!(ask(keyed(0x00, b"k"), at(9)), ["00:00 #1 0.0.0.7+|v"]);
    assert_eq!(ask(keyed(0x00, b"k"), at(10)), ["00:01 +|Not found"]);
}

#[test]
fn too_large_a_value_is_refused_at_once_and_swallowed() {
    let server = server();
    said(&server, &[storing(0x01, b"k", b"old")]);
    let large = vec![b'v'; 1 << 20];
    let requests =
        [storing(0x12, b"k", &large), keyed(0x09, b"k"), storing(0x11, b"k", &large), keyed(0x0c, b"k")];
    let expected = ["12:03 +|Too large.", "09:00 #1 0.0.0.7+|old", "11:03 +|Too large.", "0c:01 +k|"];
    assert_eq!(said(&server, &requests).0, expected);
    let mut session = Session::new();
    let mut out = Vec::new();
    let head = &requests[0][..33];
    assert_eq!(session.receive(head, &server, Now::default(), &mut out).consumed, head.len());
    assert_eq!(replies(&out), ["12:03 +|Too large."]);
}

#[test]
fn what_ends_a_binary_connection() {
    let ends = |request: &[u8]| {
        let (bytes, needs) = converse(&server(), &[request, &keyed(0x0a, b"")].concat(), &[]);
        assert_eq!(needs, Needs::Close, "{}", request.escape_ascii());
        replies(&bytes)
    };
    assert_eq!(ends(&keyed(0x07, b"")), ["07:00"]);
    assert_eq!(ends(&keyed(0x17, b"")), [""; 0]);
    assert_eq!(ends(&keyed(0x00, b"")), ["00:04 +|Invalid arguments"]);
    assert_eq!(ends(&keyed(0x0a, b"k")), ["0a:04 +|Invalid arguments"]);
    assert_eq!(ends(&keyed(0x09, &[b'k'; 251])), ["09:04 +|Invalid arguments"]);
    assert_eq!(ends(&keyed(0x00, &[b'k'; 60_000])), ["00:04 +|Invalid arguments"]);
    let mut contradiction = keyed(0x00, b"k");
    contradiction[11] = 0;
    assert_eq!(ends(&contradiction), ["00:81 +|Unknown command"]);
    let after_noop = [&keyed(0x0a, b"")[..], b"get a\r\n"].concat();
    assert_eq!(ends(&after_noop), ["0a:00"]);
}

#[test]
fn statistics_come_row_by_row() {
    let server = server();
    said(&server, &[storing(0x01, b"k", b"v"), keyed(0x00, b"k"), keyed(0x00, b"-")]);
    let rows = |name: &[u8]| said(&server, &[keyed(0x10, name)]).0;
    let general = rows(b"");
    for row in ["10:00 +get_hits|1", "10:00 +get_misses|1", "10:00 +curr_items|1", "10:00 +version|1.6.18"] {
        assert!(general.contains(&row.to_owned()), "{general:#?}");
    }
    assert_eq!(general.last().unwrap(), "10:00");
    assert!(rows(b"settings").contains(&"10:00 +binding_protocol|auto-negotiate".to_owned()));
    assert!(rows(b"items").contains(&"10:00 +items:1:number|1".to_owned()));
    assert!(rows(b"slabs").contains(&"10:00 +1:cmd_set|1".to_owned()));
    assert_eq!(rows(b"detail dump"), ["10:00 +detailed|END\\r\\n", "10:00"]);
    assert_eq!(rows(b"detail on"), ["10:01 +|Not found"]);
    assert_eq!(rows(b"reset"), ["10:00"]);
    assert!(rows(b"").contains(&"10:00 +get_hits|0".to_owned()));
}

#[test]
fn a_datagram_may_be_binary() {
    let server = server();
    let value = vec![b'v'; 4000];
    let commands =
        [storing(0x11, b"k", &value), keyed(0x0d, b"-"), keyed(0x0d, b"k"), keyed(0x0a, b"")].concat();
    let sent = datagrams(&server, &commands, usize::MAX).unwrap();
    assert_eq!(sent.len(), 3);
    let whole: Vec<u8> = sent.iter().flat_map(|datagram| datagram[8..].to_vec()).collect();
    let value = String::from_utf8(value).unwrap();
    assert_eq!(replies(&whole), [format!("0d:00 #1 0.0.0.7+k|{value}"), "0a:00".to_owned()]);
    assert_eq!(datagrams(&server, &keyed(0x09, b"-"), usize::MAX), Err(NoReply::Quiet));
    assert_eq!(datagrams(&server, &keyed(0x09, b"-")[..24], usize::MAX), Err(NoReply::Incomplete));
}

#[test]
fn what_cannot_be_held_is_told_in_the_protocol_of_the_connection() {
    let mut session = Session::new();
    let request = storing(0x01, b"k", &[b'v'; 1000]);
    session.receive(&request[..100], &server(), Now::default(), &mut Vec::new());
    let mut out = Vec::new();
    session.out_of_memory(&request[..100], &mut out);
    assert_eq!(replies(&out), ["01:82 +|Out of memory"]);
}
