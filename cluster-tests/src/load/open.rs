//! The open loop.

use std::io;
use std::time::{Duration, Instant};

use super::Target;
use super::channel::UnderWay;
use super::generator::Generator;
use super::measured::Measured;
use super::order::Order;
use crate::random::Random;

/// A request that leaves this much after its time counts as late.
const LATE: Duration = Duration::from_millis(1);

/// An open loop.
#[derive(Clone, Copy, Debug)]
pub struct Open {
    /// Requests each second on average.
    pub rate: f64,
    /// Exponential gaps (a Poisson process), or equal ones.
    pub poisson: bool,
    /// The generator polls for this long before each request's time, so that waking up is not part of what is
    /// measured.
    pub spin: Duration,
    /// Time before measuring starts.
    pub warm_up: Duration,
    /// Time measured.
    pub measure: Duration,
    /// The seed of the gaps.
    pub seed: u64,
}

/// Sends requests at their times, on the sockets in turn. Latency counts from the time a request was to leave.
///
/// # Errors
/// What the kernel says, or that a reply is not the one to its request.
pub fn open(target: &Target, order: &Order, run: &Open) -> io::Result<Measured> {
    let mut generator = Generator::open(target, order)?;
    // The default slack of 50 us would be part of every latency.
    nix::sys::prctl::set_timerslack(1)?;
    let mut times = Times::new(Instant::now(), run);
    let (mut ended, mut socket) = (Vec::new(), 0);
    while let Some(next) = times.next() {
        let now = Instant::now();
        if now < next {
            generator.sleep((next - now).saturating_sub(run.spin))?;
        }
        collect(&mut generator, &mut ended, &mut times)?;
        let now = Instant::now();
        while let Some(due) = times.take_due(now) {
            times.measured.lost += u64::from(!generator.send(socket, due, now)?);
            generator.flush(socket)?;
            socket = (socket + 1) % generator.channels();
        }
    }
    let deadline = Instant::now() + generator.patience();
    while generator.under_way() > 0 && Instant::now() < deadline {
        generator.sleep(Duration::from_millis(1))?;
        collect(&mut generator, &mut ended, &mut times)?;
    }
    times.measured.lost += generator.under_way() as u64;
    Ok(times.measured)
}

/// Takes in what has come.
fn collect(
    generator: &mut Generator<'_>,
    ended: &mut Vec<UnderWay>,
    times: &mut Times<'_>,
) -> io::Result<()> {
    generator.look(0)?;
    while generator.next_ready(ended)?.is_some() {
        let now = Instant::now();
        ended.drain(..).for_each(|request| times.answered(request.due, now));
    }
    let now = Instant::now();
    generator.give_up(now, |_| times.measured.lost += u64::from(now >= times.from));
    Ok(())
}

/// When requests are to leave, and what is measured by it. Reads no clock.
struct Times<'a> {
    run: &'a Open,
    random: Random,
    next: Instant,
    from: Instant,
    until: Instant,
    measured: Measured,
}

impl<'a> Times<'a> {
    fn new(start: Instant, run: &'a Open) -> Self {
        let (from, until) = (start + run.warm_up, start + run.warm_up + run.measure);
        let mut measured = Measured::new();
        measured.elapsed = run.measure;
        let mut times = Self { run, random: Random::new(run.seed), next: start, from, until, measured };
        times.advance();
        times
    }

    fn advance(&mut self) {
        let uniform = ((self.random.next() >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
        let gap = if self.run.poisson { -uniform.ln() } else { 1.0 } / self.run.rate;
        self.next += Duration::from_secs_f64(gap);
    }

    /// When the next request is to leave; `None` if no more are.
    fn next(&self) -> Option<Instant> {
        (self.next < self.until).then_some(self.next)
    }

    /// The time at which the next request was to leave, if it is to leave by `now`.
    fn take_due(&mut self, now: Instant) -> Option<Instant> {
        let due = self.next().filter(|next| *next <= now)?;
        self.measured.late += u64::from(due >= self.from && now - due > LATE);
        self.advance();
        Some(due)
    }

    /// A request that was to leave at `due` is answered. Counts if that was after the warm-up.
    fn answered(&mut self, due: Instant, now: Instant) {
        if due >= self.from {
            self.measured.record(now.saturating_duration_since(due));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Keys;
    use crate::load::testing::udp_server;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// A request each millisecond.
    fn run() -> Open {
        let (spin, warm_up) = (Duration::ZERO, Duration::ZERO);
        Open { rate: 1000.0, poisson: false, spin, warm_up, measure: 50 * MILLISECOND, seed: 1 }
    }

    #[test]
    fn a_stall_is_felt_by_every_request_that_came_due_in_it() {
        let (run, start) = (run(), Instant::now());
        let mut times = Times::new(start, &run);
        // A server that takes 3 ms for each: the queue grows. The generator itself stalls from 10 to 30 ms.
        let mut free = start;
        for now in (0..=10).chain(30..60).map(|now| start + now * MILLISECOND) {
            while let Some(due) = times.take_due(now) {
                free = free.max(now) + 3 * MILLISECOND;
                times.answered(due, free);
            }
        }
        let Measured { replies, late, .. } = times.measured;
        assert_eq!((replies, late, times.next()), (49, 18, None));
        // The first is served at once; the last, of the 49th millisecond, when all before it are.
        let latency = |quantile| (times.measured.latency_us(quantile) / 1000.0).round();
        assert_eq!((latency(0.01), latency(1.0)), (3.0, 99.0));
    }

    #[test]
    fn what_is_due_in_the_warm_up_is_sent_and_not_counted() {
        let run = Open { warm_up: 20 * MILLISECOND, ..run() };
        let start = Instant::now();
        let mut times = Times::new(start, &run);
        let due: Vec<_> = std::iter::from_fn(|| times.take_due(start + 100 * MILLISECOND)).collect();
        due.iter().for_each(|due| times.answered(*due, *due + MILLISECOND));
        assert_eq!((due.len(), times.measured.replies), (69, 50));
    }

    #[test]
    fn every_request_is_answered_or_lost() {
        let target = udp_server(Duration::ZERO, 100);
        let order = Order::zipf(Keys { count: 16, value_bytes: 8 }, 0.99, 1);
        let measured = open(&target, &order, &run()).unwrap();
        assert_eq!(measured.replies + measured.lost, 49, "{measured:?}");
    }
}
