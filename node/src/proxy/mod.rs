//! Pools of memcached servers over TCP, and routes over them: clients connect here as they would to a memcached or a proxy
//! of their own.
//!
//! What is asked and answered is [`memcached_bridge::proxy`]'s; this is its shell. One thread for each of `threads` in
//! `[proxy]`, each with a runtime, a proxy, and a listener of its own for each door (`SO_REUSEPORT`): threads share only
//! what `SharedPool` holds.
//!
//! ```text
//!  ready clients ─► read, hand to the proxy ─┐
//!  ready servers ─► read, hand to the proxy ─┴─► flush: one write for each connection with something to send
//! ```
//! The flush is a task like the connections' and woken by the first of them, so it runs when all that were ready together
//! have been read. Sockets are written there and then; only one that takes no more waits until it does. A busy thread
//! pauses before it asks the system what is ready, so that more is (`coalescing`). At its end the flush takes what the proxy
//! has to say of requests that are traced (`spans`).

mod backend;
mod client;
mod coalescing;
mod generation;
mod sockets;
mod spans;
mod status;
mod thread;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError, RwLock, mpsc};
use std::thread::JoinHandle;

use ipnet::IpNet;
use memcached_bridge::coherence::Tracking;
use memcached_bridge::hashing::RingError;
use memcached_bridge::proxy::{DoorId, SharedPool, SharedRoute};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::{self, Config};
use crate::embedded::ListenError;
use crate::limits::Clients;
use crate::passwords::PasswordError;
use crate::status::Source;
use crate::tls::{Acceptor, Connector, TlsError};
use generation::Generation;
pub use spans::Spans;
use status::Counters;

/// Why pools cannot be served.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum StartError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("pool {pool}: {source}")]
    Ring { pool: String, source: RingError },
    #[error(
        "a thread for pools cannot be started: {0}; see `ulimit -n` and `ulimit -u`, or lower `threads` in [proxy]"
    )]
    Thread(#[source] io::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Passwords(#[from] PasswordError),
}

/// What is served until the next reload.
struct Serving {
    /// As a proxy's pools: in this order.
    pools: Vec<Arc<OpenPool>>,
    /// As a proxy's routes: in this order.
    routes: Vec<Arc<OpenRoute>>,
    /// Where clients come in.
    doors: Vec<Arc<OpenDoor>>,
}

/// A pool that is served.
struct OpenPool {
    config: config::Pool,
    shared: Arc<SharedPool>,
    /// TLS to servers.
    connector: Option<Connector>,
    /// TLS handshakes with servers that failed.
    server_handshakes_failed: AtomicU64,
}

/// A route that is served.
struct OpenRoute {
    config: config::Route,
    shared: Arc<SharedRoute>,
}

/// Where clients come in: a pool's door, or a route's.
struct OpenDoor {
    id: DoorId,
    /// The pool's name or the route's.
    name: String,
    config: config::Door,
    /// Who is served.
    allowed: Vec<IpNet>,
    /// Where it listens.
    listen: SocketAddr,
    /// Clients that are connected, in all threads.
    connections: AtomicUsize,
    /// What each client has of it.
    clients: Arc<Clients>,
    /// TLS to clients.
    acceptor: Option<Acceptor>,
    counters: Counters,
}

/// What is served now.
struct Served(RwLock<Arc<Serving>>);

impl Serving {
    fn nothing() -> Self {
        Self { pools: Vec::new(), routes: Vec::new(), doors: Vec::new() }
    }

    /// The index of a door.
    fn door(&self, id: DoorId) -> Option<u16> {
        let index = self.doors.iter().position(|door| door.id == id)?;
        u16::try_from(index).ok()
    }
}

impl Served {
    fn now(&self) -> Arc<Serving> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, serving: Arc<Serving>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = serving;
    }
}

/// What pools over TCP share with the packet path.
#[derive(Clone, Copy)]
pub struct Shared<'a> {
    /// The time.
    pub clock: Clock,
    /// By name of the pool: the writes that either sees.
    pub tracking: &'a HashMap<String, Tracking>,
}

/// The pools that are served, until told to stop.
pub struct Proxies {
    served: Arc<Served>,
    clock: Clock,
    reloads: Vec<UnboundedSender<Generation>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Proxies {
    /// Serves the pools and routes of `config` that have a `listen`, until `draining` turns true and what clients had begun is
    /// done. `None` if there are none. A sample of requests has `spans`.
    ///
    /// # Errors
    /// [`StartError`]; nothing is served then.
    pub fn start(
        config: &Config,
        shared: Shared<'_>,
        spans: Option<&Spans>,
        draining: &watch::Receiver<bool>,
    ) -> Result<Option<Self>, StartError> {
        let config::Proxy { threads, coalesce } = config.proxy;
        let Shared { clock, tracking } = shared;
        let (serving, generations) =
            generation::next(config, &Serving::nothing(), tracking, threads, clock.now())?;
        if serving.doors.is_empty() {
            return Ok(None);
        }
        let (started, starting) = mpsc::channel();
        let (mut reloads, mut running) = (Vec::new(), Vec::new());
        for (index, first) in (0u16..).zip(generations) {
            let (reload, next) = unbounded_channel();
            let (draining, started) = (draining.clone(), started.clone());
            let fixed = thread::Fixed { index, coalesce, clock, spans: spans.cloned() };
            let run = move || thread::run(fixed, first, next, draining, &started);
            let thread = std::thread::Builder::new().name(format!("proxy-{index}")).spawn(run);
            running.push(thread.map_err(StartError::Thread)?);
            reloads.push(reload);
        }
        for _ in 0..threads {
            // A thread that ends without a word has panicked, which is reported where it happened.
            starting.recv().unwrap_or(Ok(())).map_err(StartError::Thread)?;
        }
        let served = Arc::new(Served(RwLock::new(serving)));
        Ok(Some(Self { served, clock, reloads, threads: Mutex::new(running) }))
    }

    /// Serves the pools and routes of `config` in place of those served now. Clients stay connected, and move between two requests; those
    /// of a pool that is gone are closed then.
    ///
    /// # Errors
    /// [`StartError`]; everything stays as it is then.
    pub fn reload(&self, config: &Config) -> Result<(), StartError> {
        // Pools that are on the packet path, too, change only with a restart: there is nothing new to share.
        let (before, tracking) = (self.served.now(), HashMap::new());
        let (serving, generations) =
            generation::next(config, &before, &tracking, self.reloads.len(), self.clock.now())?;
        for (reload, next) in self.reloads.iter().zip(generations) {
            // A thread that is gone has panicked, or the node drains.
            _ = reload.send(next);
        }
        self.served.replace(serving);
        Ok(())
    }

    /// Name and address of each pool and route that clients come in by.
    pub fn listens(&self) -> Vec<(String, SocketAddr)> {
        let what = |door: &OpenDoor| match door.id {
            DoorId::Pool(_) => "pool",
            DoorId::Route(_) => "route",
        };
        let doors = &self.served.now().doors;
        doors.iter().map(|door| (format!("{} {}", what(door), door.name), door.listen)).collect()
    }

    /// What they have to say of themselves.
    pub fn source(&self) -> Arc<dyn Source> {
        Arc::new(status::View { served: Arc::clone(&self.served) })
    }

    /// Waits until all threads have ended.
    pub fn join(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread for pools ended in a panic");
            }
        }
    }
}
