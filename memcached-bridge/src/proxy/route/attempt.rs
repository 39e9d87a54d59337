//! Requests that may be asked elsewhere: the pools of a destination in turn, until one answers.
//!
//! An attempt keeps a copy of its request until it is answered, so that it can be asked again wherever it is to be asked
//! next. Its pools are those that hold copies of its key and then those to fail over to. A pool whose server of the key is
//! known to be down is not asked while there is another one.
//!
//! What leads on is that a server cannot be reached, does not answer in time, or ends its connection before the reply has
//! begun. Whatever a server answers is an answer; only a miss leads on, where that is configured.

use super::Destination;
use super::form::{self, Effect};
use super::warm::Step;
use crate::protocol::delimit::{Kind, Piece, Shape};
use crate::protocol::{Class, Head, Protocol, Request};
use crate::proxy::Proxy;
use crate::proxy::answered::renamed;
use crate::proxy::backend::BackendId;
use crate::proxy::client::{ClientId, Transmit};
use crate::proxy::failure::Failure;
use crate::proxy::in_flight::{InFlight, Owner};
use crate::proxy::keyed::{push_head, shape};
use crate::proxy::quiet::{self, Quiet};
use crate::proxy::request::Asked;

slotmap::new_key_type! {
    /// A request that may be asked elsewhere.
    pub(in crate::proxy) struct AttemptId;
}

/// A destination of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) struct DestinationId {
    pub(super) route: u16,
    pub(super) index: u16,
}

/// A request that may be asked elsewhere.
#[derive(Debug)]
pub(in crate::proxy) struct Attempt {
    /// Whom the reply is for: a client, or a part of a reply to one.
    pub(super) to: Owner,
    pub(super) client: ClientId,
    pub(super) destination: DestinationId,
    /// Which of the destination's pools is asked.
    pub(super) at: usize,
    pub(super) lane: u8,
    pub(super) protocol: Protocol,
    /// The request as it is sent.
    pub(super) bytes: Vec<u8>,
    /// What is known of it, wherever it is sent.
    pub(super) like: InFlight,
    /// The reply that is being read leads on; it is kept for the case that nothing better comes.
    pub(super) leads_on: bool,
    /// If it is done, other copies follow.
    pub(super) decides: bool,
    pub(super) reply: Vec<u8>,
    pub(super) step: Step,
}

/// What a reply's piece is to an attempt.
pub(in crate::proxy) enum Arrived {
    /// It is for this owner.
    Passes(Owner),
    /// It was kept; with the last piece the attempt [goes on](Proxy::attempt_goes_on).
    Kept,
}

impl Attempt {
    /// The reply that was kept, as its client is to get it.
    pub(super) fn reply_as_asked(&self) -> Vec<u8> {
        let reply = &self.reply[..];
        let reply = match self.like.shape {
            Shape::MetaThenNoop => reply.strip_suffix(b"MN\r\n").unwrap_or(reply),
            _ => reply,
        };
        match renamed(&self.like, reply) {
            Some((header, rest)) => [&header[..], rest].concat(),
            None => reply.to_vec(),
        }
    }
}

impl Destination {
    /// The pools that are asked in turn.
    pub(super) fn chain(&self) -> impl Iterator<Item = u16> + '_ {
        self.copies().chain(self.failover.iter().copied())
    }

    pub(super) fn chain_pool(&self, at: usize) -> Option<u16> {
        self.chain().nth(at)
    }
}

impl Proxy {
    pub(in crate::proxy) fn destination(&self, id: DestinationId) -> &Destination {
        &self.routes[usize::from(id.route)].shared.destinations[usize::from(id.index)]
    }

    pub(super) fn route_counters(&mut self, id: DestinationId) -> &mut super::RouteCounters {
        &mut self.routes[usize::from(id.route)].counters
    }

