//! What is served from a reload on, and what of it was served before.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fabric::time::Nanos;
use ipnet::IpNet;
use memcached_bridge::coherence::Tracking;
use memcached_bridge::proxy::limits::ClientLimits;
use memcached_bridge::proxy::pool::{CacheLimits, Deadlines, Pool, Probing, Server};
use memcached_bridge::proxy::route::{Destination, Route, Shadow, Share};
use memcached_bridge::proxy::{DoorId, SharedPool, SharedRoute};
use memcached_bridge::session::credentials::Credentials;
use socket2::{Domain, Protocol, Socket, Type};

use super::status::Counters;
use super::{OpenDoor, OpenPool, OpenRoute, Serving, StartError};
use crate::config::{self, Config, Door, PoolTcp};
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
    pub(super) serving: Arc<Serving>,
    /// By door.
    pub(super) listeners: Vec<Listener>,
    /// By door of the generation before: the door that its clients belong to now.
    pub(super) successors: Vec<Option<u16>>,
}

/// Where a thread accepts a door's clients.
pub(super) enum Listener {
    New(TcpListener),
    /// Where it accepted those of the door at this index in the generation before.
    Kept(usize),
}

/// What `config` has served after `before`, and what each of so many threads is to do then.
pub(super) fn next(
    config: &Config,
    before: &Serving,
    tracking: &HashMap<String, Tracking>,
    threads: usize,
    now: Nanos,
) -> Result<(Arc<Serving>, Vec<Generation>), StartError> {
    let mut listeners: Vec<Vec<Listener>> = (0..threads).map(|_| Vec::new()).collect();
    let mut serving = Serving::nothing();
    for pool in &config.pools {
        let Some(tcp) = &pool.tcp else { continue };
        let id = DoorId::Pool(serving.pools.len() as u16);
        if let Some(door) = &tcp.door {
            let listen = listen(door, "`listen` in [[pool]]", before, &mut listeners)?;
            serving.doors.push(open_door(id, &pool.name, door, &pool.clients, listen, before)?);
        }
        let opened = open_pool(pool, tcp, before, tracking.get(&pool.name), threads, now);
        serving.pools.push(opened?);
    }
    for route in &config.routes {
        let id = DoorId::Route(serving.routes.len() as u16);
        let listen = listen(&route.door, "`listen` in [[route]]", before, &mut listeners)?;
        serving.doors.push(open_door(id, &route.name, &route.door, &route.clients, listen, before)?);
        let opened = open_route(route, &serving.pools, before, threads, now)?;
        serving.routes.push(opened);
    }
    let successors: Vec<Option<u16>> =
        before.doors.iter().map(|old| successor(old, &serving.doors)).collect();
    let serving = Arc::new(serving);
    let generation =
        |listeners| Generation { serving: Arc::clone(&serving), listeners, successors: successors.clone() };
    let generations = listeners.into_iter().map(generation).collect();
    Ok((serving, generations))
}

/// The door that the clients of `old` belong to: the one of its name, or else the one at its address.
fn successor(old: &OpenDoor, doors: &[Arc<OpenDoor>]) -> Option<u16> {
    let named = doors.iter().position(|door| is_same(old, door.id, &door.name));
    let there = || doors.iter().position(|door| door.config.listen == old.config.listen);
    named.or_else(there).and_then(|index| u16::try_from(index).ok())
}

/// Whether `door` is that of a pool or route with this name, as `id` is one or the other.
fn is_same(door: &OpenDoor, id: DoorId, name: &str) -> bool {
    matches!((door.id, id), (DoorId::Pool(_), DoorId::Pool(_)) | (DoorId::Route(_), DoorId::Route(_)))
        && door.name == name
}

fn open_door(
    id: DoorId,
    name: &str,
    door: &Door,
    allowed: &[IpNet],
    listen: SocketAddr,
    before: &Serving,
) -> Result<Arc<OpenDoor>, StartError> {
    let old = before.doors.iter().find(|old| is_same(old, id, name));
    let is_unchanged = |old: &&Arc<OpenDoor>| old.id == id && old.config == *door && old.allowed == allowed;
    if let Some(same) = old.filter(is_unchanged).filter(|_| !reads_files(door)) {
        return Ok(Arc::clone(same));
    }
    let clients =
        old.filter(|old| old.config.per_client == door.per_client).map(|old| Arc::clone(&old.clients));
    let section = if matches!(id, DoorId::Pool(_)) { "[pool.tls]" } else { "[route.tls]" };
    Ok(Arc::new(OpenDoor {
        id,
        name: name.to_owned(),
        config: door.clone(),
        allowed: allowed.to_vec(),
        listen,
        connections: AtomicUsize::new(0),
        clients: clients.unwrap_or_else(|| Clients::new(door.per_client)),
        acceptor: door.tls.as_ref().map(|tls| Acceptor::open(tls, section)).transpose()?,
        counters: Counters::default(),
    }))
}

