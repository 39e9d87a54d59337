//! The measured process: one worker of the product on one core, fed from a file without end.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use fabric_dpdk::{
    Clock, Eal, EalOptions, Mempool, PoolConfig, PortSpec, Ports, PortsConfig, WorkerIo, lcore,
};
use serde::{Deserialize, Serialize};

use crate::subject::{Mode, Outcome, Scenario, Subject};

/// As many packet buffers as testpmd gets.
pub(crate) const PACKET_BUFFERS: u32 = 65_536;
/// Rounds between two looks at the time limit.
const ROUNDS: usize = 1024;
/// A hit share above which the cache counts as warm.
const WARM: f64 = 0.999;
/// How long the cache may take to warm up.
const WARM_DEADLINE: Duration = Duration::from_secs(3);

/// Arguments of the hidden subcommand.
#[derive(Args, Debug)]
pub(crate) struct WorkerArguments {
    /// The capture file.
    #[arg(long)]
    pub(crate) pcap: PathBuf,
    /// What is measured.
    #[command(flatten)]
    pub(crate) scenario: Scenario,
    /// The core.
    #[arg(long, default_value_t = 1)]
    pub(crate) core: usize,
    /// Seconds before measuring.
    #[arg(long, default_value_t = 0.5)]
    pub(crate) warm_up: f64,
    /// Seconds measured.
    #[arg(long, default_value_t = 2.0)]
    pub(crate) seconds: f64,
}

/// What the process prints.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct WorkerResult {
    /// Packets of clients each second, in millions.
    pub(crate) mpps: f64,
    /// The share of them that was answered in place.
    pub(crate) hit_share: f64,
    /// The share of the measured time in which the worker had its core.
    pub(crate) core_share: f64,
    /// Counters since the start of the process.
    pub(crate) counters: Vec<(String, u64)>,
}

fn pool() -> PoolConfig {
    PoolConfig { packets: PACKET_BUFFERS, ..PoolConfig::default() }
}

/// What the buffers and DPDK itself take, in MiB.
pub(crate) fn memory_mib() -> u32 {
    pool().memory_mib() + 64
}

/// Measures, and prints the result as one line of JSON.
pub(crate) fn main(arguments: WorkerArguments) -> Result<(), Box<dyn Error>> {
    let input = format!("net_pcap0,rx_pcap={},infinite_rx=1", arguments.pcap.display());
    let specs: Vec<PortSpec> = vec![input.parse()?, "net_null0,no-rx=1".parse()?];
    let eal = Eal::init(&EalOptions { memory_mib: memory_mib(), ..EalOptions::for_ports(&specs) })?;
    let pool = Mempool::create(eal, &pool())?;
    let (_ports, mut workers) = Ports::open(eal, &PortsConfig::new(specs, 1, pool))?;
    let io = workers.pop().ok_or("no worker")?;
    let subject = Subject::new(io, &arguments.scenario)?;
    let clock = Clock::start();
    let core = arguments.core;
    let thread = lcore::spawn(eal, "worker-0", Some(core), move || measure(subject, clock, &arguments))?;
    let result = thread.join().map_err(|_| "the worker panicked")?;
    println!("{}", serde_json::to_string(&result)?);
    Ok(())
}

fn measure(mut subject: Subject<WorkerIo>, clock: Clock, arguments: &WorkerArguments) -> WorkerResult {
    run(&mut subject, clock, Duration::from_secs_f64(arguments.warm_up));
    if arguments.scenario.mode == Mode::Hit {
        warm_cache(&mut subject, clock);
    }
    let before = on_processor();
    let (outcome, elapsed) = run(&mut subject, clock, Duration::from_secs_f64(arguments.seconds));
    let on_processor = on_processor().saturating_sub(before);
    WorkerResult {
        mpps: outcome.sum() as f64 / elapsed.as_secs_f64() / 1e6,
        hit_share: share(outcome),
        core_share: on_processor.as_secs_f64() / elapsed.as_secs_f64(),
        counters: subject.counters(),
    }
}

/// The time that this thread has been on a processor.
fn on_processor() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split_whitespace().next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

fn warm_cache(subject: &mut Subject<WorkerIo>, clock: Clock) {
    let start = clock.now();
    while clock.now().since(start) < WARM_DEADLINE {
        let (outcome, _) = run(subject, clock, Duration::from_millis(50));
        if share(outcome) > WARM {
            return;
        }
    }
}

fn share(outcome: Outcome) -> f64 {
    outcome.hits as f64 / outcome.sum().max(1) as f64
}

/// Polls for `length`: what became of the packets meanwhile, and the time it took.
#[inline(never)]
fn run(subject: &mut Subject<WorkerIo>, clock: Clock, length: Duration) -> (Outcome, Duration) {
    let (before, start) = (subject.outcome(), clock.now());
    loop {
        for _ in 0..ROUNDS {
            subject.step(clock.now());
        }
        let elapsed = clock.now().since(start);
        if elapsed >= length {
            return (subject.outcome().since(&before), elapsed);
        }
    }
}
