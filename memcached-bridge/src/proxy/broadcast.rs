//! `flush_all` and `verbosity`: every server gets them, the client one reply.

use std::time::Duration;

use super::backend::BackendId;
use super::client::Transmit;
use super::failure::Failure;
use super::gather::{Merge, PartId};
use super::in_flight::{InFlight, Owner, Writes};
use super::keyed::{push_head, shape};
use super::quiet::Quiet;
use super::request::{Asked, Taken};
use super::{Outcome, Proxy};
use crate::hashing::MemberIndex;
use crate::protocol::Verb;

/// Delays of `flush_all` beyond this are Unix times (memcached's rule), and the node knows only the time since its start.
const MAX_FLUSH_DELAY_S: i64 = 60 * 60 * 24 * 30;
/// The server's clock ticks once a second and may be read before or after the tick: so long before and after a
/// delayed flush nothing is answered from the cache.
const FLUSH_MARGIN: Duration = Duration::from_secs(2);
const INVALID_ARGUMENTS: u16 = 4;
const TOO_LATE: &[u8] = b"CLIENT_ERROR flush_all delay beyond 30 days\r\n";

impl Proxy {
    pub(super) fn ask_all(&mut self, asked: Asked<'_>, sink: &mut dyn Transmit) -> Taken {
        let pools = self.pools_of(asked.client);
        let caches = |pool: &u16| self.pools[usize::from(*pool)].cache.is_some();
        let flushes = asked.request.verb == Verb::FlushAll && pools.iter().any(caches);
        if flushes && asked.request.exptime > MAX_FLUSH_DELAY_S {
            let pool = usize::from(self.clients[asked.client].pool);
            self.pools[pool].counters.refused_invalid += 1;
            let place = self.clients[asked.client].ask();
            let mut reply = Vec::new();
            match asked.tag() {
                Some(tag) => super::binary::push_reply(&mut reply, tag, INVALID_ARGUMENTS, b"", b""),
                None if asked.request.quiet => {}
                None => reply.extend_from_slice(TOO_LATE),
            }
            self.reply(asked.client, place, &reply, sink);
            return Taken::Yes;
        }
        let mut reply = Vec::new();
        match asked.tag() {
            Some(tag) => super::binary::push_reply(&mut reply, tag, 0, b"", b""),
            None => reply.extend_from_slice(b"OK\r\n"),
        }
        let quiet = Quiet::of(&asked.request);
        let (lanes, mut failure) = self.lanes_to_all(&asked);
        let mut in_flight = Vec::with_capacity(lanes.len());
        for lane in lanes {
            match self.begin_flush(lane, flushes) {
                Ok(writes) => in_flight.push((lane, writes)),
                Err(full) => failure = Some(full),
            }
        }
        if flushes && asked.request.exptime > 0 {
            let acts = self.now + Duration::from_secs(asked.request.exptime.unsigned_abs());
            for pool in pools {
                let coherence = self.pools[usize::from(pool)].shared.coherence();
                coherence.close_for_flush(acts - FLUSH_MARGIN, acts + FLUSH_MARGIN);
            }
        }
        self.post_parts(&asked, in_flight, failure, Merge::Done { reply, quiet }, sink);
        Taken::Yes
    }

    /// A connection to each living server, and why there are not more.
    pub(super) fn lanes_to_all(&mut self, asked: &Asked<'_>) -> (Vec<BackendId>, Option<Failure>) {
        let (mut lanes, mut failure) = (Vec::new(), None);
        for pool in self.pools_of(asked.client) {
            let home = self.home_in(pool, self.clients[asked.client].lane);
            let pool = home.index();
            for server in 0..self.pools[pool].servers.len() {
                let shared = &self.pools[pool].shared;
                if shared.pool().probing.auto_eject && !shared.members().is_alive(server) {
                    continue;
                }
                match self.lane(home, MemberIndex(server as u16), asked.protocol()) {
                    Ok(backend) => lanes.push(backend),
                    Err(unreachable) => failure = Some(unreachable),
                }
            }
        }
        (lanes, failure)
    }

    /// Sends `asked` over each connection, to be merged into one reply.
    pub(super) fn post_parts(
        &mut self,
        asked: &Asked<'_>,
        parts: Vec<(BackendId, Option<Writes>)>,
        failure: Option<Failure>,
        merge: Merge,
        sink: &mut dyn Transmit,
    ) {
        let place = self.clients[asked.client].ask();
        if parts.is_empty() {
            return self.refuse(asked, place, failure.unwrap_or(Failure::Unreachable), sink);
        }
        if failure.is_some() {
            self.commons.tracer.failed(asked.client, place, Outcome::Unavailable);
            let pool = usize::from(self.clients[asked.client].pool);
            self.pools[pool].view.requests.count(asked.request.verb, Outcome::Unavailable);
        }
        let failed = |failure: Failure| match asked.tag() {
            Some(tag) => super::binary::failure(tag, failure),
            None => failure.line(),
        };
        let shape = match asked.request.verb {
            Verb::Stats => super::stats::shape(asked),
            _ => shape(&asked.request),
        };
        let gather = self.gathers.begin(asked.client, place, merge, parts.len(), failure.map(failed));
        for (part, (backend, writes)) in (0u16..).zip(parts) {
            let owner = Owner::Part(PartId { gather, part });
            let mut in_flight = InFlight::new(owner, asked.request.verb, shape, self.now);
            (in_flight.tag, in_flight.writes) = (asked.tag(), writes);
            if let Some(to) = self.backends.get_mut(backend) {
                push_head(to.outgoing.tail(), asked);
                to.outgoing.tail().extend_from_slice(asked.block);
            }
            self.post(backend, in_flight);
        }
    }

    /// Counts a write to every key, before it is forwarded to one of the servers.
    fn begin_flush(&mut self, to: BackendId, flushes: bool) -> Result<Option<Writes>, Failure> {
        let Some(backend) = self.backends.get(to).filter(|_| flushes) else { return Ok(None) };
        let part = &mut self.pools[usize::from(backend.server.pool)];
        if part.cache.is_none() {
            return Ok(None);
        }
        let id = part.shared.write_id(self.thread, self.writes);
        if part.shared.coherence().begin_write_all(Some(id), self.now).is_err() {
            part.counters.refused_writes_in_flight_full += 1;
            return Err(Failure::TooManyWrites);
        }
        self.writes += 1;
        Ok(Some(Writes { first: self.writes - 1, count: 1, hash: None }))
    }
}
