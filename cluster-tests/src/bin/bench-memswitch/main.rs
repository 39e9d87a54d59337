//! `bench-memswitch`: what the memcached switch costs and gains, beside testpmd, twemproxy and no middle box at all.
//!
//! | section | what it measures | from the paper |
//! |---|---|---|
//! | `capacity` | packets each second of one core, beside testpmd's `macswap` on the same packets | "10 M requests/s" |
//! | `rack` | throughput, latency and processor time in a rack of namespaces | Figures 3 and 4, Table 1 |
//! | `memory` | memory of the node, instructions for each request | |
//!
//! Sections run round by round, everything once in each round, so that what disturbs the machine disturbs all alike.

mod capacity;
mod instructions;
mod memory;
mod pcap;
mod rack;
mod report;
mod subject;

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use cluster_tests::bench::progress::Progress;
use cluster_tests::bench::report::Output;

use capacity::worker::WorkerArguments;
use instructions::InstructionsArguments;
use rack::Times;
use report::Report;
use subject::Scenario;

#[derive(Parser)]
#[command(about = "Measures the memcached switch beside testpmd, twemproxy and no middle box")]
struct Arguments {
    #[command(flatten)]
    output: Output,
    /// One round, short runs: to see that all works.
    #[arg(long)]
    quick: bool,
    /// Only this section; may be repeated.
    #[arg(long, value_enum)]
    only: Vec<Section>,
    /// Rounds.
    #[arg(long)]
    rounds: Option<usize>,
    #[command(subcommand)]
    hidden: Option<Hidden>,
}

#[derive(Subcommand)]
#[command(disable_help_subcommand = true)]
enum Hidden {
    /// One measurement of the capacity section.
    #[command(hide = true)]
    CapacityWorker(WorkerArguments),
    /// Runs packets through the path in memory, under valgrind.
    #[command(hide = true)]
    Instructions(InstructionsArguments),
    /// Writes the packets of the capacity section.
    #[command(hide = true)]
    Pcap {
        path: PathBuf,
        #[command(flatten)]
        scenario: Scenario,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Section {
    Capacity,
    Rack,
    Memory,
}

/// How much is measured.
#[derive(Debug)]
struct Plan {
    rounds: usize,
    capacity_seconds: f64,
    times: Times,
}

impl Plan {
    fn of(arguments: &Arguments) -> Self {
        let ms = Duration::from_millis;
        if arguments.quick {
            let times = Times { warm_up: ms(200), throughput: ms(500), light: ms(1000), load: ms(500) };
            return Self { rounds: arguments.rounds.unwrap_or(1), capacity_seconds: 1.0, times };
        }
        let times = Times { warm_up: ms(300), throughput: ms(1000), light: ms(3000), load: ms(1500) };
        Self { rounds: arguments.rounds.unwrap_or(5), capacity_seconds: 2.0, times }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = Arguments::parse();
    match arguments.hidden.take() {
        Some(Hidden::CapacityWorker(worker)) => capacity::worker::main(worker),
        Some(Hidden::Instructions(run)) => instructions::main(&run),
        Some(Hidden::Pcap { path, scenario }) => capacity::write_pcap(&path, &scenario),
        None => bench(&arguments),
    }
}

fn bench(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let (plan, progress) = (Plan::of(arguments), Progress);
    let mut report = Report::begin(plan.rounds);
    let wanted = |section| arguments.only.is_empty() || arguments.only.contains(&section);
    let mut failures = Vec::new();
    if wanted(Section::Capacity) {
        report.capacity = keep(&mut failures, "capacity", capacity::measure(&plan, &progress));
    }
    if wanted(Section::Rack) {
        report.rack = keep(&mut failures, "rack", rack::measure(&plan, &progress));
    }
    if wanted(Section::Memory) {
        report.memory = keep(&mut failures, "memory", memory::measure(&plan));
        report.instructions = keep(&mut failures, "instructions", instructions::measure(&progress));
    }
    report.failures = failures;
    arguments.output.publish(&report, &name(&arguments.only))?;
    Ok(())
}

/// A section that fails leaves the others' results standing.
fn keep<T>(failures: &mut Vec<String>, section: &str, result: Result<T, Box<dyn Error>>) -> Option<T> {
    result.map_err(|error| failures.push(format!("{section}: {error}"))).ok()
}

/// What the files of a run are called: runs of some sections do not replace a whole one of the same day.
fn name(only: &[Section]) -> String {
    let sections = only.iter().filter_map(|section| section.to_possible_value());
    sections.fold("memswitch".to_owned(), |name, section| name + "-" + section.get_name())
}
