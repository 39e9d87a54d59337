//! Connections to servers: begun, up, ended, and what becomes of the requests on one that ends.

use fabric::time::Nanos;

use super::backend::{Backend, BackendId, Phase, Role, ServerId};
use super::client::{ClientId, Reading, Transmit};
use super::counters::Outcome;
use super::failure::Failure;
use super::gather::HalfItem;
use super::in_flight::{InFlight, Owner, Place};
use super::quiet::Quiet;
use super::route::Home;
use super::{Action, Proxy};
use crate::hashing::MemberIndex;
use crate::protocol::Protocol;

/// Connections with unanswered writes that are kept for one server.
const MAX_LINGERING: usize = 16;
/// How often a request is asked again.
const MAX_REPEATS: u8 = 2;

impl Proxy {
    /// Asks the shell for a connection to a server.
    pub(super) fn connect(&mut self, server: ServerId, protocol: Protocol, role: Role) -> BackendId {
        let id = self.backends.insert(Backend::new(server, protocol, role, self.now));
        self.pools[usize::from(server.pool)].counters.connects += 1;
        self.commons.actions.push_back(Action::Connect(id, server));
        id
    }

    /// The connection is made.
    pub fn backend_connected(&mut self, id: BackendId, now: Nanos) {
        self.now = now;
        let Some(backend) = self.backends.get_mut(id) else { return };
        backend.phase = Phase::Up;
        backend.progress = now;
        let server = backend.server;
        if std::mem::take(&mut self.server_mut(server).lost) {
            // Whoever is told now that a key is gone must not get it from a cache later.
            self.pools[usize::from(server.pool)].shared.coherence().bump_pool();
        }
        let Some(backend) = self.backends.get_mut(id) else { return };
        if !backend.outgoing.unsent().is_empty() && !backend.announced {
            backend.announced = true;
            self.commons.to_backends.push_back(id);
        }
    }

    /// The connection could not be made, or is gone.
    pub fn backend_closed(&mut self, id: BackendId, now: Nanos, sink: &mut dyn Transmit) {
        self.now = now;
        let Some(backend) = self.backends.get(id) else { return };
        let server = backend.server;
        let failure = match backend.phase {
            Phase::Connecting(_) => Failure::Unreachable,
            Phase::Up => Failure::Closed,
        };
        self.server_mut(server).lost |= failure == Failure::Closed;
        self.lose(id, failure, sink);
        self.settle(sink);
    }

    /// Forgets a connection that is of no more use.
    pub(super) fn close_backend(&mut self, id: BackendId) -> Option<Backend> {
        let backend = self.backends.remove(id)?;
        self.in_flight -= backend.in_flight.len();
        if self.early == Some(id) {
            self.early = None;
        }
        let server = self.server_mut(backend.server);
        server.forget(id);
        if backend.role == Role::Upload {
            server.uploads -= 1;
            let waiting = std::mem::take(&mut server.upload_waiters);
            self.end_wait(waiting);
        }
        self.commons.actions.push_back(Action::CloseBackend(id));
        Some(backend)
    }

    /// A connection ended, or is of no more use: its requests are asked again or fail.
    pub(super) fn lose(&mut self, id: BackendId, failure: Failure, sink: &mut dyn Transmit) {
        let Some(mut backend) = self.close_backend(id) else { return };
        self.end_wait(std::mem::take(&mut backend.waiting));
        self.count_loss(&backend, failure);
        match backend.role {
            Role::Spent => {}
            Role::Probe => self.probe_lost(backend.server),
            _ if backend.in_flight.is_empty() => {}
            _ => self.server_failed(backend.server, failure),
        }
        self.settle_requests(id, backend, failure, sink);
    }

    fn count_loss(&mut self, backend: &Backend, failure: Failure) {
        let counters = &mut self.pools[usize::from(backend.server.pool)].counters;
        match failure {
            Failure::Unreachable => counters.connects_failed += 1,
            _ if backend.role == Role::Spent => {}
            _ if backend.in_flight.is_empty() => counters.connections_idle_closed += 1,
            _ => counters.connections_lost += 1,
        }
    }

