//! What a worker does while nothing arrives.

use std::time::Duration;

/// Empty rounds before a worker first lets go of its core: some ten microseconds of polling.
const SPINS: u32 = 256;
/// Rounds after that in which it only yields to other threads.
const YIELDS: u32 = 64;
/// The first sleep; each next one is twice as long.
const FIRST_SLEEP: Duration = Duration::from_micros(1);

/// How a worker idles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// It polls all the time: the core is its own, no packet waits.
    Poll,
    /// It sleeps when nothing comes, longer and longer.
    ///
    /// The cost: the first packet after a pause waits at most `max`, and what the kernel adds to a sleep (about
    /// 50 µs with the default timer slack). After 320 rounds without a packet, sleeps double from 1 µs; a pause of
    /// about twice `max` reaches the full delay. A function's timers are late by as much.
    Backoff {
        /// The longest sleep. 50 µs to 1 ms are sensible; above 1 ms the functions' ticks come too late.
        max: Duration,
    },
}

/// What the shell is to do before the next round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Go on at once.
    None,
    /// Go on at once, but tell the processor that this is a spin loop.
    Spin,
    /// Let other threads run.
    Yield,
    /// Sleep for so long.
    Sleep(Duration),
}

/// Counts empty rounds and says how to rest. Sans-io: the shell rests.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    idle: Idle,
    empty_rounds: u32,
    sleep: Duration,
}

impl Backoff {
    /// A policy that has seen no round yet.
    pub fn new(idle: Idle) -> Self {
        Self { idle, empty_rounds: 0, sleep: FIRST_SLEEP }
    }

    /// What to do after a round that found work, or did not.
    #[inline]
    pub fn after(&mut self, worked: bool) -> Rest {
        if worked {
            self.empty_rounds = 0;
            return Rest::None;
        }
        let Idle::Backoff { max } = self.idle else { return Rest::Spin };
        if self.empty_rounds == 0 {
            self.sleep = FIRST_SLEEP.min(max);
        }
        self.empty_rounds = self.empty_rounds.saturating_add(1);
        if self.empty_rounds <= SPINS {
            return Rest::Spin;
        }
        if self.empty_rounds <= SPINS + YIELDS {
            return Rest::Yield;
        }
        let sleep = self.sleep;
        self.sleep = (sleep * 2).min(max);
        Rest::Sleep(sleep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_micros(100);

    fn rests(backoff: &mut Backoff, rounds: u32) -> Vec<Rest> {
        (0..rounds).map(|_| backoff.after(false)).collect()
    }

    #[test]
    fn polling_never_rests() {
        let mut backoff = Backoff::new(Idle::Poll);
        assert!(rests(&mut backoff, 10_000).iter().all(|rest| *rest == Rest::Spin));
        assert_eq!(backoff.after(true), Rest::None);
    }

    #[test]
    fn rests_grow_up_to_the_longest_and_work_ends_them() {
        let mut backoff = Backoff::new(Idle::Backoff { max: MAX });
        for _ in 0..2 {
            let rests = rests(&mut backoff, SPINS + YIELDS + 20);
            assert!(rests[..SPINS as usize].iter().all(|rest| *rest == Rest::Spin));
            assert!(rests[SPINS as usize..][..YIELDS as usize].iter().all(|rest| *rest == Rest::Yield));
            let sleeps = &rests[(SPINS + YIELDS) as usize..];
            let micros = [1, 2, 4, 8, 16, 32, 64, 100, 100];
            assert_eq!(sleeps[..9], micros.map(|micros| Rest::Sleep(Duration::from_micros(micros))));
            assert_eq!(sleeps[19], Rest::Sleep(MAX));
            assert_eq!(backoff.after(true), Rest::None);
        }
    }

    #[test]
    fn a_busy_worker_does_not_sleep() {
        let mut backoff = Backoff::new(Idle::Backoff { max: MAX });
        for round in 0..10_000 {
            let rest = backoff.after(round % 100 == 0);
            assert!(matches!(rest, Rest::None | Rest::Spin));
        }
    }
}
