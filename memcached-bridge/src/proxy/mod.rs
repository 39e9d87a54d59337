//! memcached's address for a fleet: clients' TCP connections on one side, pools of memcached servers on the other.
//!
//! A [`Proxy`] is all of it for one thread; threads share nothing but [`SharedPool`]. It has no sockets and no clock: the
//! shell hands it bytes, events and the time, and carries out its [`Action`]s.
//!
//! ```text
//!  client_received ─► read a request ─► what becomes of it?                                  (request)
//!                                       │   of a route's client: which pool's is the key?    (route)
//!                                       ├─ get family ──► hot table ─► reply              (retrieval, cache)
//!                                       │        └► ring ─► each server's line ─► merge   (gather)
//!                                       ├─ one key ─────► ring ─► its server              (keyed)
//!                                       ├─ large value ─► a connection of its own         (upload)
//!                                       ├─ whole pool ──► every server ─► merge           (broadcast)
//!                                       └─ no key ──────► the node                        (local)
//!  backend_received ─► whose reply? ─► end its write ─► the client's queue ─► its output     (answered, client)
//! ```
//!
//! # Calls and actions
//!
//! | the shell | calls |
//! |---|---|
//! | accepted a client | [`client_opened`](Proxy::client_opened) |
//! | may read from a client | [`client_wants`](Proxy::client_wants) bytes at most, then [`client_received`](Proxy::client_received); at the end of the stream [`client_ended`](Proxy::client_ended) |
//! | lost a client | [`client_closed`](Proxy::client_closed) |
//! | connected to a server, or did not | [`backend_connected`](Proxy::backend_connected), [`backend_closed`](Proxy::backend_closed) |
//! | may read from a server | if [`backend_wants`](Proxy::backend_wants): [`backend_received`](Proxy::backend_received), [`backend_closed`](Proxy::backend_closed) |
//! | has handled all that was ready | [`next_action`](Proxy::next_action) until there is none |
//! | some times in a lease and a deadline | [`tick`](Proxy::tick) |
//! | wants to know what became of a sample of requests | [`trace`](Proxy::trace) before, [`next_trace`](Proxy::next_trace) when it has no more actions |
//!
//! Requests of all clients that were ready together thus leave for a server in one write.
//!
//! # Order
//!
//! A client's replies leave in the order of its requests. Each request has a place in the client's queue; bytes of the
//! foremost reply go out as they come, those of others are held. A client keeps to one connection of each server, so
//! that its requests are also carried out in their order. Every request to a server has exactly one reply: quiet forms
//! are sent as their loud ones, and the node keeps from the client what it did not ask for. So the node also learns when
//! each write is done.
//!
//! # Bounds, and who waits for whom
//!
//! | what | bound | beyond it |
//! |---|---|---|
//! | requests of a client without a reply | [`MAX_PIPELINE`] | its next ones are not read |
//! | bytes that wait for a client | [`MAX_UNSENT`] | its next requests are not read, and the server's connection is not read |
//! | bytes on their way to a server on a connection | [`MAX_ON_THE_WAY`] | clients that want it are not read |
//! | a value that is held until it has arrived | [`MAX_HELD_VALUE`] | a larger one is streamed over a connection of its own |
//! | connections with a value under way, by server | [`MAX_UPLOADS`] | clients with one more are not read |
//! | keys fetched from an older pool to fill a newer one | 256, of up to 1 MiB | others are missed |
//! | bytes on their way to a server of a shadow | 256 KiB | not sent: `shadow_dropped` |
//! | bytes of replies held until it is their turn | [`MAX_HELD_REPLIES`] for all clients | the client whose reply comes next is closed: `cut_held_replies` |
//!
//! What operators limit besides, pool by pool, is in [`limits`].
//!
//! A server's connection that is not read since one client does not take its reply holds up the others behind it, for
//! [`MAX_HOLD_UP`] at most: then that client is closed (`cut_slow`). A client that sends a value slowly holds up nobody,
//! for it has the connection to itself. Of the connections that wait since a reply's turn has not come, there is
//! one at most in a thread; so none waits for another in a circle.
//!
//! # Failures
//!
//! A server that does not answer in time, closes a connection with requests on it or cannot be reached has failed.
//! Its requests get `SERVER_ERROR` (binary: status 0x86), but for those that had not been sent and reads that had no part
//! of their reply: these are asked once more on a new connection. So a connection that the server closed while nobody used it fails
//! no request. After so many failures in a row the server is ejected, in all threads; a probe with a jittered pause
//! brings it back. In a reply to several keys the values that could be had come first, and `SERVER_ERROR` in place of
//! `END`: a key that could not be asked for is not reported as missing.
//!
//! Requests of a [`route`] whose key several pools may have are asked of the next one before their client is told.
//!
//! A connection that was given up with writes on it stays open, unused, until they are answered or the server
//! closes it: as long as one of them may still be carried out its key is not cached.

