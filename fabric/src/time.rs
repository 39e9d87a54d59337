//! Monotonic time, passed in by the shell.

use std::ops::{Add, Sub};
use std::time::Duration;

/// Nanoseconds since an origin that the shell chooses once (every worker of a node shares it).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The time from `earlier` to `self`; zero if `earlier` is later.
    pub fn since(self, earlier: Nanos) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Nanos {
    type Output = Nanos;
    fn add(self, duration: Duration) -> Nanos {
        Nanos(self.0.saturating_add(duration.as_nanos() as u64))
    }
}

impl Sub<Duration> for Nanos {
    type Output = Nanos;
    fn sub(self, duration: Duration) -> Nanos {
        Nanos(self.0.saturating_sub(duration.as_nanos() as u64))
    }
}
