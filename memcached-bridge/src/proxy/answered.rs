//! Replies of servers, on to whom they are for.

use super::backend::{BackendId, HeldUp, Role};
use super::client::{Flow, Transmit};
use super::counters::Outcome;
use super::failure::Failure;
use super::in_flight::{InFlight, Owner, Writes};
use super::quiet::{Quiet, loud_opcode};
use super::route::Arrived;
use super::{Action, MAX_HELD_REPLIES, Proxy};
use crate::coherence::Ended;
use crate::protocol::Protocol;
use crate::protocol::binary::{HEADER_LEN, Header};
use crate::protocol::delimit::{Garbled, Kind, Piece, Shape};

/// What memcached says to a connection beyond its limit, whatever it asks, before it closes it.
const TOO_MANY_CONNECTIONS: &[u8] = b"ERROR Too many open connections\r\n";

impl Proxy {
    /// Whether to read from the server now; if not, not before [`Action::ReadBackend`].
    pub fn backend_wants(&self, id: BackendId) -> bool {
        self.backends.get(id).is_some_and(|backend| backend.held_up.is_none())
    }

    /// `bytes` came from the server.
    pub fn backend_received(
        &mut self,
        id: BackendId,
        bytes: &[u8],
        now: fabric::time::Nanos,
        sink: &mut dyn Transmit,
    ) {
        self.now = now;
        let Some(backend) = self.backends.get_mut(id) else { return };
        backend.progress = now;
        let pool = usize::from(backend.server.pool);
        self.pools[pool].counters.bytes_from_servers += bytes.len() as u64;
        self.read_replies(id, bytes, sink);
        self.settle(sink);
    }

    /// Reads from a connection again that was held up.
    pub(super) fn go_on_reading(&mut self, id: BackendId, sink: &mut dyn Transmit) {
        if self.early == Some(id) {
            self.early = None;
        }
        let Some(backend) = self.backends.get_mut(id) else { return };
        if backend.held_up.take().is_none() {
            return;
        }
        backend.progress = self.now;
        self.read_replies(id, &[], sink);
        if self.backend_wants(id) {
            self.commons.actions.push_back(Action::ReadBackend(id));
        }
    }

    /// Reads what was kept of the connection's input, and `bytes` behind it.
    fn read_replies(&mut self, id: BackendId, bytes: &[u8], sink: &mut dyn Transmit) {
        let Some(backend) = self.backends.get_mut(id) else { return };
        let mut at = 0;
        if !backend.input.is_empty() {
            let protocol = backend.protocol;
            let mut kept = std::mem::take(&mut backend.input);
            loop {
                let done = self.read_pieces(id, &kept, sink);
                kept.drain(..done);
                if kept.is_empty() || at == bytes.len() || !self.backend_wants(id) {
                    break;
                }
                // What is kept is the beginning of a line or a header: its end is all that is missing.
                let rest = &bytes[at..];
                let missing = match protocol {
                    Protocol::Text => rest.iter().position(|&byte| byte == b'\n').map(|end| end + 1),
                    Protocol::Binary => HEADER_LEN.checked_sub(kept.len()),
                };
                let missing = missing.unwrap_or(rest.len()).clamp(1, rest.len());
                kept.extend_from_slice(&rest[..missing]);
                at += missing;
            }
            let Some(backend) = self.backends.get_mut(id) else { return };
            backend.input = kept;
            if !backend.input.is_empty() {
                backend.input.extend_from_slice(&bytes[at..]);
                return;
            }
        }
        at += self.read_pieces(id, &bytes[at..], sink);
        if let Some(backend) = self.backends.get_mut(id) {
            self.commons.spares.append(&mut backend.input, &bytes[at..]);
        }
    }

    /// Reads pieces of replies from the front of `input`. Returns how many of its bytes are done with.
    fn read_pieces(&mut self, id: BackendId, input: &[u8], sink: &mut dyn Transmit) -> usize {
        let mut at = 0;
        loop {
            let rest = &input[at..];
            let Some(backend) = self.backends.get_mut(id) else { return input.len() };
            if rest.is_empty() || backend.held_up.is_some() {
                return at;
            }
            let Some(front) = backend.in_flight.front().copied() else {
                self.garbled(id, sink);
                return input.len();
            };
            match backend.delimiter.next(front.shape, rest) {
                Ok(Some(piece)) => {
                    let piece = with_end(piece, &front, rest);
                    self.arrived(id, front, &piece, &rest[..piece.len], sink);
                    at += piece.len;
                }
                Ok(None) => return at,
                Err(Garbled) => {
                    self.garbled(id, sink);
                    return input.len();
                }
            }
        }
    }

