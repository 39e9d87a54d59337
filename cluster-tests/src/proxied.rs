//! memcached servers and a node that serves them over TCP, on the loopback interface.

use std::net::SocketAddrV4;
use std::path::Path;

use serde::Serialize;

use crate::RackError;
use crate::admin::AdminClient;
use crate::loopback::{Service, free_address};
use crate::rack::smartswitch_binary;
use crate::scratch::Scratch;

/// The node's configuration, with one pool.
#[derive(Clone, Debug, Serialize)]
struct Config {
    admin: Admin,
    proxy: Proxy,
    pool: [Pool; 1],
}

#[derive(Clone, Debug, Serialize)]
struct Admin {
    listen: String,
}

/// What is not set has the node's default.
#[derive(Clone, Debug, Serialize)]
struct Proxy {
    threads: Option<u16>,
}

/// The pool. What is not set has the node's default.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Pool {
    name: &'static str,
    listen: String,
    /// Bytes of the cache of each thread, such as `16MiB`; `0` is off.
    pub cache: Option<&'static str>,
    /// Lease of a cached value, in milliseconds.
    pub lease_ms: Option<u64>,
    /// Requests within a second that make a key hot.
    pub hot_threshold: Option<u32>,
    /// Time between probes of an ejected server, in milliseconds.
    pub probe_interval_ms: Option<u64>,
    /// Whether servers are ejected at all.
    pub auto_eject: Option<bool>,
    /// Clients at a time.
    pub max_connections: Option<u32>,
    /// How long a server may take to answer, in milliseconds.
    pub reply_timeout_ms: Option<u64>,
    server: Vec<PoolServer>,
}

#[derive(Clone, Debug, Serialize)]
struct PoolServer {
    name: String,
    address: String,
}

/// Servers, and a node in front of them. All are killed when this is dropped, and when the thread that made it ends.
#[derive(Debug)]
pub struct Proxied {
    /// The node.
    pub node: Service,
    /// The servers; the pool calls them `mc1`, `mc2`, ...
    pub servers: Vec<Service>,
    admin: SocketAddrV4,
    /// Dropped after the processes that write to it.
    scratch: Scratch,
}

impl Proxied {
    /// So many empty servers behind a node with the pool as `configure` leaves it. `name` tells it from others of this
    /// process.
    ///
    /// # Errors
    /// As [`Service::start`].
    pub fn start(name: &str, servers: usize, configure: impl FnOnce(&mut Pool)) -> Result<Self, RackError> {
        Self::start_with(name, servers, &[], configure)
    }

    /// The same with `arguments` to each memcached besides its own.
    ///
    /// # Errors
    /// As [`Service::start`].
    pub fn start_with(
        name: &str,
        servers: usize,
        arguments: &[&str],
        configure: impl FnOnce(&mut Pool),
    ) -> Result<Self, RackError> {
        let scratch = Scratch::new(name)?;
        let start = |number| Service::memcached_with(&format!("mc{number}"), scratch.path(), arguments);
        let servers = (1..=servers).map(start).collect::<Result<Vec<_>, _>>()?;
        let admin = free_address()?;
        let mut pool = Pool::default();
        configure(&mut pool);
        let node = start_node(scratch.path(), admin, pool, servers.iter().map(Service::address))?;
        Ok(Self { node, servers, admin, scratch })
    }

    /// Where the node serves the pool.
    pub fn address(&self) -> SocketAddrV4 {
        self.node.address()
    }

    /// The node's admin server.
    pub fn admin(&self) -> AdminClient {
        AdminClient::here(self.admin)
    }

    /// Where the node and the servers write their logs.
    pub fn directory(&self) -> &Path {
        self.scratch.path()
    }
}

/// The configuration of a node that serves `pool`, with so many threads, in front of `servers`: `mc1`, `mc2`, ...
pub fn config(
    listen: SocketAddrV4,
    admin: SocketAddrV4,
    threads: Option<u16>,
    mut pool: Pool,
    servers: impl Iterator<Item = SocketAddrV4>,
) -> String {
    let server = |(number, address): (usize, SocketAddrV4)| PoolServer {
        name: format!("mc{number}"),
        address: address.to_string(),
    };
    (pool.name, pool.listen) = ("web", listen.to_string());
    pool.server = (1..).zip(servers).map(server).collect();
    let config =
        Config { admin: Admin { listen: admin.to_string() }, proxy: Proxy { threads }, pool: [pool] };
    toml::to_string(&config).expect("plain tables, strings and numbers always have a TOML form")
}

/// A node that serves `pool` on a free address, with two threads.
fn start_node(
    directory: &Path,
    admin: SocketAddrV4,
    pool: Pool,
    servers: impl Iterator<Item = SocketAddrV4>,
) -> Result<Service, RackError> {
    let listen = free_address()?;
    let text = config(listen, admin, Some(2), pool, servers);
    let file = directory.join("node.toml");
    std::fs::write(&file, text).map_err(RackError::io(format!("write {}", file.display())))?;
    let arguments = ["run", "--config", &file.display().to_string()];
    Service::start("node", directory, listen, &smartswitch_binary()?, &arguments)
}
