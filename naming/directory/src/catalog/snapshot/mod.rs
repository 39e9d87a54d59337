//! Snapshots: a state as a stream of chunks, to be kept on a disk or sent to a replica that is far behind.
//!
//! Each chunk is a [frame](crate::frame): its kind, its length and a BLAKE3 checksum come first, so that a
//! damaged chunk is refused as it arrives. The first is the header; then come the tables, each in the order
//! of its keys, in chunks of up to [`CHUNK_LEN`]; the last one has the number of items, the state's checksum
//! and a BLAKE3 digest over all chunks before it. What is restored is the state byte for byte: its checksum
//! is computed anew and compared.
//!
//! An item is its key and its value, each after its length. Of a key only what differs from the key before it
//! in the chunk is written, after the number of bytes that do not: names in order share most of theirs.
//!
//! The format has a number; so has the state machine's version. Newer ones are refused.

mod read;
mod sequence;
#[cfg(test)]
mod tests;
mod write;

pub use read::Restore;
pub use sequence::Sequence;
pub use write::SnapshotWriter;

/// Bytes of a chunk, about: one more item than this many, at most.
pub const CHUNK_LEN: usize = 256 << 10;
/// The format that this release writes, and the newest it reads.
pub const FORMAT: u32 = 1;

/// Why a stream of chunks is no state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum SnapshotError {
    #[error(
        "chunk {chunk} of the snapshot is damaged: {problem}; fetch the snapshot again or from another replica"
    )]
    Damaged { chunk: u64, problem: crate::frame::FrameError },
    #[error("the snapshot has format {0}, this release reads up to {FORMAT}: upgrade this node")]
    NewerFormat(u32),
    #[error("the snapshot is of version {0} of the directory, this release knows up to {known}: upgrade this node", known = super::VERSION)]
    NewerVersion(u32),
    #[error("chunk {chunk} of the snapshot does not belong there: {problem}; use another snapshot")]
    Misplaced { chunk: u64, problem: &'static str },
    #[error("chunk {chunk} of the snapshot has an invalid item in table `{table}`; use another snapshot")]
    BadItem { chunk: u64, table: &'static str },
    #[error(
        "table `{table}` of the snapshot has more items than the {capacity} that fit; use another snapshot"
    )]
    TooMany { table: &'static str, capacity: usize },
    #[error("the snapshot ends early, after chunk {0}; fetch the rest")]
    Incomplete(u64),
    #[error("the snapshot's contents do not add up ({0}); fetch it again or from another replica")]
    Mismatch(&'static str),
}
