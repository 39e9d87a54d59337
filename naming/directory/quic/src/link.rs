//! One node's end: what goes to others goes over QUIC, what it says to itself needs no network.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, Weak};

use fabric_quic::{BindError, BookFull, Builder, Config, Endpoint, Files, Identity, IdentityError, Messages};
use naming::NodeId;
use naming_directory::Bytes;
use naming_directory_client::{Channel, Receive, Transport};

/// A peer that was gone is looked for at least this often: when it is back, it is needed.
const BACKOFF_MAX_MS: u64 = 500;

/// The numbers are part of the protocol between nodes.
const RAFT: Messages = Messages::new(1, "directory-raft").max_bytes(Channel::Raft.max_bytes());
const SNAPSHOT: Messages = Messages::new(2, "directory-snapshot").max_bytes(Channel::Snapshot.max_bytes());
const REQUEST: Messages = Messages::new(3, "directory-request").max_bytes(Channel::Request.max_bytes());
const RESPONSE: Messages = Messages::new(4, "directory-response").max_bytes(Channel::Response.max_bytes());

/// Where a node is on the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Where it listens, over UDP.
    pub listen: SocketAddr,
    /// The certificate by which others know it.
    pub files: Files,
    /// Where other nodes are, as far as that is known beforehand.
    pub peers: BTreeMap<NodeId, SocketAddr>,
}

/// Why the node cannot talk with others.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum LinkError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(
        "the certificate in {} is for node {found}, but this is node {own}: use the files that `smartswitch pki node DIR --id {own}` makes, or run this node as {found}", path.display()
    )]
    OtherNode { path: PathBuf, found: NodeId, own: NodeId },
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Full(#[from] BookFull),
}

/// Carries messages of one node.
pub struct Link {
    carrier: Arc<Carrier>,
}

struct Carrier {
    node: NodeId,
    endpoint: OnceLock<Endpoint>,
    here: Here,
}

/// Who receives, once that is said; the receiver sends by the link, so that neither may own the other.
type Here = Arc<OnceLock<Weak<dyn Receive>>>;

impl Link {
    /// Listens as `place` says; without one, messages go from the node to itself only. Has to be called on a tokio
    /// runtime.
    ///
    /// # Errors
    /// If the certificate is of no use, or the address is taken.
    pub fn open(node: NodeId, place: Option<&Place>) -> Result<Self, LinkError> {
        let carrier = Arc::new(Carrier { node, endpoint: OnceLock::new(), here: Here::default() });
        let link = Self { carrier };
        place.map_or(Ok(()), |place| link.connect(place))?;
        Ok(link)
    }

    /// Begins to listen, if that was not so from the beginning; else takes on the certificate and the authorities that are
    /// in the files now. Has to be called on a tokio runtime.
    ///
    /// # Errors
    /// If the certificate is of no use, or the address is taken; then nothing has changed.
    pub fn connect(&self, place: &Place) -> Result<(), LinkError> {
        let identity = identity(self.carrier.node, place)?;
        if let Some(endpoint) = self.endpoint() {
            return Ok(endpoint.reload(identity)?);
        }
        _ = self.carrier.endpoint.set(bind(identity, place, &self.carrier.here)?);
        Ok(())
    }

    /// What sends.
    pub fn transport(&self) -> Arc<dyn Transport> {
        Arc::clone(&self.carrier) as Arc<dyn Transport>
    }

    /// The node's end of the network, if it has one.
    pub fn endpoint(&self) -> Option<&Endpoint> {
        self.carrier.endpoint.get()
    }

    /// From now on what comes goes to `receiver`, for as long as that is there; what came before is lost. Once.
    pub fn deliver_to<R: Receive>(&self, receiver: &Arc<R>) {
        _ = self.carrier.here.set(Arc::downgrade(&(Arc::clone(receiver) as Arc<dyn Receive>)));
    }
}

fn identity(node: NodeId, place: &Place) -> Result<Identity, LinkError> {
    let identity = Identity::open(&place.files)?;
    if identity.node() != node {
        let (path, found) = (place.files.certificate.clone(), identity.node());
        return Err(LinkError::OtherNode { path, found, own: node });
    }
    Ok(identity)
}

fn bind(identity: Identity, place: &Place, here: &Here) -> Result<Endpoint, LinkError> {
    let config = Config { backoff_max_ms: BACKOFF_MAX_MS, ..Config::default() };
    let mut builder = Builder::new(identity, config);
    for channel in Channel::ALL {
        let here = Arc::clone(here);
        builder.messages_to(messages(channel), move |message| {
            if let Some(receiver) = here.get().and_then(Weak::upgrade) {
                receiver.receive(message.from, channel, message.bytes);
            }
        });
    }
    let endpoint = builder.bind(place.listen)?;
    for (peer, address) in &place.peers {
        endpoint.set_addresses(*peer, &[*address])?;
    }
    Ok(endpoint)
}

fn messages(channel: Channel) -> &'static Messages {
    match channel {
        Channel::Raft => &RAFT,
        Channel::Snapshot => &SNAPSHOT,
        Channel::Request => &REQUEST,
        Channel::Response => &RESPONSE,
    }
}

impl Transport for Carrier {
    fn send(&self, to: NodeId, channel: Channel, message: Bytes) -> bool {
        if to == self.node {
            let Some(receiver) = self.here.get().and_then(Weak::upgrade) else { return false };
            receiver.receive(to, channel, message);
            return true;
        }
        // The endpoint counts what it drops, and why.
        self.endpoint.get().is_some_and(|endpoint| endpoint.send(to, messages(channel), message).is_ok())
    }
}
