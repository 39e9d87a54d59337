//! A valid configuration. Every limit is in the range that the program can do; nothing behind this checks again.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use fabric::io::HugePages;
use fabric::packet::MacAddr;
use fabric::worker::Idle;
use ipnet::{IpNet, Ipv4Net};
use memcached_bridge::hashing::{Distribution, KeyHash};
use memcached_bridge::proxy::MAX_STALL;
use memcached_bridge::proxy::limits::{MaxTtl, Rate};
use memcached_bridge::proxy::route::Acks;
use naming::{NodeId, Rack};
use tokio_rustls::rustls::pki_types::ServerName;

use super::directory::{Directory, Fabric};
use super::size::ByteSize;
use crate::limits::PerClient;

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who the node is.
    pub node: Node,
    /// The admin server.
    pub admin: Admin,
    /// memcached over kernel sockets, if it is served.
    pub embedded: Option<Embedded>,
    /// How it talks with other nodes, if it does.
    pub fabric: Option<Fabric>,
    /// Its part in the name directory, if it has one.
    pub directory: Option<Directory>,
    /// The packet path, if there is one.
    pub dataplane: Option<Dataplane>,
    /// How pools are served over TCP.
    pub proxy: Proxy,
    /// The pools of servers.
    pub pools: Vec<Pool>,
    /// The pools that the node answers for itself.
    pub embedded_pools: Vec<EmbeddedPool>,
    /// The routes over them.
    pub routes: Vec<Route>,
    /// Traces.
    pub telemetry: Telemetry,
}

/// `[proxy]`
#[derive(Clone, Copy, Debug)]
pub struct Proxy {
    /// Threads that serve pools.
    pub threads: usize,
    /// How long a busy thread waits before it looks for more to do.
    pub coalesce: Duration,
}

impl Proxy {
    /// Of `coalesce`: a fraction of what a server and two hops take when a thread is busy.
    pub(super) const COALESCE_US: u64 = 50;
}

impl Default for Proxy {
    fn default() -> Self {
        Self { threads: default_threads(), coalesce: Duration::from_micros(Self::COALESCE_US) }
    }
}

/// Threads that serve sockets, at most: the packet path's cores are to be left alone.
const MAX_THREADS: usize = 8;

/// Threads that serve sockets, unless the configuration says so: one for each core.
pub fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(MAX_THREADS)
}

impl Config {
    /// The pools of servers that are on the packet path, and their addresses there.
    pub fn pools_on_path(&self) -> impl Iterator<Item = (&Pool, Ipv4Addr)> {
        self.pools.iter().filter_map(|pool| Some((pool, pool.vip?)))
    }
}

impl Default for Config {
    /// What runs without a file: memcached on the loopback interface, a directory of its own, and the admin server.
    fn default() -> Self {
        Self {
            node: Node::default(),
            admin: Admin::default(),
            embedded: Some(Embedded::default()),
            fabric: None,
            directory: Some(Directory { optional: true, ..Directory::default() }),
            dataplane: None,
            proxy: Proxy::default(),
            pools: Vec::new(),
            embedded_pools: Vec::new(),
            routes: Vec::new(),
            telemetry: Telemetry::default(),
        }
    }
}

/// `[node]`
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name on pages and in messages.
    pub name: String,
    /// By which other nodes and their certificates know it, for as long as its data lives.
    pub id: NodeId,
    /// What fails with it.
    pub rack: Rack,
    /// Where it keeps what outlives it, if that is said; see [`Node::data`].
    pub data: Option<PathBuf>,
    /// Its own address on the switch, with the prefix length of the network.
    pub address: Option<Ipv4Net>,
    /// Its own MAC address on the switch, if chosen by hand.
    pub mac: Option<MacAddr>,
}

impl Default for Node {
    fn default() -> Self {
        let (id, rack) = (NodeId::FIRST, Rack::default());
        Self { name: "smartswitch".to_owned(), id, rack, data: None, address: None, mac: None }
    }
}

impl Node {
    /// The node's MAC address: the configured one, or a locally administered one made from its IPv4 address.
    pub fn mac(&self) -> MacAddr {
        let [a, b, c, d] = self.address.map_or(Ipv4Addr::UNSPECIFIED, |address| address.addr()).octets();
        self.mac.unwrap_or(MacAddr([0x02, 0x53, a, b, c, d]))
    }
}

/// `[admin]`
#[derive(Clone, Debug)]
pub struct Admin {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Whom it answers; others get a 403.
    pub allow: Vec<IpNet>,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9311)), allow: loopback() }
    }
}

/// `[telemetry]`
#[derive(Clone, Debug, Default)]
pub struct Telemetry {
    /// The OpenTelemetry collector that traces go to by OTLP over HTTP, such as `http://127.0.0.1:4318`; none without.
    pub otlp: Option<String>,
    /// The share of requests over kernel sockets that are traced, 0 to 1.
    pub sample: f64,
    /// How traces name keys.
    pub keys: TracedKeys,
}

