//! A place in the log of a group.

use std::fmt;

/// An entry of a log by its place: whoever has it has the same entries before it (Raft's log matching). Of two logs the one
/// that ends with the greater one is more up to date, as votes compare them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Of the leader that made the entry; 0 before the first one.
    pub term: u64,
    /// Counted from 1; 0 before the first entry.
    pub index: u64,
}

impl Position {
    /// Of the entry that every group has from its beginning, so that nobody takes an empty log for the log's
    /// beginning: a node that joins gets a snapshot, with the members in it.
    pub const FIRST: Position = Position { term: 1, index: 1 };

    /// The entry `index` of the leader of `term`.
    pub fn new(term: u64, index: u64) -> Self {
        Self { term, index }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of term {}", self.index, self.term)
    }
}
