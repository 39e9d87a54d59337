//! What is served from a reload on, and what of it was served before.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fabric::time::Nanos;
use memcached_bridge::coherence::Tracking;
use memcached_bridge::proxy::SharedPool;
use memcached_bridge::proxy::limits::ClientLimits;
use memcached_bridge::proxy::pool::{CacheLimits, Deadlines, Pool, Probing, Server};
use socket2::{Domain, Protocol, Socket, Type};

use super::status::Counters;
use super::{OpenPool, Pools, StartError};
use crate::config::{self, Config, PoolTcp};
use crate::embedded::ListenError;
use crate::limits::Clients;
use crate::passwords::{self, PasswordError};
use crate::tls::{Acceptor, Connector};

/// Connections that wait to be accepted, at most.
const BACKLOG: i32 = 1024;
/// How long clients of a pool that has changed may take to finish what they have begun.
pub(super) const APART: Duration = Duration::from_secs(30);

/// What one thread serves until the next reload.
pub(super) struct Generation {
    pub(super) pools: Pools,
    /// By pool.
    pub(super) listeners: Vec<Listener>,
    /// By pool of the generation before: the pool that its clients belong to now.
    pub(super) successors: Vec<Option<u16>>,
}

/// Where a thread accepts a pool's clients.
pub(super) enum Listener {
    New(TcpListener),
    /// Where it accepted those of the pool at this index in the generation before.
    Kept(usize),
}

/// The pools of `config` after `before`, and what each of so many threads is to serve then.
pub(super) fn next(
    config: &Config,
    before: &Pools,
    tracking: &HashMap<String, Tracking>,
    threads: usize,
    now: Nanos,
) -> Result<(Pools, Vec<Generation>), StartError> {
    let mut listeners: Vec<Vec<Listener>> = (0..threads).map(|_| Vec::new()).collect();
    let mut pools = Vec::new();
    for pool in &config.pools {
        let Some(tcp) = &pool.tcp else { continue };
        let listen = listen(tcp, before, &mut listeners)?;
        let opened = open_pool(pool, tcp, listen, before, tracking.get(&pool.name), threads, now);
        pools.push(opened?);
    }
    let successors: Vec<Option<u16>> = before.iter().map(|old| successor(old, &pools)).collect();
    let pools: Pools = pools.into();
    let generation =
        |listeners| Generation { pools: Arc::clone(&pools), listeners, successors: successors.clone() };
    let generations = listeners.into_iter().map(generation).collect();
    Ok((pools, generations))
}

/// The pool that the clients of `old` belong to: the one of its name, or else the one at its address.
fn successor(old: &OpenPool, pools: &[Arc<OpenPool>]) -> Option<u16> {
    let named = pools.iter().position(|pool| pool.config.name == old.config.name);
    let there = || pools.iter().position(|pool| pool.tcp.listen == old.tcp.listen);
    named.or_else(there).and_then(|index| u16::try_from(index).ok())
}

fn open_pool(
    pool: &config::Pool,
    tcp: &PoolTcp,
    listen: SocketAddr,
    before: &Pools,
    tracking: Option<&Tracking>,
    threads: usize,
    now: Nanos,
) -> Result<Arc<OpenPool>, StartError> {
    let old = before.iter().find(|old| old.config.name == pool.name);
    // Files may hold something else now.
    if let Some(same) = old.filter(|old| old.config == *pool && !reads_files(tcp)) {
        return Ok(Arc::clone(same));
    }
    let ring = |source| StartError::Ring { pool: pool.name.clone(), source };
    // The standard library's random numbers, which it takes from the system.
    let seed = RandomState::new().hash_one(0);
    let settings = settings(pool, tcp, now)?;
    let (tls, server_tls) = (tcp.tls.as_ref(), tcp.server_tls.as_ref());
    let clients = old.filter(|old| old.tcp.per_client == tcp.per_client).map(|old| Arc::clone(&old.clients));
    let shared = match (old, tracking) {
        (Some(old), _) => old.shared.successor(settings, seed, now, now + APART),
        (None, Some(tracking)) => SharedPool::tracked(settings, threads, tracking.clone()),
        (None, None) => SharedPool::new(settings, threads, seed),
    };
    Ok(Arc::new(OpenPool {
        config: pool.clone(),
        tcp: tcp.clone(),
        listen,
        shared: shared.map_err(ring)?,
        connections: AtomicUsize::new(0),
        clients: clients.unwrap_or_else(|| Clients::new(tcp.per_client)),
        acceptor: tls.map(|tls| Acceptor::open(tls, "[pool.tls]")).transpose()?,
        connector: server_tls.map(|tls| Connector::open(tls, "[pool.server_tls]")).transpose()?,
        counters: Counters::default(),
    }))
}

fn reads_files(tcp: &PoolTcp) -> bool {
    tcp.tls.is_some() || tcp.server_tls.is_some() || tcp.password_file.is_some()
}

/// A listener for each thread on the same address: those that are there already, or new ones.
fn listen(tcp: &PoolTcp, before: &Pools, listeners: &mut [Vec<Listener>]) -> Result<SocketAddr, ListenError> {
    if let Some(index) = before.iter().position(|old| old.tcp.listen == tcp.listen) {
        listeners.iter_mut().for_each(|listeners| listeners.push(Listener::Kept(index)));
        return Ok(before[index].listen);
    }
    let mut address = tcp.listen;
    for listeners in listeners {
        let failed = |source| ListenError::new("a pool", address, "tcp", "`listen` in [[pool]]", source);
        let listener = open(address).map_err(failed)?;
        // Port 0 is any: the first listener says which.
        address = listener.local_addr().map_err(failed)?;
        listeners.push(Listener::New(listener));
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

fn settings(pool: &config::Pool, tcp: &PoolTcp, now: Nanos) -> Result<Pool, PasswordError> {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let passwords = tcp.password_file.as_deref();
    let credentials = passwords.map(|path| passwords::read(path, "[[pool]]")).transpose()?;
    let server = |server: &config::Server| Server { name: server.name.clone(), weight: server.weight };
    Ok(Pool {
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
        limits: ClientLimits {
            rate: tcp.rate,
            max_value: tcp.max_value.map(|size| size.0 as usize),
            max_ttl: tcp.max_ttl,
            stall: tcp.stall_timeout,
            unix_at_zero: unix.saturating_sub(now.0 / 1_000_000_000),
        },
        credentials: credentials.map(Arc::new),
    })
}
