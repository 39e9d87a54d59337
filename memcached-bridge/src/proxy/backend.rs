//! A connection to a server, shared by all clients of the thread, or with one value under way.

use std::collections::VecDeque;

use fabric::time::Nanos;

use super::cache::Fill;
use super::client::ClientId;
use super::in_flight::InFlight;
use crate::protocol::Protocol;
use crate::protocol::delimit::Delimiter;

slotmap::new_key_type! {
    /// A connection to a server. Never names another one later.
    pub struct BackendId;
}

/// A server of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServerId {
    /// The pool's index in the order in which the [`Proxy`](super::Proxy) was given them.
    pub pool: u16,
    /// The server's index in its pool.
    pub server: u16,
}

/// Who uses a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The clients of a lane.
    Shared { lane: u8 },
    /// One client, for one request with a large value at a time.
    Upload,
    /// The node, to see whether the server is back.
    Probe,
    /// Nobody: it was given up, and is open only to learn what becomes of its writes.
    Spent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Since when.
    Connecting(Nanos),
    Up,
}

/// It is not read, since a client does not take its reply.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeldUp {
    pub(super) by: ClientId,
    pub(super) since: Nanos,
    /// It is not that client's fault: the reply's turn has not come.
    pub(super) early: bool,
}

#[derive(Debug)]
pub(super) struct Backend {
    pub(super) server: ServerId,
    pub(super) protocol: Protocol,
    pub(super) role: Role,
    pub(super) phase: Phase,
    pub(super) outgoing: Outgoing,
    pub(super) in_flight: VecDeque<InFlight>,
    /// Fills under way, in the order of their requests.
    pub(super) fills: VecDeque<Fill>,
    pub(super) delimiter: Delimiter,
    /// Input that is not read yet.
    pub(super) input: Vec<u8>,
    pub(super) held_up: Option<HeldUp>,
    /// An action to send is under way.
    pub(super) announced: bool,
    /// Clients that wait for room.
    pub(super) waiting: Vec<ClientId>,
    /// The client whose value is under way.
    pub(super) uploader: Option<ClientId>,
    /// When it last received something, or went on after it had been held up.
    pub(super) progress: Nanos,
}

impl Backend {
    pub(super) fn new(server: ServerId, protocol: Protocol, role: Role, now: Nanos) -> Self {
        Self {
            server,
            protocol,
            role,
            phase: Phase::Connecting(now),
            outgoing: Outgoing::default(),
            in_flight: VecDeque::new(),
            fills: VecDeque::new(),
            delimiter: Delimiter::default(),
            input: Vec::new(),
            held_up: None,
            announced: false,
            waiting: Vec::new(),
            uploader: None,
            progress: now,
        }
    }

    /// When the oldest request on it began to wait for its reply. `None` if none does, or its reply cannot come now.
    pub(super) fn waits_since(&self) -> Option<Nanos> {
        if self.held_up.is_some() || self.uploader.is_some() || self.role == Role::Spent {
            return None;
        }
        self.in_flight.front().map(|front| front.sent.max(self.progress))
    }
}

/// Bytes on their way to a server. They are kept until the request that they are of is answered: a connection that the
/// server had closed before it read them is replaced by another one.
#[derive(Clone, Debug, Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    /// The place of the first of `bytes` in the stream.
    start: u64,
    sent: u64,
    answered: u64,
}

/// Memory from which on what was answered is cut off while there is more behind it.
const CUT: usize = 64 * 1024;

impl Outgoing {
    /// Where requests are written.
    pub(super) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The end of what was written so far.
    pub(super) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Bytes that are not sent, or not answered.
    pub(super) fn len(&self) -> usize {
        (self.end() - self.sent.min(self.answered)) as usize
    }

    pub(super) fn unsent(&self) -> &[u8] {
        &self.bytes[(self.sent - self.start) as usize..]
    }

    pub(super) fn advance(&mut self, len: usize) {
        self.sent += len as u64;
        debug_assert!(self.sent <= self.end(), "more was sent than there was");
        self.cut();
    }

    /// Whether all up to `end` has been sent.
    pub(super) fn is_sent(&self, end: u64) -> bool {
        self.sent >= end
    }

    /// What was written before `end` will not be needed again.
    pub(super) fn answered(&mut self, end: u64) {
        self.answered = self.answered.max(end);
        self.cut();
    }

    /// The bytes from `start` to `end`, if they are still there.
    pub(super) fn range(&self, start: u64, end: u64) -> Option<&[u8]> {
        let start = start.max(self.answered).checked_sub(self.start)?;
        self.bytes.get(start as usize..end.checked_sub(self.start)? as usize)
    }

    fn cut(&mut self) {
        let done = (self.sent.min(self.answered).saturating_sub(self.start)) as usize;
        if done == self.bytes.len() {
            self.bytes.clear();
            if self.bytes.capacity() > 4 * CUT {
                self.bytes = Vec::new();
            }
        } else if done >= CUT && done >= self.bytes.len() / 2 {
            self.bytes.drain(..done);
        } else {
            return;
        }
        self.start += done as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_kept_until_they_are_answered() {
        let mut outgoing = Outgoing::default();
        outgoing.tail().extend_from_slice(b"get a\r\nget b\r\n");
        assert_eq!((outgoing.end(), outgoing.unsent().len()), (14, 14));
        outgoing.advance(10);
        assert!(outgoing.is_sent(7) && !outgoing.is_sent(14));
        assert_eq!(outgoing.unsent(), b" b\r\n");
        assert_eq!(outgoing.range(0, 7), Some(&b"get a\r\n"[..]));
        outgoing.advance(4);
        outgoing.answered(7);
        assert_eq!((outgoing.range(7, 14), outgoing.len()), (Some(&b"get b\r\n"[..]), 7));
        outgoing.answered(14);
        assert_eq!((outgoing.end(), outgoing.len(), outgoing.unsent()), (14, 0, &b""[..]));
        outgoing.tail().extend_from_slice(b"get c\r\n");
        assert_eq!(outgoing.range(14, 21), Some(&b"get c\r\n"[..]));
    }

    #[test]
    fn what_is_done_is_cut_off_a_stream_that_never_ends() {
        let mut outgoing = Outgoing::default();
        let request = [b'x'; 1000];
        let mut end = 0;
        for _ in 0..10_000 {
            outgoing.tail().extend_from_slice(&request);
            outgoing.advance(500.min(outgoing.unsent().len()));
            outgoing.advance(outgoing.unsent().len().saturating_sub(300));
            outgoing.answered(end);
            end = outgoing.end();
            assert!(outgoing.len() <= 2300 && outgoing.bytes.len() < 4 * CUT);
        }
    }
}
