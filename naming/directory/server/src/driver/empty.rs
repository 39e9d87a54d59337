//! Replicas that have nothing yet: of shards that were split off while this node was away, or that it is being added to. A
//! leader fills them. Those that none fills are of shards that are gone, or never were.

use std::collections::BTreeMap;
use std::time::Instant;

use naming_directory::log::Log;
use naming_directory::replica::Replica;
use naming_directory_client::ShardId;

use super::Driver;
use crate::counters::count;

/// At a time; messages of further shards are refused.
const MAX_EMPTY: usize = 64;

/// When replicas that have nothing last heard of others.
#[derive(Debug, Default)]
pub(super) struct Empty(BTreeMap<ShardId, Instant>);

/// Whether a replica has no state, and no log.
pub(super) fn is_empty(replica: &Replica) -> bool {
    replica.state().position().index == 0 && replica.group().log().last_index() == 0
}

impl Driver {
    /// Makes a replica that has nothing; whether there is room for one.
    pub(super) fn start_empty(&mut self, shard: ShardId) -> bool {
        let empty = self.replicas.values().filter(|replica| is_empty(replica)).count();
        empty < MAX_EMPTY && self.start(shard, Log::default(), None).is_ok()
    }

    /// Notes that a message came for a replica.
    pub(super) fn heard(&mut self, shard: ShardId) {
        if self.replicas.get(&shard).is_some_and(is_empty) {
            self.empty.0.insert(shard, Instant::now());
        }
    }

    /// Forgets replicas that nobody filled. Not one that voted: it must not vote twice in its term.
    pub(super) fn forget_empty(&mut self, now: Instant) {
        let idle = |replica: &Replica| is_empty(replica) && replica.group().log().hard_state().vote == 0;
        for (shard, _) in self.replicas.iter().filter(|(_, replica)| idle(replica)) {
            self.empty.0.entry(*shard).or_insert(now);
        }
        self.empty.0.retain(|shard, _| self.replicas.get(shard).is_some_and(idle));
        let patience = self.shared.settings.forget_empty_after;
        let late = |_: &ShardId, heard: &mut Instant| now.saturating_duration_since(*heard) >= patience;
        let forgotten: Vec<ShardId> = self.empty.0.extract_if(.., late).map(|(shard, _)| shard).collect();
        for shard in forgotten {
            tracing::info!(%shard, "a replica that no leader filled is forgotten");
            count(&self.shared.counters.replicas_forgotten);
            self.give_up(shard);
            self.writer.forget(shard, self.retired.get(&shard).copied(), None);
        }
    }
}
