//! One request a datagram.

use std::io::{self, ErrorKind};
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::{UnderWay, unexpected};

/// Request id, sequence number, datagram count, reserved: each 16 bits.
const FRAME: usize = 8;
/// Requests that can be under way at once; the rest of the request id tells a slot's uses apart.
const SLOTS: usize = 1 << 10;

pub(in crate::load) struct Udp {
    socket: UdpSocket,
    datagram: Vec<u8>,
    slots: Vec<Option<Slot>>,
    free: Vec<u16>,
    sent: u16,
}

/// A request under way.
#[derive(Clone, Copy)]
struct Slot {
    id: u16,
    /// Datagrams that have come of a reply of several.
    pieces: u16,
    under_way: UnderWay,
}

impl Udp {
    pub(super) fn open(to: SocketAddrV4) -> io::Result<Self> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(to)?;
        socket.set_nonblocking(true)?;
        let reference = socket2::SockRef::from(&socket);
        reference.set_recv_buffer_size(4 << 20)?;
        let free = (0..SLOTS as u16).rev().collect();
        Ok(Self { socket, datagram: Vec::new(), slots: vec![None; SLOTS], free, sent: 0 })
    }

    pub(super) fn send(&mut self, request: &str, under_way: UnderWay) -> io::Result<bool> {
        let Some(slot) = self.free.pop() else { return Ok(false) };
        let id = self.sent << SLOTS.ilog2() | slot;
        self.sent = self.sent.wrapping_add(1);
        self.slots[usize::from(slot)] = Some(Slot { id, pieces: 0, under_way });
        let [high, low] = id.to_be_bytes();
        self.datagram.clear();
        self.datagram.extend_from_slice(&[high, low, 0, 0, 0, 1, 0, 0]);
        self.datagram.extend_from_slice(request.as_bytes());
        match self.socket.send(&self.datagram) {
            // A full queue loses a datagram as the network does; an ICMP error tells of an earlier one.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionRefused) => {
                Ok(true)
            }
            sent => sent.map(|_| true),
        }
    }

    pub(super) fn receive(&mut self, buffer: &mut [u8], ended: &mut Vec<UnderWay>) -> io::Result<()> {
        loop {
            let len = match self.socket.recv(buffer) {
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => continue,
                Err(error) => return Err(error),
            };
            let reply = &buffer[..len];
            let Some(frame) = reply.first_chunk::<FRAME>() else { continue };
            let (id, sequence, total) = (be16(frame, 0), be16(frame, 2), be16(frame, 4));
            // The first datagram of a reply must be a value: anything else is an error or a miss.
            if sequence == 0 && !reply[FRAME..].starts_with(b"VALUE ") {
                let start = String::from_utf8_lossy(&reply[FRAME..len.min(FRAME + 60)]).into_owned();
                return Err(unexpected(format!("expected a value, got {start:?}")));
            }
            let number = usize::from(id) % SLOTS;
            let Some(slot) = self.slots[number].as_mut().filter(|slot| slot.id == id) else { continue };
            slot.pieces += 1;
            if slot.pieces == total {
                ended.push(slot.under_way);
                self.slots[number] = None;
                self.free.push(number as u16);
            }
        }
    }

    pub(super) fn give_up(&mut self, now: Instant, patience: Duration) -> usize {
        let free = self.free.len();
        for (number, slot) in self.slots.iter_mut().enumerate() {
            let late = |slot: &mut Slot| now.saturating_duration_since(slot.under_way.sent) > patience;
            if slot.take_if(late).is_some() {
                self.free.push(number as u16);
            }
        }
        self.free.len() - free
    }
}

impl AsFd for Udp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn be16(frame: &[u8; FRAME], at: usize) -> u16 {
    u16::from_be_bytes([frame[at], frame[at + 1]])
}
