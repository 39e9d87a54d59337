//! What a generator measured.

use hdrhistogram::Histogram;
use std::fmt;
use std::time::Duration;

/// The longest latency told apart; longer ones count as this.
const LONGEST: Duration = Duration::from_secs(10);

/// The outcome of one run.
#[derive(Clone)]
pub struct Measured {
    /// Replies to requests that left while it was measured.
    pub replies: u64,
    /// Requests given up since no reply came in time.
    pub lost: u64,
    /// Requests that left more than a millisecond after their time, because the generator got no processor. Zero in
    /// closed loop.
    pub late: u64,
    /// How long it was measured.
    pub elapsed: Duration,
    /// Latencies in nanoseconds, three digits.
    pub latency: Histogram<u64>,
}

impl Measured {
    /// Of nothing yet.
    #[expect(clippy::new_without_default, reason = "nothing measured is no measurement to fall back on")]
    pub fn new() -> Self {
        let latency = Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, 3);
        let latency = latency.expect("bounds that hold for any histogram");
        Self { replies: 0, lost: 0, late: 0, elapsed: Duration::ZERO, latency }
    }

    /// Counts a reply.
    pub fn record(&mut self, latency: Duration) {
        self.replies += 1;
        self.latency.saturating_record(latency.as_nanos() as u64);
    }

    /// Counts what another one counted in the same time.
    pub fn merge(&mut self, other: &Self) {
        self.replies += other.replies;
        self.lost += other.lost;
        self.late += other.late;
        self.elapsed = self.elapsed.max(other.elapsed);
        // Of the same bounds, so it has room.
        let _ = self.latency.add(&other.latency);
    }

    /// Replies each second.
    pub fn rate(&self) -> f64 {
        self.replies as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency, in microseconds, that a share of `quantile` (0 to 1) of the requests did not exceed.
    pub fn latency_us(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1000.0
    }
}

impl fmt::Debug for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Measured");
        text.field("replies", &self.replies).field("lost", &self.lost).field("late", &self.late);
        text.field("elapsed", &self.elapsed).field("p50_us", &self.latency_us(0.5));
        text.finish_non_exhaustive()
    }
}
