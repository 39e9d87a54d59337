//! What a thread counts for each pool.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::protocol::Verb;

fabric::counters! {
    /// Counters of one pool in one thread. Names that begin with `cut_` count connections of clients that the node closed.
    pub struct ProxyCounters {
        /// Connections of clients taken.
        clients_opened,
        /// Connections of clients ended.
        clients_closed,
        /// Bytes received from clients.
        bytes_from_clients,
        /// Bytes received from servers.
        bytes_from_servers,
        /// Connections to servers tried.
        connects,
        /// Connections to servers that were refused or not taken in time.
        connects_failed,
        /// Connections to servers that ended with requests on them.
        connections_lost,
        /// Connections to servers that ended with no request on them.
        connections_idle_closed,
        /// Requests sent again since their connection had ended before they were answered.
        requests_repeated,
        /// Requests that a server did not answer in time.
        replies_timed_out,
        /// Connections on which a server sent what is no reply.
        replies_garbled,
        /// Gets answered from the hot table, by key.
        hits,
        /// Fills sent to servers for keys that turned hot or stay hot.
        fills_sent,
        /// Fills that entered the hot table.
        fills_installed,
        /// Fills whose key the server does not have.
        fills_missed,
        /// Fills not installed because a write came between.
        fills_overtaken,
        /// Fills not installed because the value or its remaining life is unfit for the hot table.
        fills_unfit,
        /// Fills that no server answered.
        fills_lost,
        /// Recache tokens of stale items that a fill won, and the node gave back.
        tokens_given_back,
        /// Writes refused because the table of writes in flight was full.
        refused_writes_in_flight_full,
        /// Requests refused because their client sends too many.
        refused_client_rate,
        /// Requests refused because all clients together send too many.
        refused_pool_rate,
        /// Requests refused because their value is larger than the pool takes.
        refused_too_large,
        /// Invalid commands, answered with memcached's own error.
        refused_invalid,
        /// Values streamed over a connection of their own.
        uploads,
        /// Times a client was not read since a server's connection had no room.
        waits_for_room,
        /// Times a server's connection was not read since a client did not take its reply.
        waits_for_clients,
        /// Connections given up with writes on them that were closed before these were answered.
        lingering_closed,
        /// Requests that were not traced though they were in the sample: too many traces were under way.
        traces_skipped,
        /// Probes of ejected servers.
        probes_sent,
        /// Probes that were not answered.
        probes_lost,
        /// Clients that took nothing while others waited behind their reply.
        cut_slow,
        /// Clients that neither took their replies nor finished their request in time.
        cut_stalled,
        /// Clients whose reply came in part when its server failed.
        cut_half_reply,
        /// Clients for whose replies there was no memory until it was their turn.
        cut_held_replies,
        /// Clients that sent what is no request and cannot be told from what follows.
        cut_invalid,
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its server did or had what was asked.
    Done,
    /// Its server did not have the key, or did not find it as the request wanted it.
    Unmet,
    /// Answered from the hot table.
    Cached,
    /// It was no valid request to its server.
    ClientError,
    /// Its server could not do it.
    ServerError,
    /// No server answered.
    Unavailable,
    /// It was beyond a limit of the pool.
    Refused,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Outcome; 7] = [
        Outcome::Done,
        Outcome::Unmet,
        Outcome::Cached,
        Outcome::ClientError,
        Outcome::ServerError,
        Outcome::Unavailable,
        Outcome::Refused,
    ];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Unmet => "unmet",
            Outcome::Cached => "cached",
            Outcome::ClientError => "client_error",
            Outcome::ServerError => "server_error",
            Outcome::Unavailable => "unavailable",
            Outcome::Refused => "refused",
        }
    }
}

const OUTCOMES: usize = Outcome::ALL.len();
const VERBS: usize = Verb::ALL.len();

/// Upper ends of the latency histogram's buckets but the last, in microseconds.
pub const LATENCY_BUCKETS_US: [u64; 14] =
    [50, 100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 102_400, 409_600, 1_638_400];

/// How long servers took: requests by bucket, and the sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Requests in each of [`LATENCY_BUCKETS_US`], and beyond.
    pub buckets: [u64; LATENCY_BUCKETS_US.len() + 1],
    /// The sum of all, in microseconds.
    pub sum_us: u64,
}

/// Requests by verb and outcome, and how long servers took: what one thread publishes.
#[derive(Debug)]
pub struct RequestCounts {
    counts: [[AtomicU64; OUTCOMES]; VERBS],
    latency: [AtomicU64; LATENCY_BUCKETS_US.len() + 1],
    latency_sum_us: AtomicU64,
}

impl Default for RequestCounts {
    fn default() -> Self {
        Self {
            counts: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            latency: std::array::from_fn(|_| AtomicU64::new(0)),
            latency_sum_us: AtomicU64::new(0),
        }
    }
}

impl RequestCounts {
    /// Verb, outcome and number of those that are not 0.
    pub fn read(&self) -> impl Iterator<Item = (Verb, Outcome, u64)> + '_ {
        let each = Verb::ALL.into_iter().flat_map(|verb| Outcome::ALL.map(|outcome| (verb, outcome)));
        each.map(|(verb, outcome)| {
            (verb, outcome, self.counts[verb as usize][outcome as usize].load(Ordering::Relaxed))
        })
        .filter(|(_, _, count)| *count > 0)
    }

    /// How long servers took.
    pub fn latency(&self) -> Latency {
        Latency {
            buckets: std::array::from_fn(|index| self.latency[index].load(Ordering::Relaxed)),
            sum_us: self.latency_sum_us.load(Ordering::Relaxed),
        }
    }

    /// One thread alone counts here, so a load and a store do.
    #[inline]
    pub(super) fn count(&self, verb: Verb, outcome: Outcome) {
        add(&self.counts[verb as usize][outcome as usize], 1);
    }

    #[inline]
    pub(super) fn took(&self, time: Duration) {
        let us = time.as_micros() as u64;
        let bucket = LATENCY_BUCKETS_US.iter().position(|end| us <= *end).unwrap_or(LATENCY_BUCKETS_US.len());
        add(&self.latency[bucket], 1);
        add(&self.latency_sum_us, us);
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed) + count, Ordering::Relaxed);
}
