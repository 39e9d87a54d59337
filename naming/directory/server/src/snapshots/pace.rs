//! So many bytes a second, and no more than a burst of them at once.

use std::time::{Duration, Instant};

/// A token bucket. It may go into debt by one piece, so that pieces larger than the burst pass, too.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_second: f64,
    /// Bytes that may be sent now.
    credit: f64,
    at: Instant,
}

/// What may be sent at once after a pause.
const BURST: Duration = Duration::from_millis(50);

impl Pace {
    pub(super) fn new(bytes_per_second: u64, now: Instant) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1) as f64, credit: 0.0, at: now }
    }

    /// How long to wait before the next piece.
    pub(super) fn wait(&mut self, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        let most = self.bytes_per_second * BURST.as_secs_f64();
        self.credit = (self.credit + passed * self.bytes_per_second).min(most);
        self.at = now;
        Duration::from_secs_f64((-self.credit / self.bytes_per_second).max(0.0))
    }

    /// Notes that a piece was sent.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.credit -= bytes as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_size_go_at_the_rate() {
        let start = Instant::now();
        for piece in [10, 1_000, 250_000] {
            let (mut pace, mut now, mut bytes) = (Pace::new(1_000_000, start), start, 0);
            while bytes < 5_000_000 {
                now += pace.wait(now);
                pace.sent(piece);
                bytes += piece;
            }
            let took = now.duration_since(start).as_secs_f64();
            assert!((4.7..5.05).contains(&took), "{piece}: {took}");
        }
    }
}