mod answered;
mod backend;
mod binary;
mod broadcast;
mod buffer;
mod cache;
mod client;
mod counters;
mod door;
mod failure;
mod gather;
pub mod handover;
mod health;
mod in_flight;
mod keyed;
pub mod limits;
mod local;
mod lost;
pub mod pool;
mod quiet;
mod request;
mod retrieval;
pub mod route;
mod sasl;
mod server;
mod stats;
mod token;
pub mod trace;
mod upload;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use fabric::time::Nanos;
use slotmap::SlotMap;

use crate::hashing::Ring;
use crate::members::Change;
use backend::Backend;
use cache::Cache;
use client::{Client, Commons};
use gather::Gathers;
use retrieval::Lines;
use route::{Attempt, AttemptId, RoutePart};
use server::Server;

pub use backend::{BackendId, ServerId};
pub use client::{ClientId, MAX_PARTS, Transmit};
pub use counters::{LATENCY_BUCKETS_US, Latency, Outcome, ProxyCounters, RequestCounts};
pub use door::DoorId;
pub use pool::{Pool, SharedPool, ThreadView};
pub use route::SharedRoute;

/// Requests of a client that may wait for their replies.
pub const MAX_PIPELINE: usize = 1024;
/// Bytes that may wait for a client to take them.
pub const MAX_UNSENT: usize = 1 << 20;
/// Bytes that may be on their way to a server on one connection, those it has not answered included.
pub const MAX_ON_THE_WAY: usize = 4 << 20;
/// Bytes of a value, its line end included, that are held until all of it has come.
pub const MAX_HELD_VALUE: usize = 64 << 10;
/// Values on their way to a server over connections of their own.
pub const MAX_UPLOADS: usize = 16;
/// Bytes of replies whose turn has not come, of all clients of a thread.
pub const MAX_HELD_REPLIES: usize = 256 << 20;
/// How long a client that does not take its reply may hold up others.
pub const MAX_HOLD_UP: Duration = Duration::from_secs(1);
/// How long a client may leave its replies, or a request that it has begun to send, where they are, unless told.
pub const MAX_STALL: Duration = Duration::from_secs(60);
/// Connections of a thread to a server of a pool, at most.
pub const MAX_LANES: u8 = 64;
/// Bytes that are read from a client at a time.
const READ_BYTES: usize = 16 << 10;
/// The same while a large value comes.
const READ_VALUE_BYTES: usize = 128 << 10;

/// What the shell has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send [`client_output`](Proxy::client_output) and report it to [`client_sent`](Proxy::client_sent). What does not go at once
    /// is to be sent when it does.
    SendToClient(ClientId),
    /// The same to a server: [`backend_output`](Proxy::backend_output), [`backend_sent`](Proxy::backend_sent).
    SendToBackend(BackendId),
    /// Read from the client again, which had to wait.
    ReadClient(ClientId),
    /// Read from the server again, which had to wait.
    ReadBackend(BackendId),
    /// Close the client's connection; the proxy has forgotten it.
    CloseClient(ClientId),
    /// This proxy has [retired](Proxy::retire), and nothing of the client's is under way: [`hand_over`](Proxy::hand_over).
    HandOver(ClientId),
    /// Close the connection to a server, or stop trying; the proxy has forgotten it.
    CloseBackend(BackendId),
    /// Connect to a server.
    Connect(BackendId, ServerId),
    /// A server was ejected or came back, in all threads. For the log.
    Changed {
        /// The pool's index.
        pool: u16,
        /// What happened.
        change: Change,
    },
}

/// One thread's proxy for some pools.
#[derive(Debug)]
pub struct Proxy {
    thread: u16,
    now: Nanos,
    pools: Vec<PoolPart>,
    routes: Vec<RoutePart>,
    clients: SlotMap<ClientId, Client>,
    backends: SlotMap<BackendId, Backend>,
    /// Requests in flight on all of them.
    in_flight: usize,
    gathers: Gathers,
    attempts: SlotMap<AttemptId, Attempt>,
    /// Attempts that wait for an older pool.
    warming: usize,
    commons: Commons,
    /// The number of the next write.
    writes: u64,
    /// The request that is being read, if it is for several keys.
    lines: Lines,
    /// The one connection that is not read since a reply's turn has not come.
    early: Option<BackendId>,
    jitter: health::Jitter,
    next_stall_check: Nanos,
}

