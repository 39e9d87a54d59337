//! Snapshots that clients fetch: of a state as it is when a read of it may be served.

use naming::NodeId;
use naming_directory::catalog::snapshot::SnapshotWriter;
use naming_directory_client::ShardId;
use naming_directory_client::wire::{self, Failure, FailureKind, response};

use super::{Driver, queries};
use crate::counters::count;
use crate::snapshots::Job;

/// At a time, of all clients: each keeps what its state had and the shard's has no more.
const MAX_LENT: usize = 16;

/// Snapshots that clients fetch.
#[derive(Debug)]
pub(super) struct Lent {
    under_way: usize,
    next: u64,
}

impl Lent {
    pub(super) fn new() -> Self {
        // Of no earlier life of this node.
        let next = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_micros() as u64;
        Self { under_way: 0, next }
    }

    /// One is released, or was given up.
    pub(super) fn ended(&mut self) {
        self.under_way -= 1;
    }
}

impl Driver {
    /// Begins a snapshot for a client, if there is room for one.
    pub(super) fn lend(&mut self, to: NodeId, shard: ShardId, begin: &wire::Snapshot) -> response::Body {
        match self.try_lend(to, shard, begin) {
            Ok(snapshot) => response::Body::SnapshotBegun(wire::SnapshotBegun { snapshot }),
            Err(failure) => response::Body::Failure(failure),
        }
    }

    fn try_lend(&mut self, to: NodeId, shard: ShardId, begin: &wire::Snapshot) -> Result<u64, Failure> {
        let no_replica = || Failure::new(FailureKind::NoReplica, "the node's replica of the shard stopped");
        let state = self.replicas.get(&shard).ok_or_else(no_replica)?.state();
        queries::own_name(state, &begin.name)?;
        if self.lent.under_way >= MAX_LENT {
            count(&self.shared.counters.snapshots_refused);
            return Err(Failure::new(FailureKind::Busy, format!("{MAX_LENT} snapshots are fetched already")));
        }
        let writer = Box::new(SnapshotWriter::new(state));
        self.lent.next += 1;
        self.lent.under_way += 1;
        count(&self.shared.counters.snapshots_lent);
        self.snapshots.give(Job::Lend { to, snapshot: self.lent.next, shard, writer });
        Ok(self.lent.next)
    }
}
