//! A pool that is filled from an older one as its keys are asked for.
//!
//! A request that finds its key missing is held, and the older pool asked for the item. What it has is added to the newer pool
//! with the life that it has left, and then the request is asked again there: whatever it was, it is answered as if the key had
//! been there all along. Writes delete the key in the older pool, so that nothing comes back from it that was overwritten.
//!
//! # An item must not come back to life
//!
//! Between the look into the older pool and the addition to the newer one, somebody may delete the key in both. So nothing is
//! added unless no write of the key is in flight in the newer pool when the older one is asked, and none has begun when its
//! answer is here ([`coherence`](crate::coherence) counts them for the pool's cache, in all threads). If one begins while the
//! addition is on its way, what was added is deleted again: a miss is harmless. Until that delete arrives a client may
//! see the item, for a round trip.

use super::attempt::{Attempt, AttemptId, DestinationId};
use super::form;
use crate::coherence::Stamp;
use crate::protocol::delimit::Shape;
use crate::protocol::reply::{MetaGetReply, parse_meta_get_reply};
use crate::protocol::{Head, Protocol, Verb, render};
use crate::proxy::Proxy;
use crate::proxy::client::Transmit;
use crate::proxy::in_flight::{InFlight, Owner};
use crate::proxy::limits::MAX_TTL_SECONDS;

/// Keys that are being fetched, in a thread. The misses of others are passed on.
const MAX_WARMING: usize = 256;
/// The longest reply of the older pool that is kept, in bytes.
const MAX_FETCHED: usize = (1 << 20) + 4096;

/// How far an attempt is.
#[derive(Debug, Default)]
pub(super) enum Step {
    /// Its pools are asked.
    #[default]
    Ask,
    /// The older pool is asked for the item.
    Fetch(Warming),
    /// The item is being added.
    Add(Warming),
    /// The pool is asked again, whatever it says.
    Again,
}

/// An item on its way.
#[derive(Debug)]
pub(super) struct Warming {
    hash: u64,
    /// The epochs before the older pool was asked.
    stamp: Stamp,
    /// What is there of the reply that is read.
    reply: Vec<u8>,
}

impl Step {
    /// Keeps more of a reply that is for the node. `false` if this is none.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> bool {
        let (Step::Fetch(warming) | Step::Add(warming)) = self else { return false };
        if warming.reply.len() + bytes.len() <= MAX_FETCHED {
            warming.reply.extend_from_slice(bytes);
        } else {
            // Without its beginning it is no reply.
            warming.reply.clear();
        }
        true
    }

    pub(super) fn is_for_the_node(&self) -> bool {
        matches!(self, Step::Fetch(_) | Step::Add(_))
    }
}

impl Proxy {
    /// Asks the older pool for the key that an attempt missed. `false` if that cannot be.
    pub(super) fn fetch(&mut self, id: AttemptId) -> bool {
        let Some(attempt) = self.attempts.get(id) else { return false };
        let Some(from) = self.destination(attempt.destination).warm_from else { return false };
        let (destination, lane) = (attempt.destination, attempt.lane);
        let Some(key) = key_of(attempt) else { return false };
        let pool = usize::from(self.destination(destination).pool);
        let shared = &self.pools[pool].shared;
        let (hash, coherence) = (shared.hash(&key), shared.coherence());
        let stamp = coherence.may_fill(&coherence.snapshot(self.now), hash);
        let Some(stamp) = stamp.filter(|_| self.warming < MAX_WARMING && !self.is_down(from, &key)) else {
            self.route_counters(destination).warm_skipped += 1;
            return false;
        };
        let home = self.home_in(from, lane);
        let server = self.pools[home.index()].ring.locate(&key);
        let Ok(backend) = self.lane(home, server, Protocol::Text) else { return false };
        let Some(to) = self.backends.get_mut(backend) else { return false };
        render::meta_get(to.outgoing.tail(), &key);
        let mut in_flight = InFlight::new(Owner::Attempt(id), Verb::MetaGet, Shape::Meta, self.now);
        in_flight.repeatable = true;
        self.post(backend, in_flight);
        self.warming += 1;
        let reply = self.commons.spares.take();
        if let Some(attempt) = self.attempts.get_mut(id) {
            attempt.step = Step::Fetch(Warming { hash, stamp, reply });
        }
        true
    }

    /// A reply that an attempt waited for on its way has come.
    pub(super) fn warming_goes_on(&mut self, id: AttemptId, sink: &mut dyn Transmit) {
        let Some(attempt) = self.attempts.get_mut(id) else { return };
        let destination = attempt.destination;
        match std::mem::take(&mut attempt.step) {
            Step::Fetch(warming) => match self.add(id, destination, warming) {
                Added::OnItsWay => {}
                Added::No => self.settle_for_kept(id, sink),
                Added::Overtaken => self.ask_again_here(id, sink),
            },
            Step::Add(warming) => {
                self.warming -= 1;
                if !self.is_unwritten(destination, &warming) {
                    self.undo(id, destination);
                }
                self.commons.spares.put(warming.reply);
                self.ask_again_here(id, sink);
            }
            Step::Ask | Step::Again => {}
        }
    }

