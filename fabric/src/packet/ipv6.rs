//! IPv6 headers and the extension headers that stand before the transport (RFC 8200).

use std::net::Ipv6Addr;
use std::ops::Range;

use super::Malformed;
use super::ipv4::Fragmentation;

/// Bytes of the fixed header.
pub const HEADER_LEN: usize = 40;
/// Extension headers that are followed; a datagram with more is malformed.
pub const MAX_EXTENSIONS: usize = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// A valid IPv6 header and what its extension headers say; all lengths lie inside the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6 {
    /// From whom.
    pub src: Ipv6Addr,
    /// For whom.
    pub dst: Ipv6Addr,
    /// What follows the extension headers: the IANA protocol number.
    pub protocol: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Bytes up to what follows: 40 and the extension headers.
    pub header_len: usize,
    /// Bytes from the fixed header on; Ethernet padding is not part of it.
    pub total_len: usize,
    /// What the fragment header says, if there is one.
    pub fragment: Option<Fragmentation>,
}

impl Ipv6 {
    /// Reads the headers. `bytes` run from the fixed header to the frame's end.
    ///
    /// # Errors
    /// [`Malformed`] if version or lengths cannot be. Jumbograms (RFC 2675) are malformed too.
    pub fn parse(bytes: &[u8]) -> Result<Ipv6, Malformed> {
        let header = bytes.first_chunk::<HEADER_LEN>().ok_or(Malformed::Ipv6Truncated)?;
        if header[0] >> 4 != 6 {
            return Err(Malformed::Ipv6Version);
        }
        let total_len = HEADER_LEN + usize::from(u16::from_be_bytes([header[4], header[5]]));
        let datagram = bytes.get(..total_len).ok_or(Malformed::Ipv6PayloadLength)?;
        let mut ipv6 = Ipv6 {
            src: Ipv6Addr::from(std::array::from_fn::<u8, 16, _>(|byte| header[8 + byte])),
            dst: Ipv6Addr::from(std::array::from_fn::<u8, 16, _>(|byte| header[24 + byte])),
            protocol: header[6],
            hop_limit: header[7],
            header_len: HEADER_LEN,
            total_len,
            fragment: None,
        };
        ipv6.skip_extensions(datagram)?;
        Ok(ipv6)
    }

    fn skip_extensions(&mut self, datagram: &[u8]) -> Result<(), Malformed> {
        for _ in 0..MAX_EXTENSIONS {
            if !matches!(self.protocol, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS) {
                return Ok(());
            }
            let rest = &datagram[self.header_len..];
            let extension = rest.first_chunk::<8>().ok_or(Malformed::Ipv6ExtensionTruncated)?;
            let mut len = 8 + usize::from(extension[1]) * 8;
            if self.protocol == FRAGMENT {
                len = 8;
                self.fragment = Some(fragmentation(extension));
            }
            if len > rest.len() {
                return Err(Malformed::Ipv6ExtensionTruncated);
            }
            self.protocol = extension[0];
            self.header_len += len;
            if self.is_fragment() {
                // What follows in a later fragment is data, whatever its first byte looks like.
                return Ok(());
            }
        }
        Err(Malformed::Ipv6ExtensionCount)
    }

    /// Whether this is a part of a datagram. A fragment header on a whole datagram (RFC 6946) does not make it one.
    pub fn is_fragment(&self) -> bool {
        self.fragment.is_some_and(Fragmentation::is_fragment)
    }

    /// Writes the fixed header, with `protocol` right behind it.
    ///
    /// # Panics
    /// If `bytes` are fewer than [`HEADER_LEN`], or there are extension headers.
    pub fn write(&self, bytes: &mut [u8]) {
        assert_eq!(self.header_len, HEADER_LEN, "extension headers are not written");
        bytes[..4].copy_from_slice(&[0x60, 0, 0, 0]);
        bytes[4..6].copy_from_slice(&((self.total_len - HEADER_LEN) as u16).to_be_bytes());
        bytes[6..8].copy_from_slice(&[self.protocol, self.hop_limit]);
        bytes[8..24].copy_from_slice(&self.src.octets());
        bytes[24..40].copy_from_slice(&self.dst.octets());
    }

