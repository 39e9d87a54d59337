//! UDP: one socket, one task.
//!
//! A datagram's source can be forged, so an address off the allowlist is sent at most [`AMPLIFICATION_LIMIT`] times the
//! bytes it sent; a longer reply is dropped and counted.

use std::net::SocketAddr;
use std::sync::Arc;

use memcached_bridge::session::datagram::{NoReply, answer_datagram};
use tokio::net::UdpSocket;
use tokio::sync::watch;

use super::Shared;
use super::counters::add;
use crate::config;

/// Bytes out for each byte in, toward addresses off the allowlist.
const AMPLIFICATION_LIMIT: usize = 3;
/// The longest reply toward addresses on the allowlist, in bytes.
const REPLY_BYTES: usize = 16 << 20;
/// The longest datagram.
const DATAGRAM_BYTES: usize = 65_535;

/// Serves until `draining` turns true.
pub(super) async fn serve(socket: UdpSocket, shared: Arc<Shared>, mut draining: watch::Receiver<bool>) {
    let mut buffer = vec![0; DATAGRAM_BYTES];
    let (mut out, mut datagram) = (Vec::new(), Vec::new());
    loop {
        let received = tokio::select! {
            biased;
            received = socket.recv_from(&mut buffer) => received,
            _ = draining.wait_for(|draining| *draining) => return,
        };
        match received {
            Ok((len, client)) => {
                answer(&socket, &shared, &buffer[..len], client, &mut out, &mut datagram).await
            }
            // An earlier reply found no one: the system reports it here.
            Err(error) => tracing::debug!(%error, "a datagram could not be received"),
        }
    }
}

async fn answer(
    socket: &UdpSocket,
    shared: &Shared,
    request: &[u8],
    client: SocketAddr,
    out: &mut Vec<u8>,
    datagram: &mut Vec<u8>,
) {
    let (counters, facts) = (&shared.counters, &shared.server.facts);
    add(&counters.datagrams_received, 1);
    add(&facts.bytes_read, request.len() as u64);
    let allowed = config::is_allowed(&shared.config.clients, client.ip());
    let limit = if allowed { REPLY_BYTES } else { request.len() * AMPLIFICATION_LIMIT };
    let reply = match answer_datagram(request, &shared.server, shared.clock.now(), limit, out) {
        Ok(reply) => reply,
        Err(NoReply::TooLong) => return add(&counters.amplification_limited, 1),
        Err(NoReply::Quiet) => return,
        Err(NoReply::NoFrame | NoReply::NotSingle | NoReply::Incomplete) => {
            return add(&counters.datagrams_invalid, 1);
        }
    };
    for sequence in 0..reply.datagrams() {
        reply.write(sequence, datagram);
        match socket.send_to(datagram, client).await {
            Ok(len) => {
                add(&counters.datagrams_sent, 1);
                add(&facts.bytes_written, len as u64);
            }
            Err(_) => add(&counters.send_failed, 1),
        }
    }
}
