//! Requests for keys of several pools: what becomes of one, and which is asked first.

use super::Home;
use super::attempt::{AttemptId, DestinationId};
use super::form::{self, Effect};
use crate::protocol::delimit::Shape;
use crate::protocol::{Class, Verb};
use crate::proxy::Proxy;
use crate::proxy::cache::Looked;
use crate::proxy::client::{ClientId, Transmit};
use crate::proxy::failure::Failure;
use crate::proxy::in_flight::{InFlight, Owner};
use crate::proxy::request::{Asked, Taken};

impl Proxy {
    /// Where a client's `key` is asked for first.
    pub(in crate::proxy) fn home_up(&self, client: ClientId, id: DestinationId, key: &[u8]) -> Home {
        let at = self.first_up(id, key);
        let destination = self.destination(id);
        self.home_in(destination.chain_pool(at).unwrap_or(destination.pool), self.clients[client].lane)
    }

    /// Has `asked`, which names one key, answered by the pools of a destination.
    pub(in crate::proxy) fn ask_several(
        &mut self,
        asked: Asked<'_>,
        key: &[u8],
        destination: DestinationId,
        sink: &mut dyn Transmit,
    ) -> Taken {
        let effect = Effect::of(&asked.request);
        if effect == Effect::Sets && self.has_legs(destination) {
            return self.write_copies(asked, key, destination, sink);
        }
        let home = self.home_up(asked.client, destination, key);
        let looked = self.answer_cached(&asked, home, key, sink);
        if looked == Looked::Answered {
            self.shadow(&asked, key, destination);
            return Taken::Yes;
        }
        let server = self.pools[home.index()].ring.locate(key);
        if let Ok(backend) = self.lane(home, server, asked.protocol())
            && !self.has_room(backend, asked.client)
        {
            return Taken::NotYet;
        }
        self.shadow(&asked, key, destination);
        let place = self.clients[asked.client].ask();
        let to = Owner::Client { client: asked.client, place };
        let attempt = self.attempt(&asked, destination, to);
        self.begin_attempt(attempt, to, sink);
        if let Looked::Missed(hash) = looked {
            let mut wanted = Vec::new();
            self.observe(home, key, hash, &mut wanted);
            self.fill_wanted(&mut wanted);
        }
        Taken::Yes
    }

    /// An attempt to get one key of several.
    pub(in crate::proxy) fn attempt_key(
        &mut self,
        asked: &Asked<'_>,
        destination: DestinationId,
        key: &[u8],
    ) -> AttemptId {
        let request = &asked.request;
        let mut like = InFlight::new(Owner::Nobody, request.verb, Shape::Items, self.now);
        like.repeatable = request.class() == Class::Read;
        let mut bytes = self.commons.spares.take();
        form::push_get(&mut bytes, request, key);
        self.attempt_of(asked, destination, Owner::Nobody, bytes, like)
    }

    /// Asks the pools of an attempt's destination for the first time; its reply is for `to`.
    pub(in crate::proxy) fn begin_attempt(&mut self, id: AttemptId, to: Owner, sink: &mut dyn Transmit) {
        let Some(attempt) = self.attempts.get_mut(id) else { return };
        attempt.to = to;
        let like = InFlight { owner: to, ..attempt.like };
        let destination = attempt.destination;
        match self.ask_from(id, None) {
            Ok(at) => {
                self.route_counters(destination).failed_over += u64::from(at > 0);
                match like.verb {
                    Verb::Delete | Verb::MetaDelete => self.spread(id, Effect::Sets),
                    Verb::Gat | Verb::Gats => self.spread(id, Effect::Touches),
                    Verb::MetaGet if !like.repeatable => self.spread(id, Effect::Touches),
                    _ => {}
                }
            }
            Err(failure) => self.out_of_pools(id, destination, &like, failure, sink),
        }
    }

    /// Asks the pools of an attempt's destination from the one at `next` on; its reply is for `to`.
    pub(super) fn go_on_with(
        &mut self,
        id: AttemptId,
        to: Owner,
        next: usize,
        failure: Failure,
        sink: &mut dyn Transmit,
    ) {
        let Some(attempt) = self.attempts.get_mut(id) else { return };
        attempt.to = to;
        let (like, destination) = (InFlight { owner: to, ..attempt.like }, attempt.destination);
        match self.ask_from(id, Some(next)) {
            Ok(_) => self.route_counters(destination).failed_over += 1,
            Err(_) => self.out_of_pools(id, destination, &like, failure, sink),
        }
    }

    fn out_of_pools(
        &mut self,
        id: AttemptId,
        destination: DestinationId,
        like: &InFlight,
        failure: Failure,
        sink: &mut dyn Transmit,
    ) {
        self.route_counters(destination).out_of_pools += 1;
        self.forget_attempt(id);
        self.tell_failure(like, failure, sink);
    }
}
