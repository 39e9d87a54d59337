//! What clients pass when they come in: a pool's door, or a route's.

use std::sync::Arc;

use super::limits::{ClientLimits, TokenBucket};
use crate::session::credentials::Credentials;

/// Where a client came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DoorId {
    /// The pool at this index: all keys are its.
    Pool(u16),
    /// The route at this index: each key goes where its prefix leads.
    Route(u16),
}

impl From<u16> for DoorId {
    fn from(pool: u16) -> Self {
        DoorId::Pool(pool)
    }
}

/// Who is let in, and what they may do.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) limits: ClientLimits,
    /// Who is served, if not everybody.
    pub(super) credentials: Option<Arc<Credentials>>,
    /// What limits the requests of all clients.
    pub(super) bucket: Option<TokenBucket>,
}

impl Door {
    pub(super) fn new(limits: ClientLimits, credentials: Option<Arc<Credentials>>) -> Self {
        Self { limits, credentials, bucket: limits.rate.map(TokenBucket::new) }
    }
}
