//! Routes: one address for the keys of several pools.
//!
//! A client of a route is served as one of a pool is, but for the question whose keys it asks for: each key goes where the
//! longest of the route's prefixes that it begins with leads, and where `default` does if there is none. A get of keys of
//! several pools is gathered from all of them; `flush_all`, `verbosity` and `stats` are for every pool that the route leads
//! to. Keys are not changed on their way.
//!
//! # More than one pool for a key
//!
//! A destination may name pools to fail over to. The first of its pools whose server of the key is not known to be down is
//! asked, and the next one if that server fails; misses lead on if `failover_on_miss` says so. Values that are stored at a
//! pool failed over to live for `failover_ttl` at most, since nobody deletes them there once the first pool is back; a delete
//! goes to all pools of the destination while these are up. A pool that was down returns with the values it had.
//!
//! A destination may name replicas. Reads are answered by the nearest copy that is up. A write goes to all that are up, and its
//! client is told once as many as configured have acknowledged it; `copies` says which copy decides what. If fewer are up, it
//! is refused and goes to none. Copies may come to differ when one was down, and when two clients write a key at the same time.
//! Whoever reads from another copy than its write was acknowledged by may read from before it; with all copies up and
//! [`Acks::All`] there is no such read.
//!
//! A destination may name an older pool to be [filled from](Destination::warm_from); `warm` says how, and why nothing comes back
//! from it that was overwritten.
//!
//! | module | what it is |
//! |---|---|
//! | `prefixes` | the longest prefix of a key |
//! | `several` | a request whose key several pools may have |
//! | `attempt` | a request that is asked of several pools in turn |
//! | `copies`, `acks`, `form` | writes to several copies, what acknowledges them, and what those get that follow |
//! | `uploads` | large values to several copies |
//! | `warm` | a pool that is filled from an older one |
//! | `shadow` | a sample of requests for another pool |
//! | `counters` | what is counted |

mod acks;
mod attempt;
mod copies;
mod counters;
mod form;
mod prefixes;
mod several;
mod shadow;
mod split;
mod uploads;
mod warm;

use std::sync::Arc;

use fabric::counters::Published;

use super::client::{Client, ClientId};
use super::door::Door;
use super::limits::{ClientLimits, MaxTtl};
use super::{PoolPart, Proxy};
use crate::session::credentials::Credentials;
pub(super) use acks::Acknowledged;
pub use acks::Acks;
use attempt::DestinationId;
pub(super) use attempt::{Arrived, Attempt, AttemptId};
pub use counters::RouteCounters;
use prefixes::Prefixes;
pub use shadow::{Shadow, Share};

/// Where a route's keys go. Pools go by their index in the order in which the [`Proxy`] is given them.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name in counters and on the admin page.
    pub name: String,
    /// Where keys go that begin with none of the prefixes.
    pub default: Destination,
    /// Prefixes, none twice, and where keys go that begin with them: the longest counts.
    pub prefixes: Vec<(Vec<u8>, Destination)>,
    /// What its clients may do.
    pub limits: ClientLimits,
    /// Who is served, if not everybody: clients speak binary then, and authenticate themselves first.
    pub credentials: Option<Arc<Credentials>>,
}

/// Where a key goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The pool that has it: with replicas the nearest, by which reads are answered.
    pub pool: u16,
    /// Pools that have copies of it, the next nearest first.
    pub replicas: Vec<u16>,
    /// How many copies have to acknowledge a write.
    pub acks: Acks,
    /// An older pool, which is asked for what `pool` does not have: it is added there. Only without the others below and above.
    pub warm_from: Option<u16>,
    /// Where a sample of its requests goes, too.
    pub shadow: Option<Shadow>,
    /// The pools that are asked in turn when its server fails.
    pub failover: Vec<u16>,
    /// How long at most an item lives that is stored in one of these.
    pub failover_ttl: Option<MaxTtl>,
    /// Whether a key that one does not have is asked of the next, too.
    pub failover_on_miss: bool,
}

impl Destination {
    /// `pool`, and nothing else.
    pub fn of(pool: u16) -> Self {
        Self {
            pool,
            replicas: Vec::new(),
            acks: Acks::All,
            warm_from: None,
            shadow: None,
            failover: Vec::new(),
            failover_ttl: None,
            failover_on_miss: false,
        }
    }

    /// The pools that may hold its keys.
    fn pools(&self) -> impl Iterator<Item = u16> + '_ {
        self.chain().chain(self.warm_from)
    }

    /// The pools that have copies of its keys, the nearest first.
    fn copies(&self) -> impl Iterator<Item = u16> + '_ {
        std::iter::once(self.pool).chain(self.replicas.iter().copied())
    }

    /// How many copies have to acknowledge a write.
    fn acks_needed(&self) -> usize {
        self.acks.of(1 + self.replicas.len())
    }

    /// Whether a get of several keys may ask a server for several of them in one line: a miss is the end of it.
    pub(super) fn reads_in_lines(&self) -> bool {
        self.warm_from.is_none() && !self.failover_on_miss
    }

    /// Whether its keys are asked of one pool alone.
    fn is_plain(&self) -> bool {
        self.replicas.is_empty()
            && self.failover.is_empty()
            && self.warm_from.is_none()
            && self.shadow.is_none()
    }
}

