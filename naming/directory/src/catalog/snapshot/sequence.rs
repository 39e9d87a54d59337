//! Chunks one after the other.

use naming::NameRef;
use prost::Message;
use prost::bytes::Bytes;

use super::{FORMAT, SnapshotError};
use crate::catalog::chunk::Chunk;
use crate::catalog::{NameRange, ReplicatedTime, VERSION};
use crate::frame::{self, Frame};
use crate::proto::state;
use crate::{Position, catalog::Checksum};

/// Checks that chunks are those of one snapshot, undamaged, in their order and all of them: whatever shows without the state
/// being made. So a snapshot of any size may be passed on.
#[derive(Debug)]
pub struct Sequence {
    /// Chunks that were taken.
    chunks: u64,
    /// What the last one was.
    last: Chunk,
    digest: blake3::Hasher,
    header: Option<Header>,
    end: Option<End>,
}

/// What a snapshot begins with.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) position: Position,
    pub(super) time: ReplicatedTime,
    pub(super) range: NameRange,
    pub(super) next_client: u64,
    pub(super) purged: Option<naming::Name>,
}

/// What it ends with.
#[derive(Debug)]
pub(super) struct End {
    pub(super) items: u64,
    pub(super) checksum: [u8; Checksum::LEN],
}

impl Default for Sequence {
    fn default() -> Self {
        Self { chunks: 0, last: Chunk::Header, digest: blake3::Hasher::new(), header: None, end: None }
    }
}

impl Sequence {
    /// Takes the next chunk: one frame, the whole of `bytes`.
    ///
    /// # Errors
    /// If it is damaged, out of place, or newer than this release. The rest is of no use then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.take(bytes).map(drop)
    }

    /// Chunks that were taken.
    pub fn chunks(&self) -> u64 {
        self.chunks
    }

    /// The names that the snapshot is of, once its first chunk was taken.
    pub fn range(&self) -> Option<&NameRange> {
        self.header.as_ref().map(|header| &header.range)
    }

    /// Whether the last chunk was taken.
    pub fn is_complete(&self) -> bool {
        self.end.is_some()
    }

    /// The names that the snapshot is of.
    ///
    /// # Errors
    /// If chunks are missing.
    pub fn finish(self) -> Result<NameRange, SnapshotError> {
        self.into_parts().map(|(header, _)| header.range)
    }

    pub(super) fn into_parts(self) -> Result<(Header, End), SnapshotError> {
        self.header.zip(self.end).ok_or(SnapshotError::Incomplete(self.chunks))
    }

    pub(super) fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// The same as [`Self::push`]; of a table, which one it is and its payload.
    pub(super) fn take<'b>(&mut self, bytes: &'b [u8]) -> Result<Option<(Chunk, &'b [u8])>, SnapshotError> {
        let chunk = self.chunks;
        let (Frame { kind, payload }, rest) =
            frame::read(bytes).map_err(|problem| SnapshotError::Damaged { chunk, problem })?;
        let misplaced = |problem| SnapshotError::Misplaced { chunk, problem };
        if !rest.is_empty() {
            return Err(misplaced("there are bytes behind it"));
        }
        let kind = Chunk::of_kind(kind).ok_or_else(|| misplaced("its kind is unknown"))?;
        if self.end.is_some() {
            return Err(misplaced("it stands behind the end"));
        }
        let table = match (&self.header, kind) {
            (None, Chunk::Header) => {
                self.header = Some(read_header(payload)?);
                None
            }
            (None, _) => return Err(misplaced("the header comes first")),
            (Some(_), Chunk::Header) => return Err(misplaced("there is one header only")),
            (Some(_), Chunk::End) => {
                self.end = Some(self.read_end(payload)?);
                None
            }
            (Some(_), table) if table < self.last => {
                return Err(misplaced("its table stands before the last one"));
            }
            (Some(_), table) => Some((table, payload)),
        };
        self.digest.update(bytes);
        (self.chunks, self.last) = (chunk + 1, kind);
        Ok(table)
    }

    fn read_end(&self, payload: &[u8]) -> Result<End, SnapshotError> {
        let bad = SnapshotError::BadItem { chunk: self.chunks, table: Chunk::End.name() };
        let end = state::SnapshotEnd::decode(payload).map_err(|_| bad)?;
        if end.digest[..] != self.digest.finalize().as_bytes()[..] {
            return Err(SnapshotError::Mismatch("its digest is another one"));
        }
        let checksum = end.checksum[..].try_into();
        let checksum = checksum.map_err(|_| SnapshotError::Mismatch("its checksum is another one"))?;
        Ok(End { items: end.items, checksum })
    }
}

fn read_header(payload: &[u8]) -> Result<Header, SnapshotError> {
    let bad = || SnapshotError::BadItem { chunk: 0, table: Chunk::Header.name() };
    let header = state::SnapshotHeader::decode(payload).map_err(|_| bad())?;
    match () {
        () if header.format > FORMAT => return Err(SnapshotError::NewerFormat(header.format)),
        () if header.version > VERSION => return Err(SnapshotError::NewerVersion(header.version)),
        () if header.format == 0 || header.version == 0 => return Err(bad()),
        () => {}
    }
    let name = |bytes: &Bytes| NameRef::from_bytes(bytes).map(NameRef::to_name).map_err(|_| bad());
    let until = header.until.as_ref().map(name).transpose()?;
    Ok(Header {
        version: header.version,
        position: Position::new(header.term, header.index),
        time: ReplicatedTime(header.time_ms),
        range: NameRange::new(name(&header.from)?, until).ok_or_else(bad)?,
        next_client: header.next_client,
        purged: header.purged.as_ref().map(name).transpose()?,
    })
}
