//! Requests that one server cannot answer alone: keys on several servers, keys of which some are cached, commands for
//! the whole pool.
//!
//! The node asks each server for its part under its own address, holds the reply datagrams as they are, and when
//! all parts are whole answers the client in the order in which it asked. memcached answers a UDP get of several
//! keys with datagrams that do not say how many they are; hence a part asks for one key.

use arrayvec::ArrayVec;
use fabric::io::PacketBuf;
use fabric::time::Nanos;

use super::wire::Client;

/// Parts of one gathered request at most.
pub(super) const MAX_PARTS: usize = 256;
/// Reply datagrams held for one gathered request at most.
const MAX_PIECES: usize = 512;
/// Gathered requests under way on one worker at most.
const GATHERS: usize = 128;
/// Reply datagrams held by one worker at most: what bounds the packet buffers that gathering can pin.
pub(super) const MAX_HELD: usize = 4096;

const END: &[u8] = b"END\r\n";

/// A gathered request: its slot, and a generation that tells it from the slot's next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GatherId {
    slot: u16,
    generation: u32,
}

/// How the parts become one reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Merge {
    /// Blocks `VALUE ...` of all parts, then one `END`.
    Values,
    /// This, if every part begins with `OK`; nothing if empty.
    AllOk(ArrayVec<u8, 32>),
}

/// Why a gathered request cannot be answered as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GatherError {
    /// More reply datagrams than are held.
    TooLarge,
    /// A server answered with something else than values (or `OK`).
    Refused,
}

/// A stretch of a held reply datagram: the memcached bytes after the UDP frame.
#[derive(Debug)]
struct Piece<P> {
    part: u16,
    sequence: u16,
    start: usize,
    end: usize,
    packet: P,
}

impl<P: PacketBuf> Piece<P> {
    fn bytes(&self) -> &[u8] {
        &self.packet.bytes()[self.start..self.end]
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Part {
    expected: u16,
    arrived: u16,
}

/// One gathered request.
#[derive(Debug)]
pub(super) struct Gather<P> {
    pub(super) client: Client,
    pub(super) merge: Merge,
    /// The write that ends when the whole request does.
    pub(super) write: Option<crate::coherence::WriteId>,
    deadline: Nanos,
    parts: ArrayVec<Part, MAX_PARTS>,
    missing: usize,
    pieces: Vec<Piece<P>>,
}

#[derive(Debug)]
struct Slot<P> {
    generation: u32,
    gather: Option<Gather<P>>,
    /// The piece list of the slot's last request, kept for its memory.
    spare: Vec<Piece<P>>,
}

#[derive(Debug)]
pub(super) struct Gathers<P> {
    slots: Vec<Slot<P>>,
    free: Vec<u16>,
    held: usize,
    cursor: usize,
}

/// What a part's datagram did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrived {
    /// The part is not whole yet.
    Waiting,
    /// The part is whole, others are not.
    PartWhole,
    /// All parts are whole: take the request out and answer it.
    Whole,
    /// No such request, or no such part.
    Unknown,
    /// The request holds too much.
    TooLarge,
}

impl<P: PacketBuf> Gathers<P> {
    pub(super) fn new() -> Self {
        let slot = |_| Slot { generation: 0, gather: None, spare: Vec::with_capacity(MAX_PIECES) };
        Self {
            slots: (0..GATHERS).map(slot).collect(),
            free: (0..GATHERS as u16).collect(),
            held: 0,
            cursor: 0,
        }
    }

    /// Begins a request of `parts` parts, none of them there yet; `None` if all slots are taken.
    pub(super) fn begin(
        &mut self,
        client: Client,
        merge: Merge,
        parts: usize,
        deadline: Nanos,
    ) -> Option<GatherId> {
        let index = self.free.pop()?;
        let slot = &mut self.slots[usize::from(index)];
        let parts =
            std::iter::repeat_n(Part::default(), parts.min(MAX_PARTS)).collect::<ArrayVec<_, MAX_PARTS>>();
        let missing = parts.len();
        let pieces = std::mem::take(&mut slot.spare);
        slot.gather = Some(Gather { client, merge, write: None, deadline, parts, missing, pieces });
        Some(GatherId { slot: index, generation: slot.generation })
    }

    pub(super) fn get_mut(&mut self, id: GatherId) -> Option<&mut Gather<P>> {
        let slot = &mut self.slots[usize::from(id.slot)];
        slot.gather.as_mut().filter(|_| slot.generation == id.generation)
    }

