//! Snapshots on the disk, chunk by chunk. A snapshot is there once it is entered in `meta`.

use std::sync::PoisonError;

use naming_directory::{Position, frame};
use naming_directory_client::ShardId;
use rocksdb::{Direction, FlushOptions, IteratorMode, ReadOptions, WriteBatch, WriteOptions};

use super::keys::{Key, Meta};
use super::load::damaged;
use super::{Store, StoreError};

/// Tells snapshots of a shard on one disk from each other; the later, the higher.
pub(crate) type Generation = u64;

/// A snapshot that is complete and durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) generation: Generation,
    /// The entry it is of.
    pub(crate) position: Position,
    pub(crate) chunks: u32,
}

/// The kind of the frame around a description.
const KEPT: u8 = 1;

impl Kept {
    fn write(&self) -> Vec<u8> {
        let payload = [
            &self.position.term.to_be_bytes()[..],
            &self.position.index.to_be_bytes(),
            &self.chunks.to_be_bytes(),
        ]
        .concat();
        let mut out = Vec::new();
        frame::write(&mut out, KEPT, &payload);
        out
    }

    pub(super) fn read(generation: Generation, bytes: &[u8]) -> Option<Self> {
        let (frame, []) = frame::read(bytes).ok()? else { return None };
        let (term, rest) = frame.payload.split_first_chunk().filter(|_| frame.kind == KEPT)?;
        let (index, rest) = rest.split_first_chunk()?;
        let chunks = u32::from_be_bytes(rest.try_into().ok()?);
        let position = Position::new(u64::from_be_bytes(*term), u64::from_be_bytes(*index));
        Some(Self { generation, position, chunks })
    }
}

impl Store {
    /// Writes a chunk of a snapshot that is not finished. Not durable yet.
    pub(crate) fn put_chunk(
        &self,
        shard: ShardId,
        generation: Generation,
        number: u32,
        chunk: &[u8],
    ) -> Result<(), StoreError> {
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        let key = Key::chunk(shard, generation, number);
        self.db.put_cf_opt(self.state(), key, chunk, &options).map_err(StoreError::Write)
    }

    /// A chunk, if it is there.
    pub(crate) fn chunk(
        &self,
        shard: ShardId,
        generation: Generation,
        number: u32,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.db.get_cf(self.state(), Key::chunk(shard, generation, number)).map_err(StoreError::Read)
    }

    /// Makes a snapshot durable whose chunks are written.
    pub(crate) fn finish_snapshot(&self, shard: ShardId, kept: Kept) -> Result<(), StoreError> {
        let mut flush = FlushOptions::default();
        flush.set_wait(true);
        self.db.flush_cf_opt(self.state(), &flush).map_err(StoreError::Write)?;
        let mut batch = WriteBatch::default();
        batch.put_cf(self.meta(), Key::meta(shard, Meta::Snapshot(kept.generation)), kept.write());
        self.write_synced(batch)
    }

    /// A generation that no snapshot of the shard has had since the start, finished or not.
    pub(crate) fn next_generation(&self, shard: ShardId) -> Result<Generation, StoreError> {
        let newest = self.snapshots(shard)?.last().map_or(0, |kept| kept.generation);
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let last = generations.entry(shard).or_default();
        *last = newest.max(*last) + 1;
        Ok(*last)
    }

    /// The snapshots of a shard, the oldest first.
    pub(crate) fn snapshots(&self, shard: ShardId) -> Result<Vec<Kept>, StoreError> {
        let from = Key::meta(shard, Meta::Snapshot(0));
        let mut range = ReadOptions::default();
        range.set_iterate_upper_bound(Key::first(ShardId(shard.0 + 1)).as_ref());
        let start = IteratorMode::From(from.as_ref(), Direction::Forward);
        let mut all = Vec::new();
        for item in self.db.iterator_cf_opt(self.meta(), range, start) {
            let (key, value) = item.map_err(StoreError::Read)?;
            if let Some((_, Meta::Snapshot(generation))) = Key::split_meta(&key) {
                let kept = Kept::read(generation, &value);
                all.push(kept.ok_or_else(|| damaged(shard, "a snapshot's description"))?);
            }
        }
        Ok(all)
    }

    /// Removes a snapshot, or what there is of one that was not finished.
    pub(crate) fn drop_snapshot(&self, shard: ShardId, generation: Generation) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        batch.delete_cf(self.meta(), Key::meta(shard, Meta::Snapshot(generation)));
        self.write_synced(batch)?;
        self.drop_chunks(Key::chunk(shard, generation, 0), Key::chunk(shard, generation, u32::MAX))
    }

    /// Removes all chunks of a shard but those of one snapshot.
    pub(super) fn drop_unfinished(&self, shard: ShardId, but: Option<Generation>) -> Result<(), StoreError> {
        let (first, behind) = (Key::first(shard), Key::first(ShardId(shard.0 + 1)));
        match but {
            Some(but) => {
                self.drop_chunks(first, Key::chunk(shard, but, 0))?;
                self.drop_chunks(Key::chunk(shard, but, u32::MAX), behind)
            }
            None => self.drop_chunks(first, behind),
        }
    }

    /// Whole files at once, and the rest by a mark. What a crash leaves of them is removed by the next start.
    fn drop_chunks(&self, from: Key, until: Key) -> Result<(), StoreError> {
        self.db.delete_file_in_range_cf(self.state(), from, until).map_err(StoreError::Write)?;
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(self.state(), from.as_ref(), until.as_ref());
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        self.db.write_opt(batch, &options).map_err(StoreError::Write)
    }
}
