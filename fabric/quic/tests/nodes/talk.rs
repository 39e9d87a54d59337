//! Messages, calls and streams between nodes that are well.

use std::time::Duration;

use bytes::Bytes;
use fabric_quic::{Builder, CallFailure, Messages, Refusal, SendError, StreamError, Thread};

use crate::support::{ASK, Ca, FLOW, NEWS, NOBODY, ONE, PATIENCE, SILENCE, config, id, soon, until};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn messages_arrive_in_order_from_who_sent_them() {
    let ca = Ca::new();
    let (a, mut b) = (ca.node(1), ca.node(2));
    a.knows(&b);
    for number in 0..2000u32 {
        // Of all sizes: within a packet, over several, none at all.
        let message = number.to_be_bytes().repeat(if number % 100 == 7 { 5000 } else { number as usize % 3 });
        a.endpoint.send(b.id(), &NEWS, message.into()).unwrap();
    }
    for number in 0..2000u32 {
        let message = soon("a message", b.news.recv()).await.unwrap();
        let expected =
            number.to_be_bytes().repeat(if number % 100 == 7 { 5000 } else { number as usize % 3 });
        assert_eq!((message.from, &message.bytes[..]), (a.id(), &expected[..]), "message {number}");
    }
    assert_eq!((a.count("messages_sent"), b.count("messages_received")), (2000, 2000));
    assert_eq!(a.count("messages_sent_bytes"), b.count("messages_received_bytes"));
}