    /// Whether the server of `key` in `pool` is known to be down.
    pub(super) fn is_down(&self, pool: u16, key: &[u8]) -> bool {
        let part = &self.pools[usize::from(pool)];
        let server = usize::from(part.ring.locate(key).0);
        !part.shared.members().is_alive(server) || self.now < part.servers[server].retry_at
    }

    /// Which of the destination's pools is to be asked first for `key`: the first if all are down.
    pub(in crate::proxy) fn first_up(&self, id: DestinationId, key: &[u8]) -> usize {
        self.destination(id).chain().position(|pool| !self.is_down(pool, key)).unwrap_or(0)
    }

    /// An attempt to have `asked` answered. It is not sent yet.
    pub(in crate::proxy) fn attempt(
        &mut self,
        asked: &Asked<'_>,
        destination: DestinationId,
        to: Owner,
    ) -> AttemptId {
        let request = &asked.request;
        let mut like = InFlight::new(Owner::Nobody, request.verb, shape(request), self.now);
        (like.quiet, like.tag) = (Quiet::of(request), asked.tag());
        like.repeatable = request.class() == Class::Read;
        let mut bytes = self.commons.spares.take();
        if request.quiet && quiet::needs_noop(request) {
            (like.shape, like.quiet) = (Shape::MetaThenNoop, Quiet::No);
            bytes.extend_from_slice(asked.head);
            bytes.extend_from_slice(asked.block);
            bytes.extend_from_slice(b"mn\r\n");
        } else {
            push_head(&mut bytes, asked);
            bytes.extend_from_slice(asked.block);
        }
        self.attempt_of(asked, destination, to, bytes, like)
    }

    /// The same with `bytes` in place of the request's own.
    pub(in crate::proxy) fn attempt_of(
        &mut self,
        asked: &Asked<'_>,
        destination: DestinationId,
        to: Owner,
        bytes: Vec<u8>,
        like: InFlight,
    ) -> AttemptId {
        let lane = self.clients[asked.client].lane;
        let (client, protocol) = (asked.client, asked.protocol());
        let (at, leads_on, reply, step) = (0, false, Vec::new(), Step::Ask);
        let decides = self.has_legs(destination) && Effect::of(&asked.request) == Effect::Decides;
        let attempt = Attempt {
            to,
            client,
            destination,
            at,
            lane,
            protocol,
            bytes,
            like,
            leads_on,
            decides,
            reply,
            step,
        };
        self.attempts.insert(attempt)
    }

    /// Whose the attempt's reply is.
    pub(in crate::proxy) fn attempt_owner(&self, id: AttemptId) -> Option<Owner> {
        self.attempts.get(id).map(|attempt| attempt.to)
    }

    /// The client that waits for the attempt's reply.
    pub(in crate::proxy) fn attempt_client(&self, id: AttemptId) -> Option<ClientId> {
        self.attempts.get(id).map(|attempt| attempt.client)
    }

    /// Asks the destination's pools in turn until one can be: from the one at `from` on, or from the first that is not known
    /// to be down. Returns which it was; if there is none the attempt is left as it was.
    pub(in crate::proxy) fn ask_from(
        &mut self,
        id: AttemptId,
        from: Option<usize>,
    ) -> Result<usize, Failure> {
        let Some(attempt) = self.attempts.get_mut(id) else { return Err(Failure::Unreachable) };
        let bytes = std::mem::take(&mut attempt.bytes);
        let asked = self.ask_in_turn(id, &bytes, from);
        if let Some(attempt) = self.attempts.get_mut(id) {
            attempt.bytes = bytes;
            attempt.at = asked.unwrap_or(attempt.at);
        }
        asked
    }

