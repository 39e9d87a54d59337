//! One opened device: attached, configured and started; stopped, closed and detached when dropped.

use crate::errno::Errno;
use crate::mempool::Mempool;
use crate::port::{ChecksumOffloads, Link, PortInfo, PortProblem};
use crate::ports::PortsConfig;
use crate::spec::{Bus, PortSpec};
use fabric_dpdk_sys as sys;
use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a frame has besides its payload: Ethernet header, two VLAN tags, FCS.
const FRAME_OVERHEAD_BYTES: u32 = sys::RTE_ETHER_HDR_LEN + 2 * 4 + sys::RTE_ETHER_CRC_LEN;

/// How to give a virtual device more queues.
const QUEUE_HINTS: &[(&str, &str)] = &[
    ("net_af_packet", "set qpairs= to the number of workers"),
    (
        "net_af_xdp",
        "set queue_count= to the number of workers, and the interface's channels too (ethtool -L)",
    ),
    ("net_virtio_user", "set queues= to the number of workers"),
    ("net_pcap", "give one rx_pcap= and tx_pcap= for each worker"),
];

/// The DPDK port numbers that are open. They make a [`Device`] the only one of its port, hence a queue that of one worker.
/// Locked while devices come and go, which DPDK wants done one after another.
static OPEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

fn open_ports() -> MutexGuard<'static, BTreeSet<u16>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A DPDK port that is ours alone.
#[derive(Debug)]
pub(crate) struct Device {
    port: u16,
    bus: Bus,
    info: PortInfo,
    /// DPDK wants one control call on a port at a time.
    control: Mutex<()>,
}

impl Device {
    /// Attaches, configures and starts the device.
    pub(crate) fn open(spec: &PortSpec, config: &PortsConfig) -> Result<Self, PortProblem> {
        if config.workers == 0 {
            return Err(PortProblem::NoWorkers);
        }
        let mut open = open_ports();
        let port = attach(spec, &open)?;
        open.insert(port);
        let info = PortInfo {
            name: spec.name().to_owned(),
            driver: String::new(),
            mac: [0; 6],
            mtu: 0,
            queues: config.workers,
            max_rx_queues: 0,
            max_tx_queues: 0,
            rss_hashes: 0,
            promiscuous: false,
            fast_free: false,
            checksums: ChecksumOffloads::default(),
            numa_node: None,
        };
        // From here on, dropping it undoes what was done.
        let mut device = Self { port, bus: spec.bus(), info, control: Mutex::new(()) };
        drop(open);
        device.set_up(spec, config)?;
        Ok(device)
    }

    /// DPDK's number of the port.
    pub(crate) fn number(&self) -> u16 {
        self.port
    }

    pub(crate) fn info(&self) -> &PortInfo {
        &self.info
    }

    pub(crate) fn link(&self) -> Link {
        let _control = self.control();
        let mut link = sys::fabric_link { speed: u32::MAX, up: false };
        // SAFETY: the port is open, and `link` is ours to write.
        let returned = unsafe { sys::fabric_link_get(self.port, &mut link) };
        let known = returned == 0 && link.speed != 0 && link.speed != u32::MAX;
        Link { up: returned == 0 && link.up, speed_mbps: known.then_some(link.speed) }
    }

    /// What DPDK counts; zeros if the driver does not.
    pub(crate) fn statistics(&self) -> sys::rte_eth_stats {
        let _control = self.control();
        let mut statistics = sys::rte_eth_stats::default();
        // SAFETY: the port is open, and `statistics` is ours to write.
        match unsafe { sys::rte_eth_stats_get(self.port, &mut statistics) } {
            0 => statistics,
            _ => sys::rte_eth_stats::default(),
        }
    }

