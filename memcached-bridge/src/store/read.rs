//! Reads: get, get with touch, and meta get with all it may do on the way.

use super::{Entry, Expiry, Item};

/// What a read does besides reading. The default only reads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Read {
    /// Give the item a new end (`gat`, `mg ... T`).
    pub touch: Option<Expiry>,
    /// If the item is missing, store an empty one that ends so (`mg ... N`).
    pub vivify: Option<Expiry>,
    /// This reader can be told to refill an item (`mg`): one that is missing, stale or soon to end.
    pub may_win: bool,
    /// If the item ends before that, tell one reader to refill it (`mg ... R`).
    pub refill: Option<Expiry>,
    /// Leave no trace of the read (`mg ... u`).
    pub untraced: bool,
}

/// What a reader gets to see, under the shard's lock.
#[derive(Debug)]
pub struct Seen<'a> {
    /// The item, its end already moved if the read touches.
    pub item: &'a Item,
    /// When it was to end before this read; never, if this read made it.
    pub expiry_before: Expiry,
    /// It had been read before.
    pub hit_before: bool,
    /// Seconds since it was last read or stored.
    pub idle_seconds: u32,
    /// This reader is the one to refill it.
    pub won: bool,
    /// Another reader was told to refill it.
    pub token_sent: bool,
}

impl Entry<'_> {
    /// Reads the key and hands what it finds to `see`, which must not call the store. `None` if the key is not there.
    pub fn read<R>(&mut self, read: Read, see: impl FnOnce(Seen<'_>) -> R) -> Option<R> {
        let now = self.now;
        let found = self.find();
        let created = found.is_none() && read.vivify.is_some();
        let slot = match (found, read.vivify) {
            (Some(slot), _) => Some(slot),
            (None, Some(expiry)) => {
                let item = Item::new(self.key, [b"", b""], 0, expiry);
                Some(self.link(None, item).0)
            }
            (None, None) => None,
        };
        let counters = &mut self.shard.counters;
        match (read.touch.is_some(), slot.is_some()) {
            (false, true) => counters.get_hits += 1,
            (false, false) => counters.get_misses += 1,
            (true, true) => counters.touch_hits += 1,
            (true, false) => counters.touch_misses += 1,
        }
        counters.cmd_get += u64::from(read.touch.is_none());
        counters.cmd_touch += u64::from(read.touch.is_some());

        let slot = slot?;
        if !read.untraced {
            self.shard.table.visit(slot);
        }
        let item = self.shard.table.item_mut(slot);
        let won = read.may_win && (created || item.wants_refill(read.refill));
        let token_sent = item.token_sent;
        item.token_sent |= won;
        let hit_before = item.fetched;
        let expiry_before = if created { Expiry::NEVER } else { item.expiry };
        let idle_seconds = now.seconds().saturating_sub(item.accessed);
        if let Some(expiry) = read.touch {
            item.expiry = expiry;
        }
        if !read.untraced {
            item.fetched = true;
            item.accessed = now.seconds();
        }
        Some(see(Seen { item, expiry_before, hit_before, idle_seconds, won, token_sent }))
    }
}

impl Item {
    /// Whether a reader is to be told to refill it: nobody was yet, and it is stale or ends too soon.
    fn wants_refill(&self, refill: Option<Expiry>) -> bool {
        !self.token_sent && (self.stale || refill.is_some_and(|limit| self.expiry.is_before(limit)))
    }
}