/// A route as threads share it.
#[derive(Debug)]
pub struct SharedRoute {
    name: String,
    prefixes: Prefixes,
    /// In the order of the prefixes; the last is the default.
    destinations: Vec<Destination>,
    /// The pools that it leads to, none twice.
    pools: Vec<u16>,
    /// The same with shadows.
    all: Vec<u16>,
    door: Door,
    /// By thread: [`RouteCounters`].
    threads: Vec<Arc<Published>>,
}

impl SharedRoute {
    /// The shared state of `route` for `threads` threads.
    pub fn new(route: Route, threads: usize) -> Arc<Self> {
        let Route { name, default, prefixes, limits, credentials } = route;
        let (prefixes, mut destinations): (Vec<Vec<u8>>, Vec<Destination>) = prefixes.into_iter().unzip();
        destinations.push(default);
        let shadows = destinations.iter().filter_map(|to| Some(to.shadow?.pool));
        let shadows: Vec<u16> = shadows.collect();
        let mut pools: Vec<u16> = destinations.iter().flat_map(Destination::pools).collect();
        pools.sort_unstable();
        pools.dedup();
        let mut all = [&pools[..], &shadows].concat();
        all.sort_unstable();
        all.dedup();
        let (prefixes, door) = (Prefixes::new(prefixes), Door::new(limits, credentials));
        let threads = (0..threads).map(|_| Published::new::<RouteCounters>()).collect();
        Arc::new(Self { name, prefixes, destinations, pools, all, door, threads })
    }

    /// What each thread has counted.
    pub fn threads(&self) -> &[Arc<Published>] {
        &self.threads
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who is served, if not everybody.
    pub fn credentials(&self) -> Option<&Arc<Credentials>> {
        self.door.credentials.as_ref()
    }

    pub(super) fn door(&self) -> &Door {
        &self.door
    }

    /// The pool of keys of no prefix.
    pub(super) fn default_pool(&self) -> u16 {
        self.destinations[self.destinations.len() - 1].pool
    }

    fn destination_of(&self, key: &[u8]) -> usize {
        self.prefixes.longest_of(key).unwrap_or(self.destinations.len() - 1)
    }
}

/// Where a key goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lead {
    /// To one pool.
    One(Home),
    /// To this destination of several.
    Several(DestinationId),
}

/// The pool of a key, and which of each server's connections its client uses there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Home {
    pub(super) pool: u16,
    pub(super) lane: u8,
}

impl Home {
    #[inline]
    pub(super) fn index(self) -> usize {
        usize::from(self.pool)
    }
}

/// A thread's part of a route.
#[derive(Debug)]
pub(super) struct RoutePart {
    pub(super) shared: Arc<SharedRoute>,
    pub(super) counters: RouteCounters,
    view: Arc<Published>,
}

impl RoutePart {
    fn new(shared: Arc<SharedRoute>, thread: u16) -> Self {
        let view = Arc::clone(&shared.threads[usize::from(thread)]);
        Self { shared, counters: RouteCounters::default(), view }
    }

    pub(super) fn publish(&self) {
        self.view.publish(&self.counters);
    }

    /// Adopts the rings in force of the pools that it leads to.
    pub(super) fn adopt_rings(&self, pools: &mut [PoolPart]) {
        self.shared.all.iter().for_each(|pool| pools[usize::from(*pool)].adopt_ring());
    }
}

impl Proxy {
    /// Serves `routes`, too, which lead to its pools.
    ///
    /// # Panics
    /// If a route leads to a pool that is not there, or was made for fewer threads.
    #[must_use]
    pub fn with_routes(mut self, routes: Vec<Arc<SharedRoute>>) -> Self {
        let pools = self.pools.len();
        let leads_nowhere =
            |route: &Arc<SharedRoute>| route.all.iter().any(|pool| usize::from(*pool) >= pools);
        assert!(!routes.iter().any(leads_nowhere), "a route leads to a pool that is not there");
        self.routes = routes.into_iter().map(|shared| RoutePart::new(shared, self.thread)).collect();
        self
    }

    /// What the client came in by.
    pub(super) fn door_of(&self, client: &Client) -> &Door {
        match client.route {
            None => self.pools[usize::from(client.pool)].shared.door(),
            Some(route) => self.routes[usize::from(route)].shared.door(),
        }
    }

    /// Where a client's `key` goes.
    #[inline]
    pub(super) fn lead_of(&self, client: &Client, key: &[u8]) -> Lead {
        match client.route {
            None => Lead::One(Home { pool: client.pool, lane: client.lane }),
            Some(route) => self.routed_lead(route, client.lane, key),
        }
    }

    fn routed_lead(&self, route: u16, lane: u8, key: &[u8]) -> Lead {
        let shared = &self.routes[usize::from(route)].shared;
        let index = shared.destination_of(key);
        let destination = &shared.destinations[index];
        if destination.is_plain() {
            return Lead::One(self.home_in(destination.pool, lane));
        }
        Lead::Several(DestinationId { route, index: index as u16 })
    }

    /// `pool` as a client in `lane` of a route uses it.
    pub(super) fn home_in(&self, pool: u16, lane: u8) -> Home {
        Home { pool, lane: lane % self.pools[usize::from(pool)].shared.pool().lanes }
    }

    /// All pools that a client may ask.
    pub(super) fn pools_of(&self, id: ClientId) -> Vec<u16> {
        let client = &self.clients[id];
        match client.route {
            None => vec![client.pool],
            Some(route) => self.routes[usize::from(route)].shared.pools.clone(),
        }
    }
}
