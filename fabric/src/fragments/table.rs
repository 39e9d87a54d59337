//! All datagrams that are not whole yet.

use std::collections::HashMap;

use super::datagram::{Datagram, Held};
use super::{DatagramKey, FragmentError, FragmentLimits, MAX_PIECES, Offer, Whole, identify};
use crate::io::PacketBuf;
use crate::packet::Headers;
use crate::time::Nanos;

/// No slot: the end of a list.
const NONE: u32 = u32::MAX;

/// The held fragments of one worker. See the [module](super).
#[derive(Debug)]
pub struct Fragments<P> {
    limits: FragmentLimits,
    slots: Vec<Slot<P>>,
    free: Vec<u32>,
    /// Twice as large as it ever gets, so that it can tidy itself up in place. Its hash is seeded at random.
    by_key: HashMap<DatagramKey, u32>,
    /// The datagram that began first, and the one that began last.
    oldest: u32,
    youngest: u32,
    packets: usize,
    dropped: Vec<(FragmentError, P)>,
}

/// A datagram and its neighbours in the order in which they began.
#[derive(Debug)]
struct Slot<P> {
    datagram: Datagram<P>,
    older: u32,
    younger: u32,
}

impl<P: PacketBuf> Fragments<P> {
    /// Takes all memory that will be needed.
    pub fn new(limits: FragmentLimits) -> Self {
        let datagrams = limits.datagrams.clamp(1, NONE as usize - 1);
        let limits = FragmentLimits { datagrams, packets: limits.packets.max(1), ..limits };
        let slot = |_| Slot { datagram: Datagram::empty(), older: NONE, younger: NONE };
        Self {
            limits,
            slots: (0..datagrams).map(slot).collect(),
            free: (0..datagrams as u32).rev().collect(),
            by_key: HashMap::with_capacity(2 * datagrams),
            oldest: NONE,
            youngest: NONE,
            packets: 0,
            // One offer condemns its own datagram and evicts at most two others.
            dropped: Vec::with_capacity(3 * MAX_PIECES),
        }
    }

    /// Takes a fragment. `headers` are what [`Headers::parse`] made of it.
    ///
    /// Frames that were dropped by the last offer and not [taken](Fragments::dropped) are freed.
    pub fn offer(&mut self, packet: P, headers: &Headers, now: Nanos) -> Offer<'_, P> {
        self.dropped.clear();
        let (key, piece) = match identify(headers) {
            Ok(identity) => identity,
            Err(reason) => return Offer::Refused(reason, packet),
        };
        if self.packets == self.limits.packets {
            self.evict_oldest();
        }
        let slot = self.slot_of(key, now);
        match self.slots[slot as usize].datagram.add(piece, packet) {
            Ok(()) => self.packets += 1,
            Err((FragmentError::Duplicate, packet)) => {
                return Offer::Refused(FragmentError::Duplicate, packet);
            }
            Err((reason, packet)) => {
                self.condemn(slot, reason);
                return Offer::Refused(reason, packet);
            }
        }
        if self.slots[slot as usize].datagram.is_whole() {
            return Offer::Complete(Whole { fragments: self, slot });
        }
        Offer::Held
    }

    /// Takes the frames that the last [`offer`](Fragments::offer) dropped, with the reasons.
    pub fn dropped(&mut self) -> impl Iterator<Item = (FragmentError, P)> + '_ {
        self.dropped.drain(..)
    }

    /// Gives up the datagrams that began before the timeout, and hands their frames to `each`.
    pub fn expire(&mut self, now: Nanos, mut each: impl FnMut(P)) {
        while self.oldest != NONE {
            let slot = self.oldest;
            if now.since(self.slots[slot as usize].datagram.began) < self.limits.timeout {
                return;
            }
            self.drain(slot).for_each(&mut each);
            self.release(slot);
        }
    }

    /// Datagrams that are not whole yet.
    pub fn datagrams(&self) -> usize {
        self.by_key.len()
    }

    /// Packets that are held.
    pub fn packets(&self) -> usize {
        self.packets
    }

    pub(super) fn held(&self, slot: u32) -> &[Held<P>] {
        &self.slots[slot as usize].datagram.held
    }

    pub(super) fn drain(&mut self, slot: u32) -> impl Iterator<Item = P> + '_ {
        let held = &mut self.slots[slot as usize].datagram.held;
        self.packets -= held.len();
        held.drain(..).map(|held| held.packet)
    }

    /// Gives the slot back, and frees what it still holds.
    pub(super) fn release(&mut self, slot: u32) {
        let Slot { datagram, older, younger } = &mut self.slots[slot as usize];
        let (older, younger) = (*older, *younger);
        self.packets -= datagram.held.len();
        datagram.held.clear();
        self.by_key.remove(&datagram.key);
        match older {
            NONE => self.oldest = younger,
            older => self.slots[older as usize].younger = younger,
        }
        match younger {
            NONE => self.youngest = older,
            younger => self.slots[younger as usize].older = older,
        }
        self.free.push(slot);
    }

    fn slot_of(&mut self, key: DatagramKey, now: Nanos) -> u32 {
        if let Some(slot) = self.by_key.get(&key) {
            return *slot;
        }
        if self.free.is_empty() {
            self.evict_oldest();
        }
        let slot = self.free.pop().expect("a datagram was evicted if no slot was free");
        self.by_key.insert(key, slot);
        let older = std::mem::replace(&mut self.youngest, slot);
        match older {
            NONE => self.oldest = slot,
            older => self.slots[older as usize].younger = slot,
        }
        let entry = &mut self.slots[slot as usize];
        entry.datagram.begin(key, now);
        (entry.older, entry.younger) = (older, NONE);
        slot
    }

    fn evict_oldest(&mut self) {
        if self.oldest != NONE {
            self.condemn(self.oldest, FragmentError::Evicted);
        }
    }

    /// Drops a datagram for a reason.
    fn condemn(&mut self, slot: u32, reason: FragmentError) {
        let held = &mut self.slots[slot as usize].datagram.held;
        self.packets -= held.len();
        self.dropped.extend(held.drain(..).map(|held| (reason, held.packet)));
        self.release(slot);
    }
}
