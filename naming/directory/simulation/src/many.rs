//! Many runs, on all cores.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Broken, Failure, Report, run};

/// Runs all seeds, and adds up what happened.
///
/// # Errors
/// The failure of the smallest seed that was found to fail.
pub fn many(seeds: Range<u64>, broken: Broken) -> Result<Report, Failure> {
    let next = AtomicU64::new(seeds.start);
    let total = Mutex::new((Report::default(), None::<Failure>));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let result = run(seed, broken);
                    let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                    match result {
                        Ok(report) => total.0 += report,
                        Err(failure) => {
                            next.store(seeds.end, Ordering::Relaxed);
                            if total.1.as_ref().is_none_or(|other| failure.seed < other.seed) {
                                total.1 = Some(failure);
                            }
                        }
                    }
                }
            });
        }
    });
    let (report, failure) = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    failure.map_or(Ok(report), Err)
}
