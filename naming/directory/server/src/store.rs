//! What a node has of the directory on its disk: one RocksDB for all its groups.
//!
//! | column family | key | value |
//! |---|---|---|
//! | `meta` | shard, kind, number | base of the log, hard state, finished snapshots |
//! | `log` | shard, index | an entry, as a [`Record`] |
//! | `state` | shard, generation, number | a chunk of a snapshot |
//!
//! Numbers are big-endian, so that keys are in order. Every value is a [frame] with a checksum, so
//! that damage is found where RocksDB does not look.
//!
//! # Durability
//! [`Store::write`] puts the records of all groups into one batch, which the write-ahead log takes as a whole or not at all,
//! and syncs once (`fdatasync`). A torn end of the write-ahead log is cut off at the next start; damage before its end is
//! refused (`kTolerateCorruptedTailRecords`): RocksDB's default would silently forget everything behind it.
//! Chunks of snapshots bypass the write-ahead log: their column family is flushed before the snapshot is entered in `meta`,
//! and what is not entered does not exist.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use naming::NodeId;
use naming_directory::frame;
use naming_directory::group::Retired;
use naming_directory::log::Record;
use naming_directory_client::ShardId;
use rocksdb::{ColumnFamily, DB, WriteBatch, WriteOptions};

mod error;
mod identity;
mod keys;
mod load;
mod options;
mod snapshots;
#[cfg(test)]
mod tests;

pub use error::StoreError;
pub(crate) use identity::Identity;
pub use identity::{Founders, StoreId};
pub use load::Loaded;
pub(crate) use snapshots::{Generation, Kept};

use keys::{Key, Meta};

/// A node's disk.
pub struct Store {
    path: PathBuf,
    db: DB,
    /// As it is on the disk.
    identity: Mutex<Identity>,
    /// The last entry that the log of each shard has on disk.
    last: Mutex<HashMap<ShardId, u64>>,
    /// The last snapshot of each shard that was begun.
    generations: Mutex<HashMap<ShardId, Generation>>,
}

/// What a batch amounted to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Records.
    pub records: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Whether it was synced.
    pub synced: bool,
}

impl Store {
    /// Opens the store of `node` in a directory, which is made if it is not there.
    ///
    /// # Errors
    /// If it is another node's, of a later release, in use, damaged, or cannot be read or written.
    pub fn open(path: &Path, node: NodeId) -> Result<Self, StoreError> {
        let identity = Mutex::new(identity::check(path, node)?);
        let db = options::open(path)?;
        let (path, last, generations) = (path.to_owned(), Mutex::default(), Mutex::default());
        Ok(Self { path, db, identity, last, generations })
    }

    /// Whose it is, and how it began.
    pub(crate) fn identity(&self) -> Identity {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes down with whom it founds a directory. While it may begin so, it says the same: others rely on it.
    pub(crate) fn write_down(&self, founders: &Founders) -> Result<(), StoreError> {
        self.identify(|identity| identity.founders.clone_from(founders))
    }

    /// Whether it ever had a shard. A node that was removed from its groups has none, and must not found a directory anew.
    pub fn has_begun(&self) -> bool {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner).begun
    }

    /// Notes that it has a shard.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn begin(&self) -> Result<(), StoreError> {
        self.identify(|identity| identity.begun = true)
    }

    /// The same, if the first shard that it has is of a directory that it did not found: with whom it was to found one is void.
    pub(crate) fn join(&self) -> Result<(), StoreError> {
        self.identify(|identity| {
            if !std::mem::replace(&mut identity.begun, true) {
                identity.founders.clear();
            }
        })
    }

    fn identify(&self, change: impl FnOnce(&mut Identity)) -> Result<(), StoreError> {
        let mut known = self.identity.lock().unwrap_or_else(PoisonError::into_inner);
        let mut identity = known.clone();
        change(&mut identity);
        if identity != *known {
            identity::write(&self.path, &identity)?;
            *known = identity;
        }
        Ok(())
    }

    /// Writes records of shards, each shard's in their order; all of them or none. Durable on return if `sync`.
    ///
    /// # Errors
    /// If they could not be written. What of them a next start finds is not known.
    pub fn write<'a>(
        &self,
        records: impl IntoIterator<Item = (ShardId, &'a [Record])>,
        sync: bool,
    ) -> Result<Written, StoreError> {
        let mut batch = WriteBatch::default();
        let mut written = Written { synced: sync, ..Written::default() };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        for (shard, records) in records {
            for record in records {
                let last = last.entry(shard).or_default();
                self.put(shard, record, last, &mut batch);
                written.records += 1;
            }
        }
        written.bytes = batch.size_in_bytes() as u64;
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        self.db.write_opt(batch, &options).map_err(StoreError::Write)?;
        Ok(written)
    }

    /// Forgets all of a shard, but for what it had when it was given up, if it was.
    ///
    /// # Errors
    /// If it could not be written.
    pub fn forget(&self, shard: ShardId, retired: Option<Retired>) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        let (from, until) = (Key::first(shard), Key::first(ShardId(shard.0 + 1)));
        for family in [self.meta(), self.log(), self.state()] {
            batch.delete_range_cf(family, from.as_ref(), until.as_ref());
        }
        if let Some(Retired { term, last }) = retired {
            let mut value = Vec::new();
            let payload = [term, last.term, last.index].map(u64::to_be_bytes).concat();
            frame::write(&mut value, keys::RETIRED, &payload);
            batch.put_cf(self.meta(), Key::meta(shard, Meta::Retired), value);
        }
        self.last.lock().unwrap_or_else(PoisonError::into_inner).remove(&shard);
        self.write_synced(batch)
    }

    fn put(&self, shard: ShardId, record: &Record, last: &mut u64, batch: &mut WriteBatch) {
        let mut value = Vec::new();
        record.write(&mut value);
        match record {
            Record::Entry(entry) => {
                let index = entry.position.index;
                // Entries behind it that it replaces.
                for stale in index + 1..=*last {
                    batch.delete_cf(self.log(), Key::entry(shard, stale));
                }
                *last = index;
                batch.put_cf(self.log(), Key::entry(shard, index), value);
            }
            Record::HardState(_) => batch.put_cf(self.meta(), Key::meta(shard, Meta::HardState), value),
            Record::Reset(base) => {
                let all = Key::entry(shard, 0)..Key::entry(shard, u64::MAX);
                batch.delete_range_cf(self.log(), all.start.as_ref(), all.end.as_ref());
                *last = base.position.index;
                batch.put_cf(self.meta(), Key::meta(shard, Meta::Base), value);
            }
            Record::Compact(base) => {
                let gone = Key::entry(shard, 0)..Key::entry(shard, base.position.index + 1);
                batch.delete_range_cf(self.log(), gone.start.as_ref(), gone.end.as_ref());
                *last = base.position.index.max(*last);
                batch.put_cf(self.meta(), Key::meta(shard, Meta::Base), value);
            }
        }
    }

    fn write_synced(&self, batch: WriteBatch) -> Result<(), StoreError> {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        self.db.write_opt(batch, &options).map_err(StoreError::Write)
    }

    fn meta(&self) -> &ColumnFamily {
        self.family(options::META)
    }

    fn log(&self) -> &ColumnFamily {
        self.family(options::LOG)
    }

    fn state(&self) -> &ColumnFamily {
        self.family(options::STATE)
    }

    fn family(&self, name: &str) -> &ColumnFamily {
        self.db.cf_handle(name).unwrap_or_else(|| unreachable!("the column family {name} was opened"))
    }
}
