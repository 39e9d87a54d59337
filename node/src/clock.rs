//! The time that a node's parts share.

use std::time::Instant;

use fabric::time::Nanos;

/// Time since the node was started. The packet path and pools over TCP go by the same one: what the one notes of a pool, the
/// other judges.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The kernel's.
    Kernel(Instant),
    /// The packet path's, which is read without a system call.
    #[cfg(feature = "dpdk")]
    Dpdk(fabric_dpdk::Clock),
}

impl Clock {
    /// The kernel's, from now on.
    pub fn kernel() -> Self {
        Self::Kernel(Instant::now())
    }

    /// The time now.
    #[inline]
    pub fn now(&self) -> Nanos {
        match self {
            Self::Kernel(origin) => Nanos(u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX)),
            #[cfg(feature = "dpdk")]
            Self::Dpdk(clock) => clock.now(),
        }
    }
}
