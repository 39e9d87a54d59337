//! Asking the servers of a request that no single one can answer: each for its part.
//!
//! What they answer is put together in [`gather`](super::gather).

use std::fmt::Write as _;
use std::time::Duration;

use arrayvec::{ArrayString, ArrayVec};
use fabric::function::Context;
use fabric::io::PacketBuf;
use fabric::time::Nanos;

use super::MemcachedSwitch;
use super::gather::{Arrived, GatherId, MAX_PARTS, Merge};
use super::request::{Route, binary_reply};
use super::upstream::{KeyBytes, Purpose};
use super::wire::Client;
use crate::coherence::PoolView;
use crate::hashing::MemberIndex;
use crate::protocol::{Class, Dialect, Request, Verb};

/// How long the servers have for all parts of a gathered request.
const GATHER_PATIENCE: Duration = Duration::from_millis(500);
/// Delays of `flush_all` beyond this are Unix times (memcached's rule), which a worker cannot tell.
const MAX_FLUSH_DELAY_S: i64 = 60 * 60 * 24 * 30;
/// The server's clock ticks once a second and may be read before or after the tick: so long before and after a
/// delayed flush nothing is answered from the cache.
const FLUSH_MARGIN: Duration = Duration::from_secs(2);

impl<P: PacketBuf> MemcachedSwitch<P> {
    /// Answers a get of keys on several servers, or some of them cached: every part on its own, merged in order.
    pub(super) fn gather(
        &mut self,
        client: &Client,
        request: &Request<'_>,
        view: &PoolView,
        context: &mut dyn Context<P>,
    ) -> Route {
        let parts = request.keys().count();
        if parts > MAX_PARTS {
            self.counters.refused_too_many_keys += 1;
            return Route::Error("SERVER_ERROR too many keys for one datagram");
        }
        let Some(id) = self.begin_gather(client, parts, Merge::Values, context.now()) else {
            return Route::Ended;
        };
        let mut arrived = Arrived::Waiting;
        for (part, key) in request.keys().enumerate() {
            let Some(state) = self.begin_part(id, part as u16, request, &key, view, context) else {
                self.abandon(id);
                return Route::Ended;
            };
            arrived = if state == Arrived::Whole { state } else { arrived };
        }
        if arrived == Arrived::Whole {
            self.finish_gather(id, context);
        }
        Route::Ended
    }

    /// Opens a gathered request of so many parts. `None`, and counted, if there is no room for it or for asking the
    /// servers, or there is none to ask.
    fn begin_gather(&mut self, client: &Client, parts: usize, merge: Merge, now: Nanos) -> Option<GatherId> {
        let room = parts > 0 && self.upstream.room() >= parts;
        let id = room.then(|| self.gathers.begin(*client, merge, parts, now + GATHER_PATIENCE)).flatten();
        self.counters.drop_gather_full += u64::from(id.is_none());
        id
    }

    /// Answers one part from the cache, or asks its server. `None` if neither can be done; it is counted then.
    fn begin_part(
        &mut self,
        gather: GatherId,
        part: u16,
        request: &Request<'_>,
        key: &[u8],
        view: &PoolView,
        context: &mut dyn Context<P>,
    ) -> Option<Arrived> {
        if request.class() == Class::Read
            && let Some(packet) = self.cached_part(key, request.with_cas(), view, context)
        {
            self.counters.hits += 1;
            let end = packet.bytes().len();
            return Some(self.gathers.arrive(gather, part, (0, 1), packet, (0, end)));
        }
        let server = self.ring.locate(key);
        let id = self.upstream.open(context.now() + GATHER_PATIENCE, server)?;
        // Parts that write (`gat`) do so under the node's own request.
        let write = (request.class() == Class::Write)
            .then(|| self.state.write_id(self.state.address().node, self.own_port(), id.0));
        if let Some(write) = write
            && !self.begin_write(write, request.replies(), std::iter::once(key), context.now())
        {
            self.upstream.close(id);
            return None;
        }
        let (verb, exptime) = part_command(request);
        if !self.send_upstream(server, id, &[verb, exptime.as_bytes(), key, b"\r\n"], context) {
            self.upstream.close(id);
            return None;
        }
        self.status.count_request(server);
        // A key that came in a text command fits.
        let key = KeyBytes::try_from(key).ok();
        // Without a cache nobody waits for the end of a write.
        let write = write.filter(|_| self.cache.is_some());
        self.upstream.assign(id, Purpose::Part { gather, part, write, key });
        Some(Arrived::Waiting)
    }

    /// Whether a get asks for a key that is cached.
    pub(super) fn any_cached(
        &mut self,
        request: &Request<'_>,
        view: &PoolView,
        context: &mut dyn Context<P>,
    ) -> bool {
        matches!((request.dialect, request.verb), (Dialect::Ascii, Verb::Get | Verb::Gets))
            && request.keys().any(|key| self.cached(&key, view, context).is_some())
    }