    fn control(&self) -> MutexGuard<'_, ()> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_up(&mut self, spec: &PortSpec, config: &PortsConfig) -> Result<(), PortProblem> {
        let device = self.describe()?;
        self.check(spec, &device, config)?;
        let mtu = config.mtu.filter(|mtu| !leaves_mtu_to_kernel(spec, &device, *mtu));
        let ethernet = ethernet_config(&device, config.workers, mtu);
        // SAFETY: the port is ours and stopped; DPDK copies the configuration, whose pointers are null.
        let returned =
            unsafe { sys::rte_eth_dev_configure(self.port, config.workers, config.workers, &ethernet) };
        step("configure it", returned)?;
        self.set_up_queues(&device, &ethernet, config)?;
        self.set_mtu(mtu)?;
        // SAFETY: the port is ours.
        let promiscuous = unsafe { sys::rte_eth_promiscuous_enable(self.port) };
        unless_unsupported("receive frames to any address (promiscuous)", promiscuous)?;
        // SAFETY: the port is ours, configured, and all its queues are set up.
        step("start it", unsafe { sys::rte_eth_dev_start(self.port) })?;
        self.fill_info(&device, &ethernet)
    }

    fn describe(&self) -> Result<sys::rte_eth_dev_info, PortProblem> {
        let mut device = sys::rte_eth_dev_info::default();
        // SAFETY: the port is ours, and `device` is ours to write.
        step("describe it", unsafe { sys::rte_eth_dev_info_get(self.port, &mut device) })?;
        Ok(device)
    }

    /// What DPDK would refuse with a bare error number, or not at all.
    fn check(
        &self,
        spec: &PortSpec,
        device: &sys::rte_eth_dev_info,
        config: &PortsConfig,
    ) -> Result<(), PortProblem> {
        let workers = config.workers;
        let queues = [("receive", device.max_rx_queues), ("transmit", device.max_tx_queues)];
        if let Some(&(direction, offered)) = queues.iter().find(|(_, offered)| *offered < workers) {
            let hint = QUEUE_HINTS.iter().find(|(driver, _)| spec.vdev_driver() == Some(driver));
            let hint = hint.map_or("run fewer workers", |(_, hint)| hint);
            return Err(PortProblem::TooFewQueues { direction, offered, workers, hint });
        }
        let (least, most) = (device.min_mtu, device.max_mtu);
        if let Some(wanted) = config.mtu.filter(|mtu| !(least..=most).contains(mtu)) {
            return Err(PortProblem::Mtu { wanted, least, most });
        }
        let mtu = u32::from(config.mtu.unwrap_or(DEFAULT_MTU));
        let frame_bytes = (mtu + FRAME_OVERHEAD_BYTES).max(device.min_rx_bufsize);
        let data_room_bytes = config.pool.config().data_room_bytes;
        if frame_bytes > u32::from(data_room_bytes) {
            return Err(PortProblem::SmallBuffers { frame_bytes, data_room_bytes });
        }
        Ok(())
    }

    fn set_up_queues(
        &self,
        device: &sys::rte_eth_dev_info,
        ethernet: &sys::rte_eth_conf,
        config: &PortsConfig,
    ) -> Result<(), PortProblem> {
        let (mut rx_descriptors, mut tx_descriptors) = (config.rx_descriptors, config.tx_descriptors);
        // SAFETY: the port is ours, and both numbers are ours to write.
        let returned = unsafe {
            sys::rte_eth_dev_adjust_nb_rx_tx_desc(self.port, &mut rx_descriptors, &mut tx_descriptors)
        };
        step("choose the length of its queues", returned)?;
        // SAFETY: the port is ours. -1, any node, stays so in the unsigned type that the queues take.
        let node = unsafe { sys::rte_eth_dev_socket_id(self.port) } as u32;
        let mut rx = device.default_rxconf;
        rx.offloads = ethernet.rxmode.offloads;
        let mut tx = device.default_txconf;
        tx.offloads = ethernet.txmode.offloads;
        let pool: Mempool = config.pool;
        for queue in 0..config.workers {
            // SAFETY: the port is ours and stopped, the queue is one of those configured, and the pool is never freed.
            let returned = unsafe {
                sys::rte_eth_rx_queue_setup(self.port, queue, rx_descriptors, node, &rx, pool.as_ptr())
            };
            step("set up a receive queue", returned)?;
            // SAFETY: as above.
            let returned =
                unsafe { sys::rte_eth_tx_queue_setup(self.port, queue, tx_descriptors, node, &tx) };
            step("set up a transmit queue", returned)?;
        }
        Ok(())
    }

    /// Drivers that know no MTU (files, memory) take any frame.
    fn set_mtu(&self, mtu: Option<u16>) -> Result<(), PortProblem> {
        let Some(mtu) = mtu else { return Ok(()) };
        // SAFETY: the port is ours and stopped.
        unless_unsupported("set the MTU", unsafe { sys::rte_eth_dev_set_mtu(self.port, mtu) })
    }

    fn fill_info(
        &mut self,
        device: &sys::rte_eth_dev_info,
        ethernet: &sys::rte_eth_conf,
    ) -> Result<(), PortProblem> {
        let mut mac = sys::rte_ether_addr::default();
        // SAFETY: the port is ours, and `mac` is ours to write.
        step("read its MAC address", unsafe { sys::rte_eth_macaddr_get(self.port, &mut mac) })?;
        let mut mtu = 0;
        // SAFETY: the port is ours, and `mtu` is ours to write.
        step("read its MTU", unsafe { sys::rte_eth_dev_get_mtu(self.port, &mut mtu) })?;
        // SAFETY: the port is ours.
        let promiscuous = unsafe { sys::rte_eth_promiscuous_get(self.port) } == 1;
        // SAFETY: the port is ours.
        let node = unsafe { sys::rte_eth_dev_socket_id(self.port) };
        if !device.driver_name.is_null() {
            // SAFETY: DPDK's drivers name themselves by C strings that live as long as the driver.
            let driver = unsafe { CStr::from_ptr(device.driver_name) };
            self.info.driver = driver.to_string_lossy().into_owned();
        }
        self.info.mac = mac.addr_bytes;
        self.info.mtu = mtu;
        self.info.max_rx_queues = device.max_rx_queues;
        self.info.max_tx_queues = device.max_tx_queues;
        self.info.rss_hashes = ethernet.rx_adv_conf.rss_conf.rss_hf;
        self.info.promiscuous = promiscuous;
        self.info.fast_free = ethernet.txmode.offloads & sys::FABRIC_TX_FAST_FREE != 0;
        self.info.checksums = checksums(device);
        self.info.numa_node = u32::try_from(node).ok();
        Ok(())
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let mut open = open_ports();
        let description = self.describe();
        // SAFETY: the port is ours, and nobody can poll its queues any more: whoever can, keeps the device from being dropped.
        // Stopping a port that was not started does nothing. Errors leave nothing to do.
        unsafe {
            sys::rte_eth_dev_stop(self.port);
            sys::rte_eth_dev_close(self.port);
        }
        if let (Bus::Vdev, Ok(description)) = (self.bus, description) {
            // SAFETY: the device was there before its port was closed, and only this removes it.
            unsafe { sys::rte_dev_remove(description.device) };
        }
        open.remove(&self.port);
    }
}