/// A thread's part of a pool.
#[derive(Debug)]
struct PoolPart {
    shared: Arc<SharedPool>,
    ring: Arc<Ring>,
    ring_generation: u64,
    servers: Vec<Server>,
    cache: Option<Cache>,
    clients: u32,
    counters: ProxyCounters,
    view: ThreadView,
}

impl PoolPart {
    fn new(shared: Arc<SharedPool>, thread: u16) -> Self {
        let pool = shared.pool();
        let view = shared.threads()[usize::from(thread)].clone();
        Self {
            ring: shared.members().ring(),
            ring_generation: shared.members().generation(),
            servers: pool.servers.iter().map(|_| Server::new(usize::from(pool.lanes))).collect(),
            cache: pool.cache.as_ref().map(Cache::new),
            clients: 0,
            counters: ProxyCounters::default(),
            view,
            shared,
        }
    }

    /// Adopts the ring in force.
    fn adopt_ring(&mut self) {
        let generation = self.shared.members().generation();
        if generation != self.ring_generation {
            self.ring_generation = generation;
            self.ring = self.shared.members().ring();
            let probing = self.shared.pool().probing;
            for (index, server) in self.servers.iter_mut().enumerate() {
                // A server that is back begins anew.
                if self.shared.members().is_alive(index) && server.failures >= probing.failures {
                    (server.failures, server.retry_at) = (0, Nanos(0));
                }
            }
        }
    }
}

/// Where the numbers of writes begin, so that those of different seeds do not meet: Fibonacci hashing, with a bit to spare
/// for counting on.
fn spread(seed: u64) -> u64 {
    seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1
}

impl Proxy {
    /// The proxy of thread `thread` of those that `pools` were made for. `seed` keys its jitter and the ids of its writes: no
    /// two proxies of a pool may have the same.
    ///
    /// # Panics
    /// If a pool was made for fewer threads.
    pub fn new(pools: Vec<Arc<SharedPool>>, thread: u16, seed: u64) -> Self {
        Self {
            thread,
            now: Nanos(0),
            pools: pools.into_iter().map(|pool| PoolPart::new(pool, thread)).collect(),
            routes: Vec::new(),
            clients: SlotMap::with_key(),
            backends: SlotMap::with_key(),
            in_flight: 0,
            gathers: Gathers::default(),
            attempts: SlotMap::with_key(),
            warming: 0,
            commons: Commons::default(),
            writes: spread(seed),
            lines: Lines::default(),
            early: None,
            jitter: health::Jitter::new(seed),
            next_stall_check: Nanos(0),
        }
    }

    /// A client has connected at `door`: a pool's index, or a route.
    pub fn client_opened(&mut self, door: impl Into<DoorId>, now: Nanos) -> ClientId {
        self.now = now;
        let (pool, route) = match door.into() {
            DoorId::Pool(pool) => (pool, None),
            DoorId::Route(route) => (self.routes[usize::from(route)].shared.default_pool(), Some(route)),
        };
        let part = &mut self.pools[usize::from(pool)];
        part.counters.clients_opened += 1;
        // A route's other pools may have more connections, or fewer.
        let lanes = if route.is_some() { MAX_LANES } else { part.shared.pool().lanes };
        let lane = (part.clients % u32::from(lanes)) as u8;
        part.clients = part.clients.wrapping_add(1);
        self.clients.insert(Client::new(pool, route, lane, now))
    }

    /// How many bytes to read from the client at most; 0 if none before [`Action::ReadClient`].
    pub fn client_wants(&self, id: ClientId) -> usize {
        match self.clients.get(id) {
            Some(client) if client.wait != client::Wait::No || client.ending => 0,
            Some(client) if self.leaves_requests(client.reading) => 0,
            Some(client) => match client.reading {
                client::Reading::Requests if client.awaited == 0 => READ_BYTES,
                _ => READ_VALUE_BYTES,
            },
            None => 0,
        }
    }

    /// `bytes` came from the client.
    pub fn client_received(&mut self, id: ClientId, bytes: &[u8], now: Nanos, sink: &mut dyn Transmit) {
        self.now = now;
        let Some(client) = self.clients.get_mut(id) else { return };
        client.received(bytes.len(), now);
        let part = &mut self.pools[usize::from(client.pool)];
        part.counters.bytes_from_clients += bytes.len() as u64;
        match client.route {
            None => part.adopt_ring(),
            Some(route) => self.routes[usize::from(route)].adopt_rings(&mut self.pools),
        }
        if client.input.is_empty() {
            let done = self.read_requests(id, bytes, sink);
            self.keep_input(id, &bytes[done..]);
        } else {
            client.input.extend_from_slice(bytes);
            self.read_kept(id, sink);
        }
        if self.commons.retired {
            self.commons.finished.push(id);
        }
        self.settle(sink);
    }

