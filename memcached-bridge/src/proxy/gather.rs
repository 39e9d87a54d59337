//! One reply out of several servers' parts.
//!
//! Items go on to the client as they come, from whichever server: the protocol does not order them. Only while an item
//! of one server is under way are those of the others held.

use std::borrow::Cow;

use slotmap::SlotMap;

use super::Outcome;
use super::backend::BackendId;
use super::client::{Client, ClientId, Commons, Flow, Transmit};
use super::in_flight::Place;
use super::quiet::Quiet;
use super::route::Acknowledged;
use crate::protocol::delimit::{Kind, Piece};

slotmap::new_key_type! {
    /// A reply that is being put together.
    pub(super) struct GatherId;
}

/// One part of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PartId {
    pub(super) gather: GatherId,
    pub(super) part: u16,
}

/// How parts become one reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Merge {
    /// Items of all, then `END`.
    Items,
    /// This, if all parts say that it was done; else what the first said that did not.
    Done { reply: Vec<u8>, quiet: Quiet },
    /// One of the replies, as soon as enough copies have acknowledged a write.
    Acks(Acknowledged),
    /// Lists of numbers, added up.
    Statistics(super::stats::Listing),
}

#[derive(Debug, Default)]
struct Part {
    /// What came while another part's item was under way.
    held: Vec<u8>,
    /// How much of it is whole items.
    whole: usize,
    within_item: bool,
}

#[derive(Debug)]
pub(super) struct Gather {
    pub(super) client: ClientId,
    pub(super) place: Place,
    merge: Merge,
    waiting: usize,
    /// The part whose item is under way to the client.
    current: Option<u16>,
    parts: Vec<Part>,
    /// What is said at the end if not all went well, and which part said so.
    failure: Option<(u16, Vec<u8>)>,
    /// Connections that are not read while another part's item is under way.
    holding_up: Vec<BackendId>,
}

/// The part of what no server was asked.
const NO_PART: u16 = u16::MAX;

#[derive(Debug, Default)]
pub(super) struct Gathers {
    table: SlotMap<GatherId, Gather>,
    /// Lists of parts that are not in use, for their memory.
    spare: Vec<Vec<Part>>,
}

/// Lists of parts that are kept.
const MAX_SPARE: usize = 64;

impl Gathers {
    /// A reply of `parts` parts, of which one more has failed if there is a `failure`.
    pub(super) fn begin(
        &mut self,
        client: ClientId,
        place: Place,
        merge: Merge,
        parts: usize,
        failure: Option<Vec<u8>>,
    ) -> GatherId {
        let waiting = parts;
        let mut parts = self.spare.pop().unwrap_or_default();
        parts.resize_with(waiting, Part::default);
        let failure = failure.map(|failure| (NO_PART, failure));
        let (current, holding_up) = (None, Vec::new());
        self.table.insert(Gather { client, place, merge, waiting, current, parts, failure, holding_up })
    }

    pub(super) fn get(&self, id: GatherId) -> Option<&Gather> {
        self.table.get(id)
    }

    /// `backend` is not read until the item that is under way has ended.
    pub(super) fn hold_up(&mut self, id: GatherId, backend: BackendId) {
        if let Some(gather) = self.table.get_mut(id) {
            gather.holding_up.push(backend);
        }
    }

    /// Waits for so many parts more. Returns the first of them, and the client of the reply.
    pub(super) fn grow(&mut self, id: GatherId, more: usize) -> Option<(u16, ClientId)> {
        let gather = self.table.get_mut(id)?;
        let first = u16::try_from(gather.parts.len()).ok()?;
        gather.waiting += more;
        gather.parts.resize_with(usize::from(first) + more, Part::default);
        Some((first, gather.client))
    }

    /// A piece of one part.
    pub(super) fn arrived(
        &mut self,
        PartId { gather: id, part }: PartId,
        piece: &Piece,
        bytes: &[u8],
        client: Option<&mut Client>,
        commons: &mut Commons,
        sink: &mut dyn Transmit,
    ) -> Flow {
        let Some(gather) = self.table.get_mut(id) else { return Flow::Gone };
        let Some(client) = client else {
            self.forget(id, commons);
            return Flow::Gone;
        };
        let mut flow = match (&mut gather.merge, piece.kind) {
            (Merge::Items, Kind::Item) => gather.item(part, piece.within_item, bytes, client, commons, sink),
            (Merge::Items, Kind::End) => Flow::Go,
            (Merge::Statistics(listing), _) => {
                listing.add(part, bytes);
                Flow::Go
            }
            (Merge::Acks(acks), _) => {
                acks.add(part, bytes, piece.last);
                Flow::Go
            }
            (Merge::Done { reply, .. }, _) if says_done(reply, bytes) => Flow::Go,
            (_, _) => {
                let (first, said) = gather.failure.get_or_insert((part, Vec::new()));
                if *first == part {
                    said.extend_from_slice(bytes);
                }
                Flow::Go
            }
        };
        if piece.last {
            flow = self.part_done(id, client, commons, sink);
        }
        flow
    }

