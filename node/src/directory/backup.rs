//! All that the directory knows, taken from this node's replicas once they have everything that was acknowledged before.

use std::io::{self, Write};
use std::time::Duration;

use naming::{Name, NameRef};
use naming_directory_client::wire::Shard;
use naming_directory_client::{Client, Error, ShardId};
use naming_directory_server::Server;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

/// How long the node's replicas may take to catch up with what is acknowledged.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(20);

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum NotReady {
    #[error(transparent)]
    Directory(#[from] Error),
    #[error(
        "this node has no replica of the shard of {0}: ask one that is a member of all shards with --admin; `smartswitch directory members` shows them"
    )]
    NoReplica(Name),
    #[error(
        "this node's replica of shard {0} has not caught up within {PATIENCE:?}: ask another member with --admin"
    )]
    Behind(ShardId),
}

/// Waits until this node's replicas, of all names, have everything that was acknowledged before.
///
/// # Errors
/// If the directory does not answer, or this node has not all of it.
pub async fn ready(client: &Client, server: &Server) -> Result<(), NotReady> {
    let deadline = Instant::now() + PATIENCE;
    let mut from = Some(Name::root());
    while let Some(name) = from {
        let (shard, position) = client.position(name.as_name()).await?;
        let replica = loop {
            let replica = server.look().into_iter().find(|replica| has(replica, name.as_name()));
            match replica {
                // Another shard's: it was split since.
                Some(replica) if replica.shard != shard.0 || replica.applied >= position.index => {
                    break replica;
                }
                None if Instant::now() > deadline => return Err(NotReady::NoReplica(name)),
                Some(_) if Instant::now() > deadline => return Err(NotReady::Behind(shard)),
                _ => sleep(LOOK).await,
            }
        };
        from = replica.until.as_ref().and_then(|until| Some(NameRef::from_bytes(until).ok()?.to_name()));
    }
    Ok(())
}

fn has(shard: &Shard, name: NameRef<'_>) -> bool {
    let until = shard.until.as_ref();
    // One that waits for its first snapshot says that it has all names, and nothing of them.
    shard.applied > 0
        && &shard.from[..] <= name.as_bytes()
        && until.is_none_or(|until| name.as_bytes() < &until[..])
}

/// Writes to whoever takes the parts.
pub struct Parts(pub mpsc::Sender<io::Result<Vec<u8>>>);

impl Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.blocking_send(Ok(bytes.to_vec())).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
