//! Binary requests and replies for tests.

use crate::protocol::binary::{HEADER_LEN, Header, MAGIC_REQUEST};

/// A request under construction.
#[derive(Clone, Copy, Default)]
pub(super) struct Frame<'a> {
    pub(super) opcode: u8,
    pub(super) cas: u64,
    pub(super) extras: &'a [u8],
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
}

/// The opaque of every request.
pub(super) const OPAQUE: u32 = 0xfeed_beef;

impl Frame<'_> {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let header = Header {
            magic: MAGIC_REQUEST,
            opcode: self.opcode,
            key_len: self.key.len() as u16,
            extras_len: self.extras.len() as u8,
            data_type: 0,
            status: 0,
            body_len: (self.extras.len() + self.key.len() + self.value.len()) as u32,
            opaque: OPAQUE,
            cas: self.cas,
        };
        [&header.to_bytes(), self.extras, self.key, self.value].concat()
    }
}

/// A request without anything but a key.
pub(super) fn keyed(opcode: u8, key: &[u8]) -> Vec<u8> {
    Frame { opcode, key, ..Frame::default() }.to_bytes()
}

/// A request that stores.
pub(super) fn storing(opcode: u8, key: &[u8], value: &[u8]) -> Vec<u8> {
    Frame { opcode, extras: &[0, 0, 0, 7, 0, 0, 0, 0], key, value, ..Frame::default() }.to_bytes()
}

/// Each reply as `opcode:status[ #cas] extras+key|value`, the extras as a number.
pub(super) fn replies(mut bytes: &[u8]) -> Vec<String> {
    let mut replies = Vec::new();
    while !bytes.is_empty() {
        let header = Header::parse(bytes).unwrap();
        assert_eq!((header.magic, header.data_type, header.opaque), (0x81, 0, OPAQUE));
        let body = &bytes[HEADER_LEN..HEADER_LEN + header.body_len as usize];
        let (extras, rest) = body.split_at(header.extras_len.into());
        let (key, value) = rest.split_at(header.key_len.into());
        let cas = if header.cas == 0 { String::new() } else { format!(" #{}", header.cas) };
        let extras: Vec<String> = extras.iter().map(u8::to_string).collect();
        let (key, value) = (key.escape_ascii(), value.escape_ascii());
        let text =
            format!("{:02x}:{:02x}{cas} {}+{key}|{value}", header.opcode, header.status, extras.join("."));
        replies.push(text.trim_end_matches(" +|").to_owned());
        bytes = &bytes[HEADER_LEN + body.len()..];
    }
    replies
}
