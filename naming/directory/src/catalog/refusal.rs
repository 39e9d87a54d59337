//! Why a command was refused, as its reply says it.

pub(super) use crate::proto::refused::Reason;

use super::chunk::Chunk;
use super::range::NameRange;
use crate::proto;

pub(super) fn full(table: Chunk) -> Reason {
    Reason::Full(proto::Full { table: table.name().to_owned(), capacity: table.capacity() as u64 })
}

pub(super) fn malformed(problem: impl Into<String>) -> Reason {
    Reason::Malformed(proto::Malformed { problem: problem.into() })
}

pub(super) fn wrong_shard(range: &NameRange) -> Reason {
    Reason::WrongShard(proto::WrongShard {
        from: range.from().as_bytes().to_vec().into(),
        until: range.until().map(|until| until.as_bytes().to_vec().into()),
    })
}

pub(super) fn conflict(revision: u64) -> Reason {
    Reason::Conflict(proto::Conflict { revision })
}

pub(super) fn not_found() -> Reason {
    Reason::NotFound(proto::NotFound {})
}

pub(super) fn stale_epoch(epoch: u64) -> Reason {
    Reason::StaleEpoch(proto::StaleEpoch { epoch })
}
