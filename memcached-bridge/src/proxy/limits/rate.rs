//! Requests per second: a token bucket that threads share.

use std::sync::atomic::{AtomicU64, Ordering};

use fabric::time::Nanos;

/// The most requests per second that a bucket can be told to let pass.
pub const MAX_PER_SECOND: u32 = 10_000_000;

/// So many requests per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// On average; 1 to [`MAX_PER_SECOND`].
    pub per_second: u32,
    /// At once after a pause; at least 1.
    pub burst: u32,
}

/// A token bucket as the generic cell rate algorithm has it (ITU-T I.371): one number says when the bucket will be full
/// again. A request that takes more tokens than there are leaves a debt, so that none is too large to pass.
#[derive(Debug)]
pub struct TokenBucket {
    /// In which a token comes, rounded down.
    interval_ns: u64,
    /// In which an empty bucket becomes full.
    fill_ns: u64,
    full_at: AtomicU64,
}

impl TokenBucket {
    /// A full bucket.
    pub fn new(rate: Rate) -> Self {
        let interval_ns = 1_000_000_000 / u64::from(rate.per_second.clamp(1, MAX_PER_SECOND));
        Self { interval_ns, fill_ns: interval_ns * u64::from(rate.burst.max(1)), full_at: AtomicU64::new(0) }
    }

    /// Takes `tokens` if at least one is there. Whether it was.
    pub fn take(&self, tokens: u32, now: Nanos) -> bool {
        let taken = |full_at: u64| {
            let from = full_at.max(now.0);
            let one_is_there = from + self.interval_ns <= now.0 + self.fill_ns;
            one_is_there.then(|| from.saturating_add(self.interval_ns * u64::from(tokens)))
        };
        self.full_at.try_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }

    /// Whether it is full: nobody can tell it from a new one.
    pub fn is_full(&self, now: Nanos) -> bool {
        self.full_at.load(Ordering::Relaxed) <= now.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const START: Nanos = Nanos(5_000_000_000);

    fn passed(bucket: &TokenBucket, asked: u32, now: Nanos) -> u32 {
        (0..asked).map(|_| u32::from(bucket.take(1, now))).sum()
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let bucket = TokenBucket::new(Rate { per_second: 100, burst: 30 });
        assert_eq!(passed(&bucket, 50, START), 30);
        assert_eq!(passed(&bucket, 50, START + Duration::from_millis(9)), 0);
        assert_eq!(passed(&bucket, 50, START + Duration::from_millis(10)), 1);
        assert_eq!(passed(&bucket, 50, START + Duration::from_millis(250)), 24);
        assert_eq!(
            passed(&bucket, 50, START + Duration::from_secs(60)),
            30,
            "no more than a burst is saved up"
        );
    }

    #[test]
    fn over_a_long_time_the_rate_is_kept() {
        let bucket = TokenBucket::new(Rate { per_second: 1000, burst: 5 });
        let mut all = 0;
        for step in 0..100_000u64 {
            all += passed(&bucket, 1, START + Duration::from_micros(100 * step));
        }
        assert!((10_000..=10_005).contains(&all), "{all} in ten seconds");
    }

    #[test]
    fn a_large_request_passes_and_is_paid_for_later() {
        let bucket = TokenBucket::new(Rate { per_second: 100, burst: 10 });
        assert!(bucket.take(100, START), "it would never pass");
        assert!(!bucket.is_full(START));
        assert!(!bucket.take(1, START + Duration::from_millis(900)));
        assert!(bucket.take(1, START + Duration::from_millis(920)));
        assert!(bucket.is_full(START + Duration::from_millis(1010)));
    }

    #[test]
    fn threads_together_get_no_more_than_the_burst() {
        let bucket = TokenBucket::new(Rate { per_second: 1, burst: 1000 });
        let all: u32 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| passed(&bucket, 1000, START))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(all, 1000);
    }
}
