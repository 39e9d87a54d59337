//! A closed loop: every client asks again as soon as it is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cluster_tests::load::Measured;
use cluster_tests::random::Random;
use tokio::task::JoinSet;

use crate::client::{Client, Freshness};
use crate::entry::{CLUSTER, Entry};
use crate::{Failure, Plan};

/// The names of a directory that are published so far.
#[derive(Debug, Default)]
pub(crate) struct Published(AtomicU64);

impl Published {
    /// The first `count` are.
    pub(crate) fn after(count: u64) -> Self {
        Self(AtomicU64::new(count))
    }

    /// New names, to be published.
    pub(crate) fn next(&self, count: usize) -> Vec<Entry> {
        Entry::several(CLUSTER, self.0.fetch_add(count as u64, Ordering::Relaxed), count)
    }
}

/// What each client does again and again.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    /// Publishes so many new names at a time.
    Publish { published: Arc<Published>, names: usize },
    /// Asks for one of the first `known` names, which are published.
    Resolve { known: u64, freshness: Freshness },
}

/// What was measured, and how long it took.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// Answers and their latencies.
    pub(crate) measured: Measured,
    /// What `gauge` rose by in the meantime.
    pub(crate) rise: Duration,
}

const WARM_UP: u8 = 0;
const MEASURE: u8 = 1;
const END: u8 = 2;

/// Has every client do `task`. `gauge` is read before and after.
///
/// # Errors
/// The first failure: no answer may fail.
pub(crate) async fn run(
    clients: &[Client],
    task: &Task,
    seed: u64,
    plan: &Plan,
    gauge: impl Fn() -> Duration,
) -> Result<Loaded, Failure> {
    let phase = Arc::new(AtomicU8::new(WARM_UP));
    let mut workers = JoinSet::new();
    for (client, number) in clients.iter().zip(0..) {
        let random = Random::new(seed << 32 | number);
        let worker = Worker { client: client.clone(), task: task.clone(), random };
        workers.spawn(worker.run(Arc::clone(&phase)));
    }
    tokio::time::sleep(plan.warm_up).await;
    let (began, before) = (Instant::now(), gauge());
    phase.store(MEASURE, Ordering::Relaxed);
    tokio::time::sleep(plan.measure).await;
    phase.store(END, Ordering::Relaxed);
    let (elapsed, rise) = (began.elapsed(), gauge().saturating_sub(before));
    let mut measured = Measured::new();
    while let Some(done) = workers.join_next().await {
        measured.merge(&done??);
    }
    measured.elapsed = elapsed;
    if measured.replies == 0 {
        return Err(format!("no answer within {elapsed:?}").into());
    }
    Ok(Loaded { measured, rise })
}

struct Worker {
    client: Client,
    task: Task,
    random: Random,
}

impl Worker {
    async fn run(mut self, phase: Arc<AtomicU8>) -> Result<Measured, Failure> {
        let mut measured = Measured::new();
        loop {
            let began = Instant::now();
            self.step().await?;
            match phase.load(Ordering::Relaxed) {
                WARM_UP => {}
                MEASURE => measured.record(began.elapsed()),
                _ => return Ok(measured),
            }
        }
    }

    async fn step(&mut self) -> Result<(), Failure> {
        match &self.task {
            Task::Publish { published, names } => self.client.publish(&published.next(*names)).await,
            Task::Resolve { known, freshness } => {
                let entry = Entry::of(CLUSTER, self.random.next() % known);
                match self.client.resolve(&entry.name, *freshness).await? {
                    Some(digest) if digest == entry.digest => Ok(()),
                    other => Err(format!("{} is {:?}, and was {}", entry.name, other, entry.digest).into()),
                }
            }
        }
    }
}
