//! Many names, as fast as a directory takes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::JoinSet;

use crate::Failure;
use crate::client::Client;
use crate::entry::{CLUSTER, Entry};

/// Publishes the first `count` names, `batch` at a time, by all clients at once. `done` is told how many each time.
///
/// # Errors
/// The first failure.
pub(crate) async fn fill(
    clients: &[Client],
    count: u64,
    batch: usize,
    done: impl Fn(u64) + Clone + Send + 'static,
) -> Result<(), Failure> {
    let next = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    for client in clients {
        let (client, next, done) = (client.clone(), Arc::clone(&next), done.clone());
        workers.spawn(async move {
            loop {
                let first = next.fetch_add(batch as u64, Ordering::Relaxed);
                let left = count.saturating_sub(first).min(batch as u64);
                if left == 0 {
                    return Ok::<_, Failure>(());
                }
                client.publish(&Entry::several(CLUSTER, first, left as usize)).await?;
                done(left);
            }
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended??;
    }
    Ok(())
}
