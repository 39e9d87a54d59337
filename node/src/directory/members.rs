//! Adding and removing members of the directory, in all shards.

use std::time::Duration;

use naming::{Name, NameRef, NodeId};
use naming_directory::catalog::{Change, Event};
use naming_directory_client::{Client, Error, ShardId};

/// How long a shard may take to change its members: a new one gets a snapshot of all the shard knows.
const PATIENCE: Duration = Duration::from_secs(600);

/// Why the members stay as they are, or changed in some of the shards only.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum MembersError {
    #[error(
        "node {node} is not registered in the directory: start it with this node among its [[fabric.peer]], and look at its log"
    )]
    Unknown { node: NodeId },
    #[error(
        "node {node} says of no address where members reach it: it runs without [fabric]; give it one, and this node, too"
    )]
    Alone { node: NodeId },
    #[error("a node does not replace itself")]
    Itself,
    #[error(
        "node {node} is the only member of shard {shard}, whose names would be lost: add another one first"
    )]
    Last { node: NodeId, shard: ShardId },
    #[error(transparent)]
    Directory(#[from] Error),
}

/// Makes a node a member of all shards, in place of `replaced` if one is given; which shards these are. To do it again is
/// harmless, and goes on where it was interrupted.
///
/// # Errors
/// If the node is not there, does not catch up, or the directory does not answer.
pub async fn add(
    client: &Client,
    node: NodeId,
    replaced: Option<NodeId>,
) -> Result<Vec<ShardId>, MembersError> {
    if replaced == Some(node) {
        return Err(MembersError::Itself);
    }
    let nodes = client.nodes().await?;
    match registered(&nodes, node) {
        None => return Err(MembersError::Unknown { node }),
        Some(0) => return Err(MembersError::Alone { node }),
        Some(_) => {}
    }
    let shards = shards(client).await?;
    for shard in &shards {
        client.members(*shard).replace(replaced, node, PATIENCE).await?;
    }
    if let Some(replaced) = replaced {
        forget(client, &nodes, replaced).await?;
    }
    Ok(shards)
}

/// Removes a node from all shards; which shards there are. A node that is gone is forgotten, too.
///
/// # Errors
/// If it is the last member, or the directory does not answer.
pub async fn remove(client: &Client, node: NodeId) -> Result<Vec<ShardId>, MembersError> {
    let shards = shards(client).await?;
    for shard in &shards {
        if client.members(*shard).look().await?.voters == [node.get()] {
            return Err(MembersError::Last { node, shard: *shard });
        }
        client.members(*shard).remove(node, PATIENCE).await?;
    }
    forget(client, &client.nodes().await?, node).await?;
    Ok(shards)
}

/// All shards there are, as their leaders say.
///
/// # Errors
/// If one has no leader.
pub async fn shards(client: &Client) -> Result<Vec<ShardId>, Error> {
    let (mut shards, mut from) = (Vec::new(), Some(Name::root()));
    while let Some(name) = from {
        let members = client.members_of(name.as_name()).await?;
        let shard = members.look().await?;
        shards.push(members.shard());
        from = shard.until.as_ref().and_then(|until| Some(NameRef::from_bytes(until).ok()?.to_name()));
    }
    Ok(shards)
}

/// How many addresses a node has, if it is registered and lives.
fn registered(nodes: &[Event], node: NodeId) -> Option<usize> {
    nodes.iter().find_map(|event| match &event.change {
        Change::NodeUp { location, .. } if location.node == node => Some(location.addresses.len()),
        _ => None,
    })
}

/// A node that lives would register again at once.
async fn forget(client: &Client, nodes: &[Event], node: NodeId) -> Result<(), Error> {
    if registered(nodes, node).is_some() {
        return Ok(());
    }
    match client.remove_node(node).await {
        // It never registered, or was forgotten before.
        Err(Error::Refused(naming_directory::proto::refused::Reason::NotFound(_))) => Ok(()),
        outcome => outcome,
    }
}
