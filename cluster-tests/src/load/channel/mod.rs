//! One socket of a generator, over either transport, never blocking.

mod tcp;
mod udp;

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::Transport;
use super::order::Request;
use super::reply::Layout;
use tcp::Tcp;
use udp::Udp;

/// A request under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnderWay {
    /// When it was to leave.
    pub(super) due: Instant,
    pub(super) sent: Instant,
    fingerprint: u64,
}

pub(super) enum Channel {
    Udp(Udp),
    Tcp(Tcp),
}

impl Channel {
    pub(super) fn open(transport: Transport, to: SocketAddrV4) -> io::Result<Self> {
        match transport {
            Transport::Udp => Udp::open(to).map(Channel::Udp),
            Transport::Tcp => Tcp::open(to).map(Channel::Tcp),
        }
    }

    /// Sends a request, over TCP at the next [`flush`](Channel::flush). False if too many are under way: then it is
    /// not sent.
    pub(super) fn send(&mut self, request: &Request, due: Instant, now: Instant) -> io::Result<bool> {
        let under_way = UnderWay { due, sent: now, fingerprint: request.fingerprint };
        match self {
            Channel::Udp(udp) => udp.send(&request.text, under_way),
            Channel::Tcp(tcp) => {
                tcp.send(&request.text, under_way);
                Ok(true)
            }
        }
    }

    /// Writes what waits for it. False if the kernel does not take all of it now.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        match self {
            Channel::Udp(_) => Ok(true),
            Channel::Tcp(tcp) => tcp.flush(),
        }
    }

    /// Adds the requests whose replies are complete to `ended`.
    ///
    /// # Errors
    /// What the kernel says, or that a reply is not the one to its request.
    pub(super) fn receive(
        &mut self,
        layout: &Layout,
        buffer: &mut [u8],
        ended: &mut Vec<UnderWay>,
    ) -> io::Result<()> {
        match self {
            Channel::Udp(udp) => udp.receive(buffer, ended),
            Channel::Tcp(tcp) => tcp.receive(layout, buffer, ended),
        }
    }

    /// Forgets the requests that have been under way for longer than `patience`, and says how many. Over TCP nothing
    /// is forgotten.
    pub(super) fn give_up(&mut self, now: Instant, patience: Duration) -> usize {
        match self {
            Channel::Udp(udp) => udp.give_up(now, patience),
            Channel::Tcp(_) => 0,
        }
    }
}

/// The error of a reply that is none.
fn unexpected(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Channel::Udp(udp) => udp.as_fd(),
            Channel::Tcp(tcp) => tcp.as_fd(),
        }
    }
}
