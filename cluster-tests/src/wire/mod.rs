//! Frames made by hand, injected into a host's link and captured from it.

mod capture;
mod frame;
mod sender;

pub use capture::{Capture, Direction};
pub use frame::{Datagram, Ethernet, Ipv4Packet, Mac, UdpView, checksum, ethertype};
pub use sender::FrameSender;
