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
    let mut random = Random::new(run.seed);
    let mut gap = || {
        let uniform = ((random.next() >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
        Duration::from_secs_f64(if run.poisson { -uniform.ln() } else { 1.0 } / run.rate)
    };
    let start = Instant::now();
    let (from, until) = (start + run.warm_up, start + run.warm_up + run.measure);
    let (mut measured, mut ended) = (Measured::new(), Vec::new());
    let (mut next, mut socket) = (start + gap(), 0);
    while next < until {
        let now = Instant::now();
        if now < next {
            generator.sleep((next - now).saturating_sub(run.spin))?;
        }
        collect(&mut generator, from, &mut ended, &mut measured)?;
        let now = Instant::now();
        while next <= now && next < until {
            measured.late += u64::from(next >= from && now - next > LATE);
            measured.lost += u64::from(!generator.send(socket, next, now)?);
            generator.flush(socket)?;
            socket = (socket + 1) % generator.channels();
            next += gap();
        }
    }
    let deadline = Instant::now() + generator.patience();
    while generator.under_way() > 0 && Instant::now() < deadline {
        generator.sleep(Duration::from_millis(1))?;
        collect(&mut generator, from, &mut ended, &mut measured)?;
    }
    measured.lost += generator.under_way() as u64;
    measured.elapsed = run.measure;
    Ok(measured)
}

/// Takes in what has come, and records what was due from `from` on.
fn collect(
    generator: &mut Generator<'_>,
    from: Instant,
    ended: &mut Vec<UnderWay>,
    measured: &mut Measured,
) -> io::Result<()> {
    generator.look(0)?;
    while generator.next_ready(ended)?.is_some() {
        let now = Instant::now();
        for request in ended.drain(..).filter(|request| request.due >= from) {
            measured.record(now.saturating_duration_since(request.due));
        }
    }
    let now = Instant::now();
    generator.give_up(now, |_| measured.lost += u64::from(now >= from));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Keys;
    use crate::load::testing::udp_server;

    #[test]
    fn a_stall_is_felt_by_every_request_that_came_due_in_it() {
        let run = Open {
            rate: 1000.0,
            poisson: false,
            spin: Duration::ZERO,
            warm_up: Duration::ZERO,
            measure: Duration::from_millis(50),
            seed: 1,
        };
        // 3 ms for each of 49 requests that come every millisecond: the queue grows.
        let target = udp_server(Duration::from_millis(3), 100);
        let order = Order::zipf(Keys { count: 16, value_bytes: 8 }, 0.99, 1);
        let measured = open(&target, &order, &run).unwrap();
        assert!(measured.replies >= 49, "{measured:?}");
        assert!(measured.latency_us(0.99) > 80_000.0, "{}", measured.latency_us(0.99));
        assert!(measured.latency_us(0.01) < 10_000.0);
    }
}
