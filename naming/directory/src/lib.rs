//! The name directory: who answers for a name, and where the copies are. Replicated, linearizable, divided by
//! prefix; sans-io.
//!
//! | module | what it is |
//! |---|---|
//! | [`catalog`] | the state machine of a shard |
//! | [`proto`] | commands and replies |
//! | [`log`] | the log of a group's member, and its form on a disk |
//! | [`frame`] | the form of log records and chunks of snapshots |

pub mod catalog;
pub mod frame;
pub mod log;
mod position;
pub mod proto;

pub use position::Position;
/// The messages' byte strings.
pub use prost::bytes::Bytes;