    fn garbled(&mut self, id: BackendId, sink: &mut dyn Transmit) {
        if let Some(backend) = self.backends.get(id) {
            self.pools[usize::from(backend.server.pool)].counters.replies_garbled += 1;
        }
        self.lose(id, Failure::Garbled, sink);
    }

    /// A piece of the reply to the foremost request of a connection.
    fn arrived(
        &mut self,
        id: BackendId,
        front: InFlight,
        piece: &Piece,
        bytes: &[u8],
        sink: &mut dyn Transmit,
    ) {
        let mut front = front;
        let begins = !front.begun;
        if begins && bytes == TOO_MANY_CONNECTIONS {
            return self.lose(id, Failure::Unreachable, sink);
        }
        if begins {
            self.reply_begins(id, &mut front, piece, bytes);
        }
        if piece.last {
            self.reply_ends(id, &front);
        }
        if let Owner::Attempt(attempt) = front.owner {
            match self.attempt_arrived(attempt, &front, begins, piece, bytes) {
                Arrived::Passes(owner) => front.owner = owner,
                Arrived::Kept if piece.last => return self.attempt_goes_on(attempt, sink),
                Arrived::Kept => return,
            }
        }
        let mut bytes = bytes;
        if begins && let Some((header, rest)) = renamed(&front, bytes) {
            let head = Piece { len: header.len(), last: piece.last && rest.is_empty(), ..*piece };
            self.pass_on(id, &front, &head, &header, sink);
            bytes = rest;
            if rest.is_empty() {
                return;
            }
        }
        let flow = self.pass_on(id, &front, piece, bytes, sink);
        self.heed(id, &front, flow);
    }

    /// Passes a whole reply on that was kept until now.
    pub(super) fn pass_on_kept(
        &mut self,
        front: &InFlight,
        kind: Kind,
        bytes: &[u8],
        sink: &mut dyn Transmit,
    ) {
        let piece = Piece { len: bytes.len(), kind, within_item: false, last: true };
        self.pass_on(BackendId::default(), front, &piece, bytes, sink);
    }

    /// The first piece: the server has carried the request out.
    fn reply_begins(&mut self, id: BackendId, front: &mut InFlight, piece: &Piece, bytes: &[u8]) {
        let Some(backend) = self.backends.get_mut(id) else { return };
        front.begun = true;
        front.hidden = front.quiet != Quiet::No && front.quiet.hides(bytes);
        let (begun, hidden) = (front.begun, front.hidden);
        if let Some(entry) = backend.in_flight.front_mut() {
            (entry.begun, entry.hidden) = (begun, hidden);
        }
        let (server, pool) = (backend.server, usize::from(backend.server.pool));
        if let Some(writes) = front.writes {
            self.end_writes(pool, writes);
        }
        if matches!(front.owner, Owner::Client { .. } | Owner::Part(_) | Owner::Attempt(_)) {
            let outcome = outcome(front, piece, bytes);
            self.pools[pool].view.requests.count(front.verb, outcome);
            self.trace_reply(server, front, outcome);
        }
    }

    pub(super) fn end_writes(&mut self, pool: usize, writes: Writes) {
        let shared = &self.pools[pool].shared;
        for number in writes.first..writes.first + u64::from(writes.count) {
            let id = shared.write_id(self.thread, number);
            if shared.coherence().end_write(id) == Ended::Unknown {
                shared.coherence().bump_pool();
            }
        }
    }

    /// The last piece: the connection is free for the next reply.
    fn reply_ends(&mut self, id: BackendId, front: &InFlight) {
        let Some(backend) = self.backends.get_mut(id) else { return };
        self.in_flight -= usize::from(backend.in_flight.pop_front().is_some());
        backend.outgoing.answered(front.end);
        let (pool, server) = (usize::from(backend.server.pool), usize::from(backend.server.server));
        let idle = backend.in_flight.is_empty();
        let (role, uploading) = (backend.role, backend.uploader.is_some());
        let asked = backend.server;
        self.trace_reply_end(asked, front);
        let part = &mut self.pools[pool];
        if role != Role::Spent {
            part.servers[server].failures = 0;
            part.view.requests.took(self.now.since(front.sent));
        }
        match role {
            Role::Upload if idle && !uploading => self.upload_is_idle(id),
            Role::Spent if idle => _ = self.close_backend(id),
            _ => self.give_room(id),
        }
    }

