//! Fan-out: how long it takes until all watchers of a prefix have seen what is published under it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use cluster_tests::load::Measured;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::client::Client;
use crate::entry::{self, Entry};
use crate::load::Loaded;
use crate::{Failure, Plan};

/// After so long a watcher has missed something.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the watchers of a prefix have still to see.
#[derive(Debug, Default)]
pub(crate) struct FanOut {
    left: AtomicI64,
    all: Notify,
    over: AtomicBool,
}

impl FanOut {
    /// A watcher has seen so many names, maybe none. `false`: it need not go on.
    pub(crate) fn seen(&self, names: usize) -> bool {
        // Read first: once all have seen all, the next step may be the last one, which this watcher is to see, too.
        let go_on = !self.over.load(Ordering::Acquire);
        let names = names as i64;
        if names > 0 && self.left.fetch_sub(names, Ordering::AcqRel) == names {
            self.all.notify_one();
        }
        go_on
    }

    fn expect(&self, names: usize) {
        self.left.store(names as i64, Ordering::Release);
    }

    async fn wait(&self) -> Result<(), Failure> {
        let missing =
            |_| format!("{} events did not come within {PATIENCE:?}", self.left.load(Ordering::Relaxed));
        Ok(timeout(PATIENCE, self.all.notified()).await.map_err(missing)?)
    }
}

/// Has `publisher` publish `names` at a time under a prefix of their own, named after `title`, each time when all
/// `watchers` have seen the last ones. Latencies are of the last one to see them.
///
/// # Errors
/// The first failure, or that something was not seen.
pub(crate) async fn run(
    publisher: &Client,
    watchers: &[Client],
    names: usize,
    title: &str,
    plan: &Plan,
    gauge: impl Fn() -> Duration,
) -> Result<Loaded, Failure> {
    let (fan_out, prefix) = (Arc::new(FanOut::default()), entry::prefix(title));
    for watcher in watchers {
        watcher.watch(&prefix, &fan_out).await?;
    }
    let mut first = 0;
    let mut step = async || {
        fan_out.expect(names * watchers.len());
        let entries = Entry::several(title, first, names);
        first += names as u64;
        let began = Instant::now();
        publisher.publish(&entries).await?;
        fan_out.wait().await?;
        Ok::<_, Failure>(began.elapsed())
    };
    let began = Instant::now();
    while began.elapsed() < plan.warm_up {
        step().await?;
    }
    let (mut measured, began, before) = (Measured::new(), Instant::now(), gauge());
    while began.elapsed() < plan.measure {
        measured.record(step().await?);
    }
    measured.elapsed = began.elapsed();
    let rise = gauge().saturating_sub(before);
    // Watchers notice with the next event that nobody listens.
    fan_out.over.store(true, Ordering::Release);
    step().await?;
    Ok(Loaded { measured, rise })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_over_when_all_have_seen_all_and_not_before() {
        let fan_out = FanOut::default();
        assert!(fan_out.seen(0));
        fan_out.expect(3);
        assert!(fan_out.seen(1) && fan_out.seen(0));
        let waiting = timeout(Duration::from_millis(1), fan_out.wait());
        assert!(waiting.await.is_err(), "two are left");
        fan_out.over.store(true, Ordering::Release);
        assert!(!fan_out.seen(2));
        fan_out.wait().await.unwrap();
    }
}
