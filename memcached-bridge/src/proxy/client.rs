//! A client: what it has sent and is not read yet, the replies it waits for, and the bytes on their way to it.

use std::collections::VecDeque;
use std::sync::Arc;

use arrayvec::ArrayVec;
use fabric::time::Nanos;

use super::backend::BackendId;
use super::buffer::{Buffer, Spares};
use super::in_flight::Place;
use super::limits::{Progress, TokenBucket};
use super::trace::Tracer;
use super::{Action, MAX_UNSENT};
use crate::protocol::Protocol;
use crate::session::binary::SaslState;

slotmap::new_key_type! {
    /// A client's connection. Never names another one later.
    pub struct ClientId;
}

/// Parts of a reply that are sent together, at most.
pub const MAX_PARTS: usize = 64;

/// Where bytes can be sent to a client at once, without a copy.
pub trait Transmit {
    /// Sends as much of `parts`, one after the other, as goes without waiting. They are [`MAX_PARTS`] and one at most.
    /// Returns how many bytes that was, 0 if the client is gone.
    fn transmit(&mut self, client: ClientId, parts: &[&[u8]]) -> usize;
}

/// Bytes of a part from which on a copy costs more than to send it from where it is.
const DIRECT: usize = 8 * 1024;
/// Bytes that are gathered for one system call at most: what fits the processor's cache.
const GATHERED: usize = 128 * 1024;

/// What the next bytes of a client are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// Requests.
    Requests,
    /// `left` bytes of a value for a server.
    Value { backend: BackendId, left: usize },
    /// So many bytes that nobody wants.
    Swallow(usize),
}

/// Why no more of a client's requests are read for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// They are.
    No,
    /// A connection has no room for more, or a server for more values.
    Room,
    /// The client has too much to take, or too many requests without a reply.
    Replies,
    /// The next request may be carried out only when all before it are done.
    Turn,
}

/// A reply in a client's queue.
#[derive(Debug, Default)]
pub(super) struct Reply {
    /// What came before it was its turn.
    held: Vec<u8>,
    done: bool,
}

/// Whether a server's connection may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Go,
    /// The client takes no more now.
    Full,
    /// It is not the reply's turn, and much of it is held.
    EarlyAndMuch,
    /// It is not the turn of this part of the reply, and much of it is held.
    BehindAnItem,
    /// There is no such client any more.
    Gone,
}

#[derive(Debug)]
pub(super) struct Client {
    /// Its pool; with a route the one that keys of no prefix go to, which counts what it does as a client.
    pub(super) pool: u16,
    /// The route that it came in by.
    pub(super) route: Option<u16>,
    /// Which of each server's connections it uses; with a route that many, counted round.
    pub(super) lane: u8,
    pub(super) protocol: Option<Protocol>,
    pub(super) reading: Reading,
    /// Where the value that is being read goes besides.
    pub(super) copies: Vec<BackendId>,
    pub(super) wait: Wait,
    /// Nothing more is read: what was asked is answered, then the connection is closed.
    pub(super) ending: bool,
    /// An action to send is under way.
    pub(super) announced: bool,
    /// What is not read yet. Holds no whole request before it is `awaited` bytes long.
    pub(super) input: Vec<u8>,
    pub(super) awaited: usize,
    queue: VecDeque<Reply>,
    front: Place,
    /// Bytes that came of the foremost reply so far.
    front_bytes: usize,
    out: Buffer,
    /// The last bytes did not all go: no use trying before the shell says that some did.
    blocked: bool,
    /// Connections that are not read until the client takes more, and the place they wait for.
    pub(super) holding_up: Vec<(BackendId, Place)>,
    /// When it last got on with what it had to take or send.
    pub(super) progress: Progress,
    /// Its share of requests, if that is limited.
    pub(super) bucket: Option<Arc<TokenBucket>>,
    /// How far it has authenticated itself.
    pub(super) sasl: SaslState,
    /// The request at the front of its input was counted as one.
    pub(super) is_counted: bool,
}

/// What all clients of a thread share.
#[derive(Debug, Default)]
pub(super) struct Commons {
    pub(super) spares: Spares,
    pub(super) actions: VecDeque<Action>,
    /// Servers that are to be sent to: before anything else, so that they have something to do meanwhile.
    pub(super) to_backends: VecDeque<BackendId>,
    /// Clients that may be read again.
    pub(super) resumable: VecDeque<ClientId>,
    /// Connections that may be read again.
    pub(super) released: Vec<BackendId>,
    /// Bytes of replies held until their turn.
    pub(super) held: usize,
    /// Clients that may be done.
    pub(super) finished: Vec<ClientId>,
    /// Clients are closed as soon as they are idle.
    pub(super) draining: bool,
    /// Another proxy reads the clients' next requests.
    pub(super) retired: bool,
    /// What became of a sample of requests.
    pub(super) tracer: Tracer,
}

