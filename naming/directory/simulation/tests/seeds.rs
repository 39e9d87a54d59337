//! Some hundreds of runs; `simulate-directory` does thousands.

use directory_simulation::{Broken, many, run};

const SEEDS: u64 = 300;

#[test]
fn everything_holds() {
    let report = many(0..SEEDS, Broken::Nothing).unwrap_or_else(|failure| {
        panic!("{failure}\nagain: SEED={} cargo run -p directory-simulation", failure.seed)
    });
    println!("{report:#?}");
    // What is to be tested did happen.
    for (what, count, least) in [
        ("answers", report.answered, 200),
        ("crashes", report.crashes, 5),
        ("snapshots", report.snapshots_taken, 10),
        ("installed snapshots", report.snapshots_installed, 1),
        ("changes of members", report.member_changes, 1),
        ("steps of the balancer", report.balanced, 3),
    ] {
        assert!(count >= least * SEEDS, "{what}: {count} in {SEEDS} runs");
    }
    for (what, count) in [
        ("torn journals", report.torn),
        ("garbled snapshots", report.snapshots_garbled),
        ("clock jumps", report.clock_jumps),
        ("expired sessions", report.sessions_lost),
        ("transfers", report.transfers),
        ("splits", report.splits),
        ("replicas given up", report.retired),
    ] {
        assert!(count >= SEEDS / 10, "{what}: {count} in {SEEDS} runs");
    }
}

#[test]
fn a_seed_is_the_same_run_again() {
    for seed in [3, 40] {
        let [first, again] = [(); 2].map(|()| format!("{:?}", run(seed, Broken::Nothing)));
        assert_eq!(first, again);
    }
}
