//! The commonest frame, read fast: UDP over IPv4 without options or fragmentation, in at most one 802.1Q tag.
//!
//! [`Udp4::parse`] is a handful of loads and branches. Whatever it does not take (options, fragments, other
//! protocols, lengths that disagree) is left to [`Headers`](super::Headers). It checks no checksums:
//! [`Udp4::checksums_ok`] does, for those who act on the payload.

use super::checksum::{Sum, fold, or_all_ones};
use super::ethernet::{HEADER_LEN as ETHERNET, MacAddr, TAG_LEN, set_destination, set_source};
use super::{ipv4, udp};

/// Bytes of the IPv4 and the UDP header.
pub const IP_AND_UDP: usize = ipv4::HEADER_LEN + udp::HEADER_LEN;
/// Bytes of all headers of an untagged frame.
pub const HEADERS_LEN: usize = ETHERNET + IP_AND_UDP;
/// Bytes of all headers of a tagged frame.
pub const TAGGED_HEADERS_LEN: usize = HEADERS_LEN + TAG_LEN;
/// The time to live of answers.
pub const TTL: u8 = 64;

const IPV4: u16 = 0x0800;
const VLAN: u16 = 0x8100;
const DONT_FRAGMENT: u16 = 0x4000;

/// A UDP datagram over IPv4: whose, and where its payload is. Its lengths agree and lie inside the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Udp4 {
    /// The VLAN id; 0 without a tag, or with one that carries priority only.
    pub vlan: u16,
    /// Where the IPv4 header begins: 14, or 18 with a tag.
    pub l3: usize,
    /// The sender's address, as [`u32::from`] makes it of an [`Ipv4Addr`](std::net::Ipv4Addr).
    pub src: u32,
    /// The receiver's address.
    pub dst: u32,
    /// The sender's port.
    pub src_port: u16,
    /// The receiver's port.
    pub dst_port: u16,
    /// Where the payload begins in the frame.
    pub payload: usize,
    /// Where it ends. Ethernet padding may follow.
    pub end: usize,
}

impl Udp4 {
    /// Reads `frame` if it is of this kind.
    #[inline]
    pub fn parse(frame: &[u8]) -> Option<Udp4> {
        let head = frame.first_chunk::<HEADERS_LEN>()?;
        match be16(head, 12) {
            IPV4 => Udp4::at(frame, ETHERNET, 0),
            VLAN if be16(head, 16) == IPV4 => Udp4::at(frame, ETHERNET + TAG_LEN, be16(head, 14) & 0x0fff),
            _ => None,
        }
    }

    #[inline(always)]
    fn at(frame: &[u8], l3: usize, vlan: u16) -> Option<Udp4> {
        let headers = frame.get(l3..)?.first_chunk::<IP_AND_UDP>()?;
        // Version, header length, type of service, total length, identification, flags and offset.
        let first = be64(headers, 0);
        // Time to live, protocol, checksum, source.
        let second = be64(headers, 8);
        // Ports, UDP length, UDP checksum.
        let ports = be64(headers, ipv4::HEADER_LEN);
        // All flags but "don't fragment" are clear, and so is the offset.
        let not_plain = (first ^ 0x45 << 56) & 0xff00_0000_0000_bfff;
        let not_udp = (second ^ u64::from(udp::PROTOCOL) << 48) & 0x00ff << 48;
        if not_plain | not_udp != 0 {
            return None;
        }
        let total_len = (first >> 32) as usize & 0xffff;
        let udp_len = (ports >> 16) as usize & 0xffff;
        let end = l3 + total_len;
        if total_len != udp_len + ipv4::HEADER_LEN || total_len < IP_AND_UDP || end > frame.len() {
            return None;
        }
        Some(Udp4 {
            vlan,
            l3,
            src: second as u32,
            dst: be32(headers, 16),
            src_port: (ports >> 48) as u16,
            dst_port: (ports >> 32) as u16,
            payload: l3 + IP_AND_UDP,
            end,
        })
    }

    /// Whether the IPv4 header checksum is right, and the UDP checksum right or absent.
    ///
    /// # Panics
    /// If `frame` is shorter than the frame this was read from.
    #[inline]
    pub fn checksums_ok(&self, frame: &[u8]) -> bool {
        self.header_checksum_ok(frame) && self.udp_checksum_ok(frame)
    }

    /// Whether the IPv4 header checksum is right: a few cycles.
    ///
    /// # Panics
    /// If `frame` is shorter than the frame this was read from.
    #[inline]
    pub fn header_checksum_ok(&self, frame: &[u8]) -> bool {
        let header: &[u8; ipv4::HEADER_LEN] = first_chunk(&frame[self.l3..]);
        let words = [0, 4, 8, 12, 16].map(|at| u64::from(be32(header, at)));
        fold(words.iter().sum()) == 0xffff
    }

