//! The state machine of a shard: what its log says, applied in order.
//!
//! # Deterministic
//! Replicas that applied the same entries have the same state, and gave the same replies. [`Catalog::apply`]
//! depends on the entry and the state alone: no clock (time is [replicated](time)), no randomness, no hash
//! maps, no floating point; capacities are [constants](capacity). The state's checksum is kept at
//! all times, to be compared.
//!
//! # Of different releases
//! Replicas run different releases during an upgrade. The state has a *version*; actions that a version added
//! are unsupported, on newer replicas too, until an entry [raises](crate::proto::RaiseVersion) it. A replica
//! that is too old for the version stops with [`ApplyError::TooNew`]. Records are opaque. Texts that a
//! release might word differently are never part of the state: a malformed command is refused before its
//! session is looked at.
//!
//! # Tables
//!
//! | module | what it holds | by |
//! |---|---|---|
//! | `nodes` | where nodes are, whether they live | `/node/<id>` |
//! | `authorities` | who answers for mutable names, and since which term | prefix |
//! | `records` | pools, routes, stream programs, tenants' limits | name |
//! | `copies` | digests and holders of immutable names | name |
//! | `sessions` | clients' last replies | client |
//!
//! A shard answers for a [range](NameRange) of names; what concerns others is refused. A split makes two
//! of one.

use std::ops::Bound;
use std::sync::Arc;

use naming::{Name, NameRef, NodeId};
use prost::bytes::Bytes;

use crate::{Position, proto};

mod authorities;
pub mod capacity;
mod changes;
mod checksum;
mod chunk;
mod command;
mod copies;
mod counters;
mod execute;
mod middle;
mod nodes;
mod range;
mod records;
mod refusal;
mod sessions;
pub mod snapshot;
mod split;
mod table;
pub mod time;

#[cfg(test)]
mod tests;

pub use authorities::Authority;
pub use changes::{Change, Changes, Event, Gap};
pub use checksum::Checksum;
pub use copies::{Copies, HeardCopies};
pub use counters::Counters;
pub use middle::divides_nodes;
pub use nodes::Node;
pub use range::NameRange;
pub use records::{Record, RecordKind};
pub use time::{LeaderClock, ReplicatedTime};

use changes::History;
use chunk::Chunk;
use copies::CopyTable;
use nodes::Nodes;
use sessions::Sessions;
use table::Table;

/// The newest version of the state machine that this release executes.
pub const VERSION: u32 = 1;

/// The state of one shard. A clone shares what is large, and is what a [`snapshot`] is written from.
#[derive(Clone, Debug)]
pub struct Catalog {
    version: u32,
    range: NameRange,
    position: Position,
    time: ReplicatedTime,
    nodes: Nodes,
    authorities: Table<Name, Authority>,
    records: [Table<Name, Record>; RecordKind::ALL.len()],
    copies: CopyTable,
    sessions: Sessions,
    history: History,
    history_bytes: usize,
    counters: Counters,
}

/// What an entry of the log came to.
#[derive(Debug)]
pub struct Applied {
    /// For whoever proposed it.
    pub reply: proto::Reply,
    /// For whoever watches. Without events if nothing changed.
    pub changes: Arc<Changes>,
    /// The shard that was split off, if the entry was a split.
    pub split: Option<Box<Catalog>>,
}

/// This replica cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The group agreed on a version that this release does not know.
    #[error(
        "entry {at} raises the directory to version {version}, this release knows {VERSION}: upgrade this node"
    )]
    TooNew {
        /// The entry.
        at: Position,
        /// What it asks for.
        version: u32,
    },
}

impl Catalog {
    /// The empty state of a shard that answers for `range`, at the beginning of its log. It remembers
    /// `history_bytes` bytes of changes for watchers.
    pub fn new(range: NameRange, position: Position, history_bytes: usize) -> Self {
        Self {
            version: 1,
            range,
            position,
            time: ReplicatedTime::default(),
            nodes: Nodes::new(),
            authorities: Table::new(Chunk::Authorities),
            records: RecordKind::ALL.map(|kind| Table::new(kind.chunk())),
            copies: CopyTable::new(),
            sessions: Sessions::new(),
            history: History::new(history_bytes, position),
            history_bytes,
            counters: Counters::default(),
        }
    }

    /// The names it answers for.
    pub fn range(&self) -> &NameRange {
        &self.range
    }

    /// The last entry that was applied.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The time that replicas agree on.
    pub fn time(&self) -> ReplicatedTime {
        self.time
    }

    /// The version whose actions are understood.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// What was refused and forgotten on this replica since it started.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How full each table is: its name, its items, and how many fit.
    pub fn tables(&self) -> impl Iterator<Item = (&'static str, usize, usize)> {
        Chunk::TABLES.into_iter().map(|table| (table.name(), self.len_of(table), table.capacity()))
    }

    /// Names of which something is known, one for each kind of what is known of it.
    pub fn names(&self) -> usize {
        let records: usize = self.records.iter().map(Table::len).sum();
        self.nodes.table.len() + self.authorities.len() + records + self.copies.len()
    }

    /// Of all that replicas agree on; equal on all that applied the same entries.
    pub fn checksum(&self) -> Checksum {
        let mut sum = self.nodes.table.checksum();
        sum += self.authorities.checksum();
        self.records.iter().for_each(|table| sum += table.checksum());
        sum += self.copies.checksum();
        sum += self.sessions.table.checksum();
        sum += Checksum::of_item(Chunk::Header, &[], &self.header_bytes());
        sum
    }

