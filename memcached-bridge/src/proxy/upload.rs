//! Large values, from the client to the server as they come, over a connection that nobody else waits for.
//!
//! The client's requests before it must be answered first, and those behind it are not read before it is, since they go
//! over another connection.

use super::backend::{BackendId, Role, ServerId};
use super::client::{ClientId, Reading, Transmit, Wait};
use super::failure::Failure;
use super::in_flight::{InFlight, Owner};
use super::keyed::{push_head, shape};
use super::quiet::Quiet;
use super::request::Asked;
use super::route::Lead;
use super::{MAX_UPLOADS, Proxy};
use crate::protocol::{Head, Protocol};

/// Connections that wait for the next large value, by server.
const MAX_IDLE_UPLOADS: usize = 4;

impl Proxy {
    /// Begins to forward a request whose data block of `len` bytes is large and has not all come. Returns the length of its
    /// head, 0 if it cannot be done yet.
    pub(super) fn begin_upload(&mut self, asked: Asked<'_>, len: usize, sink: &mut dyn Transmit) -> usize {
        let client = &mut self.clients[asked.client];
        if client.waiting() > 0 {
            client.wait = Wait::Turn;
            return 0;
        }
        client.awaited = 0;
        let Some(key) = asked.request.key() else { return self.refuse_upload(&asked, len, None, sink) };
        let lead = self.lead_of(&self.clients[asked.client], &key);
        if let Lead::Several(id) = lead {
            self.shadow_leaves_out(id, &key);
        }
        let (home, lowered) = match lead {
            Lead::One(home) => (home, None),
            Lead::Several(id) if self.goes_to_copies(id, &asked.request) => {
                return self.begin_upload_to_copies(&asked, &key, id, len, sink);
            }
            Lead::Several(id) => {
                let at = self.first_up(id, &key);
                let lowered = self.short_lived(id, at, &asked.request, asked.head);
                (self.home_up(asked.client, id, &key), lowered)
            }
        };
        let original = asked.head.len();
        let asked = match lowered.as_deref().map(|lowered| (lowered, asked.protocol().parse_head(lowered))) {
            Some((head, Head::Complete { request, .. })) => Asked { request, head, ..asked },
            _ => asked,
        };
        let pool = home.index();
        let server = ServerId { pool: home.pool, server: self.pools[pool].ring.locate(&key).0 };
        let backend = match self.upload_connection(server, asked.protocol(), asked.client) {
            Ok(Some(backend)) => backend,
            Ok(None) => return 0,
            Err(failure) => return self.refuse_upload(&asked, len, Some(failure), sink),
        };
        let writes = match self.begin_write(pool, &asked.request, &key) {
            Ok(writes) => writes,
            Err(failure) => {
                self.upload_is_idle(backend);
                return self.refuse_upload(&asked, len, Some(failure), sink);
            }
        };
        let client = &mut self.clients[asked.client];
        let owner = Owner::Client { client: asked.client, place: client.ask() };
        client.reading = Reading::Value { backend, left: len };
        let mut in_flight = InFlight::new(owner, asked.request.verb, shape(&asked.request), self.now);
        (in_flight.quiet, in_flight.tag, in_flight.writes) = (Quiet::of(&asked.request), asked.tag(), writes);
        self.post_upload(backend, &asked, in_flight);
        if let Lead::Several(id) = lead {
            self.drop_other_copies(id, home, &asked, &key);
        }
        original
    }

    /// Writes the head of a request whose value is to follow.
    pub(super) fn post_upload(&mut self, backend: BackendId, asked: &Asked<'_>, in_flight: InFlight) {
        let Some(to) = self.backends.get_mut(backend) else { return };
        self.pools[usize::from(to.server.pool)].counters.uploads += 1;
        to.uploader = Some(asked.client);
        push_head(to.outgoing.tail(), asked);
        self.post(backend, in_flight);
    }