    /// Whether the UDP checksum is right or absent: a pass over the payload.
    ///
    /// # Panics
    /// If `frame` is shorter than the frame this was read from.
    #[inline]
    pub fn udp_checksum_ok(&self, frame: &[u8]) -> bool {
        let datagram = &frame[self.l3 + ipv4::HEADER_LEN..self.end];
        let pseudo =
            u64::from(self.src) + u64::from(self.dst) + u64::from(udp::PROTOCOL) + datagram.len() as u64;
        datagram[6..8] == [0, 0] || fold(pseudo + u64::from(Sum::of(datagram).value())) == 0xffff
    }
}

/// What the headers of a new frame are to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Udp4Spec {
    /// The receiving station.
    pub dst_mac: MacAddr,
    /// The sending station.
    pub src_mac: MacAddr,
    /// The VLAN id; 0 for no tag.
    pub vlan: u16,
    /// The sender's address.
    pub src: u32,
    /// The receiver's address.
    pub dst: u32,
    /// The sender's port.
    pub src_port: u16,
    /// The receiver's port.
    pub dst_port: u16,
    /// Time to live; [`TTL`] unless there is a reason.
    pub ttl: u8,
    /// The identification. It says nothing, since the datagram may not be fragmented (RFC 6864).
    pub id: u16,
}

impl Udp4Spec {
    /// Bytes before the payload: 42, or 46 with a tag.
    #[inline]
    pub fn headers_len(&self) -> usize {
        if self.vlan == 0 { HEADERS_LEN } else { TAGGED_HEADERS_LEN }
    }
}

/// Writes Ethernet, IPv4 and UDP headers for a payload of `payload_len` bytes whose sum is `payload`. Returns
/// where the payload belongs. Both checksums are right then; the datagram may not be fragmented.
///
/// # Panics
/// If `frame` has no room for the headers.
#[inline]
pub fn write_headers(frame: &mut [u8], spec: &Udp4Spec, payload_len: usize, payload: Sum) -> usize {
    let l3 = spec.headers_len() - IP_AND_UDP;
    set_destination(frame, spec.dst_mac);
    set_source(frame, spec.src_mac);
    if spec.vlan != 0 {
        frame[12..14].copy_from_slice(&VLAN.to_be_bytes());
        frame[14..16].copy_from_slice(&(spec.vlan & 0x0fff).to_be_bytes());
    }
    frame[l3 - 2..l3].copy_from_slice(&IPV4.to_be_bytes());
    let answer = Datagram {
        src: spec.src,
        dst: spec.dst,
        src_port: spec.src_port,
        dst_port: spec.dst_port,
        ttl: spec.ttl,
        id: spec.id,
    };
    answer.write(&mut frame[l3..], payload_len, payload);
    l3 + IP_AND_UDP
}

/// Turns the headers of the frame that `was` was read from into those of its answer: MACs, addresses and ports
/// swapped, the tag kept, lengths and checksums for a payload of `payload_len` bytes whose sum is `payload`, time
/// to live [`TTL`], not to be fragmented. The payload's place stays [`Udp4::payload`]; the frame's length is the
/// caller's to set.
///
/// # Panics
/// If `frame` is shorter than its headers.
#[inline(always)]
pub fn turn_around(frame: &mut [u8], was: &Udp4, payload_len: usize, payload: Sum) {
    let macs: &mut [u8; 12] = first_chunk_mut(frame);
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5] = *macs;
    *macs = [s0, s1, s2, s3, s4, s5, d0, d1, d2, d3, d4, d5];
    let l3 = &mut frame[was.l3..];
    let answer = Datagram {
        src: was.dst,
        dst: was.src,
        src_port: was.dst_port,
        dst_port: was.src_port,
        ttl: TTL,
        id: u16::from_be_bytes([l3[4], l3[5]]),
    };
    answer.write(l3, payload_len, payload);
}

struct Datagram {
    src: u32,
    dst: u32,
    src_port: u16,
    dst_port: u16,
    ttl: u8,
    id: u16,
}

