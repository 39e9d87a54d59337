//! What is slow, too much, or none of the protocol.

use std::time::Duration;

use bytes::Bytes;
use fabric_quic::{Config, SendError};

use crate::relay::{Relay, Weather};
use crate::stranger::Stranger;
use crate::support::{ASK, Ca, FLOW, NEWS, Node, PATIENCE, TIGHT, config, id, soon, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_peer_fills_its_own_queue_and_no_other() {
    let ca = Ca::new();
    let (a, mut b, mut c) = (ca.node(1), ca.node(2), ca.node(3));
    a.knows(&b);
    a.knows(&c);
    b.echo();
    // b takes nothing of this channel: first its inbox fills, then the windows, then the queue here.
    let mut accepted = Vec::new();
    let mut number = 0u32;
    until("a full queue", || {
        number += 1;
        match a.endpoint.send(b.id(), &TIGHT, number.to_be_bytes().repeat(25_000).into()) {
            Ok(()) => accepted.push(number),
            Err(SendError::Full { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        // Full, and staying so: nothing moves any more.
        number - accepted.last().unwrap_or(&0) > 300
    })
    .await;
    let status = a.endpoint.peer(b.id()).unwrap();
    assert!(status.waiting_messages <= 16 && status.waiting_bytes <= 1 << 20, "{status:?}");
    assert!(a.count("messages_dropped_full") >= 300);

    // Other channels to the same peer, and the same channel to another, go on.
    a.endpoint.send(b.id(), &NEWS, Bytes::from_static(b"news")).unwrap();
    assert_eq!(soon("the news", b.news.recv()).await.unwrap().bytes, "news");
    a.endpoint.call(b.id(), &ASK, Bytes::from(vec![0; 10 << 20]), PATIENCE).await.unwrap();
    a.endpoint.send(c.id(), &TIGHT, Bytes::from_static(b"other")).unwrap();
    assert_eq!(soon("the other", c.tight.recv()).await.unwrap().bytes, "other");

    // What was accepted arrives, whole and in order, once it is taken.
    for number in accepted {
        let message = soon("a message", b.tight.recv()).await.unwrap();
        assert_eq!(message.bytes[..4], number.to_be_bytes());
        assert_eq!(message.bytes.len(), 100_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_nobody_reads_hold_up_nothing_else() {
    let ca = Ca::new();
    let (a, mut b) = (ca.node(1), ca.node(2));
    a.knows(&b);
    b.echo();
    let mut unread = Vec::new();
    for _ in 0..8 {
        let (mut sender, receiver) = a.endpoint.open(b.id(), &FLOW, Bytes::new()).await.unwrap();
        let served = soon("the stream", b.flow.recv()).await.unwrap();
        let pushing = tokio::spawn(async move {
            let mut sent = 0;
            while tokio::time::timeout(Duration::from_secs(1), sender.send(vec![0; 1 << 20].into()))
                .await
                .is_ok()
            {
                sent += 1;
            }
            sent
        });
        unread.push((pushing, receiver, served));
    }
    for (pushing, ..) in &mut unread {
        let sent = soon("back-pressure", pushing).await.unwrap();
        let window = config().stream_window_bytes as usize >> 20;
        assert!(sent <= 2 * window + 1, "{sent} MiB sent to who reads nothing");
    }
    a.endpoint.call(b.id(), &ASK, Bytes::from(vec![0; 10 << 20]), PATIENCE).await.unwrap();
    a.endpoint.send(b.id(), &NEWS, Bytes::from_static(b"news")).unwrap();
    assert_eq!(soon("the news", b.news.recv()).await.unwrap().bytes, "news");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_bounded_on_both_sides() {
    let ca = Ca::new();
    let single = |number| {
        let config = Config { max_connections: 1, ..config() };
        Node::start(ca.identity(id(number)), config, "127.0.0.1:0".parse().unwrap())
    };
    let (a, mut full, other) = (ca.node(1), single(2), ca.node(3));
    full.echo();
    a.knows(&full);
    other.knows(&full);
    full.knows(&other);
    a.endpoint.call(full.id(), &ASK, Bytes::new(), PATIENCE).await.unwrap();
    let refused = other.endpoint.call(full.id(), &ASK, Bytes::new(), PATIENCE).await.unwrap_err().to_string();
    assert!(refused.contains("the node has as many connections as it may"), "{refused}");
    let refused = full.endpoint.call(other.id(), &ASK, Bytes::new(), PATIENCE).await.unwrap_err().to_string();
    assert!(refused.contains("this node has as many connections as it may"), "{refused}");
    assert_eq!(full.count("connections_full"), 2);
    // A place that is free again is given again.
    full.endpoint.forget(a.id());
    until("an answer", || full.endpoint.connections() == 0).await;
    until("a rest's end", || other.endpoint.peer(full.id()).unwrap().resting.is_none()).await;
    other.endpoint.call(full.id(), &ASK, Bytes::new(), PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_none_of_the_protocol_cost_their_stream_only() {
    let ca = Ca::new();
    let mut node = ca.node(1);
    let stranger = Stranger::with(&ca, &ca.files(id(2)));
    let connection = stranger.connect(node.id(), node.address()).await.unwrap();
    let malformed: [&[u8]; 6] = [
        // A message, a request and control beyond what is allowed.
        &[1, 0xff, 0xff, 0xff, 0xff],
        &[3, 0xff, 0xff, 0xff, 0xff],
        &[0, 0, 1, 0, 0],
        // Cut off, in the length and after it.
        &[1, 0, 0],
        &[1, 0, 0, 0, 9, 1],
        // Calls take streams of both directions.
        &[3, 0, 0, 0, 0],
    ];
    for (bytes, count) in malformed.iter().zip(1..) {
        let mut stream = match count {
            2 => connection.open_bi().await.unwrap().0,
            _ => connection.open_uni().await.unwrap(),
        };
        stream.write_all(bytes).await.unwrap();
        let _ = stream.finish();
        until("the refusal", || node.count("refused_malformed") == count).await;
    }
    // Of a later version, perhaps: let be.
    let mut unknown = connection.open_uni().await.unwrap();
    unknown.write_all(&[0, 0, 0, 0, 2, 77, 78]).await.unwrap();
    unknown.finish().unwrap();
    // And whatever else.
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..300 {
        let bytes: Vec<u8> = (0..random.usize(0..60)).map(|_| random.u8(0..8)).collect();
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        let _ = send.write_all(&bytes).await;
        let mut send = connection.open_uni().await.unwrap();
        let _ = send.write_all(&bytes).await;
    }
    // It still takes what is right, on the same connection.
    while node.news.try_recv().is_some() {}
    let mut right = connection.open_uni().await.unwrap();
    right.write_all(b"\x01\0\0\0\x05right").await.unwrap();
    loop {
        let message = soon("the message", node.news.recv()).await.unwrap();
        if message.bytes == "right" {
            assert_eq!(message.from, id(2));
            break;
        }
    }
    assert_eq!(connection.close_reason(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_from_forged_addresses_leave_room_for_others() {
    let ca = Ca::new();
    let narrow = Config { max_handshakes: 4, ..config() };
    let node = Node::start(ca.identity(id(1)), narrow, "127.0.0.1:0".parse().unwrap());
    let relay = Relay::before(node.address(), Weather::FAIR).await;
    relay.one_way();
    let files = ca.files(id(2));
    let mut forgers = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (stranger, to, address) = (Stranger::with(&ca, &files), node.id(), relay.address);
        forgers.spawn(async move { stranger.connect(to, address).await.map(drop) });
    }
    until("all that may be without a proof", || node.count("handshakes_retried") > 0).await;
    let before = node.count("handshakes_retried");
    // Held until the node has taken it: it could end before.
    let _connected = Stranger::with(&ca, &files).connect(node.id(), node.address()).await.unwrap();
    until("the connection", || node.count("connections_accepted") == 1).await;
    assert!(node.count("handshakes_retried") > before);
    assert_eq!(node.count("handshakes_ignored"), 0);
}
