//! The embedded store: what a memcached server keeps, without the server.
//!
//! What is done to a key is done by its [`Entry`], which returns what happened; a session turns that into replies. Items
//! are spread over shards by a keyed hash, each behind its own lock, so that the threads of a kernel-socket shell and the
//! workers of the packet path can share one store. Workers never wait for a lock: see [`Patience`].
//!
//! Semantics are memcached 1.6's, quirks that clients can see included (`proto_text.c`, `items.c`); only a
//! `flush_all` with a delay of one second waits for that second here. In place of memcached's slab classes and
//! segmented LRU there is one byte bound for each shard and SIEVE eviction.
//!
//! | module | what it is |
//! |---|---|
//! | [`clock`] | seconds, and what a client's expiry number means |
//! | [`item`] | one item |
//! | [`entry`] | the place of a key, held; who waits for it |
//! | `table` | the items of a shard, their index and eviction |
//! | [`read`] | get, and get with touch |
//! | [`write`](mod@write) | set, add, replace, append, prepend, cas |
//! | [`arithmetic`] | incr and decr |
//! | [`remove`] | delete, touch and flush_all |
//! | [`counters`] | what is counted |

pub mod arithmetic;
pub mod clock;
pub mod counters;
pub mod entry;
pub mod item;
pub mod read;
pub mod remove;
mod table;
pub mod write;

#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

pub use clock::{Expiry, Now};
pub use counters::StoreCounters;
pub use entry::{Busy, Entry, Patience};
use entry::{hold, lock};
pub use item::Item;
use table::Table;

/// The most shards a store has.
const MAX_SHARDS: usize = 64;
/// A shard holds at least so many items of the largest size, or the store has only one.
const LARGEST_ITEMS_PER_SHARD: usize = 4;
/// The least memory that a store can have, in bytes.
pub const MIN_MEMORY_BYTES: usize = 64 * 1024;
/// Slots that one [`Store::sweep`] looks at in its shard.
const SWEEP_SLOTS: usize = 4096;

/// How much a store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes for all items with their slots and index.
    pub memory_bytes: usize,
    /// Bytes of one item, as memcached's `-I` measures it: key, value and about 60 more.
    pub item_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_bytes: 64 << 20, item_bytes: 1 << 20 }
    }
}

/// What a store holds at a moment.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// Items, those included that have ended and were not yet removed.
    pub curr_items: usize,
    /// Bytes in use.
    pub bytes: usize,
    /// Bytes that may be in use.
    pub limit_bytes: usize,
    /// The sums of the shards' counters.
    pub counters: StoreCounters,
}

/// A memcached-compatible store in memory.
pub struct Store {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    limits: Limits,
    last_cas: AtomicU64,
    /// Items with a smaller CAS were flushed.
    flushed_below: AtomicU64,
    /// The second at which a delayed flush is due; `u64::MAX` if none is.
    flush_at: AtomicU64,
    /// Requests to flush.
    flushes: AtomicU64,
    next_sweep: AtomicUsize,
}

struct Shard {
    table: Table,
    counters: StoreCounters,
}

impl Store {
    /// An empty store. `memory_bytes` is at least [`MIN_MEMORY_BYTES`], and an item takes at most half of a shard.
    pub fn new(limits: Limits) -> Self {
        let memory_bytes = limits.memory_bytes.max(MIN_MEMORY_BYTES);
        let per_shard = limits.item_bytes.max(16 * 1024).saturating_mul(LARGEST_ITEMS_PER_SHARD);
        let wanted = (memory_bytes / per_shard).clamp(1, MAX_SHARDS);
        let shards = if wanted.is_power_of_two() { wanted } else { wanted.next_power_of_two() / 2 };
        let shard_bytes = memory_bytes / shards;
        let limits = Limits { memory_bytes, item_bytes: limits.item_bytes.min(shard_bytes / 2) };
        let shard =
            || Mutex::new(Shard { table: Table::new(shard_bytes), counters: StoreCounters::default() });
        Self {
            shards: (0..shards).map(|_| shard()).collect(),
            hasher: RandomState::new(),
            limits,
            last_cas: AtomicU64::new(0),
            flushed_below: AtomicU64::new(0),
            flush_at: AtomicU64::new(u64::MAX),
            flushes: AtomicU64::new(0),
            next_sweep: AtomicUsize::new(0),
        }
    }