impl Client {
    pub(super) fn new(pool: u16, route: Option<u16>, lane: u8, now: Nanos) -> Self {
        Self {
            pool,
            route,
            lane,
            protocol: None,
            reading: Reading::Requests,
            copies: Vec::new(),
            wait: Wait::No,
            ending: false,
            announced: false,
            input: Vec::new(),
            awaited: 0,
            queue: VecDeque::new(),
            front: Place::default(),
            front_bytes: 0,
            out: Buffer::default(),
            blocked: false,
            holding_up: Vec::new(),
            progress: Progress::new(now),
            bucket: None,
            sasl: SaslState::default(),
            is_counted: false,
        }
    }

    /// `len` bytes came: of what it had begun, or of something new.
    pub(super) fn received(&mut self, len: usize, now: Nanos) {
        if self.input.is_empty() && self.reading == Reading::Requests {
            self.progress = Progress::new(now);
        } else {
            self.progress.moved(len, now);
        }
    }

    /// The next `len` bytes are the data block of a request that was refused.
    pub(super) fn swallow(&mut self, len: usize) {
        self.awaited = 0;
        self.reading = if len > 0 { Reading::Swallow(len) } else { Reading::Requests };
    }

    /// The request at the front of its input is done with.
    pub(super) fn is_through_with_request(&mut self, now: Nanos) {
        self.is_counted = false;
        self.progress = Progress::new(now);
    }

    /// Replies that are not all passed on.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// It has as much to take as it may have.
    pub(super) fn is_full(&self) -> bool {
        self.out.len() >= MAX_UNSENT
    }

    pub(super) fn unsent(&self) -> &[u8] {
        self.out.as_slice()
    }

    /// Nothing more will be done for it.
    pub(super) fn is_done(&self) -> bool {
        self.ending && self.queue.is_empty() && self.out.is_empty()
    }

