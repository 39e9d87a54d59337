//! From a state to chunks.

use std::ops::Bound;

use naming::{Name, NameRef};
use prost::Message;
use prost::encoding::encode_varint;

use super::{CHUNK_LEN, FORMAT};
use crate::catalog::Catalog;
use crate::catalog::chunk::Chunk;
use crate::catalog::table::{Key, Table, Value};
use crate::frame;
use crate::proto::state;

/// Writes a state, chunk by chunk, as an iterator over them. It owns a clone of the state, so that it can go
/// on in another thread, at any pace, while the state changes.
#[derive(Debug)]
pub struct SnapshotWriter {
    state: Catalog,
    /// What comes next; `None`: nothing.
    next: Option<Chunk>,
    /// The key of the last item that was written of it.
    last: Option<Vec<u8>>,
    items: u64,
    digest: blake3::Hasher,
}

/// The items of a chunk.
#[derive(Default)]
struct Items {
    payload: Vec<u8>,
    count: u64,
    last: Option<Vec<u8>>,
}

impl SnapshotWriter {
    /// A snapshot of `state`, of which a clone is kept.
    pub fn new(state: &Catalog) -> Self {
        let (state, next) = (state.clone(), Some(Chunk::Header));
        Self { state, next, last: None, items: 0, digest: blake3::Hasher::new() }
    }

    fn frame(&mut self, chunk: Chunk, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(frame::HEADER_LEN + payload.len());
        frame::write(&mut out, chunk as u8, payload);
        self.digest.update(&out);
        out
    }

    fn end(&self) -> Vec<u8> {
        let checksum = self.state.checksum().to_bytes().to_vec().into();
        let digest = self.digest.finalize().as_bytes().to_vec().into();
        state::SnapshotEnd { items: self.items, checksum, digest }.encode_to_vec()
    }
}

impl Iterator for SnapshotWriter {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let chunk = self.next?;
            match chunk {
                Chunk::Header => {
                    self.next = Chunk::TABLES.first().copied();
                    return Some(self.frame(chunk, &self.state.header_bytes()));
                }
                Chunk::End => {
                    self.next = None;
                    return Some(self.frame(chunk, &self.end()));
                }
                _ => {
                    let items = self.state.items(chunk, self.last.as_deref());
                    self.items += items.count;
                    if items.count == 0 {
                        let place = Chunk::TABLES.iter().position(|table| *table == chunk);
                        let after = place.and_then(|place| Chunk::TABLES.get(place + 1));
                        (self.next, self.last) = (Some(after.copied().unwrap_or(Chunk::End)), None);
                        continue;
                    }
                    self.last = items.last;
                    return Some(self.frame(chunk, &items.payload));
                }
            }
        }
    }
}

impl Catalog {
    /// Everything that is in no table.
    pub(in crate::catalog) fn header_bytes(&self) -> Vec<u8> {
        let bytes = |name: NameRef<'_>| name.as_bytes().to_vec().into();
        state::SnapshotHeader {
            format: FORMAT,
            version: self.version,
            term: self.position.term,
            index: self.position.index,
            time_ms: self.time.0,
            from: bytes(self.range.from()),
            until: self.range.until().map(bytes),
            next_client: self.sessions.next_client(),
            purged: self.copies.purged().map(Name::as_name).map(bytes),
        }
        .encode_to_vec()
    }

    /// As many items of a table behind the key `last` as a chunk takes.
    fn items(&self, table: Chunk, last: Option<&[u8]>) -> Items {
        let items = Items::default();
        match table {
            Chunk::Nodes => items.of_table(&self.nodes.table, last),
            Chunk::Authorities => items.of_table(&self.authorities, last),
            Chunk::Pools | Chunk::Routes | Chunk::Programs | Chunk::Limits => {
                let table = self.records.iter().find(|records| records.chunk() == table);
                table.map_or_else(Items::default, |table| items.of_table(table, last))
            }
            Chunk::Holders => items.of_table(&self.copies.holders.nodes, last),
            Chunk::Slots => items.of_table(&self.copies.holders.slots, last),
            Chunk::Copies => items.of_copies(self, last),
            Chunk::Sessions => items.of_table(&self.sessions.table, last),
            Chunk::Header | Chunk::End => items,
        }
    }
}

impl Items {
    fn of_table<K: Key, V: Value>(mut self, table: &Table<K, V>, last: Option<&[u8]>) -> Self {
        let last = last.and_then(K::from_bytes);
        for (key, value) in table.from(last.as_ref().map_or(Bound::Unbounded, Bound::Excluded)) {
            if self.is_full() {
                break;
            }
            key.with_bytes(|key| self.push(key, &value.to_bytes()));
        }
        self
    }

    fn of_copies(mut self, state: &Catalog, last: Option<&[u8]>) -> Self {
        let last = last.and_then(<Name as Key>::from_bytes);
        let first = last.as_ref().map_or(Bound::Unbounded, |name| Bound::Excluded(name.as_name()));
        for (name, value) in state.copies.items(first) {
            if self.is_full() {
                break;
            }
            self.push(name.as_bytes(), &value);
        }
        self
    }

    fn is_full(&self) -> bool {
        self.payload.len() >= CHUNK_LEN
    }

    fn push(&mut self, key: &[u8], value: &[u8]) {
        let last = self.last.iter().flatten();
        let shared = last.zip(key).take_while(|(one, other)| one == other).count();
        encode_varint(shared as u64, &mut self.payload);
        for part in [&key[shared..], value] {
            encode_varint(part.len() as u64, &mut self.payload);
            self.payload.extend(part);
        }
        self.count += 1;
        self.last = Some(key.to_vec());
    }
}
