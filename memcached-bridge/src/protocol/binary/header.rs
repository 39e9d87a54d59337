//! The 24 bytes before every request and reply.

use super::HEADER_LEN;

/// The header of a request or reply, numbers in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// [`MAGIC_REQUEST`](super::MAGIC_REQUEST) or [`MAGIC_RESPONSE`](super::MAGIC_RESPONSE).
    pub magic: u8,
    /// The command.
    pub opcode: u8,
    /// Bytes of the key.
    pub key_len: u16,
    /// Bytes of the extras.
    pub extras_len: u8,
    /// Reserved.
    pub data_type: u8,
    /// The status of a reply; reserved in a request.
    pub status: u16,
    /// Bytes of extras, key and value together.
    pub body_len: u32,
    /// Returned with the reply, unread.
    pub opaque: u32,
    /// The item's CAS; 0 for none.
    pub cas: u64,
}

impl Header {
    /// Reads a header from the front of `input`; `None` if fewer than 24 bytes are there. Checks nothing.
    pub fn parse(input: &[u8]) -> Option<Header> {
        let bytes: &[u8; HEADER_LEN] = input.first_chunk()?;
        let [magic, opcode, k0, k1, extras_len, data_type, s0, s1, b0, b1, b2, b3, o0, o1, o2, o3, cas @ ..] =
            *bytes;
        Some(Header {
            magic,
            opcode,
            key_len: u16::from_be_bytes([k0, k1]),
            extras_len,
            data_type,
            status: u16::from_be_bytes([s0, s1]),
            body_len: u32::from_be_bytes([b0, b1, b2, b3]),
            opaque: u32::from_be_bytes([o0, o1, o2, o3]),
            cas: u64::from_be_bytes(cas),
        })
    }

    /// The header on the wire.
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0] = self.magic;
        bytes[1] = self.opcode;
        bytes[2..4].copy_from_slice(&self.key_len.to_be_bytes());
        bytes[4] = self.extras_len;
        bytes[5] = self.data_type;
        bytes[6..8].copy_from_slice(&self.status.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.body_len.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.opaque.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.cas.to_be_bytes());
        bytes
    }

    /// Bytes of extras and key.
    pub(crate) fn prefix_len(self) -> usize {
        usize::from(self.extras_len) + usize::from(self.key_len)
    }
}
