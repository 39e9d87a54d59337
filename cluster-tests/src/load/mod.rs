//! Load on a memcached service, and what it measured.
//!
//! Two loops, each one thread over any number of non-blocking sockets, that ask for keys in an order fixed beforehand:
//!
//! - [`Closed`]: a fixed number of requests is always under way. It tells throughput.
//! - [`open`]: requests leave when their time has come, whatever came back. It tells latency: a stall of the service
//!   delays no request, so none of its length is omitted.
//!
//! Over TCP every reply is checked: it has the keys that were asked for, and their values. They measure from where their
//! sockets were opened: for a rack, open them inside a client with [`Host::run`](crate::rack::Host::run).

mod channel;
mod closed;
mod generator;
mod keys;
mod measured;
mod open;
mod order;
mod prefill;
mod reply;
#[cfg(test)]
mod testing;
mod zipf;

pub use closed::Closed;
pub use keys::Keys;
pub use measured::Measured;
pub use open::{Open, open};
pub use order::Order;
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
    /// The service's addresses. With several, requests take turns: each must have every key.
    pub addresses: Vec<SocketAddrV4>,
    /// Sockets toward each address.
    pub sockets: usize,
}
