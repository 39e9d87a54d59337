//! The parts of a state: tables, each with a number in snapshots, a name and a capacity.

use super::capacity;

/// What a chunk of a snapshot holds. Numbers are for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Chunk {
    Header = 1,
    Nodes = 2,
    Authorities = 3,
    Pools = 4,
    Routes = 5,
    Programs = 6,
    Limits = 7,
    Holders = 8,
    Slots = 9,
    Copies = 10,
    Sessions = 11,
    End = 255,
}

impl Chunk {
    /// The tables, in the order in which a snapshot has them.
    pub(super) const TABLES: [Chunk; 10] = [
        Chunk::Nodes,
        Chunk::Authorities,
        Chunk::Pools,
        Chunk::Routes,
        Chunk::Programs,
        Chunk::Limits,
        Chunk::Holders,
        Chunk::Slots,
        Chunk::Copies,
        Chunk::Sessions,
    ];

    pub(super) fn of_kind(kind: u8) -> Option<Self> {
        let others = [Self::Header, Self::End].into_iter();
        Self::TABLES.into_iter().chain(others).find(|chunk| *chunk as u8 == kind)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Nodes => "nodes",
            Self::Authorities => "authorities",
            Self::Pools => "pools",
            Self::Routes => "routes",
            Self::Programs => "programs",
            Self::Limits => "limits",
            Self::Holders => "holders",
            Self::Slots => "slots",
            Self::Copies => "copies",
            Self::Sessions => "sessions",
            Self::End => "end",
        }
    }

    /// Items that the table may have.
    pub(super) fn capacity(self) -> usize {
        match self {
            Self::Nodes => capacity::NODES,
            Self::Authorities => capacity::AUTHORITIES,
            Self::Pools => capacity::POOLS,
            Self::Routes => capacity::ROUTES,
            Self::Programs => capacity::PROGRAMS,
            Self::Limits => capacity::LIMITS,
            // A holder has a slot, and one more for each of its retirements that is still being purged.
            Self::Holders | Self::Slots => capacity::HOLDERS,
            Self::Copies => capacity::NAMES,
            Self::Sessions => capacity::SESSIONS,
            Self::Header | Self::End => 1,
        }
    }
}
