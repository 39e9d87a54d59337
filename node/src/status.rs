//! What a node says of itself: one [`Status`] for people, one set of [`Metrics`] for Prometheus.
//!
//! Every part of a node that counts something is a [`Source`], registered once in a [`Registry`]. A source is asked when
//! somebody looks; it copies published counters and must not hold anyone up.

mod metrics;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

pub use metrics::{Kind, Metrics};

/// Something that can say how it is.
pub trait Source: Send + Sync {
    /// Adds what it knows to `status`.
    fn describe(&self, status: &mut Status);
    /// Adds its counters and gauges to `metrics`.
    fn collect(&self, metrics: &mut Metrics);
}

/// The sources of a node.
pub struct Registry {
    name: String,
    started: Instant,
    sources: Mutex<Vec<Arc<dyn Source>>>,
}

impl Registry {
    /// No sources yet. `name` is the node's.
    pub fn new(name: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), started: Instant::now(), sources: Mutex::new(Vec::new()) })
    }

    /// Adds a source, for as long as the node runs.
    pub fn register(&self, source: Arc<dyn Source>) {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).push(source);
    }

    /// How everything is now.
    pub fn status(&self) -> Status {
        let mut status = Status {
            node: NodeStatus {
                name: self.name.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                uptime_seconds: self.started.elapsed().as_secs_f64(),
            },
            ..Status::default()
        };
        for source in self.sources() {
            source.describe(&mut status);
        }
        status
    }

    /// All counters and gauges now.
    pub fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::default();
        let labels = [("node", self.name.as_str()), ("version", env!("CARGO_PKG_VERSION"))];
        metrics.gauge(
            "smartswitch_info",
            "Always 1; its labels say which node and version this is.",
            &labels,
            1.0,
        );
        let uptime = self.started.elapsed().as_secs_f64();
        metrics.gauge("smartswitch_uptime_seconds", "Seconds since the node started.", &[], uptime);
        for source in self.sources() {
            source.collect(&mut metrics);
        }
        metrics
    }

    fn sources(&self) -> Vec<Arc<dyn Source>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How a node is. Counters count since its start; whoever shows rates takes differences.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The node.
    pub node: NodeStatus,
    /// The workers of the packet path.
    #[serde(default)]
    pub workers: Vec<WorkerStatus>,
    /// The ports of the switch.
    #[serde(default)]
    pub ports: Vec<PortStatus>,
    /// Stations that the switch knows.
    #[serde(default)]
    pub stations: u64,
    /// The pools.
    #[serde(default)]
    pub pools: Vec<PoolStatus>,
    /// The routes over them.
    #[serde(default)]
    pub routes: Vec<RouteStatus>,
    /// memcached over kernel sockets, if it is served.
    #[serde(default)]
    pub embedded: Option<EmbeddedStatus>,
    /// Its part in the name directory, if it has one.
    #[serde(default)]
    pub directory: Option<DirectoryStatus>,
}

/// The node itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// The version of the program.
    pub version: String,
    /// Seconds since its start.
    pub uptime_seconds: f64,
}

/// A worker of the packet path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Its index.
    pub id: u16,
    /// The core it runs on.
    pub core: u32,
    /// Packets received.
    pub received: u64,
    /// Packets sent.
    pub transmitted: u64,
    /// The part of the last second it was not idle, in percent.
    pub busy_percent: f64,
    /// Dropped packets by reason.
    pub drops: BTreeMap<String, u64>,
}

/// A port of the switch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PortStatus {
    /// Its name.
    pub name: String,
    /// The device behind it.
    pub device: String,
    /// Its MAC address.
    pub mac: String,
    /// Whether the link is up.
    pub link: bool,
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets that the port received and dropped, or was given and did not send.
    pub drops: u64,
}

