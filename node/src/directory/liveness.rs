//! The node's own registration, kept alive: by it others know where the node is, and that it lives.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use naming::Location;
use naming_directory_client::Client;

/// Long enough for an election and a restart of this node in between.
const LEASE: Duration = Duration::from_secs(10);
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// Registers, renews, and registers again if that was lost, for as long as it runs.
pub(super) async fn keep(client: Client, location: Location) {
    // What no other start of the node has.
    let incarnation = RandomState::new().build_hasher().finish();
    loop {
        match client.register(&location, incarnation, LEASE).await {
            Ok(liveness) => {
                tracing::info!(node = %location.node, epoch = liveness.epoch(), "registered in the directory");
                liveness.keep(client.clone()).await;
            }
            Err(error) => tracing::warn!(%error, "the node is not registered in the directory yet"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}
