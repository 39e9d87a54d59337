//! The node's part in the name directory: its replicas, its client, and what operators see of both.
//!
//! A node without other nodes is a directory of one member, and nothing listens for it. With `[fabric]` it talks with others
//! over QUIC, and may become a member of their directory, or they of its.
//!
//! | module | what it is |
//! |---|---|
//! | `beginning` | with a new store: what others know of this node |
//! | `addresses` | where other nodes are, as the directory says |
//! | `liveness` | the node's own registration, kept alive |
//! | [`members`] | adding and removing members |
//! | [`split`] | splitting a shard by hand |
//! | `balance` | moving replicas and leaders to where they should be |
//! | [`view`] | how the directory looks from here, for people and scripts |
//! | `status` | its part of status and metrics |
//! | [`http`] | the same for the admin server |
//! | [`cli`] | `smartswitch directory` |

mod addresses;
mod balance;
mod beginning;
pub mod cli;
pub mod http;
mod liveness;
pub mod members;
pub mod split;
mod status;
pub mod view;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fabric_quic::Thread;
use naming::{NodeId, Rack};
use naming_directory_client::balance::Counters;
use naming_directory_client::transport::Both;
use naming_directory_client::{Client, Transport, client};
use naming_directory_quic::{Link, LinkError};
use naming_directory_server::{Ended, Server, Settings, StartError, Waiting};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::config::{Config, Fabric, Shards};
use status::Published;

/// How long a request may take. Electing a leader takes half a second.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long peers may take to hear that the node goes.
const FAREWELL: Duration = Duration::from_millis(500);

/// Why the node cannot have its part in the directory.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum OpenError {
    #[error("there is no place for the directory's data: give `data` in [node], or --data")]
    NoPlace,
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("no thread for the network of the directory: {0}")]
    Thread(std::io::Error),
    #[error("opening the directory ended in a panic")]
    Panicked,
}

/// The node's part in the directory, open.
pub struct Directory {
    node: NodeId,
    rack: Rack,
    /// How it talks with others; may come while it runs.
    fabric: watch::Sender<Option<Fabric>>,
    link: Link,
    /// Where the link's network and the server run.
    thread: Thread,
    server: Arc<Server>,
    client: Client,
    published: Published,
    /// What it waits for before it takes part; `None`: it does.
    waiting: watch::Sender<Option<Waiting>>,
    shards: Shards,
    /// What it moved.
    balanced: Arc<Counters>,
    /// What comes to the node goes to both. Owned here, so that nothing comes any more once this is gone.
    _both: Arc<Both<Server, Client>>,
}

