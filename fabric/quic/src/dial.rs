//! Making a connection to a peer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use naming::NodeId;
use quinn::ConnectionError;

use crate::connection::{self, Control};
use crate::counters::one;
use crate::identity::Identity;
use crate::link::Origin;
use crate::node_name;
use crate::peer::Peer;
use crate::shared::{Introduced, Shared};
use crate::transport;

/// Why one address led nowhere.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("no answer within {0} ms")]
    Timeout(u64),
    #[error("this node has as many connections as it may")]
    Full,
    #[error("the address cannot be dialed: {0}")]
    Address(#[from] quinn::ConnectError),
    #[error("{}", in_words(.0))]
    Connection(#[from] ConnectionError),
    #[error("the peer is not who it should be: {0}")]
    Identity(String),
    #[error("the peer speaks another protocol")]
    Protocol,
}

/// TLS alerts come as numbers; those about certificates want words.
fn in_words(error: &ConnectionError) -> String {
    let ConnectionError::ConnectionClosed(close) = error else { return error.to_string() };
    let why = match u64::from(close.error_code).checked_sub(0x100) {
        Some(44) => "it has been revoked",
        Some(45) => "it has expired there",
        Some(48) => "it does not know the authority",
        Some(116) => "none was shown",
        Some(120) => return "the peer speaks another version of the protocol".to_owned(),
        Some(40 | 42 | 43 | 46 | 49 | 51) => "it is not acceptable",
        _ => return error.to_string(),
    };
    format!("the peer does not believe this node's certificate: {why}")
}

/// Dials the peer's addresses one after the other, and tells its link how it went.
pub(crate) async fn dial(shared: &Arc<Shared>, peer: &Arc<Peer>) {
    // The semaphore is never closed.
    let _slot = shared.dial_slots.acquire().await;
    match any_address(shared, peer).await {
        Ok(introduced) => shared.establish(peer, introduced),
        Err(why) => {
            one(&shared.counters.dials_failed);
            let (now, jitter) = (Instant::now(), fastrand::f64());
            let first = peer.change(|link| link.dial_failed(why.as_str().into(), now, jitter));
            // Once for each time that it goes away.
            if first {
                tracing::warn!(node = %peer.node, "cannot be reached: {why}");
            }
        }
    }
}

async fn any_address(shared: &Shared, peer: &Peer) -> Result<Introduced, String> {
    let identity = shared.identity();
    let mut failures = Vec::new();
    for address in peer.addresses() {
        let introduced = introduce(shared, &identity, peer.node, address);
        let error = match tokio::time::timeout(shared.config.dial(), introduced).await {
            Ok(Ok(introduced)) => return Ok(introduced),
            Ok(Err(error)) => error,
            Err(_) => DialError::Timeout(shared.config.dial_ms),
        };
        failures.push(format!("{address}: {error}"));
    }
    if failures.is_empty() {
        failures.push("no address of it is known".to_owned());
    }
    Err(failures.join("; "))
}

async fn introduce(
    shared: &Shared,
    identity: &Identity,
    node: NodeId,
    address: SocketAddr,
) -> Result<Introduced, DialError> {
    let Ok(slot) = Arc::clone(&shared.connection_slots).try_acquire_owned() else {
        one(&shared.counters.connections_full);
        return Err(DialError::Full);
    };
    let config = transport::client(identity, &shared.transport);
    let quic = shared.quinn.connect_with(config, address, &node_name::dns_name(node))?.await?;
    // The certificate is good for the name that was dialed; it might name other nodes, too.
    let chain = node_name::chain(&quic);
    let (shown, expires) = identity.verify(&chain).map_err(DialError::Identity)?;
    if shown != node {
        return Err(DialError::Identity(format!("its certificate names node {shown}")));
    }
    welcomed(&quic).await?;
    Ok(Introduced { quic, origin: Origin::Dialed, chain, expires, slot })
}

/// Waits for the peer to say that it believes this node: in TLS 1.3 the handshake ends here before the peer has seen
/// our certificate.
async fn welcomed(quic: &quinn::Connection) -> Result<(), DialError> {
    let mut stream = quic.accept_uni().await?;
    let welcome = connection::heard(&mut stream).await;
    match welcome {
        Some(Control::Welcome) => Ok(()),
        _ => Err(quic.close_reason().map_or(DialError::Protocol, DialError::Connection)),
    }
}
