//! All that a shard knows, fetched chunk by chunk from one of its members.
//!
//! The next chunk is asked for once the one before is here, so whoever reads slowly slows the member down, and neither has more
//! than a chunk of it in memory beside the state. A chunk that is lost is asked for again; a member that is lost is not replaced
//! by another one, whose state is of another entry.

use std::time::Duration;

use naming::{NameRef, NodeId};
use naming_directory::Bytes;
use naming_directory::catalog::NameRange;
use naming_directory::catalog::snapshot::Sequence;
use tokio::time::{Instant, sleep};

use super::{Client, Target, Whom, bytes_of, unexpected};
use crate::wire::{self, FailureKind, Request, request, response};
use crate::{Error, ShardId};

/// How long a chunk may take before it is asked for again. Members send them at a pace, to all who need some.
const TRY: Duration = Duration::from_secs(1);
/// How long a member may send nothing.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// A snapshot of a shard, with everything that was acknowledged before it was begun.
pub struct Snapshot {
    transfer: Transfer,
    /// The first chunk, if it was not taken yet.
    first: Option<Bytes>,
    range: NameRange,
}

/// Its way from a member to here. Released when this is dropped.
struct Transfer {
    client: Client,
    shard: ShardId,
    node: NodeId,
    /// Chosen here.
    id: u64,
    /// What has come.
    sequence: Sequence,
}

impl Client {
    /// Begins a snapshot of the shard that has `name`: at this node, if it is a member.
    ///
    /// # Errors
    /// If the directory does not answer, or a member does not send it.
    pub async fn snapshot(&self, name: NameRef<'_>) -> Result<Snapshot, Error> {
        let deadline = Instant::now() + self.0.settings.timeout;
        // However often it is asked for, a member keeps it once.
        let id = self.0.calls.number();
        let body = || request::Body::Snapshot(wire::Snapshot { name: bytes_of(name), snapshot: id });
        loop {
            let asked = self.ask(Target::Name(name), Whom::Any, body).await?;
            let (shard, node) = (asked.shard, asked.node);
            let failure = match asked.body {
                response::Body::SnapshotBegun(_) => {
                    let (client, sequence) = (self.clone(), Sequence::default());
                    let transfer = Transfer { client, shard, node, id, sequence };
                    return Snapshot::open(transfer, name).await;
                }
                response::Body::Failure(failure) => failure,
                _ => return Err(unexpected()),
            };
            // It was split, and is looked for anew.
            if failure.kind() != FailureKind::WrongShard || Instant::now() >= deadline {
                return Err(Error::BrokenOff { shard, node, chunks: 0, why: failure.text });
            }
        }
    }
}

impl Snapshot {
    async fn open(mut transfer: Transfer, name: NameRef<'_>) -> Result<Self, Error> {
        let first = Some(transfer.fetch().await?);
        let range = transfer.sequence.range().filter(|range| range.contains(name)).cloned();
        let range = range.ok_or_else(|| transfer.broken_off(format_args!("it does not have {name}")))?;
        Ok(Self { transfer, first, range })
    }

    /// Of which shard it is.
    pub fn shard(&self) -> ShardId {
        self.transfer.shard
    }

    /// The member that sends it.
    pub fn node(&self) -> NodeId {
        self.transfer.node
    }

    /// The names that it is of.
    pub fn range(&self) -> &NameRange {
        &self.range
    }

    /// The next chunk, once it was checked; `None` behind the last one: then all were there, undamaged and in order.
    ///
    /// # Errors
    /// If the member does not go on. The rest is not to be had any more.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        match self.first.take() {
            Some(first) => Ok(Some(first)),
            None if self.transfer.sequence.is_complete() => Ok(None),
            None => self.transfer.fetch().await.map(Some),
        }
    }
}

impl Transfer {
    async fn fetch(&mut self) -> Result<Bytes, Error> {
        let deadline = Instant::now() + PATIENCE;
        let number = u32::try_from(self.sequence.chunks()).map_err(|_| self.broken_off("it has no end"))?;
        let fetch = wire::Fetch { snapshot: self.id, number };
        loop {
            let body = request::Body::Fetch(fetch);
            match self.client.call_within(TRY, self.node, self.shard, body).await {
                Some(response::Body::Chunk(chunk)) => {
                    let checked = self.sequence.push(&chunk.data);
                    return checked.map(|()| chunk.data).map_err(|error| self.broken_off(error));
                }
                Some(response::Body::Failure(failure)) if failure.kind() == FailureKind::Busy => {}
                Some(response::Body::Failure(failure)) => return Err(self.broken_off(failure.text)),
                Some(_) => return Err(self.broken_off(unexpected())),
                None => {}
            }
            if Instant::now() >= deadline {
                return Err(self.broken_off(format_args!("nothing came for {PATIENCE:?}")));
            }
            sleep(PAUSE).await;
        }
    }

    fn broken_off(&self, why: impl ToString) -> Error {
        let (shard, node, chunks) = (self.shard, self.node, self.sequence.chunks());
        Error::BrokenOff { shard, node, chunks, why: why.to_string() }
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        let body = Some(request::Body::Release(wire::Release { snapshot: self.id }));
        // Nobody answers. One that is not released is given up after a while.
        self.client.send(self.node, Request { id: 0, shard: self.shard.0, body });
    }
}
