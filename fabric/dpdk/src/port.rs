//! What a port is and does, and why one could not be opened.

use crate::errno::Errno;

/// What a device is and can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortInfo {
    /// Its name: PCI address, or driver and number.
    pub name: String,
    /// The driver that moves its packets.
    pub driver: String,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// The longest payload of a frame, in bytes.
    pub mtu: u16,
    /// Queues in use, as many to receive as to transmit: one for each worker.
    pub queues: u16,
    /// Queues that it could have to receive.
    pub max_rx_queues: u16,
    /// Queues that it could have to transmit.
    pub max_tx_queues: u16,
    /// What spreads packets over the queues: the RSS hashes in use, as DPDK's `RTE_ETH_RSS_*` bits. 0 with one queue, and for
    /// drivers that leave it to the kernel.
    pub rss_hashes: u64,
    /// Whether it receives frames to any address. Drivers that cannot be told receive what they are given.
    pub promiscuous: bool,
    /// Whether sent packets return to the pool in bulk without a look at each.
    pub fast_free: bool,
    /// Checksums that it could compute or check. None is switched on.
    pub checksums: ChecksumOffloads,
    /// The NUMA node that it is attached to, if it is to one.
    pub numa_node: Option<u32>,
}

/// Checksums that a device can check as it receives, and compute as it transmits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ChecksumOffloads {
    pub rx_ipv4: bool,
    pub rx_udp: bool,
    pub rx_tcp: bool,
    pub tx_ipv4: bool,
    pub tx_udp: bool,
    pub tx_tcp: bool,
}

/// The state of a port's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Whether it is up.
    pub up: bool,
    /// Mbit/s, if it is known.
    pub speed_mbps: Option<u32>,
}

/// What a port counted since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStatistics {
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets lost because no worker took them out of the receive queue in time.
    pub rx_missed: u64,
    /// Packets received in error.
    pub rx_errors: u64,
    /// Packets lost because the pool was empty.
    pub rx_no_mbuf: u64,
    /// Packets dropped because they came in several buffers and fit in none; see
    /// [`PoolConfig::data_room_bytes`](crate::PoolConfig::data_room_bytes).
    pub rx_too_long: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets that the device failed to send.
    pub tx_errors: u64,
    /// Packets dropped because the transmit queue was full.
    pub tx_refused: u64,
    /// Packets dropped because they were of another pool than the port's.
    pub tx_foreign: u64,
}

/// A port could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("port {device}: {problem}")]
pub struct PortError {
    /// The device, as configured.
    pub device: String,
    /// Why not.
    pub problem: PortProblem,
}

/// Why a port could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortProblem {
    /// The device is open already, here or in another list of ports.
    #[error("it is open already; is it named twice?")]
    InUse,
    /// [`PortsConfig::workers`](crate::PortsConfig::workers) is 0.
    #[error("there is no worker to serve it")]
    NoWorkers,
    /// No driver takes the device.
    #[error(
        "DPDK has no such device: {0}. For a PCI device, is it bound to vfio-pci (dpdk-devbind.py -s)? \
         For a virtual one, is its driver installed, is its interface there (ip link), and may this user open it? \
         DPDK says more on standard error"
    )]
    NoDevice(Errno),
    /// The device has fewer queues than there are workers.
    #[error("it has {offered} {direction} queues, {workers} workers need one each: {hint}")]
    TooFewQueues {
        /// `receive` or `transmit`.
        direction: &'static str,
        /// Queues that it has.
        offered: u16,
        /// Workers that want one.
        workers: u16,
        /// What may help.
        hint: &'static str,
    },
    /// The device cannot have this MTU.
    #[error("an MTU of {wanted} is out of its range of {least} to {most}")]
    Mtu {
        /// The MTU asked for.
        wanted: u16,
        /// The least it can.
        least: u16,
        /// The most it can.
        most: u16,
    },
    /// A frame of the MTU does not fit in one packet buffer.
    #[error(
        "frames of up to {frame_bytes} bytes do not fit in packet buffers of {data_room_bytes}: make those larger"
    )]
    SmallBuffers {
        /// The longest frame, VLAN tags and FCS included.
        frame_bytes: u32,
        /// What a buffer of the pool holds.
        data_room_bytes: u16,
    },
    /// A step of the set-up failed.
    #[error("cannot {step}: {errno}. DPDK says more on standard error")]
    Step {
        /// What was being done.
        step: &'static str,
        /// DPDK's reason.
        errno: Errno,
    },
}
