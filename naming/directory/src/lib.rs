//! The name directory: who answers for a name, and where the copies are. Replicated, linearizable, divided by
//! prefix; sans-io.
//!
//! | module | what it is |
//! |---|---|
//! | [`replica`] | a member of a group with its state: what a shell drives |
//! | [`catalog`] | the state machine of a shard |
//! | [`balance`] | which node is to replicate and lead which shard |
//! | [`proto`] | commands and replies |
//! | [`group`] | a member of a Raft group: agreement on a log |
//! | [`log`] | the log of a group's member, and its form on a disk |
//! | [`frame`] | the form of log records and chunks of snapshots |

pub mod balance;
pub mod catalog;
pub mod frame;
pub mod group;
pub mod log;
mod position;
pub mod proto;
pub mod replica;
mod shard;

/// Members of groups are nodes.
pub use naming::NodeId;
pub use position::Position;
/// The messages' byte strings.
pub use prost::bytes::Bytes;
pub use shard::ShardId;
