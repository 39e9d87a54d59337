//! When a busy thread looks for more to do: after a pause in which more becomes ready.
//!
//! A thread that takes up each reply as it comes pays a receive and a send for every one of them, and so does the server.
//! If it waits a little, the replies of a server come with one receive, and the next requests leave for it with one send.
//! Network cards coalesce interrupts for the same reason. It is worth a pause while the thread is busy, and while so much is
//! under way that most of it will be ready by then: whoever has one request under way does not wait for others.

use std::time::Duration;

use fabric::time::Nanos;

/// Requests in flight from which on a pause pays.
const LEAST_IN_FLIGHT: usize = 8;
/// Of the time, the share from which on a thread is busy: one in so many parts.
const BUSY_PART: u64 = 4;
/// Over what time that is judged: older time counts half, and again half.
const HORIZON: Duration = Duration::from_millis(5);

/// One thread's pauses.
#[derive(Debug)]
pub(super) struct Coalescing {
    pause: Duration,
    /// When the round began that is under way, or that ended last.
    woke: Nanos,
    /// When the last round ended.
    parked: Nanos,
    busy: Duration,
    idle: Duration,
}

impl Coalescing {
    /// Pauses of `pause`; none if that is 0.
    pub(super) const fn new(pause: Duration) -> Self {
        let (woke, parked) = (Nanos(0), Nanos(0));
        Self { pause, woke, parked, busy: Duration::ZERO, idle: Duration::ZERO }
    }

    /// All that was ready is done, and `in_flight` requests are with the servers. How long to wait before the look for
    /// more, if that pays.
    pub(super) fn parks(&mut self, now: Nanos, in_flight: usize) -> Option<Duration> {
        self.parked = now;
        self.busy += now.since(self.woke);
        if self.busy + self.idle > HORIZON {
            self.busy /= 2;
            self.idle /= 2;
        }
        let is_busy = self.busy * (BUSY_PART as u32 - 1) >= self.idle;
        (is_busy && in_flight >= LEAST_IN_FLIGHT && !self.pause.is_zero()).then_some(self.pause)
    }

    /// There is something to do.
    pub(super) fn wakes(&mut self, now: Nanos) {
        self.woke = now;
        self.idle += now.since(self.parked).min(HORIZON);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds of `busy` and `idle` microseconds, for 50 ms; the share of them that ended in a pause.
    fn share_of_pauses(busy: u64, idle: u64, in_flight: usize, pause: u64) -> f64 {
        let mut coalescing = Coalescing::new(Duration::from_micros(pause));
        let (mut now, mut pauses, mut rounds) = (Nanos(0), 0, 0);
        while now < Nanos(50_000_000) {
            now = now + Duration::from_micros(busy);
            pauses += usize::from(coalescing.parks(now, in_flight).is_some());
            rounds += 1;
            now = now + Duration::from_micros(idle);
            coalescing.wakes(now);
        }
        pauses as f64 / rounds as f64
    }

    #[test]
    fn a_busy_thread_with_much_under_way_pauses() {
        assert!(share_of_pauses(20, 5, 50, 50) > 0.99);
        // Also if it is the pauses that make it less busy.
        assert!(share_of_pauses(40, 60, 50, 50) > 0.99);
    }

    #[test]
    fn nobody_waits_for_a_thread_that_is_not_busy_or_for_few_requests() {
        assert!(share_of_pauses(10, 90, 50, 50) < 0.01);
        assert_eq!(share_of_pauses(20, 5, LEAST_IN_FLIGHT - 1, 50), 0.0);
        assert_eq!(share_of_pauses(20, 5, 50, 0), 0.0);
    }

    #[test]
    fn a_long_rest_makes_no_thread_idle_for_long() {
        let mut coalescing = Coalescing::new(Duration::from_micros(50));
        coalescing.parks(Nanos(1000), 0);
        let mut now = Nanos(3_600_000_000_000);
        let begun = now;
        coalescing.wakes(now);
        loop {
            now = now + Duration::from_micros(50);
            if coalescing.parks(now, 50).is_some() {
                break;
            }
            coalescing.wakes(now);
        }
        assert!(now.since(begun) < 3 * HORIZON, "{:?}", now.since(begun));
    }
}
