//! Runs many seeds of the simulation.
//!
//! ```text
//! SEEDS=10000 simulate-directory         seeds 0 to 9999, on all cores
//! SEED=17 simulate-directory             this one, with an account of what happens
//! BROKEN=StaleReads simulate-directory   with a rule broken on purpose
//! ```
//! What happened is told as JSON on standard output; what does not hold, on standard error.

use std::process::ExitCode;

use directory_simulation::{Broken, many, run_traced};

fn main() -> ExitCode {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let broken = std::env::var("BROKEN").ok();
    let broken = Broken::ALL.into_iter().find(|rule| broken.as_deref() == Some(&format!("{rule:?}")));
    let broken = broken.unwrap_or_default();
    let outcome = match number("SEED") {
        Some(seed) => run_traced(seed, broken),
        None => {
            let first = number("FIRST").unwrap_or(0);
            many(first..first + number("SEEDS").unwrap_or(1000), broken)
        }
    };
    match outcome {
        Ok(report) => {
            println!("{:#}", serde_json::json!(report));
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}\nagain: SEED={} cargo run --release -p directory-simulation", failure.seed);
            ExitCode::FAILURE
        }
    }
}