/// How traces name the keys of requests to pools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TracedKeys {
    /// By a hash that only the node can compute: keys may tell who does what.
    #[default]
    Hash,
    /// As they are.
    Plain,
}

/// `[embedded]`
#[derive(Clone, Debug)]
pub struct Embedded {
    /// Where it listens, TCP and UDP alike.
    pub listen: SocketAddr,
    /// Bytes for all items.
    pub memory: ByteSize,
    /// Bytes of one item.
    pub max_item: ByteSize,
    /// Whom it serves: others get no TCP connection, and over UDP nothing beyond the amplification limit.
    pub clients: Vec<IpNet>,
    /// Whether it listens on UDP.
    pub udp: bool,
    /// TCP connections at a time; one more is told so and closed.
    pub max_connections: usize,
    /// `user:password` lines: whom it serves after they have authenticated themselves. Then `udp` is false, since
    /// datagrams cannot.
    pub password_file: Option<PathBuf>,
    /// TCP connections of one client at a time, if that is limited.
    pub max_connections_per_client: Option<usize>,
    /// How long a client may leave a request unfinished or a reply unread.
    pub stall_timeout: Duration,
    /// TLS to clients, if it is spoken. Then `udp` is false.
    pub tls: Option<Tls>,
}

/// `[embedded.tls]`, `[pool.tls]`, `[route.tls]`: TLS to clients.
#[derive(Clone, Debug, PartialEq)]
pub struct Tls {
    /// PEM: the listener's certificate, and those that signed it.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
    /// PEM: who signs the certificates that clients must have, if they must.
    pub client_ca: Option<PathBuf>,
}

/// `[pool.server_tls]`: TLS to servers.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerTls {
    /// PEM: who signs the servers' certificates.
    pub ca: PathBuf,
    /// PEM: the certificate that the node shows to servers, and its private key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name in the servers' certificates, if it is not the host of each server's address.
    pub server_name: Option<ServerName<'static>>,
}

impl Default for Embedded {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 11211)),
            memory: ByteSize(64 << 20),
            max_item: ByteSize(1 << 20),
            clients: loopback(),
            udp: true,
            max_connections: 10_000,
            password_file: None,
            max_connections_per_client: None,
            stall_timeout: MAX_STALL,
            tls: None,
        }
    }
}

/// `[dataplane]`
#[derive(Clone, Debug)]
pub struct Dataplane {
    /// Processor cores, one worker each; at least one, none twice.
    pub cores: Vec<usize>,
    /// Where memory comes from.
    pub huge_pages: HugePages,
    /// DPDK's memory in MiB; more is taken if the packet buffers need it.
    pub memory_mib: u32,
    /// Packets that can be in the node at once; as many as are needed unless configured.
    pub packet_buffers: u32,
    /// The longest payload of a frame in bytes.
    pub mtu: u16,
    /// What workers do while nothing arrives.
    pub idle: Idle,
    /// Stations that the switch knows at a time.
    pub stations: usize,
    /// How long it knows a silent one.
    pub station_age: Duration,
    /// The name of the TAP interface toward the host kernel.
    pub host_interface: Option<String>,
    /// The ports, in the order of their ids; at least one.
    pub ports: Vec<Port>,
}

/// `[[dataplane.port]]`
#[derive(Clone, Debug)]
pub struct Port {
    /// Its name, unique.
    pub name: String,
    /// The DPDK device, such as `net_af_xdp0,iface=sw1` or `0000:03:00.0`.
    pub device: String,
}

/// `[[pool]]` with `store = "embedded"`: on the packet path, and answered by the node itself.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddedPool {
    /// Its name, unique among all pools.
    pub name: String,
    /// The address that clients send to.
    pub vip: Ipv4Addr,
    /// The port that they send to.
    pub port: u16,
    /// The VLAN that the pool is on.
    pub vlan: Option<u16>,
    /// Who is served without limits.
    pub clients: Vec<IpNet>,
    /// Bytes out for each byte in, toward others.
    pub amplification_limit: f64,
}

/// `[[pool]]`
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Its name, unique.
    pub name: String,
    /// The address that clients send to on the packet path, if the pool is on it.
    pub vip: Option<Ipv4Addr>,
    /// The port that clients send to and servers listen on there.
    pub port: u16,
    /// How the pool is served over TCP, if it is.
    pub tcp: Option<PoolTcp>,
    /// The VLAN that the pool is on.
    pub vlan: Option<u16>,
    /// How hashed keys are spread over servers.
    pub distribution: Distribution,
    /// How keys are hashed.
    pub hash: KeyHash,
    /// If set, only what stands between the two bytes is hashed.
    pub hash_tag: Option<[u8; 2]>,
    /// Who is served; on the packet path, without limits.
    pub clients: Vec<IpNet>,
    /// Bytes out for each byte in, toward others.
    pub amplification_limit: f64,
    /// Bytes of each worker's cache of hot keys; `None` switches it off.
    pub cache: Option<ByteSize>,
    /// How long a cached value is served.
    pub lease: Duration,
    /// Requests for a key within a second that make it hot.
    pub hot_threshold: u16,
    /// Time between two probes of a server.
    pub probe_interval: Duration,
    /// Probes lost in a row after which a server counts as dead.
    pub probe_failures: u32,
    /// Whether the keys of a dead server go to the others.
    pub auto_eject: bool,
    /// The servers; at least one.
    pub servers: Vec<Server>,
}