    /// A part will not come, or not the rest of it. `Err` if the client has a part of an item that nobody has the rest of.
    pub(super) fn failed(
        &mut self,
        PartId { gather: id, part }: PartId,
        failure: Vec<u8>,
        client: Option<&mut Client>,
        commons: &mut Commons,
        sink: &mut dyn Transmit,
    ) -> Result<(), HalfItem> {
        let Some(gather) = self.table.get_mut(id) else { return Ok(()) };
        let Some(client) = client else {
            self.forget(id, commons);
            return Ok(());
        };
        if gather.current == Some(part) {
            self.forget(id, commons);
            return Err(HalfItem);
        }
        let left = &mut gather.parts[usize::from(part)];
        commons.held -= left.held.len() - left.whole;
        left.held.truncate(left.whole);
        left.within_item = false;
        gather.failure.get_or_insert((NO_PART, failure));
        self.part_done(id, client, commons, sink);
        Ok(())
    }

    fn part_done(
        &mut self,
        id: GatherId,
        client: &mut Client,
        commons: &mut Commons,
        sink: &mut dyn Transmit,
    ) -> Flow {
        let Some(gather) = self.table.get_mut(id) else { return Flow::Gone };
        gather.waiting -= 1;
        let is_settled = match &gather.merge {
            Merge::Acks(acks) => acks.is_settled(gather.waiting),
            _ => gather.waiting == 0,
        };
        if !is_settled {
            return Flow::Go;
        }
        let Some(gather) = self.table.remove(id) else { return Flow::Gone };
        if let Merge::Acks(acks) = &gather.merge
            && !acks.is_enough()
        {
            commons.tracer.failed(gather.client, gather.place, Outcome::Unavailable);
        }
        let failure = gather.failure.map(|(_, said)| said);
        let last: Cow<'static, [u8]> = match (failure, gather.merge) {
            (said, Merge::Done { reply, quiet }) => {
                let said = said.unwrap_or(reply);
                if quiet.hides(&said) { Cow::Borrowed(b"") } else { said.into() }
            }
            (failure, Merge::Acks(acks)) => acks.reply(failure).into(),
            (Some(failure), _) => failure.into(),
            (None, Merge::Items) => Cow::Borrowed(b"END\r\n"),
            (None, Merge::Statistics(listing)) => listing.merged().into(),
        };
        let mut parts = gather.parts;
        if self.spare.len() < MAX_SPARE {
            parts.clear();
            self.spare.push(parts);
        }
        client.deliver(gather.client, gather.place, &[&last], true, commons, sink)
    }

    fn forget(&mut self, id: GatherId, commons: &mut Commons) {
        if let Some(gather) = self.table.remove(id) {
            commons.held -= gather.parts.iter().map(|part| part.held.len()).sum::<usize>();
            commons.released.extend(gather.holding_up);
        }
    }
}

/// The client was given the beginning of an item whose end is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HalfItem;

impl Gather {
    /// It is a write's to copies: not each of them has to answer.
    pub(super) fn needs_acks(&self) -> bool {
        matches!(self.merge, Merge::Acks(_))
    }

    fn item(
        &mut self,
        part: u16,
        within_item: bool,
        bytes: &[u8],
        client: &mut Client,
        commons: &mut Commons,
        sink: &mut dyn Transmit,
    ) -> Flow {
        if self.current.is_some_and(|current| current != part) {
            let waiting = &mut self.parts[usize::from(part)];
            commons.held += bytes.len();
            waiting.held.extend_from_slice(bytes);
            waiting.within_item = within_item;
            if !within_item {
                waiting.whole = waiting.held.len();
            }
            let much = waiting.held.len() >= super::MAX_UNSENT;
            return if much { Flow::BehindAnItem } else { Flow::Go };
        }
        let mut flow = client.deliver(self.client, self.place, &[bytes], false, commons, sink);
        self.current = within_item.then_some(part);
        if self.current.is_some() {
            return flow;
        }
        commons.released.append(&mut self.holding_up);
        for (index, part) in (0u16..).zip(&mut self.parts).filter(|(_, part)| !part.held.is_empty()) {
            commons.held -= part.held.len();
            flow = client.deliver(self.client, self.place, &[&part.held], false, commons, sink);
            part.held = Vec::new();
            part.whole = 0;
            if part.within_item {
                self.current = Some(index);
                break;
            }
        }
        flow
    }
}

/// Whether a part says what `done` says: the same line or, in binary, status 0.
fn says_done(done: &[u8], part: &[u8]) -> bool {
    match crate::protocol::binary::Header::parse(part) {
        Some(header) if header.magic == crate::protocol::binary::MAGIC_RESPONSE => header.status == 0,
        _ => done == part,
    }
}
