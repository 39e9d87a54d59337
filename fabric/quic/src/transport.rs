//! QUIC's settings, and the socket.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use quinn::{
    ClientConfig, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, ServerConfig, TransportConfig, VarInt,
};
use quinn_proto::HashedConnectionIdGenerator;
use ring::hmac;
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::Config;
use crate::identity::Identity;

/// Streams that may stand still at once, each with a full window unread, without stopping the other streams of their
/// connection.
const STALLED_STREAMS: u32 = 16;

/// Before the first sample. A third of the standard's, so that a dial has time for several lost packets; where it is too
/// low, a handshake's packets are sent twice.
const INITIAL_RTT: Duration = Duration::from_millis(100);
/// For each handshake that may be under way so many wait for their turn; quinn drops further ones.
const WAITING_PER_HANDSHAKE: usize = 4;

/// For connections in both directions.
pub(crate) fn transport(config: &Config) -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(config.max_udp_payload_bytes);
    let window = config.stream_window_bytes;
    let connection_window = window.saturating_mul(STALLED_STREAMS);
    let idle = VarInt::from_u64(config.idle_timeout_ms).unwrap_or(VarInt::MAX);
    transport
        .mtu_discovery_config(Some(discovery))
        .initial_rtt(INITIAL_RTT)
        .max_idle_timeout(Some(IdleTimeout::from(idle)))
        .keep_alive_interval(Some(Duration::from_millis(config.keep_alive_ms)))
        .max_concurrent_bidi_streams(config.max_streams_per_peer.into())
        .max_concurrent_uni_streams(config.max_streams_per_peer.into())
        .stream_receive_window(window.into())
        .receive_window(connection_window.into())
        .send_window(connection_window.into())
        // No datagrams: nobody here reads them.
        .datagram_receive_buffer_size(None);
    Arc::new(transport)
}

/// For dialing.
pub(crate) fn client(identity: &Identity, transport: &Arc<TransportConfig>) -> ClientConfig {
    let mut config = ClientConfig::new(identity.client());
    config.transport_config(Arc::clone(transport));
    config
}

/// For accepting.
pub(crate) fn server(
    identity: &Identity,
    transport: &Arc<TransportConfig>,
    max_handshakes: usize,
) -> ServerConfig {
    let mut config = ServerConfig::with_crypto(identity.server());
    config
        .transport_config(Arc::clone(transport))
        .max_incoming(max_handshakes.saturating_mul(WAITING_PER_HANDSHAKE));
    config
}

/// For the endpoint. A node that starts anew with the same key still recognizes packets of connections it had, and
/// answers them with stateless resets: its peers need not wait for their time-outs.
///
/// It answers all of them. Its peers come at once, and after they have waited in vain once more at once: were there one
/// answer in 20 ms, as quinn would have it, most would wait for their time-outs all the same. Nobody is flooded by that:
/// what is answered has an id of the node's own making, and the answer is shorter, with no such id.
pub(crate) fn endpoint(identity: &Identity, config: &Config) -> EndpointConfig {
    let reset = hmac::Key::new(hmac::HMAC_SHA256, &identity.lasting_key("stateless reset"));
    let ids = id_key(identity);
    let mut endpoint = EndpointConfig::new(Arc::new(reset));
    endpoint
        .cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)))
        .min_reset_interval(Duration::ZERO);
    // `Config` keeps it above the least that QUIC allows.
    let _ = endpoint.max_udp_payload_size(config.max_udp_payload_bytes);
    endpoint
}

/// What ids of connections are signed with, so that a later life of the node knows them for its own.
fn id_key(identity: &Identity) -> u64 {
    identity.lasting_key("connection ids").first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The bytes that the kernel gave for a socket's buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketBuffers {
    /// For packets received.
    pub receive_bytes: usize,
    /// For packets to send.
    pub send_bytes: usize,
}

/// A UDP socket with large buffers. An IPv6 address serves IPv4 as well where it is the unspecified one.
pub(crate) fn socket(address: SocketAddr, buffer_bytes: usize) -> io::Result<(UdpSocket, SocketBuffers)> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Beyond net.core.rmem_max and wmem_max only a privileged process gets what it asks for.
    if setsockopt(&socket, sockopt::RcvBufForce, &buffer_bytes).is_err() {
        socket.set_recv_buffer_size(buffer_bytes)?;
    }
    if setsockopt(&socket, sockopt::SndBufForce, &buffer_bytes).is_err() {
        socket.set_send_buffer_size(buffer_bytes)?;
    }
    // The kernel tells twice the size, its own bookkeeping included.
    let (receive_bytes, send_bytes) = (socket.recv_buffer_size()? / 2, socket.send_buffer_size()? / 2);
    socket.bind(&address.into())?;
    Ok((socket.into(), SocketBuffers { receive_bytes, send_bytes }))
}

#[cfg(test)]
mod tests;
