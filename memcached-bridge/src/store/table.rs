//! The items of one shard under a bound in bytes: a hash index, and eviction by SIEVE.
//!
//! SIEVE (Zhang et al., NSDI 2024) keeps items in the order of their arrival. A read sets an item's `visited` bit and
//! moves nothing. To make room, a hand walks from the oldest item to the newest, clears set bits and removes the first
//! item whose bit is clear; the next search goes on from there. An insert makes room first, so it cannot remove what
//! it is about to insert.
//!
//! The bound covers keys, values, the slots (free ones, too) and the index.

use super::item::Item;

const NONE: u32 = u32::MAX;
const INITIAL_BUCKETS: usize = 16;

/// Where an item is, until the next insert or removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(u32);

struct Entry {
    item: Option<Item>,
    hash: u32,
    visited: bool,
    /// The next entry of the same bucket, or the next free entry.
    chain: u32,
    /// Toward the newest.
    newer: u32,
    /// Toward the oldest.
    older: u32,
}

pub(super) struct Table {
    entries: Vec<Entry>,
    buckets: Vec<u32>,
    free: u32,
    len: usize,
    newest: u32,
    oldest: u32,
    hand: u32,
    /// Where the next [`Table::reap`] begins.
    cursor: usize,
    /// Bytes of keys and values.
    allocated: usize,
    limit: usize,
}

impl Table {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            entries: Vec::new(),
            buckets: vec![NONE; INITIAL_BUCKETS],
            free: NONE,
            len: 0,
            newest: NONE,
            oldest: NONE,
            hand: NONE,
            cursor: 0,
            allocated: 0,
            limit,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes in use, slots and index included.
    pub(super) fn bytes(&self) -> usize {
        self.allocated
            + self.entries.capacity() * size_of::<Entry>()
            + self.buckets.capacity() * size_of::<u32>()
    }

    pub(super) fn find(&self, hash: u32, key: &[u8]) -> Option<Slot> {
        let mut at = self.buckets[self.bucket(hash)];
        while at != NONE {
            let entry = &self.entries[at as usize];
            if entry.hash == hash && entry.item.as_ref().is_some_and(|item| item.key() == key) {
                return Some(Slot(at));
            }
            at = entry.chain;
        }
        None
    }

    pub(super) fn item(&self, slot: Slot) -> &Item {
        self.entries[slot.0 as usize].item.as_ref().expect("a slot names a linked item")
    }

    pub(super) fn item_mut(&mut self, slot: Slot) -> &mut Item {
        self.entries[slot.0 as usize].item.as_mut().expect("a slot names a linked item")
    }

    /// The item that is looked at first when room is needed.
    pub(super) fn oldest(&self) -> Option<&Item> {
        (self.oldest != NONE).then(|| self.item(Slot(self.oldest)))
    }

    /// Says that the item was wanted.
    pub(super) fn visit(&mut self, slot: Slot) {
        self.entries[slot.0 as usize].visited = true;
    }

    /// Inserts an item whose key is not there, and hands each item that must go to `evicted`. An item that is larger
    /// than the whole bound stays alone; the store refuses such items before.
    pub(super) fn insert(
        &mut self,
        hash: u32,
        item: Item,
        visited: bool,
        mut evicted: impl FnMut(Item),
    ) -> Slot {
        let needed = item.allocated();
        while self.bytes() + needed + self.growth_bytes() > self.limit {
            match self.victim() {
                Some(victim) => evicted(self.remove(victim)),
                None if self.entries.capacity() > 0 => self.release(),
                None => break,
            }
            self.compact_if_sparse();
        }
        self.grow_index();
        let at = self.vacant();
        self.allocated += needed;
        self.entries[at as usize] =
            Entry { item: Some(item), hash, visited, chain: NONE, newer: NONE, older: NONE };
        self.link(at);
        Slot(at)
    }