    /// Nothing of it is under way in either direction.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty()
            && self.out.is_empty()
            && self.input.is_empty()
            && self.reading == Reading::Requests
    }

    /// Everything it asked is answered, and it may go on with another proxy.
    pub(super) fn may_leave(&self) -> bool {
        self.queue.is_empty() && self.out.is_empty() && self.reading == Reading::Requests && !self.ending
    }

    /// A place for the reply to one more request.
    pub(super) fn ask(&mut self) -> Place {
        let place = self.next_place();
        self.queue.push_back(Reply::default());
        place
    }

    /// The place that the reply to the next request will have.
    pub(super) fn next_place(&self) -> Place {
        Place(self.front.0.wrapping_add(self.queue.len() as u32))
    }

    /// Takes back what came of the reply at `place`, so that something else can be said instead. `false` if some of it has
    /// left.
    pub(super) fn take_back(&mut self, place: Place, commons: &mut Commons) -> bool {
        let behind = place.behind(self.front);
        let Some(reply) = self.queue.get_mut(behind) else { return false };
        if behind > 0 {
            commons.held -= reply.held.len();
            reply.held.clear();
            return true;
        }
        // Nothing is behind it yet.
        let Some(before) = self.out.len().checked_sub(self.front_bytes) else { return false };
        self.out.truncate(before);
        self.front_bytes = 0;
        true
    }

    /// More bytes of the reply at `place`, its last ones if `done`: `parts`, one after the other.
    pub(super) fn deliver(
        &mut self,
        id: ClientId,
        place: Place,
        parts: &[&[u8]],
        done: bool,
        commons: &mut Commons,
        sink: &mut dyn Transmit,
    ) -> Flow {
        let behind = place.behind(self.front);
        let Some(reply) = self.queue.get_mut(behind) else { return Flow::Gone };
        reply.done |= done;
        commons.tracer.delivered(id, place, parts, done);
        if behind > 0 {
            for bytes in parts {
                commons.held += bytes.len();
                commons.spares.append(&mut reply.held, bytes);
            }
            return if reply.held.len() < MAX_UNSENT { Flow::Go } else { Flow::EarlyAndMuch };
        }
        self.send(id, parts, done, commons, sink);
        if done {
            self.advance(id, commons);
        }
        if !self.is_full() {
            return Flow::Go;
        }
        if self.wait == Wait::No {
            self.wait = Wait::Replies;
        }
        Flow::Full
    }

    fn send(
        &mut self,
        id: ClientId,
        parts: &[&[u8]],
        done: bool,
        commons: &mut Commons,
        sink: &mut dyn Transmit,
    ) {
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        self.front_bytes += len;
        let is_long = parts.iter().any(|part| part.len() >= DIRECT);
        // In the midst of a reply more follows, and a copy costs less than a system call.
        if is_long && (done || self.out.len() + len >= GATHERED) {
            self.push(id, parts, commons, sink);
        } else {
            for part in parts {
                self.out.push(part, &mut commons.spares);
                if self.out.len() >= GATHERED {
                    self.push(id, &[], commons, sink);
                }
            }
        }
        // A little that more is to follow is worth no packet of its own.
        if self.out.len() >= DIRECT {
            self.announce(id, commons);
        }
    }

    /// Sends what waits and `parts` as far as that goes at once. The rest of them waits then.
    fn push(&mut self, id: ClientId, parts: &[&[u8]], commons: &mut Commons, sink: &mut dyn Transmit) {
        let mut sent = 0;
        if !self.blocked {
            let all = std::iter::once(self.out.as_slice()).chain(parts.iter().copied());
            let all: ArrayVec<&[u8], { MAX_PARTS + 1 }> = all.filter(|part| !part.is_empty()).collect();
            let len = all.iter().map(|part| part.len()).sum::<usize>();
            sent = sink.transmit(id, &all);
            drop(all);
            self.blocked = sent < len;
            let old = sent.min(self.out.len());
            self.out.advance(old, &mut commons.spares);
            sent -= old;
        }
        for part in parts {
            let gone = sent.min(part.len());
            sent -= gone;
            self.out.push(&part[gone..], &mut commons.spares);
        }
    }

    /// Takes what is done from the front of the queue. What is then at the front goes out as far as it came.
    fn advance(&mut self, id: ClientId, commons: &mut Commons) {
        while self.queue.front().is_some_and(|reply| reply.done) {
            self.queue.pop_front();
            self.front = self.front.next();
            self.front_bytes = 0;
            let Some(next) = self.queue.front_mut() else { break };
            let held = std::mem::take(&mut next.held);
            commons.held -= held.len();
            self.front_bytes = held.len();
            if held.capacity() > 0 {
                self.out.push_whole(held, &mut commons.spares);
            }
        }
        self.announce(id, commons);
        self.may_go_on(id, commons);
    }

    /// Tells the shell that there are bytes to send.
    fn announce(&mut self, id: ClientId, commons: &mut Commons) {
        if !self.announced && !self.out.is_empty() {
            self.announced = true;
            commons.actions.push_back(Action::SendToClient(id));
        }
    }

    /// `len` bytes were sent.
    pub(super) fn sent(&mut self, id: ClientId, len: usize, now: Nanos, commons: &mut Commons) {
        self.out.advance(len, &mut commons.spares);
        self.blocked = false;
        self.progress.moved(len, now);
        self.may_go_on(id, commons);
    }

    /// Frees what waited for the client to take or get its replies.
    pub(super) fn may_go_on(&mut self, id: ClientId, commons: &mut Commons) {
        let room = self.out.len() < MAX_UNSENT / 2;
        let ready = match self.wait {
            Wait::Replies => room && self.queue.len() < super::MAX_PIPELINE / 2,
            Wait::Turn => self.queue.is_empty(),
            Wait::No | Wait::Room => false,
        };
        if ready {
            self.wait = Wait::No;
            commons.resumable.push_back(id);
        }
        if room && !self.holding_up.is_empty() {
            let (front, waiting) = (self.front, self.queue.len());
            self.holding_up.retain(|(backend, place)| {
                let early = (1..waiting).contains(&place.behind(front));
                if !early {
                    commons.released.push(*backend);
                }
                early
            });
        }
        if self.queue.is_empty() {
            if self.queue.capacity() > IDLE_QUEUE {
                self.queue = VecDeque::new();
            }
            if self.out.is_empty() && (self.ending || commons.draining || commons.retired) {
                commons.finished.push(id);
            }
        }
    }

    /// Gives back what it held. Returns the connections that waited for it.
    pub(super) fn dismantle(mut self, commons: &mut Commons) -> Vec<(BackendId, Place)> {
        for reply in self.queue.drain(..) {
            commons.held -= reply.held.len();
            commons.spares.put(reply.held);
        }
        commons.spares.put(std::mem::take(&mut self.input));
        self.holding_up
    }
}

/// Room in the queue that an idle client keeps.
const IDLE_QUEUE: usize = 16;
