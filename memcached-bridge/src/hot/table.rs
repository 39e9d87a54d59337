//! The hot table of one worker.

use fabric::time::Nanos;

use super::ghost::Ghost;
use super::hottest::Hottest;
use super::index::{Index, Occupant, Slot};
use super::record::{self, HEADER, Header, Hit, Item, Shape, UNIT, Usage};
use super::ring::Ring;

/// One group of the table: 512 bytes for records, a bucket of ten slots, four ghosts.
const GROUP: usize = GROUP_ARENA + 64 + 16;
const GROUP_ARENA: usize = 512;
/// The small ring's share of the arena (S3-FIFO, section 4.1: 10 %).
const SMALL_SHARE: usize = 10;
/// Records given another round in the main ring for one insertion, at most: bounds its time to some ten
/// microseconds. What comes after that is evicted whatever its frequency.
const MAX_REINSERTED: usize = 128;

/// What became of an insertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// A key that was not there.
    New,
    /// In place of an older value of the key.
    Replaced,
    /// Refused, as larger than 1 MiB or than the small ring, or without a valid key. What was there of the key is gone.
    TooLarge,
}

/// Counts of what the table did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableStatistics {
    /// Records that left the table to make room.
    pub evicted: u64,
    /// Records that went from the small to the main ring.
    pub promoted: u64,
    /// Records that went straight to the main ring, since they had left the small one lately.
    pub recalled: u64,
    /// Records that left since their bucket of the index was full.
    pub displaced: u64,
}

/// Where a record may be; good until the table changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guess(u32);

/// Where the [item](HotTable::item) of a key is; good until the table changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemPlace(u32);

/// A cache of values of at most 1 MiB. For one worker; allocates only when made.
///
/// Eviction is S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023) over
/// two rings of bytes in one arena: new records go to the small ring; at its tail those that were hit move to the main
/// ring, others leave and only their fingerprint stays. At the main ring's tail a record that was hit goes round again.
/// Records are contiguous and hold the reply to a `get` as it goes on the wire. Unlike the paper's, each ring
/// has its own capacity from the start; until the main ring was full once it takes what was not hit, too.
#[derive(Debug)]
pub struct HotTable {
    arena: Box<[u8]>,
    index: Index,
    ghost: Ghost,
    small: Ring,
    main: Ring,
    /// Whether the main ring had to evict: from then on it is for what was hit.
    main_was_full: bool,
    len: usize,
    live_units: usize,
    statistics: TableStatistics,
}

impl HotTable {
    /// A table that takes at most `capacity_bytes`, index and ghosts included (see
    /// [`memory_bytes`](HotTable::memory_bytes)). Less than about 20 KB holds no full packet.
    pub fn new(capacity_bytes: usize) -> Self {
        // Positions are 32 bits of units; an index without a pair of buckets holds nothing.
        let groups = (capacity_bytes / GROUP).min((u32::MAX as usize * UNIT) / GROUP_ARENA) & !1;
        let units = groups * GROUP_ARENA / UNIT;
        let small = units / SMALL_SHARE;
        Self {
            arena: vec![0; units * UNIT].into_boxed_slice(),
            index: Index::new(groups),
            ghost: Ghost::new(groups / 2),
            small: Ring::new(0, small),
            main: Ring::new(small, units),
            main_was_full: false,
            len: 0,
            live_units: 0,
            statistics: TableStatistics::default(),
        }
    }

    /// Bytes allocated; never changes.
    pub fn memory_bytes(&self) -> usize {
        self.arena.len() + self.index.memory_bytes() + self.ghost.memory_bytes()
    }

    /// Keys in the table.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of the records of these keys, headers included.
    pub fn bytes(&self) -> usize {
        self.live_units * UNIT
    }

    /// Counts since the table was made.
    pub fn statistics(&self) -> TableStatistics {
        self.statistics
    }

    /// Hints the processor to load where the index says a key with this hash is.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// Where the record of a key with this hash likely is, which the processor is told to load. Reads the index:
    /// call [`prefetch`](HotTable::prefetch) some time before.
    #[inline]
    pub fn guess(&self, hash: u64) -> Option<Guess> {
        let position = self.index.guess(hash)?;
        // Header and the reply of a small value: three cache lines.
        for line in 0..3 {
            prefetch_index::prefetch_index(&self.arena, position * UNIT + 64 * line);
        }
        Some(Guess(position as u32))
    }

