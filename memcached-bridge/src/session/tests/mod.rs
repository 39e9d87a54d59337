mod binary;
mod frames;
mod sasl;
mod stats;

use proptest::prelude::*;

use super::datagram::{DATAGRAM_BYTES, NoReply, Reply, answer_datagram};
use super::*;
use crate::protocol::udp::Frame;
use crate::store::Limits;

fn server() -> Server {
    Server { store: Store::new(Limits::default()), facts: ServerFacts::default(), credentials: None }
}

/// Sends `input` in pieces that end at `cuts`, as a shell would.
fn converse(server: &Server, input: &[u8], cuts: &[usize]) -> (Vec<u8>, Needs) {
    let mut session = Session::new();
    let (mut held, mut reply) = (Vec::new(), Vec::new());
    let mut start = 0;
    for end in cuts.iter().copied().chain([input.len()]) {
        held.extend_from_slice(&input[start..end.max(start)]);
        start = end.max(start);
        loop {
            let mut out = Vec::new();
            let progress = session.receive(&held, server, Now::default(), &mut out);
            held.drain(..progress.consumed);
            reply.extend(out);
            match progress.needs {
                Needs::Input => break,
                Needs::Output => {}
                Needs::Store => panic!("a patient session was turned away"),
                Needs::Close => return (reply, Needs::Close),
            }
        }
    }
    (reply, Needs::Input)
}

fn reply_to(input: &[u8]) -> String {
    String::from_utf8(converse(&server(), input, &[]).0).unwrap()
}

#[test]
fn pipelined_commands_are_answered_in_order() {
    let input = b"set a 7 0 1\r\n1\r\nget a b\r\nincr a 41\r\ngets a\r\ntouch a 9\r\ndelete a\r\ndelete a noreply\r\n\
        version\r\nverbosity 1\r\nmn\r\nflush_all\r\nnonsense\r\n";
    let expected = "STORED\r\nVALUE a 7 1\r\n1\r\nEND\r\n42\r\nVALUE a 7 2 2\r\n42\r\nEND\r\nTOUCHED\r\nDELETED\r\n\
        VERSION 1.6.18\r\nOK\r\nMN\r\nOK\r\nERROR\r\n";
    assert_eq!(reply_to(input), expected);
}

#[test]
fn wherever_the_input_is_cut_the_reply_is_the_same() {
    let input = b"set a 0 0 4\r\n\r\n\r\n\r\nget a\r\nms b 2 c\r\nhi\r\nmg b v\r\nadd a 0 0 2\r\nno\r\nset bad 0 0 1\r\nxyz\r\n";
    let whole = converse(&server(), input, &[]);
    for cut in 0..=input.len() {
        assert_eq!(converse(&server(), input, &[cut]), whole, "cut at {cut}");
    }
    let every: Vec<usize> = (0..input.len()).collect();
    assert_eq!(converse(&server(), input, &every), whole);
}

#[test]
fn a_long_multiget_in_small_pieces_is_answered_once() {
    let mut input = b"set k 0 0 1\r\nv\r\nget".to_vec();
    for _ in 0..20_000 {
        input.extend(b" k");
    }
    input.extend(b"\r\n");
    let cuts: Vec<usize> = (0..input.len()).step_by(17).collect();
    let (reply, _) = converse(&server(), &input, &cuts);
    assert_eq!(reply.len(), 8 + 20_000 * "VALUE k 0 1\r\nv\r\n".len() + 5);
}

#[test]
fn a_large_reply_comes_in_several_calls() {
    let server = server();
    let value = vec![b'v'; 100_000];
    let mut input = b"set k 0 0 100000\r\n".to_vec();
    input.extend(&value);
    input.extend(b"\r\n");
    converse(&server, &input, &[]);
    let request = b"get k k k k k k k k k k\r\nget k\r\n";
    let mut session = Session::new();
    let (mut at, mut calls, mut total) = (0, 0, 0);
    loop {
        let mut out = Vec::new();
        let progress = session.receive(&request[at..], &server, Now::default(), &mut out);
        assert!(out.len() <= OUTPUT_BYTES + 100_100);
        (at, calls, total) = (at + progress.consumed, calls + 1, total + out.len());
        if progress.needs == Needs::Input {
            break;
        }
    }
    assert_eq!((at, total), (request.len(), 11 * ("VALUE k 0 100000\r\n\r\n".len() + 100_000) + 10));
    assert!(calls > 3, "{calls} calls");
}

