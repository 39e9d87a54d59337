//! Requests the node makes of servers itself: fills, parts of gathered requests, probes.
//!
//! A fixed slab. The 16-bit request id of the memcached UDP frame carries the slot and a generation, so that a
//! reply that comes after its slot was given to another request is told apart.

use std::collections::VecDeque;

use arrayvec::ArrayVec;
use fabric::time::Nanos;

use super::gather::GatherId;
use crate::coherence::{Stamp, WriteId};
use crate::hashing::MemberIndex;
use crate::protocol::MAX_KEY_LEN;

const SLOT_BITS: u32 = 10;
/// Requests of one worker to its servers that can be under way at once. When all are, no more are made: a fill waits
/// until its key is asked for again, a gathered request is dropped and counted.
pub(super) const SLOTS: usize = 1 << SLOT_BITS;

/// A key, held inline.
pub(super) type KeyBytes = ArrayVec<u8, MAX_KEY_LEN>;

/// What a request is for.
#[derive(Debug, Default)]
pub(super) enum Purpose {
    #[default]
    Free,
    /// A value for the hot table.
    Fill(Fill),
    /// One part of a gathered request; `write` if the part is of a write class, `key` if it asks for a value.
    Part { gather: GatherId, part: u16, write: Option<WriteId>, key: Option<KeyBytes> },
    /// A recache token given back: nothing follows from the reply.
    Token,
    /// Whether the server at this index lives.
    Probe { server: usize },
}

/// A fill under way.
#[derive(Debug)]
pub(super) struct Fill {
    pub(super) key: KeyBytes,
    pub(super) hash: u64,
    /// The epochs before the fill was sent: it is installed only if they still hold.
    pub(super) stamp: Stamp,
    pub(super) sent: Nanos,
}

/// The request id of a request to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestId(pub(super) u16);

#[derive(Debug)]
struct Slot {
    generation: u16,
    /// Who was asked, and alone may answer.
    server: MemberIndex,
    deadline: Nanos,
    purpose: Purpose,
}

#[derive(Debug)]
pub(super) struct Upstream {
    slots: Box<[Slot]>,
    /// The slot that has been free for longest is taken first, so that generations wrap as late as they can.
    free: VecDeque<u16>,
    cursor: usize,
}

impl Upstream {
    pub(super) fn new() -> Self {
        let slot =
            |_| Slot { generation: 0, server: MemberIndex(0), deadline: Nanos(0), purpose: Purpose::Free };
        Self { slots: (0..SLOTS).map(slot).collect(), free: (0..SLOTS as u16).collect(), cursor: 0 }
    }

    /// How many more requests can be opened.
    pub(super) fn room(&self) -> usize {
        self.free.len()
    }

    /// Takes a slot for a request to `server`, or `None` if all are taken.
    pub(super) fn open(&mut self, deadline: Nanos, server: MemberIndex) -> Option<RequestId> {
        let index = self.free.pop_front()?;
        let slot = &mut self.slots[usize::from(index)];
        slot.deadline = deadline;
        slot.server = server;
        Some(RequestId((slot.generation << SLOT_BITS) | index))
    }

    /// Says what the request just opened is for.
    pub(super) fn assign(&mut self, id: RequestId, purpose: Purpose) {
        self.slots[slot_of(id)].purpose = purpose;
    }

    /// Whom request `id` was sent to and what it is for, if it is under way.
    pub(super) fn under_way(&self, id: RequestId) -> Option<(MemberIndex, &Purpose)> {
        let slot = &self.slots[slot_of(id)];
        let current = slot.generation << SLOT_BITS == id.0 & !(SLOTS as u16 - 1);
        (current && !matches!(slot.purpose, Purpose::Free)).then_some((slot.server, &slot.purpose))
    }

    /// Ends request `id` and hands out what it was for.
    pub(super) fn close(&mut self, id: RequestId) -> Purpose {
        let index = slot_of(id);
        let slot = &mut self.slots[index];
        slot.generation = slot.generation.wrapping_add(1) & ((1 << (16 - SLOT_BITS)) - 1);
        self.free.push_back(index as u16);
        std::mem::take(&mut slot.purpose)
    }

    /// Ends one request whose deadline has passed, looking at `budget` slots at most; `None` if there was none among
    /// them. The look goes on where the last one ended.
    pub(super) fn expire(&mut self, now: Nanos, budget: &mut usize) -> Option<Purpose> {
        while *budget > 0 {
            *budget -= 1;
            let index = self.cursor;
            self.cursor = (index + 1) % SLOTS;
            let slot = &self.slots[index];
            if !matches!(slot.purpose, Purpose::Free) && slot.deadline <= now {
                return Some(self.close(RequestId((slot.generation << SLOT_BITS) | index as u16)));
            }
        }
        None
    }
}

fn slot_of(id: RequestId) -> usize {
    usize::from(id.0) & (SLOTS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: MemberIndex = MemberIndex(3);

    #[test]
    fn a_late_reply_does_not_match_the_slots_next_request() {
        let mut upstream = Upstream::new();
        let first = upstream.open(Nanos(10), SERVER).unwrap();
        upstream.assign(first, Purpose::Probe { server: 1 });
        assert!(matches!(upstream.close(first), Purpose::Probe { server: 1 }));
        let second = loop {
            let id = upstream.open(Nanos(20), SERVER).unwrap();
            upstream.assign(id, Purpose::Probe { server: 2 });
            if slot_of(id) == slot_of(first) {
                break id;
            }
        };
        assert_eq!(upstream.room(), 0, "the slot that was free last is taken last");
        assert!(upstream.under_way(first).is_none());
        assert!(matches!(upstream.under_way(second), Some((SERVER, Purpose::Probe { server: 2 }))));
    }

    #[test]
    fn expiry_ends_what_is_due_and_nothing_else() {
        let mut upstream = Upstream::new();
        for deadline in [5, 50] {
            let id = upstream.open(Nanos(deadline), SERVER).unwrap();
            upstream.assign(id, Purpose::Probe { server: deadline as usize });
        }
        let mut budget = SLOTS;
        assert!(matches!(upstream.expire(Nanos(10), &mut budget), Some(Purpose::Probe { server: 5 })));
        assert!(upstream.expire(Nanos(10), &mut budget).is_none());
        assert_eq!(upstream.room(), SLOTS - 1);
    }

    #[test]
    fn a_full_slab_refuses() {
        let mut upstream = Upstream::new();
        let opened = std::iter::from_fn(|| upstream.open(Nanos(1), SERVER)).count();
        assert_eq!(opened, SLOTS);
    }
}