    /// The client will send nothing more. What it asked for is answered, then its connection is closed.
    pub fn client_ended(&mut self, id: ClientId, now: Nanos) {
        self.now = now;
        match self.clients.get(id).map(|client| client.reading) {
            // What it was sending has no end.
            Some(client::Reading::Value { .. }) => self.cut(id),
            _ => self.end_client(id),
        }
        self.close_finished();
    }

    /// The client's connection is gone.
    pub fn client_closed(&mut self, id: ClientId, now: Nanos) {
        self.now = now;
        self.remove_client(id);
    }

    /// What is to be sent to the client.
    pub fn client_output(&self, id: ClientId) -> &[u8] {
        self.clients.get(id).map_or(&[], Client::unsent)
    }

    /// The first `len` bytes of it were sent.
    pub fn client_sent(&mut self, id: ClientId, len: usize, now: Nanos, sink: &mut dyn Transmit) {
        self.now = now;
        let Some(client) = self.clients.get_mut(id) else { return };
        client.sent(id, len, now, &mut self.commons);
        self.settle(sink);
    }

    /// What is to be sent to the server.
    pub fn backend_output(&self, id: BackendId) -> &[u8] {
        match self.backends.get(id) {
            Some(backend) if !matches!(backend.phase, backend::Phase::Connecting(_)) => {
                backend.outgoing.unsent()
            }
            _ => &[],
        }
    }

    /// The first `len` bytes of it were sent.
    pub fn backend_sent(&mut self, id: BackendId, len: usize, now: Nanos, sink: &mut dyn Transmit) {
        self.now = now;
        let Some(backend) = self.backends.get_mut(id) else { return };
        backend.outgoing.advance(len);
        if backend.role == backend::Role::Upload {
            let sent = backend.outgoing.end() - backend.outgoing.unsent().len() as u64;
            backend.outgoing.answered(sent);
        }
        self.give_room(id);
        self.settle(sink);
    }

    /// What is to be done next.
    pub fn next_action(&mut self) -> Option<Action> {
        if let Some(id) = self.commons.to_backends.pop_front() {
            if let Some(backend) = self.backends.get_mut(id) {
                backend.announced = false;
            }
            return Some(Action::SendToBackend(id));
        }
        let action = self.commons.actions.pop_front()?;
        if let Action::SendToClient(id) = action
            && let Some(client) = self.clients.get_mut(id)
        {
            client.announced = false;
        }
        Some(action)
    }

    /// No more clients will come: those that are idle are closed, others when what they have begun is done.
    pub fn drain(&mut self, now: Nanos) {
        self.now = now;
        self.commons.draining = true;
        self.commons.finished.extend(self.clients.keys());
        self.close_finished();
    }

    /// Requests that servers have not answered yet.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Clients that are connected.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Does what is due at `now`: deadlines, probes, ejections, the hot keys' window; publishes the counters.
    pub fn tick(&mut self, now: Nanos, sink: &mut dyn Transmit) {
        self.now = now;
        debug_assert_eq!(self.in_flight, self.backends.values().map(|to| to.in_flight.len()).sum::<usize>());
        self.check_backends(sink);
        self.check_clients();
        for pool in 0..self.pools.len() {
            self.watch_servers(pool);
            let part = &mut self.pools[pool];
            part.adopt_ring();
            if let Some(cache) = &mut part.cache {
                cache.tick(now, &part.view.status);
                part.shared.coherence().sweep(now, SWEPT_WRITES);
            }
            part.view.counters.publish(&part.counters);
        }
        self.routes.iter().for_each(RoutePart::publish);
        self.settle(sink);
    }

    /// Lets everything go on that was held up and need not be any longer.
    fn settle(&mut self, sink: &mut dyn Transmit) {
        loop {
            if let Some(id) = self.commons.released.pop() {
                self.go_on_reading(id, sink);
            } else if let Some(id) = self.commons.resumable.pop_front() {
                self.resume_client(id, sink);
            } else {
                break;
            }
        }
        if !self.commons.tracer.is_idle() {
            self.commons.tracer.settle(self.now);
        }
        self.close_finished();
    }
}

/// Writes in flight that a tick looks at.
const SWEPT_WRITES: usize = 4096;
