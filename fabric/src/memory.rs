//! Packets and ports in memory, for tests, simulations and instruction counts.
//!
//! Buffers come from a bounded pool and go back to it, so that a test sees an empty pool and a leaked packet, and
//! so that a warmed-up worker on top of it allocates nothing.

mod faulty;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_queue::ArrayQueue;

use crate::io::{NoRoom, PacketBuf, PacketIo, Packets, PortId};

pub use faulty::{Faults, Faulty};

/// A bounded pool of equal buffers. Clones are the same pool.
#[derive(Clone, Debug)]
pub struct MemoryPool(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    free: ArrayQueue<Box<[u8]>>,
    buffer_bytes: usize,
    /// Buffers that may still be made.
    unmade: AtomicUsize,
}

impl MemoryPool {
    /// A pool of `packets` buffers (at least one) of `buffer_bytes` each, made as they are first asked for.
    pub fn new(packets: usize, buffer_bytes: usize) -> Self {
        let free = ArrayQueue::new(packets.max(1));
        let unmade = AtomicUsize::new(free.capacity());
        Self(Arc::new(Pool { free, buffer_bytes, unmade }))
    }

    /// Packets that are in somebody's hands.
    pub fn in_use(&self) -> usize {
        self.0.free.capacity() - self.0.free.len() - self.0.unmade.load(Ordering::Acquire)
    }

    /// A packet of length 0, or `None` if the pool is empty.
    pub fn allocate(&self) -> Option<MemoryPacket> {
        let buffer = self.0.free.pop().or_else(|| self.make())?;
        Some(MemoryPacket { buffer, len: 0, ingress: PortId::NONE, pool: self.clone() })
    }

    /// A packet that holds `frame`; `None` if the pool is empty or its buffers are too small.
    pub fn packet(&self, frame: &[u8]) -> Option<MemoryPacket> {
        let mut packet = self.allocate()?;
        packet.set_len(frame.len()).ok()?;
        packet.bytes_mut().copy_from_slice(frame);
        Some(packet)
    }

    fn make(&self) -> Option<Box<[u8]>> {
        let unmade = &self.0.unmade;
        let left = unmade.try_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
        left.ok().map(|_| vec![0; self.0.buffer_bytes].into_boxed_slice())
    }
}

impl Default for MemoryPool {
    /// 16384 buffers of 10 KiB: room for jumbo frames.
    fn default() -> Self {
        Self::new(16_384, 10 * 1024)
    }
}

/// A frame in a buffer of a [`MemoryPool`].
#[derive(Debug)]
pub struct MemoryPacket {
    buffer: Box<[u8]>,
    len: usize,
    ingress: PortId,
    pool: MemoryPool,
}

impl PacketBuf for MemoryPacket {
    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[..self.len]
    }

    fn set_len(&mut self, len: usize) -> Result<(), NoRoom> {
        if len > self.buffer.len() {
            return Err(NoRoom { asked: len, capacity: self.buffer.len() });
        }
        self.len = len;
        Ok(())
    }

    fn ingress(&self) -> PortId {
        self.ingress
    }

    fn set_ingress(&mut self, port: PortId) {
        self.ingress = port;
    }
}

impl Drop for MemoryPacket {
    fn drop(&mut self) {
        // There is room: the pool made no more buffers than it can hold.
        let _ = self.pool.0.free.push(std::mem::take(&mut self.buffer));
    }
}

#[derive(Debug)]
struct Port {
    arriving: VecDeque<MemoryPacket>,
    sent: VecDeque<MemoryPacket>,
    sent_limit: usize,
}

/// Ports in memory. A test puts frames in with [`arrive`](MemoryIo::arrive) and takes out what was sent with
/// [`take_sent`](MemoryIo::take_sent).
#[derive(Debug)]
pub struct MemoryIo {
    pool: MemoryPool,
    ports: Vec<Port>,
}

impl MemoryIo {
    /// `ports` ports and a pool of their own.
    pub fn new(ports: u16) -> Self {
        Self::with_pool(ports, MemoryPool::default())
    }

    /// `ports` ports that share `pool` with others.
    pub fn with_pool(ports: u16, pool: MemoryPool) -> Self {
        let port = || Port { arriving: VecDeque::new(), sent: VecDeque::new(), sent_limit: usize::MAX };
        Self { pool, ports: (0..ports).map(|_| port()).collect() }
    }

    /// The pool of the packets.
    pub fn pool(&self) -> &MemoryPool {
        &self.pool
    }

