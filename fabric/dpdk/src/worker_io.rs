//! One worker's queues of all ports.

use crate::device::Device;
use crate::mbuf::Mbuf;
use crate::mempool::Mempool;
use fabric::io::{PacketIo, Packets, PortId};
use fabric_dpdk_sys as sys;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A counter with one writer, which anyone may read.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed) + count, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one worker dropped at one port. On cache lines of its own, two because processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Drops {
    pub(crate) too_long: Counter,
    pub(crate) refused: Counter,
    pub(crate) foreign: Counter,
}

/// A worker's way to one port.
#[derive(Debug)]
pub(crate) struct Lane {
    /// DPDK's number of the port.
    pub(crate) device: u16,
    pub(crate) drops: Arc<Drops>,
}

/// One worker's queue of each port. It can move to the worker's thread, and be used by one thread at a time.
///
/// Made by [`Ports::open`](crate::Ports::open).
#[derive(Debug)]
pub struct WorkerIo {
    lanes: Vec<Lane>,
    queue: u16,
    pool: Mempool,
    /// Keeps the ports open.
    _devices: Arc<[Device]>,
}

impl WorkerIo {
    /// The caller sees to it that each `queue` of `devices` has one `WorkerIo`.
    pub(crate) fn new(devices: Arc<[Device]>, lanes: Vec<Lane>, queue: u16, pool: Mempool) -> Self {
        Self { lanes, queue, pool, _devices: devices }
    }

    /// Frees the packets that are of another pool: the port returns what it has sent to its own without a look.
    #[cold]
    fn drop_foreign(&self, lane: &Lane, packets: &mut Packets<Mbuf>) {
        let count = packets.len() as u16;
        // SAFETY: `packets` holds `count` mbufs, and afterwards the same ones in another order.
        let own =
            unsafe { sys::fabric_partition_by_pool(self.pool.as_ptr(), packets.as_mut_ptr().cast(), count) };
        packets.truncate(usize::from(own));
        lane.drops.foreign.add(u64::from(count - own));
    }
}

// What `receive` and `transmit` cast between.
const _: () = assert!(mem::size_of::<Mbuf>() == mem::size_of::<*mut sys::rte_mbuf>());
const _: () = assert!(mem::align_of::<Mbuf>() == mem::align_of::<*mut sys::rte_mbuf>());
const _: () = assert!(fabric::io::BURST <= u16::MAX as usize);

impl PacketIo for WorkerIo {
    type Packet = Mbuf;

    #[inline]
    fn ports(&self) -> u16 {
        self.lanes.len() as u16
    }

    #[inline]
    fn receive(&mut self, port: PortId, into: &mut Packets<Mbuf>) {
        let Some(lane) = self.lanes.get(usize::from(port.0)) else { return };
        let (len, room) = (into.len(), into.remaining_capacity() as u16);
        if room == 0 {
            return;
        }
        let mut too_long = 0;
        // SAFETY: the port is open as long as `self` is, and the queue is only ours. `into` has room for `room` pointers
        // behind its `len`. The first `received` of them are then single-segment mbufs that DPDK handed over, each of a pool
        // that is never freed.
        unsafe {
            let free = into.as_mut_ptr().add(len).cast();
            let received = sys::fabric_receive(lane.device, self.queue, port.0, free, room, &mut too_long);
            into.set_len(len + usize::from(received));
        }
        if too_long > 0 {
            lane.drops.too_long.add(too_long);
        }
    }

    #[inline]
    fn transmit(&mut self, port: PortId, packets: &mut Packets<Mbuf>) -> usize {
        let given = packets.len();
        let Some(lane) = self.lanes.get(usize::from(port.0)) else {
            packets.clear();
            return given;
        };
        if !Mempool::is_only_one() {
            self.drop_foreign(lane, packets);
        }
        let own = packets.len();
        if own == 0 {
            return given;
        }
        // SAFETY: the port is open as long as `self` is, and the queue is only ours. The vector gives its mbufs up before they
        // are DPDK's, which sends or frees every one.
        let refused = unsafe {
            packets.set_len(0);
            sys::fabric_transmit(lane.device, self.queue, packets.as_mut_ptr().cast(), own as u16)
        };
        if refused > 0 {
            lane.drops.refused.add(u64::from(refused));
        }
        given - own + usize::from(refused)
    }

    #[inline]
    fn allocate(&mut self) -> Option<Mbuf> {
        self.pool.allocate()
    }
}
