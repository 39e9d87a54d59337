//! Words of epoch and pending writes: one per bucket, one for the pool.

use std::sync::atomic::{AtomicU64, Ordering};

use super::InFlightFull;
use super::cells::{MAX_BUCKETS, Target};

const PENDING_BITS: u32 = 16;
const MAX_PENDING: u64 = (1 << PENDING_BITS) - 1;
const ONE_EPOCH: u64 = 1 << PENDING_BITS;

/// `{epoch: 48 bits, pending: 16 bits}`.
#[derive(Debug, Default)]
pub(super) struct EpochWord(AtomicU64);

/// What an [`EpochWord`] held at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epoch {
    pub(super) epoch: u64,
    pub(super) pending: u64,
}

impl EpochWord {
    #[inline]
    pub(super) fn read(&self) -> Epoch {
        let word = self.0.load(Ordering::Acquire);
        Epoch { epoch: word >> PENDING_BITS, pending: word & MAX_PENDING }
    }

    /// A write begins: both grow by one. Refused at the greatest pending, which would else carry into the epoch
    /// and read as none.
    pub(super) fn raise(&self) -> Result<(), InFlightFull> {
        let raised =
            |word: u64| (word & MAX_PENDING != MAX_PENDING).then(|| word.wrapping_add(ONE_EPOCH + 1));
        self.0.try_update(Ordering::AcqRel, Ordering::Acquire, raised).map(|_| ()).map_err(|_| InFlightFull)
    }

    /// A raised write ends: the epoch grows, pending shrinks by one.
    pub(super) fn lower(&self) {
        let before = self.0.fetch_add(ONE_EPOCH - 1, Ordering::AcqRel);
        debug_assert_ne!(before & MAX_PENDING, 0, "a write ended that had not begun");
    }

    /// The epoch grows by one.
    pub(super) fn bump(&self) {
        self.0.fetch_add(ONE_EPOCH, Ordering::AcqRel);
    }

    /// Takes one growth of the epoch back: what a test does to see that it is missed.
    #[cfg(test)]
    pub(super) fn unbump(&self) {
        self.0.fetch_sub(ONE_EPOCH, Ordering::AcqRel);
    }
}

/// The buckets of a pool and its gate.
#[derive(Debug)]
pub(super) struct Epochs {
    buckets: Box<[EpochWord]>,
    pub(super) gate: EpochWord,
}

impl Epochs {
    pub(super) fn new(buckets: usize) -> Self {
        let buckets = buckets.clamp(1, MAX_BUCKETS).next_power_of_two();
        Self { buckets: (0..buckets).map(|_| EpochWord::default()).collect(), gate: EpochWord::default() }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.buckets)
    }

    /// The bucket of a key. By other bits of the hash than the ones the hot table places records by.
    #[inline]
    pub(super) fn bucket_of(&self, key_hash: u64) -> usize {
        (key_hash >> 20) as usize & (self.buckets.len() - 1)
    }

    #[inline]
    pub(super) fn of_key(&self, key_hash: u64) -> Epoch {
        self.buckets[self.bucket_of(key_hash)].read()
    }

    #[inline]
    pub(super) fn prefetch(&self, key_hash: u64) {
        prefetch_index::prefetch_index(&self.buckets, self.bucket_of(key_hash));
    }

    pub(super) fn raise(&self, target: Target) -> Result<(), InFlightFull> {
        self.word(target).raise()
    }

    pub(super) fn lower(&self, target: Target) {
        self.word(target).lower();
    }

    pub(super) fn bump(&self, target: Target) {
        self.word(target).bump();
    }

    pub(super) fn word(&self, target: Target) -> &EpochWord {
        match target.index() {
            Some(bucket) => &self.buckets[bucket],
            None => &self.gate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_never_carries_into_the_epoch() {
        let word = EpochWord::default();
        for _ in 0..MAX_PENDING {
            word.raise().unwrap();
        }
        assert_eq!(word.read(), Epoch { epoch: MAX_PENDING, pending: MAX_PENDING });
        assert_eq!(word.raise(), Err(InFlightFull));
        for _ in 0..MAX_PENDING {
            word.lower();
        }
        assert_eq!(word.read(), Epoch { epoch: 2 * MAX_PENDING, pending: 0 });
    }

    #[test]
    fn the_epoch_wraps_without_touching_pending() {
        let word = EpochWord(AtomicU64::new(u64::MAX << PENDING_BITS));
        word.raise().unwrap();
        assert_eq!(word.read(), Epoch { epoch: 0, pending: 1 });
        word.0.store((u64::MAX << PENDING_BITS) | 1, Ordering::Relaxed);
        word.lower();
        assert_eq!(word.read(), Epoch { epoch: 0, pending: 0 });
    }
}
