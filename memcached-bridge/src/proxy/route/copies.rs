//! Writes to all copies of a key.
//!
//! What does the same whatever a copy has (`set`, `delete`) goes to all at once. Everything else is decided by one copy, the
//! first that is up, which is also the one that reads are answered by: only there does a CAS unique mean what its client
//! saw. If it was done there, the others get it without its condition. So copies agree again however they differed.

use super::Home;
use super::acks::Acknowledged;
use super::attempt::{AttemptId, DestinationId, Leg};
use super::form::{self, Effect};
use crate::protocol::delimit::Shape;
use crate::protocol::{Dialect, Head, MetaFlags, Protocol, Request, Verb};
use crate::proxy::Proxy;
use crate::proxy::backend::BackendId;
use crate::proxy::client::Transmit;
use crate::proxy::failure::Failure;
use crate::proxy::gather::{Merge, PartId};
use crate::proxy::in_flight::{InFlight, Owner, Place, Writes};
use crate::proxy::keyed::{push_head, shape};
use crate::proxy::quiet::Quiet;
use crate::proxy::request::{Asked, Taken};

/// What a copy is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The request.
    Same,
    /// A delete of its key, whatever the request is.
    Delete,
}

/// A copy that is up.
pub(super) struct Copy {
    pool: u16,
    what: What,
    backend: BackendId,
    writes: Option<Writes>,
}

impl Proxy {
    /// Sends `asked`, which does the same everywhere, to all copies of its key.
    pub(super) fn write_copies(
        &mut self,
        asked: Asked<'_>,
        key: &[u8],
        id: DestinationId,
        sink: &mut dyn Transmit,
    ) -> Taken {
        let lane = self.clients[asked.client].lane;
        let (legs, needed) = self.legs(id, None);
        let mut copies = self.reach(&legs, lane, asked.protocol(), key);
        let needed = needed + deletes(&copies);
        for copy in &copies {
            if !self.has_room(copy.backend, asked.client) {
                return Taken::NotYet;
            }
        }
        if copies.len() >= needed {
            self.begin_copies(&mut copies, &asked.request, key);
        }
        if copies.len() < needed {
            self.route_counters(id).copies_missing += 1;
            return self.refuse_now(&asked, Failure::TooFewCopies, sink);
        }
        self.route_counters(id).copies_missing += u64::from(copies.len() < legs.len());
        self.shadow(&asked, key, id);
        let place = self.clients[asked.client].ask();
        let merge = Merge::Acks(Acknowledged::new(needed, copies.len(), None, Quiet::of(&asked.request)));
        let gather = self.gathers.begin(asked.client, place, merge, copies.len(), None);
        let mut like = InFlight::new(Owner::Nobody, asked.request.verb, shape(&asked.request), self.now);
        like.tag = asked.tag();
        let mut bytes = self.commons.spares.take();
        push_head(&mut bytes, &asked);
        bytes.extend_from_slice(asked.block);
        for (part, copy) in (0u16..).zip(copies) {
            let owner = Owner::Part(PartId { gather, part });
            self.post_copy(&copy, key, &bytes, InFlight { owner, ..like });
        }
        self.commons.spares.put(bytes);
        Taken::Yes
    }

    /// Whether writes go to more than one pool.
    pub(super) fn has_legs(&self, id: DestinationId) -> bool {
        let destination = self.destination(id);
        !destination.replicas.is_empty() || destination.warm_from.is_some()
    }

    /// Deletes a key in the other pools that are to follow a large value which one pool alone decides: nobody holds the value
    /// until it has.
    pub(in crate::proxy) fn drop_other_copies(
        &mut self,
        id: DestinationId,
        decides: Home,
        asked: &Asked<'_>,
        key: &[u8],
    ) {
        if !self.has_legs(id) {
            return;
        }
        let (legs, _) = self.legs(id, Some(decides.pool));
        let legs: Vec<(u16, What)> = legs.into_iter().map(|(pool, _)| (pool, What::Delete)).collect();
        let lane = self.clients[asked.client].lane;
        let mut copies = self.reach(&legs, lane, Protocol::Text, key);
        self.begin_copies(&mut copies, &asked.request, key);
        copies.iter().for_each(|copy| self.post_delete(copy, key, Owner::Nobody));
    }

