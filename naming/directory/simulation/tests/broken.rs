//! Every rule that is broken on purpose is noticed, and again by the same seed.

use directory_simulation::{Broken, many, run};

const SEEDS: u64 = 1000;

#[test]
fn every_broken_rule_is_noticed() {
    for broken in Broken::ALL {
        let failure = match many(0..SEEDS, broken) {
            Err(failure) => failure,
            Ok(report) => panic!("{broken:?} was not noticed in {SEEDS} runs: {report:?}"),
        };
        println!("{broken:?}: {failure}");
        let again = run(failure.seed, broken).err();
        assert_eq!(Some(failure.to_string()), again.map(|failure| failure.to_string()), "{broken:?}");
    }
}