    fn ask_in_turn(&mut self, id: AttemptId, bytes: &[u8], from: Option<usize>) -> Result<usize, Failure> {
        let Some(attempt) = self.attempts.get(id) else { return Err(Failure::Unreachable) };
        let &Attempt { destination, lane, protocol, like, .. } = attempt;
        let Head::Complete { request, consumed, .. } = protocol.parse_head(bytes) else {
            return Err(Failure::Unreachable);
        };
        let Some(key) = request.key() else { return Err(Failure::Unreachable) };
        let first = from.unwrap_or_else(|| self.first_up(destination, &key));
        let mut why = Failure::Unreachable;
        for at in first.. {
            let Some(pool) = self.destination(destination).chain_pool(at) else { break };
            // The first is asked even if all are down: somebody has to find out that it is back.
            if (at > first || from.is_some()) && self.is_down(pool, &key) {
                continue;
            }
            let to = Leg { pool, lane, protocol, at };
            let parts = bytes.split_at(consumed);
            match self.post_leg(to, destination, Owner::Attempt(id), &request, &key, parts, like) {
                Ok(_) => return Ok(at),
                Err(failure) => why = failure,
            }
        }
        Err(why)
    }

    /// Sends a request for `key` to its server in a pool.
    #[expect(clippy::too_many_arguments, reason = "a request, where it goes, and whose it is")]
    pub(super) fn post_leg(
        &mut self,
        to: Leg,
        destination: DestinationId,
        owner: Owner,
        request: &Request<'_>,
        key: &[u8],
        (head, rest): (&[u8], &[u8]),
        like: InFlight,
    ) -> Result<BackendId, Failure> {
        let home = self.home_in(to.pool, to.lane);
        let server = self.pools[home.index()].ring.locate(key);
        let backend = self.lane(home, server, to.protocol)?;
        let writes = self.begin_write(home.index(), request, key)?;
        let lowered = self.short_lived(destination, to.at, request, head);
        if let Some(backend) = self.backends.get_mut(backend) {
            let out = backend.outgoing.tail();
            out.extend_from_slice(lowered.as_deref().unwrap_or(head));
            out.extend_from_slice(rest);
        }
        self.post(backend, InFlight { owner, writes, sent: self.now, ..like });
        Ok(backend)
    }

    /// The head of `request` with a shorter life for its item, if it goes to a pool that is failed over to.
    pub(in crate::proxy) fn short_lived(
        &self,
        id: DestinationId,
        at: usize,
        request: &Request<'_>,
        head: &[u8],
    ) -> Option<Vec<u8>> {
        let ttl = self.destination(id).failover_ttl.filter(|_| at > self.destination(id).replicas.len())?;
        ttl.lower(request, head, self.routes[usize::from(id.route)].shared.door().limits.unix(self.now))
    }

    /// A piece of the reply to an attempt has come.
    pub(in crate::proxy) fn attempt_arrived(
        &mut self,
        id: AttemptId,
        front: &InFlight,
        begins: bool,
        piece: &Piece,
        bytes: &[u8],
    ) -> Arrived {
        let Some(attempt) = self.attempts.get_mut(id) else { return Arrived::Passes(Owner::Nobody) };
        if attempt.step.keep(bytes) {
            return Arrived::Kept;
        }
        let Some(attempt) = self.attempts.get(id) else { return Arrived::Passes(Owner::Nobody) };
        let leads_on = if begins { self.leads_on(attempt, front, piece, bytes) } else { attempt.leads_on };
        let Some(attempt) = self.attempts.get_mut(id) else { return Arrived::Passes(Owner::Nobody) };
        attempt.leads_on = leads_on;
        if leads_on {
            if begins {
                attempt.reply.clear();
            }
            attempt.reply.extend_from_slice(bytes);
            return Arrived::Kept;
        }
        let to = attempt.to;
        if piece.last {
            self.forget_attempt(id);
        }
        Arrived::Passes(to)
    }

    /// Whether a reply that begins so is not the last word.
    fn leads_on(&self, attempt: &Attempt, front: &InFlight, piece: &Piece, bytes: &[u8]) -> bool {
        if attempt.decides && form::is_done(attempt.protocol == Protocol::Binary, bytes) {
            return true;
        }
        let destination = self.destination(attempt.destination);
        if destination.warm_from.is_some() {
            return matches!(attempt.step, Step::Ask) && form::is_unmet(front, piece, bytes);
        }
        destination.failover_on_miss
            && attempt.like.repeatable
            && destination.chain_pool(attempt.at + 1).is_some()
            && form::is_miss(front, piece, bytes)
    }

