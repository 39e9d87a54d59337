//! UDP headers (RFC 768).

use std::ops::Range;

use super::Malformed;

/// Bytes of a header.
pub const HEADER_LEN: usize = 8;
/// UDP's protocol number.
pub const PROTOCOL: u8 = 17;

/// A valid UDP header and where its payload lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Udp {
    /// The sender's port.
    pub src_port: u16,
    /// The receiver's port.
    pub dst_port: u16,
    /// The checksum as sent; 0 is none.
    pub checksum: u16,
    /// The payload's place in the bytes that were read.
    pub payload: Range<usize>,
}

impl Udp {
    /// Reads the header at the start of `l4`, a range of `bytes`.
    ///
    /// # Errors
    /// [`Malformed`] if the header or the length it states does not fit.
    ///
    /// # Panics
    /// If `l4` is not inside `bytes`.
    pub fn parse(bytes: &[u8], l4: Range<usize>) -> Result<Udp, Malformed> {
        let datagram = &bytes[l4.clone()];
        let [s0, s1, d0, d1, l0, l1, c0, c1] =
            *datagram.first_chunk::<HEADER_LEN>().ok_or(Malformed::UdpTruncated)?;
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        if len < HEADER_LEN || len > datagram.len() {
            return Err(Malformed::UdpLength);
        }
        Ok(Udp {
            src_port: u16::from_be_bytes([s0, s1]),
            dst_port: u16::from_be_bytes([d0, d1]),
            checksum: u16::from_be_bytes([c0, c1]),
            payload: l4.start + HEADER_LEN..l4.start + len,
        })
    }

    /// Header and payload, as a place in the bytes that were read.
    pub fn datagram(&self) -> Range<usize> {
        self.payload.start - HEADER_LEN..self.payload.end
    }
}
