//! Building and reading frames: Ethernet, 802.1Q, IPv4 with fragments, UDP.
//!
//! The builders build what they are told, right or wrong: most of their use is frames that no kernel would send.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::str::FromStr;

/// EtherTypes.
pub mod ethertype {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// 802.1Q VLAN tag.
    pub const VLAN: u16 = 0x8100;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// Local experimental EtherType 1 (IEEE 802).
    pub const EXPERIMENTAL: u16 = 0x88b5;
}

const UDP: u8 = 17;
const IPV4_HEADER: usize = 20;
const UDP_HEADER: usize = 8;

/// A MAC address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut mac = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut mac {
            let part = parts.next().ok_or("a MAC address has six parts")?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| "a MAC address is hexadecimal")?;
        }
        if parts.next().is_some() { Err("a MAC address has six parts") } else { Ok(Mac(mac)) }
    }
}

/// The Internet checksum (RFC 1071) of `bytes`.
pub fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The head of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Ethernet {
    /// Destination.
    pub to: Mac,
    /// Source.
    pub from: Mac,
    /// 802.1Q tag (priority, DEI and VLAN id), if any.
    pub vlan: Option<u16>,
}

impl Ethernet {
    /// A frame with this head, an EtherType and a payload; not padded.
    pub fn frame(&self, ethertype: u16, payload: &[u8]) -> Vec<u8> {
        let mut frame = [self.to.0, self.from.0].concat();
        if let Some(tag) = self.vlan {
            frame.extend(ethertype::VLAN.to_be_bytes());
            frame.extend(tag.to_be_bytes());
        }
        frame.extend(ethertype.to_be_bytes());
        frame.extend(payload);
        frame
    }
}

/// A UDP datagram to be built.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// Source address and port, spoofed or not.
    pub from: SocketAddrV4,
    /// Destination address and port.
    pub to: SocketAddrV4,
    /// IPv4 identification, which fragments share.
    pub id: u16,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Datagram {
    /// UDP header and payload, with a right checksum.
    pub fn udp(&self) -> Vec<u8> {
        let len = (UDP_HEADER + self.payload.len()) as u16;
        let mut udp = Vec::with_capacity(len.into());
        udp.extend(self.from.port().to_be_bytes());
        udp.extend(self.to.port().to_be_bytes());
        udp.extend(len.to_be_bytes());
        udp.extend([0, 0]);
        udp.extend(&self.payload);
        let mut pseudo = [self.from.ip().octets(), self.to.ip().octets()].concat();
        pseudo.extend([0, UDP]);
        pseudo.extend(len.to_be_bytes());
        pseudo.extend(&udp);
        // 0 would mean "no checksum" (RFC 768).
        let sum = match checksum(&pseudo) {
            0 => 0xffff,
            sum => sum,
        };
        udp[6..8].copy_from_slice(&sum.to_be_bytes());
        udp
    }

    /// The whole datagram in one IPv4 packet.
    pub fn packet(&self) -> Vec<u8> {
        self.piece(0, false, &self.udp())
    }

    /// The datagram as IPv4 fragments of at most `mtu` bytes each, first to last.
    pub fn fragments(&self, mtu: usize) -> Vec<Vec<u8>> {
        let udp = self.udp();
        let piece_len = (mtu - IPV4_HEADER) / 8 * 8;
        let count = udp.len().div_ceil(piece_len);
        let pieces = udp.chunks(piece_len).enumerate();
        pieces.map(|(index, piece)| self.piece(index * piece_len, index + 1 < count, piece)).collect()
    }

    /// One fragment: `bytes` at `offset` (a multiple of 8) of the datagram, with or without the flag that says
    /// more follow.
    pub fn piece(&self, offset: usize, more: bool, bytes: &[u8]) -> Vec<u8> {
        Ipv4Packet {
            from: *self.from.ip(),
            to: *self.to.ip(),
            protocol: UDP,
            id: self.id,
            flags_and_offset: u16::from(more) << 13 | (offset / 8) as u16,
        }
        .packet(bytes)
    }
}

/// The head of an IPv4 packet to be built.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4Packet {
    /// Source.
    pub from: Ipv4Addr,
    /// Destination.
    pub to: Ipv4Addr,
    /// Protocol number.
    pub protocol: u8,
    /// Identification.
    pub id: u16,
    /// The 16 bits of flags and fragment offset.
    pub flags_and_offset: u16,
}