    /// What is to be sent where when a key of the destination is written, but for the pool that has `decided`, and how many
    /// of them have to acknowledge it.
    fn legs(&self, id: DestinationId, decided: Option<u16>) -> (Vec<(u16, What)>, usize) {
        let destination = self.destination(id);
        let copies: Vec<u16> = destination.copies().collect();
        let needed = destination.acks_needed() - usize::from(decided.is_some());
        let same = copies.into_iter().filter(|pool| Some(*pool) != decided).map(|pool| (pool, What::Same));
        // What an older pool has must not come back.
        let deletes = destination.warm_from.map(|pool| (pool, What::Delete));
        (same.chain(deletes).collect(), needed)
    }

    /// Connections to those that are up.
    fn reach(&mut self, legs: &[(u16, What)], lane: u8, protocol: Protocol, key: &[u8]) -> Vec<Copy> {
        let mut copies = Vec::with_capacity(legs.len());
        for &(pool, what) in legs {
            if self.is_down(pool, key) {
                continue;
            }
            let home = self.home_in(pool, lane);
            let server = self.pools[home.index()].ring.locate(key);
            let protocol = if what == What::Delete { Protocol::Text } else { protocol };
            if let Ok(backend) = self.lane(home, server, protocol) {
                copies.push(Copy { pool, what, backend, writes: None });
            }
        }
        copies
    }

    /// Counts the write in every pool that it goes to, before it leaves for any. Those that cannot are left out.
    fn begin_copies(&mut self, copies: &mut Vec<Copy>, request: &Request<'_>, key: &[u8]) {
        copies.retain_mut(|copy| match self.begin_write(usize::from(copy.pool), request, key) {
            Ok(writes) => {
                copy.writes = writes;
                true
            }
            Err(_) => false,
        });
    }

    fn post_copy(&mut self, copy: &Copy, key: &[u8], bytes: &[u8], like: InFlight) {
        let Some(backend) = self.backends.get_mut(copy.backend) else { return };
        let out = backend.outgoing.tail();
        let mut in_flight = InFlight { writes: copy.writes, sent: self.now, ..like };
        match copy.what {
            What::Same => out.extend_from_slice(bytes),
            What::Delete => {
                form::push_delete(out, key);
                (in_flight.shape, in_flight.tag) = (Shape::Meta, None);
            }
        }
        self.post(copy.backend, in_flight);
    }

    /// The copy that decides has done what was asked: the others follow, and then the client is told.
    pub(super) fn follow(&mut self, id: AttemptId, sink: &mut dyn Transmit) {
        let Some(attempt) = self.attempts.get_mut(id) else { return };
        let (destination, at, lane, protocol) =
            (attempt.destination, attempt.at, attempt.lane, attempt.protocol);
        let Owner::Client { client, place } = attempt.to else { return self.settle_for_kept(id, sink) };
        let (bytes, like) = (std::mem::take(&mut attempt.bytes), attempt.like);
        let decided = self.destination(destination).chain_pool(at);
        if let Head::Complete { request, consumed, .. } = protocol.parse_head(&bytes)
            && let Some(key) = request.key()
        {
            let (legs, needed) = self.legs(destination, decided);
            let mut copies = self.reach(&legs, lane, protocol, &key);
            let needed = needed + deletes(&copies);
            self.begin_copies(&mut copies, &request, &key);
            self.route_counters(destination).copies_missing += u64::from(copies.len() < legs.len());
            let mut followed = self.commons.spares.take();
            form::push_followed(&mut followed, &request, &bytes[..consumed], &bytes[consumed..]);
            let owner = self.wait_for_copies(id, client, place, &copies, needed, sink);
            for (part, copy) in (0u16..).zip(&copies) {
                let owner = owner(part);
                self.post_copy(copy, &key, &followed, InFlight { owner, quiet: Quiet::No, ..like });
            }
            self.commons.spares.put(followed);
        } else {
            self.settle_for_kept(id, sink);
        }
        self.commons.spares.put(bytes);
    }

