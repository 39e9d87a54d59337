//! What comes to the driver.

use std::sync::mpsc::Sender;

use naming::NodeId;
use naming_directory::catalog::Catalog;
use naming_directory::group::{Incoming, Unsynced};
use naming_directory::replica::SplitOff;
use naming_directory::{Bytes, Position};
use naming_directory_client::ShardId;
use naming_directory_client::wire;

use super::writer::Asker;
use crate::beginning::Waiting;
use crate::snapshots::Loan;
use crate::store::{StoreError, Written};

/// What comes to the driver.
pub(crate) enum Event {
    /// Messages of a peer's groups to this node's.
    Messages(Vec<(ShardId, Incoming)>),
    /// Of a peer: about a snapshot.
    Transfer { from: NodeId, message: Bytes },
    /// Of a client.
    Request { from: NodeId, request: wire::Request },
    /// How the shards are.
    Look(Sender<Vec<wire::Shard>>),
    /// What others said of how the node may begin; the answer is what it waits for then, if it waits.
    Told { answers: Vec<(NodeId, wire::Description)>, reply: Sender<Option<Waiting>> },
    /// Hands leadership of all shards to others.
    Drain,
    /// The end.
    Stop,
    /// Of this life, or an earlier one.
    Done { life: u64, done: Done },
}

/// What another thread of the server has done.
pub(crate) enum Done {
    Written {
        result: Result<Written, StoreError>,
        batch: Vec<(ShardId, Unsynced)>,
        forgotten: Vec<Option<Asker>>,
    },
    /// A snapshot that a group asked for.
    Taken { shard: ShardId, position: Position },
    /// A snapshot was not taken, or a shard not created.
    Failed(StoreError),
    /// A shard that was split off is durable.
    Created { shard: ShardId, begin: Box<SplitOff> },
    /// A snapshot reached a peer, or did not.
    Sent { shard: ShardId, to: NodeId, delivered: bool },
    /// A client fetches a snapshot no more.
    Released(Loan),
    /// A snapshot came from a peer, and is durable.
    Received { shard: ShardId, announcement: Box<Incoming>, state: Box<Catalog> },
}
