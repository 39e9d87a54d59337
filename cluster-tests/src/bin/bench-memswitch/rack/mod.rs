//! Throughput, latency and processor time in a rack: one client, two memcached servers, and between them the
//! kernel's bridge alone, twemproxy on a host of its own, or the switch.
//!
//! Client, servers and middle box share the machine's cores, so throughput is that of the whole rack, not of the
//! middle box. A rack is built anew for every ground in every round.

mod arms;
mod results;
mod twemproxy;

pub(crate) use arms::{Arm, Ground};
pub(crate) use results::{LatencyRow, RackResults};

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use cluster_tests::admin::AdminClient;
use cluster_tests::bench::cpu_time;
use cluster_tests::bench::progress::Progress;
use cluster_tests::load::{self, Closed, Keys, Measured, Open, Order, Target, prefill};
use cluster_tests::rack::{Host, MEMCACHED_PORT, Process, Rack};
use indicatif::ProgressBar;

use crate::Plan;
use results::{Latency, Samples, Throughput};

/// Value sizes in bytes; the last two do not fit one packet.
pub(crate) const VALUE_BYTES: [usize; 5] = [32, 256, 1024, 4096, 11 * 1024];
/// Bytes of all values of one size, about; at most so many keys.
const SET_BYTES: usize = 4 << 20;
const MOST_KEYS: usize = 10_000;
const EXPONENT: f64 = 0.99;

/// Requests under way in closed loop.
const OUTSTANDING: usize = 64;
/// Light load, in requests each second. Over few keys, so that they are hot even so.
const LIGHT_RATE: f64 = 100.0;
const LIGHT_KEYS: usize = 2;
const LIGHT_SPIN: Duration = Duration::from_micros(100);
/// The load under which latency is measured: below what the slowest arm can do, the same for all.
const LOAD_RATE: f64 = 20_000.0;

/// The keys of one value size.
pub(crate) fn keys(value_bytes: usize) -> Keys {
    Keys { count: (SET_BYTES / value_bytes).min(MOST_KEYS), value_bytes }
}

/// How long each kind of run takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// Before every measurement.
    pub(crate) warm_up: Duration,
    /// Of each closed loop.
    pub(crate) throughput: Duration,
    /// At light load.
    pub(crate) light: Duration,
    /// At load.
    pub(crate) load: Duration,
}

/// Measures every arm in every round. What fails is named in the results and left out.
///
/// # Errors
/// If no rack can be built here at all.
pub(crate) fn measure(plan: &Plan, progress: &Progress) -> Result<RackResults, Box<dyn Error>> {
    let steps: usize = Ground::ALL.iter().map(|ground| ground.arms().len()).sum();
    let bar = progress.bar("rack", (plan.rounds * steps) as u64);
    let mut samples = Samples::default();
    for round in 0..plan.rounds {
        for ground in Ground::ALL {
            bar.set_message(format!("building: {ground}"));
            match measure_ground(ground, round, plan, &bar, &mut samples) {
                Ok(()) => {}
                Err(error) => samples.fail(ground, error),
            }
        }
    }
    bar.finish_and_clear();
    Ok(samples.summarize())
}

fn measure_ground(
    ground: Ground,
    round: usize,
    plan: &Plan,
    bar: &ProgressBar,
    samples: &mut Samples,
) -> Result<(), Box<dyn Error>> {
    let rack = ground.build()?;
    fill(&rack)?;
    for arm in ground.arms() {
        bar.set_message(arm.to_string());
        let measured = Bench::new(&rack, *arm).and_then(|bench| bench.run(round, plan, samples));
        if let Err(error) = measured {
            samples.fail(arm, error);
        }
        bar.inc(1);
    }
    Ok(())
}

/// Puts all keys into all servers: whichever a hash chooses has them.
pub(crate) fn fill(rack: &Rack) -> Result<(), Box<dyn Error>> {
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, MEMCACHED_PORT);
    for server in rack.servers() {
        let fill = || VALUE_BYTES.iter().try_for_each(|bytes| prefill(address, keys(*bytes)));
        server.host.run(fill)?;
    }
    Ok(())
}

/// One arm on its rack.
struct Bench<'a> {
    arm: Arm,
    client: &'a Host,
    target: Target,
    /// The node's counters, if it is the switch that is measured.
    admin: Option<AdminClient>,
    /// The process whose time is taken, if there is one.
    middle_box: Option<u32>,
    /// twemproxy, while it is measured.
    _process: Option<Process>,
}

