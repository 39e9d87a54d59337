//! What the workers of an embedded pool share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fabric::counters::Published;
use fabric::function::WorkerId;
use fabric::time::Nanos;

use super::counters::EmbeddedCounters;
use super::pool::EmbeddedPool;
use crate::packet::allowlist::Allowlist;
use crate::session::Server;
use crate::store::Now;

/// An embedded pool as its workers share it.
#[derive(Debug)]
pub struct EmbeddedState {
    pool: EmbeddedPool,
    allowed: Allowlist,
    server: Arc<Server>,
    /// Nanoseconds from the Unix epoch to the workers' time 0.
    unix_at_zero: AtomicU64,
    workers: Vec<Arc<Published>>,
}

impl EmbeddedState {
    /// The shared state of `pool` for `workers` workers, which answer for `server`. All shells of a server must go by the
    /// same monotonic clock.
    pub fn new(pool: EmbeddedPool, server: Arc<Server>, workers: u16) -> Arc<Self> {
        Arc::new(Self {
            allowed: Allowlist::new(&pool.clients),
            server,
            unix_at_zero: AtomicU64::new(0),
            workers: (0..workers).map(|_| Published::new::<EmbeddedCounters>()).collect(),
            pool,
        })
    }

    /// The pool's configuration.
    pub fn pool(&self) -> &EmbeddedPool {
        &self.pool
    }

    /// How many workers serve the pool.
    pub fn workers(&self) -> u16 {
        self.workers.len() as u16
    }

    /// What worker `worker` publishes.
    ///
    /// # Panics
    /// If there is no such worker.
    pub fn of_worker(&self, worker: WorkerId) -> Arc<Published> {
        Arc::clone(&self.workers[usize::from(worker.0)])
    }

    /// Says that at `now` the calendar shows `unix`, the time since the Unix epoch. A worker has no calendar: whoever has
    /// one says so before the first packet, and again now and then, as calendars are set.
    pub fn set_calendar(&self, now: Nanos, unix: Duration) {
        let zero = unix.saturating_sub(Duration::from_nanos(now.0));
        self.unix_at_zero.store(u64::try_from(zero.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    pub(super) fn time(&self, at: Nanos) -> Now {
        let unix = self.unix_at_zero.load(Ordering::Relaxed).saturating_add(at.0) / 1_000_000_000;
        Now { at, unix }
    }

    pub(super) fn allows(&self, client: u32) -> bool {
        self.allowed.allows(client)
    }
}