    /// Lets a copy of `frame` arrive at `port`. False if the pool is empty or the frame too long for its buffers.
    ///
    /// # Panics
    /// If there is no such port.
    pub fn arrive(&mut self, port: PortId, frame: &[u8]) -> bool {
        let Some(packet) = self.pool.packet(frame) else { return false };
        self.arrive_packet(port, packet);
        true
    }

    /// Lets `packet` arrive at `port`.
    ///
    /// # Panics
    /// If there is no such port.
    pub fn arrive_packet(&mut self, port: PortId, mut packet: MemoryPacket) {
        packet.set_ingress(port);
        self.ports[usize::from(port.0)].arriving.push_back(packet);
    }

    /// Frames that have arrived at `port` and were not received yet.
    ///
    /// # Panics
    /// If there is no such port.
    pub fn arriving(&self, port: PortId) -> usize {
        self.ports[usize::from(port.0)].arriving.len()
    }

    /// The oldest frame sent out of `port`.
    ///
    /// # Panics
    /// If there is no such port.
    pub fn take_sent(&mut self, port: PortId) -> Option<MemoryPacket> {
        self.ports[usize::from(port.0)].sent.pop_front()
    }

    /// Lets `port` hold at most `packets` sent frames; it refuses more until some are taken.
    ///
    /// # Panics
    /// If there is no such port.
    pub fn limit_sent(&mut self, port: PortId, packets: usize) {
        self.ports[usize::from(port.0)].sent_limit = packets;
    }
}

impl PacketIo for MemoryIo {
    type Packet = MemoryPacket;

    fn ports(&self) -> u16 {
        self.ports.len() as u16
    }

    fn receive(&mut self, port: PortId, into: &mut Packets<MemoryPacket>) {
        let arriving = &mut self.ports[usize::from(port.0)].arriving;
        let count = arriving.len().min(into.remaining_capacity());
        into.extend(arriving.drain(..count));
    }

    fn transmit(&mut self, port: PortId, packets: &mut Packets<MemoryPacket>) -> usize {
        let port = &mut self.ports[usize::from(port.0)];
        let room = port.sent_limit.saturating_sub(port.sent.len()).min(packets.len());
        port.sent.extend(packets.drain(..room));
        let refused = packets.len();
        packets.clear();
        refused
    }

    fn allocate(&mut self) -> Option<MemoryPacket> {
        self.pool.allocate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_is_bounded_and_refilled() {
        let pool = MemoryPool::new(2, 64);
        let first = pool.packet(b"first").unwrap();
        let _second = pool.allocate().unwrap();
        assert!(pool.allocate().is_none());
        assert_eq!(pool.in_use(), 2);
        drop(first);
        assert_eq!(pool.in_use(), 1);
        let mut again = pool.allocate().unwrap();
        assert_eq!((again.bytes().len(), again.ingress()), (0, PortId::NONE));
        assert_eq!(again.set_len(65), Err(NoRoom { asked: 65, capacity: 64 }));
        assert!(again.bytes().is_empty());
    }

    #[test]
    fn frames_go_in_and_out_in_order() {
        let mut io = MemoryIo::new(2);
        for byte in 0..100 {
            assert!(io.arrive(PortId(1), &[byte; 60]));
        }
        let mut packets = Packets::new();
        io.receive(PortId(0), &mut packets);
        assert!(packets.is_empty());
        io.receive(PortId(1), &mut packets);
        assert_eq!((packets.len(), io.arriving(PortId(1))), (64, 36));
        assert_eq!(packets[0].ingress(), PortId(1));

        io.limit_sent(PortId(0), 60);
        assert_eq!(io.transmit(PortId(0), &mut packets), 4);
        assert!(packets.is_empty());
        for byte in 0..60 {
            assert_eq!(io.take_sent(PortId(0)).unwrap().bytes(), [byte; 60]);
        }
        assert!(io.take_sent(PortId(0)).is_none());
        assert_eq!(io.pool().in_use(), 36);
    }

    #[test]
    fn a_duplicate_is_a_copy() {
        let mut io = MemoryIo::with_pool(1, MemoryPool::new(2, 64));
        io.arrive(PortId(0), b"frame");
        let mut packets = Packets::new();
        io.receive(PortId(0), &mut packets);
        let copy = io.duplicate(&packets[0]).unwrap();
        assert_eq!((copy.bytes(), copy.ingress()), (&b"frame"[..], PortId(0)));
        assert!(io.duplicate(&packets[0]).is_none());
    }
}
