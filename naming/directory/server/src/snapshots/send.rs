//! Snapshots to peers.

use std::time::{Duration, Instant};

use naming::NodeId;
use naming_directory::{Bytes, Position};
use naming_directory_client::ShardId;

use super::pace::rotate;
use super::proto::{self, transfer::Body};
use super::{Done, Work};
use crate::counters::{add, count};
use crate::store::{Kept, StoreError};

/// Chunks on their way at most: what the receiver has to buffer, about 4 MB.
const WINDOW: u32 = 16;
/// After which what was not answered is sent again.
const RETRY: Duration = Duration::from_secs(1);
/// How often, until the peer counts as gone.
const MAX_RETRIES: u32 = 10;

/// A snapshot on its way to a peer.
pub(super) struct Sending {
    pub(super) shard: ShardId,
    pub(super) kept: Kept,
    to: NodeId,
    transfer: u64,
    announcement: Bytes,
    /// The next chunk to be sent, and the first one the peer does not have, as far as is known; none: it has not said that
    /// it wants any.
    next: u32,
    got: Option<u32>,
    /// Since when nothing was heard.
    heard: Instant,
    retries: u32,
}

impl Sending {
    pub(super) fn may_send(&self) -> bool {
        self.got.is_some_and(|got| self.next < self.kept.chunks.min(got + WINDOW))
    }
}

impl Work {
    pub(super) fn begin_send(
        &mut self,
        shard: ShardId,
        to: NodeId,
        position: Position,
        announcement: Bytes,
    ) -> Result<(), StoreError> {
        let kept = self.store.snapshots(shard)?.into_iter().rev().find(|kept| kept.position == position);
        let Some(kept) = kept else {
            // A newer one took its place; the group will ask for that.
            count(&self.shared.counters.snapshots_outdated);
            self.done(Done::Sent { shard, to, delivered: false });
            return Ok(());
        };
        // The group gave up on an earlier one.
        self.sending.retain(|sending| (sending.shard, sending.to) != (shard, to));
        self.next_transfer += 1;
        let (transfer, heard) = (self.next_transfer, Instant::now());
        tracing::info!(%shard, node = %to, %position, chunks = kept.chunks, "a snapshot goes to a node that is far behind");
        self.announce(to, shard, transfer, &announcement, kept.chunks);
        self.sending.push(Sending {
            shard,
            kept,
            to,
            transfer,
            announcement,
            next: 0,
            got: None,
            heard,
            retries: 0,
        });
        Ok(())
    }

    fn announce(&self, to: NodeId, shard: ShardId, transfer: u64, announcement: &Bytes, chunks: u32) {
        let begin = proto::Begin { announcement: announcement.clone(), chunks };
        self.tell(to, shard, transfer, Body::Begin(begin));
    }

    /// The next chunks of all snapshots that may go, one of each; whether there were any.
    pub(super) fn send_chunks(&mut self) -> Result<bool, StoreError> {
        let mut paced = None;
        for place in 0..self.sending.len() {
            let now = Instant::now();
            self.retry(place, now);
            let sending = &mut self.sending[place];
            if !sending.may_send() || !self.pace.wait(now).is_zero() {
                continue;
            }
            let (to, shard, transfer, number) = (sending.to, sending.shard, sending.transfer, sending.next);
            sending.next += 1;
            let Some(data) = self.store.chunk(shard, sending.kept.generation, number)? else { continue };
            self.pace.sent(data.len());
            paced = Some(place);
            add(&self.shared.counters.snapshot_bytes_sent, data.len() as u64);
            self.tell(to, shard, transfer, Body::Chunk(proto::Chunk { number, data: data.into() }));
        }
        let paced = rotate(&mut self.sending, paced);
        let gone: Vec<(NodeId, u64)> = self
            .sending
            .iter()
            .filter(|sending| sending.retries > MAX_RETRIES)
            .map(|sending| (sending.to, sending.transfer))
            .collect();
        gone.into_iter().for_each(|(to, transfer)| self.end_send(to, transfer, false));
        Ok(paced)
    }

    /// Goes back to what was not answered for a while.
    fn retry(&mut self, place: usize, now: Instant) {
        let sending = &mut self.sending[place];
        if now.saturating_duration_since(sending.heard) < RETRY {
            return;
        }
        sending.heard = now;
        sending.retries += 1;
        match sending.got {
            Some(got) => sending.next = got,
            None => {
                let sending = &self.sending[place];
                let (to, shard, transfer) = (sending.to, sending.shard, sending.transfer);
                self.announce(to, shard, transfer, &sending.announcement, sending.kept.chunks);
            }
        }
    }

    /// The peer has the chunks before `next`.
    pub(super) fn got(&mut self, from: NodeId, transfer: u64, next: u32) {
        let mine = |sending: &&mut Sending| (sending.to, sending.transfer) == (from, transfer);
        let Some(sending) = self.sending.iter_mut().find(mine) else { return };
        if sending.got.is_none_or(|got| got < next) {
            (sending.retries, sending.heard) = (0, Instant::now());
            sending.got = Some(next);
            sending.next = sending.next.max(next);
        }
        if next >= sending.kept.chunks {
            self.end_send(from, transfer, true);
        }
    }

    pub(super) fn end_send(&mut self, to: NodeId, transfer: u64, delivered: bool) {
        let ended = self.sending.extract_if(.., |sending| (sending.to, sending.transfer) == (to, transfer));
        for Sending { shard, to, .. } in ended.collect::<Vec<_>>() {
            let counters = &self.shared.counters;
            count(if delivered { &counters.snapshots_sent } else { &counters.snapshots_failed });
            self.done(Done::Sent { shard, to, delivered });
        }
    }
}
