//! The learning switch of one worker, and what it does for the functions.

use std::sync::Arc;

use super::counts::WorkerCounters;
use super::mailbox::{Mailboxes, NotHandedOver};
use crate::function::{Context, WorkerId};
use crate::io::{PacketBuf, PacketIo, Packets, PortId};
use crate::packet::{EtherType, MacAddr};
use crate::stations::{Key, Learned, Second, Stations};
use crate::time::Nanos;

/// Emitted packets that wait for the end of the burst. When as many wait, they are delivered ahead of it.
pub const MAX_EMITTED: usize = 1024;

const ETHERNET: usize = crate::packet::ethernet::HEADER_LEN;
const MAC: u64 = 0xffff_ffff_ffff;
const GROUP: u64 = 1 << 40;

enum Route {
    Station,
    Ingress,
}

/// Ports, stations and waiting packets of one worker.
pub(super) struct Switch<I: PacketIo> {
    pub(super) io: I,
    pub(super) counters: WorkerCounters,
    id: WorkerId,
    stations: Arc<Stations>,
    mailboxes: Mailboxes<I::Packet>,
    /// By port: what leaves it next.
    waiting: Box<[Packets<I::Packet>]>,
    emitted: Vec<(I::Packet, Route)>,
    now: Nanos,
    second: Second,
    transmitted: usize,
    /// Sources that the table was told of in this second, by their low hash: they need no telling again.
    told: Box<[(Key, PortId); TOLD]>,
    /// Destinations found in this round, by their low hash.
    found: Box<[Found; FOUND]>,
    round: u64,
}

/// A destination, and the round in which it was behind this port: stations may move between rounds.
#[derive(Clone, Copy)]
struct Found {
    key: Key,
    port: PortId,
    round: u64,
}

/// Destinations that a worker remembers within a round: the servers of a rack, in 384 bytes.
const FOUND: usize = 16;

/// Sources that a worker remembers having told the table of: several racks of hosts, in 4 KiB.
const TOLD: usize = 256;

/// Its key is one that no frame has: the VLAN id does not fit.
const NOBODY: (Key, PortId) = (Key(u64::MAX), PortId::NONE);

