//! IPv4 headers (RFC 791).

use std::net::Ipv4Addr;
use std::ops::Range;

use super::Malformed;
use super::checksum::Sum;

/// Bytes of a header without options.
pub const HEADER_LEN: usize = 20;
/// The most bytes that a datagram can have, header included.
pub const MAX_LEN: usize = 65_535;

/// Where a fragment belongs. A datagram that is whole has offset 0 and no more to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragmentation {
    /// The identification shared by all fragments of a datagram (16 bits in IPv4, 32 in IPv6).
    pub id: u32,
    /// Where the payload belongs in the datagram's payload, in bytes.
    pub offset: u32,
    /// Whether more follows behind it.
    pub more: bool,
}

impl Fragmentation {
    /// Whether this is a part of a datagram, not a whole one.
    pub fn is_fragment(self) -> bool {
        self.more || self.offset != 0
    }
}

/// A valid IPv4 header, whose lengths lie inside the frame. The checksum is not checked: see
/// [`header_checksum_ok`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4 {
    /// From whom.
    pub src: Ipv4Addr,
    /// For whom.
    pub dst: Ipv4Addr,
    /// What follows: the IANA protocol number.
    pub protocol: u8,
    /// Time to live.
    pub ttl: u8,
    /// Bytes of the header, options included: 20 to 60.
    pub header_len: usize,
    /// Bytes of the datagram from the header on; Ethernet padding is not part of it.
    pub total_len: usize,
    /// Whether it may not be fragmented.
    pub dont_fragment: bool,
    /// Which part of the datagram this is.
    pub fragment: Fragmentation,
}

impl Ipv4 {
    /// Reads a header. `bytes` run from it to the frame's end.
    ///
    /// # Errors
    /// [`Malformed`] if version or lengths cannot be.
    pub fn parse(bytes: &[u8]) -> Result<Ipv4, Malformed> {
        let header = bytes.first_chunk::<HEADER_LEN>().ok_or(Malformed::Ipv4Truncated)?;
        if header[0] >> 4 != 4 {
            return Err(Malformed::Ipv4Version);
        }
        let header_len = usize::from(header[0] & 0xf) * 4;
        if header_len < HEADER_LEN || header_len > bytes.len() {
            return Err(Malformed::Ipv4HeaderLength);
        }
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let total_len = usize::from(word(2));
        if total_len < header_len || total_len > bytes.len() {
            return Err(Malformed::Ipv4TotalLength);
        }
        let flags = word(6);
        let address = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
        Ok(Ipv4 {
            src: address(12),
            dst: address(16),
            protocol: header[9],
            ttl: header[8],
            header_len,
            total_len,
            dont_fragment: flags & 0x4000 != 0,
            fragment: Fragmentation {
                id: u32::from(word(4)),
                offset: u32::from(flags & 0x1fff) * 8,
                more: flags & 0x2000 != 0,
            },
        })
    }

    /// Writes the header with its checksum; options, if `header_len` has room for them, are no-operations.
    ///
    /// # Panics
    /// If `bytes` are fewer than `header_len`, or `header_len` is not one of 20, 24, to 60.
    pub fn write(&self, bytes: &mut [u8]) {
        assert!((HEADER_LEN..=60).contains(&self.header_len) && self.header_len.is_multiple_of(4));
        let header = &mut bytes[..self.header_len];
        header.fill(1);
        let flags = (self.fragment.offset / 8) as u16
            | u16::from(self.fragment.more) << 13
            | u16::from(self.dont_fragment) << 14;
        header[0] = 0x40 | (self.header_len / 4) as u8;
        header[1] = 0;
        header[2..4].copy_from_slice(&(self.total_len as u16).to_be_bytes());
        header[4..6].copy_from_slice(&(self.fragment.id as u16).to_be_bytes());
        header[6..8].copy_from_slice(&flags.to_be_bytes());
        header[8] = self.ttl;
        header[9] = self.protocol;
        header[10..12].fill(0);
        header[12..16].copy_from_slice(&self.src.octets());
        header[16..20].copy_from_slice(&self.dst.octets());
        let checksum = Sum::of(header).checksum();
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
    }

    /// Where the payload lies in a frame whose IPv4 header is at `l3_offset`.
    pub fn payload(&self, l3_offset: usize) -> Range<usize> {
        l3_offset + self.header_len..l3_offset + self.total_len
    }
}

/// Whether the checksum of the header at the start of `bytes` is right.
pub fn header_checksum_ok(bytes: &[u8]) -> bool {
    let header_len = bytes.first().map_or(0, |first| usize::from(first & 0xf) * 4);
    bytes
        .get(..header_len)
        .is_some_and(|header| header_len >= HEADER_LEN && Sum::of(header).value() == 0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From RFC 1071's best known example: the checksum is 0xb861.
    const HEADER: [u8; 20] = [
        0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01, 0xc0,
        0xa8, 0x00, 0xc7,
    ];

    fn with_room() -> [u8; 0x73] {
        let mut bytes = [0; 0x73];
        bytes[..20].copy_from_slice(&HEADER);
        bytes
    }

    #[test]
    fn real_bytes() {
        let ipv4 = Ipv4::parse(&with_room()).unwrap();
        assert_eq!(ipv4.src, Ipv4Addr::new(192, 168, 0, 1));
        assert_eq!(ipv4.dst, Ipv4Addr::new(192, 168, 0, 199));
        assert_eq!((ipv4.protocol, ipv4.ttl, ipv4.header_len, ipv4.total_len), (17, 64, 20, 0x73));
        assert!(ipv4.dont_fragment && !ipv4.fragment.is_fragment());
        assert!(header_checksum_ok(&HEADER));
        let mut written = [0; 20];
        ipv4.write(&mut written);
        assert_eq!(written, HEADER);
    }

    #[test]
    fn a_wrong_bit_is_seen_by_the_checksum() {
        for bit in 0..160 {
            let mut header = HEADER;
            header[bit / 8] ^= 1 << (bit % 8);
            assert!(!header_checksum_ok(&header), "bit {bit}");
        }
        assert!(!header_checksum_ok(&[]));
        assert!(!header_checksum_ok(&[0; 20]));
    }

    #[test]
    fn what_cannot_be() {
        let table: [(usize, u8, Malformed); 6] = [
            (0, 0x55, Malformed::Ipv4Version),
            (0, 0x44, Malformed::Ipv4HeaderLength),
            (3, 0x74, Malformed::Ipv4TotalLength),
            (2, 0x01, Malformed::Ipv4TotalLength),
            (3, 0x13, Malformed::Ipv4TotalLength),
            (3, 0x00, Malformed::Ipv4TotalLength),
        ];
        for (at, value, reason) in table {
            let mut bytes = with_room();
            bytes[at] = value;
            assert_eq!(Ipv4::parse(&bytes), Err(reason), "{at} {value}");
        }
        assert_eq!(Ipv4::parse(&HEADER[..19]), Err(Malformed::Ipv4Truncated));
        let mut options_cut = HEADER;
        options_cut[0] = 0x46;
        assert_eq!(Ipv4::parse(&options_cut), Err(Malformed::Ipv4HeaderLength));
    }

    #[test]
    fn fragments() {
        let mut bytes = with_room();
        bytes[4..8].copy_from_slice(&[0x12, 0x34, 0x20, 0xb9]);
        let fragment = Ipv4::parse(&bytes).unwrap().fragment;
        assert_eq!(fragment, Fragmentation { id: 0x1234, offset: 1480, more: true });
        assert!(fragment.is_fragment());
    }
}