    /// A connection for one more large value. `None` if the client has to wait for it.
    pub(super) fn upload_connection(
        &mut self,
        server: ServerId,
        protocol: Protocol,
        client: ClientId,
    ) -> Result<Option<BackendId>, Failure> {
        let now = self.now;
        let speaks = |id: &BackendId| self.backends.get(*id).is_some_and(|to| to.protocol == protocol);
        let seen = &mut self.pools[usize::from(server.pool)].servers[usize::from(server.server)];
        if let Some(index) = seen.idle_uploads.iter().rposition(speaks) {
            return Ok(Some(seen.idle_uploads.swap_remove(index)));
        }
        if seen.uploads - seen.idle_uploads.len() >= MAX_UPLOADS {
            seen.upload_waiters.push(client);
            self.pools[usize::from(server.pool)].counters.waits_for_room += 1;
            self.clients[client].wait = Wait::Room;
            return Ok(None);
        }
        if now < seen.retry_at {
            return Err(Failure::Unreachable);
        }
        seen.uploads += 1;
        Ok(Some(self.connect(server, protocol, Role::Upload)))
    }

    /// Answers why the value is not forwarded; it is swallowed.
    pub(super) fn refuse_upload(
        &mut self,
        asked: &Asked<'_>,
        len: usize,
        failure: Option<Failure>,
        sink: &mut dyn Transmit,
    ) -> usize {
        let client = &mut self.clients[asked.client];
        client.reading = Reading::Swallow(len);
        let place = client.ask();
        self.refuse(asked, place, failure.unwrap_or(Failure::Unreachable), sink);
        asked.head.len()
    }

    /// Forwards more of a value, of which `left` bytes are missing. Returns how many bytes of `rest` are done with.
    pub(super) fn go_on_with_value(
        &mut self,
        id: ClientId,
        backend: BackendId,
        left: usize,
        rest: &[u8],
    ) -> usize {
        let done = left.min(rest.len());
        let left = left - done;
        if !self.backends.contains_key(backend) {
            self.clients[id].reading = Reading::Swallow(left);
            return done;
        }
        let copies = std::mem::take(&mut self.clients[id].copies);
        // The slowest sets the pace.
        let has_room = std::iter::once(backend).chain(copies.iter().copied()).all(|to| self.has_room(to, id));
        if has_room {
            for to in std::iter::once(backend).chain(copies.iter().copied()) {
                self.send_value(to, &rest[..done]);
            }
            self.clients[id].reading = Reading::Value { backend, left };
        }
        if has_room && left == 0 {
            self.clients[id].reading = Reading::Requests;
            if self.clients[id].waiting() > 0 {
                self.clients[id].wait = Wait::Turn;
            }
            std::iter::once(backend).chain(copies).for_each(|to| self.value_is_whole(to));
            return done;
        }
        self.clients[id].copies = copies;
        if has_room { done } else { 0 }
    }

    fn send_value(&mut self, to: BackendId, bytes: &[u8]) {
        let Some(backend) = self.backends.get_mut(to) else { return };
        backend.outgoing.tail().extend_from_slice(bytes);
        if let Some(entry) = backend.in_flight.back_mut() {
            entry.end = backend.outgoing.end();
        }
        if !backend.announced && backend.phase == super::backend::Phase::Up {
            backend.announced = true;
            self.commons.to_backends.push_back(to);
        }
    }

    fn value_is_whole(&mut self, backend: BackendId) {
        let Some(to) = self.backends.get_mut(backend) else { return };
        to.uploader = None;
        to.progress = self.now;
        // A server may refuse a value before it has come.
        if to.in_flight.is_empty() {
            self.upload_is_idle(backend);
        }
    }

    /// A connection for large values has none under way.
    pub(super) fn upload_is_idle(&mut self, id: BackendId) {
        let Some(backend) = self.backends.get(id) else { return };
        let server = self.server_mut(backend.server);
        if server.idle_uploads.len() >= MAX_IDLE_UPLOADS {
            self.close_backend(id);
            return;
        }
        server.idle_uploads.push(id);
        let waiting = std::mem::take(&mut server.upload_waiters);
        self.end_wait(waiting);
    }

    /// The client of a value that is under way is gone: its server must not take what came for the whole.
    pub(super) fn abandon_upload(&mut self, backend: BackendId) {
        if let Some(backend) = self.close_backend(backend) {
            self.end_wait(backend.waiting);
        }
    }
}