/// A pool, on the packet path or over TCP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PoolStatus {
    /// Its name.
    pub name: String,
    /// The address and port that clients send to; empty if they come by routes alone.
    pub vip: String,
    /// Connections of clients now; 0 on the packet path.
    #[serde(default)]
    pub connections: u64,
    /// Its servers.
    pub servers: Vec<ServerStatus>,
    /// Its counters by name, summed over the workers: `hits`, `redirected`, `writes` and others.
    pub counters: BTreeMap<String, u64>,
    /// Its cache of hot keys, summed over the workers.
    pub cache: CacheStatus,
    /// The keys asked for most, the hottest first.
    pub hot_keys: Vec<HotKey>,
}

/// A route over pools.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RouteStatus {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub listen: String,
    /// Connections of clients now.
    pub connections: u64,
    /// Where keys go, by prefix.
    pub leads: Vec<LeadStatus>,
    /// Its counters by name, summed over the threads.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
}

/// Where keys of a prefix go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LeadStatus {
    /// The prefix; empty for keys of none.
    pub prefix: String,
    /// The pool that has them.
    pub pool: String,
    /// The pools that have copies of them.
    #[serde(default)]
    pub replicas: Vec<String>,
    /// The older pool that it is filled from.
    #[serde(default)]
    pub warm_from: Option<String>,
    /// The pool that a sample of its requests goes to, too.
    #[serde(default)]
    pub shadow: Option<String>,
    /// The share of keys that this sample is.
    #[serde(default)]
    pub shadow_share: f64,
    /// The pools that are asked in turn when it fails.
    #[serde(default)]
    pub failover: Vec<String>,
}

/// A memcached server of a pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Its name.
    pub name: String,
    /// Its MAC address, on the packet path.
    pub mac: String,
    /// Its address and port, over TCP.
    #[serde(default)]
    pub address: String,
    /// Whether it answers probes; one that does not is ejected.
    pub alive: bool,
    /// Requests sent to it.
    pub requests: u64,
}

/// A cache of hot keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CacheStatus {
    /// Values in it.
    pub entries: u64,
    /// Bytes in use.
    pub bytes: u64,
    /// Bytes that can be in use.
    pub capacity: u64,
}

/// A hot key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HotKey {
    /// The key; bytes that are no printable ASCII as `\x..`.
    pub key: String,
    /// How often it was answered from the cache.
    pub hits: u64,
}

/// memcached over kernel sockets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EmbeddedStatus {
    /// Where it listens.
    pub listen: String,
    /// Items held.
    pub curr_items: u64,
    /// Bytes in use.
    pub bytes: u64,
    /// Bytes that can be in use.
    pub limit_bytes: u64,
    /// Keys read and found.
    pub hits: u64,
    /// Keys read and not found.
    pub misses: u64,
    /// Items removed to make room.
    pub evictions: u64,
    /// TCP connections now.
    pub connections: u64,
    /// Commands by name, such as `cmd_get`.
    pub commands: BTreeMap<String, u64>,
}

/// The node's part in the name directory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DirectoryStatus {
    /// The node's id.
    pub node: String,
    /// Where other nodes reach it; nowhere, if it is alone.
    pub listen: Option<String>,
    /// What it waits for before it takes part in a directory, if it does.
    #[serde(default)]
    pub waits: Option<String>,
    /// Its replicas of shards.
    pub replicas: Vec<ReplicaStatus>,
    /// Its counters by name.
    pub counters: BTreeMap<String, u64>,
}

/// A node's replica of a shard.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReplicaStatus {
    /// The shard's id.
    pub shard: String,
    /// Its first name.
    pub from: String,
    /// The first name behind it, if there is one.
    pub until: Option<String>,
    /// Whether this node leads it.
    pub leads: bool,
    /// Who leads it, if that is known.
    pub leader: Option<String>,
    /// The leader's term.
    pub term: u64,
    /// The last entry that is committed.
    pub committed: u64,
    /// The last entry that is executed here.
    pub applied: u64,
    /// What it knows: items by table.
    pub items: BTreeMap<String, u64>,
}

/// A key as text: bytes that are no printable ASCII as `\x..`.
pub fn escape_key(key: &[u8]) -> String {
    key.escape_ascii().to_string()
}
