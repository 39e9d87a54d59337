//! Requests of several datagrams, held until all of them are there.
//!
//! Only the first datagram of such a request names its key, and any may come first. All are held as they came and
//! sent on together once the whole request can be read. The number of requests, of datagrams and the time they
//! are held are bounded; a new request takes the place of the oldest when there is no other.
//!
//! memcached itself drops every datagram of such a request without an answer (tried with 1.6.18): it takes a large
//! request in one datagram only, which IP cuts into [fragments](super::pieces). The protocol provides for the form,
//! so the node does not decide for the server.

use std::time::Duration;

use fabric::io::PacketBuf;
use fabric::time::Nanos;

use crate::protocol::udp::Frame;

/// Requests held by one worker at most.
const REQUESTS: usize = 32;
/// Datagrams of one request at most: 64 of 1400 bytes hold what one UDP datagram could.
pub(super) const MAX_DATAGRAMS: usize = 64;
/// Packets held by one worker at most.
pub(super) const MAX_HELD: usize = REQUESTS * MAX_DATAGRAMS;
/// How long a request is held for the rest of it.
const PATIENCE: Duration = Duration::from_millis(500);

/// Whose request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sender {
    pub(super) ip: u32,
    pub(super) port: u16,
    pub(super) request_id: u16,
}

#[derive(Debug)]
struct Held<P> {
    sender: Sender,
    since: Nanos,
    total: usize,
    arrived: usize,
    datagrams: Vec<Option<Stretch<P>>>,
}

/// A held packet and where its memcached bytes are, after the UDP frame.
#[derive(Debug)]
pub(super) struct Stretch<P> {
    pub(super) packet: P,
    pub(super) start: usize,
    pub(super) end: usize,
}

#[derive(Debug)]
pub(super) struct Datagrams<P> {
    slots: Vec<Option<Held<P>>>,
    spare: Vec<Vec<Option<Stretch<P>>>>,
}

/// What became of a datagram.
#[derive(Debug)]
pub(super) enum Filed<P> {
    /// It waits for the rest of its request. So many held datagrams made room for it and are gone.
    Held { evicted: usize },
    /// The request is whole: its datagrams are in `whole`, in order.
    Whole,
    /// It contradicts the others, or counts more datagrams than a request may have.
    Refused(P),
}

impl<P: PacketBuf> Datagrams<P> {
    pub(super) fn new() -> Self {
        let spare = (0..REQUESTS).map(|_| Vec::with_capacity(MAX_DATAGRAMS)).collect();
        Self { slots: (0..REQUESTS).map(|_| None).collect(), spare }
    }

    /// Files one datagram. When it completes its request, `whole` (emptied first) receives all of it.
    pub(super) fn file(
        &mut self,
        sender: Sender,
        frame: Frame,
        stretch: Stretch<P>,
        now: Nanos,
        whole: &mut Vec<Stretch<P>>,
    ) -> Filed<P> {
        let (sequence, total) = (usize::from(frame.sequence), usize::from(frame.total));
        if total > MAX_DATAGRAMS || sequence >= total {
            return Filed::Refused(stretch.packet);
        }
        let (index, evicted) = self.slot_for(sender, total, now);
        let Some(held) = &mut self.slots[index] else { return Filed::Refused(stretch.packet) };
        if held.total != total || held.datagrams[sequence].is_some() {
            return Filed::Refused(stretch.packet);
        }
        held.datagrams[sequence] = Some(stretch);
        held.arrived += 1;
        if held.arrived < total {
            return Filed::Held { evicted };
        }
        whole.clear();
        whole.extend(held.datagrams.drain(..).flatten());
        self.release(index);
        Filed::Whole
    }

    /// Frees the requests that have waited too long; returns how many datagrams that were.
    pub(super) fn expire(&mut self, now: Nanos) -> usize {
        let mut freed = 0;
        for index in 0..self.slots.len() {
            if self.slots[index].as_ref().is_some_and(|held| now.since(held.since) > PATIENCE) {
                freed += self.release(index);
            }
        }
        freed
    }

    fn slot_for(&mut self, sender: Sender, total: usize, now: Nanos) -> (usize, usize) {
        let mine = |slot: &Option<Held<P>>| slot.as_ref().is_some_and(|held| held.sender == sender);
        if let Some(index) = self.slots.iter().position(mine) {
            return (index, 0);
        }
        let age = |slot: &Option<Held<P>>| slot.as_ref().map_or(Nanos(0), |held| held.since + PATIENCE);
        let index = (0..self.slots.len()).min_by_key(|index| age(&self.slots[*index])).unwrap_or(0);
        let evicted = self.release(index);
        let mut datagrams = self.spare.pop().unwrap_or_default();
        datagrams.extend((0..total).map(|_| None));
        self.slots[index] = Some(Held { sender, since: now, total, arrived: 0, datagrams });
        (index, evicted)
    }

    fn release(&mut self, index: usize) -> usize {
        let Some(mut held) = self.slots[index].take() else { return 0 };
        let freed = held.datagrams.iter().flatten().count();
        held.datagrams.clear();
        self.spare.push(held.datagrams);
        freed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fabric::memory::{MemoryPacket, MemoryPool};

    fn sender(request_id: u16) -> Sender {
        Sender { ip: 1, port: 2, request_id }
    }

    fn stretch(byte: u8) -> Stretch<MemoryPacket> {
        Stretch { packet: MemoryPool::default().packet(&[byte; 4]).unwrap(), start: 0, end: 4 }
    }

    fn frame(sequence: u16, total: u16) -> Frame {
        Frame { request_id: 0, sequence, total }
    }

    #[test]
    fn a_request_is_whole_in_any_order() {
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let mut datagrams = Datagrams::new();
            let mut whole = Vec::new();
            for (count, sequence) in order.into_iter().enumerate() {
                let filed = datagrams.file(
                    sender(1),
                    frame(sequence, 3),
                    stretch(sequence as u8),
                    Nanos(0),
                    &mut whole,
                );
                assert_eq!(matches!(filed, Filed::Whole), count == 2);
            }
            let firsts: Vec<u8> = whole.iter().map(|stretch| stretch.packet.bytes()[0]).collect();
            assert_eq!(firsts, [0, 1, 2]);
        }
    }

    #[test]
    fn contradictions_are_refused() {
        let mut datagrams = Datagrams::new();
        let mut whole = Vec::new();
        let mut file = |sequence, total| {
            let filed = datagrams.file(sender(1), frame(sequence, total), stretch(0), Nanos(0), &mut whole);
            matches!(filed, Filed::Refused(_))
        };
        assert!(!file(0, 3));
        assert!(file(0, 3), "the same datagram again");
        assert!(file(1, 4), "another total");
        assert!(file(5, 3), "beyond the total");
        assert!(file(0, MAX_DATAGRAMS as u16 + 1), "more than are held");
    }

    #[test]
    fn what_never_becomes_whole_goes_and_the_oldest_makes_room() {
        let mut datagrams = Datagrams::new();
        let mut whole = Vec::new();
        for id in 0..=REQUESTS as u16 {
            let filed = datagrams.file(sender(id), frame(0, 2), stretch(0), Nanos(u64::from(id)), &mut whole);
            let expected = usize::from(usize::from(id) == REQUESTS);
            assert!(matches!(filed, Filed::Held { evicted } if evicted == expected));
        }
        let late = Nanos(0) + PATIENCE + PATIENCE;
        assert_eq!(datagrams.expire(late), REQUESTS);
        assert_eq!(datagrams.expire(late), 0);
    }
}
