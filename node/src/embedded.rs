//! memcached over kernel sockets, with the embedded store.
//!
//! The protocol is [`memcached_bridge::session`]; this is its shell on tokio. One task for each connection, one for the
//! UDP socket, one that sweeps the store. Where a pool on the packet path is answered from the same store, the workers are
//! its other shell, and all go by one clock.

mod counters;
mod tcp;
mod udp;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use memcached_bridge::session::Server;
use memcached_bridge::session::stats::{Listen, ServerFacts};
use memcached_bridge::store::{Limits, Now, Store};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::config::Embedded;
use crate::limits::{Clients, PerClient};
use crate::passwords::{self, PasswordError};
use crate::telemetry::Sampling;
use crate::tls::{Acceptor, TlsError};
use counters::Counters;

/// How often a part of the store is swept.
const SWEEP_PERIOD: Duration = Duration::from_millis(100);

/// A socket cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({protocol}) for {purpose}: {source}; {remedy}")]
pub struct ListenError {
    /// What it was to be for, such as `memcached`.
    pub purpose: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// What to do.
    pub remedy: String,
    /// What the system said.
    pub source: std::io::Error,
}

impl ListenError {
    /// Says what to do about `source`: `option` is the command line's way to another address.
    pub fn new(
        purpose: &'static str,
        address: SocketAddr,
        protocol: &'static str,
        option: &str,
        source: std::io::Error,
    ) -> Self {
        let remedy = match source.kind() {
            std::io::ErrorKind::AddrInUse => {
                let flag = if protocol == "tcp" { "-ltnp" } else { "-lunp" };
                let port = address.port();
                format!(
                    "see who has it with `ss {flag} 'sport = :{port}'` and stop that, or choose another with {option}"
                )
            }
            std::io::ErrorKind::AddrNotAvailable => {
                format!(
                    "no interface of this machine has that address (`ip addr`); choose another with {option}"
                )
            }
            std::io::ErrorKind::PermissionDenied => {
                format!("ports below 1024 need CAP_NET_BIND_SERVICE; choose another with {option}")
            }
            _ => format!("choose another with {option}"),
        };
        Self { purpose, address, protocol, remedy, source }
    }
}

/// memcached cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A socket cannot be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The sockets are open; nothing is served yet.
pub struct Opened {
    shared: Arc<Shared>,
    tcp: TcpListener,
    udp: Option<UdpSocket>,
}

/// What all tasks share.
struct Shared {
    config: Embedded,
    listen: SocketAddr,
    server: Arc<Server>,
    counters: Counters,
    clients: Arc<Clients>,
    acceptor: Option<Acceptor>,
    clock: StoreClock,
    sampling: Sampling,
}

/// The time that the store goes by: the node's, and the calendar's.
#[derive(Clone, Copy)]
struct StoreClock(Clock);

impl StoreClock {
    fn now(self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Now { at: self.0.now(), unix }
    }
}

/// The server that `config` describes, with an empty store. It is there before its sockets, since the packet path may
/// answer from it, too.
///
/// # Errors
/// [`PasswordError`] if the password file cannot be used.
pub fn server(config: &Embedded, threads: usize) -> Result<Arc<Server>, PasswordError> {
    let passwords = config.password_file.as_deref();
    let credentials = passwords.map(|path| passwords::read(path, "[embedded]")).transpose()?;
    let limits = Limits {
        memory_bytes: usize::try_from(config.memory.0).unwrap_or(usize::MAX),
        item_bytes: usize::try_from(config.max_item.0).unwrap_or(usize::MAX),
    };
    // The node's clock begins with it: that it started at 0 is the default.
    let facts = ServerFacts {
        pid: std::process::id(),
        threads,
        max_connections: config.max_connections,
        ..ServerFacts::default()
    };
    Ok(Arc::new(Server { store: Store::new(limits), facts, credentials }))
}

impl Opened {
    /// Reads the certificates, if there are any, and opens the sockets of `server`.
    ///
    /// # Errors
    /// [`OpenError`] if an address or one of the files cannot be had.
    pub async fn open(
        config: Embedded,
        server: Arc<Server>,
        clock: Clock,
        sampling: Sampling,
    ) -> Result<Self, OpenError> {
        let tls = config.tls.as_ref();
        let acceptor = tls.map(|tls| Acceptor::open(tls, "[embedded.tls]")).transpose()?;
        let failed = |protocol, address| {
            move |source| ListenError::new("memcached", address, protocol, "--listen", source)
        };
        let tcp = TcpListener::bind(config.listen).await.map_err(failed("tcp", config.listen))?;
        let listen = tcp.local_addr().map_err(failed("tcp", config.listen))?;
        let udp = match config.udp {
            true => Some(UdpSocket::bind(listen).await.map_err(failed("udp", listen))?),
            false => None,
        };
        server.facts.listen.get_or_init(|| Listen { address: listen, udp: udp.is_some() });
        let clients = Clients::new(PerClient { connections: config.max_connections_per_client, rate: None });
        let (counters, clock) = (Counters::default(), StoreClock(clock));
        let shared =
            Arc::new(Shared { config, listen, server, counters, clients, acceptor, clock, sampling });
        Ok(Self { shared, tcp, udp })
    }

    /// Where it listens.
    pub fn listen(&self) -> SocketAddr {
        self.shared.listen
    }

    /// Whether it listens on UDP, too.
    pub fn udp(&self) -> bool {
        self.udp.is_some()
    }

    /// What it has to say of itself.
    pub fn source(&self) -> Arc<dyn crate::status::Source> {
        self.shared.clone()
    }

    /// Serves until `draining` turns true, and then until every request in flight is answered or `grace` is over.
    pub async fn serve(self, draining: watch::Receiver<bool>, grace: Duration) {
        let Opened { shared, tcp, udp } = self;
        let mut background = JoinSet::new();
        if let Some(udp) = udp {
            background.spawn(udp::serve(udp, Arc::clone(&shared), draining.clone()));
        }
        background.spawn(sweep(Arc::clone(&shared)));
        let connections = tcp::accept(tcp, &shared, draining).await;
        if tokio::time::timeout(grace, connections.join_all()).await.is_err() {
            tracing::warn!(?grace, "some connections did not end in time and were cut");
        }
        background.abort_all();
    }
}

async fn sweep(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(SWEEP_PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        shared.server.store.sweep(shared.clock.now());
    }
}