    /// Asks what may be asked again on another connection, and lets the others fail.
    fn settle_requests(
        &mut self,
        id: BackendId,
        mut backend: Backend,
        failure: Failure,
        sink: &mut dyn Transmit,
    ) {
        if let Some(client) = backend.uploader.take() {
            self.leave_upload(client, id);
        }
        let is_closed = backend.phase == Phase::Up
            && failure == Failure::Closed
            && matches!(backend.role, Role::Shared { .. });
        let in_flight = std::mem::take(&mut backend.in_flight);
        let may_repeat = |entry: &InFlight| {
            let unsent = !backend.outgoing.is_sent(entry.end);
            is_closed && !entry.begun && (unsent || entry.repeatable) && entry.repeats < MAX_REPEATS
        };
        // What may be asked elsewhere goes together, so that it is carried out in the order in which it was asked.
        let is_attempt = |entry: &InFlight| entry.splits || matches!(entry.owner, Owner::Attempt(_));
        let attempts_move = in_flight.iter().any(|entry| is_attempt(entry) && !may_repeat(entry));
        let stays = |entry: &InFlight| may_repeat(entry) && !(attempts_move && is_attempt(entry));
        let again: Vec<bool> = in_flight.iter().map(stays).collect();
        let mut start = 0;
        for (entry, again) in in_flight.iter().zip(again) {
            let begins = std::mem::replace(&mut start, entry.end);
            let is_asked = again && self.ask_again(&backend, entry, begins)
                || entry.splits && !entry.begun && self.split(&backend, entry, begins, failure, sink);
            if !is_asked {
                self.fail(&mut backend, entry, failure, sink);
            }
        }
    }

    /// Asks for the keys of a line elsewhere.
    fn split(
        &mut self,
        from: &Backend,
        entry: &InFlight,
        begins: u64,
        failure: Failure,
        sink: &mut dyn Transmit,
    ) -> bool {
        let Some(line) = from.outgoing.range(begins, entry.end) else { return false };
        self.trace_loss(from.server, entry);
        self.pools[usize::from(from.server.pool)].view.requests.count(entry.verb, Outcome::Unavailable);
        self.split_line(entry, line, from.server.pool, failure, sink)
    }

    /// Moves a request to another connection of its lane.
    fn ask_again(&mut self, from: &Backend, entry: &InFlight, begins: u64) -> bool {
        let Role::Shared { lane } = from.role else { return false };
        let home = Home { pool: from.server.pool, lane };
        if matches!(entry.owner, Owner::Fill | Owner::Nobody) {
            return false;
        }
        let Some(bytes) = from.outgoing.range(begins, entry.end) else { return false };
        let Ok(to) = self.lane(home, MemberIndex(from.server.server), from.protocol) else {
            return false;
        };
        let Some(backend) = self.backends.get_mut(to) else { return false };
        backend.outgoing.tail().extend_from_slice(bytes);
        self.pools[home.index()].counters.requests_repeated += 1;
        self.post(to, InFlight { repeats: entry.repeats + 1, sent: self.now, ..*entry });
        true
    }

    /// Takes back what its client was to get of a reply. `false` if it has some of it.
    fn take_back(&mut self, client: ClientId, place: Place) -> bool {
        match self.clients.get_mut(client) {
            Some(taken) => {
                let whole = taken.take_back(place, &mut self.commons);
                if whole {
                    self.commons.tracer.took_back(client, place);
                }
                whole
            }
            None => true,
        }
    }

    /// A request will not be answered.
    fn fail(&mut self, backend: &mut Backend, entry: &InFlight, failure: Failure, sink: &mut dyn Transmit) {
        self.trace_loss(backend.server, entry);
        let pool = usize::from(backend.server.pool);
        if matches!(entry.owner, Owner::Client { .. } | Owner::Part(_) | Owner::Attempt(_)) {
            self.pools[pool].view.requests.count(entry.verb, Outcome::Unavailable);
        }
        match entry.owner {
            Owner::Client { .. } | Owner::Part(_) => self.tell_failure(entry, failure, sink),
            Owner::Attempt(attempt) => {
                if let Err(owner) = self.attempt_failed(attempt, entry, failure, sink) {
                    self.tell_failure(&InFlight { owner, ..*entry }, failure, sink);
                }
            }
            Owner::Fill => {
                backend.fills.pop_front();
                self.pools[pool].counters.fills_lost += 1;
            }
            Owner::Probe | Owner::Nobody => {}
        }
    }

