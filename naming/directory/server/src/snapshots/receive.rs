//! Snapshots of peers.

use std::time::{Duration, Instant};

use naming::NodeId;
use naming_directory::catalog::snapshot::Restore;
use naming_directory::group::Incoming;
use naming_directory_client::ShardId;

use super::proto::{self, transfer::Body};
use super::{Done, Work};
use crate::counters::count;
use crate::store::{Kept, StoreError};

/// A sender that is silent for so long has given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A snapshot on its way from a peer.
pub(super) struct Receiving {
    pub(super) shard: ShardId,
    from: NodeId,
    transfer: u64,
    announcement: Box<Incoming>,
    chunks: u32,
    kept: Kept,
    restore: Restore,
    heard: Instant,
}

impl Receiving {
    pub(super) fn is_alive(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.heard) < PATIENCE
    }
}

impl Work {
    pub(super) fn begin_receive(
        &mut self,
        from: NodeId,
        shard: ShardId,
        transfer: u64,
        begin: &proto::Begin,
    ) -> Result<(), StoreError> {
        let known =
            self.receiving.iter().find(|receiving| (receiving.from, receiving.transfer) == (from, transfer));
        if let Some(known) = known {
            // The answer was lost.
            self.tell(from, shard, transfer, Body::Got(proto::Got { next: known.kept.chunks }));
            return Ok(());
        }
        let announcement = Incoming::decode(&begin.announcement).ok();
        let announced = announcement.filter(|message| {
            message.from() == from && message.to() == self.shared.settings.node && begin.chunks > 0
        });
        let Some((announcement, position)) = announced.and_then(|message| {
            let position = message.snapshot()?;
            Some((Box::new(message), position))
        }) else {
            count(&self.shared.counters.messages_malformed);
            return Ok(());
        };
        // Of another one, from an earlier leader, say, nothing is wanted any more.
        self.receiving.retain(|receiving| receiving.shard != shard);
        let kept = Kept { generation: self.store.next_generation(shard)?, position, chunks: 0 };
        let restore = Restore::new(self.shared.settings.history_bytes);
        let (chunks, heard) = (begin.chunks, Instant::now());
        self.receiving.push(Receiving { shard, from, transfer, announcement, chunks, kept, restore, heard });
        self.tell(from, shard, transfer, Body::Got(proto::Got { next: 0 }));
        Ok(())
    }

    pub(super) fn receive_chunk(
        &mut self,
        from: NodeId,
        shard: ShardId,
        transfer: u64,
        chunk: &proto::Chunk,
    ) -> Result<(), StoreError> {
        let mine = |receiving: &Receiving| {
            (receiving.from, receiving.shard, receiving.transfer) == (from, shard, transfer)
        };
        let Some(place) = self.receiving.iter().position(mine) else {
            let reason = "the transfer is not known here".to_owned();
            self.tell(from, shard, transfer, Body::Refused(proto::Refused { reason }));
            return Ok(());
        };
        let receiving = &mut self.receiving[place];
        receiving.heard = Instant::now();
        if chunk.number == receiving.kept.chunks {
            if let Err(error) = receiving.restore.push(&chunk.data) {
                self.receiving.remove(place);
                return self.refuse(from, shard, transfer, &error);
            }
            let kept = &mut receiving.kept;
            self.store.put_chunk(shard, kept.generation, kept.chunks, &chunk.data)?;
            kept.chunks += 1;
        }
        let next = receiving.kept.chunks;
        if next == receiving.chunks {
            return self.finish(place);
        }
        self.tell(from, shard, transfer, Body::Got(proto::Got { next }));
        Ok(())
    }

    /// All chunks are here.
    fn finish(&mut self, place: usize) -> Result<(), StoreError> {
        let Receiving { shard, from, transfer, announcement, chunks, kept, restore, .. } =
            self.receiving.remove(place);
        let state = match restore.finish() {
            Ok(state) if state.position() == kept.position => Box::new(state),
            Ok(_) => return self.refuse(from, shard, transfer, &"it is of another entry"),
            Err(error) => return self.refuse(from, shard, transfer, &error),
        };
        self.store.finish_snapshot(shard, kept)?;
        self.done(Done::Received { shard, announcement, state });
        self.tell(from, shard, transfer, Body::Got(proto::Got { next: chunks }));
        Ok(())
    }

    fn refuse(
        &mut self,
        from: NodeId,
        shard: ShardId,
        transfer: u64,
        error: &dyn std::fmt::Display,
    ) -> Result<(), StoreError> {
        count(&self.shared.counters.snapshots_failed);
        let reason = error.to_string();
        self.tell(from, shard, transfer, Body::Refused(proto::Refused { reason }));
        Ok(())
    }
}
