//! A server one of whose threads panics.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use naming::NodeId;
use naming_directory::Bytes;
use naming_directory::catalog::RecordKind;
use naming_directory_client::transport::Network;
use naming_directory_client::wire::Freshness;
use naming_directory_client::{Channel, Client, Error, ShardId, Transport, client};
use naming_directory_server::{Begin, Ended, Panicked, Server, Settings};
use support::{Cluster, PATIENCE, name, node};
use tempfile::TempDir;

/// A transport that panics, once it is armed: in whichever thread of the server sends a message of this kind.
struct Mined {
    transport: Arc<dyn Transport>,
    mined: Channel,
    armed: AtomicBool,
}

impl Mined {
    fn new(transport: Arc<dyn Transport>, mined: Channel) -> Arc<Self> {
        Arc::new(Self { transport, mined, armed: AtomicBool::new(false) })
    }

    fn arm(&self) {
        self.armed.store(true, Ordering::Relaxed);
    }
}

impl Transport for Mined {
    fn send(&self, to: NodeId, channel: Channel, message: Bytes) -> bool {
        assert!(channel != self.mined || !self.armed.load(Ordering::Relaxed), "a mine was stepped on");
        self.transport.send(to, channel, message)
    }
}

fn start(path: &Path, transport: Arc<dyn Transport>) -> Arc<Server> {
    Arc::new(Server::start(Settings::new(node(1), path, Begin::Found(vec![node(1)])), transport).unwrap())
}

fn client(network: &Network) -> Client {
    let timeout = Duration::from_secs(1);
    let settings = client::Settings { timeout, ..client::Settings::new([node(1)]) };
    let client = Client::new(node(100), network.transport(node(100)), settings);
    network.attach(node(100), Arc::new(client.clone()));
    client
}

async fn panicked(server: &Server) -> Panicked {
    match tokio::time::timeout(PATIENCE, server.ended()).await.expect("the server tells that it ended") {
        Ended::Panicked(panicked) => panicked,
        Ended::Refused(refused) => panic!("{refused}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_driver() {
    let (disk, network) = (TempDir::new().unwrap(), Network::default());
    let mined = Mined::new(network.transport(node(1)), Channel::Response);
    let server = start(disk.path(), Arc::clone(&mined) as Arc<dyn Transport>);
    network.attach(node(1), server.clone());
    let client = client(&network);
    let put = async |text: &'static str| {
        client.put_record(RecordKind::Route, name("/p").as_name(), text, None).await
    };
    put("acknowledged").await.unwrap();
    mined.arm();
    let error = put("nobody hears of it").await.unwrap_err();
    assert!(matches!(&error, Error::NoQuorum { last, .. } if last.contains("no answer")), "{error}");
    let told = panicked(&server).await;
    assert_eq!((told.thread, told.message.as_str()), ("directory", "a mine was stepped on"));
    assert!(told.to_string().contains("start the node again"), "{told}");
    // It does not hold anyone up, nor its store.
    assert!(server.look().is_empty() && server.drain(PATIENCE));
    server.stop();
    let server = start(disk.path(), network.transport(node(1)));
    network.attach(node(1), server.clone());
    let found = client.resolve(&[name("/p").as_name()], Freshness::Linearizable).await.unwrap();
    let value = &found[0].route.as_ref().unwrap().record.value[..];
    // The second one was executed, or not.
    assert!([&b"acknowledged"[..], b"nobody hears of it"].contains(&value), "{value:?}");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_thread_of_snapshots() {
    let (disk, network) = (TempDir::new().unwrap(), Network::default());
    let mined = Mined::new(network.transport(node(1)), Channel::Snapshot);
    let server = start(disk.path(), Arc::clone(&mined) as Arc<dyn Transport>);
    network.attach(node(1), server.clone());
    let client = client(&network);
    client.put_record(RecordKind::Route, name("/p").as_name(), "x", None).await.unwrap();
    // Node 2 has nothing, and needs a snapshot.
    let mut other = Cluster::found(&[]);
    other.network = network.clone();
    other.start(2);
    mined.arm();
    let added = client.members(ShardId::FIRST).add(node(2), Duration::from_secs(2)).await;
    assert!(added.is_err());
    assert_eq!(panicked(&server).await.thread, "directory-snap");
    // All of it ended.
    assert!(server.look().is_empty());
    server.stop();
}
