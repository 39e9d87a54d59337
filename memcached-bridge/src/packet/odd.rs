//! Packets that are no plain UDP: ARP, fragments, IP options, TCP, IPv6.
//!
//! Few of them are the pool's: requests in pieces, replies in pieces, ARP for its address, and what goes straight to a
//! server. The rest is switched on unharmed.

use fabric::function::{Burst, Context};
use fabric::io::PacketBuf;
use fabric::packet::ethernet::Ethernet;
use fabric::packet::ipv4::{Ipv4, header_checksum_ok};
use fabric::packet::{EtherType, Headers, Network, Transport, udp};

use super::request::client;
use super::{MemcachedSwitch, Owner};
use crate::coherence::PoolView;

const ARP: [u8; 2] = [0x08, 0x06];
/// Where an IPv4 header names the source.
const SOURCE_OFFSET: usize = 12;

impl<P: PacketBuf> MemcachedSwitch<P> {
    /// Whether a packet that is no plain UDP needs a longer look: if it is ARP, for the node, touches a server, or claims
    /// to come from the virtual address.
    pub(super) fn odd_owner(&self, frame: &[u8]) -> Option<Owner> {
        let head = frame.first_chunk::<18>()?;
        let is_arp = head[12..14] == ARP || head[16..18] == ARP;
        let for_node = head[..6] == self.pool().node.mac.0;
        (is_arp || for_node || self.touches_server(frame) || self.claims_vip(frame)).then_some(Owner::Odd)
    }

    /// Whether `frame` names the virtual address as its IPv4 source.
    fn claims_vip(&self, frame: &[u8]) -> bool {
        let Ok(ethernet) = Ethernet::parse(frame) else { return false };
        let source = frame.get(ethernet.l3_offset + SOURCE_OFFSET..).and_then(<[u8]>::first_chunk);
        ethernet.ethertype == EtherType::IPV4 && source == Some(&self.state.address().vip.to_be_bytes())
    }

    pub(super) fn odd(
        &mut self,
        slot: usize,
        burst: &mut Burst<P>,
        view: &PoolView,
        context: &mut dyn Context<P>,
    ) {
        let Some(packet) = burst.undecided(slot) else { return };
        let reaches_server = self.touches_server(packet.bytes());
        let Ok(headers) = Headers::parse(packet.bytes()) else {
            // The server may understand what the node does not.
            return if reaches_server {
                self.direct(context.now())
            };
        };
        match &headers.network {
            Network::Arp(request) => self.arp(slot, &headers, request, burst),
            Network::Ipv4(ipv4) if self.is_request_piece(&headers, ipv4) => {
                self.piece(slot, &headers, burst, view, context);
            }
            Network::Ipv4(ipv4) if self.is_forged_reply(&headers, ipv4, packet.bytes()) => {
                self.counters.drop_forged_reply += 1;
                Self::drop_slot(burst, slot);
            }
            Network::Ipv4(ipv4) if self.is_tracked_connection(&headers, ipv4) => {}
            Network::Ipv4(_) | Network::Ipv6(_) if reaches_server && self.is_service(&headers) => {
                self.direct(context.now());
            }
            _ => {}
        }
    }

    fn is_request_piece(&self, headers: &Headers, ipv4: &Ipv4) -> bool {
        let at = self.state.address();
        headers.vlan.unwrap_or(0) == at.vlan
            && u32::from(ipv4.dst) == at.vip
            && ipv4.protocol == udp::PROTOCOL
    }

    /// Whether a packet that no server sent is a reply from the virtual address, or may be, being a fragment.
    fn is_forged_reply(&self, headers: &Headers, ipv4: &Ipv4, frame: &[u8]) -> bool {
        let at = self.state.address();
        let is_reply = match &headers.transport {
            Transport::Udp(udp) => udp.src_port == at.service_port,
            Transport::Fragment => ipv4.protocol == udp::PROTOCOL,
            Transport::Tcp(_) | Transport::Other => false,
        };
        let of_pool = headers.vlan.unwrap_or(0) == at.vlan && u32::from(ipv4.src) == at.vip;
        is_reply && of_pool && !self.is_from_server(frame)
    }

    /// Whether a packet goes to or from the service port of a server, or may, being a fragment.
    fn is_service(&self, headers: &Headers) -> bool {
        let service = self.state.address().service_port;
        match &headers.transport {
            Transport::Udp(udp) => udp.src_port == service || udp.dst_port == service,
            Transport::Tcp(tcp) => {
                (tcp.src_port == service || tcp.dst_port == service) && !tcp.payload.is_empty()
            }
            Transport::Fragment => true,
            Transport::Other => false,
        }
    }

    /// Whether a packet is of a TCP connection between the node itself and a server, whose writes the node notes elsewhere.
    fn is_tracked_connection(&self, headers: &Headers, ipv4: &Ipv4) -> bool {
        let node = self.pool().node.ip;
        let own = ipv4.src == node || ipv4.dst == node;
        self.pool().tracks_tcp && own && matches!(headers.transport, Transport::Tcp(_))
    }

    /// A request to the virtual address with IP options, or a fragment of one.
    fn piece(
        &mut self,
        slot: usize,
        headers: &Headers,
        burst: &mut Burst<P>,
        view: &PoolView,
        context: &mut dyn Context<P>,
    ) {
        let Some(packet) = burst.undecided(slot) else { return };
        if !header_checksum_ok(&packet.bytes()[headers.l3_offset..]) {
            self.counters.drop_bad_checksum += 1;
            return Self::drop_slot(burst, slot);
        }
        match &headers.transport {
            Transport::Fragment => self.fragment(slot, headers, burst, view, context),
            Transport::Udp(udp) if udp.dst_port == self.state.address().service_port => {
                let Some(packet) = burst.take(slot) else { return };
                let Network::Ipv4(ipv4) = headers.network else { return };
                let from = client(packet.bytes(), u32::from(ipv4.src), udp.src_port);
                let valid = headers.transport_checksum_ok(packet.bytes());
                self.datagram(from, packet, (udp.payload.start, udp.payload.end), valid, view, context);
            }
            _ => {}
        }
    }
}
