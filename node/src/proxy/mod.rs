//! Pools of memcached servers over TCP: clients connect here as they would to a memcached or a proxy of their own.
//!
//! What is asked and answered is [`memcached_bridge::proxy`]'s; this is its shell. One thread for each of `threads` in
//! `[proxy]`, each with a runtime, a proxy, and a listener of its own for each pool (`SO_REUSEPORT`): threads share only
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
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError, RwLock, mpsc};
use std::thread::JoinHandle;

use memcached_bridge::coherence::Tracking;
use memcached_bridge::hashing::RingError;
use memcached_bridge::proxy::SharedPool;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::{self, Config, PoolTcp};
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

/// A pool that is served.
struct OpenPool {
    config: config::Pool,
    tcp: PoolTcp,
    /// Where it listens.
    listen: SocketAddr,
    shared: Arc<SharedPool>,
    /// Clients that are connected, in all threads.
    connections: AtomicUsize,
    /// What each client has of it.
    clients: Arc<Clients>,
    /// TLS to clients.
    acceptor: Option<Acceptor>,
    /// TLS to servers.
    connector: Option<Connector>,
    counters: Counters,
}

/// The pools that are served now.
struct Served(RwLock<Pools>);

type Pools = Arc<[Arc<OpenPool>]>;

impl Served {
    fn pools(&self) -> Pools {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, pools: Pools) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = pools;
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
    /// Serves the pools of `config` that have a `listen`, until `draining` turns true and what clients had begun is done.
    /// `None` if there are none. A sample of requests has `spans`.
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
        let (pools, generations) =
            generation::next(config, &Pools::default(), tracking, threads, clock.now())?;
        if pools.is_empty() {
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
        let served = Arc::new(Served(RwLock::new(pools)));
        Ok(Some(Self { served, clock, reloads, threads: Mutex::new(running) }))
    }

    /// Serves the pools of `config` in place of those served now. Clients stay connected, and move between two requests; those
    /// of a pool that is gone are closed then.
    ///
    /// # Errors
    /// [`StartError`]; everything stays as it is then.
    pub fn reload(&self, config: &Config) -> Result<(), StartError> {
        // Pools that are on the packet path, too, change only with a restart: there is nothing new to share.
        let (before, tracking) = (self.served.pools(), HashMap::new());
        let (pools, generations) =
            generation::next(config, &before, &tracking, self.reloads.len(), self.clock.now())?;
        for (reload, next) in self.reloads.iter().zip(generations) {
            // A thread that is gone has panicked, or the node drains.
            _ = reload.send(next);
        }
        self.served.replace(pools);
        Ok(())
    }

    /// Name and address of each pool.
    pub fn listens(&self) -> Vec<(String, SocketAddr)> {
        self.served.pools().iter().map(|pool| (pool.config.name.clone(), pool.listen)).collect()
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
