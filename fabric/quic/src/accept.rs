//! Connections that others make.

use std::sync::Arc;
use std::time::Duration;

use quinn::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::connection::{self, Control};
use crate::counters::one;
use crate::error::Farewell;
use crate::link::Origin;
use crate::node_name;
use crate::shared::{Introduced, Shared};

/// Who waited so long for its turn has given up by now, or tries again.
const TURN: Duration = Duration::from_secs(1);
/// How long others have for a handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// Accepts until the endpoint is closed.
pub(crate) async fn accept(shared: Arc<Shared>) {
    while let Some(incoming) = shared.quinn.accept().await {
        let crowded = shared.handshake_slots.available_permits() < shared.config.max_handshakes.div_ceil(2);
        if crowded && incoming.may_retry() {
            one(&shared.counters.handshakes_retried);
            // It may be retried, as was just asked.
            let _ = incoming.retry();
            continue;
        }
        // Taken here if it is free, so that the next one sees it taken.
        let slot = Arc::clone(&shared.handshake_slots).try_acquire_owned().ok();
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let slot = match slot {
                Some(slot) => Some(slot),
                None => turn(&shared).await,
            };
            match slot {
                Some(slot) => admit(&shared, incoming, slot).await,
                None => {
                    one(&shared.counters.handshakes_ignored);
                    incoming.ignore();
                }
            }
        });
    }
}

/// A place for a handshake, if there is one in time.
async fn turn(shared: &Shared) -> Option<OwnedSemaphorePermit> {
    timeout(TURN, Arc::clone(&shared.handshake_slots).acquire_owned()).await.ok()?.ok()
}

/// Does the handshake, and takes the connection in if it is a peer's.
async fn admit(shared: &Arc<Shared>, incoming: Incoming, handshake: OwnedSemaphorePermit) {
    let address = incoming.remote_address();
    let failed = |why: &dyn std::fmt::Display| {
        one(&shared.counters.handshakes_failed);
        tracing::debug!(%address, "a handshake failed: {why}");
    };
    let handshaken = async { incoming.accept()?.await };
    let quic = match timeout(HANDSHAKE, handshaken).await {
        Ok(Ok(quic)) => quic,
        Ok(Err(error)) => return failed(&error),
        Err(_) => return failed(&"it took too long"),
    };
    drop(handshake);
    let chain = node_name::chain(&quic);
    // Rustls has believed the chain; the certificate may still be nobody's.
    let (node, expires) = match shared.identity().verify(&chain) {
        Ok((node, expires)) if node != shared.node => (node, expires),
        other => {
            let why = other.map_or_else(|why| why, |_| "it is this node's own".to_owned());
            one(&shared.counters.connections_misnamed);
            tracing::warn!(%address, "a certificate is no peer's: {why}");
            return Farewell::Misnamed.say(&quic);
        }
    };
    let slot = Arc::clone(&shared.connection_slots).try_acquire_owned().ok();
    let Some((slot, peer)) = slot.zip(shared.peer_or_new(node)) else {
        one(&shared.counters.connections_full);
        return Farewell::Full.say(&quic);
    };
    match timeout(HANDSHAKE, connection::tell(&quic, Control::Welcome)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return failed(&error),
        Err(_) => return failed(&"it takes no word of welcome"),
    }
    shared.establish(&peer, Introduced { quic, origin: Origin::Accepted, chain, expires, slot });
}