#[test]
fn too_large_a_value_is_refused_at_its_line_and_swallowed() {
    let server = server();
    let mut session = Session::new();
    let mut out = Vec::new();
    let line = b"set k 0 0 2000000\r\n";
    assert_eq!(session.receive(line, &server, Now::default(), &mut out).consumed, line.len());
    assert_eq!(out, b"SERVER_ERROR object too large for cache\r\n");
    out.clear();
    let rest = [&vec![b'x'; 2_000_000][..], b"\r\nmn\r\n"].concat();
    assert_eq!(session.receive(&rest, &server, Now::default(), &mut out).consumed, rest.len());
    assert_eq!(out, b"MN\r\n");
}

#[test]
fn what_ends_a_connection() {
    assert_eq!(converse(&server(), b"version\r\nquit\r\nversion\r\n", &[]).1, Needs::Close);
    assert_eq!(converse(&server(), &[b'x'; 5000], &[]).1, Needs::Close);
}

fn datagrams(server: &Server, commands: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, NoReply> {
    let datagram = [&Frame::single(77).to_bytes()[..], commands].concat();
    let mut out = Vec::new();
    let reply = answer_datagram(&datagram, server, Now::default(), limit, &mut out)?;
    let datagram = |sequence| {
        let mut datagram = Vec::new();
        reply.write(sequence, &mut datagram);
        datagram
    };
    Ok((0..reply.datagrams()).map(datagram).collect())
}

#[test]
fn a_reply_by_datagrams_counts_them() {
    let server = server();
    assert_eq!(datagrams(&server, b"get a\r\n", usize::MAX).unwrap(), [b"\0\x4d\0\0\0\x01\0\0END\r\n"]);
    let value = vec![b'v'; 5_000];
    let set = [&b"set k 0 0 5000\r\n"[..], &value, b"\r\n"].concat();
    assert_eq!(datagrams(&server, &set, usize::MAX).unwrap().len(), 1);
    let sent = datagrams(&server, b"get k\r\n", usize::MAX).unwrap();
    assert_eq!(sent.len(), 4);
    let mut whole = Vec::new();
    for (index, datagram) in sent.iter().enumerate() {
        let (frame, payload) = Frame::parse(datagram).unwrap();
        assert_eq!((frame.request_id, frame.sequence, frame.total), (77, index as u16, 4));
        assert!(datagram.len() <= DATAGRAM_BYTES);
        whole.extend_from_slice(payload);
    }
    assert_eq!(Reply::wire_len(whole.len()), sent.iter().map(Vec::len).sum());
    assert_eq!(whole, [&b"VALUE k 0 5000\r\n"[..], &value, b"\r\nEND\r\n"].concat());
    assert_eq!(datagrams(&server, b"get k\r\n", 5_000), Err(NoReply::TooLong));
}

#[test]
fn datagrams_without_a_reply() {
    let server = server();
    let mut out = Vec::new();
    let mut answer = |datagram: &[u8]| {
        answer_datagram(datagram, &server, Now::default(), usize::MAX, &mut out).map(|_| ())
    };
    assert_eq!(answer(b"short"), Err(NoReply::NoFrame));
    assert_eq!(answer(b"\0\0\0\0\0\x02\0\0get a\r\n"), Err(NoReply::NotSingle));
    assert_eq!(answer(b"\0\0\0\0\0\x01\0\0get a"), Err(NoReply::Incomplete));
    assert_eq!(answer(b"\0\0\0\0\0\x01\0\0delete a noreply\r\n"), Err(NoReply::Quiet));
}

const WORDS: &[&[u8]] = &[
    b"get ",
    b"set a 0 0 3\r\n",
    b"ms a 2 ",
    b"mg a v",
    b"\r\n",
    b"abc",
    b" ",
    b"ma a N0 J5 v\r\n",
    b"\0",
    b"stats reset\r\n",
    b"b Oq ",
    b"\xff",
    b"-1",
    b"\n",
    b"incr a 1",
    b"flush_all ",
    b"gat 1 a b",
    b"gets a",
    b"b",
];

/// Binary requests, whole and broken, and what may be read as one.
fn binary_words() -> impl Strategy<Value = Vec<u8>> {
    let key = proptest::sample::select(vec![&b"a"[..], b"b", b"a key", b"", b"items"]);
    let extras = proptest::sample::select(vec![&b""[..], &[0; 4], &[0; 8], &[0; 20], &[0xff; 20], &[1; 3]]);
    let value = proptest::sample::select(vec![&b""[..], b"1", b"value", b"\0u\0p"]);
    let whole = (0..0x26_u8, 0..4_u64, extras, key, value).prop_map(|(opcode, cas, extras, key, value)| {
        frames::Frame { opcode, cas, extras, key, value }.to_bytes()
    });
    let fitting = prop_oneof![
        Just(frames::storing(0x01, b"a", b"5")),
        Just(frames::storing(0x11, b"a", b"a value")),
        Just(frames::keyed(0x0c, b"a")),
        Just(frames::keyed(0x0d, b"b")),
        Just(frames::keyed(0x0a, b"")),
    ];
    prop_oneof![8 => fitting, 4 => whole, 1 => proptest::collection::vec(any::<u8>(), 0..30)]
}

proptest! {
    #[test]
    fn no_binary_bytes_make_it_panic_or_answer_differently_for_their_cuts(
        words in proptest::collection::vec(binary_words(), 1..20),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        authenticates in any::<bool>(),
    ) {
        let server = || {
            let credentials = authenticates.then(|| Credentials::parse(b"u:p").unwrap());
            Server { credentials, ..server() }
        };
        let input = words.concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(converse(&server(), &input, &cuts), converse(&server(), &input, &[]));
    }

    #[test]
    fn no_bytes_make_it_panic_or_answer_differently_for_their_cuts(
        words in proptest::collection::vec(proptest::sample::select(WORDS), 0..60),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let input = words.concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(converse(&server(), &input, &cuts), converse(&server(), &input, &[]));
    }
}

#[test]
fn an_impatient_session_stops_where_the_store_is_held_and_goes_on_there() {
    let server = server();
    converse(&server, b"set a 0 0 1\r\n1\r\nset b 0 0 1\r\n2\r\n", &[]);
    let now = Now::default();
    for (input, expected) in [
        (
            &b"version\r\nget a b a\r\nset c 0 0 1\r\n3\r\n"[..],
            "VALUE a 0 1\r\n1\r\nVALUE b 0 1\r\n2\r\nVALUE a 0 1\r\n1\r\nEND\r\nSTORED\r\n",
        ),
        (b"version\r\nmg b v\r\n", "VA 1\r\n2\r\n"),
        (b"version\r\nincr b 1\r\ndecr b 1\r\n", "3\r\n2\r\n"),
    ] {
        let (mut session, mut out) = (Session::impatient(), Vec::new());
        let held = server.store.entry(b"b", now);
        let progress = session.receive(input, &server, now, &mut out);
        assert_eq!(progress.needs, Needs::Store);
        drop(held);
        let rest = session.receive(&input[progress.consumed..], &server, now, &mut out);
        assert_eq!((progress.consumed + rest.consumed, rest.needs), (input.len(), Needs::Input));
        assert_eq!(String::from_utf8(out).unwrap(), format!("VERSION {COMPATIBLE_VERSION}\r\n{expected}"));
    }
}
