//! A worker's thread: rounds over its queues, and rest between them when nothing arrives.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use fabric::io::PacketIo;
use fabric::time::Nanos;
use fabric::worker::{Backoff, Idle, Rest, Worker};
use fabric_dpdk::Clock;
use nix::sys::prctl;

/// Rounds between two looks at the stop flag and two publications of the activity.
const ROUNDS: u64 = 64;
/// A sleep ends so many nanoseconds late at most; the kernel's default of 50 µs would be half of the back-off.
const TIMER_SLACK_NS: u64 = 1_000;

/// How busy a worker is.
#[derive(Debug, Default)]
pub struct Activity {
    busy: AtomicU64,
    rounds: AtomicU64,
    /// Thousandths of the last period's time spent in rounds that found work.
    busy_permille: AtomicU64,
}

impl Activity {
    /// `(rounds that found work, all rounds)` since the start.
    pub fn read(&self) -> (u64, u64) {
        (self.busy.load(Ordering::Relaxed), self.rounds.load(Ordering::Relaxed))
    }

    /// The part of the last second that went into rounds that found work, in percent.
    pub fn busy_percent(&self) -> f64 {
        self.busy_permille.load(Ordering::Relaxed) as f64 / 10.0
    }
}

/// The time of one worker's rounds, as it adds up.
struct Load {
    period_began: Nanos,
    busy: Duration,
}

/// How long a load is measured before it is published.
const PERIOD: Duration = Duration::from_secs(1);

impl Load {
    /// Counts a round from `began` to `ended`. The clock is read once a round: its end is the next one's beginning.
    fn count(&mut self, worked: bool, began: Nanos, ended: Nanos, activity: &Activity) {
        if worked {
            self.busy += ended.since(began);
        }
        let period = ended.since(self.period_began);
        if period >= PERIOD {
            let permille = self.busy.as_nanos() * 1000 / period.as_nanos().max(1);
            activity.busy_permille.store(permille as u64, Ordering::Relaxed);
            *self = Self { period_began: ended, busy: Duration::ZERO };
        }
    }
}

/// Runs `worker` until `stop` is set.
pub(super) fn run<I: PacketIo>(
    mut worker: Worker<I>,
    clock: Clock,
    idle: Idle,
    stop: &AtomicBool,
    activity: &Activity,
) {
    if let Err(error) = prctl::set_timerslack(TIMER_SLACK_NS) {
        tracing::warn!(%error, "the timer slack stays as it is; an idle worker wakes up to 50 µs late");
    }
    let mut backoff = Backoff::new(idle);
    let (mut busy, mut rounds) = (0, 0);
    let mut now = clock.now();
    let mut load = Load { period_began: now, busy: Duration::ZERO };
    while !stop.load(Ordering::Acquire) {
        for _ in 0..ROUNDS {
            let worked = worker.step(now).found_any();
            let ended = clock.now();
            load.count(worked, now, ended, activity);
            now = ended;
            rounds += 1;
            busy += u64::from(worked);
            match backoff.after(worked) {
                Rest::None => {}
                Rest::Spin => std::hint::spin_loop(),
                Rest::Yield => thread::yield_now(),
                Rest::Sleep(time) => {
                    thread::sleep(time);
                    now = clock.now();
                }
            }
        }
        activity.busy.store(busy, Ordering::Relaxed);
        activity.rounds.store(rounds, Ordering::Relaxed);
    }
    worker.publish();
}
