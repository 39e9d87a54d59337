//! What clients of a pool may do: requests per second, sizes and lives of items, and how long they may take.
//!
//! A request beyond a limit is refused in its turn, so that its client can go on at once with what it does on a miss. Slowing
//! the client down instead would run into its deadline, and clients give a server up that misses deadlines.
//!
//! | module | what it is |
//! |---|---|
//! | `rate` | token buckets |
//! | `ttl` | requests with a shorter life for their item |
//! | `progress` | who stands still |

mod progress;
mod rate;
mod ttl;

use std::sync::Arc;
use std::time::Duration;

use fabric::time::Nanos;

pub use progress::{ENOUGH_BYTES, Progress};
pub use rate::{MAX_PER_SECOND, Rate, TokenBucket};
pub use ttl::{MAX_TTL_SECONDS, MaxTtl};

use super::client::{ClientId, Transmit};
use super::failure::Failure;
use super::request::Asked;
use super::{MAX_STALL, Proxy};
use crate::protocol::{Request, Verb};

/// The limits of a pool. None unless told.
#[derive(Clone, Copy, Debug)]
pub struct ClientLimits {
    /// Requests of all clients together.
    pub rate: Option<Rate>,
    /// The largest value in bytes.
    pub max_value: Option<usize>,
    /// The longest life of an item; what is to live longer lives as long.
    pub max_ttl: Option<MaxTtl>,
    /// How long a client may leave a request unfinished or a reply unread.
    pub stall: Duration,
    /// The Unix time in seconds when [`Nanos`] was 0; what expires at a point in time is measured by it.
    pub unix_at_zero: u64,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self { rate: None, max_value: None, max_ttl: None, stall: MAX_STALL, unix_at_zero: 0 }
    }
}

impl ClientLimits {
    pub(super) fn unix(&self, now: Nanos) -> u64 {
        self.unix_at_zero + now.0 / 1_000_000_000
    }
}

impl Proxy {
    /// Has `bucket`, which other connections of the same client may share, limit the client's requests; none does without.
    pub fn limit_client(&mut self, id: ClientId, bucket: Option<Arc<TokenBucket>>) {
        if let Some(client) = self.clients.get_mut(id) {
            client.bucket = bucket;
        }
    }

    /// Why the request that stands at the front of the client's input is not carried out, if it is beyond a limit. Asked
    /// again for the same request, it says the same and counts it once.
    pub(super) fn beyond_limit(
        &mut self,
        id: ClientId,
        request: &Request<'_>,
        value_len: usize,
    ) -> Option<Failure> {
        let client = &mut self.clients[id];
        if std::mem::replace(&mut client.is_counted, true) {
            return None;
        }
        let part = &mut self.pools[usize::from(client.pool)];
        let door = match client.route {
            None => part.shared.door(),
            Some(route) => self.routes[usize::from(route)].shared.door(),
        };
        if door.limits.max_value.is_some_and(|most| value_len > most) {
            part.counters.refused_too_large += 1;
            return Some(Failure::TooLarge);
        }
        if client.bucket.is_none() && door.bucket.is_none() {
            return None;
        }
        let tokens = tokens(request);
        let lets_pass = |bucket: Option<&TokenBucket>| {
            tokens == 0 || bucket.is_none_or(|bucket| bucket.take(tokens, self.now))
        };
        if !lets_pass(client.bucket.as_deref()) {
            part.counters.refused_client_rate += 1;
            return Some(Failure::ClientRate);
        }
        if !lets_pass(door.bucket.as_ref()) {
            part.counters.refused_pool_rate += 1;
            return Some(Failure::PoolRate);
        }
        None
    }

    /// Refuses a request beyond a limit; its data block of `len` bytes is swallowed. Returns the length of its head.
    pub(super) fn refuse_beyond_limit(
        &mut self,
        asked: &Asked<'_>,
        len: usize,
        failure: Failure,
        sink: &mut dyn Transmit,
    ) -> usize {
        let client = &mut self.clients[asked.client];
        client.swallow(len);
        let place = client.ask();
        self.refuse(asked, place, failure, sink);
        asked.head.len()
    }

    /// The head of `request` with a shorter life for its item, if it asks for a longer one than the pool allows.
    pub(super) fn lower_ttl(&self, id: ClientId, request: &Request<'_>, head: &[u8]) -> Option<Vec<u8>> {
        let limits = &self.door_of(&self.clients[id]).limits;
        limits.max_ttl?.lower(request, head, limits.unix(self.now))
    }
}

/// What a request costs: one for each key. What the node answers itself is free, so that a client finds its place again.
fn tokens(request: &Request<'_>) -> u32 {
    match request.verb {
        Verb::Version | Verb::Noop | Verb::Quit | Verb::Sasl => 0,
        _ => request.keys().count().max(1) as u32,
    }
}
