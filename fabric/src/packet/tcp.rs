//! TCP headers (RFC 9293).

use std::ops::Range;

use super::Malformed;

/// Bytes of a header without options.
pub const HEADER_LEN: usize = 20;
/// TCP's protocol number.
pub const PROTOCOL: u8 = 6;

/// The control bits of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(pub u8);

impl Flags {
    /// No more data from the sender.
    pub const FIN: Flags = Flags(0x01);
    /// Begins a connection.
    pub const SYN: Flags = Flags(0x02);
    /// Ends a connection at once.
    pub const RST: Flags = Flags(0x04);
    /// Asks the receiver to hand data on.
    pub const PSH: Flags = Flags(0x08);
    /// The acknowledgement number counts.
    pub const ACK: Flags = Flags(0x10);

    /// Whether all of `flags` are set.
    pub fn contains(self, flags: Flags) -> bool {
        self.0 & flags.0 == flags.0
    }
}

/// A valid TCP header and where its payload lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// The sender's port.
    pub src_port: u16,
    /// The receiver's port.
    pub dst_port: u16,
    /// The number of the payload's first byte.
    pub seq: u32,
    /// The next byte that the sender of this segment expects.
    pub ack: u32,
    /// The control bits.
    pub flags: Flags,
    /// The payload's place in the bytes that were read.
    pub payload: Range<usize>,
}

impl Tcp {
    /// Reads the header at the start of `l4`, a range of `bytes`.
    ///
    /// # Errors
    /// [`Malformed`] if the header or its data offset does not fit.
    ///
    /// # Panics
    /// If `l4` is not inside `bytes`.
    pub fn parse(bytes: &[u8], l4: Range<usize>) -> Result<Tcp, Malformed> {
        let segment = &bytes[l4.clone()];
        let header = segment.first_chunk::<HEADER_LEN>().ok_or(Malformed::TcpTruncated)?;
        let header_len = usize::from(header[12] >> 4) * 4;
        if header_len < HEADER_LEN || header_len > segment.len() {
            return Err(Malformed::TcpDataOffset);
        }
        let word = |at: usize| u32::from_be_bytes(std::array::from_fn(|byte| header[at + byte]));
        Ok(Tcp {
            src_port: (word(0) >> 16) as u16,
            dst_port: word(0) as u16,
            seq: word(4),
            ack: word(8),
            flags: Flags(header[13]),
            payload: l4.start + header_len..l4.end,
        })
    }
}
