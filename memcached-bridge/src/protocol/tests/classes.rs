//! What each form of each command does to its keys, and what is read out of it.

use crate::protocol::{Class, Dialect, Replies, Request, Step, Verb, binary, parse};

fn request(input: &[u8]) -> Request<'_> {
    match parse(input) {
        Step::Complete { request, consumed } if consumed == input.len() => request,
        other => panic!("{:?}: {other:?}", String::from_utf8_lossy(input)),
    }
}

fn keys(request: &Request<'_>) -> Vec<Vec<u8>> {
    request.keys().map(|key| key.to_vec()).collect()
}

#[test]
fn text_commands_have_their_class_keys_and_reply() {
    use Class::*;
    use Replies::*;
    let table: [(&str, Class, Replies, &[&str]); 50] = [
        ("get a\r\n", Read, Always, &["a"]),
        ("gets a b  a\n", Read, Always, &["a", "b", "a"]),
        ("get a\0 b\n", Read, Always, &["a"]),
        ("gat 10 a b\r\n", Write, Always, &["a", "b"]),
        ("gats 0 a\r\n", Write, Always, &["a"]),
        ("gat 0\r\n", Write, Always, &[]),
        ("set a 0 0 1\r\nx\r\n", Write, Always, &["a"]),
        ("set a 0 0 1 noreply\r\nx\r\n", Write, Never, &["a"]),
        ("add a 0 0 1\r\nx\r\n", Write, Always, &["a"]),
        ("replace a 0 0 1\r\nx\r\n", Write, Always, &["a"]),
        ("append a 0 0 1\r\nx\r\n", Write, Always, &["a"]),
        ("prepend a 0 0 1\r\nx\r\n", Write, Always, &["a"]),
        ("cas a 0 0 1 5\r\nx\r\n", Write, Always, &["a"]),
        ("cas a 0 0 1 5 noreply\r\nx\r\n", Write, Never, &["a"]),
        ("incr a 1\r\n", Write, Always, &["a"]),
        ("decr a 1 noreply\r\n", Write, Never, &["a"]),
        ("touch a 1\r\n", Write, Always, &["a"]),
        ("touch a 1 noreply\r\n", Write, Never, &["a"]),
        ("delete a\r\n", Write, Always, &["a"]),
        ("delete a\0 b c d\r\n", Write, Always, &["a"]),
        ("delete a 0 noreply\r\n", Write, Never, &["a"]),
        ("flush_all\r\n", WriteAll, Always, &[]),
        ("flush_all 10 noreply\r\n", WriteAll, Never, &[]),
        ("version\r\n", Keyless, Always, &[]),
        ("verbosity 1\r\n", Keyless, Always, &[]),
        ("stats items\r\n", Keyless, Always, &[]),
        ("mn\r\n", Keyless, Always, &[]),
        ("quit\r\n", Quit, Never, &[]),
        ("mg a\r\n", Read, Always, &["a"]),
        ("mg a v f c t s k Oabc h l u\r\n", Read, Always, &["a"]),
        ("mg a v q\r\n", Read, Unusual, &["a"]),
        ("mg Zm9v v b\r\n", Read, Always, &["foo"]),
        ("mg a v\0 N30\r\n", Read, Always, &["a"]),
        ("mg a N30 v\r\n", Write, Always, &["a"]),
        ("mg a v R30\r\n", Write, Always, &["a"]),
        ("mg a v T30\r\n", Write, Always, &["a"]),
        ("ms a 1\r\nx\r\n", Write, Always, &["a"]),
        ("ms a 1 q MA\r\nx\r\n", Write, Unusual, &["a"]),
        ("ms Z!m9v 1 b\r\nx\r\n", Write, Always, &["foo"]),
        ("md a\r\n", Write, Always, &["a"]),
        ("md a q I T5\r\n", Write, Unusual, &["a"]),
        ("md Zm9vZm8= b\r\n", Write, Always, &["foofo"]),
        ("ma a\r\n", Write, Always, &["a"]),
        ("ma a N0 J5 MD q\r\n", Write, Unusual, &["a"]),
        ("me a\r\n", Read, Always, &["a"]),
        ("me Zm9v b\r\n", Read, Always, &["foo"]),
        ("  mg   a   v\n", Read, Always, &["a"]),
        ("bget a\r\n", Read, Always, &["a"]),
        ("delete noreply\r\n", Write, Always, &["noreply"]),
        ("set noreply 0 0 1\r\nx\r\n", Write, Always, &["noreply"]),
    ];
    for (input, class, replies, expected) in table {
        let request = request(input.as_bytes());
        let expected: Vec<&[u8]> = expected.iter().map(|key| key.as_bytes()).collect();
        assert_eq!((request.class(), request.replies()), (class, replies), "{input}");
        assert_eq!(keys(&request), expected, "{input}");
        assert_eq!(request.expects_reply(), replies == Always);
    }
}

