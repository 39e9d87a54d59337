//! Where other nodes are: as they registered in the directory, and as the configuration says until then.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fabric_quic::Endpoint;
use naming::{Location, Name, NodeId};
use naming_directory::catalog::{Change, Event};
use naming_directory_client::watch::Seen;
use naming_directory_client::wire::Freshness;

use super::Directory;

/// Between two tries to begin.
const PAUSE: Duration = Duration::from_secs(1);

/// Keeps the endpoint's addresses of other nodes as the directory has them, once there is an endpoint. Configured ones
/// stay, behind those.
pub(super) async fn keep(directory: Arc<Directory>) {
    let mut fabric = directory.fabric.subscribe();
    let Ok(fabric) = fabric.wait_for(Option::is_some).await.map(|fabric| fabric.clone()) else { return };
    let (Some(fabric), Some(endpoint)) = (fabric, directory.link.endpoint().cloned()) else { return };
    let (client, configured) = (directory.client.clone(), fabric.place.peers);
    let Ok(nodes) = "/node".parse::<Name>() else { return };
    let book = move |events: &[Event]| {
        events.iter().for_each(|event| note(&endpoint, &configured, event));
    };
    // What this node's own replica knows, before there is a leader: members need it to elect one.
    if let Ok((events, _)) = client.list(nodes.as_name(), Freshness::Local).await {
        book(&events);
    }
    loop {
        let book = book.clone();
        let seen = move |seen: Seen| {
            match seen {
                Seen::Listing { events, .. } | Seen::Changes { events, .. } => book(&events),
            }
            true
        };
        match client.watch(nodes.clone(), seen).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(%error, "the directory does not tell yet where nodes are"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A node that went down keeps its addresses: it may come back there.
fn note(endpoint: &Endpoint, configured: &BTreeMap<NodeId, SocketAddr>, event: &Event) {
    let Change::NodeUp { location: Location { node, addresses, .. }, .. } = &event.change else { return };
    if *node == endpoint.node() {
        return;
    }
    let mut addresses = addresses.clone();
    addresses.extend(configured.get(node).filter(|address| !addresses.contains(address)).copied());
    if let Err(error) = endpoint.set_addresses(*node, &addresses) {
        tracing::warn!(%error, %node, "a node's addresses are not noted");
    }
}
