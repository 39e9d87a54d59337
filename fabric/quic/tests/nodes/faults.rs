//! Networks that lose, peers that die, and two that dial at once.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fabric_quic::{Config, Files, Identity, SendError, Unreachable};

use crate::free_address::free_address;
use crate::relay::{Relay, Weather};
use crate::support::{ASK, Ca, FLOW, NEWS, Node, PATIENCE, config, id, impatient, soon, until};

/// A node in a process of its own, killed with it.
struct Process {
    child: Child,
    address: SocketAddr,
}

const CHILD: &str = "FABRIC_QUIC_TEST_NODE";

/// An address that no other test is given while the process that had it is down.
fn lasting_address() -> SocketAddr {
    free_address().unwrap().into()
}

/// No test: what [`Process::start`] runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_in_a_process_of_its_own() {
    let Ok(line) = std::env::var(CHILD) else { return };
    let parts: Vec<&str> = line.split('|').collect();
    let [ca, certificate, key, address, idle_timeout_ms] = parts[..] else { panic!("{line}") };
    let files = Files { ca: ca.into(), certificate: certificate.into(), key: key.into() };
    let config = Config { idle_timeout_ms: idle_timeout_ms.parse().unwrap(), ..impatient() };
    let mut node = Node::start(Identity::open(&files).unwrap(), config, address.parse().unwrap());
    node.echo();
    println!("\nlistens on {}", node.address());
    std::future::pending().await
}