    /// The reply that led on is all there.
    pub(in crate::proxy) fn attempt_goes_on(&mut self, id: AttemptId, sink: &mut dyn Transmit) {
        let Some(attempt) = self.attempts.get(id) else { return };
        if attempt.step.is_for_the_node() {
            return self.warming_goes_on(id, sink);
        }
        if attempt.decides && form::is_done(attempt.protocol == Protocol::Binary, &attempt.reply) {
            return self.follow(id, sink);
        }
        if self.destination(attempt.destination).warm_from.is_some() {
            if !self.fetch(id) {
                self.settle_for_kept(id, sink);
            }
            return;
        }
        let (next, destination) = (attempt.at + 1, attempt.destination);
        match self.ask_from(id, Some(next)) {
            Ok(_) => self.route_counters(destination).missed_over += 1,
            Err(_) => self.settle_for_kept(id, sink),
        }
    }

    /// The reply that was kept is the answer after all.
    pub(super) fn settle_for_kept(&mut self, id: AttemptId, sink: &mut dyn Transmit) {
        let Some(attempt) = self.forget_attempt(id) else { return };
        let bytes = attempt.reply_as_asked();
        let kind = if attempt.like.shape == Shape::Items { Kind::End } else { Kind::Status };
        let hidden = attempt.like.quiet != Quiet::No && attempt.like.quiet.hides(&bytes);
        let front = InFlight { owner: attempt.to, hidden, begun: true, ..attempt.like };
        self.pass_on_kept(&front, kind, &bytes, sink);
        self.commons.spares.put(bytes);
    }

    /// A server will not answer an attempt. Returns whether it is asked elsewhere; if not, the failure is for its owner.
    pub(in crate::proxy) fn attempt_failed(
        &mut self,
        id: AttemptId,
        entry: &InFlight,
        failure: Failure,
        sink: &mut dyn Transmit,
    ) -> Result<(), Owner> {
        let Some(attempt) = self.attempts.get(id) else { return Ok(()) };
        let (to, client, next, destination) =
            (attempt.to, attempt.client, attempt.at + 1, attempt.destination);
        let nobody_waits = !self.clients.contains_key(client);
        if attempt.step.is_for_the_node() {
            self.warming_failed(id, sink);
            return Ok(());
        }
        // What may have been done is not done twice: the next copy would pass it on to this one.
        let may_be_done = attempt.decides && failure != Failure::Unreachable;
        let begun = entry.begun && !attempt.leads_on;
        if nobody_waits || begun || may_be_done {
            self.forget_attempt(id);
            return if nobody_waits { Ok(()) } else { Err(to) };
        }
        if self.ask_from(id, Some(next)).is_ok() {
            self.route_counters(destination).failed_over += 1;
            return Ok(());
        }
        self.route_counters(destination).out_of_pools += 1;
        let has_kept = self.attempts.get(id).is_some_and(|attempt| !attempt.reply.is_empty());
        if has_kept {
            // A miss that was not believed is still an answer.
            self.settle_for_kept(id, sink);
            return Ok(());
        }
        self.forget_attempt(id);
        Err(to)
    }

    pub(in crate::proxy) fn forget_attempt(&mut self, id: AttemptId) -> Option<Attempt> {
        let mut attempt = self.attempts.remove(id)?;
        self.commons.spares.put(std::mem::take(&mut attempt.bytes));
        Some(attempt)
    }
}

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leg {
    pub(super) pool: u16,
    pub(super) lane: u8,
    pub(super) protocol: Protocol,
    /// Which of its destination's pools it is.
    pub(super) at: usize,
}