impl Ipv4Packet {
    /// A packet with this head and a right header checksum.
    pub fn packet(&self, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0];
        packet.extend(((IPV4_HEADER + payload.len()) as u16).to_be_bytes());
        packet.extend(self.id.to_be_bytes());
        packet.extend(self.flags_and_offset.to_be_bytes());
        packet.extend([64, self.protocol, 0, 0]);
        packet.extend(self.from.octets());
        packet.extend(self.to.octets());
        let sum = checksum(&packet);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend(payload);
        packet
    }
}

/// A captured UDP datagram in one untagged IPv4 packet.
#[derive(Clone, Copy, Debug)]
pub struct UdpView<'a> {
    /// Source MAC address.
    pub mac_from: Mac,
    /// Destination MAC address.
    pub mac_to: Mac,
    /// Source.
    pub from: SocketAddrV4,
    /// Destination.
    pub to: SocketAddrV4,
    /// What it carries; of a first fragment, what is in it.
    pub payload: &'a [u8],
}

impl<'a> UdpView<'a> {
    /// Reads `frame`; `None` if it is anything else, or a fragment that is not the first.
    pub fn parse(frame: &'a [u8]) -> Option<Self> {
        let (head, packet) = frame.split_at_checked(14)?;
        if head[12..] != ethertype::IPV4.to_be_bytes() || packet.first()? >> 4 != 4 {
            return None;
        }
        let header_len = usize::from(packet[0] & 15) * 4;
        let total_len = usize::from(u16::from_be_bytes(packet.get(2..4)?.try_into().ok()?));
        let header = packet.get(..header_len).filter(|header| header.len() >= IPV4_HEADER)?;
        let first = u16::from_be_bytes([header[6], header[7]]) & 0x1fff == 0;
        let udp = packet.get(header_len..total_len).filter(|udp| udp.len() >= UDP_HEADER)?;
        if header[9] != UDP || !first {
            return None;
        }
        let address = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
        let port = |at: usize| u16::from_be_bytes([udp[at], udp[at + 1]]);
        let mac = |at: usize| Mac(std::array::from_fn(|byte| head[at + byte]));
        Some(Self {
            mac_to: mac(0),
            mac_from: mac(6),
            from: SocketAddrV4::new(address(12), port(0)),
            to: SocketAddrV4::new(address(16), port(2)),
            payload: &udp[UDP_HEADER..],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(len: usize) -> Datagram {
        let from = SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 1), 40000);
        let to = SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 100), 11211);
        Datagram { from, to, id: 7, payload: (0..len).map(|byte| byte as u8).collect() }
    }

    #[test]
    fn checksum_of_the_example_in_rfc_1071() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    }

    #[test]
    fn a_built_datagram_reads_back() {
        let datagram = datagram(33);
        let head = Ethernet { to: Mac([2; 6]), from: Mac([4; 6]), vlan: None };
        let frame = head.frame(ethertype::IPV4, &datagram.packet());
        let view = UdpView::parse(&frame).expect("it is a UDP datagram");
        assert_eq!((view.mac_to, view.mac_from), (head.to, head.from));
        assert_eq!((view.from, view.to), (datagram.from, datagram.to));
        assert_eq!(view.payload, datagram.payload);
        assert_eq!(checksum(&frame[14..34]), 0);
    }

    #[test]
    fn fragments_hold_the_whole_datagram() {
        let datagram = datagram(4000);
        let mut joined: Vec<u8> = Vec::new();
        let fragments = datagram.fragments(1500);
        for (index, fragment) in fragments.iter().enumerate() {
            let field = u16::from_be_bytes([fragment[6], fragment[7]]);
            assert_eq!(usize::from(field & 0x1fff) * 8, joined.len());
            assert_eq!(field & 0x2000 != 0, index + 1 < fragments.len());
            assert!(fragment.len() <= 1500);
            joined.extend(&fragment[20..]);
        }
        assert_eq!(joined, datagram.udp());
    }

    #[test]
    fn macs_print_and_parse() {
        let mac = Mac([0x02, 0, 0xab, 0x77, 0, 0x0b]);
        assert_eq!(mac.to_string().parse(), Ok(mac));
        assert!("02:00:00".parse::<Mac>().is_err());
        assert!("02:00:00:00:00:00:00".parse::<Mac>().is_err());
    }
}