    /// A node, if it registered. Whether it lives: compare [`Node::expires`] with [`Self::time`].
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.table.get(nodes::name_of(id).as_bytes())
    }

    /// Nodes behind `after` in the order of their ids; from the first one if it is `None`.
    pub fn nodes(&self, after: Option<NodeId>) -> impl Iterator<Item = &Node> {
        let name = after.map(nodes::name_of);
        let first = name.as_ref().map_or(Bound::Unbounded, |name| Bound::Excluded(name.as_bytes()));
        self.nodes.table.from::<[u8]>(first).map(|(_, node)| node)
    }

    /// The record of this kind under exactly this name.
    pub fn record(&self, kind: RecordKind, name: NameRef<'_>) -> Option<&Record> {
        self.table(kind).get(name.as_bytes())
    }

    /// The record of this kind under the longest prefix of `name` that has one, and that prefix.
    pub fn longest_record<'n>(&self, kind: RecordKind, name: NameRef<'n>) -> Option<(NameRef<'n>, &Record)> {
        name.prefixes().find_map(|prefix| Some((prefix, self.record(kind, prefix)?)))
    }

    /// Records of this kind under `prefix`, behind `after` if that is given, in canonical order.
    pub fn records<'a>(
        &'a self,
        kind: RecordKind,
        prefix: NameRef<'a>,
        after: Option<NameRef<'_>>,
    ) -> impl Iterator<Item = (NameRef<'a>, &'a Record)> + use<'a> {
        let items = self.table(kind).from::<[u8]>(first_of(prefix, after).map(NameRef::as_bytes));
        items
            .map(|(name, record)| (name.as_name(), record))
            .take_while(move |(name, _)| name.starts_with(prefix))
    }

    /// Who answers for `name`: of the longest prefix that has an authority, and that prefix.
    pub fn authority<'n>(&self, name: NameRef<'n>) -> Option<(NameRef<'n>, &Authority)> {
        name.prefixes().find_map(|prefix| Some((prefix, self.authorities.get(prefix.as_bytes())?)))
    }

    /// Authorities under `prefix`, behind `after` if that is given, in canonical order.
    pub fn authorities<'a>(
        &'a self,
        prefix: NameRef<'a>,
        after: Option<NameRef<'_>>,
    ) -> impl Iterator<Item = (NameRef<'a>, &'a Authority)> + use<'a> {
        let items = self.authorities.from::<[u8]>(first_of(prefix, after).map(NameRef::as_bytes));
        items.map(|(name, held)| (name.as_name(), held)).take_while(move |(name, _)| name.starts_with(prefix))
    }

    /// Where the copies of an immutable name are.
    pub fn copies(&self, name: NameRef<'_>) -> Option<Copies> {
        self.copies.get(name)
    }

    /// Names with copies under `prefix`, behind `after` if that is given, in canonical order.
    pub fn names_with_copies<'a>(
        &'a self,
        prefix: NameRef<'a>,
        after: Option<NameRef<'_>>,
    ) -> impl Iterator<Item = (Name, Copies)> + use<'a> {
        self.copies
            .from(first_of(prefix, after))
            .take_while(move |(name, _)| name.as_name().starts_with(prefix))
    }

    /// The changes after an entry, oldest first: of all names, to be sifted by [`Event::concerns`].
    ///
    /// # Errors
    /// If that is too long ago, or was another log.
    pub fn changes_since(&self, position: Position) -> Result<impl Iterator<Item = &Arc<Changes>>, Gap> {
        self.history.since(position)
    }

    /// Notes an entry that is no command: a new leader's first one, or a change of members.
    ///
    /// # Panics
    /// If it is not the next entry.
    pub fn skip(&mut self, position: Position) {
        self.advance(position);
    }

    /// Applies an entry.
    ///
    /// # Errors
    /// If this release must not go on. The state is as it was.
    ///
    /// # Panics
    /// If it is not the next entry.
    pub fn apply(&mut self, position: Position, data: Bytes) -> Result<Applied, ApplyError> {
        let mut events = Vec::new();
        let (outcome, split) = self.execute(position, data, &mut events)?;
        let changes = Arc::new(Changes { position, events });
        if !changes.events.is_empty() {
            self.history.push(Arc::clone(&changes));
        }
        Ok(Applied { reply: outcome, changes, split: split.map(Box::new) })
    }

    fn advance(&mut self, position: Position) {
        assert_eq!(position.index, self.position.index + 1, "entry {position} after entry {}", self.position);
        self.position = position;
    }

    fn len_of(&self, table: Chunk) -> usize {
        match table {
            Chunk::Nodes => self.nodes.table.len(),
            Chunk::Authorities => self.authorities.len(),
            Chunk::Pools => self.table(RecordKind::Pool).len(),
            Chunk::Routes => self.table(RecordKind::Route).len(),
            Chunk::Programs => self.table(RecordKind::Program).len(),
            Chunk::Limits => self.table(RecordKind::Limits).len(),
            Chunk::Holders => self.copies.holders.nodes.len(),
            Chunk::Slots => self.copies.holders.slots.len(),
            Chunk::Copies => self.copies.len(),
            Chunk::Sessions => self.sessions.table.len(),
            Chunk::Header | Chunk::End => 1,
        }
    }

    fn table(&self, kind: RecordKind) -> &Table<Name, Record> {
        &self.records[kind as usize]
    }

    fn table_mut(&mut self, kind: RecordKind) -> &mut Table<Name, Record> {
        &mut self.records[kind as usize]
    }
}

fn first_of<'a>(prefix: NameRef<'a>, after: Option<NameRef<'a>>) -> Bound<NameRef<'a>> {
    match after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ => Bound::Included(prefix),
    }
}