    /// Puts `item` in the place of the one with the same key: as wanted, and if it is larger, as the newest.
    pub(super) fn replace(&mut self, slot: Slot, item: Item, evicted: impl FnMut(Item)) -> Slot {
        let hash = self.entries[slot.0 as usize].hash;
        if item.allocated() <= self.item(slot).allocated() {
            self.allocated -= self.item(slot).allocated() - item.allocated();
            *self.item_mut(slot) = item;
            self.visit(slot);
            return slot;
        }
        self.remove(slot);
        self.insert(hash, item, true, evicted)
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Item {
        let at = slot.0;
        self.unlink(at);
        let entry = &mut self.entries[at as usize];
        let item = entry.item.take().expect("a slot names a linked item");
        entry.chain = self.free;
        self.free = at;
        self.allocated -= item.allocated();
        item
    }

    /// Looks at `budget` slots, going on where the last call ended, and hands those items to `reaped` that are `dead`.
    pub(super) fn reap(&mut self, budget: usize, dead: impl Fn(&Item) -> bool, mut reaped: impl FnMut(Item)) {
        for _ in 0..budget.min(self.entries.len()) {
            self.cursor = if self.cursor + 1 < self.entries.len() { self.cursor + 1 } else { 0 };
            if self.entries[self.cursor].item.as_ref().is_some_and(&dead) {
                reaped(self.remove(Slot(self.cursor as u32)));
            }
        }
    }

    fn bucket(&self, hash: u32) -> usize {
        hash as usize & (self.buckets.len() - 1)
    }

    /// By how many slots the next insert grows the slab: none while one is free, else a quarter.
    fn growth(&self) -> usize {
        let full = self.free == NONE && self.entries.len() == self.entries.capacity();
        if full { (self.entries.len() / 4).max(16) } else { 0 }
    }

    /// Bytes that the next insert adds besides key and value.
    fn growth_bytes(&self) -> usize {
        let index = if self.len < self.buckets.len() { 0 } else { self.buckets.len() * size_of::<u32>() };
        self.growth() * size_of::<Entry>() + index
    }

    fn vacant(&mut self) -> u32 {
        if self.free != NONE {
            let at = self.free;
            self.free = self.entries[at as usize].chain;
            return at;
        }
        self.entries.reserve_exact(self.growth());
        self.entries.push(Entry {
            item: None,
            hash: 0,
            visited: false,
            chain: NONE,
            newer: NONE,
            older: NONE,
        });
        (self.entries.len() - 1) as u32
    }

    fn link(&mut self, at: u32) {
        let bucket = self.bucket(self.entries[at as usize].hash);
        let entry = &mut self.entries[at as usize];
        entry.chain = std::mem::replace(&mut self.buckets[bucket], at);
        entry.older = std::mem::replace(&mut self.newest, at);
        entry.newer = NONE;
        match entry.older {
            NONE => self.oldest = at,
            older => self.entries[older as usize].newer = at,
        }
        self.len += 1;
    }

    fn unlink(&mut self, at: u32) {
        let Entry { hash, chain, newer, older, .. } = self.entries[at as usize];
        let bucket = self.bucket(hash);
        if self.buckets[bucket] == at {
            self.buckets[bucket] = chain;
        } else {
            let mut before = self.buckets[bucket];
            while self.entries[before as usize].chain != at {
                before = self.entries[before as usize].chain;
            }
            self.entries[before as usize].chain = chain;
        }
        match newer {
            NONE => self.newest = older,
            newer => self.entries[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.entries[older as usize].newer = newer,
        }
        if self.hand == at {
            self.hand = newer;
        }
        self.len -= 1;
    }

    /// The next item to go.
    fn victim(&mut self) -> Option<Slot> {
        if self.oldest == NONE {
            return None;
        }
        loop {
            let at = if self.hand == NONE { self.oldest } else { self.hand };
            let entry = &mut self.entries[at as usize];
            self.hand = entry.newer;
            if !std::mem::take(&mut entry.visited) {
                return Some(Slot(at));
            }
        }
    }

    fn grow_index(&mut self) {
        if self.len < self.buckets.len() {
            return;
        }
        self.buckets = vec![NONE; self.buckets.len() * 2];
        for at in 0..self.entries.len() {
            if self.entries[at].item.is_some() {
                let bucket = self.bucket(self.entries[at].hash);
                self.entries[at].chain = std::mem::replace(&mut self.buckets[bucket], at as u32);
            }
        }
    }

    /// After many small items gave way to a few large ones: moves the rest to a slab of their size, oldest first.
    fn compact_if_sparse(&mut self) {
        if self.entries.capacity() < 1024 || self.len > self.entries.capacity() / 4 {
            return;
        }
        let mut order = Vec::with_capacity(self.len);
        let mut at = self.oldest;
        while at != NONE {
            order.push(at);
            at = self.entries[at as usize].newer;
        }
        let mut old = std::mem::take(&mut self.entries);
        self.entries.reserve_exact(order.len() + order.len() / 4);
        self.buckets = vec![NONE; (order.len() * 2).next_power_of_two().max(INITIAL_BUCKETS)];
        (self.free, self.newest, self.oldest, self.hand, self.len) = (NONE, NONE, NONE, NONE, 0);
        for at in order {
            let old = &mut old[at as usize];
            let (item, hash, visited) = (old.item.take(), old.hash, old.visited);
            self.entries.push(Entry { item, hash, visited, chain: NONE, newer: NONE, older: NONE });
            self.link((self.entries.len() - 1) as u32);
        }
    }

    /// Gives the slab and index of an empty table back.
    fn release(&mut self) {
        debug_assert_eq!(self.len, 0);
        self.entries = Vec::new();
        self.buckets = vec![NONE; INITIAL_BUCKETS];
        self.free = NONE;
    }
}
