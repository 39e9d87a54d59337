//! Requests that servers have not answered yet.

use fabric::time::Nanos;

use super::client::ClientId;
use super::gather::PartId;
use super::quiet::Quiet;
use super::route::AttemptId;
use crate::protocol::Verb;
use crate::protocol::delimit::Shape;

/// Whom the reply is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The reply at this place of a client's queue.
    Client { client: ClientId, place: Place },
    /// One part of a reply that several servers give.
    Part(PartId),
    /// Whoever made a request that may be asked elsewhere.
    Attempt(AttemptId),
    /// The node's cache; what for is at the front of the connection's fills.
    Fill,
    /// The node, which wants to know whether the server answers.
    Probe,
    /// Nobody any more.
    Nobody,
}

/// A place in a client's queue of replies: a count of its requests, which wraps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place(pub(super) u32);

impl Place {
    pub(super) fn next(self) -> Place {
        Place(self.0.wrapping_add(1))
    }

    /// How far behind `front` it is.
    pub(super) fn behind(self, front: Place) -> usize {
        self.0.wrapping_sub(front.0) as usize
    }
}

/// What tells a binary reply from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    /// As the client sent it.
    pub(super) opcode: u8,
    pub(super) opaque: u32,
}

/// The writes that a request stands for: so many in a row, by the thread's count of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Writes {
    pub(super) first: u64,
    pub(super) count: u32,
    /// The key's hash if it is one write of one key.
    pub(super) hash: Option<u64>,
}

/// A request on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    pub(super) owner: Owner,
    pub(super) verb: Verb,
    pub(super) shape: Shape,
    pub(super) quiet: Quiet,
    pub(super) tag: Option<Tag>,
    pub(super) writes: Option<Writes>,
    /// It changes nothing: it may be asked again if the connection breaks before any of its reply has come.
    pub(super) repeatable: bool,
    /// A line of gets of a route, some of whose keys other pools may have.
    pub(super) splits: bool,
    /// How often it was asked again.
    pub(super) repeats: u8,
    pub(super) sent: Nanos,
    /// Where the request ends in the stream to the server.
    pub(super) end: u64,
    /// Its reply has begun.
    pub(super) begun: bool,
    /// The rest of its reply is not passed on.
    pub(super) hidden: bool,
}

impl InFlight {
    pub(super) fn new(owner: Owner, verb: Verb, shape: Shape, sent: Nanos) -> Self {
        Self {
            owner,
            verb,
            shape,
            quiet: Quiet::No,
            tag: None,
            writes: None,
            repeatable: false,
            splits: false,
            repeats: 0,
            sent,
            end: 0,
            begun: false,
            hidden: false,
        }
    }
}
