//! Asks all nodes how their replicas are.

use std::collections::{BTreeMap, BTreeSet};

use naming::{NodeId, Rack};
use naming_directory::catalog::Change;
use tokio::task::JoinSet;

use crate::wire::{self, request, response};
use crate::{Client, Error, ShardId};

/// Nodes that are asked at a time.
const AT_ONCE: usize = 64;

/// What all nodes told.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Nodes whose leases run.
    pub(super) registered: BTreeMap<NodeId, Rack>,
    /// What they and others answered.
    pub(super) answers: BTreeMap<NodeId, wire::Description>,
}

/// Asks all that are registered, and members of shards.
pub(super) async fn survey(client: &Client) -> Result<Survey, Error> {
    let mut survey = Survey::default();
    for event in client.nodes().await? {
        if let Change::NodeUp { location, .. } = event.change {
            survey.registered.insert(location.node, location.rack);
        }
    }
    let mut asked = BTreeSet::new();
    let mut ask: BTreeSet<NodeId> =
        survey.registered.keys().copied().chain(client.shards().contacts()).collect();
    while !ask.is_empty() {
        asked.extend(ask.iter().copied());
        let mut found = BTreeSet::new();
        for (node, description) in describe_all(client, ask).await {
            found.extend(description.shards.iter().flat_map(wire::Shard::members));
            description.shards.iter().for_each(|shard| client.shards().learn(shard));
            survey.answers.insert(node, description);
        }
        ask = found.difference(&asked).copied().collect();
    }
    Ok(survey)
}

/// Who answers, and what.
async fn describe_all(client: &Client, nodes: BTreeSet<NodeId>) -> Vec<(NodeId, wire::Description)> {
    let (mut nodes, mut tasks, mut answers) = (nodes.into_iter(), JoinSet::new(), Vec::new());
    loop {
        while tasks.len() < AT_ONCE
            && let Some(node) = nodes.next()
        {
            let client = client.clone();
            tasks.spawn(async move {
                let body = request::Body::Describe(wire::Describe::default());
                match client.call(node, ShardId(0), body).await {
                    Some(response::Body::Description(description)) => Some((node, description)),
                    _ => None,
                }
            });
        }
        match tasks.join_next().await {
            None => return answers,
            Some(answer) => answers.extend(answer.ok().flatten()),
        }
    }
}