fn open_pool(
    pool: &config::Pool,
    tcp: &PoolTcp,
    before: &Serving,
    tracking: Option<&Tracking>,
    threads: usize,
    now: Nanos,
) -> Result<Arc<OpenPool>, StartError> {
    let old = before.pools.iter().find(|old| old.config.name == pool.name);
    // Files may hold something else now.
    let reads_files = tcp.door.as_ref().is_some_and(reads_files) || tcp.server_tls.is_some();
    if let Some(same) = old.filter(|old| old.config == *pool && !reads_files) {
        return Ok(Arc::clone(same));
    }
    let ring = |source| StartError::Ring { pool: pool.name.clone(), source };
    let settings = settings(pool, tcp, now)?;
    let shared = match (old, tracking) {
        (Some(old), _) => old.shared.successor(settings, seed(), now, now + APART),
        (None, Some(tracking)) => SharedPool::tracked(settings, threads, tracking.clone()),
        (None, None) => SharedPool::new(settings, threads, seed()),
    };
    Ok(Arc::new(OpenPool {
        config: pool.clone(),
        shared: shared.map_err(ring)?,
        connector: tcp
            .server_tls
            .as_ref()
            .map(|tls| Connector::open(tls, "[pool.server_tls]"))
            .transpose()?,
        server_handshakes_failed: AtomicU64::new(0),
    }))
}

/// From the standard library's random numbers, which it takes from the system.
fn seed() -> u64 {
    RandomState::new().hash_one(0)
}

fn open_route(
    route: &config::Route,
    pools: &[Arc<OpenPool>],
    before: &Serving,
    threads: usize,
    now: Nanos,
) -> Result<Arc<OpenRoute>, StartError> {
    let names = |pools: &[Arc<OpenPool>]| -> Vec<String> {
        pools.iter().map(|pool| pool.config.name.clone()).collect()
    };
    let old = before.routes.iter().find(|old| old.config == *route && !reads_files(&route.door));
    if let Some(same) = old.filter(|_| names(&before.pools) == names(pools)) {
        return Ok(Arc::clone(same));
    }
    let index = |name: &String| pool_index(pools, name);
    let destination = |to: &config::Destination| Destination {
        pool: index(&to.pool),
        replicas: to.replicas.iter().map(index).collect(),
        acks: to.acks,
        warm_from: to.warm_from.as_ref().map(index),
        shadow: to
            .shadow
            .as_ref()
            .map(|(pool, share)| Shadow { pool: index(pool), share: Share::of(*share) }),
        failover: to.failover.iter().map(index).collect(),
        failover_ttl: to.failover_ttl,
        failover_on_miss: to.failover_on_miss,
    };
    let prefixes = route.prefixes.iter();
    let shared = Route {
        name: route.name.clone(),
        default: destination(&route.default),
        prefixes: prefixes.map(|(prefix, to)| (prefix.as_bytes().to_vec(), destination(to))).collect(),
        limits: limits(&route.door, now),
        credentials: credentials(&route.door, "[[route]]")?,
    };
    let shared = SharedRoute::new(shared, threads);
    Ok(Arc::new(OpenRoute { config: route.clone(), shared }))
}

/// Where the pool called `name` is. The configuration is known to have it.
fn pool_index(pools: &[Arc<OpenPool>], name: &str) -> u16 {
    pools.iter().position(|pool| pool.config.name == name).unwrap_or_default() as u16
}

fn reads_files(door: &Door) -> bool {
    door.tls.is_some() || door.password_file.is_some()
}

/// A listener for each thread on the same address: those that are there already, or new ones. `key` is what says where.
fn listen(
    door: &Door,
    key: &'static str,
    before: &Serving,
    listeners: &mut [Vec<Listener>],
) -> Result<SocketAddr, ListenError> {
    if let Some(index) = before.doors.iter().position(|old| old.config.listen == door.listen) {
        listeners.iter_mut().for_each(|listeners| listeners.push(Listener::Kept(index)));
        return Ok(before.doors[index].listen);
    }
    let mut address = door.listen;
    for listeners in listeners {
        let failed = |source| ListenError::new("a pool", address, "tcp", key, source);
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
    let server = |server: &config::Server| Server { name: server.name.clone(), weight: server.weight };
    let door = tcp.door.as_ref();
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
        limits: door.map(|door| limits(door, now)).unwrap_or_default(),
        credentials: door.map(|door| credentials(door, "[[pool]]")).transpose()?.flatten(),
    })
}

fn limits(door: &Door, now: Nanos) -> ClientLimits {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    ClientLimits {
        rate: door.rate,
        max_value: door.max_value.map(|size| size.0 as usize),
        max_ttl: door.max_ttl,
        stall: door.stall_timeout,
        unix_at_zero: unix.saturating_sub(now.0 / 1_000_000_000),
    }
}

fn credentials(door: &Door, section: &'static str) -> Result<Option<Arc<Credentials>>, PasswordError> {
    let read = |path| passwords::read(path, section);
    Ok(door.password_file.as_deref().map(read).transpose()?.map(Arc::new))
}
