//! Whether a client gets on with what it has begun, or holds its place by a byte now and then.

use std::time::Duration;

use fabric::time::Nanos;

/// Bytes that count as getting on.
pub const ENOUGH_BYTES: usize = 64 * 1024;

/// When a client last got on: a request was complete, or enough bytes had moved.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    since: Nanos,
    moved: usize,
}

impl Progress {
    /// It begins now.
    pub fn new(now: Nanos) -> Self {
        Self { since: now, moved: 0 }
    }

    /// So many bytes of what is unfinished came or went.
    pub fn moved(&mut self, bytes: usize, now: Nanos) {
        self.moved += bytes;
        if self.moved >= ENOUGH_BYTES {
            *self = Self::new(now);
        }
    }

    /// How long ago it got on.
    pub fn age(&self, now: Nanos) -> Duration {
        now.since(self.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_bytes_are_no_progress_but_many_are() {
        let at = |seconds: u64| Nanos(seconds * 1_000_000_000);
        let mut progress = Progress::new(at(1));
        for second in 1..60 {
            progress.moved(1, at(second));
        }
        assert_eq!(progress.age(at(61)), Duration::from_secs(60));
        progress.moved(ENOUGH_BYTES, at(61));
        assert_eq!(progress.age(at(62)), Duration::from_secs(1));
    }
}
