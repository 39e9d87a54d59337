//! The node's own registration, kept alive: by it others know where the node is, and that it lives.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use naming::Location;

use super::{Directory, beginning};

/// Long enough for an election and a restart of this node in between.
const LEASE: Duration = Duration::from_secs(10);
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// Registers, renews, and registers again if that was lost or the node has another address, for as long as it runs.
pub(super) async fn keep(directory: Arc<Directory>) {
    beginning::known(&directory).await;
    let (client, mut fabric) = (&directory.client, directory.fabric.subscribe());
    // What no other start of the node has.
    let incarnation = RandomState::new().build_hasher().finish();
    loop {
        let addresses = fabric.borrow_and_update().iter().map(|fabric| fabric.address).collect();
        let location = Location { node: directory.node, rack: directory.rack.clone(), addresses };
        match client.register(&location, incarnation, LEASE).await {
            Ok(liveness) => {
                tracing::info!(node = %location.node, epoch = liveness.epoch(), "registered in the directory");
                tokio::select! {
                    () = liveness.keep(client.clone()) => {}
                    Ok(()) = fabric.changed() => continue,
                }
            }
            Err(error) => tracing::warn!(%error, "the node is not registered in the directory yet"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}
