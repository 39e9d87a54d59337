//! Who is let in, and who is not.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use fabric_quic::{Files, Identity};

use crate::stranger::Stranger;
use crate::support::{ASK, Ca, Node, PATIENCE, config, id, until};

/// Why `a` cannot reach the node `number`.
async fn failure(a: &Node, number: u64) -> String {
    let error = a.endpoint.call(id(number), &ASK, Bytes::new(), PATIENCE).await.unwrap_err();
    assert!(error.was_never_taken(), "{error}");
    error.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_no_certificate_is_refused() {
    let ca = Ca::new();
    let node = ca.node(1);
    let refusal = Stranger::nobody(&ca).refusal(node.id(), node.address()).await;
    assert!(refusal.contains("error 116"), "{refusal}");
    until("the count", || node.count("handshakes_failed") == 1).await;
    assert_eq!(node.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_a_certificate_that_expired_is_refused() {
    let ca = Ca::new();
    let node = ca.node(1);
    ca.files(id(2));
    let expired = ca.renew(id(2), SystemTime::now() - Duration::from_secs(1));
    let refusal = Stranger::with(&ca, &expired).refusal(node.id(), node.address()).await;
    assert!(refusal.contains("error 45"), "{refusal}");
    until("the count", || node.count("handshakes_failed") == 1).await;
    assert_eq!(node.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_a_certificate_of_nobody_or_of_the_node_itself_is_refused() {
    let ca = Ca::new();
    let node = ca.node(1);
    let two = ["0000000000000002.node.smartswitch.internal", "0000000000000003.node.smartswitch.internal"];
    let strangers = [
        Stranger::named(&ca, &["www.example.com".to_owned()]),
        Stranger::named(&ca, &two.map(str::to_owned)),
        Stranger::with(&ca, &ca.files(node.id())),
    ];
    for (stranger, count) in strangers.iter().zip(1..) {
        let refusal = stranger.refusal(node.id(), node.address()).await;
        assert!(refusal.contains("the certificate names no other node"), "{refusal}");
        assert_eq!(node.count("connections_misnamed"), count);
    }
    assert_eq!(node.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_another_protocol_is_refused() {
    let ca = Ca::new();
    let node = ca.node(1);
    let other = Stranger::with(&ca, &ca.files(id(2))).speaking(b"h3");
    let refusal = other.refusal(node.id(), node.address()).await;
    assert!(refusal.contains("error 120"), "{refusal}");
    until("the count", || node.count("handshakes_failed") == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_different_authorities_do_not_talk() {
    let (ours, theirs) = (Ca::new(), Ca::new());
    let (a, b) = (ours.node(1), theirs.node(2));
    a.knows(&b);
    let why = failure(&a, 2).await;
    assert!(why.contains(&b.address().to_string()) && why.contains("UnknownIssuer"), "{why}");
    until("the count", || b.count("handshakes_failed") == 1).await;
    assert_eq!((a.connections(), b.connections()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_not_believed_is_told_so() {
    let (ours, theirs) = (Ca::new(), Ca::new());
    let credulous = bundle(&ours, [&ours, &theirs], 1);
    let a = Node::start(Identity::open(&credulous).unwrap(), config(), "127.0.0.1:0".parse().unwrap());
    let b = theirs.node(2);
    a.knows(&b);
    let why = failure(&a, 2).await;
    let expected = "does not believe this node's certificate: it does not know the authority";
    assert!(why.contains(expected), "{why}");
    assert_eq!((a.connections(), b.connections()), (0, 0));
    until("the count", || b.count("handshakes_failed") == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_another_than_expected_is_not_talked_to() {
    let ca = Ca::new();
    let (a, b) = (ca.node(1), ca.node(2));
    a.endpoint.set_addresses(id(3), &[b.address()]).unwrap();
    let why = failure(&a, 3).await;
    assert!(why.contains("0000000000000003.node") && why.contains("0000000000000002.node"), "{why}");
    assert_eq!((a.connections(), b.connections(), a.count("dials_failed")), (0, 0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_does_not_outlive_its_certificates() {
    let ca = Ca::new();
    ca.files(id(2));
    // Until then both nodes have to be there, and one to have asked the other.
    let expires = SystemTime::now() + Duration::from_secs(6);
    let short = Identity::open(&ca.renew(id(2), expires)).unwrap();
    let (a, mut b) = (ca.node(1), Node::start(short, config(), "127.0.0.1:0".parse().unwrap()));
    a.knows(&b);
    b.echo();
    a.endpoint.call(b.id(), &ASK, Bytes::new(), PATIENCE).await.unwrap();
    until("the end", || a.count("connections_expired") == 1).await;
    assert!(SystemTime::now() >= short_of(expires));
    until("the end", || !a.is_connected(b.id())).await;
    let why = failure(&a, 2).await;
    assert!(why.contains("xpired"), "{why}");

    // A new certificate, and all is well.
    let renewed = ca.renew(id(2), SystemTime::now() + Duration::from_secs(3600));
    b.endpoint.reload(Identity::open(&renewed).unwrap()).unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    while let Err(error) = a.endpoint.call(b.id(), &ASK, Bytes::new(), PATIENCE).await {
        assert!(std::time::Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Certificates count whole seconds.
fn short_of(time: SystemTime) -> SystemTime {
    time - Duration::from_secs(1)
}

#[tokio::test(flavor = "multi_thread")]
async fn authorities_change_while_nodes_talk() {
    let (old, new) = (Ca::new(), Ca::new());
    let (mut a, mut b) = (old.node(1), old.node(2));
    a.knows(&b);
    a.echo();
    b.echo();
    let open = |files: Files| Identity::open(&files).unwrap();
    let ask = async || a.endpoint.call(b.id(), &ASK, Bytes::new(), PATIENCE).await;
    ask().await.unwrap();

    // First both are believed, ...
    for (node, number) in [(&a, 1), (&b, 2)] {
        node.endpoint.reload(open(bundle(&old, [&old, &new], number))).unwrap();
    }
    ask().await.unwrap();
    // ... then each node shows a certificate of the new one, ...
    for (node, number) in [(&a, 1), (&b, 2)] {
        node.endpoint.reload(open(bundle(&new, [&old, &new], number))).unwrap();
    }
    ask().await.unwrap();
    assert_eq!((a.connections(), b.connections()), (1, 1), "nobody had to connect anew");
    // ... then the old one is not believed any more, and what it vouched for is over.
    b.endpoint.reload(open(new.files(id(2)))).unwrap();
    assert_eq!(b.count("connections_expired"), 1);
    until("the end", || !a.is_connected(b.id())).await;
    a.endpoint.reload(open(new.files(id(1)))).unwrap();
    until("a rest's end", || a.endpoint.peer(id(2)).unwrap().resting.is_none()).await;
    ask().await.unwrap();

    let error = a.endpoint.reload(open(new.files(id(3)))).unwrap_err().to_string();
    assert!(error.ends_with("is for node 0000000000000003, but this is node 0000000000000001"), "{error}");
    ask().await.unwrap();
}

/// The files of node `number` of `issuer`, which believes both authorities.
fn bundle(issuer: &Ca, believed: [&Ca; 2], number: u64) -> Files {
    let files = issuer.files(id(number));
    let both = believed.map(|ca| std::fs::read_to_string(ca.certificate()).unwrap()).concat();
    let ca = files.certificate.with_extension("bundle");
    std::fs::write(&ca, both).unwrap();
    Files { ca, ..files }
}
