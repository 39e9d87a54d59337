//! What one core can do: testpmd's `macswap`, then the product, on the same packets, core and devices, round by round.

mod testpmd;
pub(crate) mod worker;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::ValueEnum;
use cluster_tests::bench::progress::Progress;
use cluster_tests::bench::spread::Spread;
use cluster_tests::bench::table::Table;
use cluster_tests::scratch::Scratch;
use serde::Serialize;

use crate::Plan;
use crate::pcap;
use crate::subject::{Mode, Scenario, frames};
use worker::WorkerResult;

/// The core that forwards; testpmd's `-l 0,1` puts its forwarding there, too.
const CORE: usize = 1;

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Capacity {
    /// Median of the redirect path, cache off, in millions of packets each second.
    pub(crate) redirect_mpps: f64,
    /// Median of hits in place.
    pub(crate) hit_mpps: f64,
    /// Median of testpmd's `macswap`.
    pub(crate) macswap_mpps: f64,
    /// Everything, by name.
    pub(crate) all: Vec<Measured>,
}

/// One line of the table.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    /// What.
    pub(crate) name: String,
    /// Millions of packets each second.
    pub(crate) mpps: Spread,
    /// Relative to `macswap` in the same round.
    pub(crate) of_macswap: Spread,
    /// The share answered in place, in the last round.
    pub(crate) hit_share: f64,
    /// The share of the time in which the worker had its core; less than 1 if others used it, too. Not known of
    /// testpmd.
    pub(crate) core_share: Option<Spread>,
    /// The product's counters at the end of the last round.
    pub(crate) counters: BTreeMap<String, u64>,
}

/// What is measured besides `macswap`; the first four are what the project promises something about.
fn scenarios() -> Vec<Scenario> {
    let redirect = |servers| Scenario { servers, ..Scenario::of(Mode::Redirect) };
    let hit = |value_bytes| Scenario { value_bytes, ..Scenario::of(Mode::Hit) };
    vec![
        redirect(4),
        hit(32),
        Scenario::of(Mode::Cold),
        hit(1024),
        redirect(2),
        redirect(8),
        Scenario::of(Mode::Pass),
        Scenario::of(Mode::Bare),
    ]
}

/// Measures everything in every round.
///
/// # Errors
/// What the first process that failed says.
pub(crate) fn measure(plan: &Plan, progress: &Progress) -> Result<Capacity, Box<dyn Error>> {
    let scratch = Scratch::new("bench-memswitch")?;
    let scenarios = scenarios();
    let bar = progress.bar("capacity", (plan.rounds * (scenarios.len() + 1)) as u64);
    let files =
        scenarios.iter().map(|scenario| capture(scratch.path(), scenario)).collect::<Result<Vec<_>, _>>()?;
    let mut macswap = Vec::new();
    let mut results: Vec<Vec<WorkerResult>> = scenarios.iter().map(|_| Vec::new()).collect();
    for _ in 0..plan.rounds {
        bar.set_message("testpmd macswap");
        macswap.push(testpmd::macswap_mpps(&files[0], plan.capacity_seconds.ceil() as usize)?);
        bar.inc(1);
        for ((scenario, file), results) in scenarios.iter().zip(&files).zip(&mut results) {
            bar.set_message(scenario.to_string());
            results.push(run_worker(file, scenario, plan.capacity_seconds)?);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    summarize(&scenarios, &results, macswap).ok_or_else(|| "no rounds".into())
}

fn summarize(scenarios: &[Scenario], results: &[Vec<WorkerResult>], macswap: Vec<f64>) -> Option<Capacity> {
    let limit = Spread::of(macswap.clone())?;
    let mut all = vec![Measured {
        name: "testpmd macswap".to_owned(),
        of_macswap: Spread::of(macswap.iter().map(|_| 1.0))?,
        mpps: limit,
        hit_share: 0.0,
        core_share: None,
        counters: BTreeMap::new(),
    }];
    for (scenario, results) in scenarios.iter().zip(results) {
        let rounds: Vec<f64> = results.iter().map(|result| result.mpps).collect();
        all.push(Measured {
            name: scenario.to_string(),
            of_macswap: Spread::of_ratios(&rounds, &macswap)?,
            mpps: Spread::of(rounds)?,
            hit_share: results.last()?.hit_share,
            core_share: Spread::of(results.iter().map(|result| result.core_share)),
            counters: results.last()?.counters.iter().cloned().collect(),
        });
    }
    let [macswap_mpps, redirect_mpps, hit_mpps] = [0, 1, 2].map(|index| all[index].mpps.median);
    Some(Capacity { redirect_mpps, hit_mpps, macswap_mpps, all })
}

/// A capture file in `directory` with the packets of `scenario`.
fn capture(directory: &Path, scenario: &Scenario) -> Result<PathBuf, Box<dyn Error>> {
    let mode = scenario.mode.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let path = directory.join(format!("{mode}-{}.pcap", scenario.value_bytes));
    write_pcap(&path, scenario)?;
    Ok(path)
}

/// Writes the packets of `scenario` to `path`, for whoever wants to profile the worker by hand.
///
/// # Errors
/// Those of the file.
pub(crate) fn write_pcap(path: &Path, scenario: &Scenario) -> Result<(), Box<dyn Error>> {
    Ok(pcap::write(BufWriter::new(File::create(path)?), &frames(scenario))?)
}

fn run_worker(pcap: &Path, scenario: &Scenario, seconds: f64) -> Result<WorkerResult, Box<dyn Error>> {
    let output = Command::new(std::env::current_exe()?)
        .arg("capacity-worker")
        .args(["--pcap".as_ref(), pcap.as_os_str()])
        .args(scenario.arguments())
        .args(["--core", &CORE.to_string(), "--seconds", &seconds.to_string()])
        .stderr(Stdio::piped())
        .output()?;
    if !output.status.success() {
        return Err(format!("{scenario}: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let json = text.lines().rfind(|line| line.starts_with('{')).ok_or("the worker printed no result")?;
    Ok(serde_json::from_str(json)?)
}

impl Capacity {
    /// The table a person reads.
    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new(
            "Capacity of one core (net_pcap, 4096 gets by Zipf 0.99, 16 B keys; median, min..max)",
            &["path", "M packets/s", "of macswap", "hits", "core"],
        );
        for line in &self.all {
            let hits =
                if line.hit_share > 0.0 { format!("{:.1} %", line.hit_share * 100.0) } else { "-".into() };
            let core = line.core_share.as_ref().map_or("-".to_owned(), |share| share.show(2));
            table.row([line.name.clone(), line.mpps.show(2), line.of_macswap.show(2), hits, core]);
        }
        table
    }
}