/// The MTU of a device that is told none.
const DEFAULT_MTU: u16 = 1500;

/// What DPDK adds to an MTU to get a frame's length.
const HEADER_AND_FCS_BYTES: u32 = 18;

/// Finds the device's port; makes the device if it is virtual or has not been probed yet.
fn attach(spec: &PortSpec, open: &BTreeSet<u16>) -> Result<u16, PortProblem> {
    let text = |text: &str| CString::new(text).expect("a PortSpec holds no control characters");
    let (name, device_string) = (text(spec.name()), text(spec.device_string()));
    let find = || {
        let mut port = 0;
        // SAFETY: a C string, and a number that is ours to write.
        let returned = unsafe { sys::rte_eth_dev_get_port_by_name(name.as_ptr(), &mut port) };
        Errno::check(returned).map(|_| port)
    };
    let port = find().or_else(|_| {
        // SAFETY: a C string, which DPDK copies; `OPEN` is locked, so devices come one after another.
        Errno::check(unsafe { sys::rte_dev_probe(device_string.as_ptr()) }).and_then(|_| find())
    });
    let port = port.map_err(PortProblem::NoDevice)?;
    if open.contains(&port) { Err(PortProblem::InUse) } else { Ok(port) }
}

/// Whether the MTU cannot be told to DPDK and is the kernel interface's alone: net_af_packet claims to take frames of
/// up to 1518 bytes, so that DPDK refuses a larger MTU, but takes whatever fits into its `framesz`.
fn leaves_mtu_to_kernel(spec: &PortSpec, device: &sys::rte_eth_dev_info, mtu: u16) -> bool {
    let frame = u32::from(mtu) + HEADER_AND_FCS_BYTES;
    spec.vdev_driver() == Some("net_af_packet") && frame > device.max_rx_pktlen
}

/// Everything else stays at the driver's defaults, all offloads but fast free off.
fn ethernet_config(device: &sys::rte_eth_dev_info, workers: u16, mtu: Option<u16>) -> sys::rte_eth_conf {
    let mut ethernet = sys::rte_eth_conf::default();
    ethernet.rxmode.mtu = u32::from(mtu.unwrap_or(0));
    ethernet.txmode.offloads = device.tx_offload_capa & sys::FABRIC_TX_FAST_FREE;
    let hashes = device.flow_type_rss_offloads & sys::FABRIC_RSS_HASHES;
    if workers > 1 && hashes != 0 {
        ethernet.rxmode.mq_mode = sys::RTE_ETH_MQ_RX_RSS;
        ethernet.rx_adv_conf.rss_conf.rss_hf = hashes;
    }
    ethernet
}

fn checksums(device: &sys::rte_eth_dev_info) -> ChecksumOffloads {
    let rx = |bit| device.rx_offload_capa & bit != 0;
    let tx = |bit| device.tx_offload_capa & bit != 0;
    ChecksumOffloads {
        rx_ipv4: rx(sys::FABRIC_RX_IPV4_CHECKSUM),
        rx_udp: rx(sys::FABRIC_RX_UDP_CHECKSUM),
        rx_tcp: rx(sys::FABRIC_RX_TCP_CHECKSUM),
        tx_ipv4: tx(sys::FABRIC_TX_IPV4_CHECKSUM),
        tx_udp: tx(sys::FABRIC_TX_UDP_CHECKSUM),
        tx_tcp: tx(sys::FABRIC_TX_TCP_CHECKSUM),
    }
}

fn step(step: &'static str, returned: i32) -> Result<(), PortProblem> {
    Errno::check(returned).map(mem::drop).map_err(|errno| PortProblem::Step { step, errno })
}

fn unless_unsupported(what: &'static str, returned: i32) -> Result<(), PortProblem> {
    if returned == -Errno::ENOTSUP.0 { Ok(()) } else { step(what, returned) }
}
