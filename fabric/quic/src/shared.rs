//! What all tasks of an endpoint share, and how connections come and go.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use naming::NodeId;
use quinn::TransportConfig;
use rustls::pki_types::CertificateDer;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Config;
use crate::connection::{Connection, Control};
use crate::counters::{Counters, one};
use crate::dial;
use crate::error::{Farewell, Unreachable};
use crate::herald::Herald;
use crate::identity::Identity;
use crate::link::{Backoff, Origin, Want};
use crate::peer::Peer;
use crate::serve::{self, Served};

/// Peers that are known at most, connected or not.
pub const MAX_PEERS: usize = 65_536;
/// A retired connection stays for so long, for what is under way on it.
const RETIREMENT: Duration = Duration::from_secs(5);

pub(crate) struct Shared {
    pub(crate) node: NodeId,
    pub(crate) config: Config,
    pub(crate) quinn: quinn::Endpoint,
    pub(crate) transport: Arc<TransportConfig>,
    pub(crate) identity: RwLock<Identity>,
    pub(crate) counters: Counters,
    pub(crate) runtime: Handle,
    /// Places for connections, for handshakes of others, for dials.
    pub(crate) connection_slots: Arc<Semaphore>,
    pub(crate) handshake_slots: Arc<Semaphore>,
    pub(crate) dial_slots: Semaphore,
    peers: RwLock<HashMap<NodeId, Arc<Peer>>>,
    /// All that live, retired ones too.
    connections: Mutex<HashMap<u64, Arc<Connection>>>,
    served: Mutex<Arc<Served>>,
    serial: AtomicU64,
    pub(crate) herald: Herald,
    closed: AtomicBool,
}