    /// Tells the client of a request why it is not answered.
    pub(super) fn tell_failure(&mut self, entry: &InFlight, failure: Failure, sink: &mut dyn Transmit) {
        let reply = match entry.tag {
            _ if entry.quiet == Quiet::Always => Vec::new(),
            None => failure.line(),
            Some(tag) => super::binary::failure(tag, failure),
        };
        match entry.owner {
            Owner::Client { client, place } => {
                self.commons.tracer.failed(client, place, Outcome::Unavailable);
                if entry.begun && !entry.hidden && !self.take_back(client, place) {
                    return self.cut_for(client, |counters| &mut counters.cut_half_reply);
                }
                self.reply(client, place, &reply, sink);
            }
            Owner::Part(part) => {
                let Some(gather) = self.gathers.get(part.gather) else { return };
                let (client, place) = (gather.client, gather.place);
                if !gather.needs_acks() {
                    self.commons.tracer.failed(client, place, Outcome::Unavailable);
                }
                let to = self.clients.get_mut(client);
                match self.gathers.failed(part, reply.clone(), to, &mut self.commons, sink) {
                    Ok(()) => {}
                    Err(HalfItem) if self.take_back(client, place) => self.reply(client, place, &reply, sink),
                    Err(HalfItem) => self.cut_for(client, |counters| &mut counters.cut_half_reply),
                }
            }
            _ => {}
        }
    }

    /// Gives a connection up whose server does not answer: its requests fail. It stays open while writes are on it.
    pub(super) fn give_up(&mut self, id: BackendId, failure: Failure, sink: &mut dyn Transmit) {
        let Some(backend) = self.backends.get_mut(id) else { return };
        let uncertain = backend.in_flight.iter().any(|entry| entry.writes.is_some() && !entry.begun);
        if !uncertain || backend.phase != Phase::Up {
            return self.lose(id, failure, sink);
        }
        let server = backend.server;
        let role = std::mem::replace(&mut backend.role, Role::Spent);
        let mut given_up = Backend::new(server, backend.protocol, role, self.now);
        given_up.uploader = backend.uploader.take();
        given_up.in_flight = backend.in_flight.clone();
        given_up.fills = std::mem::take(&mut backend.fills);
        if given_up.in_flight.iter().any(|entry| entry.splits) {
            given_up.outgoing = backend.outgoing.clone();
        }
        for entry in &mut backend.in_flight {
            entry.owner = Owner::Nobody;
        }
        let waiting = std::mem::take(&mut backend.waiting);
        self.end_wait(waiting);
        self.count_loss(&given_up, failure);
        let seen = self.server_mut(server);
        seen.forget(id);
        if role == Role::Upload {
            seen.uploads -= 1;
        }
        seen.lingering.push(id);
        let oldest = (seen.lingering.len() > MAX_LINGERING).then(|| seen.lingering[0]);
        if let Some(oldest) = oldest {
            self.pools[usize::from(server.pool)].counters.lingering_closed += 1;
            self.close_backend(oldest);
        }
        self.server_failed(server, failure);
        self.settle_requests(id, given_up, failure, sink);
    }

    pub(super) fn server_mut(&mut self, server: ServerId) -> &mut super::server::Server {
        &mut self.pools[usize::from(server.pool)].servers[usize::from(server.server)]
    }

    /// The rest of the value that is on its way from `client` does not go to `backend`, and if that was the last one nowhere.
    fn leave_upload(&mut self, id: ClientId, lost: BackendId) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.copies.retain(|copy| *copy != lost);
        if let Reading::Value { backend, left } = client.reading
            && backend == lost
        {
            client.reading = match client.copies.pop() {
                Some(backend) => Reading::Value { backend, left },
                None => Reading::Swallow(left),
            };
        }
    }
}