    /// Has the client told what the copy that decided said, once as many others as needed have followed. Returns whose their
    /// replies are.
    fn wait_for_copies(
        &mut self,
        id: AttemptId,
        client: crate::proxy::ClientId,
        place: Place,
        copies: &[Copy],
        needed: usize,
        sink: &mut dyn Transmit,
    ) -> impl Fn(u16) -> Owner + use<> {
        let gather = if needed == 0 {
            self.settle_for_kept(id, sink);
            None
        } else if copies.len() < needed {
            if let Some(attempt) = self.forget_attempt(id) {
                let like = InFlight { owner: attempt.to, ..attempt.like };
                self.tell_failure(&like, Failure::TooFewCopies, sink);
            }
            None
        } else {
            self.forget_attempt(id).map(|attempt| {
                let (reply, quiet) = (attempt.reply_as_asked(), attempt.like.quiet);
                let merge = Merge::Acks(Acknowledged::new(needed, copies.len(), Some(reply), quiet));
                self.gathers.begin(client, place, merge, copies.len(), None)
            })
        };
        move |part| gather.map_or(Owner::Nobody, |gather| Owner::Part(PartId { gather, part }))
    }

    /// The older pool, if there is one and it is up, about to be told to delete `key` since it is written.
    pub(super) fn reach_older(&mut self, id: DestinationId, asked: &Asked<'_>, key: &[u8]) -> Vec<Copy> {
        let Some(pool) = self.destination(id).warm_from else { return Vec::new() };
        let lane = self.clients[asked.client].lane;
        let mut older = self.reach(&[(pool, What::Delete)], lane, Protocol::Text, key);
        self.begin_copies(&mut older, &asked.request, key);
        older
    }

    pub(super) fn post_delete(&mut self, copy: &Copy, key: &[u8], owner: Owner) {
        let like = InFlight::new(owner, Verb::MetaDelete, Shape::Meta, self.now);
        self.post_copy(copy, key, &[], like);
    }

    /// Deletes `key` in a pool, whatever comes of it.
    pub(super) fn delete_in(&mut self, pool: u16, lane: u8, key: &[u8]) {
        let request = Request::new(Verb::MetaDelete, Dialect::Meta(MetaFlags::default()));
        let mut copies = self.reach(&[(pool, What::Delete)], lane, Protocol::Text, key);
        self.begin_copies(&mut copies, &request, key);
        copies.iter().for_each(|copy| self.post_delete(copy, key, Owner::Nobody));
    }

    /// Has others do what an attempt has one pool do, whatever comes of it: a delete in all pools that may have its key, and
    /// a read that touches in all copies.
    pub(super) fn spread(&mut self, id: AttemptId, effect: Effect) {
        let Some(attempt) = self.attempts.get(id) else { return };
        let (destination, at, lane, protocol, like) =
            (attempt.destination, attempt.at, attempt.lane, attempt.protocol, attempt.like);
        let to = self.destination(destination);
        let spreads = if effect == Effect::Touches { 1 + to.replicas.len() } else { usize::MAX };
        let others: Vec<(usize, u16)> =
            to.chain().enumerate().take(spreads).filter(|(index, _)| *index != at).collect();
        let Some(attempt) = self.attempts.get_mut(id).filter(|_| !others.is_empty()) else { return };
        let bytes = std::mem::take(&mut attempt.bytes);
        if let Head::Complete { request, consumed, .. } = protocol.parse_head(&bytes)
            && let Some(key) = request.key()
        {
            for (at, pool) in others {
                if self.is_down(pool, &key) {
                    continue;
                }
                let to = Leg { pool, lane, protocol, at };
                let parts = bytes.split_at(consumed);
                let posted = self.post_leg(to, destination, Owner::Nobody, &request, &key, parts, like);
                self.route_counters(destination).spread += u64::from(posted.is_ok());
            }
        }
        match self.attempts.get_mut(id) {
            Some(attempt) => attempt.bytes = bytes,
            None => self.commons.spares.put(bytes),
        }
    }
}

/// How many of `copies` are older pools: what these have is to be gone before the client is told.
fn deletes(copies: &[Copy]) -> usize {
    copies.iter().filter(|copy| copy.what == What::Delete).count()
}
