//! From chunks to a state.

use naming::{Name, NameRef, NodeId};
use prost::bytes::{Buf, Bytes};
use prost::encoding::decode_varint;

use super::SnapshotError;
use super::sequence::Sequence;
use crate::catalog::changes::History;
use crate::catalog::chunk::Chunk;
use crate::catalog::copies::{CopyTable, Holder, NamesBuilder, Slot};
use crate::catalog::nodes::Nodes;
use crate::catalog::sessions::{Session, Sessions};
use crate::catalog::table::{Key, Table, Value};
use crate::catalog::{Authority, Catalog, Counters, Node, Record, RecordKind};

/// Reads a state, chunk by chunk. Nothing of it can be used before all of it was checked.
#[derive(Debug)]
pub struct Restore {
    history_bytes: usize,
    sequence: Sequence,
    items: u64,
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

impl Restore {
    /// Reads a state that remembers `history_bytes` bytes of changes for watchers from then on.
    pub fn new(history_bytes: usize) -> Self {
        Self {
            history_bytes,
            sequence: Sequence::default(),
            items: 0,
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
        match self.sequence.take(bytes)? {
            Some((table, payload)) => self.read_table(table, Bytes::copy_from_slice(payload)),
            None => Ok(()),
        }
    }

    /// Whether the last chunk was taken.
    pub fn is_complete(&self) -> bool {
        self.sequence.is_complete()
    }

    /// The state.
    ///
    /// # Errors
    /// If chunks are missing, or the whole is not the state it was taken of.
    pub fn finish(self) -> Result<Catalog, SnapshotError> {
        let (header, end) = self.sequence.into_parts()?;
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
        if end.checksum != state.checksum().to_bytes() {
            return Err(SnapshotError::Mismatch("its checksum is another one"));
        }
        Ok(state)
    }

    fn read_table(&mut self, table: Chunk, mut payload: Bytes) -> Result<(), SnapshotError> {
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
        let own = self.sequence.header().is_some_and(|header| header.range.contains(name));
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
        // The chunk was counted as it was taken.
        SnapshotError::BadItem { chunk: self.sequence.chunks() - 1, table: table.name() }
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
