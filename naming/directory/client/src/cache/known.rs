//! What a cache answers.

use std::time::{Duration, Instant};

use naming::{Name, NameRef, NodeId};
use naming_directory::catalog::Record;

use crate::client::{Copies, Held, Resolution, Routed};

/// What is known of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known<'n> {
    /// Of an immutable name: where copies are.
    pub copies: Option<Copies>,
    /// Who answers for it: of the longest prefix that has an authority.
    pub authority: Option<Holder<'n>>,
    /// The route of the longest prefix that has one.
    pub route: Option<Route<'n>>,
    /// When the oldest part of this was heard.
    pub heard: Instant,
}

/// To whom the authority of a prefix was given last. Whether the lease still runs is not known here: nobody who watches is told
/// of renewals, nor that a lease ended. The holder knows; [`Client::resolve`](crate::Client::resolve) asks the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder<'n> {
    /// The prefix.
    pub prefix: NameRef<'n>,
    /// The holder; nobody, if it was given back.
    pub node: Option<NodeId>,
    /// Rises with each change of the holder.
    pub term: u64,
}

/// The route of a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route<'n> {
    /// The prefix.
    pub prefix: NameRef<'n>,
    /// What it says.
    pub record: Record,
}

/// Why a cache does not answer. The directory would.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// Another prefix is kept here.
    #[error("the name is not under the prefix that is kept here")]
    Elsewhere,
    /// The first listing has not come yet.
    #[error("the names were not listed yet")]
    Unlisted,
    /// It is older than it may be.
    #[error("it was heard {0:?} ago, which is longer than was asked for")]
    TooOld(Duration),
    /// What there is of it, if there is something, found no room.
    #[error("not all of the names found room: raise the cache's capacity")]
    NotKept,
}

impl<'n> Known<'n> {
    /// What the directory said of `name`, which was asked at that time.
    pub(super) fn of(name: NameRef<'n>, resolution: Resolution, asked: Instant) -> Self {
        let Resolution { copies, authority, route } = resolution;
        let (authority, route) = (authority.as_ref(), route.as_ref());
        Self {
            copies,
            authority: authority.and_then(|held| Holder::of(name, held)),
            route: route.and_then(|route| Route::of(name, route)),
            heard: asked,
        }
    }
}

impl<'n> Holder<'n> {
    pub(super) fn of(name: NameRef<'n>, held: &Held) -> Option<Self> {
        Some(Self { prefix: same(name, &held.prefix)?, node: held.node, term: held.term })
    }
}

impl<'n> Route<'n> {
    pub(super) fn of(name: NameRef<'n>, route: &Routed) -> Option<Self> {
        Some(Self { prefix: same(name, &route.prefix)?, record: route.record.clone() })
    }
}

/// The prefix of `name` that is `prefix`.
fn same<'n>(name: NameRef<'n>, prefix: &Name) -> Option<NameRef<'n>> {
    name.prefixes().find(|candidate| *candidate == prefix.as_name())
}
