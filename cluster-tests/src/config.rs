//! The configuration file of the `smartswitch` program, as the rack writes it.
//!
//! The shapes mirror the file, so a test changes what it is about and leaves the rest at the rack's values.

use serde::Serialize;

/// The whole file.
#[derive(Clone, Debug, Serialize)]
pub struct NodeConfig {
    /// `[node]`
    pub node: Node,
    /// `[admin]`
    pub admin: Admin,
    /// `[dataplane]`
    pub dataplane: Dataplane,
    /// `[embedded]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedded: Option<Embedded>,
    /// `[[pool]]`
    pub pool: Vec<Pool>,
    /// If there, the one `[[pool]]`, in place of those of servers.
    #[serde(skip)]
    pub embedded_pool: Option<EmbeddedPool>,
}

impl NodeConfig {
    /// The file's text.
    pub fn to_toml(&self) -> String {
        const PLAIN: &str = "plain tables, strings and numbers always have a TOML form";
        let Some(pool) = &self.embedded_pool else { return toml::to_string(self).expect(PLAIN) };
        let rest = Self { pool: Vec::new(), ..self.clone() };
        let mut file = toml::Table::try_from(rest).expect(PLAIN);
        let pool = toml::Value::try_from(pool).expect(PLAIN);
        file.insert("pool".to_owned(), toml::Value::Array(vec![pool]));
        toml::to_string(&file).expect(PLAIN)
    }
}

/// Who the node is.
#[derive(Clone, Debug, Serialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its own address and prefix length, such as `10.77.0.254/24`.
    pub address: String,
}

/// Where the admin server listens.
#[derive(Clone, Debug, Serialize)]
pub struct Admin {
    /// Address and port.
    pub listen: String,
    /// Networks that may ask.
    pub allow: Vec<String>,
}

/// The packet path.
#[derive(Clone, Debug, Serialize)]
pub struct Dataplane {
    /// The processor cores of the workers.
    pub cores: Vec<u16>,
    /// `auto`, `require` or `never`.
    pub huge_pages: &'static str,
    /// Memory for DPDK, in MiB.
    pub memory_mib: u32,
    /// Largest IP packet, in bytes.
    pub mtu: u16,
    /// `backoff` or `poll`.
    pub idle: &'static str,
    /// The TAP toward the host's kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_interface: Option<String>,
    /// The ports, in the order of their ids.
    pub port: Vec<Port>,
}

/// One port of the switch.
#[derive(Clone, Debug, Serialize)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// The DPDK device.
    pub device: String,
}

/// memcached over the node's own sockets.
#[derive(Clone, Debug, Serialize)]
pub struct Embedded {
    /// Address and port.
    pub listen: String,
    /// Networks that may use it.
    pub clients: Vec<String>,
}

/// A pool that the node answers for itself.
#[derive(Clone, Debug, Serialize)]
pub struct EmbeddedPool {
    /// Its name.
    pub name: String,
    /// `embedded`.
    pub store: &'static str,
    /// The address that clients use.
    pub vip: String,
    /// Networks that may use the pool.
    pub clients: Vec<String>,
}

/// A memcached pool.
#[derive(Clone, Debug, Serialize)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// The address that clients use.
    pub vip: String,
    /// Where the pool is served over TCP as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// The port that clients use.
    pub port: u16,
    /// `ketama`, `modula` or another of the node's distributions.
    pub distribution: String,
    /// The hash function's name.
    pub hash: String,
    /// Networks that may use the pool.
    pub clients: Vec<String>,
    /// Bytes out for each byte in, to addresses off `clients`.
    pub amplification_limit: f64,
    /// Bytes of the cache, such as `16MiB`.
    pub cache: String,
    /// Lease of a cached value, in milliseconds.
    pub lease_ms: u64,
    /// Requests within a lease that make a key hot.
    pub hot_threshold: u32,
    /// Time between probes of a server, in milliseconds.
    pub probe_interval_ms: u64,
    /// Probes lost in a row before a server is ejected.
    pub probe_failures: u32,
    /// Whether servers are ejected at all.
    pub auto_eject: bool,
    /// The servers.
    pub server: Vec<PoolServer>,
}

/// A server of a pool.
#[derive(Clone, Debug, Serialize)]
pub struct PoolServer {
    /// Its name, which is hashed.
    pub name: String,
    /// Its own address and port, for TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Its MAC address.
    pub mac: String,
    /// The switch port it is behind.
    pub port: String,
    /// Its share.
    pub weight: u32,
}
