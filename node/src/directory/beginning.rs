//! Whether a node with a new store may take part: it asks others what they know of it, and its server decides.
//!
//! Why it must ask, and what the answers mean, is in [`naming_directory_server::beginning`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use naming::NodeId;
use naming_directory_client::{Client, wire};
use naming_directory_server::{Begin, Waiting};
use tokio::task::JoinSet;

use super::{Directory, peers};
use crate::config::{self, Fabric};

/// Between two rounds of questions.
const PAUSE: Duration = Duration::from_millis(500);
/// The same for a node that waits to be added, perhaps for days.
const JOINING: Duration = Duration::from_secs(2);

/// What a node does that has a new store. With nobody to ask it founds: `smartswitch check` warns if others may know it all the
/// same.
pub(super) fn begin(node: NodeId, directory: &config::Directory, fabric: Option<&Fabric>) -> Begin {
    let (founders, peers) = (directory.found(node, fabric), peers(fabric));
    match founders {
        Some(founders) if peers.is_empty() => Begin::Found(founders),
        founders => Begin::Ask { founders: founders.into_iter().flatten().collect(), peers },
    }
}

/// Asks until the node takes part. If it must not, its server ends.
pub(super) async fn keep(directory: Arc<Directory>) {
    let mut said = None;
    loop {
        let Some(waiting) = directory.waiting.borrow().clone() else { break };
        if said.as_ref() != Some(&waiting.text) {
            tracing::warn!("the node has no part in the directory yet: {}", waiting.text);
            said = Some(waiting.text);
        }
        let answers = ask(&directory.client, waiting.ask).await;
        let server = Arc::clone(&directory.server);
        let Ok(waiting) = tokio::task::spawn_blocking(move || server.told(answers)).await else { return };
        let pause = if waiting.as_ref().is_some_and(|waiting| waiting.joins) { JOINING } else { PAUSE };
        if waiting != Some(Waiting::default()) {
            directory.waiting.send_replace(waiting);
        }
        tokio::time::sleep(pause).await;
    }
    if said.is_some() {
        tracing::info!("the node takes part in the directory");
    }
}

/// Waits until the node takes part, or may be added: before that, others are not to take it for one that lives.
pub(super) async fn known(directory: &Directory) {
    let known = |waiting: &Option<Waiting>| waiting.as_ref().is_none_or(|waiting| waiting.joins);
    // The sender lives as long as the directory.
    _ = directory.waiting.subscribe().wait_for(known).await;
}

async fn ask(client: &Client, nodes: BTreeSet<NodeId>) -> Vec<(NodeId, wire::Description)> {
    let mut asked = JoinSet::new();
    for node in nodes {
        let client = client.clone();
        asked.spawn(async move { Some((node, client.description(node).await.ok()?)) });
    }
    asked.join_all().await.into_iter().flatten().collect()
}
