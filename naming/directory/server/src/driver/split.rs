//! Shards that have grown too large are split by their leaders, in the middle. A split is a command like any other: all
//! replicas execute it at the same entry, whoever leads by then. After one, a shard waits until the one that was split off
//! has a leader, and is thereby durable at a majority.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use naming_directory_client::ShardId;

use super::{Driver, MAX_SHARDS};
use crate::counters::count;

/// Between two looks at how large shards are.
const LOOK: Duration = Duration::from_secs(1);

/// What a shard waits for before it is split again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    /// The entry that was to split it, or another one in its place.
    Entry(u64),
    /// A leader of the shard that was split off.
    LeaderOf(ShardId),
}

/// Splits under way.
#[derive(Debug)]
pub(super) struct Splits {
    awaited: BTreeMap<ShardId, Awaited>,
    next_look: Instant,
}

impl Splits {
    pub(super) fn new() -> Self {
        Self { awaited: BTreeMap::new(), next_look: Instant::now() }
    }

    /// Notes that `child` was split off, whoever wanted that.
    pub(super) fn began(&mut self, shard: ShardId, child: ShardId) {
        self.awaited.insert(shard, Awaited::LeaderOf(child));
    }
}

impl Driver {
    /// Splits what is too large and led from here.
    pub(super) fn split_large(&mut self, now: Instant) {
        let most = self.shared.settings.split_names;
        if most == 0 || now < self.splits.next_look {
            return;
        }
        self.splits.next_look = now + LOOK;
        let (replicas, creating) = (&self.replicas, &self.creating);
        self.splits.awaited.retain(|shard, awaited| match awaited {
            Awaited::Entry(index) => {
                replicas.get(shard).is_some_and(|replica| replica.state().position().index < *index)
            }
            // This node may be no member any more.
            Awaited::LeaderOf(child) => {
                let leader = replicas.get(child).map(|replica| replica.group().leader());
                creating.contains(child) || leader.is_some_and(|leader| leader.is_none())
            }
        });
        let large = replicas.iter().filter(|(shard, replica)| {
            let names = replica.state().names() as u64;
            names > most && replica.group().term_led().is_some() && !self.splits.awaited.contains_key(shard)
        });
        let large: Vec<ShardId> = large.map(|(shard, _)| *shard).collect();
        large.into_iter().for_each(|shard| self.split(shard, now));
    }

    fn split(&mut self, shard: ShardId, now: Instant) {
        let full = self.replicas.len() + self.creating.len() >= MAX_SHARDS;
        let Some(replica) = self.replicas.get_mut(&shard) else { return };
        let Some(at) = replica.state().middle().filter(|_| !full) else {
            return count(&self.shared.counters.splits_skipped);
        };
        let names = replica.state().names();
        match replica.split(at.as_name(), now.duration_since(self.shared.began)) {
            Ok(position) => {
                tracing::info!(%shard, %at, names, "a shard is split, since it has many names");
                self.splits.awaited.insert(shard, Awaited::Entry(position.index));
                self.dirty.insert(shard);
            }
            // It has much to do, or hands leadership over: it is looked at again.
            Err(error) => tracing::debug!(%error, %shard, "a shard is not split yet"),
        }
    }
}
