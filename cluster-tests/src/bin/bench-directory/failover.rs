//! How long nobody can write when the leader is killed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use crate::Failure;
use crate::client::Client;
use crate::cluster::Cluster;
use crate::load::Published;
use crate::until::until;

/// Between two tries of a client whose library does not try again by itself.
const RETRY: Duration = Duration::from_millis(10);
/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(60);

/// One kill of a leader.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outage {
    /// Until the first write was acknowledged that was begun after the kill.
    pub(crate) first: Duration,
    /// Until every client had such a write.
    pub(crate) all: Duration,
}

/// A write that was acknowledged.
struct Written {
    writer: usize,
    began: Instant,
    ended: Instant,
}

/// Kills the leader so many times while all clients write, and starts it again each time.
///
/// # Errors
/// If writes do not go on, or a member does not come back.
pub(crate) async fn run(
    cluster: &mut Cluster,
    clients: &[Client],
    kills: usize,
    mut done: impl FnMut(),
) -> Result<Vec<Outage>, Failure> {
    let (published, over) = (Arc::new(Published::default()), Arc::new(AtomicBool::new(false)));
    let (sender, mut written) = unbounded_channel();
    // They are aborted when this returns.
    let mut writers = JoinSet::new();
    for (number, client) in clients.iter().enumerate() {
        let (published, over) = (Arc::clone(&published), Arc::clone(&over));
        writers.spawn(write(number, client.clone(), published, over, sender.clone()));
    }
    let mut outages = Vec::new();
    for _ in 0..kills {
        resumed(&mut written, clients.len(), Instant::now()).await?;
        let leader = until("a leader", PATIENCE, async || cluster.leader().await).await?;
        let killed = Instant::now();
        cluster.members_mut()[leader].kill();
        outages.push(resumed(&mut written, clients.len(), killed).await?);
        cluster.members_mut()[leader].start()?;
        cluster.caught_up(leader, PATIENCE).await?;
        done();
    }
    over.store(true, Ordering::Relaxed);
    Ok(outages)
}

/// Publishes one name after the other, each until it is acknowledged.
async fn write(
    writer: usize,
    client: Client,
    published: Arc<Published>,
    over: Arc<AtomicBool>,
    written: UnboundedSender<Written>,
) {
    while !over.load(Ordering::Relaxed) {
        let (entries, began) = (published.next(1), Instant::now());
        while client.publish(&entries).await.is_err() {
            tokio::time::sleep(RETRY).await;
        }
        if written.send(Written { writer, began, ended: Instant::now() }).is_err() {
            return;
        }
    }
}

/// Waits until every writer has an acknowledgement of a write that was begun after `since`.
async fn resumed(
    written: &mut UnboundedReceiver<Written>,
    writers: usize,
    since: Instant,
) -> Result<Outage, Failure> {
    let deadline = (since + PATIENCE).into();
    let (mut first, mut all, mut seen) = (PATIENCE, Duration::ZERO, BTreeSet::new());
    while seen.len() < writers {
        let late = |_| format!("{} of {writers} clients wrote within {PATIENCE:?}", seen.len());
        let next = timeout_at(deadline, written.recv()).await.map_err(late)?.ok_or("all writers ended")?;
        if next.began >= since && seen.insert(next.writer) {
            let after = next.ended - since;
            (first, all) = (first.min(after), all.max(after));
        }
    }
    Ok(Outage { first, all })
}
