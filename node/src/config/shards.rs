//! How the directory divides itself, and spreads over its nodes: keys of `[directory]`.

use std::time::Duration;

use naming_directory::catalog::capacity::NAMES;

use super::reader::Reader;

/// Voters of a shard at most: each entry goes to all of them.
const MAX_REPLICAS: u64 = 7;
/// The longest time that a dead voter may keep its place: a month.
const MAX_REPLACE_AFTER_S: u64 = 30 * 24 * 3600;

/// How the directory divides itself, and spreads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shards {
    /// Names of a shard beyond which it is split; 0: never.
    pub split_names: u64,
    /// Whether replicas may be placed on this node.
    pub accept: bool,
    /// Whether this node moves replicas and leaders while it leads the first shard.
    pub rebalance: bool,
    /// Voters of a shard: odd.
    pub replicas: usize,
    /// After which a voter that nobody hears of is replaced; `None`: never.
    pub replace_after: Option<Duration>,
}

impl Default for Shards {
    fn default() -> Self {
        Self {
            split_names: 1_000_000,
            accept: true,
            rebalance: true,
            replicas: 3,
            // Longer than machines take to be restarted.
            replace_after: Some(Duration::from_secs(1800)),
        }
    }
}

pub(super) fn shards(table: &mut Reader<'_, '_>) -> Shards {
    let default = Shards::default();
    let replicas = table.integer("replicas", 1..=MAX_REPLICAS);
    if let Some(replicas) = replicas.as_ref().filter(|replicas| replicas.value.is_multiple_of(2)) {
        let message = format!("{} replicas bear no more losses than {}", replicas.value, replicas.value - 1);
        table.error(&replicas.span, message, "give an odd number, such as 3");
    }
    let replace_after =
        table.integer("replace_after_s", 0..=MAX_REPLACE_AFTER_S).map(|seconds| seconds.value);
    Shards {
        split_names: table
            .integer("split_names", 0..=NAMES as u64)
            .map_or(default.split_names, |names| names.value),
        accept: table.boolean("accept_shards").map_or(default.accept, |accept| accept.value),
        rebalance: table.boolean("rebalance").map_or(default.rebalance, |rebalance| rebalance.value),
        replicas: replicas.map_or(default.replicas, |replicas| replicas.value as usize),
        replace_after: replace_after
            .map_or(default.replace_after, |seconds| (seconds > 0).then(|| Duration::from_secs(seconds))),
    }
}