#[test]
fn the_numbers_of_a_request_are_read() {
    let cas = request(b"cas a 7 -1 2 18446744073709551615\r\n\r\n\r\n");
    let read = (cas.verb, cas.flags, cas.exptime, cas.cas, cas.value);
    assert_eq!(read, (Verb::Cas, 7, -1, Some(u64::MAX), &b"\r\n"[..]));
    assert_eq!(request(b"incr a 5\r\n").delta, 5);
    assert_eq!(request(b"touch a 300\r\n").exptime, 300);
    assert_eq!(request(b"gat 300 a\r\n").exptime, 300);
    assert_eq!(request(b"flush_all 300 noreply\r\n").exptime, 300);
    let meta = request(b"ms a 2 F9 T-1 C3 MA Oxyz\r\nhi\r\n");
    assert_eq!((meta.flags, meta.exptime, meta.cas, meta.value), (9, -1, Some(3), &b"hi"[..]));
    let Dialect::Meta(flags) = meta.dialect else { panic!("not meta") };
    assert_eq!(
        (flags.mode(), flags.opaque(), flags.argument(b'T')),
        (Some(b'A'), Some(&b"xyz"[..]), Some(&b"-1"[..]))
    );
    assert!(flags.has(b'C') && !flags.has(b'v'));
    assert_eq!(request(b"ma a\r\n").delta, 1);
    let count = request(b"ma a D7 J9 N60\r\n");
    assert_eq!((count.delta, count.initial), (7, Some(9)));
}

fn frame(opcode: u8, extras: &[u8], key: &[u8], value: &[u8]) -> Vec<u8> {
    let header = binary::Header {
        magic: binary::MAGIC_REQUEST,
        opcode,
        key_len: key.len() as u16,
        extras_len: extras.len() as u8,
        data_type: 0,
        status: 0,
        body_len: (extras.len() + key.len() + value.len()) as u32,
        opaque: 0xdead_beef,
        cas: 9,
    };
    [&header.to_bytes(), extras, key, value].concat()
}