/// A connection whose peer has shown who it is, before the endpoint has it.
pub(crate) struct Introduced {
    pub(crate) quic: quinn::Connection,
    pub(crate) origin: Origin,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) expires: SystemTime,
    pub(crate) slot: OwnedSemaphorePermit,
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        quinn: quinn::Endpoint,
        transport: Arc<TransportConfig>,
        identity: Identity,
        served: Served,
    ) -> Self {
        Self {
            node: identity.node(),
            quinn,
            transport,
            identity: RwLock::new(identity),
            counters: Counters::default(),
            runtime: Handle::current(),
            connection_slots: Arc::new(Semaphore::new(config.max_connections)),
            handshake_slots: Arc::new(Semaphore::new(config.max_handshakes)),
            dial_slots: Semaphore::new(config.max_dials),
            peers: RwLock::default(),
            connections: Mutex::default(),
            served: Mutex::new(Arc::new(served)),
            serial: AtomicU64::new(0),
            herald: Herald::default(),
            closed: AtomicBool::new(false),
            config,
        }
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn served(&self) -> Arc<Served> {
        Arc::clone(&guard(&self.served))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// A peer that was mentioned or that connected before.
    pub(crate) fn peer(&self, node: NodeId) -> Option<Arc<Peer>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }

    /// The same, made if it is new; none if there are too many.
    pub(crate) fn peer_or_new(&self, node: NodeId) -> Option<Arc<Peer>> {
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(peer) = peers.get(&node) {
            return Some(Arc::clone(peer));
        }
        if peers.len() >= MAX_PEERS {
            return None;
        }
        let min = Duration::from_millis(self.config.backoff_min_ms);
        let max = Duration::from_millis(self.config.backoff_max_ms);
        let peer = Arc::new(Peer::new(self.node, node, Backoff { min, max }));
        peers.insert(node, Arc::clone(&peer));
        Some(peer)
    }

    pub(crate) fn peers(&self) -> Vec<Arc<Peer>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// All connections that live.
    pub(crate) fn connections(&self) -> Vec<Arc<Connection>> {
        guard(&self.connections).values().cloned().collect()
    }

    /// A connection to `peer`, dialed if there is none. Who drops the future leaves the dial to go on.
    pub(crate) async fn connection(
        self: &Arc<Self>,
        peer: &Arc<Peer>,
    ) -> Result<Arc<Connection>, Unreachable> {
        let mut changed = peer.changed.subscribe();
        loop {
            if self.is_closed() {
                return Err(Unreachable::Closed);
            }
            let now = Instant::now();
            let want = peer.link().want(now);
            match want {
                Want::Use(connection) => return Ok(connection),
                Want::Wait => {}
                Want::Dial => {
                    let (shared, peer) = (Arc::clone(self), Arc::clone(peer));
                    self.runtime.spawn(async move { dial::dial(&shared, &peer).await });
                }
                Want::Resting { until, why } => {
                    let left = until.saturating_duration_since(now);
                    return Err(Unreachable::Resting { node: peer.node, why, left });
                }
            }
            // The sender lives in `peer`.
            let _ = changed.changed().await;
        }
    }

    /// Takes a connection in, and serves what comes on it.
    pub(crate) fn establish(self: &Arc<Self>, peer: &Arc<Peer>, introduced: Introduced) {
        let Introduced { quic, origin, chain, expires, slot } = introduced;
        let id = self.serial.fetch_add(1, Ordering::Relaxed);
        let connection = Arc::new(Connection::new(id, peer.node, quic, origin, chain, expires));
        one(match origin {
            Origin::Dialed => &self.counters.connections_dialed,
            Origin::Accepted => &self.counters.connections_accepted,
        });
        tracing::debug!(node = %peer.node, address = %connection.quic.remote_address(), ?origin, "connected");
        guard(&self.connections).insert(id, Arc::clone(&connection));
        // Whoever closed the endpoint or forgot the peer meanwhile did not see this connection.
        if self.is_closed() || self.peer(peer.node).is_none() {
            connection.close(if self.is_closed() { Farewell::Shutdown } else { Farewell::Forgotten });
        }
        let own = Arc::clone(&connection);
        let retired = peer.change(|link| link.established(id, own, origin, Instant::now()));
        for connection in retired {
            self.retire(connection);
        }
        let (shared, peer) = (Arc::clone(self), Arc::clone(peer));
        self.runtime.spawn(async move {
            let why = serve::connection(&shared, &connection).await;
            // First: who sees that the connection is gone may count on its place.
            drop(slot);
            shared.lost(&peer, &connection, &why);
        });
    }

    fn lost(&self, peer: &Peer, connection: &Connection, why: &quinn::ConnectionError) {
        guard(&self.connections).remove(&connection.id);
        if matches!(why, quinn::ConnectionError::LocallyClosed) {
            return peer.change(|link| link.retired(connection.id));
        }
        let words: Arc<str> = why.to_string().into();
        let (now, jitter) = (Instant::now(), fastrand::f64());
        let held = peer.change(|link| link.lost(connection.id, Arc::clone(&words), now, jitter));
        if held {
            one(&self.counters.connections_lost);
            tracing::debug!(node = %peer.node, "the connection is lost: {words}");
        }
    }

    /// Has the peer use another connection, and closes this one after a while.
    fn retire(self: &Arc<Self>, connection: Arc<Connection>) {
        one(&self.counters.connections_retired);
        self.runtime.spawn(async move {
            let told = tokio::time::timeout(RETIREMENT, connection.tell(Control::Retired));
            if matches!(told.await, Ok(Ok(()))) {
                tokio::time::sleep(RETIREMENT).await;
            }
            connection.close(Farewell::Retired);
        });
    }

    /// Forgets all about a peer.
    pub(crate) fn forget(&self, node: NodeId) {
        let peer = self.peers.write().unwrap_or_else(PoisonError::into_inner).remove(&node);
        let Some(peer) = peer else { return };
        peer.stop();
        for connection in self.connections().into_iter().filter(|connection| connection.peer == node) {
            connection.close(Farewell::Forgotten);
        }
    }

    /// Closes everything. Tasks end by themselves, since their connections are gone.
    pub(crate) fn close(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        *guard(&self.served) = Arc::default();
        for peer in self.peers() {
            peer.stop();
            peer.changed.send_replace(());
        }
        for connection in self.connections() {
            connection.close(Farewell::Shutdown);
        }
        self.herald.close();
        self.quinn.close(0u32.into(), b"the node shuts down");
    }
}

/// A lock on what is whole whenever it is not locked.
pub(crate) fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
