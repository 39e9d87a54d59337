//! Watches: who is told of which changes, and up to which they were told.
//!
//! Nothing waits here for a slow watcher: what is to be told is read from the state's history when it is told. A message that
//! is lost shows in the next one, which says after which change it goes on; the watcher then asks to go on from what it has.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeBounds;
use std::time::Instant;

use naming::{Name, NameRef, NodeId};
use naming_directory::replica::Replica;
use naming_directory::{Bytes, Position};
use naming_directory_client::watch::PROGRESS;
use naming_directory_client::wire::{
    self, Failure, FailureKind, event_to, position_of, position_to, response,
};
use naming_directory_client::{Channel, ShardId};
use prost::Message;

use super::Driver;
use crate::counters::count;

/// Bytes of a message to a watcher at most, about: what is more comes in the next one.
const MESSAGE_BYTES: usize = 1 << 20;

/// A node, and the id of its request.
type Watcher = (NodeId, u64);

struct Watch {
    shard: ShardId,
    prefix: Name,
    /// Up to which entry it was told.
    told: Position,
}

pub(super) struct Watches {
    all: BTreeMap<Watcher, Watch>,
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

    pub(super) fn end_all_of(&mut self, shard: ShardId) -> Vec<Watcher> {
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
        self.tell((from, id)..=(from, id), |_| true, true);
    }

    pub(super) fn tell_watchers(&mut self, shard: ShardId) {
        self.tell(.., |of| of == shard, false);
    }

    /// Tells watchers now and then that nothing happened; unless this replica has no leader, and would not know.
    pub(super) fn report_progress(&mut self, now: Instant) {
        if now < self.watches.next_progress {
            return;
        }
        self.watches.next_progress = now + PROGRESS;
        let led: BTreeSet<ShardId> = self
            .replicas
            .iter()
            .filter(|(_, replica)| replica.group().leader().is_some())
            .map(|(shard, _)| *shard)
            .collect();
        self.tell(.., |shard| led.contains(&shard), true);
    }

    /// Tells these watchers of some shards what they were not told yet; `anyway` if that is nothing. What several are to be
    /// told is put together and encoded once.
    fn tell(&mut self, whom: impl RangeBounds<Watcher>, of: impl Fn(ShardId) -> bool, anyway: bool) {
        let Self { replicas, watches, shared, .. } = self;
        let mut encoded: HashMap<(ShardId, Position, &Name), Result<Next, Failure>> = HashMap::new();
        let mut failed = Vec::new();
        for (watcher, watch) in watches.all.range_mut(whom).filter(|(_, watch)| of(watch.shard)) {
            let Watch { shard, prefix, told } = watch;
            let Some(replica) = replicas.get(shard) else { continue };
            let mut anyway = anyway;
            loop {
                let next =
                    encoded.entry((*shard, *told, &*prefix)).or_insert_with(|| next(replica, prefix, *told));
                let next = match next {
                    Ok(next) => next,
                    Err(failure) => break failed.push((*watcher, failure.clone())),
                };
                if next.is_empty && !anyway {
                    break;
                }
                anyway = false;
                *told = next.told;
                let (to, id) = *watcher;
                if !shared.transport.send(to, Channel::Response, next.response(id)) {
                    count(&shared.counters.messages_unsent);
                }
                if next.is_all {
                    break;
                }
            }
        }
        for ((from, id), failure) in failed {
            self.watches.end(from, id);
            self.refuse(from, id, failure);
        }
    }
}

/// What watchers are told in one message.
struct Next {
    /// The response's body, encoded.
    body: Vec<u8>,
    /// Up to which entry it tells.
    told: Position,
    /// Nothing concerns them.
    is_empty: bool,
    /// Nothing is left for another message.
    is_all: bool,
}

impl Next {
    /// The message: a response's fields may come one after the other, in any order.
    fn response(&self, id: u64) -> Bytes {
        let id = wire::Response { id, body: None };
        let mut message = Vec::with_capacity(id.encoded_len() + self.body.len());
        message.extend(id.encode_to_vec());
        message.extend_from_slice(&self.body);
        message.into()
    }
}

/// What watchers of `prefix` who know all up to `told` are to be told next.
fn next(replica: &Replica, prefix: &Name, told: Position) -> Result<Next, Failure> {
    let state = replica.state();
    let gap = |error: naming_directory::catalog::Gap| Failure::new(FailureKind::Gap, error);
    let (mut events, mut bytes, mut position) = (Vec::new(), 0, told);
    let mut is_all = true;
    for changes in state.changes_since(told).map_err(gap)? {
        if bytes >= MESSAGE_BYTES {
            is_all = false;
            break;
        }
        let concerned = changes.events.iter().filter(|event| event.concerns(prefix.as_name()));
        for event in concerned.map(event_to) {
            bytes += event.encoded_len();
            events.push(event);
        }
        position = changes.position;
    }
    // A watcher that is ahead of this replica stays there.
    if is_all && state.position().index >= position.index {
        position = state.position();
    }
    let is_empty = events.is_empty() && is_all;
    let current = is_all && replica.group().leader().is_some();
    let changed =
        wire::Changed { after: position_to(told), position: position_to(position), events, current };
    let mut body = Vec::new();
    response::Body::Changed(changed).encode(&mut body);
    Ok(Next { body, told: position, is_empty, is_all })
}
