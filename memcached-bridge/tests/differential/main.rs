//! The embedded server against memcached itself: the same random streams of commands, cut in odd places, must bring
//! the same bytes.
//!
//! `MEMCACHED_SEED` repeats a run. Needs `/usr/bin/memcached` (1.6.18).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
#![allow(unreachable_pub, missing_docs, reason = "the modules of a test")]

mod datagrams;
#[path = "../../../cluster-tests/src/free_address.rs"]
mod free_address;
mod memcached;
mod ours;
mod streams;
mod whole;

use memcached::Memcached;
use memcached_bridge::session::Server;
use memcached_bridge::session::stats::ServerFacts;
use memcached_bridge::store::{Limits, Now, Store};
use streams::random::Random;
use streams::{Reply, binary, converse, difference, same, seed, text, unix};

const STREAMS: usize = 400;
const DATAGRAMS: usize = 4000;

#[test]
fn text_streams_get_the_same_bytes_as_from_memcached() {
    let unix = unix();
    compare(unix, text::LAST_REPLY, text::without_unsteady, |random| {
        text::Generator { random, unix, administers: true, invalidates: true }.stream()
    });
}

#[test]
fn binary_streams_get_the_same_bytes_as_from_memcached() {
    let unix = unix();
    compare(unix, binary::LAST_REPLY, <[u8]>::to_vec, |random| binary::Generator { random, unix }.stream());
}

#[test]
fn datagrams_get_the_same_bytes_as_from_memcached() {
    let unix = unix();
    let mut random = Random(seed(unix));
    let memcached = Memcached::start();
    let client = datagrams::Client::new(memcached.address);
    let (server, now) = (server(), Now { unix, ..Now::default() });
    let mut sent = 0;
    while sent < DATAGRAMS {
        let mut commands = Vec::new();
        match random.one_in(2) {
            true => text::Generator { random: &mut random, unix, administers: true, invalidates: true }
                .command(&mut commands),
            false => binary::Generator { random: &mut random, unix }.command(&mut commands),
        }
        if datagrams::fits(&commands) {
            sent += 1;
            let expected = Reply::whole(client.converse(&commands)).map(text::without_unsteady);
            let reply =
                Reply::whole(datagrams::converse(&server, now, &commands)).map(text::without_unsteady);
            same(&commands, &expected, &reply, sent);
        }
    }
}

fn server() -> Server {
    Server { store: Store::new(Limits::default()), facts: ServerFacts::default(), credentials: None }
}

/// Sends the streams that `stream` makes to both. Each reply ends with `last` or with the connection.
///
/// A difference counts if it is there again in a second run of the same streams: memcached's clock ticks while it runs, ours
/// stands still, and what depends on the moment of a tick is not the same twice.
fn compare(
    unix: u64,
    last: &'static [u8],
    normalized: impl Fn(&[u8]) -> Vec<u8>,
    mut stream: impl FnMut(&mut Random) -> Vec<u8>,
) {
    let seed = seed(unix);
    let mut run = || -> Result<(), String> {
        let mut random = Random(seed);
        let memcached = Memcached::start();
        let (server, now) = (server(), Now { unix, ..Now::default() });
        for number in 0..STREAMS {
            let input = stream(&mut random);
            let (theirs, ours) = (random.cuts(input.len()), random.cuts(input.len()));
            let expected = converse(memcached.address.into(), &input, &theirs, last).map(&normalized);
            let reply = Reply::whole(ours::converse(&server, now, &input, &ours)).map(&normalized);
            difference(&input, &expected, &reply, number)?;
        }
        Ok(())
    };
    if let Err(first) = run() {
        println!("once more, for it differs: {first}");
        run().unwrap_or_else(|again| panic!("{again}"));
    }
}
