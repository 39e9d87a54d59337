//! Bytes that nobody means.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod support;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use naming::{NameRef, NodeId};
use naming_directory::Bytes;
use naming_directory::catalog::RecordKind;
use naming_directory_client::transport::Network;
use naming_directory_client::wire::Freshness;
use naming_directory_client::{Channel, Client, Receive, client};
use naming_directory_server::{Begin, Server, Settings};
use support::{name, node};
use tempfile::TempDir;

/// A server that remembers what came to it.
struct Tapped {
    server: Server,
    messages: Mutex<Vec<(NodeId, Channel, Bytes)>>,
}

impl Receive for Tapped {
    fn receive(&self, from: NodeId, channel: Channel, message: Bytes) {
        self.messages.lock().unwrap().push((from, channel, message.clone()));
        self.server.receive(from, channel, message);
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_with_any_bytes_changed_are_survived() {
    let seed = 20_261_123;
    println!("seed {seed}");
    let network = Network::default();
    let disks: Vec<TempDir> = (0..3).map(|_| TempDir::new().unwrap()).collect();
    let founders: Vec<NodeId> = [1, 2, 3].map(node).to_vec();
    let servers: Vec<Arc<Tapped>> = (1..=3)
        .map(|number| {
            let path = disks[number as usize - 1].path().join("directory");
            let mut settings = Settings::new(node(number), path, Begin::Found(founders.clone()));
            (settings.group.snapshot_entries, settings.group.retained_entries) = (20, 5);
            let server = Server::start(settings, network.transport(node(number))).unwrap();
            let tapped = Arc::new(Tapped { server, messages: Mutex::default() });
            network.attach(node(number), tapped.clone());
            tapped
        })
        .collect();
    let client = Client::new(node(100), network.transport(node(100)), client::Settings::new(founders));
    network.attach(node(100), Arc::new(client.clone()));
    client.watch(name("/"), |_| true).await.unwrap();
    // The first that this one asks is node 3.
    let fetcher =
        Client::new(node(101), network.transport(node(101)), client::Settings::new([1, 2, 3].map(node)));
    network.attach(node(101), Arc::new(fetcher.clone()));
    let mut snapshot = fetcher.snapshot(NameRef::default()).await.unwrap();
    while snapshot.next().await.unwrap().is_some() {}
    assert_eq!(snapshot.node(), node(3));
    drop(snapshot);
    // Something of each kind, a snapshot among them.
    network.detach(node(3));
    for number in 0..100 {
        let prefix = name(&format!("/p/{number}"));
        client.put_record(RecordKind::Route, prefix.as_name(), "x", None).await.unwrap();
        client.resolve(&[prefix.as_name()], Freshness::Linearizable).await.unwrap();
    }
    network.attach(node(3), servers[2].clone());
    client.list(NameRef::default(), Freshness::Linearizable).await.unwrap();
    support::until("a snapshot arrived", || {
        servers[2].server.counters().snapshots_received.load(Ordering::Relaxed) > 0
    })
    .await;
    let mut random = Random(seed);
    // To a server that has no part in it: what changed could be a message that makes sense.
    let aside = TempDir::new().unwrap();
    let begin = Begin::Found([1, 2, 3].map(node).to_vec());
    let mut settings = Settings::new(node(3), aside.path(), begin);
    settings.forget_empty_after = Duration::from_millis(200);
    let lone = Server::start(settings, Network::default().transport(node(3))).unwrap();
    let messages = std::mem::take(&mut *servers[2].messages.lock().unwrap());
    for kind in [Channel::Raft, Channel::Snapshot, Channel::Request] {
        let of_kind: Vec<_> = messages.iter().filter(|(_, channel, _)| *channel == kind).collect();
        assert!(!of_kind.is_empty(), "{kind:?}");
        for _ in 0..3000 {
            let (from, channel, message) = of_kind[random.below(of_kind.len())];
            let mut bytes = message.to_vec();
            for _ in 0..=random.below(4) {
                let at = random.below(bytes.len().max(1));
                match random.below(3) {
                    0 => bytes.truncate(at),
                    1 => bytes.insert(at.min(bytes.len()), random.next() as u8),
                    _ if at < bytes.len() => bytes[at] = random.next() as u8,
                    _ => {}
                }
            }
            lone.receive(*from, *channel, bytes.into());
        }
    }
    support::until("the server goes on", || !lone.look().is_empty()).await;
    let forgotten = || lone.counters().replicas_forgotten.load(Ordering::Relaxed);
    support::until("shards that never were are forgotten", || forgotten() > 0).await;
    lone.stop();
    client.put_record(RecordKind::Route, name("/p").as_name(), "x", None).await.unwrap();
}
