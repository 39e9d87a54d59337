//! Snapshots that clients fetch: of a state as it is when a read of it may be served.

use naming::NodeId;
use naming_directory::catalog::snapshot::SnapshotWriter;
use naming_directory_client::ShardId;
use naming_directory_client::wire::{self, Failure, FailureKind, response};

use super::{Driver, queries};
use crate::counters::count;
use crate::snapshots::{Job, Loan};

/// At a time, of all clients: each keeps what its state had and the shard's has no more.
const MAX_LENT: usize = 16;

impl Driver {
    /// Begins a snapshot for a client, if there is room for one.
    pub(super) fn lend(&mut self, to: NodeId, shard: ShardId, begin: &wire::Snapshot) -> response::Body {
        match self.try_lend(to, shard, begin) {
            Ok(()) => response::Body::SnapshotBegun(wire::SnapshotBegun {}),
            Err(failure) => response::Body::Failure(failure),
        }
    }

    fn try_lend(&mut self, to: NodeId, shard: ShardId, begin: &wire::Snapshot) -> Result<(), Failure> {
        let no_replica = || Failure::new(FailureKind::NoReplica, "the node's replica of the shard stopped");
        let state = self.replicas.get(&shard).ok_or_else(no_replica)?.state();
        queries::own_name(state, &begin.name)?;
        let loan = Loan { to, shard, snapshot: begin.snapshot };
        // An earlier try began it, after the client had asked: it has all that was acknowledged before.
        if self.lent.contains(&loan) {
            return Ok(());
        }
        if self.lent.len() >= MAX_LENT {
            count(&self.shared.counters.snapshots_refused);
            return Err(Failure::new(FailureKind::Busy, format!("{MAX_LENT} snapshots are fetched already")));
        }
        let writer = Box::new(SnapshotWriter::new(state));
        self.lent.insert(loan);
        count(&self.shared.counters.snapshots_lent);
        self.snapshots.give(Job::Lend { loan, writer });
        Ok(())
    }
}