impl<'a> Bench<'a> {
    fn new(rack: &'a Rack, arm: Arm) -> Result<Self, Box<dyn Error>> {
        let process = if arm == Arm::Twemproxy { Some(twemproxy::start(rack)?) } else { None };
        let id = process.as_ref().map(Process::id).or_else(|| rack.switch_process_id());
        let target = arm.target(rack);
        let admin = rack.switch_process_id().map(|_| rack.admin());
        Ok(Self { arm, client: rack.client(0), target, admin, middle_box: id, _process: process })
    }

    fn run(&self, round: usize, plan: &Plan, samples: &mut Samples) -> Result<(), Box<dyn Error>> {
        let times = &plan.times;
        let few = Order::zipf(Keys { count: LIGHT_KEYS, value_bytes: VALUE_BYTES[0] }, 0.0, 5);
        let light = self.latency(&few, LIGHT_RATE, times.light.max(times.warm_up), times.warm_up, round)?;
        samples.light.entry(self.arm).or_default().push(light);
        if !self.arm.is_under_load() {
            return Ok(());
        }
        for bytes in VALUE_BYTES {
            let throughput = self.throughput(&Order::zipf(keys(bytes), EXPONENT, 7), times)?;
            samples.throughput.entry((self.arm, bytes)).or_default().push(throughput);
        }
        let order = Order::zipf(keys(VALUE_BYTES[0]), EXPONENT, 7);
        let load = self.latency(&order, LOAD_RATE, times.load, times.warm_up, round)?;
        samples.load.entry(self.arm).or_default().push(load);
        Ok(())
    }

    fn throughput(&self, order: &Order, times: &Times) -> Result<Throughput, Box<dyn Error>> {
        let mut load = self.client.run(|| Closed::open(&self.target, order, OUTSTANDING))?;
        load.run(times.warm_up)?;
        let (answered, before) = (self.answered(), self.box_time());
        let measured = load.run(times.throughput)?;
        let spent = before.zip(self.box_time()).map(|(before, after)| after.saturating_sub(before));
        let hit_share = answered.zip(self.answered()).map(|(before, after)| share(before, after));
        some_replies(&measured)?;
        let per_million = |spent: Duration| spent.as_secs_f64() / measured.replies as f64 * 1e6;
        Ok(Throughput {
            rate: measured.rate(),
            lost: measured.lost,
            p50_us: measured.latency_us(0.5),
            p99_us: measured.latency_us(0.99),
            box_seconds_per_million: spent.map(per_million),
            hit_share,
        })
    }

    /// Processor time of the middle box so far.
    fn box_time(&self) -> Option<Duration> {
        cpu_time::of(self.middle_box?)
    }

    /// Gets that the node has answered itself, and those that it has sent on.
    fn answered(&self) -> Option<(f64, f64)> {
        let metrics = self.admin.as_ref()?.metrics().ok()?;
        Some((metrics.sum("hits"), metrics.sum("redirected")))
    }

    fn latency(
        &self,
        order: &Order,
        rate: f64,
        measure: Duration,
        warm_up: Duration,
        round: usize,
    ) -> Result<Latency, Box<dyn Error>> {
        let spin = if rate == LIGHT_RATE { LIGHT_SPIN } else { Duration::ZERO };
        let run = Open { rate, poisson: true, spin, warm_up, measure, seed: round as u64 };
        let measured = self.client.run(|| load::open(&self.target, order, &run))?;
        some_replies(&measured)?;
        Ok(Latency {
            p50_us: measured.latency_us(0.5),
            p90_us: measured.latency_us(0.9),
            p99_us: measured.latency_us(0.99),
            p999_us: measured.latency_us(0.999),
            replies: measured.replies,
            lost: measured.lost,
            late: measured.late,
        })
    }
}

/// The share of hits between two looks at `(hits, redirected)`.
fn share(before: (f64, f64), after: (f64, f64)) -> f64 {
    let (hits, redirected) = (after.0 - before.0, after.1 - before.1);
    hits / (hits + redirected).max(1.0)
}

fn some_replies(measured: &Measured) -> Result<(), Box<dyn Error>> {
    if measured.replies == 0 { Err("no request got a reply".into()) } else { Ok(()) }
}
