//! Pools of memcached servers over TCP: clients connect here as they would to a memcached or a proxy of their own.
//!
//! What is asked and answered is [`memcached_bridge::proxy`]'s; this is its shell. One thread for each of `threads` in
//! `[proxy]`, each with a runtime, a proxy, and a listener of its own for each pool (`SO_REUSEPORT`): threads share only
//! what `SharedPool` holds.
//!
//! ```text
//!  ready clients ─► read, hand to the proxy ─┐
//!  ready servers ─► read, hand to the proxy ─┴─► flush: one write for each connection with something to send
//! ```
//! The flush is a task like the connections' and woken by the first of them, so it runs when all that were ready together
//! have been read. Sockets are written there and then; only one that takes no more waits until it does.

mod backend;
mod client;
mod sockets;
mod status;
mod thread;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Instant;

use memcached_bridge::hashing::RingError;
use memcached_bridge::proxy::SharedPool;
use memcached_bridge::proxy::pool::{CacheLimits, Deadlines, Pool, Probing, Server};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::watch;

use crate::config::{self, Config, PoolTcp};
use crate::embedded::ListenError;
use crate::status::Source;
use status::Counters;

/// Connections that wait to be accepted, at most.
const BACKLOG: i32 = 1024;

/// Why pools cannot be served.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum StartError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("pool {pool}: {source}")]
    Ring { pool: String, source: RingError },
    #[error(
        "a thread for pools cannot be started: {0}; see `ulimit -n` and `ulimit -u`, or lower `threads` in [proxy]"
    )]
    Thread(#[source] io::Error),
}

/// A pool that is served.
struct OpenPool {
    config: config::Pool,
    tcp: PoolTcp,
    /// Where it listens.
    listen: SocketAddr,
    shared: Arc<SharedPool>,
    /// Clients that are connected, in all threads.
    connections: AtomicUsize,
    counters: Counters,
}

/// The pools that are served, until told to stop.
pub struct Proxies {
    pools: Arc<[OpenPool]>,
    threads: Vec<JoinHandle<()>>,
}

impl Proxies {
    /// Serves the pools of `config` that have a `listen`, until `draining` turns true and what clients had begun is done.
    /// `None` if there are none.
    ///
    /// # Errors
    /// [`StartError`]; nothing is served then.
    pub fn start(config: &Config, draining: &watch::Receiver<bool>) -> Result<Option<Self>, StartError> {
        let threads = config.proxy_threads;
        let mut listeners: Vec<Vec<TcpListener>> = (0..threads).map(|_| Vec::new()).collect();
        let mut pools = Vec::new();
        for pool in &config.pools {
            let Some(tcp) = &pool.tcp else { continue };
            let listen = listen(tcp, &mut listeners)?;
            pools.push(OpenPool::new(pool, tcp, listen, threads)?);
        }
        if pools.is_empty() {
            return Ok(None);
        }
        let pools: Arc<[OpenPool]> = pools.into();
        let clock = Instant::now();
        let (started, starting) = mpsc::channel();
        let mut running = Vec::new();
        for (index, listeners) in (0u16..).zip(listeners) {
            let (pools, draining, started) = (Arc::clone(&pools), draining.clone(), started.clone());
            let run = move || thread::run(index, &pools, listeners, clock, draining, &started);
            let thread = std::thread::Builder::new().name(format!("proxy-{index}")).spawn(run);
            running.push(thread.map_err(StartError::Thread)?);
        }
        for _ in 0..threads {
            // A thread that ends without a word has panicked, which is reported where it happened.
            starting.recv().unwrap_or(Ok(())).map_err(StartError::Thread)?;
        }
        Ok(Some(Self { pools, threads: running }))
    }

    /// Name and address of each pool.
    pub fn listens(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.pools.iter().map(|pool| (pool.config.name.as_str(), pool.listen))
    }

    /// What they have to say of themselves.
    pub fn source(&self) -> Arc<dyn Source> {
        Arc::new(status::View { pools: Arc::clone(&self.pools) })
    }

    /// Waits until all threads have ended.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread for pools ended in a panic");
            }
        }
    }
}

impl OpenPool {
    fn new(
        pool: &config::Pool,
        tcp: &PoolTcp,
        listen: SocketAddr,
        threads: usize,
    ) -> Result<Self, StartError> {
        let ring = |source| StartError::Ring { pool: pool.name.clone(), source };
        // The standard library's random numbers, which it takes from the system.
        let seed = RandomState::new().hash_one(0);
        let shared = SharedPool::new(settings(pool, tcp), threads, seed).map_err(ring)?;
        Ok(Self {
            config: pool.clone(),
            tcp: tcp.clone(),
            listen,
            shared,
            connections: AtomicUsize::new(0),
            counters: Counters::default(),
        })
    }
}

/// A listener for each thread on the same address.
fn listen(tcp: &PoolTcp, listeners: &mut [Vec<TcpListener>]) -> Result<SocketAddr, ListenError> {
    let mut address = tcp.listen;
    for listeners in listeners {
        let failed = |source| ListenError::new("a pool", address, "tcp", "`listen` in [[pool]]", source);
        let listener = open(address).map_err(failed)?;
        // Port 0 is any: the first listener says which.
        address = listener.local_addr().map_err(failed)?;
        listeners.push(listener);
    }
    Ok(address)
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn settings(pool: &config::Pool, tcp: &PoolTcp) -> Pool {
    let server = |server: &config::Server| Server { name: server.name.clone(), weight: server.weight };
    Pool {
        name: pool.name.clone(),
        servers: pool.servers.iter().map(server).collect(),
        distribution: pool.distribution,
        key_hash: pool.hash,
        hash_tag: pool.hash_tag,
        cache: pool.cache.map(|capacity| CacheLimits {
            capacity_bytes: capacity.0 as usize,
            lease: pool.lease,
            hot_threshold: pool.hot_threshold,
        }),
        deadlines: Deadlines { connect: tcp.connect_timeout, reply: tcp.reply_timeout },
        probing: Probing {
            interval: pool.probe_interval,
            failures: pool.probe_failures,
            auto_eject: pool.auto_eject,
        },
        lanes: tcp.connections,
    }
}