    /// The limits in force.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Whether an item of this size is larger than the store takes.
    pub fn is_too_large(&self, key: &[u8], value_len: usize, flags: u32) -> bool {
        item::measured(key, value_len, flags) > self.limits.item_bytes
    }

    /// The place of `key`. Waits while another thread holds its shard.
    pub fn entry<'a>(&'a self, key: &'a [u8], now: Now) -> Entry<'a> {
        let (shard, hash) = self.place(key);
        Entry { shard: lock(shard), store: self, key, hash, now }
    }

    /// The place of `key`, for a caller of so much patience.
    ///
    /// # Errors
    /// [`Busy`] if it may not wait.
    pub fn entry_if<'a>(&'a self, key: &'a [u8], now: Now, patience: Patience) -> Result<Entry<'a>, Busy> {
        let (shard, hash) = self.place(key);
        Ok(Entry { shard: hold(shard, patience)?, store: self, key, hash, now })
    }

    /// What the store holds. Locks one shard after another.
    pub fn usage(&self) -> Usage {
        // Who waits is never turned away.
        self.usage_if(Patience::Wait).unwrap_or_default()
    }

    /// What the store holds, for a caller of so much patience.
    ///
    /// # Errors
    /// [`Busy`] if it may not wait.
    pub fn usage_if(&self, patience: Patience) -> Result<Usage, Busy> {
        let mut usage = Usage { limit_bytes: self.limits.memory_bytes, ..Usage::default() };
        usage.counters.cmd_flush = self.flushes.load(Ordering::Relaxed);
        for shard in &self.shards {
            let shard = hold(shard, patience)?;
            usage.curr_items += shard.table.len();
            usage.bytes += shard.table.bytes();
            usage.counters.add(&shard.counters);
        }
        Ok(usage)
    }

    /// Seconds since the item was stored or read that is first in line for eviction; 0 if there is none.
    ///
    /// # Errors
    /// [`Busy`] if the caller may not wait.
    pub fn age_seconds_if(&self, now: Now, patience: Patience) -> Result<u32, Busy> {
        let mut oldest = 0;
        for shard in &self.shards {
            let shard = hold(shard, patience)?;
            let age = shard.table.oldest().map_or(0, |item| now.seconds().saturating_sub(item.accessed));
            oldest = oldest.max(age);
        }
        Ok(oldest)
    }

    /// Sets the counters to zero (`stats reset`).
    ///
    /// # Errors
    /// [`Busy`] if the caller may not wait; some are zero then.
    pub fn reset_counters_if(&self, patience: Patience) -> Result<(), Busy> {
        self.flushes.store(0, Ordering::Relaxed);
        for shard in &self.shards {
            hold(shard, patience)?.counters = StoreCounters::default();
        }
        Ok(())
    }

    /// Removes some of the items that have ended: a bounded stretch of the next shard. Call it now and then, say
    /// every tenth of a second; items also go when they are asked for.
    pub fn sweep(&self, now: Now) {
        let next = self.next_sweep.fetch_add(1, Ordering::Relaxed);
        let flushed_below = self.flushed_below(now);
        let mut shard = lock(&self.shards[next & (self.shards.len() - 1)]);
        let Shard { table, counters } = &mut *shard;
        let dead = |item: &Item| item.cas < flushed_below || item.expiry.is_past(now);
        table.reap(SWEEP_SLOTS, dead, |item| counters.count_reclaimed(&item));
    }

    /// The shard of `key`, and the key's hash within it.
    fn place(&self, key: &[u8]) -> (&Mutex<Shard>, u32) {
        let hash = self.hasher.hash_one(key);
        (&self.shards[(hash >> 32) as usize & (self.shards.len() - 1)], hash as u32)
    }

    fn next_cas(&self) -> u64 {
        self.last_cas.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The CAS below which items were flushed. Carries a delayed flush out once it is due: everything stored so far
    /// has a smaller CAS than what is stored from here on.
    fn flushed_below(&self, now: Now) -> u64 {
        let due = self.flush_at.load(Ordering::Relaxed);
        if u64::from(now.seconds()) < due {
            return self.flushed_below.load(Ordering::Relaxed);
        }
        let cas = self.next_cas();
        let first =
            self.flush_at.compare_exchange(due, u64::MAX, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if first { self.flushed_below.fetch_max(cas, Ordering::Relaxed).max(cas) } else { cas }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("limits", &self.limits).finish_non_exhaustive()
    }
}
