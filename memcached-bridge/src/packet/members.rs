//! Which servers are alive, and the ring their keys are spread over.
//!
//! Worker 0 probes the servers and marks them; the shell's control thread calls [`Members::apply`], which builds a
//! new ring when a mark changed; every worker adopts it at its next burst. Building a ring allocates and takes
//! milliseconds, so no worker does it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fabric::time::Nanos;

use super::pool::Pool;
use crate::coherence::Coherence;
use crate::hashing::{Ring, RingError};

/// The liveness of a pool's servers and the ring over those that live.
#[derive(Debug)]
pub struct Members {
    alive: Box<[AtomicBool]>,
    ring: Mutex<Current>,
    generation: AtomicU64,
}

#[derive(Debug)]
struct Current {
    ring: Arc<Ring>,
    built_from: Vec<bool>,
    /// Kept until the next change, so that no worker is the last to let go of it and has to free it.
    _previous: Option<Arc<Ring>>,
}

/// A change that [`Members::apply`] made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The server at this index was ejected; its keys go to the others.
    Ejected(usize),
    /// The server at this index is back and has its keys again.
    Returned(usize),
}

impl Members {
    /// All servers of `pool`, taken for alive.
    ///
    /// # Errors
    /// If no ring can be built over the pool's servers.
    pub fn new(pool: &Pool) -> Result<Arc<Self>, RingError> {
        let built_from = vec![true; pool.servers.len()];
        let ring = Arc::new(pool.ring(&built_from)?);
        let alive = pool.servers.iter().map(|_| AtomicBool::new(true)).collect();
        Ok(Arc::new(Self {
            alive,
            ring: Mutex::new(Current { ring, built_from, _previous: None }),
            generation: AtomicU64::new(0),
        }))
    }

    /// Whether server `index` answered its last probes.
    pub fn is_alive(&self, index: usize) -> bool {
        self.alive[index].load(Ordering::Relaxed)
    }

    /// Says whether server `index` answers its probes.
    pub fn mark(&self, index: usize, alive: bool) {
        self.alive[index].store(alive, Ordering::Relaxed);
    }

    /// Grows by one with each new ring.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The ring in force.
    pub fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.current().ring)
    }

    /// Builds and publishes a new ring if servers died or returned since the last one. For the control thread.
    ///
    /// A key that moves to another server may be cached from the old one, and workers adopt the ring one after the
    /// other; hence the cache closes for one lease before the ring is published. If no server is left the last
    /// ring stays.
    pub fn apply(&self, pool: &Pool, coherence: &Coherence, now: Nanos) -> Vec<Change> {
        if !pool.probing.auto_eject {
            return Vec::new();
        }
        let alive: Vec<bool> = (0..self.alive.len()).map(|index| self.is_alive(index)).collect();
        let built_from = self.current().built_from.clone();
        if alive == built_from {
            return Vec::new();
        }
        // Without the lock: building takes milliseconds, and a worker may want the ring in force meanwhile.
        let Ok(ring) = pool.ring(&alive) else { return Vec::new() };
        if let Some(cache) = pool.cache {
            coherence.close(now, now + cache.lease);
            coherence.bump_pool();
        }
        let changes = changes(&built_from, &alive);
        let next = Current { ring: Arc::new(ring), built_from: alive, _previous: Some(self.ring()) };
        let retired = std::mem::replace(&mut *self.current(), next);
        self.generation.fetch_add(1, Ordering::Release);
        drop(retired);
        changes
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn changes(before: &[bool], after: &[bool]) -> Vec<Change> {
    let changed = before.iter().zip(after).enumerate().filter(|(_, (before, after))| before != after);
    changed
        .map(|(index, (_, alive))| if *alive { Change::Returned(index) } else { Change::Ejected(index) })
        .collect()
}
