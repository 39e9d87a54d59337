//! What is added to traces, where it is known.

use super::super::Proxy;
use super::super::backend::ServerId;
use super::super::counters::Outcome;
use super::super::in_flight::{InFlight, Owner};
use super::super::request::Asked;
use super::sample::Sample;
use super::{MAX_SHARES, Open, Share, Trace};

impl Proxy {
    /// Traces one of `period` requests on average from now on, chosen by `seed`; none if `period` is 0.
    pub fn trace(&mut self, period: u32, seed: u64) {
        self.commons.tracer.sample = Sample::new(period, seed);
    }

    /// The next trace that has ended.
    pub fn next_trace(&mut self) -> Option<Trace> {
        self.commons.tracer.ended.pop_front()
    }

    /// Begins a trace of `asked`, with a data block of `value_len` bytes, if it is read for the first time and in the sample.
    #[inline]
    pub(in crate::proxy) fn sample(&mut self, asked: &Asked<'_>, value_len: usize) {
        if !self.clients[asked.client].is_counted && self.commons.tracer.sample.picks() {
            self.begin_trace(asked, value_len);
        }
    }

    #[cold]
    fn begin_trace(&mut self, asked: &Asked<'_>, value_len: usize) {
        let (id, now) = (asked.client, self.now);
        let (client, tracer) = (&self.clients[id], &mut self.commons.tracer);
        let (pool, place) = (client.pool, client.next_place());
        let part = &mut self.pools[usize::from(pool)];
        if tracer.is_full() {
            part.counters.traces_skipped += 1;
            return;
        }
        // There may be one of a request that had no reply.
        tracer.open.retain(|open| open.trace.client != id || open.place != place);
        let key = asked.request.key().map(|key| key.to_vec()).unwrap_or_default();
        let trace = Trace {
            client: id,
            pool,
            verb: asked.request.verb,
            key_hash: part.shared.hash(&key),
            key,
            keys: asked.request.keys().count(),
            request_bytes: asked.head.len() + value_len,
            reply_bytes: 0,
            hits: 0,
            began: now,
            ended: now,
            outcome: None,
            servers: 0,
            shares: Vec::new(),
        };
        tracer.open.push(Open { place, failure: None, done: false, stood_in_for: Vec::new(), trace });
    }

    /// The trace of the request that `owner` waits for.
    #[inline]
    fn traced(&mut self, owner: Owner) -> Option<&mut Open> {
        if self.commons.tracer.is_idle() {
            return None;
        }
        let owner = match owner {
            Owner::Attempt(id) => self.attempt_owner(id)?,
            owner => owner,
        };
        let (client, place) = match owner {
            Owner::Client { client, place } => (client, place),
            Owner::Part(part) => self.gathers.get(part.gather).map(|gather| (gather.client, gather.place))?,
            Owner::Attempt(_) | Owner::Fill | Owner::Probe | Owner::Nobody => return None,
        };
        self.commons.tracer.open(client, place)
    }

    /// The reply of `server` to `entry` begins, and says this.
    #[inline]
    pub(in crate::proxy) fn trace_reply(&mut self, server: ServerId, entry: &InFlight, outcome: Outcome) {
        if let Some(open) = self.traced(entry.owner) {
            open.answered_by(server, entry, outcome);
        }
    }

    /// It is complete.
    #[inline]
    pub(in crate::proxy) fn trace_reply_end(&mut self, server: ServerId, entry: &InFlight) {
        let now = self.now;
        if let Some(open) = self.traced(entry.owner) {
            open.done_by(server, now);
        }
    }

    /// `server` will not answer `entry`.
    pub(in crate::proxy) fn trace_loss(&mut self, server: ServerId, entry: &InFlight) {
        let now = self.now;
        // Whether nobody stands in is told when that is known.
        let others_may = match entry.owner {
            Owner::Attempt(_) => true,
            Owner::Part(part) => self.gathers.get(part.gather).is_some_and(|gather| gather.needs_acks()),
            _ => entry.splits,
        };
        if let Some(open) = self.traced(entry.owner) {
            open.answered_by(server, entry, Outcome::Unavailable);
            open.done_by(server, now);
            match others_may {
                true => open.stood_in_for.push(server),
                false => _ = open.failure.get_or_insert(Outcome::Unavailable),
            }
        }
    }
}

impl Open {
    fn answered_by(&mut self, server: ServerId, entry: &InFlight, outcome: Outcome) {
        let share = Share { server, sent: entry.sent, ended: None, outcome, repeats: entry.repeats };
        match self.share_of(server) {
            // It had begun to answer, and then failed.
            Some(begun) => *begun = share,
            None => {
                self.trace.servers += 1;
                if self.trace.shares.len() < MAX_SHARES {
                    self.trace.shares.push(share);
                }
            }
        }
    }

    fn done_by(&mut self, server: ServerId, now: fabric::time::Nanos) {
        if let Some(share) = self.share_of(server) {
            share.ended = Some(now);
        }
    }

    /// The share of a server that has begun to answer.
    fn share_of(&mut self, server: ServerId) -> Option<&mut Share> {
        self.trace.shares.iter_mut().find(|share| share.server == server && share.ended.is_none())
    }
}
