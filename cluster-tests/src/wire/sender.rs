//! Sending frames as they are out of a host's link.

use crate::RackError;
use crate::rack::{Host, LINK};
use nix::ifaddrs::getifaddrs;
use socket2::{Domain, Protocol, Socket, Type};
use std::os::fd::AsRawFd;

/// `ETH_P_ALL` in network order (packet(7)).
const ALL_PROTOCOLS: i32 = 0x0003_u16.to_be() as i32;

/// A packet socket bound to a host's link.
#[derive(Debug)]
pub struct FrameSender {
    socket: Socket,
}

impl FrameSender {
    /// Opens a socket on the host's link.
    ///
    /// # Errors
    /// [`RackError::Io`] if the kernel refuses.
    pub fn open(host: &Host) -> Result<Self, RackError> {
        host.run(open)
            .map(|socket| Self { socket })
            .map_err(RackError::io(format!("packet socket at {}", host.name)))
    }

    /// Sends one frame, from its destination MAC on. The kernel refuses frames beyond the link's MTU.
    ///
    /// # Errors
    /// [`RackError::Io`] if the kernel refuses.
    pub fn send(&self, frame: &[u8]) -> Result<(), RackError> {
        self.socket
            .send(frame)
            .map(drop)
            .map_err(RackError::io(format!("send a frame of {} bytes", frame.len())))
    }
}

fn open() -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(ALL_PROTOCOLS)))?;
    // It only sends: what it would receive needs no room.
    socket.set_recv_buffer_size(0)?;
    let link = getifaddrs()?
        .filter(|interface| interface.interface_name == LINK)
        .find_map(|interface| interface.address?.as_link_addr().copied())
        .ok_or(std::io::ErrorKind::NotFound)?;
    nix::sys::socket::bind(socket.as_raw_fd(), &link)?;
    Ok(socket)
}
