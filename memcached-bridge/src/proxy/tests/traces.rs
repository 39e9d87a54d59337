//! What traces say of requests.

use std::time::Duration;

use super::rig::{Rig, pool};
use crate::protocol::Verb;
use crate::proxy::route::{Acks, Destination};
use crate::proxy::trace::{MAX_TRACES, Trace};
use crate::proxy::{Outcome, Proxy};

fn traced(servers: usize, cached: bool) -> Rig {
    let mut rig = Rig::with(pool(servers, cached));
    rig.proxy.trace(1, 7);
    rig
}

fn all(rig: &mut Rig) -> Vec<Trace> {
    std::iter::from_fn(|| rig.proxy.next_trace()).collect()
}

/// The one trace there is.
fn one(rig: &mut Rig) -> Trace {
    let mut traces = all(rig);
    assert_eq!(traces.len(), 1, "{traces:?}");
    traces.remove(0)
}

/// The servers that a trace tells of, and what they said.
fn shares(trace: &Trace) -> Vec<(u16, Outcome)> {
    let mut shares: Vec<_> = trace.shares.iter().map(|share| (share.server.server, share.outcome)).collect();
    shares.sort_by_key(|(server, _)| *server);
    shares
}

#[test]
fn a_request_is_traced_from_its_head_to_its_whole_reply() {
    let mut rig = traced(2, false);
    let client = rig.open();
    let key = rig.key_of(1);
    let began = rig.now;
    let set = format!("set {key} 0 0 5\r\nhello\r\n");
    rig.silent = vec![1];
    rig.send(client, &set.as_bytes()[..set.len() - 4]);
    rig.pass(Duration::from_millis(50));
    let sent = rig.now;
    rig.send(client, &set.as_bytes()[set.len() - 4..]);
    rig.run();
    rig.now = rig.now + Duration::from_millis(30);
    assert_eq!(all(&mut rig), []);
    rig.silent.clear();
    assert_eq!(rig.ask(client, ""), "STORED\r\n");
    let trace = one(&mut rig);
    assert_eq!((trace.client, trace.pool, trace.verb, trace.keys), (client, 0, Verb::Set, 1));
    assert_eq!((&trace.key[..], trace.hits), (key.as_bytes(), 0));
    assert_eq!((trace.request_bytes, trace.reply_bytes), (set.len(), "STORED\r\n".len()));
    assert_eq!((trace.began, trace.ended, trace.outcome), (began, rig.now, Some(Outcome::Done)));
    assert_eq!((trace.servers, trace.shares.len()), (1, 1));
    let share = trace.shares[0];
    assert_eq!((share.server.server, share.sent, share.ended), (1, sent, Some(rig.now)));
    assert_eq!((share.outcome, share.repeats), (Outcome::Done, 0));
}

#[test]
fn a_gathered_request_tells_of_every_server() {
    let mut rig = traced(2, false);
    let client = rig.open();
    let keys = [rig.key_of(0), rig.key_of(1)];
    rig.ask(client, format!("set {} 0 0 1\r\n1\r\n", keys[0]));
    all(&mut rig);
    let reply = rig.ask(client, format!("get {} {}\r\n", keys[0], keys[1]));
    let trace = one(&mut rig);
    assert_eq!((trace.verb, trace.keys, trace.reply_bytes), (Verb::Get, 2, reply.len()));
    assert_eq!(shares(&trace), [(0, Outcome::Done), (1, Outcome::Unmet)]);
    assert_eq!(trace.outcome, Some(Outcome::Done));
    rig.ask(client, "flush_all\r\n");
    let trace = one(&mut rig);
    assert_eq!((trace.verb, trace.keys, trace.servers), (Verb::FlushAll, 0, 2));
}

#[test]
fn hits_are_told_from_what_servers_answered() {
    let mut rig = traced(1, true);
    let client = rig.open();
    rig.ask(client, "set k 0 0 1\r\n1\r\n");
    for _ in 0..4 {
        rig.ask(client, "get k\r\n");
    }
    all(&mut rig);
    let key_hash = rig.shared.hash(b"k");
    rig.ask(client, "get k\r\n");
    let trace = one(&mut rig);
    assert_eq!((trace.outcome, trace.hits, trace.key_hash), (Some(Outcome::Cached), 1, key_hash));
    assert_eq!((trace.reply_bytes, trace.servers), ("VALUE k 0 1\r\n1\r\nEND\r\n".len(), 0));
    rig.ask(client, "get k other k\r\n");
    let trace = one(&mut rig);
    assert_eq!((trace.outcome, trace.hits, trace.servers), (Some(Outcome::Done), 2, 1));
    rig.ask(client, "get other\r\nversion\r\n");
    let outcomes: Vec<_> = all(&mut rig).into_iter().map(|trace| trace.outcome).collect();
    assert_eq!(
        outcomes,
        [Some(Outcome::Done), Some(Outcome::Unmet)],
        "what the node says itself is there first"
    );
}

#[test]
fn a_server_that_fails_is_in_the_trace() {
    let mut rig = traced(2, false);
    let client = rig.open();
    let keys = [rig.key_of(0), rig.key_of(1)];
    rig.silent = vec![1];
    rig.send(client, format!("get {} {}\r\n", keys[0], keys[1]).as_bytes());
    rig.pass(Duration::from_millis(1100));
    let trace = one(&mut rig);
    assert_eq!(shares(&trace), [(0, Outcome::Unmet), (1, Outcome::Unavailable)]);
    assert_eq!(trace.outcome, Some(Outcome::Unavailable));
    let ends: Vec<_> = trace.shares.iter().map(|share| share.ended.unwrap().since(trace.began)).collect();
    assert!(ends[0] < Duration::from_millis(100) && ends[1] >= Duration::from_secs(1), "{ends:?}");
    // One that is not even asked.
    rig.silent.clear();
    rig.refusing = vec![1];
    rig.reset(1);
    rig.ask(client, format!("set {} 0 0 1\r\n1\r\n", keys[1]));
    rig.ask(client, format!("set {} 0 0 1\r\n1\r\n", keys[1]));
    let outcomes: Vec<_> = all(&mut rig).iter().map(|trace| (trace.outcome, trace.servers)).collect();
    assert_eq!(outcomes, [(Some(Outcome::Unavailable), 1), (Some(Outcome::Unavailable), 0)]);
}

