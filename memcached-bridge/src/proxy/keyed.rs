//! Requests for one key: its server carries them out.

use super::backend::{BackendId, Phase, Role, ServerId};
use super::cache::Looked;
use super::client::{ClientId, Transmit, Wait};
use super::failure::Failure;
use super::in_flight::{InFlight, Owner, Writes};
use super::quiet::{self, Quiet};
use super::request::{Asked, Taken};
use super::route::{Home, Lead};
use super::{MAX_ON_THE_WAY, Proxy};
use crate::hashing::MemberIndex;
use crate::protocol::binary::HEADER_LEN;
use crate::protocol::delimit::Shape;
use crate::protocol::{Class, Dialect, Protocol, Request, Verb};

impl Proxy {
    pub(super) fn ask_one(&mut self, asked: Asked<'_>, sink: &mut dyn Transmit) -> Taken {
        let Some(key) = asked.request.key() else { return Taken::Yes };
        let home = match self.lead_of(&self.clients[asked.client], &key) {
            Lead::One(home) => home,
            Lead::Several(destination) => return self.ask_several(asked, &key, destination, sink),
        };
        let pool = home.index();
        let looked = self.answer_cached(&asked, home, &key, sink);
        if looked == Looked::Answered {
            return Taken::Yes;
        }
        let server = self.pools[pool].ring.locate(&key);
        let backend = match self.lane(home, server, asked.protocol()) {
            Ok(backend) => backend,
            Err(failure) => return self.refuse_now(&asked, failure, sink),
        };
        if !self.has_room(backend, asked.client) {
            return Taken::NotYet;
        }
        let writes = match self.begin_write(pool, &asked.request, &key) {
            Ok(writes) => writes,
            Err(failure) => return self.refuse_now(&asked, failure, sink),
        };
        let place = self.clients[asked.client].ask();
        let owner = Owner::Client { client: asked.client, place };
        self.post_request(backend, &asked, owner, writes);
        if let Looked::Missed(hash) = looked {
            let mut wanted = Vec::new();
            self.observe(home, &key, hash, &mut wanted);
            self.fill_wanted(&mut wanted);
        }
        Taken::Yes
    }

    /// Answers that `asked` failed, in its turn.
    pub(super) fn refuse_now(
        &mut self,
        asked: &Asked<'_>,
        failure: Failure,
        sink: &mut dyn Transmit,
    ) -> Taken {
        let place = self.clients[asked.client].ask();
        self.refuse(asked, place, failure, sink);
        Taken::Yes
    }

    /// Writes `asked` as it stands, or in its loud form, to a connection.
    pub(super) fn post_request(
        &mut self,
        backend: BackendId,
        asked: &Asked<'_>,
        owner: Owner,
        writes: Option<Writes>,
    ) {
        let request = &asked.request;
        let mut in_flight = InFlight::new(owner, request.verb, shape(request), self.now);
        in_flight.quiet = Quiet::of(request);
        in_flight.tag = asked.tag();
        in_flight.writes = writes;
        in_flight.repeatable = request.class() == Class::Read;
        let Some(to) = self.backends.get_mut(backend) else { return };
        let out = to.outgoing.tail();
        if request.quiet && quiet::needs_noop(request) {
            in_flight.shape = Shape::MetaThenNoop;
            in_flight.quiet = Quiet::No;
            out.extend_from_slice(asked.head);
            out.extend_from_slice(asked.block);
            out.extend_from_slice(b"mn\r\n");
        } else {
            push_head(out, asked);
            out.extend_from_slice(asked.block);
        }
        self.post(backend, in_flight);
    }

    /// Files a request whose bytes were just written to `backend`.
    pub(super) fn post(&mut self, backend: BackendId, mut in_flight: InFlight) {
        let Some(to) = self.backends.get_mut(backend) else { return };
        self.pools[usize::from(to.server.pool)].view.status.count_request(MemberIndex(to.server.server));
        in_flight.end = to.outgoing.end();
        to.in_flight.push_back(in_flight);
        self.in_flight += 1;
        if !to.announced && to.phase == Phase::Up {
            to.announced = true;
            self.commons.to_backends.push_back(backend);
        }
    }

