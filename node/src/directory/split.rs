//! Splitting a shard by hand: where people know that names divide, before there are so many that a leader does.

use std::time::Duration;

use naming::{Name, NameRef};
use naming_directory::catalog::divides_nodes;
use naming_directory_client::wire::Shard;
use naming_directory_client::{Client, Error, ShardId};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::view;

/// How long the new shard may take to have a leader: a majority makes it durable, and elects one.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(50);

/// Two shards that were one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// The prefix between them.
    pub at: String,
    /// The shard that keeps the names before it.
    pub shard: String,
    /// The shard that has those from it on.
    pub new: String,
    /// Who leads the new one.
    pub leader: String,
}

/// Why a shard is not split, or whether it was is not known.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum SplitError {
    #[error("shard {shard} begins with {at} already: there is nothing to split there")]
    Already { at: Name, shard: ShardId },
    #[error(
        "{0} is among the names of nodes, which stay in one shard: they are renewed and listed together; split at /node, or elsewhere"
    )]
    DividesNodes(Name),
    #[error(
        "{at} was split off as shard {shard}, which has no leader after {PATIENCE:?}: see that a majority of its members runs and that \
         they reach one another ({error})"
    )]
    Headless { at: Name, shard: ShardId, error: Error },
    #[error(transparent)]
    Directory(#[from] Error),
}

/// The names from `at` on become a shard of their own, with the same members. Ends once that has a leader, and is thereby durable.
///
/// # Errors
/// If a shard begins there, names of nodes would be divided, or the directory does not answer.
pub async fn split(client: &Client, at: NameRef<'_>) -> Result<Split, SplitError> {
    if divides_nodes(at) {
        return Err(SplitError::DividesNodes(at.to_name()));
    }
    let deadline = Instant::now() + PATIENCE;
    let old = loop {
        let shard = client.members_of(at).await?.look().await?;
        // What the client knew may be from before a split.
        if !is_before(&shard, at) || Instant::now() >= deadline {
            break shard;
        }
    };
    if begins(&old, at) {
        return Err(SplitError::Already { at: at.to_name(), shard: ShardId(old.shard) });
    }
    client.split(at).await?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        // Members of the old shard still answer for it, until each has executed the split.
        let members = client.members_of(at).await?;
        match members.look().await {
            Ok(new) if begins(&new, at) => {
                let [shard, new, leader] = [old.shard, new.shard, new.leader].map(view::id);
                return Ok(Split { at: at.to_string(), shard, new, leader });
            }
            Err(error) if Instant::now() >= deadline => {
                return Err(SplitError::Headless { at: at.to_name(), shard: members.shard(), error });
            }
            Ok(_) | Err(_) => sleep(LOOK).await,
        }
    }
}

fn begins(shard: &Shard, at: NameRef<'_>) -> bool {
    shard.from == at.as_bytes()
}

/// Whether all names of the shard are before this one.
fn is_before(shard: &Shard, at: NameRef<'_>) -> bool {
    let until = shard.until.as_ref().and_then(|until| NameRef::from_bytes(until).ok());
    until.is_some_and(|until| until <= at)
}
