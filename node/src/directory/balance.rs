//! Replicas and leaders are moved to where they should be, by whichever node leads the first shard.

use std::sync::Arc;
use std::time::Duration;

use naming_directory_client::balance::{Balancer, Settings, Step};
use naming_directory_client::{Client, ShardId};

use super::Directory;
use crate::config::Shards;

/// Between two looks at who leads the first shard.
const LOOK: Duration = Duration::from_secs(1);

/// Moves what is to be moved, whenever this node leads the first shard.
pub(super) async fn keep(directory: Arc<Directory>, shards: Shards) {
    let settings = Settings { replicas: shards.replicas, replace_after: shards.replace_after };
    let fresh = |client: &Client| Balancer::new(client.clone(), settings, Arc::clone(&directory.balanced));
    let mut balancer = None;
    loop {
        let first = directory.published.shard(ShardId::FIRST);
        if !first.is_some_and(|shard| shard.leads) {
            // What was seen before is old by the time that it leads again.
            balancer = None;
            tokio::time::sleep(LOOK).await;
            continue;
        }
        let balancer = balancer.get_or_insert_with(|| fresh(&directory.client));
        match balancer.round().await {
            Ok(None) => {}
            Ok(Some(Step { shard, action, reason })) => tracing::info!(%shard, "{action}: {reason}"),
            Err(error) => tracing::warn!(%error, "shards are not balanced at the moment"),
        }
        tokio::time::sleep(balancer.pause()).await;
    }
}