#[test]
fn a_request_that_is_asked_again_says_how_often() {
    let mut rig = traced(1, false);
    let client = rig.open();
    rig.ask(client, "mn\r\nget a\r\n");
    all(&mut rig);
    rig.silent = vec![0];
    rig.send(client, b"get a\r\n");
    rig.act();
    rig.silent.clear();
    rig.reset(0);
    rig.run();
    let trace = one(&mut rig);
    assert_eq!((trace.servers, trace.shares[0].repeats, trace.outcome), (1, 1, Some(Outcome::Unmet)));
}

#[test]
fn who_leaves_before_the_reply_has_a_trace_without_an_outcome() {
    let mut rig = traced(1, false);
    let client = rig.open();
    rig.silent = vec![0];
    rig.send(client, b"get a\r\n");
    rig.act();
    rig.proxy.client_closed(client, rig.now);
    let trace = one(&mut rig);
    assert_eq!((trace.outcome, trace.servers), (None, 0));
    rig.silent.clear();
    rig.run();
    assert_eq!(all(&mut rig), []);
}

#[test]
fn traces_that_nobody_takes_are_bounded_and_counted() {
    let mut rig = traced(1, false);
    let client = rig.open();
    rig.ask(client, "get a\r\n".repeat(MAX_TRACES + 10));
    rig.pass(Duration::from_millis(10));
    let skipped = rig.shared.threads()[0].counters.read();
    let skipped = skipped.into_iter().find(|(name, _, _)| *name == "traces_skipped").unwrap().2;
    assert_eq!((all(&mut rig).len(), skipped), (MAX_TRACES, 10));
    rig.ask(client, "get a\r\n");
    assert_eq!(all(&mut rig).len(), 1);
    rig.proxy.trace(0, 7);
    rig.ask(client, "get a\r\n".repeat(100));
    assert_eq!(all(&mut rig), []);
}

#[test]
fn a_streamed_value_counts_with_all_its_bytes() {
    let mut rig = traced(1, false);
    let client = rig.open();
    let set = format!("set a 0 0 300000\r\n{}\r\n", "v".repeat(300_000));
    assert_eq!(rig.ask(client, &set), "STORED\r\n");
    let trace = one(&mut rig);
    assert_eq!((trace.request_bytes, trace.outcome), (set.len(), Some(Outcome::Done)));
}

#[test]
fn a_request_that_was_begun_is_traced_where_its_client_goes_on() {
    let mut rig = traced(1, false);
    let client = rig.open();
    rig.send(client, b"set a 0 0 5\r\nhel");
    rig.proxy.retire(rig.now);
    rig.run();
    let handover = rig.proxy.hand_over(client, rig.now).unwrap();
    assert_eq!(all(&mut rig), []);
    rig.proxy = Proxy::new(vec![rig.shared.clone()], 0, 12);
    rig.proxy.trace(1, 7);
    rig.reset_connections();
    let client = rig.proxy.take_over(0, handover, rig.now, &mut rig.taken);
    assert_eq!(rig.ask(client, "lo\r\n"), "STORED\r\n");
    assert_eq!(one(&mut rig).outcome, Some(Outcome::Done));
}

/// What the servers of a route's pools said, by pool.
fn pool_shares(trace: &Trace) -> Vec<(u16, Outcome)> {
    let mut shares: Vec<_> = trace.shares.iter().map(|share| (share.server.pool, share.outcome)).collect();
    shares.sort_by_key(|(pool, _)| *pool);
    shares
}

#[test]
fn a_server_that_another_one_stood_in_for_spoils_no_trace() {
    use super::routes::{named, route};
    let pools = || vec![named("a", 1, false), named("b", 1, false)];
    let failover = Destination { failover: vec![1], ..Destination::of(0) };
    let mut rig = Rig::routed(pools(), route(failover, vec![]));
    rig.proxy.trace(1, 7);
    let client = rig.open();
    rig.refusing = vec![0];
    for request in ["set k 0 0 1\r\n1\r\n", "get k\r\n", "get k k2\r\n"] {
        rig.pass(Duration::from_millis(400));
        rig.ask(client, request);
        let trace = one(&mut rig);
        assert_eq!(trace.outcome, Some(Outcome::Done), "{request}: {trace:?}");
        assert!(pool_shares(&trace).contains(&(1, Outcome::Done)), "{request}: {trace:?}");
    }
    rig.refusing = vec![0, 1];
    rig.reset(1);
    rig.ask(client, "get k\r\n");
    assert_eq!(one(&mut rig).outcome, Some(Outcome::Unavailable));

    for (acks, outcome) in [(Acks::One, Outcome::Done), (Acks::All, Outcome::Unavailable)] {
        let copies = Destination { replicas: vec![1], acks, ..Destination::of(0) };
        let mut rig = Rig::routed(pools(), route(copies, vec![]));
        rig.proxy.trace(1, 7);
        let client = rig.open();
        rig.silent = vec![1];
        rig.ask(client, "set k 0 0 1\r\n1\r\n");
        rig.pass(Duration::from_millis(1500));
        assert_eq!(one(&mut rig).outcome, Some(outcome), "{acks:?}");
    }
}
