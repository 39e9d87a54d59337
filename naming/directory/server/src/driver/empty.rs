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

/// Since when replicas have been empty and without a leader.
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

    /// Forgets replicas that nobody filled. Not one that voted: it must not vote twice in its term.
    pub(super) fn forget_empty(&mut self, now: Instant) {
        let idle = |replica: &Replica| {
            let group = replica.group();
            is_empty(replica) && group.leader().is_none() && group.log().hard_state().vote == 0
        };
        let patience = self.shared.settings.forget_empty_after;
        self.empty.0.retain(|shard, _| self.replicas.get(shard).is_some_and(idle));
        for (shard, _) in self.replicas.iter().filter(|(_, replica)| idle(replica)) {
            self.empty.0.entry(*shard).or_insert(now);
        }
        for (shard, _) in
            self.empty.0.extract_if(.., |_, since| now.duration_since(*since) >= patience).collect::<Vec<_>>()
        {
            tracing::info!(%shard, "a replica that no leader filled is forgotten");
            count(&self.shared.counters.replicas_forgotten);
            self.give_up(shard);
            self.writer.forget(shard, None);
        }
    }
}
