//! What a start finds.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use naming_directory::catalog::Catalog;
use naming_directory::catalog::snapshot::Restore;
use naming_directory::group::Retired;
use naming_directory::log::{Log, Record};
use naming_directory::{Position, frame};
use naming_directory_client::ShardId;
use rocksdb::{Direction, IteratorMode, ReadOptions};

use super::keys::{self, Key, Meta};
use super::snapshots::{Generation, Kept};
use super::{Store, StoreError};

/// A shard as the disk has it.
#[derive(Debug)]
pub struct Loaded {
    /// Its log.
    pub log: Log,
    /// The newest snapshot that the log goes on from; none of a replica that was waiting for its first one.
    pub state: Option<Catalog>,
}

/// What `meta` has of a shard.
#[derive(Default)]
struct Found {
    base: Option<Record>,
    hard_state: Option<Record>,
    snapshots: Vec<Kept>,
}

impl Store {
    /// All shards. What is left of unfinished and outdated snapshots is removed. States remember `history_bytes` bytes of
    /// changes.
    ///
    /// # Errors
    /// If anything is damaged.
    pub fn load(&self, history_bytes: usize) -> Result<BTreeMap<ShardId, Loaded>, StoreError> {
        let mut shards = BTreeMap::new();
        for (shard, found) in self.find()? {
            let all: Vec<u64> = found.snapshots.iter().map(|kept| kept.generation).collect();
            let (loaded, used) = self.load_shard(shard, found, history_bytes)?;
            for outdated in all.into_iter().filter(|generation| Some(*generation) != used) {
                self.drop_snapshot(shard, outdated)?;
            }
            self.drop_unfinished(shard, used)?;
            shards.insert(shard, loaded);
        }
        Ok(shards)
    }

    /// What this node had of each shard that it gave up.
    ///
    /// # Errors
    /// If anything is damaged.
    pub(crate) fn retired(&self) -> Result<BTreeMap<ShardId, Retired>, StoreError> {
        let mut retired = BTreeMap::new();
        for item in self.db.iterator_cf(self.meta(), IteratorMode::Start) {
            let (key, value) = item.map_err(StoreError::Read)?;
            let Some((shard, Meta::Retired)) = Key::split_meta(&key) else { continue };
            let had = retired_of(&value).ok_or_else(|| damaged(shard, "what it had when it was given up"))?;
            retired.insert(shard, had);
        }
        Ok(retired)
    }

    fn find(&self) -> Result<BTreeMap<ShardId, Found>, StoreError> {
        let mut all = BTreeMap::<ShardId, Found>::new();
        for item in self.db.iterator_cf(self.meta(), IteratorMode::Start) {
            let (key, value) = item.map_err(StoreError::Read)?;
            let Some((shard, meta)) = Key::split_meta(&key) else {
                let shard = Key::split(&key).map_or(ShardId(0), |(shard, _)| shard);
                return Err(damaged(shard, "a key that this release does not write"));
            };
            if meta == Meta::Retired {
                continue;
            }
            let found = all.entry(shard).or_default();
            match meta {
                Meta::Retired => {}
                Meta::Base => found.base = Some(record(shard, &value)?),
                Meta::HardState => found.hard_state = Some(record(shard, &value)?),
                Meta::Snapshot(generation) => {
                    let kept = Kept::read(generation, &value);
                    found.snapshots.push(kept.ok_or_else(|| damaged(shard, "a snapshot's description"))?);
                }
            }
        }
        Ok(all)
    }

    /// A shard, and the generation of the snapshot that was used.
    fn load_shard(
        &self,
        shard: ShardId,
        found: Found,
        history_bytes: usize,
    ) -> Result<(Loaded, Option<Generation>), StoreError> {
        let log = self.load_log(shard, &found)?;
        let fitting =
            found.snapshots.iter().filter(|kept| log.term(kept.position.index) == Some(kept.position.term));
        let newest = fitting.max_by_key(|kept| (kept.position.index, kept.generation));
        let state = newest.map(|kept| self.restore(shard, kept, history_bytes)).transpose()?;
        if state.is_none() && log.last_index() > 0 {
            return Err(damaged(shard, "there is a log, and no snapshot that it goes on from"));
        }
        Ok((Loaded { log, state }, newest.map(|kept| kept.generation)))
    }

    fn load_log(&self, shard: ShardId, found: &Found) -> Result<Log, StoreError> {
        let out_of_order = |problem: naming_directory::log::OutOfOrder| damaged(shard, problem);
        let mut log = Log::default();
        match found.base.clone() {
            Some(Record::Reset(base) | Record::Compact(base)) => {
                log.take(Record::Reset(base)).map_err(out_of_order)?;
            }
            Some(_) => return Err(damaged(shard, "what stands before the log is no base")),
            None => {}
        }
        if let Some(state) = &found.hard_state {
            log.take(state.clone()).map_err(out_of_order)?;
        }
        let mut range = ReadOptions::default();
        range.set_iterate_upper_bound(Key::first(ShardId(shard.0 + 1)).as_ref());
        let from = Key::first(shard);
        let start = IteratorMode::From(from.as_ref(), Direction::Forward);
        for item in self.db.iterator_cf_opt(self.log(), range, start) {
            let (key, value) = item.map_err(StoreError::Read)?;
            let entry = record(shard, &value)?;
            let Record::Entry(found) = &entry else { return Err(damaged(shard, "no entry in the log")) };
            if Key::entry(shard, found.position.index).as_ref() != &*key {
                return Err(damaged(shard, "an entry in another one's place"));
            }
            log.take(entry).map_err(out_of_order)?;
        }
        // What is committed was durable on this disk, or was never said to be.
        let committed = log.hard_state().commit;
        if committed > log.last_index() {
            let last = log.last_index();
            return Err(damaged(
                shard,
                format!("the log ends at entry {last}, up to {committed} it was committed"),
            ));
        }
        self.last.lock().unwrap_or_else(PoisonError::into_inner).insert(shard, log.last_index());
        Ok(log)
    }

    fn restore(&self, shard: ShardId, kept: &Kept, history_bytes: usize) -> Result<Catalog, StoreError> {
        let mut restore = Restore::new(history_bytes);
        for number in 0..kept.chunks {
            let chunk = self.chunk(shard, kept.generation, number)?;
            let chunk =
                chunk.ok_or_else(|| damaged(shard, format!("chunk {number} of its snapshot is missing")))?;
            restore.push(&chunk).map_err(|problem| damaged(shard, problem))?;
        }
        let state = restore.finish().map_err(|problem| damaged(shard, problem))?;
        if state.position() == kept.position {
            Ok(state)
        } else {
            Err(damaged(shard, "another entry's snapshot"))
        }
    }
}

fn retired_of(value: &[u8]) -> Option<Retired> {
    let (frame, []) = frame::read(value).ok()? else { return None };
    let (numbers, []) = frame.payload.as_chunks::<8>() else { return None };
    let [term, last_term, last] = <[_; 3]>::try_from(numbers).ok()?.map(u64::from_be_bytes);
    (frame.kind == keys::RETIRED).then_some(Retired { term, last: Position::new(last_term, last) })
}

fn record(shard: ShardId, value: &[u8]) -> Result<Record, StoreError> {
    match Record::read(value) {
        Ok((record, [])) => Ok(record),
        Ok(_) => Err(damaged(shard, "a record is followed by bytes that belong to none")),
        Err(problem) => Err(damaged(shard, problem)),
    }
}

pub(super) fn damaged(shard: ShardId, problem: impl ToString) -> StoreError {
    StoreError::Damaged { shard, problem: problem.to_string() }
}