#[test]
fn binary_commands_have_their_class_keys_and_reply() {
    use Class::*;
    use Replies::*;
    let (none, four, eight, twenty) =
        (&[][..], &[0, 0, 0, 60][..], &[0, 0, 0, 5, 0, 0, 0, 60][..], &[1; 20][..]);
    let a = &b"a b"[..];
    let x = &b"x"[..];
    type Row<'a> = (u8, Class, Replies, &'a [u8], &'a [u8], &'a [u8]);
    let table: [Row<'_>; 36] = [
        (0x00, Read, Always, none, a, none),
        (0x01, Write, Always, eight, a, x),
        (0x02, Write, Always, eight, a, x),
        (0x03, Write, Always, eight, a, none),
        (0x04, Write, Always, none, a, none),
        (0x05, Write, Always, twenty, a, none),
        (0x06, Write, Always, twenty, a, none),
        (0x07, Quit, Always, none, none, none),
        (0x08, WriteAll, Always, none, none, none),
        (0x08, WriteAll, Always, four, none, none),
        (0x09, Read, Unusual, none, a, none),
        (0x0a, Keyless, Always, none, none, none),
        (0x0b, Keyless, Always, none, none, none),
        (0x0c, Read, Always, none, a, none),
        (0x0d, Read, Unusual, none, a, none),
        (0x0e, Write, Always, none, a, x),
        (0x0f, Write, Always, none, a, x),
        (0x10, Keyless, Always, none, b"items", none),
        (0x11, Write, Unusual, eight, a, x),
        (0x12, Write, Unusual, eight, a, x),
        (0x13, Write, Unusual, eight, a, x),
        (0x14, Write, Unusual, none, a, none),
        (0x15, Write, Unusual, twenty, a, none),
        (0x16, Write, Unusual, twenty, a, none),
        (0x17, Quit, Unusual, none, none, none),
        (0x18, WriteAll, Unusual, none, none, none),
        (0x19, Write, Unusual, none, a, x),
        (0x1a, Write, Unusual, none, a, x),
        (0x1c, Write, Always, four, a, none),
        (0x1d, Write, Always, four, a, none),
        (0x1e, Write, Unusual, four, a, none),
        (0x23, Write, Always, four, a, none),
        (0x24, Write, Unusual, four, a, none),
        (0x20, Keyless, Always, none, none, none),
        (0x21, Keyless, Always, none, b"PLAIN", x),
        (0x22, Keyless, Always, none, b"PLAIN", x),
    ];
    for (opcode, class, replies, extras, key, value) in table {
        let bytes = frame(opcode, extras, key, value);
        let request = request(&bytes);
        assert_eq!((request.class(), request.replies()), (class, replies), "{opcode:#x}");
        assert_eq!(request.dialect, Dialect::Binary { opcode, opaque: 0xdead_beef });
        assert_eq!(request.cas, Some(9));
        let named = matches!(class, Read | Write);
        assert_eq!(keys(&request), if named { vec![key.to_vec()] } else { vec![] }, "{opcode:#x}");
    }
    let known: Vec<u8> = (0..=u8::MAX).filter(|&opcode| binary::command(opcode).is_some()).collect();
    let mut listed: Vec<u8> = table.iter().map(|row| row.0).collect();
    listed.sort_unstable();
    listed.dedup();
    assert_eq!(known, listed, "every opcode that is known is in the table");
}

#[test]
fn binary_extras_are_read() {
    let set = frame(0x01, &[0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff], b"k", b"value");
    let set = request(&set);
    assert_eq!((set.flags, set.exptime, set.value), (5, u32::MAX.into(), &b"value"[..]));
    let extras = [[0, 0, 0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0, 0, 7]].concat();
    let created = frame(0x05, &[&extras[..], &[0, 0, 0, 9]].concat(), b"k", b"");
    let created = request(&created);
    assert_eq!((created.delta, created.initial, created.exptime), (256, Some(7), 9));
    let not_created = frame(0x05, &[&extras[..], &[0xff; 4]].concat(), b"k", b"");
    assert_eq!(request(&not_created).initial, None);
}

#[test]
fn binary_requests_with_wrong_lengths_are_refused() {
    let refused = [
        frame(0x00, &[], b"", b""),
        frame(0x00, &[], b"k", b"v"),
        frame(0x00, &[1], b"k", b""),
        frame(0x01, &[1; 4], b"k", b"v"),
        frame(0x01, &[1; 8], b"", b"v"),
        frame(0x04, &[], b"k", b"v"),
        frame(0x05, &[1; 8], b"k", b""),
        frame(0x08, &[1; 2], b"", b""),
        frame(0x0a, &[], b"k", b""),
        frame(0x1c, &[], b"k", b""),
        frame(0x1d, &[1; 4], b"k", b"v"),
        frame(0x00, &[], &[b'k'; 251], b""),
    ];
    for bytes in refused {
        assert!(matches!(parse(&bytes), Step::Invalid(invalid) if invalid.is_fatal()), "{bytes:?}");
    }
    let mut contradiction = frame(0x01, &[1; 8], b"k", b"");
    contradiction[11] = 8;
    assert!(matches!(parse(&contradiction), Step::Invalid(invalid) if invalid.is_fatal()));
    let unknown = frame(0x7f, &[1], b"k", b"v");
    let Step::Invalid(invalid) = parse(&unknown) else { panic!("0x7f is no opcode") };
    assert_eq!((invalid.is_fatal(), invalid.consumed + invalid.swallow), (false, unknown.len()));
    assert_eq!(invalid.error.status(), Some(0x81));
}
