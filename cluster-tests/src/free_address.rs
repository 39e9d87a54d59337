//! A free port for a program that must be told one. Also a part of other crates' tests, by its path.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

/// An address of the loopback interface whose port nobody uses now, over TCP or UDP, and that no other call in this
/// process gives.
///
/// The port is below those that the kernel gives to outgoing connections. Of those, one could be another socket's by the
/// time the program binds it; it could even be that of the connection that waits for the program, which then has itself
/// at its other end.
///
/// # Errors
/// That there is none.
pub(crate) fn free_address() -> std::io::Result<SocketAddrV4> {
    const PORTS: std::ops::Range<u32> = 20_000..32_768;
    static CALLS: AtomicU32 = AtomicU32::new(0);
    // Each process begins somewhere else.
    let start = std::process::id().wrapping_mul(61);
    let mut outcome = Err(std::io::ErrorKind::AddrInUse.into());
    for _ in PORTS {
        let offset = start.wrapping_add(CALLS.fetch_add(1, Ordering::Relaxed)) % PORTS.len() as u32;
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, (PORTS.start + offset) as u16);
        outcome = TcpListener::bind(address).and_then(|_tcp| UdpSocket::bind(address)).map(|_udp| address);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}
