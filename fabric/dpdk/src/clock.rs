//! Monotonic time for workers: one instruction and one multiplication.

use fabric::time::Nanos;
use fabric_dpdk_sys as sys;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// How long the counter is compared with the kernel's clock. The comparison is off by some 0.1 µs, hence the rate by some 2 ppm.
const CALIBRATION: Duration = Duration::from_millis(50);

/// How often two clocks are read to find a pair of readings that nothing came between.
const TRIES: usize = 16;

/// Bits behind the binary point of nanoseconds per cycle.
const FRACTION_BITS: u32 = 32;

/// Time since [`Clock::start`]. Copies share their origin, so start one for each node and give every worker a copy.
///
/// It counts cycles of the processor's time stamp counter if the kernel trusts that to run alike on all cores, and asks
/// the kernel otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Source);

#[derive(Clone, Copy, Debug)]
enum Source {
    Counter { origin: u64, nanos_per_cycle: u64 },
    Kernel { origin: Instant },
}

impl Clock {
    /// Starts the clock; takes 50 ms to find the rate of the counter.
    pub fn start() -> Self {
        if kernel_trusts_counter() {
            Self::calibrated()
        } else {
            Self(Source::Kernel { origin: Instant::now() })
        }
    }

    /// The time since the start.
    #[inline]
    pub fn now(&self) -> Nanos {
        match self.0 {
            Source::Counter { origin, nanos_per_cycle } => {
                let cycles = u128::from(counter().saturating_sub(origin));
                Nanos(((cycles * u128::from(nanos_per_cycle)) >> FRACTION_BITS) as u64)
            }
            Source::Kernel { origin } => Nanos(origin.elapsed().as_nanos() as u64),
        }
    }

    /// DPDK's own estimate is rounded to 10 MHz, which is off by up to 0.2 %: too much for leases, which allow for a
    /// drift far below that.
    fn calibrated() -> Self {
        let (origin, start) = read_both();
        thread::sleep(CALIBRATION);
        let (counted, end) = read_both();
        let nanos = end.duration_since(start).as_nanos();
        let cycles = u128::from(counted.saturating_sub(origin).max(1));
        let nanos_per_cycle = ((nanos << FRACTION_BITS) / cycles) as u64;
        Self(Source::Counter { origin, nanos_per_cycle })
    }
}

#[inline]
fn counter() -> u64 {
    // SAFETY: reads a register.
    unsafe { sys::fabric_rdtsc() }
}

/// Counter and kernel clock at the same moment: of several readings the one that took least.
fn read_both() -> (u64, Instant) {
    let read = |_| {
        let before = counter();
        let instant = Instant::now();
        let took = counter().saturating_sub(before);
        (took, before + took / 2, instant)
    };
    let (_, counted, instant) = (0..TRIES).map(read).min_by_key(|reading| reading.0).expect("TRIES is not 0");
    (counted, instant)
}

/// The kernel compares the counters of all cores, and takes them off this list when they disagree or can stop.
fn kernel_trusts_counter() -> bool {
    let sources = fs::read_to_string("/sys/devices/system/clocksource/clocksource0/available_clocksource");
    sources.is_ok_and(|sources| sources.split_whitespace().any(|source| source == "tsc"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeps_pace(clock: Clock) {
        let (begin, instant) = (clock.now(), Instant::now());
        let mut last = begin;
        while instant.elapsed() < Duration::from_millis(200) {
            let now = clock.now();
            assert!(now >= last, "{now:?} after {last:?}");
            last = now;
        }
        let (elapsed, real) = (clock.now().since(begin), instant.elapsed());
        let error = elapsed.abs_diff(real);
        // 100 ppm of 200 ms is 20 µs; being preempted between two readings costs more, but seldom twice.
        assert!(error < Duration::from_millis(2), "{elapsed:?} instead of {real:?}");
    }

    #[test]
    fn both_sources_keep_pace_with_the_kernel() {
        keeps_pace(Clock::start());
        keeps_pace(Clock(Source::Kernel { origin: Instant::now() }));
    }

    #[test]
    fn copies_share_their_origin() {
        let clock = Clock::start();
        let copy = clock;
        let (first, second, third) = (clock.now(), copy.now(), clock.now());
        assert!(first <= second && second <= third);
    }
}
