//! The cell of one write in flight, packed into a word.

use super::WriteId;
use super::ticks::Tick;

/// What a write invalidates: one bucket, or the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target(u32);

/// Buckets a target can name.
pub(super) const MAX_BUCKETS: usize = 1 << 19;

impl Target {
    pub(super) const GATE: Target = Target((1 << TARGET_BITS) - 1);

    pub(super) fn bucket(index: usize) -> Target {
        debug_assert!(index < MAX_BUCKETS);
        Target(index as u32)
    }

    /// The bucket's index; `None` for the gate.
    pub(super) fn index(self) -> Option<usize> {
        (self != Self::GATE).then_some(self.0 as usize)
    }
}

/// The part of a [`WriteId`] that a cell keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(u32);

impl Fingerprint {
    /// Of writes without a reply: no id has it.
    pub(super) const NONE: Fingerprint = Fingerprint(1);

    pub(super) fn of(id: WriteId) -> Fingerprint {
        Fingerprint(((id.0 >> (64 - FINGERPRINT_BITS)) as u32).max(2))
    }
}

const FINGERPRINT_BITS: u32 = 24;
const TARGET_BITS: u32 = 20;
const LATE: u64 = 1 << Tick::BITS;
const TARGET_SHIFT: u32 = Tick::BITS + 1;
const FINGERPRINT_SHIFT: u32 = TARGET_SHIFT + TARGET_BITS;
const _: () = assert!(FINGERPRINT_SHIFT + FINGERPRINT_BITS == 64);
const _: () = assert!(MAX_BUCKETS < 1 << TARGET_BITS, "the gate is no bucket");

/// `{fingerprint: 24, target: 20, late: 1, deadline: 19}`; 0 is free, since no fingerprint is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell(pub(super) u64);

impl Cell {
    pub(super) const FREE: Cell = Cell(0);

    pub(super) fn pending(fingerprint: Fingerprint, target: Target, deadline: Tick) -> Cell {
        Cell(
            (u64::from(fingerprint.0) << FINGERPRINT_SHIFT)
                | (u64::from(target.0) << TARGET_SHIFT)
                | deadline.0,
        )
    }

    pub(super) fn late(fingerprint: Fingerprint, target: Target, until: Tick) -> Cell {
        Cell(Self::pending(fingerprint, target, until).0 | LATE)
    }

    pub(super) fn fingerprint(self) -> Fingerprint {
        Fingerprint((self.0 >> FINGERPRINT_SHIFT) as u32)
    }

    pub(super) fn target(self) -> Target {
        Target((self.0 >> TARGET_SHIFT) as u32 & ((1 << TARGET_BITS) - 1))
    }

    /// The end of its phase.
    pub(super) fn deadline(self) -> Tick {
        Tick(self.0 & (LATE - 1))
    }

    pub(super) fn is_late(self) -> bool {
        self.0 & LATE != 0
    }

    pub(super) fn is_pending(self) -> bool {
        self != Self::FREE && !self.is_late()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        for id in [0, u64::MAX, 1 << 40, 0x1234_5678_9abc_def0] {
            for target in [Target::bucket(0), Target::bucket(MAX_BUCKETS - 1), Target::GATE] {
                for deadline in [Tick(0), Tick((1 << Tick::BITS) - 1)] {
                    let fingerprint = Fingerprint::of(WriteId(id));
                    let pending = Cell::pending(fingerprint, target, deadline);
                    let late = Cell::late(fingerprint, target, deadline);
                    for cell in [pending, late] {
                        assert_eq!((cell.fingerprint(), cell.target()), (fingerprint, target));
                        assert_eq!(cell.deadline(), deadline);
                        assert_ne!(cell, Cell::FREE);
                        assert_ne!(fingerprint, Fingerprint::NONE);
                    }
                    assert!(pending.is_pending() && late.is_late() && !late.is_pending());
                }
            }
        }
    }
}
