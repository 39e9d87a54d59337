//! Ports behind one of which servers answer the node's own requests.

use std::collections::VecDeque;

use fabric::io::{PacketBuf, PacketIo, Packets, PortId};
use fabric::packet::Sum;
use fabric::packet::udp4::{self, Udp4};

use super::{NODE_MAC, SERVERS};

/// Answers that wait to be received, at most. When as many wait, requests get no answer.
const ANSWERS: usize = 1024;
/// The frame of a memcached datagram.
const FRAME: usize = 8;

/// `io`, with servers behind port 1 that hold every key and answer the requests whose source is the node itself.
/// Requests of clients go on to the port, which swallows them.
pub(crate) struct WithServers<I: PacketIo> {
    io: I,
    answers: VecDeque<I::Packet>,
    value: Vec<u8>,
}

impl<I: PacketIo> WithServers<I> {
    pub(super) fn new(io: I, value_bytes: usize) -> Self {
        let value = (0..value_bytes).map(|at| b'a' + (at % 26) as u8).collect();
        Self { io, answers: VecDeque::with_capacity(ANSWERS), value }
    }

    /// The ports below.
    pub(super) fn inner(&mut self) -> &mut I {
        &mut self.io
    }

    /// The reply to `mg <key> v f c t k`.
    fn value_of(&self, key: &[u8]) -> Vec<u8> {
        let head = format!("VA {} f0 c1 t-1 k", self.value.len());
        [head.as_bytes(), key, b"\r\n", &self.value, b"\r\n"].concat()
    }

    /// Turns a request of the node into its answer. False if it is none.
    fn answer(&self, packet: &mut I::Packet) -> bool {
        let Some(udp) = Udp4::parse(packet.bytes()) else { return false };
        let start = udp.payload + FRAME;
        let Some(command) = packet.bytes().get(start..udp.end) else { return false };
        let body: Vec<u8> = match command.strip_prefix(b"mg ") {
            Some(rest) => self.value_of(rest.split(|byte| *byte == b' ').next().unwrap_or_default()),
            None if command.starts_with(b"version") => b"VERSION 1.6.18\r\n".to_vec(),
            None => return false,
        };
        if packet.set_len(start + body.len()).is_err() {
            return false;
        }
        let frame = packet.bytes_mut();
        frame[start..].copy_from_slice(&body);
        let sum = Sum::of(&frame[udp.payload..]);
        udp4::turn_around(frame, &udp, FRAME + body.len(), sum);
        true
    }

    #[cold]
    fn take_requests(&mut self, packets: &mut Packets<I::Packet>) {
        let mut rest = Packets::new();
        for mut packet in packets.drain(..) {
            let own = is_nodes(&packet) && self.answers.len() < ANSWERS;
            if own && self.answer(&mut packet) {
                packet.set_ingress(SERVERS);
                self.answers.push_back(packet);
            } else {
                rest.push(packet);
            }
        }
        packets.extend(rest);
    }
}

#[inline]
fn is_nodes<P: PacketBuf>(packet: &P) -> bool {
    packet.bytes().get(6..12) == Some(&NODE_MAC.0)
}

impl<I: PacketIo> PacketIo for WithServers<I> {
    type Packet = I::Packet;

    #[inline]
    fn ports(&self) -> u16 {
        self.io.ports()
    }

    #[inline]
    fn receive(&mut self, port: PortId, into: &mut Packets<I::Packet>) {
        if port == SERVERS && !self.answers.is_empty() {
            let count = self.answers.len().min(into.remaining_capacity());
            into.extend(self.answers.drain(..count));
        }
        self.io.receive(port, into);
    }

    #[inline]
    fn transmit(&mut self, port: PortId, packets: &mut Packets<I::Packet>) -> usize {
        if port == SERVERS && packets.iter().any(is_nodes) {
            self.take_requests(packets);
        }
        self.io.transmit(port, packets)
    }

    #[inline]
    fn allocate(&mut self) -> Option<I::Packet> {
        self.io.allocate()
    }
}
