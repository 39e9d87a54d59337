//! The thread that writes: one batch after the other, each with one sync.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use naming::NodeId;
use naming_directory::group::{Retired, Unsynced};
use naming_directory_client::ShardId;

use super::Shared;
use super::event::Done;
use super::queue::Queue;
use crate::store::{Store, StoreError, Written};

/// A node, and its request.
pub(crate) type Asker = (NodeId, u64);

/// What is to be written together.
struct Batch {
    records: Vec<(ShardId, Unsynced)>,
    /// Shards of which nothing is to be left but what they had when they were given up, if they were; and who asked for that,
    /// if somebody did.
    forget: Vec<(ShardId, Option<Retired>, Option<Asker>)>,
}

/// Records of all groups that wait for the disk.
pub(crate) struct Writer {
    waiting: Batch,
    /// Whether a batch is being written.
    busy: bool,
    batches: Option<SyncSender<Batch>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn spawn(shared: &Arc<Shared>, store: Arc<Store>, life: u64) -> std::io::Result<Self> {
        // One is written while the next is put together.
        let (batches, receiver) = sync_channel(1);
        let queue = shared.queue.clone();
        let thread = shared.spawn("directory-write", move || run(&store, life, &receiver, &queue))?;
        let waiting = Batch { records: Vec::new(), forget: Vec::new() };
        Ok(Self { waiting, busy: false, batches: Some(batches), thread: Some(thread) })
    }

    pub(crate) fn push(&mut self, shard: ShardId, unsynced: Unsynced) {
        self.waiting.records.push((shard, unsynced));
    }

    /// Removes all of a shard from the disk, but for what it had when it was given up, after what was written of it before.
    pub(crate) fn forget(&mut self, shard: ShardId, retired: Option<Retired>, asker: Option<Asker>) {
        self.waiting.records.retain(|(other, _)| *other != shard);
        self.waiting.forget.push((shard, retired, asker));
    }

    /// Has everything written that waits, unless a batch is on its way: then what comes until that is done goes together.
    /// What only waited for what came before it, and that is done, is given back.
    #[must_use]
    pub(crate) fn begin(&mut self) -> Vec<(ShardId, Unsynced)> {
        if self.busy {
            return Vec::new();
        }
        let empty = |(_, unsynced): &(ShardId, Unsynced)| unsynced.records().is_empty();
        if self.waiting.forget.is_empty() && self.waiting.records.iter().all(empty) {
            return std::mem::take(&mut self.waiting.records);
        }
        let batch = Batch {
            records: std::mem::take(&mut self.waiting.records),
            forget: std::mem::take(&mut self.waiting.forget),
        };
        self.busy = self.batches.as_ref().is_some_and(|batches| batches.send(batch).is_ok());
        Vec::new()
    }

    /// The batch is written.
    pub(crate) fn done(&mut self) {
        self.busy = false;
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            // It tells itself if it panicked.
            let _ = thread.join();
        }
    }
}

fn run(store: &Store, life: u64, batches: &Receiver<Batch>, queue: &Queue) {
    while let Ok(batch) = batches.recv() {
        let result = write(store, &batch);
        let forgotten = batch.forget.into_iter().map(|(_, _, asker)| asker).collect();
        queue.done(life, Done::Written { result, batch: batch.records, forgotten });
    }
}

fn write(store: &Store, batch: &Batch) -> Result<Written, StoreError> {
    let records = batch.records.iter().map(|(shard, unsynced)| (*shard, unsynced.records()));
    let sync = batch.records.iter().any(|(_, unsynced)| unsynced.must_sync());
    let written = store.write(records, sync)?;
    batch.forget.iter().try_for_each(|(shard, retired, _)| store.forget(*shard, *retired))?;
    Ok(written)
}