impl Directory {
    /// Opens what `config` asks for, if it does. Has to be called on a tokio runtime.
    ///
    /// # Errors
    /// If the data cannot be used, or other nodes would not believe this one.
    pub async fn open(config: &Config) -> Result<Option<Arc<Self>>, OpenError> {
        let Some(directory) = &config.directory else { return Ok(None) };
        let (node, fabric) = (config.node.id, config.fabric.clone());
        let path = store(config.node.data().ok_or(OpenError::NoPlace)?);
        let begin = beginning::begin(node, directory, fabric.as_ref());

        let thread = Thread::spawn().map_err(OpenError::Thread)?;
        let link = {
            let _on = thread.enter();
            Link::open(node, fabric.as_ref().map(|fabric| &fabric.place))?
        };
        let shards = directory.shards;
        let (split_names, accepts) = (shards.split_names, shards.accept);
        let settings = Settings { split_names, accepts, ..Settings::new(node, path, begin) };
        let (server, waiting) = start(thread.runtime().clone(), settings, link.transport()).await?;
        let (server, waiting) = (Arc::new(server), watch::Sender::new(waiting));
        let client = Client::new(node, link.transport(), client_settings(node, fabric.as_ref()));
        let knows = client.clone();
        server.tell_also(Box::new(move |asked| knows.hearsay(asked)));
        let both = Arc::new(Both { server: Arc::clone(&server), client: Arc::new(client.clone()) });
        link.deliver_to(&both);

        let (rack, fabric) = (config.node.rack.clone(), watch::Sender::new(fabric));
        let published = Published::default();
        let balanced = Arc::default();
        Ok(Some(Arc::new(Self {
            node,
            rack,
            fabric,
            link,
            thread,
            server,
            client,
            published,
            waiting,
            shards,
            balanced,
            _both: both,
        })))
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Where other nodes reach this one; none, if it is alone.
    pub fn listen(&self) -> Option<std::net::SocketAddr> {
        self.link.endpoint().map(fabric_quic::Endpoint::local_address)
    }

    /// What the node's parts ask.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Takes on a `[fabric]`, if it had none, and the certificate that is in its files now.
    ///
    /// # Errors
    /// If other nodes would not believe this one, or the address is taken; then nothing has changed.
    pub fn connect(&self, fabric: &Fabric) -> Result<(), LinkError> {
        let _on = self.thread.enter();
        self.link.connect(&fabric.place)?;
        self.fabric.send_if_modified(|known| known.is_none() && known.replace(fabric.clone()).is_none());
        Ok(())
    }

    /// What it waits for before it takes part in a directory, if it does, in words.
    pub fn waits(&self) -> Option<String> {
        self.waiting.borrow().as_ref().map(|waiting| waiting.text.clone())
    }

    /// Waits until the node's part in the directory ends by itself; for ever, if it does not.
    pub async fn ended(&self) -> Ended {
        self.server.ended().await
    }

    /// Nodes that the configuration names.
    fn peers(&self) -> Vec<NodeId> {
        peers(self.fabric.borrow().as_ref()).into_iter().collect()
    }

    /// Takes part until `draining` turns true; then hands leadership to others for as long as `grace` lasts, and ends.
    pub async fn serve(self: Arc<Self>, mut draining: watch::Receiver<bool>, grace: Duration) {
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(beginning::keep(Arc::clone(&self)));
        tasks.spawn(liveness::keep(Arc::clone(&self)));
        tasks.spawn(addresses::keep(Arc::clone(&self)));
        tasks.spawn(status::publish(Arc::clone(&self)));
        if self.shards.rebalance {
            tasks.spawn(balance::keep(Arc::clone(&self), self.shards));
        }
        _ = draining.wait_for(|draining| *draining).await;
        let server = Arc::clone(&self.server);
        let drained = tokio::task::spawn_blocking(move || server.drain(grace)).await;
        if !drained.is_ok_and(|drained| drained) {
            tracing::warn!("nobody took over the shards that this node leads: their next leader is elected");
        }
        tasks.shutdown().await;
        let server = Arc::clone(&self.server);
        _ = tokio::task::spawn_blocking(move || server.stop()).await;
        if let Some(endpoint) = self.link.endpoint() {
            // Peers that are gone do not hear it.
            _ = tokio::time::timeout(FAREWELL, endpoint.close()).await;
        }
    }
}

/// A server, and what it waits for.
async fn start(
    on: Handle,
    settings: Settings,
    transport: Arc<dyn Transport>,
) -> Result<(Server, Option<Waiting>), OpenError> {
    let start = move || {
        let server = Server::start_on(&on, settings, transport)?;
        let waiting = server.told(Vec::new());
        Ok((server, waiting))
    };
    tokio::task::spawn_blocking(start).await.map_err(|_| OpenError::Panicked)?
}

/// Whom a client asks first: this node itself, and who is known beforehand.
fn client_settings(node: NodeId, fabric: Option<&Fabric>) -> client::Settings {
    client::Settings { timeout: TIMEOUT, ..client::Settings::new(peers(fabric).into_iter().chain([node])) }
}

fn peers(fabric: Option<&Fabric>) -> BTreeSet<NodeId> {
    fabric.into_iter().flat_map(|fabric| fabric.place.peers.keys().copied()).collect()
}

/// Where the node's store is, below the place for its data.
pub(crate) fn store(data: PathBuf) -> PathBuf {
    data.join("directory")
}
