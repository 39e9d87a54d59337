//! The packet path: DPDK ports, one worker per core, a memcached function per pool and worker.
//!
//! ```text
//!  start: EAL ─► packet pool ─► ports ─► stations pinned ─► workers ─► control thread
//! ```
//!
//! Workers only switch. What may block or allocate, such as building a new ring when a server died, is the control
//! thread's.

mod control;
mod host;
mod settings;
mod status;
mod worker;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use fabric::counters::Published;
use fabric::function::{NetworkFunction, WorkerId};
use fabric::io::PortId;
use fabric::stations::{Stations, StationsConfig};
use fabric::worker::{Mailboxes, Worker};
use fabric_dpdk::spec::SpecError;
use fabric_dpdk::{
    Clock, Eal, EalError, EalOptions, LcoreError, LcoreThread, Mbuf, Mempool, PoolConfig, PoolError,
    PortError, Ports, PortsConfig, WorkerIo, lcore,
};
use memcached_bridge::coherence::Tracking;
use memcached_bridge::hashing::RingError;
use memcached_bridge::packet::embedded::{EmbeddedPool, EmbeddedServer, EmbeddedState};
use memcached_bridge::packet::{MemcachedSwitch, PoolState};
use memcached_bridge::session::Server;

pub use host::HostError;
pub use settings::{Host, PortSettings, Settings};
pub use status::View;
pub use worker::Activity;

/// Packets that wait for another worker at most; a full mailbox drops and counts.
const MAILBOX: usize = 1024;

