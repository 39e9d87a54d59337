//! The table of writes in flight: sets of eight cells, one cache line each. See the
//! [module](super) for the phases of a cell and why this holds.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arrayvec::ArrayVec;
use fabric::time::Nanos;

use super::cells::{Cell, Fingerprint, Target};
use super::epoch::Epochs;
use super::ticks::Tick;
use super::{CoherenceStatistics, Ended, InFlightFull, WriteId};

const WAYS: usize = 8;

#[derive(Debug, Default)]
#[repr(align(64))]
struct Set([AtomicU64; WAYS]);

type Found = ArrayVec<(usize, Cell), WAYS>;

impl Set {
    fn cells(&self) -> impl Iterator<Item = (usize, Cell)> + '_ {
        self.0.iter().enumerate().map(|(way, cell)| (way, Cell(cell.load(Ordering::Acquire))))
    }

    /// Puts `new` in place of `old`; `false` if the cell is no longer `old`.
    fn swap(&self, way: usize, old: Cell, new: Cell) -> bool {
        self.0[way].compare_exchange(old.0, new.0, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// Whether a cell was made for a write without a reply, or one was there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    Anew,
    Already,
}

#[derive(Debug)]
pub(super) struct InFlight {
    /// A power of two of sets for buckets and ids, then one for the gate's writes without a reply.
    sets: Box<[Set]>,
    quarantine: Duration,
    cursor: AtomicUsize,
    swept: AtomicU64,
    forgotten: AtomicU64,
}

impl InFlight {
    pub(super) fn new(cells: usize, quarantine: Duration) -> Self {
        let sets = cells.div_ceil(WAYS).clamp(1, 1 << 24).next_power_of_two();
        Self {
            sets: (0..=sets).map(|_| Set::default()).collect(),
            quarantine,
            cursor: AtomicUsize::new(0),
            swept: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.sets)
    }

    /// Makes the cell of a write whose target was raised.
    pub(super) fn insert(
        &self,
        id: WriteId,
        target: Target,
        deadline: Nanos,
        now: Nanos,
    ) -> Result<(), InFlightFull> {
        let set = self.set_of_hash(id.0);
        let cell = Cell::pending(Fingerprint::of(id), target, Tick::after(deadline));
        while !self.place(set, cell, Tick::at(now))? {}
        Ok(())
    }

    /// Makes sure that a raised target stays raised until `deadline`, with one cell for all its writes
    /// without a reply.
    pub(super) fn hold(&self, target: Target, deadline: Nanos, now: Nanos) -> Result<Held, InFlightFull> {
        let set = self.set_of_target(target);
        let deadline = Tick::after(deadline);
        let cell = Cell::pending(Fingerprint::NONE, target, deadline);
        let holds = |cell: &Cell| {
            cell.fingerprint() == Fingerprint::NONE
                && cell.target() == target
                && !cell.deadline().has_come(Tick::at(now))
        };
        loop {
            match set.cells().find(|(_, cell)| holds(cell)) {
                Some((_, held)) if held.deadline().later(deadline) == held.deadline() => {
                    return Ok(Held::Already);
                }
                Some((way, held)) if set.swap(way, held, cell) => return Ok(Held::Already),
                Some(_) => {}
                None if self.place(set, cell, Tick::at(now))? => return Ok(Held::Anew),
                None => {}
            }
        }
    }

    /// Ends the write that a reply belongs to. If it is not `certain` that the reply is one to a write, no cell is freed.
    pub(super) fn end(&self, id: WriteId, certain: bool, epochs: &Epochs) -> Ended {
        let set = self.set_of_hash(id.0);
        let fingerprint = Fingerprint::of(id);
        loop {
            let found: Found = set.cells().filter(|(_, cell)| cell.fingerprint() == fingerprint).collect();
            let Some(&(way, cell)) = found.first() else { return Ended::Unknown };
            let alike = |(_, other): &(usize, Cell)| other.is_pending() && other.target() == cell.target();
            if !certain || !found.iter().all(alike) {
                if self.end_in_doubt(set, &found, epochs) {
                    return Ended::Matched;
                }
            } else if set.swap(way, cell, Cell::FREE) {
                epochs.lower(cell.target());
                return Ended::Matched;
            }
        }
    }

    /// A reply that could be any of `found`: bumps all their targets and makes the oldest pending cell late.
    /// `false` if that cell changed meanwhile.
    fn end_in_doubt(&self, set: &Set, found: &Found, epochs: &Epochs) -> bool {
        for (_, cell) in found {
            epochs.bump(cell.target());
        }
        let pending = found.iter().filter(|(_, cell)| cell.is_pending());
        let Some(&(way, cell)) = pending.reduce(older) else { return true };
        let late = Cell::late(cell.fingerprint(), cell.target(), cell.deadline().plus(self.quarantine));
        if !set.swap(way, cell, late) {
            return false;
        }
        epochs.lower(cell.target());
        true
    }

    /// Walks about `budget` cells: ends the phases whose deadline has come.
    pub(super) fn sweep(&self, now: Nanos, budget: usize, epochs: &Epochs) {
        let sets = budget.div_ceil(WAYS).min(self.sets.len());
        let first = self.cursor.fetch_add(sets, Ordering::Relaxed);
        for offset in 0..sets {
            let set = &self.sets[first.wrapping_add(offset) % self.sets.len()];
            for (way, cell) in set.cells() {
                if cell != Cell::FREE && cell.deadline().has_come(Tick::at(now)) {
                    self.expire(set, way, cell, now, epochs);
                }
            }
        }
    }

    fn expire(&self, set: &Set, way: usize, cell: Cell, now: Nanos, epochs: &Epochs) {
        if cell.is_late() {
            set.swap(way, cell, Cell::FREE);
            return;
        }
        let next = if cell.fingerprint() == Fingerprint::NONE {
            Cell::FREE
        } else {
            Cell::late(cell.fingerprint(), cell.target(), Tick::after(now + self.quarantine))
        };
        if set.swap(way, cell, next) {
            epochs.lower(cell.target());
            self.swept.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn statistics(&self) -> CoherenceStatistics {
        let cells = || self.sets.iter().flat_map(Set::cells).map(|(_, cell)| cell);
        CoherenceStatistics {
            in_flight: cells().filter(|cell| cell.is_pending()).count() as u64,
            late: cells().filter(|cell| cell.is_late()).count() as u64,
            swept: self.swept.load(Ordering::Relaxed),
            forgotten: self.forgotten.load(Ordering::Relaxed),
            ..CoherenceStatistics::default()
        }
    }

    fn set_of_hash(&self, hash: u64) -> &Set {
        &self.sets[hash as usize & (self.sets.len() - 2)]
    }

    fn set_of_target(&self, target: Target) -> &Set {
        match target.index() {
            Some(bucket) => self.set_of_hash((bucket as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32),
            None => &self.sets[self.sets.len() - 1],
        }
    }

    /// One attempt to put `cell` in: a free way, else one whose quarantine has ended, else one that another
    /// late cell of the same id can stand in for, else the oldest late one. `Ok(false)` if the set changed meanwhile.
    fn place(&self, set: &Set, cell: Cell, now: Tick) -> Result<bool, InFlightFull> {
        let all: Found = set.cells().collect();
        let free = |(_, cell): &&(usize, Cell)| {
            *cell == Cell::FREE || (cell.is_late() && cell.deadline().has_come(now))
        };
        if let Some(&(way, old)) = all.iter().find(free) {
            return Ok(set.swap(way, old, cell));
        }
        let late: Found = all.iter().copied().filter(|(_, cell)| cell.is_late()).collect();
        if let Some((low, high)) = same_id(&late) {
            return Ok(merge_up(set, low, high) && set.swap(low.0, low.1, cell));
        }
        let Some(&(way, old)) = late.iter().reduce(older) else { return Err(InFlightFull) };
        let placed = set.swap(way, old, cell);
        self.forgotten.fetch_add(u64::from(placed), Ordering::Relaxed);
        Ok(placed)
    }
}

fn older<'a>(a: &'a (usize, Cell), b: &'a (usize, Cell)) -> &'a (usize, Cell) {
    if a.1.deadline().has_come(b.1.deadline()) { a } else { b }
}

/// Two late cells of one id, the lower way first.
fn same_id(late: &Found) -> Option<((usize, Cell), (usize, Cell))> {
    late.iter().enumerate().find_map(|(index, low)| {
        let high = late[index + 1..].iter().find(|high| high.1.fingerprint() == low.1.fingerprint())?;
        Some((*low, *high))
    })
}

/// Makes the higher cell stand for the lower one, too: for both if their target is one, else for the whole pool.
fn merge_up(set: &Set, low: (usize, Cell), high: (usize, Cell)) -> bool {
    let target = if low.1.target() == high.1.target() { low.1.target() } else { Target::GATE };
    let until = low.1.deadline().later(high.1.deadline());
    set.swap(high.0, high.1, Cell::late(high.1.fingerprint(), target, until))
}
