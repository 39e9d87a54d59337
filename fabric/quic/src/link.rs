//! The link to one peer: which connection to use, and when to dial. No sockets, no clock.
//!
//! A link is made when it is first wanted, by one dial at a time. After a failure it rests, twice as long after each
//! further one, and whoever wants it meanwhile is told so at once. A connection that ends soon after it was made counts
//! as a failure: a peer that accepts and hangs up is not dialed in a loop.
//!
//! **Two connections.** Both ends may dial at once, or one may not know yet that the other has lost the connection they
//! had. Each end uses its newest connection, and serves what arrives on any. The end with the smaller node id alone
//! *decides*: it keeps its newest and retires the others, which the peer is told, so that both come to use the same
//! one. A newer connection wins because whoever dialed it had none; so a peer that started anew is never shut out by
//! what is left of its former life. One exception: a dial of the deciding end is given up if the peer's own connection
//! came while it was under way, since that one works already.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// Connections of one peer that are held at most; beyond them the oldest is retired.
const MAX_HELD: usize = 4;
/// A connection that lived so long was no failure.
const LASTING: Duration = Duration::from_secs(5);

/// Pauses between dials.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    pub(crate) min: Duration,
    pub(crate) max: Duration,
}

impl Backoff {
    /// After so many failures in a row, at least 1. `jitter` in 0..1 takes up to half of it away, so that those who
    /// lost the same peer at once do not come back at once.
    fn pause(self, failures: u32, jitter: f64) -> Duration {
        let doubled =
            self.min.saturating_mul(1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
        doubled.min(self.max).mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
    }
}

/// Who made a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This node.
    Dialed,
    /// The peer.
    Accepted,
}

/// What to do for someone who wants the link.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Want<C> {
    /// There is a connection.
    Use(C),
    /// A dial is under way.
    Wait,
    /// Dial, and tell how it went.
    Dial,
    /// Not now.
    Resting {
        /// Until then.
        until: Instant,
        /// What went wrong last.
        why: Arc<str>,
    },
}

/// The state of a link. `C` is a handle of a connection.
#[derive(Debug)]
pub(crate) struct Link<C> {
    decides: bool,
    backoff: Backoff,
    /// The newest last.
    held: Vec<Held<C>>,
    dialing_since: Option<Instant>,
    failures: u32,
    resting: Option<(Instant, Arc<str>)>,
}

#[derive(Debug)]
struct Held<C> {
    id: u64,
    connection: C,
    since: Instant,
}

impl<C: Clone> Link<C> {
    /// Without a connection. `decides` on the end with the smaller node id.
    pub(crate) fn new(decides: bool, backoff: Backoff) -> Self {
        Self { decides, backoff, held: Vec::new(), dialing_since: None, failures: 0, resting: None }
    }

    /// Someone wants to use it.
    pub(crate) fn want(&mut self, now: Instant) -> Want<C> {
        if let Some(held) = self.held.last() {
            return Want::Use(held.connection.clone());
        }
        if self.dialing_since.is_some() {
            return Want::Wait;
        }
        if let Some((until, why)) = &self.resting
            && now < *until
        {
            return Want::Resting { until: *until, why: Arc::clone(why) };
        }
        self.dialing_since = Some(now);
        Want::Dial
    }

    /// Why it rests, if it does.
    pub(crate) fn resting(&self, now: Instant) -> Option<(Instant, Arc<str>)> {
        let idle = self.held.is_empty() && self.dialing_since.is_none();
        self.resting.clone().filter(|(until, _)| idle && now < *until)
    }

    /// The connection in use.
    pub(crate) fn current(&self) -> Option<C> {
        self.held.last().map(|held| held.connection.clone())
    }

    /// A connection came to be. Gives back those to retire, this one perhaps.
    pub(crate) fn established(&mut self, id: u64, connection: C, origin: Origin, now: Instant) -> Vec<C> {
        let dialed_since = match origin {
            Origin::Dialed => self.dialing_since.take(),
            Origin::Accepted => None,
        };
        self.resting = None;
        let came_meanwhile = |since: Instant| self.held.iter().any(|held| held.since >= since);
        if self.decides && dialed_since.is_some_and(came_meanwhile) {
            return vec![connection];
        }
        self.held.push(Held { id, connection, since: now });
        let kept = if self.decides { 1 } else { MAX_HELD };
        let retired = self.held.len().saturating_sub(kept);
        self.held.drain(..retired).map(|held| held.connection).collect()
    }

    /// A dial failed. Whether that is the first failure in a row. `jitter` in 0..1.
    pub(crate) fn dial_failed(&mut self, why: Arc<str>, now: Instant, jitter: f64) -> bool {
        self.dialing_since = None;
        self.rest(why, now, jitter);
        self.failures == 1
    }

    /// A connection is not to be used any more, by the will of either end.
    pub(crate) fn retired(&mut self, id: u64) {
        self.held.retain(|held| held.id != id);
    }

    /// A connection is gone. Whether it was in use or held for it. `jitter` in 0..1.
    pub(crate) fn lost(&mut self, id: u64, why: Arc<str>, now: Instant, jitter: f64) -> bool {
        let Some(at) = self.held.iter().position(|held| held.id == id) else { return false };
        let held = self.held.remove(at);
        if now.saturating_duration_since(held.since) >= LASTING {
            self.failures = 0;
        } else if self.held.is_empty() {
            self.rest(why, now, jitter);
        }
        true
    }

    /// The addresses are others now: a rest has no reason any more.
    pub(crate) fn wake(&mut self) {
        self.failures = 0;
        self.resting = None;
    }

    fn rest(&mut self, why: Arc<str>, now: Instant, jitter: f64) {
        self.failures = self.failures.saturating_add(1);
        self.resting = Some((now + self.backoff.pause(self.failures, jitter), why));
    }
}

#[cfg(test)]
mod tests;