    /// Like [`find`](HotTable::find), with a look where the key was [guessed](HotTable::guess) to be before the
    /// index is asked. `None` for a guess says that its bucket knows no such key; others may.
    // Inlined: a hit that came back through memory would be read before it is wholly written there.
    #[inline(always)]
    pub fn find_at(&mut self, guess: Option<Guess>, hash: u64, key: &[u8]) -> Option<Hit<'_>> {
        let guessed = guess.map(|guess| guess.0 as usize).filter(|position| self.holds(*position, hash, key));
        let position = match guessed {
            Some(position) => position,
            None => self.locate(hash, key)?.1,
        };
        self.hit(position)
    }

    /// The value of `key`, and one more hit of it.
    #[inline]
    pub fn find(&mut self, hash: u64, key: &[u8]) -> Option<Hit<'_>> {
        let (_, position) = self.locate(hash, key)?;
        self.hit(position)
    }

    /// Like [`find`](HotTable::find), with the place of its item: those of several keys can be looked at together.
    pub fn find_item(&mut self, hash: u64, key: &[u8]) -> Option<(Hit<'_>, ItemPlace)> {
        let (_, position) = self.locate(hash, key)?;
        Some((self.hit(position)?, ItemPlace(position as u32)))
    }

    /// One value of a reply to several keys, as [`Hit::get_entry`].
    pub fn item(&self, ItemPlace(position): ItemPlace) -> &[u8] {
        let record = &self.arena[position as usize * UNIT..];
        record.split_first_chunk().map_or(&[], |(header, body)| {
            let reply_len = Header::read(header).reply_len as usize;
            Hit::new(header, &body[..reply_len]).get_entry()
        })
    }

    #[inline(always)]
    fn hit(&mut self, position: usize) -> Option<Hit<'_>> {
        let (header, body) = self.arena[position * UNIT..].split_first_chunk_mut::<HEADER>()?;
        record::touch(header);
        let reply_len = Header::read(header).reply_len as usize;
        Some(Hit::new(header, &body[..reply_len]))
    }

    /// Installs a value, in place of what was there of its key, whose hits it inherits.
    pub fn insert(&mut self, hash: u64, item: Item<'_>) -> Inserted {
        let old = self.locate(hash, item.key);
        let shape = Shape::of(&item).filter(|shape| shape.units() <= self.small.capacity());
        let Some(shape) = shape else {
            if let Some((slot, position)) = old {
                self.forget(slot, position);
            }
            return Inserted::TooLarge;
        };
        let Some((slot, position)) = old else {
            self.append(hash, &item, &shape, Usage::default(), false);
            return Inserted::New;
        };
        let header = header_at(&self.arena, position);
        let usage = Usage { frequency: header.frequency, hits: header.hits };
        if usize::from(header.units) == shape.units() {
            self.render(position, hash, &item, &shape, usage);
        } else {
            let in_main = self.main.contains(position);
            self.forget(slot, position);
            self.append(hash, &item, &shape, usage, in_main);
        }
        Inserted::Replaced
    }

    /// Takes `key` out. Returns whether it was there.
    pub fn remove(&mut self, hash: u64, key: &[u8]) -> bool {
        let Some((slot, position)) = self.locate(hash, key) else { return false };
        self.forget(slot, position);
        true
    }

    /// Notes that a refresh of `key` is under way: [`Hit::refresh_not_before`] is then `until`. Installing a value
    /// sets it back.
    pub fn note_refresh(&mut self, hash: u64, key: &[u8], until: Nanos) {
        let Some((_, position)) = self.locate(hash, key) else { return };
        if let Some(header) = self.arena[position * UNIT..].first_chunk_mut() {
            record::set_refresh_not_before(header, until);
        }
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.index.clear();
        self.ghost.clear();
        self.small = Ring::new(0, self.small.capacity());
        self.main = Ring::new(self.small.capacity(), self.small.capacity() + self.main.capacity());
        self.main_was_full = false;
        self.len = 0;
        self.live_units = 0;
    }

    /// Looks at up to `buckets` buckets of the index for the keys with the most hits, from where `top` stopped.
    /// Returns whether the whole table has been seen; then `top` is complete.
    pub fn hottest(&self, top: &mut Hottest, buckets: usize) -> bool {
        let end = self.index.buckets().min(top.next_bucket.saturating_add(buckets));
        for bucket in top.next_bucket..end {
            for position in self.index.positions(bucket) {
                let header = header_at(&self.arena, position);
                let reply = &self.arena[position * UNIT + HEADER..];
                top.offer(header.hits, header.value_len() as u32, record::key(reply, header.key_len));
            }
        }
        top.next_bucket = end;
        end == self.index.buckets()
    }

    #[inline]
    fn locate(&self, hash: u64, key: &[u8]) -> Option<(Slot, usize)> {
        self.index.find(hash, |position| self.holds(position, hash, key))
    }

    /// Whether the record at `position` is that of `key`.
    #[inline]
    fn holds(&self, position: usize, hash: u64, key: &[u8]) -> bool {
        let Some((header, body)) = self.arena[position * UNIT..].split_first_chunk::<HEADER>() else {
            return false;
        };
        let header = Header::read(header);
        header.hash == hash && record::same(record::key(body, header.key_len), key)
    }

    /// Takes a record out of the index. Its bytes stay until they are at the tail of their ring.
    fn forget(&mut self, slot: Slot, position: usize) {
        let header = header_at(&self.arena, position);
        self.index.remove(slot, header.hash);
        self.len -= 1;
        self.live_units -= usize::from(header.units);
    }

    fn append(&mut self, hash: u64, item: &Item<'_>, shape: &Shape, usage: Usage, to_main: bool) {
        let recalled = !to_main && self.ghost.take(hash);
        self.statistics.recalled += u64::from(recalled);
        let position = if to_main || recalled {
            self.room_in_main(shape.units())
        } else {
            self.room_in_small(shape.units())
        };
        self.render(position, hash, item, shape, usage);
        self.len += 1;
        self.live_units += shape.units();
        let arena = &self.arena;
        let occupant = |position| {
            let Header { hash, frequency, .. } = header_at(arena, position);
            Occupant { hash, frequency }
        };
        if let Some(displaced) = self.index.insert(hash, position, occupant) {
            self.len -= 1;
            self.live_units -= usize::from(header_at(arena, displaced).units);
            self.statistics.displaced += 1;
        }
    }

    /// A place in the small ring. What makes way moves to the main ring if it was hit, or if that has room; else
    /// its ghost stays.
    fn room_in_small(&mut self, units: usize) -> usize {
        loop {
            if let Some(position) = self.small.push(units) {
                return position;
            }
            let Some((position, header, slot)) = oldest(&self.small, &self.arena, &self.index) else {
                unreachable!("an empty ring has room for what is no larger than the ring");
            };
            match slot {
                Some(slot) if header.frequency > 0 || !self.main_was_full => {
                    let place = self.room_in_main(usize::from(header.units));
                    self.relocate(slot, position, place, &header, 0);
                    self.statistics.promoted += 1;
                }
                Some(slot) => {
                    self.ghost.insert(header.hash);
                    self.evict(slot, position);
                }
                None => {}
            }
            self.small.pop(usize::from(header.units));
        }
    }

    /// A place in the main ring. What makes way goes round again if it was hit.
    fn room_in_main(&mut self, units: usize) -> usize {
        let mut reinserted = 0;
        loop {
            if let Some(position) = self.main.push(units) {
                return position;
            }
            let Some((position, header, slot)) = oldest(&self.main, &self.arena, &self.index) else {
                unreachable!("an empty ring has room for what is no larger than the ring");
            };
            self.main_was_full = true;
            self.main.pop(usize::from(header.units));
            let Some(slot) = slot else { continue };
            let again = header.frequency > 0 && reinserted < MAX_REINSERTED;
            match again.then(|| self.main.push(usize::from(header.units))).flatten() {
                Some(place) => self.relocate(slot, position, place, &header, header.frequency - 1),
                None => self.evict(slot, position),
            }
            reinserted += usize::from(again);
        }
    }

    fn relocate(&mut self, slot: Slot, from: usize, to: usize, header: &Header, frequency: u8) {
        let units = usize::from(header.units);
        self.arena.copy_within(from * UNIT..(from + units) * UNIT, to * UNIT);
        if let Some(header) = self.arena[to * UNIT..].first_chunk_mut() {
            record::set_frequency(header, frequency);
        }
        self.index.move_to(slot, to);
    }

    fn evict(&mut self, slot: Slot, position: usize) {
        self.forget(slot, position);
        self.statistics.evicted += 1;
    }

    fn render(&mut self, position: usize, hash: u64, item: &Item<'_>, shape: &Shape, usage: Usage) {
        let bytes = &mut self.arena[position * UNIT..(position + shape.units()) * UNIT];
        record::render(bytes, hash, item, shape, usage);
    }
}

#[inline]
fn header_at(arena: &[u8], position: usize) -> Header {
    let bytes = arena[position * UNIT..].first_chunk();
    Header::read(bytes.expect("records are longer than their header and end within the arena"))
}

/// The oldest record of a ring: its position, its header, and its slot unless it is dead.
fn oldest(ring: &Ring, arena: &[u8], index: &Index) -> Option<(usize, Header, Option<Slot>)> {
    let position = ring.oldest()?;
    let header = header_at(arena, position);
    let slot = index.find(header.hash, |other| other == position);
    Some((position, header, slot.map(|(slot, _)| slot)))
}
