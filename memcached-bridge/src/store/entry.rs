//! The place of one key, in its holder's hands.
//!
//! All that is done to a key is done by an [`Entry`]: the key's shard is locked while it lives, so that nothing comes
//! between two of its operations. Who may wait for a shard says so by its [`Patience`]. A worker of the packet path may
//! not: it looks a few times, and comes back later if the shard is still in other hands.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use super::counters::StoreCounters;
use super::table::Slot;
use super::{Item, Now, Shard, Store};

/// How long a caller waits for a shard that another thread holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Patience {
    /// As long as it takes.
    #[default]
    Wait,
    /// A few looks in a row, never asleep. Letting go of a shard may still wake who sleeps for it, which is a system
    /// call, though not one that blocks.
    Look,
}

/// Looks at a shard before an impatient caller gives up: longer than another worker holds it for a small item, unless
/// the kernel takes its core away.
const LOOKS: u32 = 64;

/// A shard is in another thread's hands, and the caller may not wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another thread holds this part of the store; try again")]
pub struct Busy;

/// The place of a key, there or not, until it is dropped.
pub struct Entry<'a> {
    pub(super) shard: MutexGuard<'a, Shard>,
    pub(super) store: &'a Store,
    pub(super) key: &'a [u8],
    pub(super) hash: u32,
    pub(super) now: Now,
}

impl Entry<'_> {
    /// The key's item, if it is there and has not ended. An ended one is removed and counted.
    pub(super) fn find(&mut self) -> Option<Slot> {
        let slot = self.shard.table.find(self.hash, self.key)?;
        let item = self.shard.table.item(slot);
        let flushed = item.cas < self.store.flushed_below(self.now);
        if !flushed && !item.expiry.is_past(self.now) {
            return Some(slot);
        }
        let item = self.shard.table.remove(slot);
        let counters = &mut self.shard.counters;
        if flushed {
            counters.get_flushed += 1;
        } else {
            counters.get_expired += 1;
        }
        counters.count_reclaimed(&item);
        None
    }

    /// Stores `item` under a new CAS, over what is in `old`. Returns where it is and its CAS.
    pub(super) fn link(&mut self, old: Option<Slot>, mut item: Item) -> (Slot, u64) {
        let cas = self.store.next_cas();
        (item.cas, item.accessed) = (cas, self.now.seconds());
        let Shard { table, counters } = &mut *self.shard;
        counters.total_items += 1;
        let evicted = |item: Item| {
            counters.evictions += 1;
            counters.evicted_unfetched += u64::from(!item.fetched);
        };
        let slot = match old {
            Some(slot) => table.replace(slot, item, evicted),
            None => table.insert(self.hash, item, false, evicted),
        };
        (slot, cas)
    }

    /// Counts a meta command.
    pub fn count_meta(&mut self) {
        self.shard.counters.cmd_meta += 1;
    }
}

impl std::fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("key", &self.key.escape_ascii()).finish_non_exhaustive()
    }
}

impl StoreCounters {
    pub(super) fn count_reclaimed(&mut self, item: &Item) {
        self.reclaimed += 1;
        self.expired_unfetched += u64::from(!item.fetched);
    }
}

/// Waits for `shard`. One that a panic has poisoned is used on: a program that cares ends with the panic.
pub(super) fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes `shard`, as patiently as the caller is.
pub(super) fn hold(shard: &Mutex<Shard>, patience: Patience) -> Result<MutexGuard<'_, Shard>, Busy> {
    if patience == Patience::Wait {
        return Ok(lock(shard));
    }
    for _ in 0..LOOKS {
        match shard.try_lock() {
            Ok(held) => return Ok(held),
            Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
        }
    }
    Err(Busy)
}
