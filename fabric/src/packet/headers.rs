//! All headers of a frame, in one pass.

use std::ops::Range;

use super::arp::Arp;
use super::checksum::{Sum, pseudo_v4, pseudo_v6};
use super::ethernet::Ethernet;
use super::ipv4::Ipv4;
use super::ipv6::Ipv6;
use super::tcp::{self, Tcp};
use super::udp::{self, Udp};
use super::{EtherType, Malformed};

/// What a frame says up to its transport header. Every offset and range is one of the frame's, and inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headers {
    /// The VLAN id of the outermost tag, if there is one.
    pub vlan: Option<u16>,
    /// What follows the tags.
    pub ethertype: EtherType,
    /// Where that begins.
    pub l3_offset: usize,
    /// The network header.
    pub network: Network,
    /// The transport header.
    pub transport: Transport,
}

/// The header behind the Ethernet header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// IPv4.
    Ipv4(Ipv4),
    /// IPv6.
    Ipv6(Ipv6),
    /// ARP for IPv4 over Ethernet.
    Arp(Arp),
    /// Something that is not looked into.
    Other,
}

/// The header behind the IP header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// UDP.
    Udp(Udp),
    /// TCP.
    Tcp(Tcp),
    /// A fragment of an IP datagram, the first one included.
    Fragment,
    /// Something that is not looked into, or nothing.
    Other,
}

impl Headers {
    /// Reads all headers of `frame`.
    ///
    /// # Errors
    /// [`Malformed`] if a header that is looked into contradicts itself or the frame's length.
    pub fn parse(frame: &[u8]) -> Result<Headers, Malformed> {
        let ethernet = Ethernet::parse(frame)?;
        let l3 = &frame[ethernet.l3_offset..];
        let network = match ethernet.ethertype {
            EtherType::IPV4 => Network::Ipv4(Ipv4::parse(l3)?),
            EtherType::IPV6 => Network::Ipv6(Ipv6::parse(l3)?),
            EtherType::ARP => Arp::parse(l3)?.map_or(Network::Other, Network::Arp),
            _ => Network::Other,
        };
        let transport = Transport::parse(frame, ethernet.l3_offset, &network)?;
        Ok(Headers {
            vlan: ethernet.vlan,
            ethertype: ethernet.ethertype,
            l3_offset: ethernet.l3_offset,
            network,
            transport,
        })
    }

    /// The IP payload: what follows the IP headers, without Ethernet padding. `None` if this is not IP.
    pub fn ip_payload(&self) -> Option<Range<usize>> {
        match &self.network {
            Network::Ipv4(ipv4) => Some(ipv4.payload(self.l3_offset)),
            Network::Ipv6(ipv6) => Some(ipv6.payload(self.l3_offset)),
            Network::Arp(_) | Network::Other => None,
        }
    }

    /// Whether the UDP or TCP checksum is right. A UDP datagram over IPv4 without a checksum is taken as right
    /// (RFC 768), over IPv6 as wrong (RFC 8200, section 8.1). What has no such header is right.
    ///
    /// # Panics
    /// If `frame` is shorter than the frame these headers were read from.
    pub fn transport_checksum_ok(&self, frame: &[u8]) -> bool {
        let (protocol, l4) = match &self.transport {
            Transport::Udp(udp) if udp.checksum == 0 => return matches!(self.network, Network::Ipv4(_)),
            Transport::Udp(udp) => (udp::PROTOCOL, udp.datagram()),
            Transport::Tcp(_) => (tcp::PROTOCOL, self.ip_payload().unwrap_or_default()),
            Transport::Fragment | Transport::Other => return true,
        };
        let pseudo = match &self.network {
            Network::Ipv4(ipv4) => pseudo_v4(ipv4.src, ipv4.dst, protocol, l4.len() as u16),
            Network::Ipv6(ipv6) => pseudo_v6(ipv6.src, ipv6.dst, protocol, l4.len() as u32),
            Network::Arp(_) | Network::Other => Sum::EMPTY,
        };
        pseudo.then_bytes(&frame[l4]).value() == 0xffff
    }
}

