//! Ports that lose, repeat and reorder what arrives, the same way for the same seed.

use std::collections::VecDeque;

use crate::io::{PacketIo, Packets, PortId};

/// How often each fault befalls an arriving packet: probabilities from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// The packet is lost.
    pub loss: f64,
    /// The packet arrives twice.
    pub duplication: f64,
    /// The packet arrives after some that came later.
    pub reordering: f64,
}

/// A [`PacketIo`] whose arriving packets suffer [`Faults`]. What is sent is left alone: it arrives elsewhere.
#[derive(Debug)]
pub struct Faulty<I: PacketIo> {
    io: I,
    faults: Faults,
    random: u64,
    /// By port: packets that were overtaken, or copied.
    late: Vec<VecDeque<I::Packet>>,
}

impl<I: PacketIo> Faulty<I> {
    /// `io` with `faults`, drawn from `seed`.
    pub fn new(io: I, faults: Faults, seed: u64) -> Self {
        let late = (0..io.ports()).map(|_| VecDeque::new()).collect();
        Self { io, faults, random: seed, late }
    }

    /// The ports without faults.
    pub fn inner(&mut self) -> &mut I {
        &mut self.io
    }

    /// Changes the faults from now on.
    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    fn happens(&mut self, probability: f64) -> bool {
        // SplitMix64 (Steele, Lea, Flood 2014); the upper 53 bits make a number in [0, 1).
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ self.random >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        let drawn = ((mixed ^ mixed >> 31) >> 11) as f64 / (1_u64 << 53) as f64;
        drawn < probability
    }

    fn suffer(&mut self, port: usize, packet: I::Packet, into: &mut Packets<I::Packet>) {
        if self.happens(self.faults.loss) {
            return;
        }
        if self.happens(self.faults.duplication) {
            self.late[port].extend(self.io.duplicate(&packet));
        }
        if self.happens(self.faults.reordering) {
            self.late[port].push_back(packet);
            return;
        }
        into.push(packet);
    }
}

impl<I: PacketIo> PacketIo for Faulty<I> {
    type Packet = I::Packet;

    fn ports(&self) -> u16 {
        self.io.ports()
    }

    fn receive(&mut self, port: PortId, into: &mut Packets<I::Packet>) {
        let index = usize::from(port.0);
        // Half of the late packets arrive ahead of the next ones, half still later.
        let late = self.late[index].len();
        for _ in 0..late {
            let Some(packet) = self.late[index].pop_front() else { break };
            if !into.is_full() && self.happens(0.5) {
                into.push(packet)
            } else {
                self.late[index].push_back(packet)
            }
        }
        let first = into.len();
        self.io.receive(port, into);
        let mut arriving: Packets<I::Packet> = into.drain(first..).collect();
        for packet in arriving.drain(..) {
            self.suffer(index, packet, into);
        }
    }

    fn transmit(&mut self, port: PortId, packets: &mut Packets<I::Packet>) -> usize {
        self.io.transmit(port, packets)
    }

    fn allocate(&mut self) -> Option<I::Packet> {
        self.io.allocate()
    }

    fn duplicate(&mut self, packet: &I::Packet) -> Option<I::Packet> {
        self.io.duplicate(packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::PacketBuf;
    use crate::memory::MemoryIo;

    const FRAMES: u32 = 2000;

    fn run(faults: Faults, seed: u64) -> Vec<u32> {
        let mut io = Faulty::new(MemoryIo::new(1), faults, seed);
        for number in 0..FRAMES {
            assert!(io.inner().arrive(PortId(0), &number.to_be_bytes()));
        }
        let mut seen = Vec::new();
        for _ in 0..200 {
            let mut packets = Packets::new();
            io.receive(PortId(0), &mut packets);
            seen.extend(packets.iter().map(|packet| u32::from_be_bytes(packet.bytes().try_into().unwrap())));
        }
        assert_eq!(io.inner().pool().in_use(), 0);
        seen
    }

    #[test]
    fn without_faults_nothing_changes() {
        assert_eq!(run(Faults::default(), 1), (0..FRAMES).collect::<Vec<_>>());
    }

    #[test]
    fn a_seed_repeats_itself() {
        let faults = Faults { loss: 0.1, duplication: 0.1, reordering: 0.1 };
        assert_eq!(run(faults, 5), run(faults, 5));
        assert_ne!(run(faults, 5), run(faults, 6));
    }

    #[test]
    fn each_fault_does_what_it_says() {
        let lost = run(Faults { loss: 0.2, ..Faults::default() }, 3);
        assert!(lost.is_sorted() && (1500..1700).contains(&lost.len()), "{}", lost.len());

        let doubled = run(Faults { duplication: 0.2, ..Faults::default() }, 3);
        assert!((2300..2500).contains(&doubled.len()), "{}", doubled.len());

        let mut shuffled = run(Faults { reordering: 0.2, ..Faults::default() }, 3);
        assert!(!shuffled.is_sorted());
        shuffled.sort_unstable();
        assert_eq!(shuffled, (0..FRAMES).collect::<Vec<_>>());
    }
}
