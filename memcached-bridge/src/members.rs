//! Which servers are alive, and the ring their keys are spread over.
//!
//! Whoever finds a server dead or alive marks it; [`Members::apply`] builds a new ring when a mark changed; every
//! worker and thread adopts it when it sees the generation grow. Building a ring allocates and takes milliseconds, so
//! no worker of the packet path does it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fabric::time::Nanos;

use crate::coherence::Coherence;
use crate::hashing::{Ring, RingError};

/// What the members need to know of their pool.
pub trait MemberPool {
    /// How many servers it has, dead ones included.
    fn servers(&self) -> usize;
    /// The ring over the servers for which `alive` is true.
    ///
    /// # Errors
    /// If none is, or a server's name or weight cannot be used.
    fn ring(&self, alive: &[bool]) -> Result<Ring, RingError>;
    /// Whether the keys of a dead server go to the others.
    fn auto_eject(&self) -> bool;
    /// The lease of its cache, if it has one.
    fn lease(&self) -> Option<Duration>;
}

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
    pub fn new(pool: &impl MemberPool) -> Result<Arc<Self>, RingError> {
        let built_from = vec![true; pool.servers()];
        let ring = Arc::new(pool.ring(&built_from)?);
        let alive = built_from.iter().map(|alive| AtomicBool::new(*alive)).collect();
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

    /// Builds and publishes a new ring if servers died or returned since the last one. Not for a worker of the packet path.
    ///
    /// A key that moves to another server may be cached from the old one, and workers adopt the ring one after the
    /// other; hence the cache closes for one lease before the ring is published. If no server is left the last
    /// ring stays.
    pub fn apply(&self, pool: &impl MemberPool, coherence: &Coherence, now: Nanos) -> Vec<Change> {
        if !pool.auto_eject() {
            return Vec::new();
        }
        let alive: Vec<bool> = (0..self.alive.len()).map(|index| self.is_alive(index)).collect();
        let built_from = self.current().built_from.clone();
        if alive == built_from {
            return Vec::new();
        }
        // Without the lock: building takes milliseconds, and a worker may want the ring in force meanwhile.
        let Ok(ring) = pool.ring(&alive) else { return Vec::new() };
        if let Some(lease) = pool.lease() {
            coherence.close(now, now + lease);
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
