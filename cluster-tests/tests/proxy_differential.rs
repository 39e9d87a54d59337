//! The node's proxy in front of one memcached against memcached itself: the same random streams of commands, cut in odd
//! places, must bring the same bytes.
//!
//! `MEMCACHED_SEED` repeats a run.
#![allow(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]
#![allow(unreachable_pub, missing_docs, reason = "the modules of a test")]

#[path = "../../memcached-bridge/tests/differential/streams/mod.rs"]
mod streams;

use cluster_tests::loopback::Service;
use cluster_tests::proxied::{Pool, Proxied};
use streams::random::Random;
use streams::{DETERMINISTIC, binary, converse, same, seed, text, unix};

const STREAMS: usize = 300;
/// Replies leave after two commands at the latest: what the streams need for memcached to count alike.
const ONE_BY_ONE: [&str; 2] = ["-R", "1"];

#[test]
fn text_streams() {
    let stream = text_stream(true);
    compare("text", |pool| pool.cache = Some("0"), text::LAST_REPLY, text::without_unsteady, stream);
}

#[test]
fn text_streams_of_hot_keys() {
    let normalized = |reply: &[u8]| text::without_unsteady(&in_any_order(reply));
    let configure = |pool: &mut Pool| pool.hot_threshold = Some(2);
    compare("text-hot", configure, text::LAST_REPLY, normalized, text_stream(false));
}

#[test]
fn binary_streams() {
    let configure = |pool: &mut Pool| pool.cache = Some("0");
    compare("binary", configure, binary::LAST_REPLY, <[u8]>::to_vec, binary_stream);
}

#[test]
fn binary_streams_of_hot_keys() {
    let configure = |pool: &mut Pool| pool.hot_threshold = Some(2);
    compare("binary-hot", configure, binary::LAST_REPLY, <[u8]>::to_vec, binary_stream);
}

/// The proxy administers no server, so nothing here does.
fn text_stream(invalidates: bool) -> impl Fn(&mut Random, u64) -> Vec<u8> {
    move |random, unix| text::Generator { random, unix, administers: false, invalidates }.stream()
}

fn binary_stream(random: &mut Random, unix: u64) -> Vec<u8> {
    binary::Generator { random, unix }.stream()
}

/// Sends the streams that `stream` makes to both. Each reply ends with `last` or with the connection.
fn compare(
    name: &str,
    configure: impl FnOnce(&mut Pool),
    last: &'static [u8],
    normalized: impl Fn(&[u8]) -> Vec<u8>,
    stream: impl Fn(&mut Random, u64) -> Vec<u8>,
) {
    let unix = unix();
    let mut random = Random(seed(unix));
    let arguments = [&DETERMINISTIC[..], &ONE_BY_ONE].concat();
    let pool = Proxied::start_with(&format!("differential-{name}"), 1, &arguments, configure).unwrap();
    let memcached = Service::memcached_with("memcached", pool.directory(), &arguments).unwrap();
    for number in 0..STREAMS {
        let input = stream(&mut random, unix);
        let (theirs, ours) = (random.cuts(input.len()), random.cuts(input.len()));
        let expected = converse(memcached.address().into(), &input, &theirs, last).map(&normalized);
        let reply = converse(pool.address().into(), &input, &ours, last).map(&normalized);
        same(&input, &expected, &reply, number);
    }
    let hits = pool.admin().metrics().unwrap().sum("hits");
    println!("{STREAMS} streams, {hits} hits");
}

/// The reply with the items of each `get` sorted: the protocol does not order them, and those that the node has come first.
fn in_any_order(reply: &[u8]) -> Vec<u8> {
    let (mut out, mut items, mut rest) = (Vec::with_capacity(reply.len()), Vec::new(), reply);
    while !rest.is_empty() {
        let len = item_len(rest);
        let end = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |end| end + 1);
        let (part, behind) = rest.split_at(len.unwrap_or(end).min(rest.len()));
        if len.is_some() {
            items.push(part);
        } else {
            items.sort_unstable();
            items.drain(..).for_each(|item| out.extend_from_slice(item));
            out.extend_from_slice(part);
        }
        rest = behind;
    }
    items.into_iter().for_each(|item| out.extend_from_slice(item));
    out
}

/// The length of the item at the front of a reply, line and value; `None` if it is something else.
fn item_len(reply: &[u8]) -> Option<usize> {
    let line = &reply[..reply.iter().position(|&byte| byte == b'\n')?];
    let mut words = line.strip_suffix(b"\r")?.split(|&byte| byte == b' ');
    let value = std::str::from_utf8(words.next().filter(|word| *word == b"VALUE").and(words.nth(2))?).ok()?;
    Some(line.len() + 1 + value.parse::<usize>().ok()? + 2)
}
