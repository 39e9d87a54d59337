//! Binary replies of the node itself.

use super::failure::Failure;
use super::in_flight::Tag;
use crate::protocol::ProtocolError;
use crate::protocol::binary::{Header, MAGIC_RESPONSE, Status};

/// Appends a reply with `status` and `value`.
pub(super) fn push_reply(out: &mut Vec<u8>, tag: Tag, status: u16, key: &[u8], value: &[u8]) {
    let header = Header {
        magic: MAGIC_RESPONSE,
        opcode: tag.opcode,
        key_len: key.len() as u16,
        extras_len: 0,
        data_type: 0,
        status,
        body_len: (key.len() + value.len()) as u32,
        opaque: tag.opaque,
        cas: 0,
    };
    out.extend_from_slice(&header.to_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(value);
}

pub(super) fn failure(tag: Tag, failure: Failure) -> Vec<u8> {
    let mut reply = Vec::new();
    push_reply(&mut reply, tag, failure.status(), b"", failure.to_string().as_bytes());
    reply
}

/// Appends the reply to `request`, which is none. Nothing if it has not even a header.
pub(super) fn push_error(out: &mut Vec<u8>, request: &[u8], error: ProtocolError) {
    let (Some(header), Some(status)) = (Header::parse(request), Status::of(error)) else { return };
    let tag = Tag { opcode: header.opcode, opaque: header.opaque };
    push_reply(out, tag, status.code(), b"", status.text().as_bytes());
}