    /// Files datagram `sequence` of `total` of a part; its memcached bytes are `start..end` of `packet`.
    pub(super) fn arrive(
        &mut self,
        id: GatherId,
        part: u16,
        (sequence, total): (u16, u16),
        packet: P,
        (start, end): (usize, usize),
    ) -> Arrived {
        let room = self.held < MAX_HELD;
        let Some(gather) = self.get_mut(id) else { return Arrived::Unknown };
        let Some(state) = gather.parts.get_mut(usize::from(part)) else { return Arrived::Unknown };
        if sequence >= total || (state.arrived > 0 && state.expected != total) || state.arrived >= total {
            return Arrived::Unknown;
        }
        if gather.pieces.iter().any(|piece| piece.part == part && piece.sequence == sequence) {
            return Arrived::Waiting;
        }
        if !room || gather.pieces.len() == MAX_PIECES {
            return Arrived::TooLarge;
        }
        state.expected = total;
        state.arrived += 1;
        let whole = state.arrived == total;
        gather.pieces.push(Piece { part, sequence, start, end, packet });
        gather.missing -= usize::from(whole);
        let missing = gather.missing;
        self.held += 1;
        match (whole, missing) {
            (false, _) => Arrived::Waiting,
            (true, 0) => Arrived::Whole,
            (true, _) => Arrived::PartWhole,
        }
    }

    /// Takes a request out; its slot is free again. Give it back to [`recycle`](Gathers::recycle) when done.
    pub(super) fn take(&mut self, id: GatherId) -> Option<Gather<P>> {
        self.get_mut(id)?;
        let slot = &mut self.slots[usize::from(id.slot)];
        let gather = slot.gather.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.held -= gather.pieces.len();
        Some(gather)
    }

    /// Frees the packets of a request that was [taken](Gathers::take), and opens its slot for the next one.
    pub(super) fn recycle(&mut self, id: GatherId, mut gather: Gather<P>) {
        gather.pieces.clear();
        self.slots[usize::from(id.slot)].spare = gather.pieces;
        self.free.push(id.slot);
    }

    /// A request whose deadline has passed, among the next `budget` slots.
    pub(super) fn expired(&mut self, now: Nanos, budget: &mut usize) -> Option<GatherId> {
        while *budget > 0 {
            *budget -= 1;
            let index = self.cursor;
            self.cursor = (index + 1) % GATHERS;
            let slot = &self.slots[index];
            if slot.gather.as_ref().is_some_and(|gather| gather.deadline <= now) {
                return Some(GatherId { slot: index as u16, generation: slot.generation });
            }
        }
        None
    }
}

impl<P: PacketBuf> Gather<P> {
    /// Puts the parts in order and checks that each can be merged. Returns the merged reply's length in bytes.
    pub(super) fn seal(&mut self) -> Result<usize, GatherError> {
        self.pieces.sort_unstable_by_key(|piece| (piece.part, piece.sequence));
        match &self.merge {
            Merge::AllOk(reply) => {
                let ok = self.pieces.iter().all(|piece| piece.bytes().starts_with(b"OK"));
                if ok { Ok(reply.len()) } else { Err(GatherError::Refused) }
            }
            Merge::Values => self.seal_values(),
        }
    }

    /// Cuts the `END` off every part, wherever its bytes are.
    fn seal_values(&mut self) -> Result<usize, GatherError> {
        let mut total = 0;
        for group in self.pieces.chunk_by_mut(|a, b| a.part == b.part) {
            let first = group[0].bytes();
            if !first.starts_with(b"VALUE ") && !first.starts_with(END) {
                return Err(GatherError::Refused);
            }
            let mut end = END;
            for piece in group.iter_mut().rev() {
                let cut = end.len().min(piece.end - piece.start);
                let (rest, tail) = end.split_at(end.len() - cut);
                if &piece.packet.bytes()[piece.end - cut..piece.end] != tail {
                    return Err(GatherError::Refused);
                }
                piece.end -= cut;
                end = rest;
                if end.is_empty() {
                    break;
                }
            }
            total += group.iter().map(|piece| piece.end - piece.start).sum::<usize>();
        }
        Ok(total + END.len())
    }

    /// The merged reply, stretch by stretch, after [`seal`](Gather::seal).
    pub(super) fn reply(&self) -> impl Iterator<Item = &[u8]> {
        let (pieces, tail): (&[Piece<P>], &[u8]) = match &self.merge {
            Merge::Values => (&self.pieces, END),
            Merge::AllOk(reply) => (&[], reply),
        };
        pieces.iter().map(Piece::bytes).chain(std::iter::once(tail))
    }
}
