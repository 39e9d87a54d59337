//! Records: documents under a name that the state machine keeps and does not read, each with a revision. What
//! they say is between those who write and those who read them, so that replicas of different releases cannot
//! disagree about it.

use naming::Name;
use prost::Message;
use prost::bytes::Bytes;

use super::changes::{Change, Event};
use super::chunk::Chunk;
use super::refusal::{self, Reason};
use super::table::{Table, Value};
use crate::proto;
use crate::proto::reply::Outcome;
use crate::proto::state;

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKind {
    /// `/mc/<pool>`: servers and hashing of a memcached pool.
    Pool,
    /// A prefix: its origin, or whose authority it is under.
    Route,
    /// `/stream/<topic>/...`: operators that run on it.
    Program,
    /// A tenant's prefix: how much of what it may use.
    Limits,
}

impl RecordKind {
    /// All kinds.
    pub const ALL: [RecordKind; 4] = [Self::Pool, Self::Route, Self::Program, Self::Limits];

    pub(super) fn of_wire(kind: proto::RecordKind) -> Option<Self> {
        match kind {
            proto::RecordKind::Unspecified => None,
            proto::RecordKind::Pool => Some(Self::Pool),
            proto::RecordKind::Route => Some(Self::Route),
            proto::RecordKind::Program => Some(Self::Program),
            proto::RecordKind::Limits => Some(Self::Limits),
        }
    }

    pub(super) fn chunk(self) -> Chunk {
        match self {
            Self::Pool => Chunk::Pools,
            Self::Route => Chunk::Routes,
            Self::Program => Chunk::Programs,
            Self::Limits => Chunk::Limits,
        }
    }
}

/// A document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The place in the log of its last change.
    pub revision: u64,
    /// What it says.
    pub value: Bytes,
}

impl Value for Record {
    fn to_bytes(&self) -> Vec<u8> {
        state::Record { revision: self.revision, value: self.value.clone() }.encode_to_vec()
    }

    fn from_bytes(bytes: Bytes) -> Option<Self> {
        let message = state::Record::decode(bytes).ok()?;
        Some(Self { revision: message.revision, value: message.value })
    }
}

pub(super) fn put(
    table: &mut Table<Name, Record>,
    kind: RecordKind,
    name: Name,
    record: Record,
    expected: Option<u64>,
    events: &mut Vec<Event>,
) -> Result<Outcome, Reason> {
    check_revision(table, &name, expected)?;
    table.admit(&name)?;
    let revision = record.revision;
    events.push(Event::new(&name, Change::Record { kind, record: Some(record.clone()) }));
    table.put(name, record);
    Ok(Outcome::Stored(proto::Stored { revision }))
}

pub(super) fn remove(
    table: &mut Table<Name, Record>,
    kind: RecordKind,
    name: &Name,
    expected: Option<u64>,
    events: &mut Vec<Event>,
) -> Result<Outcome, Reason> {
    check_revision(table, name, expected)?;
    table.remove(name).ok_or_else(refusal::not_found)?;
    events.push(Event::new(name, Change::Record { kind, record: None }));
    Ok(Outcome::Done(proto::Done {}))
}

fn check_revision(table: &Table<Name, Record>, name: &Name, expected: Option<u64>) -> Result<(), Reason> {
    let revision = table.get(name).map_or(0, |record| record.revision);
    if expected.is_none_or(|expected| expected == revision) {
        Ok(())
    } else {
        Err(refusal::conflict(revision))
    }
}