/// Where a key is among `N`: Fibonacci hashing.
#[inline]
fn place<const N: usize>(key: Key) -> usize {
    (key.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize % N
}

impl<I: PacketIo> Switch<I> {
    pub(super) fn new(id: WorkerId, io: I, stations: Arc<Stations>, mailboxes: Mailboxes<I::Packet>) -> Self {
        let waiting = (0..io.ports()).map(|_| Packets::new()).collect();
        Self {
            io,
            counters: WorkerCounters::default(),
            id,
            stations,
            mailboxes,
            waiting,
            emitted: Vec::with_capacity(MAX_EMITTED),
            now: Nanos(0),
            second: Second(0),
            transmitted: 0,
            told: Box::new([NOBODY; TOLD]),
            found: Box::new([Found { key: NOBODY.0, port: PortId::NONE, round: 0 }; FOUND]),
            round: 0,
        }
    }

    pub(super) fn ports(&self) -> u16 {
        self.waiting.len() as u16
    }

    /// Begins a round.
    pub(super) fn begin(&mut self, now: Nanos) {
        self.now = now;
        self.round += 1;
        let second = Second::of(now);
        if second != self.second {
            self.second = second;
            *self.told = [NOBODY; TOLD];
        }
    }

    /// Learns from a packet that came in by `port`. False if it must not come in; the reason is counted.
    #[inline]
    pub(super) fn admit(&mut self, port: PortId, packet: &I::Packet) -> bool {
        let frame = packet.bytes();
        self.counters.received_bytes += frame.len() as u64;
        let Some(header) = frame.first_chunk::<ETHERNET>() else {
            self.counters.runt += 1;
            return false;
        };
        let source = u64::from_be_bytes(*header[4..].first_chunk().expect("8 of 14 bytes")) & MAC;
        let key = Key::new(vlan(frame, header), source);
        let told = place::<TOLD>(key);
        if self.told[told] == (key, port) {
            return true;
        }
        match self.stations.learn_key(key, port, self.second) {
            Learned::Known => {}
            Learned::Ignored => return true,
            Learned::New => self.counters.stations_learned += 1,
            Learned::Moved => self.counters.stations_moved += 1,
            Learned::Evicted => {
                self.counters.stations_learned += 1;
                self.counters.stations_evicted += 1;
            }
            Learned::Refused => {
                self.counters.spoofed_station += 1;
                return false;
            }
        }
        self.told[told] = (key, port);
        true
    }

    pub(super) fn take_over(&mut self) -> Option<I::Packet> {
        let packet = self.mailboxes.take(self.id)?;
        self.counters.taken_over += 1;
        Some(packet)
    }

    /// Sends `packet` to the station its destination MAC names.
    #[inline]
    pub(super) fn deliver(&mut self, packet: I::Packet) {
        let frame = packet.bytes();
        let Some(header) = frame.first_chunk::<ETHERNET>() else {
            self.counters.runt += 1;
            return;
        };
        let destination = u64::from_be_bytes(*header.first_chunk().expect("8 of 14 bytes")) >> 16;
        if destination & GROUP != 0 {
            return self.deliver_to_group(destination, packet);
        }
        let key = Key::new(vlan(frame, header), destination);
        let found = self.found[place::<FOUND>(key)];
        let port = if found.key == key && found.round == self.round {
            found.port
        } else {
            let Some(port) = self.stations.find_key(key, self.second) else { return self.flood(packet) };
            self.found[place::<FOUND>(key)] = Found { key, port, round: self.round };
            port
        };
        if port == PortId::NONE {
            self.counters.unclaimed += 1;
        } else if port == packet.ingress() {
            self.counters.same_port += 1;
        } else {
            self.counters.switched += 1;
            self.send(port, packet);
        }
    }

    /// Sends `packet` out of the port it came in by.
    #[inline]
    pub(super) fn reply(&mut self, packet: I::Packet) {
        self.counters.replied += 1;
        self.send(packet.ingress(), packet);
    }

    /// Delivers what functions emitted.
    pub(super) fn deliver_emitted(&mut self) {
        if self.emitted.is_empty() {
            return;
        }
        // An empty vector owns no memory: taking and putting back allocates nothing.
        let mut emitted = std::mem::take(&mut self.emitted);
        for (packet, route) in emitted.drain(..) {
            match route {
                Route::Station => self.deliver(packet),
                Route::Ingress => self.reply(packet),
            }
        }
        self.emitted = emitted;
    }

    /// Transmits what waits for any port, and returns how many frames the ports took since the last time.
    pub(super) fn transmit_all(&mut self) -> usize {
        for port in 0..self.ports() {
            self.transmit(PortId(port));
        }
        std::mem::take(&mut self.transmitted)
    }

    #[cold]
    fn deliver_to_group(&mut self, destination: u64, packet: I::Packet) {
        if MacAddr::from_u64(destination).is_link_local_group() {
            self.counters.link_local_group += 1;
            return;
        }
        self.flood(packet);
    }

    /// Sends a copy to every port but the one the packet came in by; the last one gets the packet itself.
    fn flood(&mut self, packet: I::Packet) {
        let ingress = packet.ingress();
        let others = (0..self.ports()).map(PortId).filter(|port| *port != ingress);
        let Some(last) = others.clone().next_back() else {
            self.counters.no_other_port += 1;
            return;
        };
        self.counters.flooded += 1;
        for port in others.take_while(|port| *port != last) {
            match self.io.duplicate(&packet) {
                Some(copy) => self.send(port, copy),
                None => self.counters.flood_no_packet += 1,
            }
        }
        self.send(last, packet);
    }

    #[inline]
    fn send(&mut self, port: PortId, packet: I::Packet) {
        let Some(waiting) = self.waiting.get_mut(usize::from(port.0)) else {
            self.counters.no_ingress += 1;
            return;
        };
        waiting.push(packet);
        if waiting.is_full() {
            self.transmit(port);
        }
    }

    fn transmit(&mut self, port: PortId) {
        let waiting = &mut self.waiting[usize::from(port.0)];
        let count = waiting.len();
        if count == 0 {
            return;
        }
        let refused = self.io.transmit(port, waiting).min(count);
        waiting.clear();
        self.transmitted += count - refused;
        self.counters.transmitted += (count - refused) as u64;
        self.counters.port_refused += refused as u64;
    }

    fn emit_by(&mut self, route: Route, packet: I::Packet) {
        if self.emitted.len() == MAX_EMITTED {
            self.deliver_emitted();
        }
        self.counters.emitted += 1;
        self.emitted.push((packet, route));
    }
}

impl<I: PacketIo> Context<I::Packet> for Switch<I> {
    fn now(&self) -> Nanos {
        self.now
    }

    fn worker(&self) -> WorkerId {
        self.id
    }

    fn allocate(&mut self) -> Option<I::Packet> {
        self.io.allocate()
    }

    fn emit(&mut self, packet: I::Packet) {
        self.emit_by(Route::Station, packet);
    }

    fn emit_reply(&mut self, packet: I::Packet) {
        self.emit_by(Route::Ingress, packet);
    }

    fn hand_over(&mut self, to: WorkerId, packet: I::Packet) {
        match self.mailboxes.put(to, packet) {
            Ok(()) => self.counters.handed_over += 1,
            Err(NotHandedOver::Full(_)) => self.counters.mailbox_full += 1,
            Err(NotHandedOver::Unknown(_)) => self.counters.mailbox_unknown += 1,
        }
    }
}

/// The VLAN id of the outermost tag; 0 without one, or if the frame ends inside it.
#[inline]
fn vlan(frame: &[u8], header: &[u8; ETHERNET]) -> u16 {
    if !EtherType(u16::from_be_bytes([header[12], header[13]])).is_tag() {
        return 0;
    }
    match frame.get(ETHERNET..ETHERNET + 2) {
        Some(tag) => u16::from_be_bytes([tag[0], tag[1]]) & 0x0fff,
        None => 0,
    }
}
