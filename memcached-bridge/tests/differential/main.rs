//! The embedded server against memcached itself: the same random streams of commands, cut in odd places, must bring
//! the same bytes.
//!
//! `MEMCACHED_SEED` repeats a run. Needs `/usr/bin/memcached` (1.6.18).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
#![allow(unreachable_pub, missing_docs, reason = "the modules of a test")]

mod binary;
mod datagrams;
mod memcached;
mod ours;
mod random;
mod text;

use std::time::{SystemTime, UNIX_EPOCH};

use memcached::Memcached;
use memcached_bridge::session::Server;
use memcached_bridge::session::stats::ServerFacts;
use memcached_bridge::store::{Limits, Now, Store};
use random::Random;

const STREAMS: usize = 400;
const DATAGRAMS: usize = 4000;

#[test]
fn text_streams_get_the_same_bytes_as_from_memcached() {
    let unix = unix();
    compare(unix, text::LAST_REPLY, text::without_unsteady, |random| {
        text::Generator { random, unix }.stream()
    });
}

#[test]
fn binary_streams_get_the_same_bytes_as_from_memcached() {
    let unix = unix();
    let same = |reply: &[u8]| reply.to_vec();
    compare(unix, binary::LAST_REPLY, same, |random| binary::Generator { random, unix }.stream());
}

#[test]
fn datagrams_get_the_same_bytes_as_from_memcached() {
    let unix = unix();
    let mut random = Random(seed(unix));
    let memcached = Memcached::start();
    let client = datagrams::Client::new(memcached.port);
    let (server, now) = (server(), Now { unix, ..Now::default() });
    let mut sent = 0;
    while sent < DATAGRAMS {
        let mut commands = Vec::new();
        match random.one_in(2) {
            true => text::Generator { random: &mut random, unix }.command(&mut commands),
            false => binary::Generator { random: &mut random, unix }.command(&mut commands),
        }
        if datagrams::fits(&commands) {
            sent += 1;
            let expected = text::without_unsteady(&client.converse(&commands));
            let reply = text::without_unsteady(&datagrams::converse(&server, now, &commands));
            same(&commands, &expected, &reply, sent);
        }
    }
}

/// What repeats the run. Shown if the test fails.
fn seed(unix: u64) -> u64 {
    let seed = std::env::var("MEMCACHED_SEED").ok().map_or(unix | 1, |seed| seed.parse().unwrap());
    println!("MEMCACHED_SEED={seed}");
    seed
}

fn server() -> Server {
    Server { store: Store::new(Limits::default()), facts: ServerFacts::default(), credentials: None }
}

fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Sends the streams that `stream` makes to both. Each reply ends with `last` or with the connection.
fn compare(
    unix: u64,
    last: &'static [u8],
    normalized: impl Fn(&[u8]) -> Vec<u8>,
    mut stream: impl FnMut(&mut Random) -> Vec<u8>,
) {
    let mut random = Random(seed(unix));
    let memcached = Memcached::start();
    let (server, now) = (server(), Now { unix, ..Now::default() });
    let mut bytes = 0;
    for number in 0..STREAMS {
        let input = stream(&mut random);
        let (theirs, ours) = (random.cuts(input.len()), random.cuts(input.len()));
        let expected = normalized(&memcached.converse(&input, &theirs, last));
        let reply = normalized(&ours::converse(&server, now, &input, &ours));
        bytes += reply.len();
        same(&input, &expected, &reply, number);
    }
    println!("{STREAMS} streams, {bytes} bytes of replies");
}

fn same(input: &[u8], expected: &[u8], reply: &[u8], number: usize) {
    if reply == expected {
        return;
    }
    let at = reply.iter().zip(expected).take_while(|(ours, theirs)| ours == theirs).count();
    let around = |bytes: &[u8]| shown(&bytes[at.saturating_sub(200)..bytes.len().min(at + 200)]);
    panic!(
        "number {number}, byte {at} of the reply\n--- commands\n{}\n--- memcached\n{}\n--- ours\n{}",
        shown(input),
        around(expected),
        around(reply),
    );
}

fn pieces<'a>(input: &'a [u8], cuts: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let ends = cuts.iter().copied().chain([input.len()]);
    ends.scan(0, |start, end| {
        let piece = &input[*start..end];
        *start = end;
        Some(piece)
    })
}

/// A value that is read as lines of a bearable length if its command is refused.
fn filler(len: usize) -> Vec<u8> {
    (1..=len).map(|index| if index % 1000 == 0 { b'\n' } else { b'v' }).collect()
}

fn shown(bytes: &[u8]) -> String {
    let mut text = bytes.escape_ascii().to_string().replace("\\r\\n", "\\r\\n\n");
    for magic in ["\\x80", "\\x81"] {
        text = text.replace(magic, &format!("\n{magic}"));
    }
    let lines = text
        .lines()
        .map(|line| if line.len() > 300 { format!("{}...", &line[..300]) } else { line.to_owned() });
    lines.collect::<Vec<_>>().join("\n")
}