    /// The connection to a server. Begins one if there is none.
    pub(super) fn lane(
        &mut self,
        Home { pool, lane }: Home,
        server: MemberIndex,
        protocol: Protocol,
    ) -> Result<BackendId, Failure> {
        let pool = usize::from(pool);
        let seen = &mut self.pools[pool].servers[usize::from(server.0)];
        if let Some(backend) = *seen.lane(protocol, lane) {
            return Ok(backend);
        }
        if self.now < seen.retry_at {
            return Err(Failure::Unreachable);
        }
        let server = ServerId { pool: pool as u16, server: server.0 };
        let backend = self.connect(server, protocol, Role::Shared { lane });
        *self.pools[pool].servers[usize::from(server.server)].lane(protocol, lane) = Some(backend);
        Ok(backend)
    }

    /// Whether a connection takes one more request; if not, the client waits until it does.
    pub(super) fn has_room(&mut self, backend: BackendId, client: ClientId) -> bool {
        let Some(to) = self.backends.get_mut(backend) else { return true };
        if to.outgoing.len() < MAX_ON_THE_WAY {
            return true;
        }
        to.waiting.push(client);
        self.pools[usize::from(to.server.pool)].counters.waits_for_room += 1;
        self.clients[client].wait = Wait::Room;
        false
    }

    /// Lets the clients go on that waited for room on a connection, if there is some.
    pub(super) fn give_room(&mut self, backend: BackendId) {
        let Some(from) = self.backends.get_mut(backend) else { return };
        if from.waiting.is_empty() || from.outgoing.len() >= MAX_ON_THE_WAY / 2 {
            return;
        }
        let waiting = std::mem::take(&mut from.waiting);
        self.end_wait(waiting);
    }

    pub(super) fn end_wait(&mut self, waiting: Vec<ClientId>) {
        for id in waiting {
            if let Some(client) = self.clients.get_mut(id)
                && client.wait == Wait::Room
            {
                client.wait = Wait::No;
                self.commons.resumable.push_back(id);
            }
        }
    }

    /// Counts a write of `key` before it is forwarded, if values are cached at all.
    pub(super) fn begin_write(
        &mut self,
        pool: usize,
        request: &Request<'_>,
        key: &[u8],
    ) -> Result<Option<Writes>, Failure> {
        let part = &self.pools[pool];
        if part.cache.is_none() || !Self::writes(request) {
            return Ok(None);
        }
        let hash = part.shared.hash(key);
        self.begin_numbered_write(pool, self.writes, hash)?;
        self.writes += 1;
        Ok(Some(Writes { first: self.writes - 1, count: 1, hash: Some(hash) }))
    }

    /// Counts the write with this number of the thread's.
    pub(super) fn begin_numbered_write(
        &mut self,
        pool: usize,
        number: u64,
        hash: u64,
    ) -> Result<(), Failure> {
        let part = &mut self.pools[pool];
        let id = part.shared.write_id(self.thread, number);
        part.shared.coherence().begin_write(id, hash, self.now).map_err(|_| {
            part.counters.refused_writes_in_flight_full += 1;
            Failure::TooManyWrites
        })
    }
}

/// What the reply to a request for one key looks like.
pub(super) fn shape(request: &Request<'_>) -> Shape {
    match request.dialect {
        Dialect::Binary { .. } => Shape::Binary,
        Dialect::Meta(_) if request.verb == Verb::MetaDebug => Shape::Line,
        Dialect::Meta(_) => Shape::Meta,
        Dialect::Ascii if matches!(request.verb, Verb::Get | Verb::Gets | Verb::Gat | Verb::Gats) => {
            Shape::Items
        }
        Dialect::Ascii => Shape::Line,
    }
}

/// Appends the head of a request in its loud form.
pub(super) fn push_head(out: &mut Vec<u8>, asked: &Asked<'_>) {
    match asked.request.dialect {
        _ if !asked.request.quiet => out.extend_from_slice(asked.head),
        Dialect::Binary { opcode, .. } => {
            let start = out.len();
            out.extend_from_slice(asked.head);
            debug_assert!(asked.head.len() >= HEADER_LEN);
            out[start + 1] = quiet::loud_opcode(opcode);
        }
        _ => quiet::push_loud(out, &asked.request, asked.head),
    }
}
