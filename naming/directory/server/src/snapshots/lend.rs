//! Snapshots that clients fetch, a chunk whenever they ask for one.

use std::time::{Duration, Instant};

use naming::NodeId;
use naming_directory::Bytes;
use naming_directory::catalog::snapshot::SnapshotWriter;
use naming_directory_client::wire::{self, Failure, FailureKind, Response, response};
use naming_directory_client::{Channel, ShardId};
use prost::Message;

use super::{Done, Work};
use crate::counters::{add, count};

/// A client that asks for nothing for so long has given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A snapshot that a client fetches.
pub(super) struct Lent {
    to: NodeId,
    snapshot: u64,
    shard: ShardId,
    writer: Box<SnapshotWriter>,
    /// The last chunk that was made, in case that it is lost, and the number of the next one.
    last: Bytes,
    next: u32,
    /// The request for the next chunk, until the pace allows it.
    asked: Option<u64>,
    heard: Instant,
}

impl Lent {
    pub(super) fn new(to: NodeId, snapshot: u64, shard: ShardId, writer: Box<SnapshotWriter>) -> Self {
        let (last, next, asked, heard) = (Bytes::new(), 0, None, Instant::now());
        Self { to, snapshot, shard, writer, last, next, asked, heard }
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked.is_some()
    }
}

impl Work {
    pub(super) fn fetch(&mut self, from: NodeId, id: u64, fetch: wire::Fetch) {
        let mine = |lent: &&mut Lent| (lent.to, lent.snapshot) == (from, fetch.snapshot);
        let Some(lent) = self.lent.iter_mut().find(mine) else {
            let text = "the snapshot is not known here any more: the node was started anew, or nothing was asked for too long";
            return self.refuse_chunk(from, id, text);
        };
        lent.heard = Instant::now();
        match fetch.number {
            next if next == lent.next => lent.asked = Some(id),
            last if lent.next.checked_sub(1) == Some(last) => {
                let data = lent.last.clone();
                self.respond(from, id, response::Body::Chunk(wire::Chunk { data }));
            }
            _ => self.refuse_chunk(from, id, "the chunk was fetched before, or is not the next one"),
        }
    }

    pub(super) fn release(&mut self, from: NodeId, snapshot: u64) {
        let ended = |lent: &mut Lent| (lent.to, lent.snapshot) == (from, snapshot);
        for _ in self.lent.extract_if(.., ended).collect::<Vec<_>>() {
            self.done(Done::Released);
        }
    }

    /// The chunks that clients wait for, as the pace allows. What stays on the node needs none.
    pub(super) fn lend_chunks(&mut self) {
        let now = Instant::now();
        for place in 0..self.lent.len() {
            let lent = &mut self.lent[place];
            let (to, own) = (lent.to, lent.to == self.shared.settings.node);
            let Some(id) = lent.asked.take_if(|_| own || self.pace.wait(now).is_zero()) else { continue };
            let Some(chunk) = lent.writer.next() else {
                self.refuse_chunk(to, id, "the snapshot has no more chunks");
                continue;
            };
            lent.next += 1;
            lent.last = Bytes::from(chunk);
            let data = lent.last.clone();
            if !own {
                self.pace.sent(data.len());
                add(&self.shared.counters.snapshot_bytes_sent, data.len() as u64);
            }
            self.respond(to, id, response::Body::Chunk(wire::Chunk { data }));
        }
        let silent = |lent: &mut Lent| now.saturating_duration_since(lent.heard) >= PATIENCE;
        for Lent { to, shard, .. } in self.lent.extract_if(.., silent).collect::<Vec<_>>() {
            tracing::warn!(node = %to, %shard, "a client did not fetch all of a snapshot");
            count(&self.shared.counters.snapshots_failed);
            self.done(Done::Released);
        }
    }

    fn refuse_chunk(&self, to: NodeId, id: u64, text: &str) {
        self.respond(to, id, response::Body::Failure(Failure::new(FailureKind::Refused, text)));
    }

    fn respond(&self, to: NodeId, id: u64, body: response::Body) {
        let response = Response { id, body: Some(body) };
        if !self.shared.transport.send(to, Channel::Response, response.encode_to_vec().into()) {
            count(&self.shared.counters.messages_unsent);
        }
    }
}
