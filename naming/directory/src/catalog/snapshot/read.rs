//! From chunks to a state.

use naming::{Name, NameRef, NodeId};
use prost::Message;
use prost::bytes::{Buf, Bytes};
use prost::encoding::decode_varint;

use super::{FORMAT, SnapshotError};
use crate::catalog::changes::History;
use crate::catalog::chunk::Chunk;
use crate::catalog::copies::{CopyTable, Holder, NamesBuilder, Slot};
use crate::catalog::nodes::Nodes;
use crate::catalog::sessions::{Session, Sessions};
use crate::catalog::table::{Key, Table, Value};
use crate::catalog::{
    Authority, Catalog, Checksum, Counters, NameRange, Node, Record, RecordKind, ReplicatedTime, VERSION,
};
use crate::frame;
use crate::proto::state;
use crate::{Position, frame::Frame};

/// Reads a state, chunk by chunk. Nothing of it can be used before all of it was checked.
#[derive(Debug)]
pub struct Restore {
    history_bytes: usize,
    /// Chunks that were read.
    chunks: u64,
    items: u64,
    digest: blake3::Hasher,
    header: Option<Header>,
    end: Option<state::SnapshotEnd>,
    /// The table of the last chunk, and the last key in it.
    last: (Chunk, Bytes),
    nodes: Table<Name, Node>,
    authorities: Table<Name, Authority>,
    records: [Table<Name, Record>; RecordKind::ALL.len()],
    holders: Table<NodeId, Holder>,
    slots: Table<u64, Slot>,
    copies: NamesBuilder,
    sessions: Table<u64, Session>,
}

#[derive(Debug)]
struct Header {
    version: u32,
    position: Position,
    time: ReplicatedTime,
    range: NameRange,
    next_client: u64,
    purged: Option<Name>,
}

impl Restore {
    /// Reads a state that remembers `history_bytes` bytes of changes for watchers from then on.
    pub fn new(history_bytes: usize) -> Self {
        Self {
            history_bytes,
            chunks: 0,
            items: 0,
            digest: blake3::Hasher::new(),
            header: None,
            end: None,
            last: (Chunk::Header, Bytes::new()),
            nodes: Table::new(Chunk::Nodes),
            authorities: Table::new(Chunk::Authorities),
            records: RecordKind::ALL.map(|kind| Table::new(kind.chunk())),
            holders: Table::new(Chunk::Holders),
            slots: Table::new(Chunk::Slots),
            copies: NamesBuilder::default(),
            sessions: Table::new(Chunk::Sessions),
        }
    }

