//! What the workers of a pool share, and what they show of themselves.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use fabric::counters::Published;
use fabric::function::WorkerId;
use fabric::packet::ethernet::MacAddr;
use fabric::packet::udp4::{IP_AND_UDP, Udp4};

use super::allowlist::Allowlist;
use super::counters::PoolCounters;
use super::pool::Pool;
use crate::coherence::{Coherence, CoherenceLimits, Tracking, WriteId};
use crate::hashing::{MemberIndex, RingError};
use crate::hot::{HotKey, HotTable, Hottest, KeyHasher};
use crate::members::Members;

/// Hot keys that a worker shows.
pub const SHOWN_HOT_KEYS: usize = 16;

/// A pool as its workers share it.
#[derive(Debug)]
pub struct PoolState {
    pool: Pool,
    address: Address,
    allowed: Allowlist,
    macs: Vec<MacAddr>,
    /// One bit for each value of the last six bits of the servers' MACs: most frames are told apart by it.
    mac_filter: u64,
    hasher: KeyHasher,
    coherence: Arc<Coherence>,
    members: Arc<Members>,
    workers: Vec<(Arc<Published>, Arc<WorkerStatus>)>,
}

/// The numbers by which packets of the pool are told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Address {
    pub(super) vip: u32,
    pub(super) node: u32,
    pub(super) vlan: u16,
    pub(super) service_port: u16,
    pub(super) upstream_port: u16,
}

impl PoolState {
    /// The shared state of `pool` for `workers` workers. `seed` keys the hash of keys, so that clients cannot choose
    /// colliding ones; take it from the system's random numbers.
    ///
    /// # Errors
    /// If no ring can be built over the pool's servers.
    pub fn new(pool: Pool, workers: u16, seed: u64) -> Result<Arc<Self>, RingError> {
        let members = Members::new(&pool)?;
        let mut limits = CoherenceLimits { seed, ..CoherenceLimits::default() };
        if let Some(cache) = pool.cache {
            limits.lease = cache.lease;
            limits.quarantine = 4 * cache.lease;
        }
        let address = Address {
            vip: u32::from(pool.vip),
            node: u32::from(pool.node.ip),
            vlan: pool.vlan.unwrap_or(0),
            service_port: pool.service_port,
            upstream_port: pool.upstream_port,
        };
        let macs: Vec<MacAddr> = pool.servers.iter().map(|server| server.mac).collect();
        let status = |_| (Published::new::<PoolCounters>(), Arc::new(WorkerStatus::new(pool.servers.len())));
        Ok(Arc::new(Self {
            address,
            allowed: Allowlist::new(&pool.clients),
            mac_filter: macs.iter().fold(0, |filter, mac| filter | filter_bit(&mac.0)),
            macs,
            hasher: KeyHasher::new(seed),
            coherence: Coherence::new(limits),
            members,
            workers: (0..workers).map(status).collect(),
            pool,
        }))
    }

    /// The pool's configuration.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Epochs and writes in flight.
    pub fn coherence(&self) -> &Arc<Coherence> {
        &self.coherence
    }

    /// What others on the node need to touch the pool, too.
    pub fn tracking(&self) -> Tracking {
        Tracking { hasher: self.hasher.clone(), coherence: Arc::clone(&self.coherence) }
    }

    /// Liveness of the servers, and the ring.
    pub fn members(&self) -> &Arc<Members> {
        &self.members
    }

    /// How many workers serve the pool.
    pub fn workers(&self) -> u16 {
        self.workers.len() as u16
    }

    /// What worker `worker` publishes.
    ///
    /// # Panics
    /// If there is no such worker.
    pub fn of_worker(&self, worker: WorkerId) -> (Arc<Published>, Arc<WorkerStatus>) {
        self.workers[usize::from(worker.0)].clone()
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    #[inline]
    pub(super) fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash(0, key)
    }

    /// The id of a write: who sent it, and the request id of its UDP frame.
    pub(super) fn write_id(&self, client: u32, port: u16, request_id: u16) -> WriteId {
        self.coherence.write_id(Ipv4Addr::from_bits(client).into(), port, u64::from(request_id), 0)
    }

