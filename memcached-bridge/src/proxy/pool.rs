//! A pool of memcached servers behind an address of the node's own, and what its threads share.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use fabric::counters::Published;
use fabric::time::Nanos;

use super::counters::{ProxyCounters, RequestCounts};
use super::door::Door;
use super::limits::ClientLimits;
use crate::coherence::{Coherence, CoherenceLimits, Tracking, WriteId};
use crate::hashing::{Distribution, KeyHash, Member, Ring, RingError};
use crate::hot::KeyHasher;
use crate::members::{MemberPool, Members};
use crate::packet::WorkerStatus;
pub use crate::packet::pool::{CacheLimits, Probing};
use crate::session::credentials::Credentials;

/// One memcached server of a pool. Where it is reached only the shell knows.
#[derive(Clone, Debug)]
pub struct Server {
    /// The name the key distribution hashes (`host:port` or an alias, as twemproxy has it).
    pub name: String,
    /// Its share of the keys, relative to the others'.
    pub weight: u32,
}

/// How long a server may take.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// Until it has taken a connection.
    pub connect: Duration,
    /// Until it answers, or goes on answering.
    pub reply: Duration,
}

/// A pool served over connections. Every field is valid: the node's config has checked it.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Its name in counters and on the admin page.
    pub name: String,
    /// At least one server.
    pub servers: Vec<Server>,
    /// How hashed keys are spread over servers.
    pub distribution: Distribution,
    /// How keys are hashed for the distribution.
    pub key_hash: KeyHash,
    /// If set, only what stands between the two bytes is hashed.
    pub hash_tag: Option<[u8; 2]>,
    /// The hot-key cache; `None` switches it off, and with it all tracking of writes.
    pub cache: Option<CacheLimits>,
    /// How long servers may take.
    pub deadlines: Deadlines,
    /// When a server is ejected, and when it is asked whether it is back.
    pub probing: Probing,
    /// Connections of each thread to each server, at least 1; clients are spread over them.
    pub lanes: u8,
    /// What clients may do.
    pub limits: ClientLimits,
    /// Who is served, if not everybody: clients speak binary then, and authenticate themselves first.
    pub credentials: Option<Arc<Credentials>>,
}

impl MemberPool for Pool {
    fn servers(&self) -> usize {
        self.servers.len()
    }

    fn ring(&self, alive: &[bool]) -> Result<Ring, RingError> {
        let member = |(server, alive): (&Server, &bool)| Member {
            name: server.name.clone(),
            weight: server.weight,
            alive: *alive,
        };
        let members: Vec<Member> = self.servers.iter().zip(alive).map(member).collect();
        Ring::build(self.distribution, self.key_hash, self.hash_tag, &members)
    }

    fn auto_eject(&self) -> bool {
        self.probing.auto_eject
    }

    fn lease(&self) -> Option<Duration> {
        self.cache.map(|cache| cache.lease)
    }
}

/// A pool as its threads share it.
#[derive(Debug)]
pub struct SharedPool {
    pool: Pool,
    tracking: Tracking,
    members: Arc<Members>,
    threads: Vec<ThreadView>,
    door: Door,
}

/// What one thread shows of a pool.
#[derive(Clone, Debug)]
pub struct ThreadView {
    /// Its counters: [`ProxyCounters`].
    pub counters: Arc<Published>,
    /// Requests by verb and outcome, and how long servers took.
    pub requests: Arc<RequestCounts>,
    /// Requests by server, and the cache.
    pub status: Arc<WorkerStatus>,
}

impl SharedPool {
    /// The shared state of `pool` for `threads` threads. `seed` keys the hash of keys, so that clients cannot choose
    /// colliding ones; take it from the system's random numbers.
    ///
    /// # Errors
    /// If no ring can be built over the pool's servers.
    pub fn new(pool: Pool, threads: usize, seed: u64) -> Result<Arc<Self>, RingError> {
        let mut limits = CoherenceLimits { seed, ..CoherenceLimits::default() };
        match pool.cache {
            Some(cache) => (limits.lease, limits.quarantine) = (cache.lease, 4 * cache.lease),
            // Nothing is tracked then.
            None => (limits.buckets, limits.in_flight) = (1, 1),
        }
        let tracking = Tracking { hasher: KeyHasher::new(seed), coherence: Coherence::new(limits) };
        Self::tracked(pool, threads, tracking)
    }

    /// The shared state of `pool`, which takes this one's place from `now` on; until `apart`, clients of both are served.
    /// Writes of either void what the other has cached; where that cannot be, nothing is cached until `apart`.
    ///
    /// # Errors
    /// If no ring can be built over the pool's servers.
    pub fn successor(&self, pool: Pool, seed: u64, now: Nanos, apart: Nanos) -> Result<Arc<Self>, RingError> {
        let threads = self.threads.len();
        let lease = |pool: &Pool| pool.cache.map(|cache| cache.lease);
        if lease(&pool).is_some() && lease(&pool) == lease(&self.pool) {
            return Self::tracked(pool, threads, self.tracking.clone());
        }
        let successor = Self::new(pool, threads, seed)?;
        successor.coherence().close(now, apart);
        Ok(successor)
    }

    /// The shared state of `pool` for `threads` threads, whose writes void what others that share `tracking` have cached, and
    /// theirs what it has. All go by one clock.
    ///
    /// # Errors
    /// If no ring can be built over the pool's servers.
    pub fn tracked(pool: Pool, threads: usize, tracking: Tracking) -> Result<Arc<Self>, RingError> {
        let view = |_| ThreadView {
            counters: Published::new::<ProxyCounters>(),
            requests: Arc::default(),
            status: Arc::new(WorkerStatus::new(pool.servers.len())),
        };
        Ok(Arc::new(Self {
            members: Members::new(&pool)?,
            tracking,
            threads: (0..threads).map(view).collect(),
            door: Door::new(pool.limits, pool.credentials.clone()),
            pool,
        }))
    }

    /// The pool's configuration.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Epochs and writes in flight.
    pub fn coherence(&self) -> &Arc<Coherence> {
        &self.tracking.coherence
    }

    /// Liveness of the servers, and the ring.
    pub fn members(&self) -> &Arc<Members> {
        &self.members
    }

    /// What each thread shows.
    pub fn threads(&self) -> &[ThreadView] {
        &self.threads
    }

    /// What the pool's own clients pass.
    pub(super) fn door(&self) -> &Door {
        &self.door
    }

    #[inline]
    pub(super) fn hash(&self, key: &[u8]) -> u64 {
        self.tracking.hasher.hash(0, key)
    }

    /// The id of a write by its number, in a thread. No UDP request has an id of the same protocol.
    pub(super) fn write_id(&self, thread: u16, number: u64) -> WriteId {
        const PROTOCOL: u8 = 1;
        self.coherence().write_id(IpAddr::V4(Ipv4Addr::UNSPECIFIED), thread, number, PROTOCOL)
    }
}