    /// Where the payload lies in a frame whose IPv6 header is at `l3_offset`.
    pub fn payload(&self, l3_offset: usize) -> Range<usize> {
        l3_offset + self.header_len..l3_offset + self.total_len
    }
}

fn fragmentation(extension: &[u8; 8]) -> Fragmentation {
    let [_, _, o0, o1, i0, i1, i2, i3] = *extension;
    let offset = u16::from_be_bytes([o0, o1]);
    Fragmentation {
        id: u32::from_be_bytes([i0, i1, i2, i3]),
        offset: u32::from(offset & 0xfff8),
        more: offset & 1 == 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let header = Ipv6 {
            src: Ipv6Addr::LOCALHOST,
            dst: "fe80::1".parse().unwrap(),
            protocol,
            hop_limit: 64,
            header_len: HEADER_LEN,
            total_len: HEADER_LEN + payload.len(),
            fragment: None,
        };
        let mut bytes = vec![0; HEADER_LEN];
        header.write(&mut bytes);
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn extensions_are_skipped() {
        let mut extensions = vec![ROUTING, 0, 0, 0, 0, 0, 0, 0]; // hop by hop
        extensions.extend([DESTINATION_OPTIONS, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]); // routing
        extensions.extend([17, 0, 1, 4, 0, 0, 0, 0]); // destination options
        extensions.extend([0; 8]);
        let ipv6 = Ipv6::parse(&datagram(HOP_BY_HOP, &extensions)).unwrap();
        assert_eq!((ipv6.protocol, ipv6.header_len, ipv6.total_len), (17, 72, 80));
        assert_eq!(ipv6.src, Ipv6Addr::LOCALHOST);
        assert_eq!(ipv6.payload(14), 86..94);
    }

    #[test]
    fn a_fragment_hides_what_follows() {
        let fragment = [HOP_BY_HOP, 0, 0x05, 0xa9, 0, 0, 0x12, 0x34];
        let ipv6 = Ipv6::parse(&datagram(FRAGMENT, &fragment)).unwrap();
        assert_eq!(ipv6.fragment, Some(Fragmentation { id: 0x1234, offset: 0x5a8, more: true }));
        assert_eq!((ipv6.protocol, ipv6.header_len), (HOP_BY_HOP, 48));
        assert!(ipv6.is_fragment());

        let whole = [17, 0, 0, 0, 0, 0, 0x12, 0x34];
        assert!(!Ipv6::parse(&datagram(FRAGMENT, &whole)).unwrap().is_fragment());
    }

    #[test]
    fn what_cannot_be() {
        let good = datagram(17, &[0; 8]);
        assert_eq!(Ipv6::parse(&good[..39]), Err(Malformed::Ipv6Truncated));
        assert_eq!(Ipv6::parse(&good[..47]), Err(Malformed::Ipv6PayloadLength));
        let mut version = good.clone();
        version[0] = 0x45;
        assert_eq!(Ipv6::parse(&version), Err(Malformed::Ipv6Version));
        let table = [
            (datagram(HOP_BY_HOP, &[17, 0, 0]), Malformed::Ipv6ExtensionTruncated),
            (datagram(HOP_BY_HOP, &[17, 1, 0, 0, 0, 0, 0, 0]), Malformed::Ipv6ExtensionTruncated),
            (datagram(HOP_BY_HOP, &[]), Malformed::Ipv6ExtensionTruncated),
            (
                datagram(DESTINATION_OPTIONS, &[60, 0, 1, 4, 0, 0, 0, 0].repeat(8)),
                Malformed::Ipv6ExtensionCount,
            ),
        ];
        for (bytes, reason) in table {
            assert_eq!(Ipv6::parse(&bytes), Err(reason));
        }
    }
}