/// What a pool needs to be served over TCP.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolTcp {
    /// Its own door; without one, clients come by routes.
    pub door: Option<Door>,
    /// Connections of each thread to each server.
    pub connections: u8,
    /// How long a server may take to accept a connection.
    pub connect_timeout: Duration,
    /// How long a server may take to answer.
    pub reply_timeout: Duration,
    /// TLS to servers, if it is spoken.
    pub server_tls: Option<ServerTls>,
}

/// Where clients come in over TCP, and what they may do.
#[derive(Clone, Debug, PartialEq)]
pub struct Door {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Connections of clients at a time; one more is told so and closed.
    pub max_connections: usize,
    /// What one client may have.
    pub per_client: PerClient,
    /// Requests of all clients together, if they are limited.
    pub rate: Option<Rate>,
    /// The largest value, if there is one.
    pub max_value: Option<ByteSize>,
    /// The longest life of an item, if there is one.
    pub max_ttl: Option<MaxTtl>,
    /// How long a client may leave a request unfinished or a reply unread.
    pub stall_timeout: Duration,
    /// `user:password` lines: whom it serves after they have authenticated themselves.
    pub password_file: Option<PathBuf>,
    /// TLS to clients, if it is spoken.
    pub tls: Option<Tls>,
}

/// `[[route]]`
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Its name, unique among routes.
    pub name: String,
    /// Where clients come in.
    pub door: Door,
    /// Who is served.
    pub clients: Vec<IpNet>,
    /// Where keys go that begin with none of the prefixes.
    pub default: Destination,
    /// Prefixes, none twice, and where keys go that begin with them: the longest counts.
    pub prefixes: Vec<(String, Destination)>,
}

impl Route {
    /// The names of all pools that it leads to, some perhaps twice.
    pub fn pools(&self) -> impl Iterator<Item = &str> {
        self.destinations().flat_map(Destination::pools)
    }

    fn destinations(&self) -> impl Iterator<Item = &Destination> {
        std::iter::once(&self.default).chain(self.prefixes.iter().map(|(_, to)| to))
    }
}

/// Where the keys of a route or of one of its prefixes go.
#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    /// The name of the pool that has them. It is served over TCP, as all are that are named here.
    pub pool: String,
    /// Pools that have copies of them, the next nearest first.
    pub replicas: Vec<String>,
    /// How many copies have to acknowledge a write.
    pub acks: Acks,
    /// An older pool that is asked for what `pool` does not have, and what it has is added there; not with any of the others.
    pub warm_from: Option<String>,
    /// A pool that a sample of the requests goes to, too, and the share of keys that it is.
    pub shadow: Option<(String, f64)>,
    /// The pools that are asked in turn when a server of it fails; none with replicas, which stand in for each other.
    pub failover: Vec<String>,
    /// How long at most an item lives that is stored in one of these.
    pub failover_ttl: Option<MaxTtl>,
    /// Whether a key that one does not have is asked of the next, too.
    pub failover_on_miss: bool,
}

impl Destination {
    /// The names of all its pools, some perhaps twice.
    pub fn pools(&self) -> impl Iterator<Item = &str> {
        let others = self.replicas.iter().chain(&self.failover).chain(&self.warm_from);
        let others = others.chain(self.shadow.as_ref().map(|(pool, _)| pool));
        std::iter::once(self.pool.as_str()).chain(others.map(String::as_str))
    }
}

/// `[[pool.server]]`
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Its name, which the distribution hashes; unique in its pool.
    pub name: String,
    /// Its MAC address; there if the pool is on the packet path.
    pub mac: Option<MacAddr>,
    /// `HOST:PORT`, where it is reached over TCP; there if the pool is served over TCP.
    pub address: Option<String>,
    /// The index of the port it is behind, in [`Dataplane::ports`], if pinned.
    pub port: Option<usize>,
    /// Its share of the keys.
    pub weight: u32,
}

/// The loopback addresses.
pub fn loopback() -> Vec<IpNet> {
    vec![
        IpNet::new_assert(IpAddr::from([127, 0, 0, 0]), 8),
        IpNet::new_assert(IpAddr::from(std::net::Ipv6Addr::LOCALHOST), 128),
    ]
}

/// Whether `address` is in one of `networks`. IPv4 addresses in IPv6 form count as IPv4.
pub fn is_allowed(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}
