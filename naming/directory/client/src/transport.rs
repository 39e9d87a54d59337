//! How messages get from node to node.
//!
//! Both servers and clients need one thing only: a message handed to [`Transport::send`] arrives whole, in the order of its
//! channel, or not at all. What is lost they send again. So whatever loses messages under load, and says so in a counter,
//! is a good transport; one that blocks is not.

use std::sync::Arc;

use naming::NodeId;
use prost::bytes::Bytes;

mod memory;

pub use memory::Network;

/// What a message belongs to. Messages of different channels do not wait for one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Between the servers: agreement. Small, urgent.
    Raft,
    /// Between the servers: snapshots. Large, paced.
    Snapshot,
    /// From clients to servers.
    Request,
    /// From servers to clients.
    Response,
}

impl Channel {
    /// All of them.
    pub const ALL: [Channel; 4] = [Self::Raft, Self::Snapshot, Self::Request, Self::Response];

    /// Bytes of a message at most. Most are far smaller.
    pub const fn max_bytes(self) -> usize {
        match self {
            // All that a leader has proposed and not sent yet may go at once, beside messages of other groups.
            Self::Raft => 32 << 20,
            // A chunk, with one more item than it should have.
            Self::Snapshot => 1 << 20,
            // A command, or a page of a listing, and what goes around it.
            Self::Request | Self::Response => 8 << 20,
        }
    }
}

/// Sends messages of one node.
pub trait Transport: Send + Sync + 'static {
    /// Sends a message, or drops it. Never blocks. Whether it is on its way; that it is does not say that it arrives.
    fn send(&self, to: NodeId, channel: Channel, message: Bytes) -> bool;
}

/// Takes the messages that come to one node.
pub trait Receive: Send + Sync + 'static {
    /// Takes a message. Never blocks, and may be called from any thread.
    fn receive(&self, from: NodeId, channel: Channel, message: Bytes);
}

/// A node with a server and clients: responses go to the clients, all else to the server.
pub struct Both<S, C> {
    /// The server.
    pub server: Arc<S>,
    /// The clients.
    pub client: Arc<C>,
}

impl<S: Receive, C: Receive> Receive for Both<S, C> {
    fn receive(&self, from: NodeId, channel: Channel, message: Bytes) {
        match channel {
            Channel::Response => self.client.receive(from, channel, message),
            Channel::Raft | Channel::Snapshot | Channel::Request => {
                self.server.receive(from, channel, message)
            }
        }
    }
}
