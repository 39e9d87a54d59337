//! Snapshots that clients fetch, a chunk whenever they ask for one.

use std::time::{Duration, Instant};

use naming::NodeId;
use naming_directory::Bytes;
use naming_directory::catalog::snapshot::SnapshotWriter;
use naming_directory_client::ShardId;
use naming_directory_client::wire::{self, Failure, FailureKind, response};

use super::pace::rotate;
use super::{Done, Work};
use crate::counters::{add, count};

/// A client that does not ask for the next chunk for so long has given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same before the first chunk: a try that was served late, for whose answer nobody waits.
const FIRST_PATIENCE: Duration = Duration::from_secs(10);

/// Which snapshot, of which client: the client gives it its number, so that it has one however often it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Loan {
    pub(crate) to: NodeId,
    pub(crate) shard: ShardId,
    pub(crate) snapshot: u64,
}

/// A snapshot that a client fetches.
pub(super) struct Lent {
    loan: Loan,
    writer: Box<SnapshotWriter>,
    /// The last chunk that was made, in case that it is lost, and the number of the next one.
    last: Bytes,
    next: u32,
    /// The request for the next chunk, until the pace allows it.
    asked: Option<u64>,
    /// When it went on.
    advanced: Instant,
}

impl Lent {
    pub(super) fn new(loan: Loan, writer: Box<SnapshotWriter>) -> Self {
        Self { loan, writer, last: Bytes::new(), next: 0, asked: None, advanced: Instant::now() }
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// Whether its client has given up. Who waits for the pace has not.
    fn is_abandoned(&self, now: Instant) -> bool {
        let patience = if self.next == 0 { FIRST_PATIENCE } else { PATIENCE };
        !self.is_asked() && now.saturating_duration_since(self.advanced) >= patience
    }
}

impl Work {
    pub(super) fn fetch(&mut self, loan: Loan, id: u64, number: u32) {
        let Some(lent) = self.lent.iter_mut().find(|lent| lent.loan == loan) else {
            let text = "the snapshot is not known here any more: the node was started anew, or nothing was asked for too long";
            return self.refuse_chunk(loan.to, id, text);
        };
        match number {
            next if next == lent.next => lent.asked = Some(id),
            last if lent.next.checked_sub(1) == Some(last) => {
                let data = lent.last.clone();
                self.shared.respond(loan.to, id, response::Body::Chunk(wire::Chunk { data }));
            }
            _ => self.refuse_chunk(loan.to, id, "the chunk was fetched before, or is not the next one"),
        }
    }

    pub(super) fn release(&mut self, loan: Loan) {
        if let Some(place) = self.lent.iter().position(|lent| lent.loan == loan) {
            self.lent.remove(place);
            self.done(Done::Released(loan));
        }
    }

    /// The chunks that clients wait for, as the pace allows. What stays on the node needs none. Whether
    /// some of the pace was used.
    pub(super) fn lend_chunks(&mut self) -> bool {
        let now = Instant::now();
        let mut paced = None;
        for place in 0..self.lent.len() {
            let lent = &mut self.lent[place];
            let (to, own) = (lent.loan.to, lent.loan.to == self.shared.settings.node);
            let Some(id) = lent.asked.take_if(|_| own || self.pace.wait(now).is_zero()) else { continue };
            let Some(chunk) = lent.writer.next() else {
                self.refuse_chunk(to, id, "the snapshot has no more chunks");
                continue;
            };
            lent.next += 1;
            lent.advanced = now;
            lent.last = Bytes::from(chunk);
            let data = lent.last.clone();
            if !own {
                self.pace.sent(data.len());
                add(&self.shared.counters.snapshot_bytes_sent, data.len() as u64);
                paced = Some(place);
            }
            self.shared.respond(to, id, response::Body::Chunk(wire::Chunk { data }));
        }
        let paced = rotate(&mut self.lent, paced);
        for lent in self.lent.extract_if(.., |lent| lent.is_abandoned(now)).collect::<Vec<_>>() {
            let Loan { to, shard, .. } = lent.loan;
            tracing::warn!(node = %to, %shard, chunks = lent.next, "a client did not fetch all of a snapshot");
            count(&self.shared.counters.snapshots_abandoned);
            self.done(Done::Released(lent.loan));
        }
        paced
    }

    fn refuse_chunk(&self, to: NodeId, id: u64, text: &str) {
        let failure = Failure::new(FailureKind::Refused, text);
        self.shared.respond(to, id, response::Body::Failure(failure));
    }
}