    fn pass_on(
        &mut self,
        id: BackendId,
        front: &InFlight,
        piece: &Piece,
        bytes: &[u8],
        sink: &mut dyn Transmit,
    ) -> Flow {
        match front.owner {
            Owner::Client { client, place } => {
                let Some(to) = self.clients.get_mut(client) else { return Flow::Gone };
                let silent = front.hidden || front.shape == Shape::MetaThenNoop && piece.kind == Kind::End;
                let bytes = if silent { &[][..] } else { bytes };
                to.deliver(client, place, &[bytes], piece.last, &mut self.commons, sink)
            }
            Owner::Part(part) => {
                let client = self.gathers.get(part.gather).map(|gather| gather.client);
                let client = client.and_then(|client| self.clients.get_mut(client));
                self.gathers.arrived(part, piece, bytes, client, &mut self.commons, sink)
            }
            Owner::Fill => {
                self.fill_arrived(id, piece, bytes);
                Flow::Go
            }
            Owner::Probe => {
                self.probe_answered(id);
                Flow::Go
            }
            Owner::Attempt(_) | Owner::Nobody => Flow::Go,
        }
    }

    /// Stops reading from a connection if the client of its reply has as much of it as it may.
    fn heed(&mut self, id: BackendId, front: &InFlight, flow: Flow) {
        let (client, place) = match front.owner {
            Owner::Client { client, place } => (client, place),
            Owner::Part(part) => match self.gathers.get(part.gather) {
                Some(gather) => (gather.client, gather.place),
                None => return,
            },
            _ => return,
        };
        if flow == Flow::EarlyAndMuch && self.early.is_some_and(|early| early != id) {
            if self.commons.held > MAX_HELD_REPLIES {
                self.cut_for(client, |counters| &mut counters.cut_held_replies);
            }
            return;
        }
        let Some(backend) = self.backends.get_mut(id) else { return };
        let early = match flow {
            Flow::Go | Flow::Gone => return,
            Flow::Full => false,
            Flow::EarlyAndMuch | Flow::BehindAnItem => true,
        };
        backend.held_up = Some(HeldUp { by: client, since: self.now, early });
        self.pools[usize::from(backend.server.pool)].counters.waits_for_clients += 1;
        match (flow, front.owner) {
            (Flow::BehindAnItem, Owner::Part(part)) => self.gathers.hold_up(part.gather, id),
            _ => {
                if early {
                    self.early = Some(id);
                }
                if let Some(client) = self.clients.get_mut(client) {
                    client.holding_up.push((id, place));
                }
            }
        }
    }

    /// Closes a client's connection and counts why.
    pub(super) fn cut_for(
        &mut self,
        client: super::ClientId,
        counter: impl FnOnce(&mut super::ProxyCounters) -> &mut u64,
    ) {
        let Some(pool) = self.clients.get(client).map(|client| usize::from(client.pool)) else { return };
        *counter(&mut self.pools[pool].counters) += 1;
        self.cut(client);
    }
}

/// A whole reply to a get of one server is one piece.
#[inline]
fn with_end(piece: Piece, front: &InFlight, input: &[u8]) -> Piece {
    const END: &[u8] = b"END\r\n";
    let whole_item = piece.kind == Kind::Item && front.shape == Shape::Items && !piece.within_item;
    let to_client = matches!(front.owner, Owner::Client { .. });
    if whole_item && to_client && input[piece.len..].starts_with(END) {
        return Piece { len: piece.len + END.len(), last: true, ..piece };
    }
    piece
}

/// The header of a binary reply with the opcode that the client sent, if it is not the one that the server got, and what
/// is behind it.
pub(super) fn renamed<'b>(front: &InFlight, bytes: &'b [u8]) -> Option<([u8; HEADER_LEN], &'b [u8])> {
    let tag = front.tag.filter(|tag| loud_opcode(tag.opcode) != tag.opcode)?;
    let (header, rest) = bytes.split_first_chunk::<HEADER_LEN>()?;
    let mut header = *header;
    header[1] = tag.opcode;
    Some((header, rest))
}

/// What a reply that begins so says.
fn outcome(front: &InFlight, piece: &Piece, bytes: &[u8]) -> Outcome {
    if front.tag.is_some() {
        let status = Header::parse(bytes).map_or(u16::MAX, |header| header.status);
        return match status {
            0 => Outcome::Done,
            1 | 2 | 5 => Outcome::Unmet,
            3 | 4 | 6 | 0x20 | 0x21 | 0x81 => Outcome::ClientError,
            _ => Outcome::ServerError,
        };
    }
    match bytes {
        _ if piece.kind == Kind::Item => Outcome::Done,
        _ if piece.kind == Kind::End && front.shape == Shape::Items => Outcome::Unmet,
        [b'E', b'N' | b'X', ..] | [b'N', ..] => Outcome::Unmet,
        [b'E', ..] | [b'C', ..] => Outcome::ClientError,
        [b'S', b'E', ..] => Outcome::ServerError,
        _ => Outcome::Done,
    }
}
