//! What a frame says: header views and checksums.
//!
//! Bytes stay where they are; a header that was read is a small value of its own, valid by construction, and
//! every offset and range in it lies inside the frame it came from. Nothing here allocates.
//!
//! Two ways in: [`udp4::Udp4`] knows only the commonest kind of frame and costs a few nanoseconds;
//! [`Headers`] knows them all. What the first does not know, the second decides.

pub mod arp;
pub mod checksum;
pub mod ethernet;
mod headers;
pub mod ipv4;
pub mod ipv6;
mod malformed;
pub mod tcp;
pub mod udp;
pub mod udp4;

pub use checksum::Sum;
pub use ethernet::{EtherType, MacAddr};
pub use headers::{Headers, Network, Transport};
pub use malformed::Malformed;
