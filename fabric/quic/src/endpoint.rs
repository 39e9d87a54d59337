//! The endpoint, as its users see it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use naming::NodeId;
use tokio::sync::{Semaphore, mpsc};

use crate::accept;
use crate::ask;
use crate::channel::{Calls, Messages, Streams};
use crate::chunks::{Bounds, ChunkReceiver, ChunkSender};
use crate::config::{Config, ConfigError};
use crate::counters::{Counters, add, one};
use crate::error::{CallError, Farewell, SendError, StreamError, Unreachable};
use crate::herald;
use crate::housekeeping;
use crate::identity::{Identity, IdentityError};
use crate::inbox::{self, Message, MessageInbox};
use crate::incoming::{IncomingCall, IncomingStream, Takers};
use crate::lane::Rejected;
use crate::peer::MAX_ADDRESSES;
use crate::serve::{BothWays, Served, Service};
use crate::shared::{MAX_PEERS, Shared, guard};
use crate::socket::Socket;
use crate::status::{self, PeerStatus};
use crate::transport::{self, SocketBuffers};

/// The endpoint cannot be made.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum BindError {
    #[error("the endpoint's configuration: {0}")]
    Config(#[from] ConfigError),
    #[error("cannot listen on {address} (udp): {source}; choose an address of this host and a free port")]
    Socket { address: SocketAddr, source: io::Error },
}

/// The address book is full.
#[derive(Debug, thiserror::Error)]
#[error("{MAX_PEERS} peers are known already; forget some first")]
pub struct BookFull;

/// Declares who serves what, before the endpoint begins to listen.
///
/// # Panics
/// Its methods, if a channel's number is served already: the channels of a program are constants.
#[derive(Debug)]
pub struct Builder {
    identity: Identity,
    config: Config,
    served: Served,
}

impl Builder {
    /// For this node.
    pub fn new(identity: Identity, config: Config) -> Self {
        Self { identity, config, served: Served::new() }
    }

    /// Serves messages: they wait in the inbox.
    pub fn messages(&mut self, channel: &Messages) -> MessageInbox {
        let (sink, inbox) = inbox::messages(channel);
        self.serve(channel.number, channel.name, Service::Messages(sink));
        inbox
    }

    /// Serves messages: each is given to `take` at once, by the task that reads its peer's. It must not wait, and bounds itself
    /// what it keeps.
    pub fn messages_to(&mut self, channel: &Messages, take: impl Fn(Message) + Send + Sync + 'static) {
        let sink = inbox::messages_to(channel, take);
        self.serve(channel.number, channel.name, Service::Messages(sink));
    }

    /// Serves calls: each waits to be taken and [replied](IncomingCall::reply) to.
    pub fn calls(&mut self, channel: &Calls) -> mpsc::Receiver<IncomingCall> {
        let (sender, receiver) = mpsc::channel(channel.concurrent);
        let service = BothWays {
            slots: Arc::new(Semaphore::new(channel.concurrent)),
            inbound: Bounds { channel: channel.name, max: channel.max_request_bytes },
            outbound: Bounds { channel: channel.name, max: channel.max_reply_bytes },
            takers: Takers::Calls(sender),
        };
        self.serve(channel.number, channel.name, Service::BothWays(service));
        receiver
    }

    /// Serves streams.
    pub fn streams(&mut self, channel: &Streams) -> mpsc::Receiver<IncomingStream> {
        let (sender, receiver) = mpsc::channel(channel.concurrent);
        let service = BothWays {
            slots: Arc::new(Semaphore::new(channel.concurrent)),
            inbound: Bounds::from(channel),
            outbound: Bounds::from(channel),
            takers: Takers::Streams(sender),
        };
        self.serve(channel.number, channel.name, Service::BothWays(service));
        receiver
    }

    fn serve(&mut self, number: u8, name: &'static str, service: Service) {
        let before = self.served.insert(number, service);
        assert!(before.is_none(), "channel {number} ({name}) is served twice");
    }

