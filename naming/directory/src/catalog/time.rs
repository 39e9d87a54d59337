//! The time that replicas agree on.
//!
//! The state machine reads no clock. Commands carry a time that the leader stamped: where its state's time
//! stood when it became leader, and what has passed since by its monotonic clock. The state's time is the
//! largest that it has seen.
//!
//! So replicated time never runs faster than real time. Draw a leader's stamps over real time: a line of
//! slope one. The next leader's line begins at a stamp of an earlier one, at the time it was made or later:
//! it is not above the earlier line. Hence a lease that was stamped at real time `r` is never judged expired
//! before `r` plus its length, whichever leaders come between, and its holder, who counts from before it
//! asked, gives it up earlier. Time without a leader is not counted: leases then last longer, which is the
//! safe side. Wall clocks do not matter, and only the rates of monotonic clocks do.

use std::time::Duration;

/// Milliseconds of leaders' uptime since the shard began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicatedTime(pub u64);

impl ReplicatedTime {
    pub(crate) fn after(self, lease_ms: u64) -> Self {
        Self(self.0.saturating_add(lease_ms))
    }
}

/// Stamps commands, for as long as one leader leads.
#[derive(Clone, Copy, Debug)]
pub struct LeaderClock {
    base: ReplicatedTime,
    began: Duration,
}

impl LeaderClock {
    /// The clock of a leader whose state's time is `base`, and whose monotonic clock reads `now` from any
    /// origin.
    pub fn new(base: ReplicatedTime, now: Duration) -> Self {
        Self { base, began: now }
    }

    /// The stamp of a command that is proposed `now`.
    pub fn stamp(&self, now: Duration) -> ReplicatedTime {
        let elapsed = now.saturating_sub(self.began).as_millis();
        self.base.after(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_the_leaders_uptime_on_top_of_the_states_time() {
        let clock = LeaderClock::new(ReplicatedTime(500), Duration::from_secs(100));
        assert_eq!(clock.stamp(Duration::from_millis(100_250)), ReplicatedTime(750));
        assert_eq!(clock.stamp(Duration::from_secs(99)), ReplicatedTime(500));
    }
}
