//! Coarse times that fit beside other things in one word.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fabric::time::Nanos;

/// A time in ticks of 2^22 ns (4.2 ms), modulo 2^19 (36 minutes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tick(pub(super) u64);

impl Tick {
    pub(super) const BITS: u32 = 19;
    const MASK: u64 = (1 << Self::BITS) - 1;
    const SHIFT: u32 = 22;

    /// The tick that runs at `time`.
    pub(super) fn at(time: Nanos) -> Tick {
        Tick((time.0 >> Self::SHIFT) & Self::MASK)
    }

    /// The first tick that begins after `time`.
    pub(super) fn after(time: Nanos) -> Tick {
        Tick(((time.0 >> Self::SHIFT) + 1) & Self::MASK)
    }

    /// The tick at least `duration` after this one.
    pub(super) fn plus(self, duration: Duration) -> Tick {
        Tick((self.0 + (duration.as_nanos() as u64 >> Self::SHIFT) + 1) & Self::MASK)
    }

    /// Whether this tick has begun at `now`. Right if the two are less than 18 minutes apart.
    pub(super) fn has_come(self, now: Tick) -> bool {
        now.0.wrapping_sub(self.0) & Self::MASK < (1 << (Self::BITS - 1))
    }

    pub(super) fn later(self, other: Tick) -> Tick {
        if other.has_come(self) { self } else { other }
    }
}

/// The interval in which a cache is closed, `{from: 32 bits, until: 32 bits}` in units of 2^26 ns (67 ms); 0 for
/// none. The units reach 9 years after the origin of time; what lies later counts as for ever.
#[derive(Debug, Default)]
pub(super) struct ClosedInterval(AtomicU64);

const UNIT_SHIFT: u32 = 26;
const FOR_EVER: u64 = u32::MAX as u64;

impl ClosedInterval {
    pub(super) fn close(&self, from: Nanos, until: Nanos) {
        let from = (from.0 >> UNIT_SHIFT).min(FOR_EVER);
        let until = ((until.0 >> UNIT_SHIFT) + 1).min(FOR_EVER);
        let union = |word: u64| match word {
            0 => Some((from << 32) | until),
            word => Some(((word >> 32).min(from) << 32) | (word & FOR_EVER).max(until)),
        };
        // The closure never refuses.
        let _ = self.0.try_update(Ordering::AcqRel, Ordering::Acquire, union);
    }

    /// Whether `now` is outside the interval. The first to find it past calls `reopen`, which must void what was
    /// cached before; only then is the interval cleared.
    #[inline]
    pub(super) fn is_open(&self, now: Nanos, reopen: impl Fn()) -> bool {
        match self.0.load(Ordering::Acquire) {
            0 => true,
            word => self.is_outside(word, now, reopen),
        }
    }

    #[cold]
    fn is_outside(&self, mut word: u64, now: Nanos, reopen: impl Fn()) -> bool {
        let now = now.0 >> UNIT_SHIFT;
        while word != 0 {
            let (from, until) = (word >> 32, word & FOR_EVER);
            if now < from {
                return true;
            }
            if now <= until || until == FOR_EVER {
                return false;
            }
            reopen();
            match self.0.compare_exchange(word, 0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(current) => word = current,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn ticks_compare_across_the_wrap() {
        let wrap = 1u64 << (Tick::BITS + Tick::SHIFT);
        for now in [0, 5, wrap - 1, wrap, wrap + 7, 3 * wrap - 2] {
            let now = Nanos(now);
            let deadline = Tick::after(now + Duration::from_secs(1));
            assert!(!deadline.has_come(Tick::at(now)));
            assert!(!deadline.has_come(Tick::at(now + Duration::from_millis(999))));
            assert!(deadline.has_come(Tick::at(now + Duration::from_millis(1005))));
            assert!(deadline.has_come(Tick::at(now + Duration::from_secs(1000))));
            assert_eq!(deadline.later(Tick::at(now)), deadline);
            assert_eq!(Tick::at(now).later(deadline), deadline);
        }
    }

    #[test]
    fn a_closed_interval_closes_reopens_once_and_unites() {
        let reopened = Cell::new(0);
        let closed = ClosedInterval::default();
        let at = |seconds| Nanos(0) + Duration::from_secs(seconds);
        let is_open = |seconds| closed.is_open(at(seconds), || reopened.set(reopened.get() + 1));
        assert!(is_open(0));
        closed.close(at(10), at(11));
        closed.close(at(12), at(13));
        assert!(is_open(9));
        assert!(!is_open(10) && !is_open(11) && !is_open(12) && !is_open(13));
        assert_eq!(reopened.get(), 0);
        assert!(is_open(14) && is_open(15));
        assert_eq!(reopened.get(), 1);
        closed.close(at(15), Nanos(u64::MAX));
        assert!(!is_open(1 << 30));
    }

    #[test]
    fn an_interval_from_zero_closes() {
        let closed = ClosedInterval::default();
        closed.close(Nanos(0), Nanos(0));
        assert!(!closed.is_open(Nanos(0), || ()));
    }
}
