//! A write to several copies: how many of them have to acknowledge it, and what its client is told.

use crate::protocol::binary::{Header, MAGIC_RESPONSE};
use crate::proxy::quiet::Quiet;

/// How many copies have to acknowledge a write before its client is told that it was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acks {
    /// Each.
    #[default]
    All,
    /// More than half.
    Majority,
    /// One.
    One,
}

impl Acks {
    /// How many that is of so many copies.
    pub(super) fn of(self, copies: usize) -> usize {
        match self {
            Acks::All => copies,
            Acks::Majority => copies / 2 + 1,
            Acks::One => 1,
        }
    }
}

/// Bytes of one copy's reply that are kept: servers answer writes with a line.
const MAX_REPLY: usize = 16 << 10;

/// The replies of copies to a write. A server acknowledges a write by any answer but an error: that a key is not there, too,
/// is an outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proxy) struct Acknowledged {
    needed: usize,
    acks: usize,
    /// What the copy said that decided.
    decided: Option<Vec<u8>>,
    /// By copy, the nearest first.
    replies: Vec<Vec<u8>>,
    done: Vec<bool>,
    quiet: Quiet,
}

impl Acknowledged {
    /// Waits for `needed` of so many copies. If one has `decided` already, what it said is the reply.
    pub(super) fn new(needed: usize, copies: usize, decided: Option<Vec<u8>>, quiet: Quiet) -> Self {
        Self { needed, acks: 0, decided, replies: vec![Vec::new(); copies], done: vec![false; copies], quiet }
    }

    /// More of a copy's reply.
    pub(in crate::proxy) fn add(&mut self, part: u16, bytes: &[u8], last: bool) {
        let part = usize::from(part);
        let reply = &mut self.replies[part];
        if reply.len() + bytes.len() <= MAX_REPLY {
            reply.extend_from_slice(bytes);
        }
        if last && is_ack(reply) {
            self.done[part] = true;
            self.acks += 1;
        }
    }

    /// Whether as many as needed have acknowledged it.
    pub(in crate::proxy) fn is_enough(&self) -> bool {
        self.acks >= self.needed
    }

    /// Whether nothing that is still to come makes a difference.
    pub(in crate::proxy) fn is_settled(&self, waiting: usize) -> bool {
        self.is_enough() || self.acks + waiting < self.needed
    }

    /// What the client is told; `failure` is why a copy did not answer.
    pub(in crate::proxy) fn reply(mut self, failure: Option<Vec<u8>>) -> Vec<u8> {
        let nearest = self.done.iter().position(|done| *done);
        let refused = || self.replies.iter().position(|reply| !reply.is_empty() && !is_ack(reply));
        let said = if self.is_enough() {
            self.decided.take().or_else(|| nearest.map(|part| std::mem::take(&mut self.replies[part])))
        } else {
            failure.or_else(|| refused().map(|part| self.replies[part].clone()))
        };
        let said = said.unwrap_or_default();
        if self.quiet.hides(&said) { Vec::new() } else { said }
    }
}

/// Whether a server that says so has dealt with the write.
fn is_ack(reply: &[u8]) -> bool {
    match Header::parse(reply) {
        // Done, not found, exists, not stored.
        Some(header) if header.magic == MAGIC_RESPONSE => matches!(header.status, 0 | 1 | 2 | 5),
        _ => {
            !["SERVER_ERROR", "CLIENT_ERROR", "ERROR"].iter().any(|error| reply.starts_with(error.as_bytes()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(acks: Acks) -> Acknowledged {
        Acknowledged::new(acks.of(3), 3, None, Quiet::No)
    }

    #[test]
    fn the_nearest_of_those_that_acknowledged_is_told() {
        let mut all = waiting(Acks::All);
        for (part, waiting) in [(2, 3), (0, 2), (1, 1)] {
            assert!(!all.is_settled(waiting));
            all.add(part, format!("{part}\r\n").as_bytes(), true);
        }
        assert!(all.is_settled(0));
        assert_eq!(all.reply(None), b"0\r\n");
        let mut majority = waiting(Acks::Majority);
        majority.add(2, b"NOT_", false);
        majority.add(2, b"FOUND\r\n", true);
        assert!(!majority.is_settled(2));
        majority.add(1, b"DELETED\r\n", true);
        assert!(majority.is_settled(1));
        assert_eq!(majority.reply(None), b"DELETED\r\n");
        let mut one = waiting(Acks::One);
        one.add(1, b"SERVER_ERROR out of memory\r\n", true);
        assert!(!one.is_settled(2));
        one.add(2, b"STORED\r\n", true);
        assert_eq!(one.reply(Some(b"gone".to_vec())), b"STORED\r\n");
    }

    #[test]
    fn when_too_few_can_acknowledge_the_client_is_told_why() {
        let mut all = waiting(Acks::All);
        all.add(1, b"SERVER_ERROR out of memory\r\n", true);
        assert!(all.is_settled(1), "whatever the third says");
        assert_eq!(all.clone().reply(None), b"SERVER_ERROR out of memory\r\n");
        assert_eq!(all.reply(Some(b"gone".to_vec())), b"gone");
        let mut quiet = Acknowledged::new(1, 1, None, Quiet::Always);
        quiet.add(0, b"ERROR\r\n", true);
        assert_eq!(quiet.reply(None), b"");
    }

    #[test]
    fn binary_statuses_that_are_outcomes_acknowledge() {
        for (status, acknowledges) in [(0, true), (1, true), (2, true), (5, true), (3, false), (0x82, false)]
        {
            let mut reply = vec![0; 24];
            (reply[0], reply[7]) = (MAGIC_RESPONSE, status);
            assert_eq!(is_ack(&reply), acknowledges, "{status:#x}");
        }
    }
}
