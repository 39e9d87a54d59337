//! The directory's core, simulated: before anything is measured it has to be right. By `simulate-directory`, which is built
//! beside this program, some seeds at a time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use cluster_tests::bench::progress::Progress;
use cluster_tests::bench::table::Table;
use serde::Serialize;

use crate::Failure;

/// Seeds of one call: enough that its threads have all ends to do at once, few enough that the bar moves.
const AT_ONCE: u64 = 200;

/// Runs in which nothing failed.
#[derive(Debug, Serialize)]
pub(crate) struct Simulated {
    /// Runs, each by its seed, from 0 on.
    seeds: u64,
    /// How long they took.
    seconds: f64,
    /// What happened in them.
    happened: BTreeMap<String, u64>,
}

/// Simulates this many seeds.
///
/// # Errors
/// If something does not hold: the seed, and how to run it again, is on standard error then. If the program is not there.
pub(crate) fn run(seeds: u64) -> Result<Simulated, Failure> {
    let (program, began) = (program()?, Instant::now());
    let bar = Progress.bar("simulation", seeds);
    let mut happened = BTreeMap::new();
    for first in (0..seeds).step_by(AT_ONCE as usize) {
        let count = AT_ONCE.min(seeds - first);
        let output = Command::new(&program)
            .env_clear()
            .envs([("FIRST", first.to_string()), ("SEEDS", count.to_string())])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        if !output.status.success() {
            bar.abandon();
            eprint!("{}", String::from_utf8_lossy(&output.stderr));
            return Err("a simulated run failed: nothing was measured".into());
        }
        let part: BTreeMap<String, u64> = serde_json::from_slice(&output.stdout)?;
        for (what, count) in part {
            *happened.entry(what).or_default() += count;
        }
        bar.inc(count);
    }
    bar.finish_and_clear();
    Ok(Simulated { seeds, seconds: began.elapsed().as_secs_f64(), happened })
}

fn program() -> Result<PathBuf, Failure> {
    let program = std::env::current_exe()?.with_file_name("simulate-directory");
    if program.exists() {
        return Ok(program);
    }
    let path = program.display();
    Err(format!("{path} is missing: cargo build --release -p directory-simulation, or `--seeds 0`").into())
}

impl Simulated {
    /// What happened.
    pub(crate) fn table(&self) -> Table {
        let title = format!(
            "{} simulated runs of six nodes each, by seed, in {:.0} s: every invariant held, every history is linearizable",
            self.seeds, self.seconds
        );
        let mut table = Table::new(&title, &["what happened", "in all runs"]);
        for (what, count) in &self.happened {
            table.row([what.replace('_', " "), count.to_string()]);
        }
        table
    }
}
