//! All ports of a node, and their queues dealt out to the workers.

use crate::device::Device;
use crate::eal::Eal;
use crate::mempool::Mempool;
use crate::port::{Link, PortError, PortInfo, PortStatistics};
use crate::spec::PortSpec;
use crate::worker_io::{Drops, Lane, WorkerIo};
use fabric::io::PortId;
use std::sync::Arc;

/// Which ports to open, and how.
#[derive(Clone, Debug)]
pub struct PortsConfig {
    /// The devices, in the order of their [`PortId`]s.
    pub specs: Vec<PortSpec>,
    /// How many workers there are: each port gets as many queues, to receive and to transmit.
    pub workers: u16,
    /// Where received packets go. All ports share it, so that a packet can leave by any of them without a copy.
    pub pool: Mempool,
    /// The longest payload of a frame, in bytes; `None` leaves it to the device, whose frames should then be of up to 1500.
    pub mtu: Option<u16>,
    /// How many received packets a queue holds; the nearest number that the device can do is taken.
    pub rx_descriptors: u16,
    /// How many packets a queue holds that are to be sent; the nearest number that the device can do is taken.
    pub tx_descriptors: u16,
}

impl PortsConfig {
    /// These devices for so many workers, with queues of 1024 packets.
    pub fn new(specs: Vec<PortSpec>, workers: u16, pool: Mempool) -> Self {
        Self { specs, workers, pool, mtu: None, rx_descriptors: 1024, tx_descriptors: 1024 }
    }
}

/// Opened ports, as whoever watches them sees them. They close when this, its clones and all [`WorkerIo`]s are dropped.
#[derive(Clone, Debug)]
pub struct Ports(Arc<Opened>);

#[derive(Debug)]
struct Opened {
    devices: Arc<[Device]>,
    /// For each port what each worker dropped there.
    drops: Vec<Vec<Arc<Drops>>>,
}

impl Ports {
    /// Opens the ports. Gives each worker its queues of all of them, in the order of workers.
    ///
    /// # Errors
    /// [`PortError`] of the first port that cannot be opened; the others are closed again.
    pub fn open(_eal: Eal, config: &PortsConfig) -> Result<(Self, Vec<WorkerIo>), PortError> {
        let open = |spec: &PortSpec| {
            let opened = Device::open(spec, config);
            opened.map_err(|problem| PortError { device: spec.to_string(), problem })
        };
        let devices: Arc<[Device]> = config.specs.iter().map(open).collect::<Result<_, _>>()?;
        let drops_of_port = |_: &Device| (0..config.workers).map(|_| Arc::default()).collect();
        let drops: Vec<Vec<Arc<Drops>>> = devices.iter().map(drops_of_port).collect();
        let worker_io = |queue: u16| {
            let lane = |(device, drops): (&Device, &Vec<Arc<Drops>>)| Lane {
                device: device.number(),
                drops: Arc::clone(&drops[usize::from(queue)]),
            };
            let lanes = devices.iter().zip(&drops).map(lane).collect();
            WorkerIo::new(Arc::clone(&devices), lanes, queue, config.pool)
        };
        let workers = (0..config.workers).map(worker_io).collect();
        Ok((Self(Arc::new(Opened { devices, drops })), workers))
    }

    /// The ids of all ports.
    pub fn ids(&self) -> impl Iterator<Item = PortId> + use<> {
        // DPDK has far fewer ports than 65536.
        (0..self.0.devices.len() as u16).map(PortId)
    }

    /// What a port is and can do; `None` if there is no such port.
    pub fn info(&self, port: PortId) -> Option<&PortInfo> {
        self.0.devices.get(usize::from(port.0)).map(Device::info)
    }

    /// The state of a port's link; `None` if there is no such port.
    pub fn link(&self, port: PortId) -> Option<Link> {
        self.0.devices.get(usize::from(port.0)).map(Device::link)
    }

    /// What a port and its workers counted; `None` if there is no such port.
    pub fn statistics(&self, port: PortId) -> Option<PortStatistics> {
        let device = self.0.devices.get(usize::from(port.0))?.statistics();
        let mut statistics = PortStatistics {
            rx_packets: device.ipackets,
            rx_bytes: device.ibytes,
            rx_missed: device.imissed,
            rx_errors: device.ierrors,
            rx_no_mbuf: device.rx_nombuf,
            tx_packets: device.opackets,
            tx_bytes: device.obytes,
            tx_errors: device.oerrors,
            ..PortStatistics::default()
        };
        for drops in self.0.drops.get(usize::from(port.0))? {
            statistics.rx_too_long += drops.too_long.read();
            statistics.tx_refused += drops.refused.read();
            statistics.tx_foreign += drops.foreign.read();
        }
        Some(statistics)
    }
}
