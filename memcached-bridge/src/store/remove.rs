//! What takes items away or changes their end: delete, touch, flush_all.

use std::sync::atomic::Ordering;

use super::{Entry, Expiry, Now, Store};

/// A request to delete. The default is one without conditions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delete {
    /// The CAS asked for.
    pub cas: Option<u64>,
    /// Keep the item and mark it stale (`md ... I`).
    pub invalidate: bool,
    /// With [`Delete::invalidate`]: the item's new end.
    pub touch: Option<Expiry>,
}

/// What became of a [`Delete`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// The key is gone, or stale if that was asked for.
    Deleted,
    /// The key was not there.
    NotFound,
    /// The item has another CAS.
    Exists,
}

impl Entry<'_> {
    /// Deletes the key, or marks its item stale.
    pub fn delete(&mut self, delete: Delete) -> Deleted {
        let Some(slot) = self.find() else {
            self.shard.counters.delete_misses += 1;
            return Deleted::NotFound;
        };
        let item = self.shard.table.item_mut(slot);
        if delete.cas.is_some_and(|cas| cas != item.cas) {
            self.shard.counters.delete_misses += 1;
            return Deleted::Exists;
        }
        if delete.invalidate {
            item.expiry = delete.touch.unwrap_or(item.expiry);
            (item.stale, item.token_sent) = (true, false);
            item.cas = self.store.next_cas();
            return Deleted::Deleted;
        }
        self.shard.table.remove(slot);
        self.shard.counters.delete_hits += 1;
        Deleted::Deleted
    }

    /// Gives the key's item a new end. Whether the key was there.
    pub fn touch(&mut self, expiry: Expiry) -> bool {
        self.shard.counters.cmd_touch += 1;
        let Some(slot) = self.find() else {
            self.shard.counters.touch_misses += 1;
            return false;
        };
        self.shard.counters.touch_hits += 1;
        self.shard.table.visit(slot);
        let item = self.shard.table.item_mut(slot);
        (item.expiry, item.fetched) = (expiry, true);
        true
    }
}

impl Store {
    /// Ends every item stored so far: at once, or when the delay (or Unix time, see [`Expiry::from_wire`]) `seconds`
    /// has come, and then all that was stored by then. A later call takes the place of one that is still due.
    pub fn flush_all(&self, seconds: i64, now: Now) {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        let due = Expiry::from_wire(seconds.max(0), now);
        let at = match due.remaining(now) {
            Some(remaining) if remaining > 0 => u64::from(now.seconds()) + u64::from(remaining),
            _ => {
                let cas = self.next_cas();
                self.flushed_below.fetch_max(cas, Ordering::Relaxed);
                u64::MAX
            }
        };
        self.flush_at.store(at, Ordering::Relaxed);
    }
}
