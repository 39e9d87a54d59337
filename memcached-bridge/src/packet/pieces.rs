//! Requests larger than a packet: IPv4 fragments, held until their datagram can be read whole.
//!
//! The fragments go on as they came, once the key in the first of them has named a server; a server puts them
//! together as it would have without the node.

use std::time::Duration;

use fabric::fragments::{FragmentError, FragmentLimits, Offer};
use fabric::function::{Burst, Context};
use fabric::io::PacketBuf;
use fabric::packet::checksum::pseudo_v4;
use fabric::packet::ipv4::Ipv4;
use fabric::packet::udp::{self, Udp};
use fabric::packet::{Headers, Network};
use fabric::time::Nanos;

use super::MemcachedSwitch;
use super::request::client;
use crate::coherence::PoolView;
use crate::protocol::udp::Frame;

/// What one worker holds at most; the oldest datagram makes room for a new one.
pub(super) const FRAGMENT_LIMITS: FragmentLimits =
    FragmentLimits { datagrams: 128, packets: 2048, timeout: Duration::from_millis(500) };

impl<P: PacketBuf> MemcachedSwitch<P> {
    pub(super) fn fragment(
        &mut self,
        slot: usize,
        headers: &Headers,
        burst: &mut Burst<P>,
        view: &PoolView,
        context: &mut dyn Context<P>,
    ) {
        let Some(packet) = burst.take(slot) else { return };
        let Network::Ipv4(ipv4) = headers.network else { return };
        // Fragments do not name their port; who poses as the node is told when the datagram is whole.
        if !self.state.allows(u32::from(ipv4.src)) {
            return self.counters.drop_client_not_allowed += 1;
        }
        let whole = match self.fragments.offer(packet, headers, context.now()) {
            Offer::Held => {
                self.counters.fragments_held += 1;
                false
            }
            Offer::Refused(reason, _) => {
                count(&mut self.counters, reason);
                false
            }
            Offer::Complete(mut whole) => {
                whole.copy_payload(&mut self.payload);
                self.packets.extend(whole.drain());
                true
            }
        };
        let counters = &mut self.counters;
        for (reason, _) in self.fragments.dropped() {
            count(counters, reason);
        }
        if whole {
            self.defragmented(headers, view, context);
        }
    }

    /// A datagram that came in fragments: its IP payload is in `self.payload`, its packets are in `self.packets`.
    fn defragmented(&mut self, headers: &Headers, view: &PoolView, context: &mut dyn Context<P>) {
        let Network::Ipv4(ipv4) = &headers.network else { return self.packets.clear() };
        let header = Udp::parse(&self.payload, 0..self.payload.len()).ok();
        let Some(udp) = header else {
            self.counters.drop_fragment_malformed += self.packets.len() as u64;
            return self.packets.clear();
        };
        if udp.dst_port != self.state.address().service_port {
            // None of the pool's: it goes on unharmed.
            return self.packets.drain(..).for_each(|packet| context.emit(packet));
        }
        if !checksum_ok(&udp, ipv4, &self.payload) {
            self.counters.drop_fragment_bad_checksum += self.packets.len() as u64;
            return self.packets.clear();
        }
        let Some((frame, _)) = Frame::parse(&self.payload[udp.payload.clone()]) else {
            self.counters.drop_bad_frame += 1;
            return self.packets.clear();
        };
        if frame.total != 1 {
            // A request of several datagrams, themselves fragmented: memcached takes none of the kind.
            self.counters.drop_datagram_malformed += 1;
            return self.packets.clear();
        }
        let source =
            self.packets.first().map(|packet| client(packet.bytes(), u32::from(ipv4.src), udp.src_port));
        let Some(mut client) = source else { return };
        if !self.admits(client.ip, client.port) {
            return self.packets.clear();
        }
        client.request_id = frame.request_id;
        self.payload.truncate(udp.payload.end);
        self.payload.drain(..udp::HEADER_LEN + crate::protocol::udp::FRAME_LEN);
        self.whole_request(client, view, context);
    }

    pub(super) fn expire_pieces(&mut self, now: Nanos) {
        let mut expired = 0;
        self.fragments.expire(now, |_| expired += 1);
        self.counters.drop_fragment_expired += expired;
        self.counters.drop_datagram_expired += self.datagrams.expire(now) as u64;
    }
}

/// Whether the UDP checksum over `payload`, a datagram put together, is right or absent.
fn checksum_ok(udp: &Udp, ipv4: &Ipv4, payload: &[u8]) -> bool {
    let datagram = &payload[udp.datagram()];
    let pseudo = pseudo_v4(ipv4.src, ipv4.dst, udp::PROTOCOL, datagram.len() as u16);
    udp.checksum == 0 || pseudo.then_bytes(datagram).value() == 0xffff
}

fn count(counters: &mut super::PoolCounters, reason: FragmentError) {
    *match reason {
        FragmentError::Overlap => &mut counters.drop_fragment_overlap,
        FragmentError::Evicted | FragmentError::TimedOut => &mut counters.drop_fragment_expired,
        _ => &mut counters.drop_fragment_malformed,
    } += 1;
}