impl Transport {
    fn parse(frame: &[u8], l3_offset: usize, network: &Network) -> Result<Transport, Malformed> {
        let (protocol, fragment, l4) = match network {
            Network::Ipv4(ipv4) => (ipv4.protocol, ipv4.fragment.is_fragment(), ipv4.payload(l3_offset)),
            Network::Ipv6(ipv6) => (ipv6.protocol, ipv6.is_fragment(), ipv6.payload(l3_offset)),
            Network::Arp(_) | Network::Other => return Ok(Transport::Other),
        };
        match protocol {
            _ if fragment => Ok(Transport::Fragment),
            udp::PROTOCOL => Udp::parse(frame, l4).map(Transport::Udp),
            tcp::PROTOCOL => Tcp::parse(frame, l4).map(Transport::Tcp),
            _ => Ok(Transport::Other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::ipv4::{Fragmentation, header_checksum_ok};
    use crate::packet::tcp::Flags;
    use proptest::prelude::*;

    /// A TCP SYN from Linux, from 192.168.1.10:51234 to 192.168.1.20:11211, tagged with VLAN 100.
    #[rustfmt::skip]
    const SYN: [u8; 78] = [
        0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1, 0x81, 0x00, 0x00, 0x64, 0x08, 0x00,
        0x45, 0x00, 0x00, 0x3c, 0x1c, 0x46, 0x40, 0x00, 0x40, 0x06, 0x9b, 0x07, 192, 168, 1, 10, 192, 168, 1, 20,
        0xc8, 0x22, 0x2b, 0xcb, 0x01, 0x02, 0x03, 0x04, 0, 0, 0, 0, 0xa0, 0x02, 0xfa, 0xf0, 0xd1, 0xab, 0, 0,
        0x02, 0x04, 0x05, 0xb4, 0x04, 0x02, 0x08, 0x0a, 0, 0, 0, 1, 0, 0, 0, 0, 0x01, 0x03, 0x03, 0x07,
    ];

    /// A DNS-like query over IPv6: ::1 port 40000 to ::1 port 53, four bytes, padded to 70.
    #[rustfmt::skip]
    fn udp6() -> Vec<u8> {
        let mut frame = vec![0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1, 0x86, 0xdd];
        frame.extend([0x60, 0, 0, 0, 0, 12, 17, 64]);
        for _ in 0..2 {
            frame.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        }
        frame.extend([0x9c, 0x40, 0x00, 0x35, 0, 12, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0]);
        let sum = pseudo_v6(std::net::Ipv6Addr::LOCALHOST, std::net::Ipv6Addr::LOCALHOST, 17, 12);
        let checksum = sum.then_bytes(&frame[54..66]).udp_checksum();
        frame[60..62].copy_from_slice(&checksum.to_be_bytes());
        frame
    }

    #[test]
    fn tcp_over_ipv4_in_a_vlan() {
        let headers = Headers::parse(&SYN).unwrap();
        assert_eq!((headers.vlan, headers.ethertype, headers.l3_offset), (Some(100), EtherType::IPV4, 18));
        let Transport::Tcp(tcp) = &headers.transport else { panic!("{headers:?}") };
        assert_eq!((tcp.src_port, tcp.dst_port, tcp.seq, tcp.flags), (51234, 11211, 0x0102_0304, Flags::SYN));
        assert_eq!(tcp.payload, 78..78);
        assert!(tcp.flags.contains(Flags::SYN) && !tcp.flags.contains(Flags::ACK));
    }

    #[test]
    fn the_tcp_checksum() {
        let mut frame = SYN;
        let headers = Headers::parse(&frame).unwrap();
        assert!(header_checksum_ok(&frame[18..]));
        assert!(headers.transport_checksum_ok(&frame));
        frame[77] ^= 1;
        assert!(!headers.transport_checksum_ok(&frame));
    }

    #[test]
    fn udp_over_ipv6_with_padding() {
        let mut frame = udp6();
        let headers = Headers::parse(&frame).unwrap();
        let Transport::Udp(udp) = &headers.transport else { panic!("{headers:?}") };
        assert_eq!((udp.src_port, udp.dst_port, udp.payload.clone()), (40000, 53, 62..66));
        assert!(headers.transport_checksum_ok(&frame));
        frame[60..62].fill(0);
        let headers = Headers::parse(&frame).unwrap();
        assert!(!headers.transport_checksum_ok(&frame), "IPv6 has no header checksum to do without");
    }

    #[test]
    fn a_fragment_has_no_transport() {
        let mut frame = SYN;
        frame[24..26].copy_from_slice(&[0x20, 0x00]);
        let headers = Headers::parse(&frame).unwrap();
        assert_eq!(headers.transport, Transport::Fragment);
        let Network::Ipv4(ipv4) = headers.network else { panic!() };
        assert_eq!(ipv4.fragment, Fragmentation { id: 0x1c46, offset: 0, more: true });
    }

    #[test]
    fn transports_that_cannot_be() {
        let mut tcp = SYN;
        tcp[50] = 0x40;
        assert_eq!(Headers::parse(&tcp), Err(Malformed::TcpDataOffset));
        tcp[50] = 0xb0;
        assert_eq!(Headers::parse(&tcp), Err(Malformed::TcpDataOffset));
        tcp[21] = 39;
        assert_eq!(Headers::parse(&tcp), Err(Malformed::TcpTruncated));

        for (length, reason) in [(7, Malformed::UdpLength), (13, Malformed::UdpLength)] {
            let mut udp = udp6();
            udp[59] = length;
            assert_eq!(Headers::parse(&udp), Err(reason));
        }
        let mut udp = udp6();
        udp[19] = 7;
        assert_eq!(Headers::parse(&udp), Err(Malformed::UdpTruncated));
    }

    #[test]
    fn an_802_3_frame_is_other() {
        let mut frame = [0_u8; 60];
        frame[13] = 46;
        let headers = Headers::parse(&frame).unwrap();
        assert_eq!((headers.network, headers.transport), (Network::Other, Transport::Other));
    }

    /// Any bytes, but often with a beginning that leads the parser somewhere.
    fn frames() -> impl Strategy<Value = Vec<u8>> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..200);
        let changed = |frame: Vec<u8>| {
            let edits = prop::collection::vec((0..frame.len(), any::<u8>()), 0..6);
            (Just(frame), edits, 0_usize..80).prop_map(|(mut frame, edits, len)| {
                for (at, value) in edits {
                    frame[at] = value;
                }
                frame.truncate(len.max(8));
                frame
            })
        };
        prop_oneof![bytes(), changed(SYN.to_vec()), changed(udp6())]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn whatever_is_read_lies_inside(frame in frames()) {
            if let Ok(headers) = Headers::parse(&frame) {
                prop_assert!(headers.l3_offset <= frame.len());
                if let Some(payload) = headers.ip_payload() {
                    prop_assert!(payload.start <= payload.end && payload.end <= frame.len());
                }
                match &headers.transport {
                    Transport::Udp(Udp { payload, .. }) | Transport::Tcp(Tcp { payload, .. }) => {
                        prop_assert!(payload.start <= payload.end && payload.end <= frame.len());
                    }
                    Transport::Fragment | Transport::Other => {}
                }
                headers.transport_checksum_ok(&frame);
            }
        }
    }
}