    /// Begins to listen. Runs on the tokio runtime it is called on.
    ///
    /// # Errors
    /// [`BindError`], if the configuration or the address does not do.
    pub fn bind(self, address: SocketAddr) -> Result<Endpoint, BindError> {
        let Self { identity, config, served } = self;
        config.check()?;
        let failed = |source| BindError::Socket { address, source };
        let (socket, buffers) = transport::socket(address, config.socket_buffer_bytes).map_err(failed)?;
        let transport = transport::transport(&config);
        let server = transport::server(&identity, &transport, config.max_handshakes);
        let runtime = Arc::new(quinn::TokioRuntime);
        let endpoint = transport::endpoint(&identity, &config);
        let socket = Arc::new(Socket::new(socket).map_err(failed)?);
        let quinn = quinn::Endpoint::new_with_abstract_socket(endpoint, Some(server), socket, runtime)
            .map_err(failed)?;
        let local = quinn.local_addr().map_err(failed)?;
        let shared = Arc::new(Shared::new(config, quinn, transport, identity, served));
        shared.runtime.spawn(accept::accept(Arc::clone(&shared)));
        shared.runtime.spawn(housekeeping::keep(Arc::clone(&shared)));
        shared.runtime.spawn(herald::run(Arc::clone(&shared)));
        Ok(Endpoint { handle: Arc::new(LastOne(shared)), local, buffers })
    }
}

/// One node's end of all conversations with other nodes. Clones are the same endpoint; when the last one is dropped,
/// it is closed.
///
/// Nothing here but [`Builder::bind`] has to be called on a tokio runtime's thread; what is `async` may run on any.
#[derive(Clone, Debug)]
pub struct Endpoint {
    handle: Arc<LastOne>,
    local: SocketAddr,
    buffers: SocketBuffers,
}

struct LastOne(Arc<Shared>);

impl Drop for LastOne {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl std::fmt::Debug for LastOne {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Node").field(&self.0.node).finish()
    }
}

impl Endpoint {
    fn shared(&self) -> &Arc<Shared> {
        &self.handle.0
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.shared().node
    }

    /// Where it listens.
    pub fn local_address(&self) -> SocketAddr {
        self.local
    }

    /// What the kernel gave for the socket's buffers; below [`Config::socket_buffer_bytes`], raise
    /// `net.core.rmem_max` and `net.core.wmem_max`.
    pub fn socket_buffers(&self) -> SocketBuffers {
        self.buffers
    }

    /// Says where a peer is reached, the best address first; of more than 8 the first count. Other addresses than
    /// before make a peer that was given up for a while worth a try at once. Connections stay.
    ///
    /// # Errors
    /// If the peer is new and there are [`MAX_PEERS`].
    pub fn set_addresses(&self, node: NodeId, addresses: &[SocketAddr]) -> Result<(), BookFull> {
        let peer = self.shared().peer_or_new(node).ok_or(BookFull)?;
        let addresses = &addresses[..addresses.len().min(MAX_ADDRESSES)];
        let changed = {
            let mut known = guard(&peer.addresses);
            let changed = *known != addresses;
            *known = addresses.to_vec();
            changed
        };
        if changed {
            peer.change(|link| link.wake());
        }
        Ok(())
    }

    /// Forgets a peer: its addresses, its connections, what waits for it. It may still connect by itself as long as
    /// its certificate is good.
    pub fn forget(&self, node: NodeId) {
        self.shared().forget(node);
    }

