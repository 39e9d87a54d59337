//! Requests that wait for a part of the store that another thread holds.
//!
//! First come, first served: while the store is held for the first of them, the others are not tried, so that a worker spends
//! one bounded look on all. A request is dropped if no place is free, or if it has waited too long.

use std::collections::VecDeque;
use std::time::Duration;

use fabric::time::Nanos;

use crate::packet::wire::Client;
use crate::session::datagram::Exchange;

/// Requests that wait on one worker at most.
const PLACES: usize = 64;
/// How long one waits at most: as long as a client would.
const PATIENCE: Duration = Duration::from_millis(500);
/// What a place holds without allocating: a request in one packet, and a reply in one.
const USUAL_BYTES: usize = 2048;

/// A request that is not carried out to its end.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) client: Client,
    /// Bytes of its reply on the wire, at most.
    pub(super) limit: usize,
    pub(super) exchange: Exchange,
    /// The request, behind its frame.
    pub(super) commands: Vec<u8>,
    /// What is to be replied so far.
    pub(super) out: Vec<u8>,
    since: Nanos,
}

impl Waiting {
    pub(super) fn has_waited_too_long(&self, now: Nanos) -> bool {
        now.since(self.since) > PATIENCE
    }
}

#[derive(Debug)]
pub(super) struct WaitingRoom {
    queue: VecDeque<Waiting>,
    /// Buffers of free places.
    spare: Vec<(Vec<u8>, Vec<u8>)>,
}

impl WaitingRoom {
    pub(super) fn new() -> Self {
        let buffers = || (Vec::with_capacity(USUAL_BYTES), Vec::with_capacity(USUAL_BYTES));
        Self {
            queue: VecDeque::with_capacity(PLACES),
            spare: std::iter::repeat_with(buffers).take(PLACES).collect(),
        }
    }

    /// Puts a request off, with what is to be replied to it so far. `false` if no place is free.
    pub(super) fn enter(
        &mut self,
        client: Client,
        limit: usize,
        exchange: Exchange,
        request: &[u8],
        reply: &[u8],
        now: Nanos,
    ) -> bool {
        let Some((mut commands, mut out)) = self.spare.pop() else { return false };
        commands.clear();
        commands.extend_from_slice(request);
        out.clear();
        out.extend_from_slice(reply);
        self.queue.push_back(Waiting { client, limit, exchange, commands, out, since: now });
        true
    }

    /// Takes out the request that has waited longest. Give it back by [`again`](WaitingRoom::again) or
    /// [`leave`](WaitingRoom::leave).
    pub(super) fn first(&mut self) -> Option<Waiting> {
        self.queue.pop_front()
    }

    /// The first one waits on.
    pub(super) fn again(&mut self, waiting: Waiting) {
        self.queue.push_front(waiting);
    }

    /// A request is done with.
    pub(super) fn leave(&mut self, waiting: Waiting) {
        self.spare.push((waiting.commands, waiting.out));
    }
}
