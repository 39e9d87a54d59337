//! Traces: what became of a sample of requests, and when. What a trace looks like outside is the shell's; it takes them
//! with [`Proxy::next_trace`](super::Proxy::next_trace).
//!
//! Whether a request is in the sample is known when its head is read. From then on until its reply is complete each part
//! of the proxy that deals with it adds what it knows, by client and place in the client's queue. A request that is not in
//! the sample costs a countdown, and its reply a look at a table that is empty.
//!
//! A trace ends when the node has the whole reply. When the client takes it is the client's affair, and not in it.
//!
//! | module | what it is |
//! |---|---|
//! | `sample` | which requests |
//! | `noted` | what is added where |

mod noted;
mod sample;

use std::collections::VecDeque;

use fabric::time::Nanos;

use super::backend::ServerId;
use super::client::ClientId;
use super::counters::Outcome;
use super::in_flight::Place;
use crate::protocol::Verb;
use sample::Sample;

/// Traces of a thread that are under way or were not taken yet. While there are so many no request is traced.
pub const MAX_TRACES: usize = 64;
/// Servers' shares that a trace tells of; later ones are only counted.
pub const MAX_SHARES: usize = 64;

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Whose it was.
    pub client: ClientId,
    /// The index of the client's pool.
    pub pool: u16,
    /// What was asked.
    pub verb: Verb,
    /// Its first key, as the servers know it; empty if it names none.
    pub key: Vec<u8>,
    /// A hash of that key, the same as long as the pool stays the same.
    pub key_hash: u64,
    /// How many keys it names.
    pub keys: usize,
    /// Bytes of the request, its value included.
    pub request_bytes: usize,
    /// Bytes of the reply.
    pub reply_bytes: usize,
    /// Keys that were answered from the hot table.
    pub hits: usize,
    /// When its head had come.
    pub began: Nanos,
    /// When the reply was complete.
    pub ended: Nanos,
    /// What became of it; `None` if the client left before.
    pub outcome: Option<Outcome>,
    /// Servers that were asked.
    pub servers: usize,
    /// What these did, the first [`MAX_SHARES`].
    pub shares: Vec<Share>,
}

/// A server's share of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The server.
    pub server: ServerId,
    /// When it was asked, the last time if that was repeated.
    pub sent: Nanos,
    /// When its reply had come or was given up; `None` if the request ended before.
    pub ended: Option<Nanos>,
    /// What it said.
    pub outcome: Outcome,
    /// How often it was asked again.
    pub repeats: u8,
}

/// The traces of a thread.
#[derive(Debug, Default)]
pub(super) struct Tracer {
    sample: Sample,
    open: Vec<Open>,
    ended: VecDeque<Trace>,
}

/// A trace under way.
#[derive(Debug)]
struct Open {
    place: Place,
    /// What went wrong besides what servers said.
    failure: Option<Outcome>,
    /// The reply is complete.
    done: bool,
    /// Servers that failed and for which others stood in.
    stood_in_for: Vec<ServerId>,
    trace: Trace,
}

impl Tracer {
    /// Nothing is under way.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    fn is_full(&self) -> bool {
        self.open.len() + self.ended.len() >= MAX_TRACES
    }

    fn open(&mut self, client: ClientId, place: Place) -> Option<&mut Open> {
        self.open.iter_mut().find(|open| open.trace.client == client && open.place == place)
    }

    /// `parts` of the reply at `place`, the last ones if `done`.
    #[inline]
    pub(super) fn delivered(&mut self, client: ClientId, place: Place, parts: &[&[u8]], done: bool) {
        if !self.is_idle()
            && let Some(open) = self.open(client, place)
        {
            open.trace.reply_bytes += parts.iter().map(|part| part.len()).sum::<usize>();
            open.done |= done;
        }
    }

    /// What was delivered at `place` was taken back.
    pub(super) fn took_back(&mut self, client: ClientId, place: Place) {
        if let Some(open) = self.open(client, place) {
            open.trace.reply_bytes = 0;
        }
    }

    /// So many keys were answered from the hot table.
    #[inline]
    pub(super) fn hits(&mut self, client: ClientId, place: Place, count: usize) {
        if !self.is_idle()
            && let Some(open) = self.open(client, place)
        {
            open.trace.hits += count;
        }
    }

    /// No server has answered, or could be asked.
    pub(super) fn failed(&mut self, client: ClientId, place: Place, outcome: Outcome) {
        if let Some(open) = self.open(client, place) {
            open.failure.get_or_insert(outcome);
        }
    }

    /// The client goes on elsewhere, and with it what it had begun to ask.
    pub(super) fn forget(&mut self, client: ClientId) {
        self.open.retain(|open| open.trace.client != client);
    }

    /// The client is gone.
    pub(super) fn left(&mut self, client: ClientId, now: Nanos) {
        let (open, ended) = (&mut self.open, &mut self.ended);
        ended.extend(open.extract_if(.., |open| open.trace.client == client).map(|open| open.end(now)));
    }

    /// Ends the traces whose replies are complete.
    pub(super) fn settle(&mut self, now: Nanos) {
        let (open, ended) = (&mut self.open, &mut self.ended);
        ended.extend(open.extract_if(.., |open| open.done).map(|open| open.end(now)));
    }
}

impl Open {
    fn end(self, now: Nanos) -> Trace {
        let outcome = self.done.then(|| self.outcome());
        Trace { ended: now, outcome, ..self.trace }
    }

    /// The worst that went wrong; else whether there was anything.
    fn outcome(&self) -> Outcome {
        const WORST_FIRST: [Outcome; 4] =
            [Outcome::Unavailable, Outcome::ServerError, Outcome::ClientError, Outcome::Done];
        let counts = |share: &&Share| {
            share.outcome != Outcome::Unavailable || !self.stood_in_for.contains(&share.server)
        };
        let said = |outcome| self.trace.shares.iter().filter(counts).any(|share| share.outcome == outcome);
        match self.failure.or_else(|| WORST_FIRST.into_iter().find(|outcome| said(*outcome))) {
            Some(outcome) => outcome,
            None if self.trace.hits > 0 && self.trace.shares.is_empty() => Outcome::Cached,
            None if self.trace.hits > 0 || self.trace.shares.is_empty() => Outcome::Done,
            None => Outcome::Unmet,
        }
    }
}