#[test]
fn an_endpoint_has_a_thread_and_gives_messages_to_a_function() {
    let ca = Ca::new();
    let (taken, messages) = std::sync::mpsc::channel();
    let thread = Thread::spawn().unwrap();
    let (a, b) = {
        let _on = thread.enter();
        let mut builder = Builder::new(ca.identity(id(2)), config());
        builder.messages_to(&NEWS, move |message| taken.send(message).unwrap());
        (ca.node(1), builder.bind("127.0.0.1:0".parse().unwrap()).unwrap())
    };
    a.endpoint.set_addresses(b.node(), &[b.local_address()]).unwrap();
    for number in 0..1000u32 {
        a.endpoint.send(b.node(), &NEWS, number.to_be_bytes().to_vec().into()).unwrap();
    }
    for number in 0..1000u32 {
        let message = messages.recv_timeout(PATIENCE).unwrap();
        assert_eq!((message.from, &message.bytes[..]), (a.id(), &number.to_be_bytes()[..]));
    }
    // What ran there ends with the thread.
    drop((b, thread));
    let ended = messages.recv_timeout(PATIENCE);
    assert!(matches!(ended, Err(std::sync::mpsc::RecvTimeoutError::Disconnected)), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_directions_and_all_channels_share_one_connection() {
    let ca = Ca::new();
    let (mut a, mut b) = (ca.node(1), ca.node(2));
    a.knows(&b);
    a.echo();
    b.echo();
    a.endpoint.call(b.id(), &ASK, Bytes::from_static(b"there"), PATIENCE).await.unwrap();
    // b was never told where a is.
    let reply = b.endpoint.call(a.id(), &ASK, Bytes::from_static(b"and back"), PATIENCE).await.unwrap();
    assert_eq!(reply, "and back");
    b.endpoint.send(a.id(), &NEWS, Bytes::from_static(b"news")).unwrap();
    assert_eq!(soon("a message", a.news.recv()).await.unwrap().bytes, "news");
    assert_eq!((a.connections(), b.connections()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_all_sizes_are_answered() {
    let ca = Ca::new();
    let (a, mut b) = (ca.node(1), ca.node(2));
    a.knows(&b);
    b.echo();
    for len in [0, 1, 1000, 100_000, 20 << 20] {
        let request = Bytes::from((0..len).map(|byte| byte as u8).collect::<Vec<_>>());
        let reply = a.endpoint.call(b.id(), &ASK, request.clone(), PATIENCE).await.unwrap();
        assert!(reply == request, "{len} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_go_beside_one_another() {
    let ca = Ca::new();
    let (a, mut b) = (ca.node(1), ca.node(2));
    a.knows(&b);
    b.echo();
    let calls = (0..500u32).map(|number| {
        let (endpoint, node) = (a.endpoint.clone(), b.id());
        tokio::spawn(async move {
            let request = Bytes::copy_from_slice(&number.to_be_bytes());
            assert_eq!(endpoint.call(node, &ASK, request.clone(), PATIENCE).await, Ok(request));
        })
    });
    for call in calls.collect::<Vec<_>>() {
        soon("a reply", call).await.unwrap();
    }
    assert_eq!(a.connections(), 1, "one dial serves all who wait");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_fail_say_why() {
    let ca = Ca::new();
    let (a, mut b) = (ca.node(1), ca.node(2));
    let call_within = |channel, len: usize, time| {
        let endpoint = a.endpoint.clone();
        async move { endpoint.call(id(2), channel, Bytes::from(vec![0; len]), time).await.unwrap_err() }
    };
    let unknown = call_within(&ASK, 0, PATIENCE).await;
    assert!(unknown.was_never_taken(), "{unknown}");
    assert!(unknown.to_string().contains("nothing is known of node 0000000000000002"), "{unknown}");

    a.knows(&b);
    let nobody = call_within(&NOBODY, 0, PATIENCE).await;
    assert_eq!(nobody.reason, CallFailure::Stream(StreamError::Refused(Refusal::Channel)));
    assert!(nobody.was_never_taken());
    let too_long = call_within(&ONE, (1 << 20) + 1, PATIENCE).await;
    assert!(matches!(too_long.reason, CallFailure::Stream(StreamError::TooLong { .. })), "{too_long}");

    // Nobody takes it out of the inbox.
    let late = call_within(&ONE, 0, SECOND).await;
    assert_eq!(late.reason, CallFailure::Deadline(SECOND));
    assert!(!late.was_never_taken());
    let taken = b.one.recv().await.unwrap();
    soon("the caller's change of mind", taken.cancelled()).await;
    // While it is held, there is no place for another.
    let busy = call_within(&ONE, 0, PATIENCE).await;
    assert_eq!(busy.reason, CallFailure::Stream(StreamError::Refused(Refusal::Busy)));
    assert!(busy.was_never_taken());
    drop(taken);
    assert_eq!(b.count("calls_refused_busy"), 1);

    // Dropped without a reply.
    let dropped = tokio::spawn(call_within(&ONE, 0, PATIENCE));
    drop(soon("the call", b.one.recv()).await);
    let dropped = dropped.await.unwrap();
    assert_eq!(dropped.reason, CallFailure::Stream(StreamError::Refused(Refusal::Cancelled)));
    assert!(!dropped.was_never_taken());

    let too_long = tokio::spawn(call_within(&ONE, 0, PATIENCE));
    let taken = soon("the call", b.one.recv()).await.unwrap();
    taken.reply(Bytes::from(vec![0; (1 << 20) + 1])).unwrap_err();
    too_long.await.unwrap();
    assert_eq!(a.count("calls_failed"), a.count("calls_made"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_carries_chunks_both_ways_to_its_end() {
    let ca = Ca::new();
    let (a, mut b) = (ca.node(1), ca.node(2));
    a.knows(&b);
    let (mut sender, mut receiver) =
        a.endpoint.open(b.id(), &FLOW, Bytes::from_static(b"from 7 on")).await.unwrap();
    let mut served = soon("the stream", b.flow.recv()).await.unwrap();
    assert_eq!((served.from, &served.opening[..]), (a.id(), &b"from 7 on"[..]));
    let pushed = tokio::spawn(async move {
        for number in 0..200u8 {
            sender.send(Bytes::from(vec![number; 100_000])).await.unwrap();
        }
        sender.finish().unwrap();
    });
    for number in 0..200u8 {
        let chunk = soon("a chunk", served.receiver.next()).await.unwrap().unwrap();
        assert!(chunk.len() == 100_000 && chunk.iter().all(|byte| *byte == number), "chunk {number}");
    }
    assert_eq!(served.receiver.next().await, Ok(None));
    pushed.await.unwrap();
    served.sender.send(Bytes::from_static(b"installed")).await.unwrap();
    served.sender.finish().unwrap();
    assert_eq!(receiver.next().await.unwrap().unwrap(), "installed");
    assert_eq!(receiver.next().await, Ok(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_given_up_is_not_taken_for_whole() {
    let ca = Ca::new();
    let (a, mut b) = (ca.node(1), ca.node(2));
    a.knows(&b);
    let (mut sender, _receiver) = a.endpoint.open(b.id(), &FLOW, Bytes::new()).await.unwrap();
    let mut served = soon("the stream", b.flow.recv()).await.unwrap();
    sender.send(Bytes::from_static(b"the first half")).await.unwrap();
    assert_eq!(soon("a chunk", served.receiver.next()).await.unwrap().unwrap(), "the first half");
    drop(sender);
    let end = soon("the end", served.receiver.next()).await;
    assert_eq!(end, Err(StreamError::Refused(Refusal::Cancelled)));

    // The other way round: the sender hears that nobody reads on.
    let (sender, receiver) = a.endpoint.open(b.id(), &FLOW, Bytes::new()).await.unwrap();
    let mut served = soon("the stream", b.flow.recv()).await.unwrap();
    drop((sender, receiver));
    soon("the end", served.sender.closed()).await;
    assert_eq!(served.sender.send(Bytes::new()).await, Err(StreamError::Refused(Refusal::Cancelled)));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_nobody_takes_are_refused_and_counted() {
    let ca = Ca::new();
    let (a, b) = (ca.node(1), ca.node(2));
    let send = || a.endpoint.send(id(2), &SILENCE, Bytes::from_static(b"?"));
    assert!(matches!(send(), Err(SendError::Unreachable(_))));
    assert_eq!(a.count("messages_dropped_unknown_peer"), 1);
    a.knows(&b);
    until("a refusal", || matches!(send(), Err(SendError::Refused { .. }))).await;
    assert!(a.count("messages_dropped_lost") > 0);
    assert!(b.count("refused_channel") > 0);
    assert_eq!(a.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_endpoint_says_so_to_all() {
    let ca = Ca::new();
    let (mut a, mut b) = (ca.node(1), ca.node(2));
    a.knows(&b);
    b.echo();
    a.endpoint.call(b.id(), &ASK, Bytes::new(), PATIENCE).await.unwrap();
    let (_sender, mut receiver) = a.endpoint.open(b.id(), &FLOW, Bytes::new()).await.unwrap();
    soon("closing", b.endpoint.close()).await;
    let lost = soon("the loss", receiver.next()).await.unwrap_err();
    assert!(lost.to_string().contains("the node shuts down"), "{lost}");
    until("the loss", || !a.is_connected(b.id())).await;
    a.endpoint.close().await;
    assert!(matches!(a.endpoint.send(b.id(), &NEWS, Bytes::new()), Err(SendError::Unreachable(_))));
    assert_eq!(soon("the inbox's end", a.news.recv()).await, None);
    assert!(soon("the inbox's end", b.one.recv()).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_channels_share_a_connection() {
    let ca = Ca::new();
    let loopback = "127.0.0.1:0".parse().unwrap();
    let channels: Vec<Messages> = (1..=250).map(|number| Messages::new(number, "one of many")).collect();
    let mut builder = Builder::new(ca.identity(id(2)), config());
    let inboxes: Vec<_> = channels.iter().map(|channel| builder.messages(channel)).collect();
    let (a, b) = (ca.node(1), builder.bind(loopback).unwrap());
    a.endpoint.set_addresses(id(2), &[b.local_address()]).unwrap();
    for number in 0..100u8 {
        for channel in &channels {
            a.endpoint.send(id(2), channel, vec![number; 100].into()).unwrap();
        }
    }
    for mut inbox in inboxes {
        for number in 0..100u8 {
            assert_eq!(soon("a message", inbox.recv()).await.unwrap().bytes[..], [number; 100]);
        }
    }
    assert_eq!(a.connections(), 1);
}