impl Datagram {
    #[inline(always)]
    fn write(&self, l3: &mut [u8], payload_len: usize, payload: Sum) {
        debug_assert!(payload_len <= ipv4::MAX_LEN - IP_AND_UDP, "a UDP payload of {payload_len} bytes");
        let headers: &mut [u8; IP_AND_UDP] = first_chunk_mut(l3);
        let udp_len = (udp::HEADER_LEN + payload_len) as u16;
        let total_len = (IP_AND_UDP + payload_len) as u16;
        let ttl_and_protocol = u16::from_be_bytes([self.ttl, udp::PROTOCOL]);
        let addresses = u64::from(self.src) + u64::from(self.dst);

        let ip_sum = addresses
            + 0x4500
            + u64::from(total_len)
            + u64::from(self.id)
            + u64::from(DONT_FRAGMENT)
            + u64::from(ttl_and_protocol);
        let first =
            0x4500 << 48 | u64::from(total_len) << 32 | u64::from(self.id) << 16 | u64::from(DONT_FRAGMENT);
        let second = u64::from(ttl_and_protocol) << 48 | u64::from(!fold(ip_sum)) << 32 | u64::from(self.src);

        let udp_sum = addresses
            + u64::from(udp::PROTOCOL)
            + 2 * u64::from(udp_len)
            + u64::from(self.src_port)
            + u64::from(self.dst_port)
            + u64::from(payload.value());
        let ports = u64::from(self.src_port) << 48
            | u64::from(self.dst_port) << 32
            | u64::from(udp_len) << 16
            | u64::from(or_all_ones(!fold(udp_sum)));

        headers[..8].copy_from_slice(&first.to_be_bytes());
        headers[8..16].copy_from_slice(&second.to_be_bytes());
        headers[16..20].copy_from_slice(&self.dst.to_be_bytes());
        headers[20..].copy_from_slice(&ports.to_be_bytes());
    }
}

#[inline(always)]
fn be16(bytes: &[u8; HEADERS_LEN], at: usize) -> u16 {
    u16::from_be_bytes(*first_chunk(&bytes[at..]))
}

#[inline(always)]
fn be32<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes(*first_chunk(&bytes[at..]))
}

#[inline(always)]
fn be64(bytes: &[u8; IP_AND_UDP], at: usize) -> u64 {
    u64::from_be_bytes(*first_chunk(&bytes[at..]))
}

#[inline(always)]
fn first_chunk<const N: usize>(bytes: &[u8]) -> &[u8; N] {
    bytes.first_chunk().expect("the caller knows the length")
}