    /// Sends a message, in order with earlier ones on the channel to this peer. Never blocks. Whether it arrives is
    /// not known: it is lost if the connection breaks. A new connection's messages may overtake the last ones of the
    /// connection before.
    ///
    /// # Errors
    /// If the message is dropped now; each reason has a counter.
    pub fn send(&self, node: NodeId, channel: &Messages, message: Bytes) -> Result<(), SendError> {
        let shared = self.shared();
        let counters = &shared.counters;
        let (name, len, max) = (channel.name, message.len(), channel.max_bytes);
        if len > max {
            one(&counters.messages_dropped_too_long);
            return Err(SendError::TooLong { channel: name, len, max });
        }
        let Some(peer) = shared.peer(node) else {
            one(&counters.messages_dropped_unknown_peer);
            return Err(Unreachable::UnknownPeer(node).into());
        };
        if shared.is_closed() {
            one(&counters.messages_dropped_unreachable);
            return Err(Unreachable::Closed.into());
        }
        let now = Instant::now();
        let resting = peer.link().resting(now);
        if let Some((until, why)) = resting {
            one(&counters.messages_dropped_unreachable);
            let left = until.saturating_duration_since(now);
            return Err(Unreachable::Resting { node, why, left }.into());
        }
        let lane = peer.lane(shared, channel);
        let first = lane.push(message, now).map_err(|rejected| match rejected {
            Rejected::Full => {
                one(&counters.messages_dropped_full);
                SendError::Full { channel: name, node }
            }
            Rejected::Refused => {
                add(&counters.messages_dropped_lost, 1);
                SendError::Refused { channel: name, node }
            }
        })?;
        if first {
            shared.herald.wake(lane, &shared.runtime);
        }
        Ok(())
    }

    /// Asks a peer, and waits for its reply. Dropping the future tells the peer that the reply is not wanted.
    ///
    /// # Errors
    /// [`CallError`]; its [`was_never_taken`](CallError::was_never_taken) says whether asking again is safe whatever was asked.
    pub async fn call(
        &self,
        node: NodeId,
        channel: &Calls,
        request: Bytes,
        within: Duration,
    ) -> Result<Bytes, CallError> {
        ask::call(self.shared(), node, channel, request, within).await
    }

    /// Opens a stream with a first chunk. Both ends send and receive; who is slow slows the other down.
    ///
    /// # Errors
    /// If the peer cannot be reached. That nobody serves the channel there shows at the first use of the stream.
    pub async fn open(
        &self,
        node: NodeId,
        channel: &Streams,
        opening: Bytes,
    ) -> Result<(ChunkSender, ChunkReceiver), StreamError> {
        ask::stream(self.shared(), node, channel, opening).await
    }

    /// Takes on a new certificate, or new authorities. New connections use it at once; those with a peer that would not
    /// be believed now are closed.
    ///
    /// # Errors
    /// If the certificate is another node's; then nothing has changed.
    pub fn reload(&self, identity: Identity) -> Result<(), IdentityError> {
        let shared = self.shared();
        identity.must_be(shared.node)?;
        let server = transport::server(&identity, &shared.transport, shared.config.max_handshakes);
        shared.quinn.set_server_config(Some(server));
        *shared.identity.write().unwrap_or_else(PoisonError::into_inner) = identity.clone();
        for connection in shared.connections() {
            if let Err(why) = identity.verify(&connection.chain) {
                one(&shared.counters.connections_expired);
                tracing::info!(node = %connection.peer, "closed, as its certificate is not believed any more: {why}");
                connection.close(Farewell::Expired);
            }
        }
        Ok(())
    }

    /// All peers that are known, in the order of their ids.
    pub fn peers(&self) -> Vec<PeerStatus> {
        let mut peers: Vec<_> = self.shared().peers().iter().map(|peer| status::of(peer)).collect();
        peers.sort_by_key(|peer| peer.node);
        peers
    }

    /// One peer, if it is known.
    pub fn peer(&self, node: NodeId) -> Option<PeerStatus> {
        self.shared().peer(node).map(|peer| status::of(&peer))
    }

    /// Connections that live, those that are being retired among them.
    pub fn connections(&self) -> usize {
        self.shared().connections().len()
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.shared().counters
    }

    /// Closes all connections, and waits until peers have been told, at most as long as they take to find out by
    /// themselves. Inboxes end.
    pub async fn close(&self) {
        self.shared().close();
        let patience = Duration::from_millis(self.shared().config.idle_timeout_ms);
        let _ = tokio::time::timeout(patience, self.shared().quinn.wait_idle()).await;
    }
}
