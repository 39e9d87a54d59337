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
    let (frame, commands) = Frame::parse(datagram).ok_or(NoReply::NoFrame)?;
    if !frame.is_single() {
        return Err(NoReply::NotSingle);
    }
    // A patient exchange never has to go on later.
    _ = Exchange::new(Session::new()).proceed(commands, server, now, limit, out)?;
    Ok(Reply { request_id: frame.request_id, payload: out })
}

/// The commands of one datagram, carried out in one or several calls.
#[derive(Debug)]
pub struct Exchange {
    session: Session,
    /// Bytes of the commands that are done with.
    done: usize,
}

/// How far a call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Proceeded {
    /// All commands are carried out, and there is a reply.
    Replied,
    /// Another thread holds a part of the store: call again later. Only for a session that does not wait.
    Busy,
}

impl Exchange {
    /// Nothing is carried out yet. `session` is a new one, patient or not.
    pub fn new(session: Session) -> Self {
        Self { session, done: 0 }
    }

    /// Carries out `commands`, the bytes behind the datagram's frame, from where the last call stopped, and appends their
    /// replies to `out`, which at first is empty. It stops once `out` is longer than `limit` bytes on the wire, frames
    /// included.
    ///
    /// # Errors
    /// [`NoReply`] if nothing is to be sent.
    pub fn proceed(
        &mut self,
        commands: &[u8],
        server: &Server,
        now: Now,
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Result<Proceeded, NoReply> {
        let mut began = self.done > 0;
        loop {
            let progress = self.session.receive(&commands[self.done..], server, now, out);
            self.done += progress.consumed;
            began |= progress.consumed > 0 || progress.needs == Needs::Output;
            if Reply::wire_len(out.len()) > limit || out.len() > REPLY_BYTES {
                return Err(NoReply::TooLong);
            }
            match progress.needs {
                Needs::Output => {}
                Needs::Store => return Ok(Proceeded::Busy),
                Needs::Input | Needs::Close => break,
            }
        }
        match (out.is_empty(), began) {
            (false, _) => Ok(Proceeded::Replied),
            (true, true) => Err(NoReply::Quiet),
            (true, false) => Err(NoReply::Incomplete),
        }
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
