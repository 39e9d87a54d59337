//! Watches: who is told of which changes, and up to which they were told.
//!
//! Nothing waits here for a slow watcher: what is to be told is read from the state's history when it is told. A message that
//! is lost shows in the next one, which says after which change it goes on; the watcher then asks to go on from what it has.

use std::collections::BTreeMap;
use std::time::Instant;

use naming::{Name, NameRef, NodeId};
use naming_directory::Position;
use naming_directory::catalog::Catalog;
use naming_directory_client::ShardId;
use naming_directory_client::watch::PROGRESS;
use naming_directory_client::wire::{
    self, Failure, FailureKind, event_to, position_of, position_to, response,
};

use super::Driver;
use crate::counters::count;

/// Bytes of a message to a watcher at most, about: what is more comes in the next one.
const MESSAGE_BYTES: usize = 1 << 20;

struct Watch {
    shard: ShardId,
    prefix: Name,
    /// Up to which entry it was told.
    told: Position,
}

pub(super) struct Watches {
    /// By watcher and the id of its request.
    all: BTreeMap<(NodeId, u64), Watch>,
    max: usize,
    next_progress: Instant,
}

impl Watches {
    pub(super) fn new(max: usize) -> Self {
        Self { all: BTreeMap::new(), max, next_progress: Instant::now() }
    }

    pub(super) fn end(&mut self, from: NodeId, id: u64) {
        self.all.remove(&(from, id));
    }

    pub(super) fn end_all_of(&mut self, shard: ShardId) -> Vec<(NodeId, u64)> {
        self.all.extract_if(.., |_, watch| watch.shard == shard).map(|(key, _)| key).collect()
    }
}

impl Driver {
    pub(super) fn watch(&mut self, from: NodeId, id: u64, shard: ShardId, watch: &wire::Watch) {
        let Ok(prefix) = NameRef::from_bytes(&watch.prefix) else {
            return self.refuse(from, id, Failure::new(FailureKind::Refused, "the prefix is no name"));
        };
        if self.watches.all.len() >= self.watches.max {
            count(&self.shared.counters.watches_refused);
            return self.refuse(from, id, Failure::new(FailureKind::Busy, "there are too many watches"));
        }
        let told = position_of(watch.after);
        self.watches.all.insert((from, id), Watch { shard, prefix: prefix.to_name(), told });
        self.tell(from, id, true);
    }

    pub(super) fn tell_watchers(&mut self, shard: ShardId) {
        let all: Vec<(NodeId, u64)> =
            self.watches.all.iter().filter(|(_, watch)| watch.shard == shard).map(|(key, _)| *key).collect();
        all.into_iter().for_each(|(from, id)| self.tell(from, id, false));
    }

    /// Tells watchers now and then that nothing happened; unless this replica has no leader, and would not know.
    pub(super) fn report_progress(&mut self, now: Instant) {
        if now < self.watches.next_progress {
            return;
        }
        self.watches.next_progress = now + PROGRESS;
        let led = |shard: &ShardId| {
            self.replicas.get(shard).is_some_and(|replica| replica.group().leader().is_some())
        };
        let all: Vec<(NodeId, u64)> =
            self.watches.all.iter().filter(|(_, watch)| led(&watch.shard)).map(|(key, _)| *key).collect();
        all.into_iter().for_each(|(from, id)| self.tell(from, id, true));
    }

    /// Tells a watcher what it was not told yet; `anyway` if that is nothing.
    fn tell(&mut self, from: NodeId, id: u64, anyway: bool) {
        let Some(watch) = self.watches.all.get_mut(&(from, id)) else { return };
        let Some(replica) = self.replicas.get(&watch.shard) else { return };
        let mut anyway = anyway;
        let failure = loop {
            let (changed, whole) = match next(replica.state(), watch) {
                Ok(next) => next,
                Err(failure) => break Some(failure),
            };
            if changed.events.is_empty() && whole && !anyway {
                break None;
            }
            watch.told = position_of(changed.position);
            let response = wire::Response { id, body: Some(response::Body::Changed(changed)) };
            let bytes = prost::Message::encode_to_vec(&response).into();
            let channel = naming_directory_client::Channel::Response;
            if !self.shared.transport.send(from, channel, bytes) {
                count(&self.shared.counters.messages_unsent);
            }
            anyway = false;
            if whole {
                break None;
            }
        };
        if let Some(failure) = failure {
            self.watches.all.remove(&(from, id));
            self.refuse(from, id, failure);
        }
    }
}

/// What a watcher is to be told next, and whether that is all.
fn next(state: &Catalog, watch: &Watch) -> Result<(wire::Changed, bool), Failure> {
    let gap = |error: naming_directory::catalog::Gap| Failure::new(FailureKind::Gap, error);
    let (mut events, mut bytes, mut position) = (Vec::new(), 0, watch.told);
    let mut all = true;
    for changes in state.changes_since(watch.told).map_err(gap)? {
        if bytes >= MESSAGE_BYTES {
            all = false;
            break;
        }
        let concerned = changes.events.iter().filter(|event| event.concerns(watch.prefix.as_name()));
        for event in concerned.map(event_to) {
            bytes += prost::Message::encoded_len(&event);
            events.push(event);
        }
        position = changes.position;
    }
    // A watcher that is ahead of this replica stays there.
    if all && state.position().index >= position.index {
        position = state.position();
    }
    let (after, position) = (position_to(watch.told), position_to(position));
    Ok((wire::Changed { after, position, events }, all))
}