impl Process {
    fn start(files: &Files, address: SocketAddr, config: &Config) -> Self {
        let Files { ca, certificate, key } = files;
        let paths = [ca, certificate, key].map(|path| path.display().to_string()).join("|");
        let line = format!("{paths}|{address}|{}", config.idle_timeout_ms);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "faults::a_node_in_a_process_of_its_own", "--nocapture"])
            .env(CHILD, line)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut addresses = lines.filter_map(|line| line.unwrap().strip_prefix("listens on ")?.parse().ok());
        let address = addresses.next().expect("the node says where it listens");
        Self { child, address }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn answered(a: &Node) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = a.endpoint.call(id(2), &ASK, Bytes::new(), Duration::from_secs(2)).await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_was_killed_is_back_when_it_is_back() {
    let ca = Ca::new();
    let files = ca.files(id(2));
    let mut b = Process::start(&files, lasting_address(), &impatient());
    let a = Node::start(ca.identity(id(1)), impatient(), "127.0.0.1:0".parse().unwrap());
    a.endpoint.set_addresses(id(2), &[b.address]).unwrap();
    answered(&a).await;
    b.kill();

    // Sending goes on without waiting, and what cannot go is counted; the peer is not dialed in a storm.
    let down = Instant::now();
    let mut unreachable = 0;
    until("the peer's loss, and the failure of a dial or two", || {
        let sent = Instant::now();
        if let Err(SendError::Unreachable(Unreachable::Resting { .. })) =
            a.endpoint.send(id(2), &NEWS, Bytes::new())
        {
            unreachable += 1;
        }
        assert!(sent.elapsed() < Duration::from_secs(1), "sending waited");
        a.count("dials_failed") >= 2 && unreachable > 0
    })
    .await;
    assert!(a.count("messages_dropped_unreachable") >= unreachable);
    let most = 2 + down.elapsed().as_millis() as u64 / u64::from(impatient().dial_ms as u32);
    assert!(a.count("dials_failed") <= most, "{} dials in {:?}", a.count("dials_failed"), down.elapsed());

    let _b = Process::start(&files, b.address, &impatient());
    answered(&a).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_started_anew_says_that_it_forgot_the_connection() {
    let ca = Ca::new();
    let files = ca.files(id(2));
    // So patient, both, that only the peer itself can tell that the connection is gone.
    let patient = Config { idle_timeout_ms: 600_000, ..config() };
    let mut b = Process::start(&files, lasting_address(), &patient);
    let a = Node::start(ca.identity(id(1)), patient.clone(), "127.0.0.1:0".parse().unwrap());
    a.endpoint.set_addresses(id(2), &[b.address]).unwrap();
    answered(&a).await;
    b.kill();
    let _b = Process::start(&files, b.address, &patient);
    answered(&a).await;
    assert_eq!(a.count("connections_lost"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_dial_at_once_come_to_share_one_connection() {
    let ca = Ca::new();
    let identities = [1, 2].map(|number| ca.identity(id(number)));
    let mut pairs = Vec::new();
    for _ in 0..20 {
        let address = "127.0.0.1:0".parse().unwrap();
        let [mut a, mut b] = identities.clone().map(|identity| Node::start(identity, config(), address));
        a.knows(&b);
        b.knows(&a);
        a.echo();
        b.echo();
        let asks = [(&a, id(2)), (&b, id(1))].map(|(node, to)| {
            let endpoint = node.endpoint.clone();
            tokio::spawn(async move {
                for _ in 0..20 {
                    endpoint.call(to, &ASK, Bytes::from_static(b"?"), PATIENCE).await.unwrap();
                }
            })
        });
        for ask in asks {
            soon("the replies", ask).await.unwrap();
        }
        pairs.push((a, b));
    }
    let twice =
        pairs.iter().filter(|(a, b)| a.count("connections_dialed") + b.count("connections_dialed") > 1);
    assert!(twice.count() > 0, "no two dialed at once");
    for (a, b) in &pairs {
        until("one connection", || a.endpoint.connections() == 1 && b.endpoint.connections() == 1).await;
        let origins =
            [(a, 2), (b, 1)].map(|(node, to)| node.endpoint.peer(id(to)).unwrap().connection.unwrap().origin);
        assert_ne!(origins[0], origins[1], "both ends use the same connection");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_network_delays_and_breaks_nothing() {
    let seed =
        std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("SEED={seed}");
    let ca = Ca::new();
    let (a, mut b) = (ca.node(1), ca.node(2));
    b.echo();
    let weather = Weather { loss_per_mille: 50, delay: Duration::from_millis(5), seed };
    let relay = Relay::before(b.address(), weather).await;
    a.endpoint.set_addresses(b.id(), &[relay.address]).unwrap();
    // A dial may lose more packets than it has time for.
    answered(&a).await;
    let endpoint = a.endpoint.clone();
    let asks = tokio::spawn(async move {
        for len in 0..100usize {
            let request = Bytes::from(vec![len as u8; len * 100]);
            let reply = endpoint.call(id(2), &ASK, request.clone(), PATIENCE).await;
            assert_eq!(reply, Ok(request));
        }
    });
    let sent = (0..1000u32)
        .filter(|number| a.endpoint.send(b.id(), &NEWS, number.to_be_bytes().to_vec().into()).is_ok());
    for number in sent.collect::<Vec<_>>() {
        let message = soon("a message", b.news.recv()).await.unwrap();
        assert_eq!(message.bytes[..], number.to_be_bytes(), "SEED={seed}");
    }
    soon("the replies", asks).await.unwrap();
    assert!(relay.lost.load(std::sync::atomic::Ordering::Relaxed) > 0);
    assert_eq!(a.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_is_noticed_and_over_when_it_is_over() {
    let ca = Ca::new();
    let node = |number| Node::start(ca.identity(id(number)), impatient(), "127.0.0.1:0".parse().unwrap());
    let (a, mut b) = (node(1), node(2));
    b.echo();
    let relay = Relay::before(b.address(), Weather::FAIR).await;
    a.endpoint.set_addresses(b.id(), &[relay.address]).unwrap();
    answered(&a).await;
    let (_sender, mut receiver) = a.endpoint.open(b.id(), &FLOW, Bytes::new()).await.unwrap();
    relay.cut(true);
    let lost = soon("the loss", receiver.next()).await.unwrap_err().to_string();
    assert!(lost.contains("timed out"), "{lost}");
    until("b's notice", || !b.is_connected(a.id())).await;
    relay.cut(false);
    answered(&a).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_nobody_uses_is_closed_and_made_again() {
    let ca = Ca::new();
    let brief = Config { unused_ms: 400, ..config() };
    let a = Node::start(ca.identity(id(1)), brief, "127.0.0.1:0".parse().unwrap());
    let mut b = ca.node(2);
    a.knows(&b);
    b.echo();
    // A stream on which nothing is said is a use, too: a watch may have nothing to tell for long.
    let watch = a.endpoint.open(b.id(), &FLOW, Bytes::new()).await.unwrap();
    let before = a.count("connections_unused");
    let used = Instant::now();
    until("three times the limit", || used.elapsed() > Duration::from_millis(1200)).await;
    assert_eq!((a.count("connections_unused"), a.is_connected(b.id())), (before, true));
    drop(watch);
    until("the end", || a.count("connections_unused") == before + 1 && !a.is_connected(b.id())).await;
    until("the end", || !b.is_connected(a.id())).await;
    answered(&a).await;
    assert!(a.count("connections_dialed") >= 2);
}
