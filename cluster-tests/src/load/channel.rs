//! One socket of a generator, over either transport, never blocking.

use super::Transport;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddrV4, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// What ties a reply to its request. Over UDP it travels as the request id.
pub(super) type Ticket = u16;

/// Request id, sequence number, datagram count, reserved: each 16 bits.
const FRAME: usize = 8;

pub(super) enum Channel {
    Udp(Udp),
    Tcp(Tcp),
}

impl Channel {
    pub(super) fn open(transport: Transport, to: SocketAddrV4, reply_bytes: usize) -> io::Result<Self> {
        match transport {
            Transport::Udp => Udp::open(to).map(Channel::Udp),
            Transport::Tcp => Tcp::open(to, reply_bytes).map(Channel::Tcp),
        }
    }

    /// Sends a request, over TCP at the next [`flush`](Channel::flush).
    pub(super) fn send(&mut self, ticket: Ticket, request: &str) -> io::Result<()> {
        match self {
            Channel::Udp(udp) => udp.send(ticket, request),
            Channel::Tcp(tcp) => {
                tcp.waiting.push_back(ticket);
                tcp.unsent.extend_from_slice(request.as_bytes());
                Ok(())
            }
        }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Channel::Udp(_) => Ok(()),
            Channel::Tcp(tcp) => tcp.flush(),
        }
    }

    /// Hands the tickets of all complete replies that are there to `done`.
    pub(super) fn receive(&mut self, done: &mut Vec<Ticket>) -> io::Result<()> {
        match self {
            Channel::Udp(udp) => udp.receive(done),
            Channel::Tcp(tcp) => tcp.receive(done),
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Channel::Udp(udp) => udp.socket.as_fd(),
            Channel::Tcp(tcp) => tcp.stream.as_fd(),
        }
    }
}

pub(super) struct Udp {
    socket: UdpSocket,
    datagram: Vec<u8>,
    buffer: Box<[u8]>,
    /// Datagrams that have come of replies of several; by ticket.
    pieces: Box<[u16]>,
}

impl Udp {
    fn open(to: SocketAddrV4) -> io::Result<Self> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(to)?;
        socket.set_nonblocking(true)?;
        let reference = socket2::SockRef::from(&socket);
        reference.set_recv_buffer_size(4 << 20)?;
        let pieces = vec![0; usize::from(Ticket::MAX) + 1].into_boxed_slice();
        Ok(Self { socket, datagram: Vec::new(), buffer: vec![0; 1 << 16].into(), pieces })
    }

    fn send(&mut self, ticket: Ticket, request: &str) -> io::Result<()> {
        let [high, low] = ticket.to_be_bytes();
        self.pieces[usize::from(ticket)] = 0;
        self.datagram.clear();
        self.datagram.extend_from_slice(&[high, low, 0, 0, 0, 1, 0, 0]);
        self.datagram.extend_from_slice(request.as_bytes());
        match self.socket.send(&self.datagram) {
            // A full queue loses a datagram as the network does; an ICMP error tells of an earlier one.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionRefused) => {
                Ok(())
            }
            sent => sent.map(drop),
        }
    }

    fn receive(&mut self, done: &mut Vec<Ticket>) -> io::Result<()> {
        loop {
            let len = match self.socket.recv(&mut self.buffer) {
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => continue,
                Err(error) => return Err(error),
            };
            let reply = &self.buffer[..len];
            let Some(frame) = reply.first_chunk::<FRAME>() else { continue };
            let (ticket, total) = (be16(frame, 0), be16(frame, 4));
            // The first datagram of a reply must be a value: anything else is an error or a miss.
            if be16(frame, 2) == 0 && !reply[FRAME..].starts_with(b"VALUE ") {
                return Err(unexpected(&reply[FRAME..]));
            }
            let pieces = &mut self.pieces[usize::from(ticket)];
            *pieces += 1;
            if *pieces == total {
                done.push(ticket);
            }
        }
    }
}

pub(super) struct Tcp {
    stream: TcpStream,
    /// Requests whose replies are still to come, in order.
    waiting: VecDeque<Ticket>,
    unsent: Vec<u8>,
    buffer: Box<[u8]>,
    /// How much of the buffer is filled: the beginning of a reply.
    filled: usize,
    reply_bytes: usize,
}

impl Tcp {
    fn open(to: SocketAddrV4, reply_bytes: usize) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to.into(), Duration::from_secs(2))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let buffer = vec![0; (1 << 18).max(2 * reply_bytes)].into();
        Ok(Self { stream, waiting: VecDeque::new(), unsent: Vec::new(), buffer, filled: 0, reply_bytes })
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(len) => drop(self.unsent.drain(..len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn receive(&mut self, done: &mut Vec<Ticket>) -> io::Result<()> {
        loop {
            let len = match self.stream.read(&mut self.buffer[self.filled..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.flush(),
                Err(error) => return Err(error),
            };
            self.filled += len;
            let whole = self.filled / self.reply_bytes * self.reply_bytes;
            for reply in self.buffer[..whole].chunks(self.reply_bytes) {
                if !reply.starts_with(b"VALUE ") || !reply.ends_with(b"\r\nEND\r\n") {
                    return Err(unexpected(reply));
                }
                done.extend(self.waiting.pop_front());
            }
            self.buffer.copy_within(whole..self.filled, 0);
            self.filled -= whole;
        }
    }
}

fn be16(frame: &[u8; FRAME], at: usize) -> u16 {
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

fn unexpected(reply: &[u8]) -> io::Error {
    let start = String::from_utf8_lossy(&reply[..reply.len().min(60)]).into_owned();
    io::Error::other(format!("expected a value, got {start:?}"))
}
