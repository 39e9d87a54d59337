//! Writes of whole values: set, add, replace, append, prepend, cas.

use super::table::Slot;
use super::{Entry, Expiry, Item};

/// On which condition a value is stored, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In any case.
    Set,
    /// If the key is not there.
    Add,
    /// If the key is there.
    Replace,
    /// Behind the value that is there; its flags and end stay.
    Append,
    /// Before the value that is there; its flags and end stay.
    Prepend,
    /// If the item that is there has the CAS asked for.
    Cas,
}

/// A value to be stored.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// On which condition.
    pub mode: Mode,
    /// The value.
    pub value: &'a [u8],
    /// The client's flags.
    pub flags: u32,
    /// When it ends.
    pub expiry: Expiry,
    /// The CAS asked for; 0 is none. [`Mode::Append`] and [`Mode::Prepend`] heed it, too.
    pub cas: u64,
    /// [`Mode::Cas`] with too old a CAS stores all the same and marks the item stale (`ms ... I`).
    pub accept_stale: bool,
    /// The key came in base64.
    pub binary_key: bool,
}

/// What became of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Stored, under this CAS.
    Stored(u64),
    /// The condition was not met.
    NotStored,
    /// The item has another CAS.
    Exists,
    /// There is no item whose CAS could be compared.
    NotFound,
}

impl Entry<'_> {
    /// Stores a value. The caller has asked [`Store::is_too_large`](super::Store::is_too_large) before it took the
    /// value in.
    pub fn write(&mut self, write: Write<'_>) -> Stored {
        self.shard.counters.cmd_set += 1;
        match self.find() {
            Some(slot) => self.write_over(&write, slot),
            None => self.write_new(&write),
        }
    }

    /// Notes that a value was too large to be taken in. What it was to replace must not be served any more, so it
    /// goes, unless the write would only have changed it (`drop_old`: `set`, and every `ms`).
    pub fn refuse_too_large(&mut self, drop_old: bool) {
        self.shard.counters.store_too_large += 1;
        if let Some(slot) = self.find().filter(|_| drop_old) {
            self.shard.table.remove(slot);
        }
    }

    fn write_new(&mut self, write: &Write<'_>) -> Stored {
        match write.mode {
            Mode::Set | Mode::Add => {}
            Mode::Replace | Mode::Append | Mode::Prepend => return Stored::NotStored,
            Mode::Cas => {
                self.shard.counters.cas_misses += 1;
                return Stored::NotFound;
            }
        }
        Stored::Stored(self.link(None, write.item(self.key)).1)
    }

    fn write_over(&mut self, write: &Write<'_>, slot: Slot) -> Stored {
        let old = self.shard.table.item(slot);
        let mut item = write.item(self.key);
        match write.mode {
            Mode::Set | Mode::Replace => {}
            Mode::Add => {
                self.shard.table.visit(slot);
                return Stored::NotStored;
            }
            Mode::Append | Mode::Prepend => {
                if write.cas != 0 && write.cas != old.cas {
                    return Stored::Exists;
                }
                if self.store.is_too_large(self.key, old.value().len() + write.value.len(), old.flags) {
                    return Stored::NotStored;
                }
                let value = match write.mode {
                    Mode::Append => [old.value(), write.value],
                    _ => [write.value, old.value()],
                };
                item = Item::new(self.key, value, old.flags, old.expiry);
            }
            Mode::Cas if write.cas == old.cas => self.shard.counters.cas_hits += 1,
            Mode::Cas if write.accept_stale && write.cas != 0 && write.cas < old.cas => {
                (item.expiry, item.stale, item.token_sent) = (old.expiry, true, old.token_sent);
            }
            Mode::Cas => {
                self.shard.counters.cas_badval += 1;
                return Stored::Exists;
            }
        }
        Stored::Stored(self.link(Some(slot), item).1)
    }
}

impl Write<'_> {
    fn item(&self, key: &[u8]) -> Item {
        let mut item = Item::new(key, [self.value, b""], self.flags, self.expiry);
        item.binary_key = self.binary_key;
        item
    }
}
