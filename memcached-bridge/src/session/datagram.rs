//! memcached over UDP (`doc/protocol.txt`, "UDP protocol"): a request is one datagram, a reply one or many.

use super::{Needs, Server, Session};
use crate::protocol::udp::{FRAME_LEN, Frame};
use crate::store::Now;

/// The longest datagram of a reply in bytes, frame included (as memcached's).
pub const DATAGRAM_BYTES: usize = 1400;
const PAYLOAD_BYTES: usize = DATAGRAM_BYTES - FRAME_LEN;
/// The longest reply in bytes of payload: what the frame's 16 bits can count.
pub const REPLY_BYTES: usize = PAYLOAD_BYTES * u16::MAX as usize;

/// Why a datagram gets no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoReply {
    /// Shorter than a frame.
    NoFrame,
    /// One of several datagrams of a request; memcached does not take those either.
    NotSingle,
    /// It holds no whole command.
    Incomplete,
    /// The commands were carried out, and none of them has a reply.
    Quiet,
    /// The commands were carried out up to the one whose reply was too long.
    TooLong,
}

/// A reply, not yet cut into datagrams.
#[derive(Debug)]
pub struct Reply<'a> {
    request_id: u16,
    payload: &'a [u8],
}

/// Carries out the commands in `datagram` and leaves their replies in `out`, which it clears first. At most `limit`
/// bytes of reply (and never more than [`REPLY_BYTES`]) are made, frames included.
///
/// # Errors
/// [`NoReply`] if there is nothing to send.
pub fn answer_datagram<'a>(
    datagram: &[u8],
    server: &Server,
    now: Now,
    limit: usize,
    out: &'a mut Vec<u8>,
) -> Result<Reply<'a>, NoReply> {
    out.clear();
    let (frame, mut commands) = Frame::parse(datagram).ok_or(NoReply::NoFrame)?;
    if !frame.is_single() {
        return Err(NoReply::NotSingle);
    }
    let mut session = Session::new();
    let mut scratch = Vec::new();
    let mut began = false;
    loop {
        let progress = session.receive(commands, server, now, &mut scratch);
        out.append(&mut scratch);
        began |= progress.consumed > 0 || progress.needs == Needs::Output;
        if Reply::wire_len(out.len()) > limit || out.len() > REPLY_BYTES {
            return Err(NoReply::TooLong);
        }
        commands = &commands[progress.consumed..];
        if progress.needs != Needs::Output {
            break;
        }
    }
    match (out.is_empty(), began) {
        (false, _) => Ok(Reply { request_id: frame.request_id, payload: out }),
        (true, true) => Err(NoReply::Quiet),
        (true, false) => Err(NoReply::Incomplete),
    }
}

impl Reply<'_> {
    /// Bytes on the wire of a reply of `payload_len` bytes, frames included.
    pub fn wire_len(payload_len: usize) -> usize {
        payload_len + payload_len.div_ceil(PAYLOAD_BYTES) * FRAME_LEN
    }

    /// How many datagrams it takes.
    pub fn datagrams(&self) -> u16 {
        self.payload.len().div_ceil(PAYLOAD_BYTES) as u16
    }

    /// Writes the datagram with the number `sequence` over `buffer`.
    ///
    /// # Panics
    /// If the reply has no such datagram.
    pub fn write(&self, sequence: u16, buffer: &mut Vec<u8>) {
        let start = usize::from(sequence) * PAYLOAD_BYTES;
        let part = &self.payload[start..self.payload.len().min(start + PAYLOAD_BYTES)];
        let frame = Frame { request_id: self.request_id, sequence, total: self.datagrams() };
        buffer.clear();
        buffer.extend_from_slice(&frame.to_bytes());
        buffer.extend_from_slice(part);
    }
}
