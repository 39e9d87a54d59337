//! DPDK behind safe types: the shell that moves a node's packets between its network cards and its workers.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use fabric_dpdk::{Eal, EalOptions, Mempool, PoolConfig, PortSpec, Ports, PortsConfig, lcore};
//!
//! let specs: Vec<PortSpec> = vec!["0000:03:00.0".parse()?, "net_af_xdp0,iface=sw0".parse()?];
//! let eal = Eal::init(&EalOptions::for_ports(&specs))?;
//! let pool = Mempool::create(eal, &PoolConfig::default())?;
//! let (ports, workers) = Ports::open(eal, &PortsConfig::new(specs, 1, pool))?;
//! for (core, mut io) in workers.into_iter().enumerate() {
//!     lcore::spawn(eal, &format!("worker-{core}"), Some(core), move || {
//!         use fabric::io::{PacketIo, Packets, PortId};
//!         let mut burst = Packets::new();
//!         io.receive(PortId(0), &mut burst);
//!         io.transmit(PortId(1), &mut burst);
//!     })?;
//! }
//! # Ok(()) }
//! ```
//!
//! It decides nothing about packets, and it does not wait: what to do when nothing arrives is the node's affair.
//!
//! | module | what it is |
//! |---|---|
//! | [`eal`] | starting DPDK, once per process |
//! | [`mempool`] | the pool that packets come from and go back to |
//! | [`mbuf`] | one owned packet |
//! | [`spec`] | what a configuration says about a port |
//! | [`port`] | one device: its queues, capabilities, statistics |
//! | [`ports`] | all devices of a node, and each worker's way to them |
//! | [`worker_io`] | [`fabric::io::PacketIo`] over one worker's queues |
//! | [`lcore`] | worker threads that DPDK knows, on a core of their own |
//! | [`clock`] | cheap monotonic time |
//!
//! Ownership does what DPDK asks of its callers in prose: an [`Mbuf`] is freed once, a queue has one thread, a device is closed
//! when nobody can poll it any more. Pools and the EAL live as long as the process.

#![allow(unsafe_code)]

pub mod clock;
mod device;
pub mod eal;
mod errno;
mod huge_pages;
pub mod lcore;
pub mod mbuf;
pub mod mempool;
pub mod port;
pub mod ports;
pub mod spec;
pub mod worker_io;

pub use clock::Clock;
pub use eal::{Eal, EalError, EalOptions, LogLevel};
pub use errno::Errno;
pub use fabric::io::HugePages;
pub use huge_pages::free_huge_pages_mib;
pub use lcore::{Lcore, LcoreError, LcoreThread};
pub use mbuf::Mbuf;
pub use mempool::{Mempool, PoolConfig, PoolError};
pub use port::{ChecksumOffloads, Link, PortError, PortInfo, PortProblem, PortStatistics};
pub use ports::{Ports, PortsConfig};
pub use spec::{Bus, PortSpec, SpecError};
pub use worker_io::WorkerIo;