    /// Takes the next chunk: one frame, the whole of `bytes`.
    ///
    /// # Errors
    /// If it is damaged, out of place, newer than this release or invalid. The rest is of no use then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
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
        match (&self.header, kind) {
            (None, Chunk::Header) => self.header = Some(self.read_header(payload)?),
            (None, _) => return Err(misplaced("the header comes first")),
            (Some(_), Chunk::Header) => return Err(misplaced("there is one header only")),
            (Some(_), Chunk::End) => {
                let end = state::SnapshotEnd::decode(payload).map_err(|_| self.bad_item(kind))?;
                if end.digest[..] != self.digest.finalize().as_bytes()[..] {
                    return Err(SnapshotError::Mismatch("its digest is another one"));
                }
                self.end = Some(end);
            }
            (Some(_), table) => self.read_table(table, Bytes::copy_from_slice(payload))?,
        }
        self.digest.update(bytes);
        self.chunks += 1;
        Ok(())
    }

    /// Whether the last chunk was taken.
    pub fn is_complete(&self) -> bool {
        self.end.is_some()
    }

    /// The state.
    ///
    /// # Errors
    /// If chunks are missing, or the whole is not the state it was taken of.
    pub fn finish(self) -> Result<Catalog, SnapshotError> {
        let (Some(header), Some(end)) = (self.header, self.end) else {
            return Err(SnapshotError::Incomplete(self.chunks));
        };
        if end.items != self.items {
            return Err(SnapshotError::Mismatch("it has more or fewer items than it says"));
        }
        let copies = CopyTable::restored(self.copies, self.holders, self.slots, header.purged);
        let state = Catalog {
            version: header.version,
            position: header.position,
            time: header.time,
            nodes: Nodes::of(self.nodes, header.time),
            authorities: self.authorities,
            records: self.records,
            copies: copies.ok_or(SnapshotError::Mismatch("copies without holders"))?,
            sessions: Sessions::of(self.sessions, header.next_client),
            history: History::new(self.history_bytes, header.position),
            history_bytes: self.history_bytes,
            counters: Counters::default(),
            range: header.range,
        };
        let checksum: Option<[u8; Checksum::LEN]> = end.checksum[..].try_into().ok();
        if checksum != Some(state.checksum().to_bytes()) {
            return Err(SnapshotError::Mismatch("its checksum is another one"));
        }
        Ok(state)
    }

    fn read_header(&self, payload: &[u8]) -> Result<Header, SnapshotError> {
        let bad = || self.bad_item(Chunk::Header);
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

    fn read_table(&mut self, table: Chunk, mut payload: Bytes) -> Result<(), SnapshotError> {
        if table < self.last.0 {
            let problem = "its table stands before the last one";
            return Err(SnapshotError::Misplaced { chunk: self.chunks, problem });
        }
        if table != self.last.0 {
            self.last = (table, Bytes::new());
        }
        let mut before = Bytes::new();
        while payload.has_remaining() {
            let item = read_key(&mut payload, &before).and_then(|key| Some((key, read_part(&mut payload)?)));
            let (key, value) = item.ok_or_else(|| self.bad_item(table))?;
            // The root's key is empty, and can only be the first.
            if key[..] <= self.last.1[..] && !(key.is_empty() && self.len(table) == 0) {
                return Err(self.bad_item(table));
            }
            if self.len(table) >= table.capacity() {
                return Err(SnapshotError::TooMany { table: table.name(), capacity: table.capacity() });
            }
            self.read_item(table, &key, value).ok_or_else(|| self.bad_item(table))?;
            self.items += 1;
            self.last.1 = key.clone();
            before = key;
        }
        Ok(())
    }

    fn read_item(&mut self, table: Chunk, key: &[u8], value: Bytes) -> Option<()> {
        match table {
            Chunk::Nodes => {
                let node = Node::from_bytes(value)?;
                let name = self.own_name(key)?;
                (name == node.name()).then_some(())?;
                self.nodes.put(name, node);
            }
            Chunk::Authorities => self.authorities.put(self.own_name(key)?, Authority::from_bytes(value)?),
            Chunk::Pools | Chunk::Routes | Chunk::Programs | Chunk::Limits => {
                let name = self.own_name(key)?;
                let table = self.records.iter_mut().find(|records| records.chunk() == table)?;
                table.put(name, Record::from_bytes(value)?);
            }
            Chunk::Holders => self.holders.put(NodeId::from_bytes(key)?, Holder::from_bytes(value)?),
            Chunk::Slots => self.slots.put(<u64 as Key>::from_bytes(key)?, Slot::from_bytes(value)?),
            Chunk::Copies => self.copies.push(self.own_name(key)?, &value)?,
            Chunk::Sessions => self.sessions.put(<u64 as Key>::from_bytes(key)?, Session::from_bytes(value)?),
            Chunk::Header | Chunk::End => return None,
        }
        Some(())
    }

    /// The name with these bytes, if it is one of the shard's.
    fn own_name(&self, bytes: &[u8]) -> Option<Name> {
        let name = NameRef::from_bytes(bytes).ok()?;
        let own = self.header.as_ref().is_some_and(|header| header.range.contains(name));
        own.then(|| name.to_name())
    }

    fn len(&self, table: Chunk) -> usize {
        match table {
            Chunk::Nodes => self.nodes.len(),
            Chunk::Authorities => self.authorities.len(),
            Chunk::Pools | Chunk::Routes | Chunk::Programs | Chunk::Limits => {
                self.records.iter().find(|records| records.chunk() == table).map_or(0, Table::len)
            }
            Chunk::Holders => self.holders.len(),
            Chunk::Slots => self.slots.len(),
            Chunk::Copies => self.copies.len(),
            Chunk::Sessions => self.sessions.len(),
            Chunk::Header | Chunk::End => 0,
        }
    }

    fn bad_item(&self, table: Chunk) -> SnapshotError {
        SnapshotError::BadItem { chunk: self.chunks, table: table.name() }
    }
}

/// A key after the number of bytes that it has in common with the key before it.
fn read_key(payload: &mut Bytes, before: &Bytes) -> Option<Bytes> {
    let shared = usize::try_from(decode_varint(payload).ok()?).ok()?;
    let shared = before.get(..shared)?;
    let rest = read_part(payload)?;
    if shared.is_empty() { Some(rest) } else { Some([shared, &rest].concat().into()) }
}

/// A run of bytes after its length.
fn read_part(payload: &mut Bytes) -> Option<Bytes> {
    let len = usize::try_from(decode_varint(payload).ok()?).ok()?;
    (len <= payload.len()).then(|| payload.split_to(len))
}