#[inline(always)]
fn first_chunk_mut<const N: usize>(bytes: &mut [u8]) -> &mut [u8; N] {
    bytes.first_chunk_mut().expect("the caller has made room for the headers")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Headers, Network, Transport};
    use proptest::prelude::*;

    /// `get a` by the memcached UDP protocol, from 10.0.0.1:40000 to 10.0.0.2:11211, padded to 60 bytes.
    #[rustfmt::skip]
    const GET: [u8; 60] = [
        0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1, 0x08, 0x00,
        0x45, 0x00, 0x00, 0x2b, 0xab, 0xcd, 0x40, 0x00, 0x40, 0x11, 0x7a, 0xf2, 10, 0, 0, 1, 10, 0, 0, 2,
        0x9c, 0x40, 0x2b, 0xcb, 0x00, 0x17, 0xdd, 0x1c,
        0x00, 0x01, 0, 0, 0, 1, 0, 0, b'g', b'e', b't', b' ', b'a', b'\r', b'\n', 0, 0, 0,
    ];

    #[test]
    fn a_request() {
        let udp4 = Udp4::parse(&GET).unwrap();
        assert_eq!((udp4.vlan, udp4.l3, udp4.src, udp4.dst), (0, 14, 0x0a00_0001, 0x0a00_0002));
        assert_eq!((udp4.src_port, udp4.dst_port), (40000, 11211));
        assert_eq!(&GET[udp4.payload + 8..udp4.end], b"get a\r\n");
        assert!(udp4.header_checksum_ok(&GET));
        assert!(udp4.udp_checksum_ok(&GET));
    }

    #[test]
    fn what_the_fast_path_leaves_alone() {
        let table: [(usize, u8); 12] = [
            (12, 0x86), // EtherType
            (14, 0x46), // options
            (14, 0x65), // version
            (16, 0x01), // total length past the frame
            (17, 0x2a), // total length that disagrees with UDP
            (17, 0x1b), // total length without room for UDP
            (20, 0x60), // more fragments
            (20, 0x41), // a later fragment
            (21, 0x01), // a later fragment
            (20, 0xc0), // the reserved flag
            (23, 0x06), // TCP
            (39, 0x18), // UDP length
        ];
        for (at, value) in table {
            let mut frame = GET;
            frame[at] = value;
            assert_eq!(Udp4::parse(&frame), None, "byte {at} = {value:#x}");
        }
        let mut short = GET;
        (short[17], short[39]) = (27, 7);
        assert_eq!(Udp4::parse(&short), None, "lengths that agree, without room for a UDP header");
        for len in 0..57 {
            assert_eq!(Udp4::parse(&GET[..len]), None, "{len} bytes");
        }
        assert!(Udp4::parse(&GET[..57]).is_some());
    }

    #[test]
    fn a_tag() {
        let mut frame = GET.to_vec();
        frame.splice(12..12, [0x81, 0x00, 0xa0, 0x07]);
        let udp4 = Udp4::parse(&frame).unwrap();
        assert_eq!((udp4.vlan, udp4.l3, udp4.payload), (7, 18, 46));
        assert!(udp4.checksums_ok(&frame));
        frame.splice(12..12, [0x81, 0x00, 0xa0, 0x07]);
        assert_eq!(Udp4::parse(&frame), None, "two tags");
    }

    #[test]
    fn an_absent_checksum_is_right_and_a_wrong_one_is_not() {
        let mut frame = GET;
        let udp4 = Udp4::parse(&frame).unwrap();
        frame[41] ^= 1;
        assert!(!udp4.checksums_ok(&frame));
        frame[40..42].fill(0);
        assert!(udp4.checksums_ok(&frame));
        frame[24] ^= 1;
        assert!(!udp4.checksums_ok(&frame));
    }

    fn spec() -> impl Strategy<Value = Udp4Spec> {
        (any::<([u8; 6], [u8; 6], u32, u32)>(), 0_u16..4096, any::<(u16, u16, u8, u16)>()).prop_map(
            |((dst_mac, src_mac, src, dst), vlan, (src_port, dst_port, ttl, id))| Udp4Spec {
                dst_mac: MacAddr(dst_mac),
                src_mac: MacAddr(src_mac),
                vlan,
                src,
                dst,
                src_port,
                dst_port,
                ttl,
                id,
            },
        )
    }

    fn build(spec: &Udp4Spec, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0xee; spec.headers_len() + payload.len()];
        let at = write_headers(&mut frame, spec, payload.len(), Sum::of(payload));
        frame[at..].copy_from_slice(payload);
        frame
    }

    proptest! {
        #[test]
        fn written_is_read(spec in spec(), payload in prop::collection::vec(any::<u8>(), 0..1500)) {
            let frame = build(&spec, &payload);
            let udp4 = Udp4::parse(&frame).unwrap();
            prop_assert_eq!((udp4.vlan, udp4.src, udp4.dst), (spec.vlan, spec.src, spec.dst));
            prop_assert_eq!((udp4.src_port, udp4.dst_port), (spec.src_port, spec.dst_port));
            prop_assert_eq!(&frame[udp4.payload..udp4.end], &payload[..]);
            prop_assert!(udp4.checksums_ok(&frame));
        }

        #[test]
        fn the_slow_path_agrees(spec in spec(), payload in prop::collection::vec(any::<u8>(), 0..100), padding in 0_usize..20, edits in prop::collection::vec((0_usize..50, any::<u8>()), 0..3)) {
            let mut frame = build(&spec, &payload);
            frame.resize(frame.len() + padding, 0);
            for (at, value) in edits {
                if let Some(byte) = frame.get_mut(at) {
                    *byte = value;
                }
            }
            let Some(fast) = Udp4::parse(&frame) else { return Ok(()) };
            let slow = Headers::parse(&frame).unwrap();
            let (Network::Ipv4(ipv4), Transport::Udp(udp)) = (&slow.network, &slow.transport) else { panic!("{slow:?}") };
            prop_assert_eq!((fast.vlan, fast.l3), (slow.vlan.unwrap_or(0), slow.l3_offset));
            prop_assert_eq!((fast.src, fast.dst), (ipv4.src.into(), ipv4.dst.into()));
            prop_assert_eq!((fast.src_port, fast.dst_port), (udp.src_port, udp.dst_port));
            prop_assert_eq!(fast.payload..fast.end, udp.payload.clone());
            prop_assert_eq!(fast.udp_checksum_ok(&frame), slow.transport_checksum_ok(&frame));
        }

        #[test]
        fn an_answer(spec in spec(), asked in prop::collection::vec(any::<u8>(), 0..100), answer in prop::collection::vec(any::<u8>(), 0..1400)) {
            let mut frame = build(&spec, &asked);
            let request = Udp4::parse(&frame).unwrap();
            frame.resize(request.payload + answer.len(), 0);
            frame[request.payload..].copy_from_slice(&answer);
            turn_around(&mut frame, &request, answer.len(), Sum::of(&answer));
            let expected = Udp4Spec {
                dst_mac: spec.src_mac,
                src_mac: spec.dst_mac,
                src: spec.dst,
                dst: spec.src,
                src_port: spec.dst_port,
                dst_port: spec.src_port,
                ttl: TTL,
                ..spec
            };
            prop_assert_eq!(frame, build(&expected, &answer));
        }

        #[test]
        fn any_bytes(frame in prop::collection::vec(any::<u8>(), 0..100)) {
            Udp4::parse(&frame);
        }
    }
}
