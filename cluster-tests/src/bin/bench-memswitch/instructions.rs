//! Instructions for each packet, counted by valgrind: a number that other load on the machine does not change.
//!
//! The path runs over ports in memory. What a packet costs is the difference of two runs, divided by the difference of
//! their packets; what ports in memory and the worker cost without the function is counted, too.

use std::error::Error;
use std::process::Command;
use std::time::Duration;

use clap::Args;
use cluster_tests::bench::progress::Progress;
use cluster_tests::bench::table::Table;
use cluster_tests::rack::find_program;
use fabric::io::BURST;
use fabric::memory::{MemoryIo, MemoryPool};
use fabric::time::Nanos;
use serde::Serialize;

use crate::subject::{CLIENTS, Mode, SERVERS, Scenario, Subject, frames};

/// Passes over all frames before counting: every key turns hot and enters the table, in mode `hit`.
const WARM_UP_PASSES: usize = 40;
/// As at ten million packets each second.
const PER_PACKET: Duration = Duration::from_nanos(100);
/// Packets of the two runs.
const COUNTS: [usize; 2] = [100_000, 300_000];
const BUFFER_BYTES: usize = 2048;

/// Arguments of the hidden subcommand.
#[derive(Args, Debug)]
pub(crate) struct InstructionsArguments {
    /// What is done.
    #[command(flatten)]
    pub(crate) scenario: Scenario,
    /// Packets after the warm-up.
    #[arg(long)]
    pub(crate) count: usize,
}

/// Runs so many packets through the path, with a clock that follows the packets.
///
/// # Errors
/// What the product says about the pool.
pub(crate) fn main(arguments: &InstructionsArguments) -> Result<(), Box<dyn Error>> {
    let scenario = arguments.scenario;
    let (frames, pool) = (frames(&scenario), MemoryPool::new(4096, BUFFER_BYTES));
    let mut subject = Subject::new(MemoryIo::with_pool(2, pool), &scenario)?;
    let mut now = Nanos(1_000_000_000);
    let total = WARM_UP_PASSES * frames.len() + arguments.count;
    let mut stream = frames.iter().cycle().take(total).peekable();
    while stream.peek().is_some() {
        for frame in stream.by_ref().take(BURST) {
            subject.io().arrive(CLIENTS, frame);
        }
        now = now + PER_PACKET * BURST as u32;
        subject.step(now);
        for port in [CLIENTS, SERVERS] {
            while subject.io().take_sent(port).is_some() {}
        }
    }
    println!("{:?}", subject.outcome());
    Ok(())
}

/// Instructions for a packet on one path.
#[derive(Debug, Serialize)]
pub(crate) struct Instructions {
    /// Which.
    pub(crate) path: String,
    /// For each packet, all told.
    pub(crate) per_packet: f64,
    /// Less what the learning switch and the ports in memory cost alone: the function's own.
    pub(crate) of_function: f64,
}

/// Counts on every path.
///
/// # Errors
/// If valgrind is missing or fails.
pub(crate) fn measure(progress: &Progress) -> Result<Vec<Instructions>, Box<dyn Error>> {
    let modes = [Mode::Bare, Mode::Pass, Mode::Redirect, Mode::Cold, Mode::Hit];
    let bar = progress.bar("valgrind", (modes.len() * COUNTS.len()) as u64);
    let mut bare = 0.0;
    let mut all = Vec::new();
    for mode in modes {
        let scenario = Scenario::of(mode);
        bar.set_message(scenario.to_string());
        let mut counted = [0; 2];
        for (counted, packets) in counted.iter_mut().zip(COUNTS) {
            *counted = count(&scenario, packets)?;
            bar.inc(1);
        }
        let per_packet = (counted[1] - counted[0]) as f64 / (COUNTS[1] - COUNTS[0]) as f64;
        if mode == Mode::Bare {
            bare = per_packet;
        }
        all.push(Instructions { path: scenario.to_string(), per_packet, of_function: per_packet - bare });
    }
    bar.finish_and_clear();
    Ok(all)
}

fn count(scenario: &Scenario, packets: usize) -> Result<u64, Box<dyn Error>> {
    let output = Command::new(find_program("valgrind")?)
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .arg("instructions")
        .args(scenario.arguments())
        .args(["--count", &packets.to_string()])
        .output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    let collected = errors.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    collected.ok_or_else(|| format!("valgrind counted nothing: {}", errors.trim()).into())
}

/// The table a person reads.
pub(crate) fn table(all: &[Instructions]) -> Table {
    let heads = ["path", "instructions/packet", "of the function"];
    let mut table = Table::new(
        "Instructions for each packet (callgrind, ports in memory, 16 B keys, 32 B values)",
        &heads,
    );
    for one in all {
        table.row([one.path.clone(), format!("{:.0}", one.per_packet), format!("{:.0}", one.of_function)]);
    }
    table
}