    /// Whether no write of the key has begun since the older pool was asked.
    fn is_unwritten(&self, id: DestinationId, warming: &Warming) -> bool {
        let coherence = self.pools[usize::from(self.destination(id).pool)].shared.coherence();
        coherence.is_current(&coherence.snapshot(self.now), warming.hash, warming.stamp)
    }

    /// Adds what the older pool has said to the newer one.
    fn add(&mut self, id: AttemptId, destination: DestinationId, warming: Warming) -> Added {
        self.warming -= 1;
        let MetaGetReply::Hit { value, flags, ttl, stale: false, .. } = parse_meta_get_reply(&warming.reply)
        else {
            self.route_counters(destination).warm_misses += 1;
            self.commons.spares.put(warming.reply);
            return Added::No;
        };
        self.route_counters(destination).warm_hits += 1;
        let is_unwritten = self.is_unwritten(destination, &warming);
        if !is_unwritten {
            self.route_counters(destination).warm_overtaken += 1;
        }
        let left = match ttl {
            None => Some(0),
            // It is gone before it could be answered.
            Some(0) => None,
            Some(ttl) if ttl <= MAX_TTL_SECONDS => Some(u64::from(ttl)),
            // Beyond this, a number is a point in time.
            Some(ttl) => Some(self.unix(destination) + u64::from(ttl)),
        };
        let (Some(attempt), Some(left), true) = (self.attempts.get(id), left, is_unwritten) else {
            self.commons.spares.put(warming.reply);
            return if is_unwritten { Added::No } else { Added::Overtaken };
        };
        let (lane, Some(key)) = (attempt.lane, key_of(attempt)) else { return Added::No };
        let home = self.home_in(self.destination(destination).pool, lane);
        let server = self.pools[home.index()].ring.locate(&key);
        let Ok(backend) = self.lane(home, server, Protocol::Text) else { return Added::No };
        let Some(to) = self.backends.get_mut(backend) else { return Added::No };
        form::push_add(to.outgoing.tail(), &key, flags, left, value);
        // No cache has what is not there: an addition voids nothing.
        let in_flight = InFlight::new(Owner::Attempt(id), Verb::MetaSet, Shape::Meta, self.now);
        self.post(backend, in_flight);
        self.warming += 1;
        let Warming { hash, stamp, mut reply } = warming;
        reply.clear();
        if let Some(attempt) = self.attempts.get_mut(id) {
            attempt.step = Step::Add(Warming { hash, stamp, reply });
        }
        Added::OnItsWay
    }

    fn unix(&self, id: DestinationId) -> u64 {
        self.routes[usize::from(id.route)].shared.door().limits.unix(self.now)
    }

    /// Deletes what was added while somebody wrote the key.
    fn undo(&mut self, id: AttemptId, destination: DestinationId) {
        self.route_counters(destination).warm_overtaken += 1;
        let Some(attempt) = self.attempts.get(id) else { return };
        let (lane, Some(key)) = (attempt.lane, key_of(attempt)) else { return };
        self.delete_in(self.destination(destination).pool, lane, &key);
    }

    fn ask_again_here(&mut self, id: AttemptId, sink: &mut dyn Transmit) {
        let Some(attempt) = self.attempts.get_mut(id) else { return };
        attempt.step = Step::Again;
        attempt.leads_on = false;
        let at = attempt.at;
        if self.ask_from(id, Some(at)).is_err() {
            self.settle_for_kept(id, sink);
        }
    }

    /// A reply that an attempt waits for on its way will not come: the client has its miss.
    pub(super) fn warming_failed(&mut self, id: AttemptId, sink: &mut dyn Transmit) {
        let Some(attempt) = self.attempts.get_mut(id) else { return };
        let destination = attempt.destination;
        if let Step::Fetch(warming) | Step::Add(warming) = std::mem::take(&mut attempt.step) {
            self.warming -= 1;
            self.commons.spares.put(warming.reply);
        }
        self.route_counters(destination).warm_lost += 1;
        self.settle_for_kept(id, sink);
    }
}

/// What became of an addition.
enum Added {
    OnItsWay,
    /// There is nothing to be added.
    No,
    /// Somebody has written the key meanwhile.
    Overtaken,
}

fn key_of(attempt: &Attempt) -> Option<Vec<u8>> {
    match attempt.protocol.parse_head(&attempt.bytes) {
        Head::Complete { request, .. } => request.key().map(|key| key.to_vec()),
        _ => None,
    }
}
