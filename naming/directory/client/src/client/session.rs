//! Sessions: what makes retries harmless. Each has one command under way; as many are open as commands are at once.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use naming_directory::proto;

use crate::ShardId;

/// A session of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    client: u64,
    sequence: u64,
}

/// Sessions that have nothing under way.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<ShardId, Vec<Session>>>);

impl Session {
    pub(crate) fn opened(client: u64) -> Self {
        Self { client, sequence: 0 }
    }

    /// The session for its next command.
    #[must_use]
    pub(crate) fn next(self) -> Self {
        Self { sequence: self.sequence + 1, ..self }
    }

    pub(crate) fn to_wire(self) -> proto::Session {
        proto::Session { client: self.client, sequence: self.sequence }
    }
}

impl Sessions {
    pub(crate) fn take(&self, shard: ShardId) -> Option<Session> {
        self.all().get_mut(&shard)?.pop()
    }

    /// The last one used is the next to be used: the others expire when there is less to do.
    pub(crate) fn give_back(&self, shard: ShardId, session: Session) {
        self.all().entry(shard).or_default().push(session);
    }

    /// None of the shard's is of use any more.
    pub(crate) fn forget(&self, shard: ShardId) {
        self.all().remove(&shard);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<ShardId, Vec<Session>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