    /// The valid hit for `key`, if there is one.
    fn cached(
        &mut self,
        key: &[u8],
        view: &PoolView,
        context: &mut dyn Context<P>,
    ) -> Option<crate::hot::Hit<'_>> {
        let cache = self.cache.as_mut()?;
        let hash = self.state.hash(key);
        let hit = cache.table.find(hash, key)?;
        let valid =
            hit.expires() > context.now() && self.state.coherence().is_current(view, hash, hit.stamp());
        valid.then_some(hit)
    }

    /// The cached reply to a get of `key`, in a packet of its own: it is what is valid now, whatever comes later.
    fn cached_part(
        &mut self,
        key: &[u8],
        with_cas: bool,
        view: &PoolView,
        context: &mut dyn Context<P>,
    ) -> Option<P> {
        self.cached(key, view, context)?;
        let mut packet = context.allocate()?;
        let hit = self.cached(key, view, context)?;
        packet.set_len(hit.reply_len(with_cas)).ok()?;
        match with_cas {
            true => hit.write_gets(packet.bytes_mut()),
            false => hit.write_get(packet.bytes_mut()),
        };
        Some(packet)
    }

    /// A command for the whole pool: every server gets it, the client one reply.
    pub(super) fn broadcast(
        &mut self,
        client: &Client,
        request: &Request<'_>,
        context: &mut dyn Context<P>,
    ) -> Route {
        let delay = request.exptime.max(0);
        if delay > MAX_FLUSH_DELAY_S {
            self.counters.refused_invalid += 1;
            return Route::Error("CLIENT_ERROR flush_all delay beyond 30 days");
        }
        let living =
            self.state.servers().filter(|server| self.state.members().is_alive(usize::from(server.0)));
        let parts = living.count().min(MAX_PARTS);
        let merge = Merge::AllOk(flush_reply(request));
        let Some(id) = self.begin_gather(client, parts, merge, context.now()) else { return Route::Ended };
        if !self.begin_broadcast(client, id, delay, context) {
            self.abandon(id);
            return Route::Ended;
        }
        let mut command = ArrayString::<24>::new();
        // Fits: the delay has at most seven digits.
        let _ = write!(command, "flush_all {delay}");
        for server in self.state.servers() {
            self.send_flush(server, id, &command, parts, context);
        }
        self.counters.broadcasts += 1;
        Route::Ended
    }

    /// Counts the flush as a write to everything, and keeps the cache shut around the time a delayed one acts.
    fn begin_broadcast(
        &mut self,
        client: &Client,
        id: GatherId,
        delay: i64,
        context: &mut dyn Context<P>,
    ) -> bool {
        if self.cache.is_none() {
            return true;
        }
        let now = context.now();
        let coherence = self.state.coherence();
        let write = self.state.write_id(client.ip, client.port, client.request_id);
        if coherence.begin_write_all(Some(write), now).is_err() {
            self.counters.drop_writes_in_flight_full += 1;
            return false;
        }
        if delay > 0 {
            let acts = now + Duration::from_secs(delay.unsigned_abs());
            coherence.close_for_flush(acts - FLUSH_MARGIN, acts + FLUSH_MARGIN);
        }
        if let Some(gather) = self.gathers.get_mut(id) {
            gather.write = Some(write);
        }
        true
    }

    /// Sends a flush to one server: a living one is waited for, a dead one gets it in case it only seems so.
    fn send_flush(
        &mut self,
        server: MemberIndex,
        gather: GatherId,
        command: &str,
        parts: usize,
        context: &mut dyn Context<P>,
    ) {
        let part = self
            .state
            .servers()
            .take_while(|other| *other != server)
            .filter(|other| self.state.members().is_alive(usize::from(other.0)))
            .count();
        let living = self.state.members().is_alive(usize::from(server.0)) && part < parts;
        let Some(id) = self.upstream.open(context.now() + GATHER_PATIENCE, server) else { return };
        let noreply: &[u8] = if living { b"" } else { b" noreply" };
        let sent = self.send_upstream(server, id, &[command.as_bytes(), noreply, b"\r\n"], context);
        if sent && living {
            self.upstream.assign(id, Purpose::Part { gather, part: part as u16, write: None, key: None });
        } else {
            self.upstream.close(id);
        }
    }
}

/// What a part of a gathered request asks of its server: everything before the key.
fn part_command(request: &Request<'_>) -> (&'static [u8], ArrayString<24>) {
    let mut exptime = ArrayString::new();
    let verb: &[u8] = match request.verb {
        Verb::Gets => b"gets ",
        Verb::Gat => b"gat ",
        Verb::Gats => b"gats ",
        _ => b"get ",
    };
    if matches!(request.verb, Verb::Gat | Verb::Gats) {
        // Fits: an i64 has at most twenty characters.
        let _ = write!(exptime, "{} ", request.exptime);
    }
    (verb, exptime)
}

/// What the client gets when every server has flushed.
fn flush_reply(request: &Request<'_>) -> ArrayVec<u8, 32> {
    let mut reply = ArrayVec::new();
    if !request.expects_reply() {
        return reply;
    }
    match request.dialect {
        Dialect::Binary { opcode, opaque } => reply.extend(binary_reply(opcode, opaque, 0)),
        _ => reply.extend(*b"OK\r\n"),
    }
    reply
}
