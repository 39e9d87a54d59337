//! Where a key's record is: buckets of one cache line. A record is in its home bucket or, if that is
//! full, astray in the other bucket of the pair.

const SLOTS: usize = 10;

#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Bucket {
    /// Of each slot the upper 16 bits of the hash; 0 for a free one.
    tags: [u16; SLOTS],
    positions: [u32; SLOTS],
    /// Records of this home that are in the other bucket.
    astray: u16,
}

impl Bucket {
    /// A bit for each slot that has `tag`. No branches, so that it becomes vector instructions.
    #[inline]
    fn matching(&self, tag: u16) -> u32 {
        self.tags.iter().enumerate().fold(0, |mask, (slot, other)| mask | (u32::from(*other == tag) << slot))
    }
}

/// One slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    bucket: usize,
    slot: usize,
}

/// What the index must know of a record to put another in its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Occupant {
    pub(super) hash: u64,
    pub(super) frequency: u8,
}

#[derive(Debug)]
pub(super) struct Index {
    buckets: Box<[Bucket]>,
}

impl Index {
    /// An even number of buckets, rounded down.
    pub(super) fn new(buckets: usize) -> Self {
        Self { buckets: vec![Bucket::default(); buckets & !1].into_boxed_slice() }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.buckets)
    }

    pub(super) fn buckets(&self) -> usize {
        self.buckets.len()
    }

    pub(super) fn clear(&mut self) {
        self.buckets.fill(Bucket::default());
    }

    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        prefetch_index::prefetch_index(&self.buckets, self.home(hash));
    }

    /// The first slot with the hash's tag whose position `is_it`.
    #[inline]
    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(usize) -> bool) -> Option<(Slot, usize)> {
        let home = self.home(hash);
        let first = self.buckets.get(home)?;
        let found = find_in(first, home, tag(hash), &mut is_it);
        if found.is_some() || first.astray == 0 {
            return found;
        }
        find_in(&self.buckets[home ^ 1], home ^ 1, tag(hash), &mut is_it)
    }

    /// Any position in the home bucket that has the hash's tag: likely the record's.
    #[inline]
    pub(super) fn guess(&self, hash: u64) -> Option<usize> {
        let bucket = self.buckets.get(self.home(hash))?;
        let mask = bucket.matching(tag(hash));
        (mask != 0).then(|| bucket.positions[mask.trailing_zeros() as usize % SLOTS] as usize)
    }

    /// The positions in bucket `bucket`.
    pub(super) fn positions(&self, bucket: usize) -> impl Iterator<Item = usize> + '_ {
        let bucket = &self.buckets[bucket];
        let taken = bucket.tags.iter().zip(bucket.positions).filter(|(tag, _)| **tag != 0);
        taken.map(|(_, position)| position as usize)
    }

    pub(super) fn move_to(&mut self, slot: Slot, position: usize) {
        self.buckets[slot.bucket].positions[slot.slot] = position as u32;
    }

    pub(super) fn remove(&mut self, slot: Slot, hash: u64) {
        self.buckets[slot.bucket].tags[slot.slot] = 0;
        let home = self.home(hash);
        if slot.bucket != home {
            self.buckets[home].astray -= 1;
        }
    }

    /// Adds a position. If both buckets are full the least frequent record of the home bucket goes: its position.
    pub(super) fn insert(
        &mut self,
        hash: u64,
        position: usize,
        occupant: impl Fn(usize) -> Occupant,
    ) -> Option<usize> {
        let home = self.home(hash);
        let free = |bucket: &Bucket| bucket.tags.iter().position(|tag| *tag == 0);
        if let Some(slot) = free(&self.buckets[home]) {
            self.put(Slot { bucket: home, slot }, hash, position);
            return None;
        }
        if let Some(slot) = free(&self.buckets[home ^ 1]) {
            self.buckets[home].astray += 1;
            self.put(Slot { bucket: home ^ 1, slot }, hash, position);
            return None;
        }
        let slots = self.buckets[home].positions.iter().enumerate();
        let occupants =
            slots.map(|(slot, position)| (slot, *position as usize, occupant(*position as usize)));
        let (slot, displaced, least) = occupants.min_by_key(|(_, _, occupant)| occupant.frequency)?;
        let slot = Slot { bucket: home, slot };
        self.remove(slot, least.hash);
        self.put(slot, hash, position);
        Some(displaced)
    }

    fn put(&mut self, slot: Slot, hash: u64, position: usize) {
        let bucket = &mut self.buckets[slot.bucket];
        bucket.tags[slot.slot] = tag(hash);
        bucket.positions[slot.slot] = position as u32;
    }

    #[inline]
    fn home(&self, hash: u64) -> usize {
        (((hash & 0xffff_ffff) * self.buckets.len() as u64) >> 32) as usize
    }
}

#[inline]
fn find_in(
    bucket: &Bucket,
    index: usize,
    tag: u16,
    is_it: &mut impl FnMut(usize) -> bool,
) -> Option<(Slot, usize)> {
    let mut mask = bucket.matching(tag);
    while mask != 0 {
        let slot = mask.trailing_zeros() as usize % SLOTS;
        let position = bucket.positions[slot] as usize;
        if is_it(position) {
            return Some((Slot { bucket: index, slot }, position));
        }
        mask &= mask - 1;
    }
    None
}

#[inline]
fn tag(hash: u64) -> u16 {
    ((hash >> 48) as u16).max(1)
}
