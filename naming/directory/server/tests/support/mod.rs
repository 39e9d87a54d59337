//! Nodes of a directory in one process, with real disks.

#![allow(dead_code, unreachable_pub, reason = "each test uses some of it")]

pub mod archive;
pub mod raw;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use naming::{Name, NodeId};
use naming_directory_client::transport::{Both, Network};
use naming_directory_client::wire::Shard;
use naming_directory_client::{Client, ShardId, client};
use naming_directory_server::{Begin, Server, Settings};
use tempfile::TempDir;

/// How long anything may take that is waited for.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Cluster {
    pub network: Network,
    founders: Vec<NodeId>,
    disks: BTreeMap<NodeId, TempDir>,
    servers: BTreeMap<NodeId, Arc<Server>>,
    /// Of nodes that are started from now on.
    pub adjust: fn(&mut Settings),
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Else their threads write to disks that are being removed.
        self.servers.values().for_each(|server| server.stop());
    }
}

pub fn node(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

impl Cluster {
    /// These nodes found a directory.
    pub fn found(founders: &[u64]) -> Self {
        Self::adjusted(founders, |_| {})
    }

    pub fn adjusted(founders: &[u64], adjust: fn(&mut Settings)) -> Self {
        let mut cluster = Self {
            network: Network::default(),
            founders: founders.iter().copied().map(node).collect(),
            disks: BTreeMap::new(),
            servers: BTreeMap::new(),
            adjust,
        };
        founders.iter().for_each(|number| cluster.start(*number));
        cluster
    }

    /// Starts a node, on the disk it has, or an empty one.
    pub fn start(&mut self, number: u64) {
        let id = node(number);
        let path = self.empty_disk(number);
        let founds = self.founders.contains(&id);
        let begin = if founds { Begin::Found(self.founders.clone()) } else { Begin::Join };
        let mut settings = Settings::new(id, path, begin);
        (self.adjust)(&mut settings);
        let server = Arc::new(Server::start(settings, self.network.transport(id)).unwrap());
        self.network.attach(id, server.clone());
        self.servers.insert(id, server);
    }

    /// Where a node that was never started will have its store.
    pub fn empty_disk(&mut self, number: u64) -> PathBuf {
        self.disks.entry(node(number)).or_insert_with(|| TempDir::new().unwrap()).path().join("directory")
    }

    /// A node starts with an empty disk next time.
    pub fn lose_disk(&mut self, number: u64) {
        self.disks.remove(&node(number));
    }

    /// Ends a node as it is. Its disk stays.
    pub fn kill(&mut self, number: u64) {
        self.network.detach(node(number));
        if let Some(server) = self.servers.remove(&node(number)) {
            server.stop();
        }
    }

    pub fn server(&self, number: u64) -> &Server {
        &self.servers[&node(number)]
    }

    /// A client of a node that has no server.
    pub fn client(&self, number: u64) -> Client {
        let client = self.new_client(number);
        self.network.attach(node(number), Arc::new(client.clone()));
        client
    }

    /// A client of a node that has one.
    pub fn client_of(&self, number: u64) -> Client {
        let client = self.new_client(number);
        let server = Arc::clone(&self.servers[&node(number)]);
        let knows = client.clone();
        server.tell_also(Box::new(move |asked| knows.hearsay(asked)));
        self.network.attach(node(number), Arc::new(Both { server, client: Arc::new(client.clone()) }));
        client
    }

    fn new_client(&self, number: u64) -> Client {
        let mut settings = client::Settings::new(self.founders.iter().copied());
        settings.try_timeout = Duration::from_millis(500);
        settings.servers.push(node(number));
        Client::new(node(number), self.network.transport(node(number)), settings)
    }

    pub fn running(&self) -> Vec<u64> {
        self.servers.keys().map(|node| node.get()).collect()
    }

    pub fn shard(&self, number: u64, shard: ShardId) -> Option<Shard> {
        self.server(number).look().into_iter().find(|found| found.shard == shard.0)
    }

    /// Who leads the first shard.
    pub async fn leader(&self) -> u64 {
        let leads = |number: &u64| self.shard(*number, ShardId::FIRST).is_some_and(|shard| shard.leads);
        let mut leader = None;
        until("there is a leader", || {
            leader = self.running().into_iter().find(leads);
            leader.is_some()
        })
        .await;
        leader.unwrap()
    }

    /// Waits until all running nodes have the same state of a shard.
    pub async fn agree(&self, shard: ShardId) {
        let mut seen = Vec::new();
        until("all replicas are at the same entry, with the same state", || {
            let shards = self.running().into_iter().map(|number| self.shard(number, shard));
            seen = shards.map(|shard| shard.map(|shard| (shard.applied, shard.checksum))).collect();
            seen.iter().all(|one| one.is_some() && *one == seen[0])
        })
        .await;
    }
}

/// Waits for a condition.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
