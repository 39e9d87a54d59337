//! Replies to bytes.

use super::{Header, MAGIC_RESPONSE, Status};
use crate::protocol::render::Sink;

/// A reply to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The request's.
    pub opcode: u8,
    /// The request's.
    pub opaque: u32,
    /// What became of the request.
    pub status: Status,
    /// The item's CAS; 0 for none.
    pub cas: u64,
    /// At most 255 bytes.
    pub extras: &'a [u8],
    /// At most 65,535 bytes.
    pub key: &'a [u8],
    /// The value, or the text of an error.
    pub value: &'a [u8],
}

impl<'a> Reply<'a> {
    /// Success, and nothing else to say.
    pub fn to(opcode: u8, opaque: u32) -> Self {
        let (status, cas) = (Status::Success, 0);
        Self { opcode, opaque, status, cas, extras: &[], key: &[], value: &[] }
    }

    /// The same request's reply if it failed.
    pub fn failed(self, status: Status) -> Reply<'static> {
        Reply { status, value: status.text().as_bytes(), ..Reply::to(self.opcode, self.opaque) }
    }

    /// Writes header, extras, key and value.
    pub fn render(&self, out: &mut impl Sink) {
        let header = Header {
            magic: MAGIC_RESPONSE,
            opcode: self.opcode,
            key_len: self.key.len() as u16,
            extras_len: self.extras.len() as u8,
            data_type: 0,
            status: self.status.code(),
            body_len: (self.extras.len() + self.key.len() + self.value.len()) as u32,
            opaque: self.opaque,
            cas: self.cas,
        };
        out.put(&header.to_bytes());
        out.put(self.extras);
        out.put(self.key);
        out.put(self.value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What memcached 1.6.18 answered to a `gatk` and a `setq`.
    #[test]
    fn replies_are_written_as_memcached_writes_them() {
        let mut out = Vec::new();
        let hit = Reply { cas: 1, extras: &[0; 4], key: b"k", value: b"v", ..Reply::to(0x24, 7 << 24) };
        hit.render(&mut out);
        assert_eq!(out, b"\x81$\0\x01\x04\0\0\0\0\0\0\x06\x07\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0kv");
        out.clear();
        Reply::to(0x12, 7 << 24).failed(Status::KeyExists).render(&mut out);
        let expected = b"\x81\x12\0\0\0\0\0\x02\0\0\0\x14\x07\0\0\0\0\0\0\0\0\0\0\0Data exists for key.";
        assert_eq!(out, expected);
    }
}
