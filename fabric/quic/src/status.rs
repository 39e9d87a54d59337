//! What an endpoint says of its peers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use naming::NodeId;

use crate::connection::Connection;
use crate::link::Origin;
use crate::peer::Peer;

/// A peer, as the endpoint sees it now.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// The peer.
    pub node: NodeId,
    /// Where it is dialed, in this order.
    pub addresses: Vec<SocketAddr>,
    /// The connection in use.
    pub connection: Option<ConnectionStatus>,
    /// How long it is not dialed yet, and what went wrong last.
    pub resting: Option<(Duration, Arc<str>)>,
    /// Messages that wait for it, of all channels.
    pub waiting_messages: usize,
    /// Their bytes.
    pub waiting_bytes: usize,
}

/// A connection in use.
#[derive(Clone, Debug)]
pub struct ConnectionStatus {
    /// The peer's address on it.
    pub address: SocketAddr,
    /// Who made it.
    pub origin: Origin,
    /// How long it lives.
    pub age: Duration,
    /// The round-trip time, smoothed.
    pub rtt: Duration,
    /// Bytes of UDP payload that the path carries now. If it shrinks, something on the path has changed for the worse.
    pub mtu_bytes: u16,
    /// The congestion window.
    pub congestion_window_bytes: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// Of these, taken for lost.
    pub lost_packets: u64,
    /// Times that the path was found to swallow large packets.
    pub black_holes: u64,
}

pub(crate) fn of(peer: &Peer) -> PeerStatus {
    let now = Instant::now();
    let (current, resting) = {
        let link = peer.link();
        (link.current(), link.resting(now))
    };
    let (waiting_messages, waiting_bytes) = peer.waiting();
    PeerStatus {
        node: peer.node,
        addresses: peer.addresses(),
        connection: current.map(|connection| of_connection(&connection, now)),
        resting: resting.map(|(until, why)| (until.saturating_duration_since(now), why)),
        waiting_messages,
        waiting_bytes,
    }
}

fn of_connection(connection: &Connection, now: Instant) -> ConnectionStatus {
    let path = connection.quic.stats().path;
    ConnectionStatus {
        address: connection.quic.remote_address(),
        origin: connection.origin,
        age: now.saturating_duration_since(connection.since),
        rtt: path.rtt,
        mtu_bytes: path.current_mtu,
        congestion_window_bytes: path.cwnd,
        sent_packets: path.sent_packets,
        lost_packets: path.lost_packets,
        black_holes: path.black_holes_detected,
    }
}
