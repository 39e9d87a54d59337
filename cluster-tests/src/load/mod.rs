//! Load on a memcached service, and what it measured.
//!
//! Two generators, each one thread with non-blocking sockets, that ask for keys in an order fixed beforehand:
//!
//! - [`closed`]: a fixed number of requests is always under way. It tells throughput.
//! - [`open`]: requests leave when their time has come, whatever came back. It tells latency: a stall of the service
//!   delays no request, so none of its length is omitted.
//!
//! They measure from where they run: for a rack, run them inside a client with
//! [`Host::run`](crate::rack::Host::run).

mod channel;
mod generator;
mod keys;
mod measured;
mod prefill;
mod zipf;

pub use generator::{Closed, Open, closed, open};
pub use keys::{Keys, Order};
pub use measured::Measured;
pub use prefill::prefill;
pub use zipf::Zipf;

use std::net::SocketAddrV4;

/// The transport of requests and replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// One request a datagram.
    Udp,
    /// Pipelined requests on persistent connections.
    Tcp,
}

/// Where requests go.
#[derive(Clone, Debug)]
pub struct Target {
    /// How.
    pub transport: Transport,
    /// The service's addresses. With several, a key always goes to the same one.
    pub addresses: Vec<SocketAddrV4>,
    /// Sockets toward each address.
    pub sockets: usize,
}