/// Why the packet path does not start.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum StartError {
    #[error(transparent)]
    Device(#[from] SpecError),
    #[error(transparent)]
    Eal(#[from] EalError),
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error(transparent)]
    Port(#[from] PortError),
    #[error(transparent)]
    Lcore(#[from] LcoreError),
    #[error("pool {pool}: {source}")]
    Ring { pool: String, source: RingError },
    #[error("station {mac} cannot be pinned: {reason}")]
    Pin { mac: String, reason: String },
    #[error(transparent)]
    Host(#[from] HostError),
}

/// A running packet path.
pub struct PacketPath {
    settings: Settings,
    clock: Clock,
    ports: Ports,
    stations: Arc<Stations>,
    pools: Vec<Arc<PoolState>>,
    embedded_pools: Vec<Arc<EmbeddedState>>,
    workers: Vec<RunningWorker>,
    stop: Arc<AtomicBool>,
    control: Option<JoinHandle<()>>,
}

struct RunningWorker {
    core: usize,
    published: Arc<Published>,
    activity: Arc<Activity>,
    thread: LcoreThread<()>,
}

impl PacketPath {
    /// Starts everything; packets flow when this returns. `server` is the embedded one, which must be there if a pool is
    /// answered from it.
    ///
    /// # Errors
    /// [`StartError`], with whatever was started stopped again.
    pub fn start(settings: Settings, server: Option<&Arc<Server>>) -> Result<Self, StartError> {
        let dataplane = &settings.dataplane;
        let workers = dataplane.cores.len() as u16;
        let eal = Eal::init(&eal_options(&settings))?;
        let pool = Mempool::create(eal, &pool_config(&settings))?;
        let clock = Clock::start();
        let mut ports_config = PortsConfig::new(settings.specs(), workers, pool);
        ports_config.mtu = Some(dataplane.mtu);
        let (ports, ios) = Ports::open(eal, &ports_config)?;
        if let Some(host) = &settings.host {
            host::configure(host, dataplane.mtu)?;
        }
        let stations = Arc::new(Stations::new(StationsConfig {
            capacity: dataplane.stations,
            aging: dataplane.station_age,
            seed: random_seed(),
        }));
        pin_stations(&settings, &stations)?;
        let pools = open_pools(&settings, workers)?;
        let embedded_pools = open_embedded_pools(&settings, server, workers, clock);
        let stop = Arc::new(AtomicBool::new(false));
        let mut path = Self {
            settings,
            clock,
            ports,
            stations,
            pools,
            embedded_pools,
            workers: Vec::new(),
            stop,
            control: None,
        };
        path.start_workers(eal, ios)?;
        let (pools, embedded_pools) = (path.pools.clone(), path.embedded_pools.clone());
        path.control = Some(control::start(pools, embedded_pools, clock, Arc::clone(&path.stop)));
        Ok(path)
    }

    fn start_workers(&mut self, eal: Eal, ios: Vec<WorkerIo>) -> Result<(), LcoreError> {
        let mailboxes = Mailboxes::new(ios.len() as u16, MAILBOX);
        for (index, (io, core)) in ios.into_iter().zip(self.settings.dataplane.cores.clone()).enumerate() {
            let id = WorkerId(index as u16);
            let function = |pool: &Arc<PoolState>| -> Box<dyn NetworkFunction<Mbuf>> {
                Box::new(MemcachedSwitch::new(Arc::clone(pool), id))
            };
            let embedded = |pool: &Arc<EmbeddedState>| -> Box<dyn NetworkFunction<Mbuf>> {
                Box::new(EmbeddedServer::new(Arc::clone(pool), id))
            };
            let embedded = self.embedded_pools.iter().map(embedded);
            let functions = self.pools.iter().map(function).chain(embedded).collect();
            let worker = Worker::new(id, io, Arc::clone(&self.stations), mailboxes.clone(), functions);
            let published = worker.published();
            let activity = Arc::new(Activity::default());
            let (clock, idle, stop) = (self.clock, self.settings.dataplane.idle, Arc::clone(&self.stop));
            let seen = Arc::clone(&activity);
            let thread = lcore::spawn(eal, &format!("worker-{index}"), Some(core), move || {
                worker::run(worker, clock, idle, &stop, &seen);
            })?;
            self.workers.push(RunningWorker { core, published, activity, thread });
        }
        Ok(())
    }

    /// What can be seen of it from outside.
    pub fn view(&self) -> View {
        let names = self.settings.all_ports().map(|port| (port.name.clone(), port.device.to_string()));
        let workers = self.workers.iter();
        View {
            clock: self.clock,
            port_names: names.collect(),
            ports: self.ports.clone(),
            stations: Arc::clone(&self.stations),
            pools: self.pools.clone(),
            embedded_pools: self.embedded_pools.clone(),
            workers: workers
                .map(|worker| (worker.core, worker.published.clone(), worker.activity.clone()))
                .collect(),
        }
    }

    /// The time that its workers go by.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// By name of the pool, what others that touch it must share.
    pub fn tracking(&self) -> HashMap<String, Tracking> {
        self.pools.iter().map(|pool| (pool.pool().name.clone(), pool.tracking())).collect()
    }

    /// How many ports it switches, the host's included.
    pub fn ports(&self) -> usize {
        self.settings.all_ports().count()
    }
}

impl Drop for PacketPath {
    /// Stops the workers between two rounds; what they had received is sent.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for worker in self.workers.drain(..) {
            let core = worker.core;
            if worker.thread.join().is_err() {
                tracing::error!(core, "a worker ended in a panic");
            }
        }
        if let Some(control) = self.control.take() {
            let _ = control.join();
        }
    }
}

fn eal_options(settings: &Settings) -> EalOptions {
    let pool = pool_config(settings);
    EalOptions {
        huge_pages: settings.dataplane.huge_pages,
        memory_mib: settings.dataplane.memory_mib.max(pool.memory_mib() + 64),
        ..EalOptions::for_ports(&settings.specs())
    }
}

fn pool_config(settings: &Settings) -> PoolConfig {
    // Ethernet header, two tags and what drivers add on top of the MTU; never less than a frame of 1500 and its
    // reply in place.
    let frame = settings.dataplane.mtu.saturating_add(256).max(2048);
    PoolConfig { packets: settings.dataplane.packet_buffers, data_room_bytes: frame }
}

fn open_pools(settings: &Settings, workers: u16) -> Result<Vec<Arc<PoolState>>, StartError> {
    let open = |pool: &memcached_bridge::packet::pool::Pool| {
        let ring = |source| StartError::Ring { pool: pool.name.clone(), source };
        PoolState::new(pool.clone(), workers, random_seed()).map_err(ring)
    };
    settings.pools.iter().map(open).collect()
}

fn open_embedded_pools(
    settings: &Settings,
    server: Option<&Arc<Server>>,
    workers: u16,
    clock: Clock,
) -> Vec<Arc<EmbeddedState>> {
    let open = |(pool, server): (&EmbeddedPool, &Arc<Server>)| {
        let state = EmbeddedState::new(pool.clone(), Arc::clone(server), workers);
        control::set_calendar(&state, clock);
        state
    };
    // The config has checked that a server is there for them.
    settings.embedded_pools.iter().zip(server.into_iter().cycle()).map(open).collect()
}

/// Pins what may not move: the node itself, and servers whose port is configured.
fn pin_stations(settings: &Settings, stations: &Stations) -> Result<(), StartError> {
    let node_port = settings.host_port().unwrap_or(PortId::NONE);
    let of_servers = settings.pools.iter().map(|pool| pool.vlan);
    let embedded = settings.embedded_pools.iter().map(|pool| pool.vlan);
    let mut vlans: Vec<u16> = of_servers.chain(embedded).map(Option::unwrap_or_default).collect();
    vlans.push(0);
    vlans.sort_unstable();
    vlans.dedup();
    let node = vlans.into_iter().map(|vlan| (vlan, settings.mac, node_port));
    let servers = settings.pools.iter().flat_map(|pool| {
        let pinned = pool.servers.iter().filter_map(|server| Some((server.mac, server.port?)));
        pinned.map(|(mac, port)| (pool.vlan.unwrap_or(0), mac, port))
    });
    for (vlan, mac, port) in node.chain(servers) {
        let failed = |reason: fabric::stations::NoRoomToPin| StartError::Pin {
            mac: mac.to_string(),
            reason: reason.to_string(),
        };
        stations.pin(vlan, mac, port).map_err(failed)?;
    }
    Ok(())
}

/// The standard library's random numbers, which it takes from the system.
fn random_seed() -> u64 {
    RandomState::new().hash_one(0)
}