    #[inline]
    pub(super) fn allows(&self, client: u32) -> bool {
        self.allowed.allows(client)
    }

    /// Whether a sender uses the virtual address, or the address and ports from which the node asks servers.
    #[inline]
    pub(super) fn poses_as_node(&self, ip: u32, port: u16) -> bool {
        let own_port = port.wrapping_sub(self.address.upstream_port) < self.workers();
        ip == self.address.vip || (ip == self.address.node && own_port)
    }

    /// Whether a reply with `payload` bytes after the UDP header keeps the amplification limit, IP headers counted.
    pub(super) fn within_limit(&self, request: &Udp4, payload: usize) -> bool {
        let received = (request.end - request.l3) as f64;
        (payload + IP_AND_UDP) as f64 <= self.pool.amplification_limit * received
    }

    #[inline]
    pub(super) fn server_mac(&self, server: MemberIndex) -> MacAddr {
        self.macs[usize::from(server.0)]
    }

    /// The first server that lives: for requests that any server can answer.
    pub(super) fn any_server(&self) -> MemberIndex {
        let index = (0..self.macs.len()).find(|index| self.members.is_alive(*index)).unwrap_or(0);
        MemberIndex(index as u16)
    }

    pub(super) fn servers(&self) -> impl Iterator<Item = MemberIndex> + use<> {
        (0..self.macs.len() as u16).map(MemberIndex)
    }

    pub(super) fn is_server(&self, mac: &[u8; 6]) -> bool {
        self.mac_filter & filter_bit(mac) != 0 && self.macs.iter().any(|server| server.0 == *mac)
    }
}

fn filter_bit(mac: &[u8; 6]) -> u64 {
    1 << (mac[5] & 63)
}

/// What one worker shows of a pool besides its counters.
#[derive(Debug)]
pub struct WorkerStatus {
    server_requests: Box<[AtomicU64]>,
    cache_entries: AtomicU64,
    cache_bytes: AtomicU64,
    hottest: Mutex<Hottest>,
}

/// Buckets of the hot table that one publication walks for the hottest keys.
const WALKED_BUCKETS: usize = 64;

impl WorkerStatus {
    pub(crate) fn new(servers: usize) -> Self {
        Self {
            server_requests: (0..servers).map(|_| AtomicU64::new(0)).collect(),
            cache_entries: AtomicU64::new(0),
            cache_bytes: AtomicU64::new(0),
            hottest: Mutex::new(Hottest::new(SHOWN_HOT_KEYS)),
        }
    }

    /// Requests redirected to each server, by index.
    pub fn server_requests(&self) -> impl Iterator<Item = u64> + '_ {
        self.server_requests.iter().map(|requests| requests.load(Ordering::Relaxed))
    }

    /// Entries in the hot table, and the bytes their records take.
    pub fn cache(&self) -> (u64, u64) {
        (self.cache_entries.load(Ordering::Relaxed), self.cache_bytes.load(Ordering::Relaxed))
    }

    /// The keys answered most often, hottest first.
    pub fn hot_keys(&self) -> Vec<HotKey> {
        self.hottest.lock().unwrap_or_else(PoisonError::into_inner).sorted().to_vec()
    }

    /// One worker alone counts here, so a load and a store do.
    #[inline]
    pub(crate) fn count_request(&self, server: MemberIndex) {
        let requests = &self.server_requests[usize::from(server.0)];
        requests.store(requests.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Publishes the table's size, and goes on with the walk for its hottest keys.
    pub(crate) fn publish_cache(&self, table: &HotTable, walk: &mut Hottest) {
        self.cache_entries.store(table.len() as u64, Ordering::Relaxed);
        self.cache_bytes.store(table.bytes() as u64, Ordering::Relaxed);
        if !table.hottest(walk, WALKED_BUCKETS) {
            return;
        }
        // A reader that holds the lock just now gets the next list; the worker never waits for it.
        let mut shown = match self.hottest.try_lock() {
            Ok(shown) => shown,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        std::mem::swap(&mut *shown, walk);
        drop(shown);
        walk.restart();
    }
}
