//! Clients that write and read records, and record what they saw.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cluster_tests::linearizability::{Interval, Verdict, search};
use cluster_tests::random::Random;
use cluster_tests::wait;
use naming::{Digest, Name, NodeId};
use naming_directory::catalog::RecordKind;
use naming_directory::proto::refused::Reason;
use naming_directory_client::client::{Copy, Settings};
use naming_directory_client::wire::Freshness;
use naming_directory_client::{Client, Error};
use naming_directory_quic::Remote;
use tokio::runtime::Runtime;

use crate::fleet::{CLIENT, Fleet, PATIENCE};
use crate::record::{Operation, Outcome, Register, Step};

const CLIENTS: usize = 6;
/// Few enough that clients meet, enough that the check of each is quick.
const NAMES: usize = 8;
/// Between two operations of a client: the machine is the members', too.
const PACE: Duration = Duration::from_millis(4);
/// After so many more operations load counts as going on.
const GOES_ON: u64 = 60;
/// Steps of the model that the check of one name may take.
const BUDGET: u64 = 20_000_000;

struct Shared {
    origin: Instant,
    done: AtomicU64,
    stop: AtomicBool,
    records: Mutex<BTreeMap<usize, Vec<Interval<Step>>>>,
    failed: Mutex<Vec<String>>,
}

/// Clients at work.
pub(crate) struct Load {
    seed: u64,
    shared: Arc<Shared>,
    runtime: Runtime,
    remote: Remote,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    /// Clients with random operations from a seed.
    pub(crate) fn start(fleet: &Fleet, seed: u64) -> Self {
        // Its threads are in the namespace of this one.
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let place = fleet.client();
        let mut settings = Settings::new(place.peers.keys().copied());
        (settings.timeout, settings.try_timeout) = (Duration::from_secs(5), Duration::from_millis(500));
        let remote = {
            let _entered = runtime.enter();
            Remote::with(NodeId::new(CLIENT).unwrap(), &place, settings).unwrap()
        };
        let shared = Arc::new(Shared {
            origin: Instant::now(),
            done: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            records: Mutex::default(),
            failed: Mutex::default(),
        });
        let client = |number: usize| {
            let random = Random::new(seed * 1000 + number as u64);
            runtime.spawn(work(remote.client().clone(), Arc::clone(&shared), random, number as u64))
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self { seed, shared, runtime, remote, clients }
    }

    /// Waits until so many more operations have succeeded that they cannot all have been under way before.
    pub(crate) fn goes_on(&self, when: &str) {
        let done = || self.shared.done.load(Ordering::Relaxed);
        let enough = done() + GOES_ON;
        let waited =
            wait::until_true(format!("requests to be answered: {when}"), PATIENCE, || done() >= enough);
        let failed = self.shared.failed.lock().unwrap().last().cloned();
        waited.unwrap_or_else(|error| panic!("seed {}: {error}; the last failure: {failed:?}", self.seed));
    }

    /// Asks something as the clients' node.
    pub(crate) fn ask<T>(&self, ask: impl AsyncFnOnce(&Client) -> T) -> T {
        self.runtime.block_on(ask(self.remote.client()))
    }

    /// Publishes copies of these names, all of which have to be acknowledged.
    pub(crate) fn publish(&self, numbers: std::ops::Range<usize>) {
        let copies: Vec<Copy> = numbers.map(copy).collect();
        let node = NodeId::new(CLIENT).unwrap();
        let published = self.ask(async |client| client.publish(node, 1, copies.clone()).await.unwrap());
        assert_eq!((published.added as usize, published.refused), (copies.len(), 0));
    }

    /// Whether what was published is there.
    pub(crate) fn find(&self, numbers: std::ops::Range<usize>) {
        let copies: Vec<Copy> = numbers.map(copy).collect();
        let names: Vec<_> = copies.iter().map(|copy| copy.name.as_name()).collect();
        let found = self.ask(async |client| client.resolve(&names, Freshness::Linearizable).await.unwrap());
        for (copy, found) in copies.iter().zip(found) {
            assert_eq!(found.copies.map(|found| found.digest), Some(copy.digest), "{}", copy.name);
        }
    }

    /// Stops, reads every record once more, and checks that what clients saw is explained by one directory that executes one
    /// command at a time. What failed on the way, in words.
    pub(crate) fn check(self) -> Vec<String> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.runtime.block_on(async {
            for client in self.clients {
                client.await.unwrap();
            }
            for name in 0..NAMES {
                let read = run(self.remote.client(), &self.shared, name, Operation::Read).await;
                read.unwrap_or_else(|error| panic!("seed {}: the last read of {name}: {error}", self.seed));
            }
        });
        let records = std::mem::take(&mut *self.shared.records.lock().unwrap());
        for (name, history) in &records {
            match search(&Register, history, BUDGET) {
                Verdict::Linearizable => {}
                Verdict::Undecided => panic!("seed {}: the check of {name} was given up", self.seed),
                Verdict::Violation { longest, stuck } => {
                    let around = longest.iter().rev().take(20).rev().map(|place| &history[*place]);
                    panic!(
                        "seed {}: record {name} is not linearizable: after {:#?}\nthere is no place for {:#?}",
                        self.seed,
                        around.collect::<Vec<_>>(),
                        history[stuck]
                    );
                }
            }
        }
        let failed = std::mem::take(&mut *self.shared.failed.lock().unwrap());
        let all: usize = records.values().map(Vec::len).sum();
        println!(
            "seed {}: {all} operations of {} records, {} failed",
            self.seed,
            records.len(),
            failed.len()
        );
        assert!(
            failed.len() * 4 < all,
            "too much that nobody knows the outcome of explains everything: {:?}",
            failed.last()
        );
        failed
    }
}

/// On both sides of the records.
fn copy(number: usize) -> Copy {
    let name = format!("/{}/{number:05}/v=1", if number.is_multiple_of(2) { "hdfs" } else { "tests" });
    Copy { name: name.parse().unwrap(), digest: Digest::of(name.as_bytes()), length: 1 }
}

async fn work(client: Client, shared: Arc<Shared>, mut random: Random, number: u64) {
    let mut revisions = [0; NAMES];
    let mut values = number << 32;
    while !shared.stop.load(Ordering::Relaxed) {
        let name = random.below(NAMES);
        values += 1;
        let operation = match random.below(4) {
            0 | 1 => Operation::Read,
            2 => Operation::Put { value: values, expected: None },
            _ => Operation::Put { value: values, expected: Some(revisions[name]) },
        };
        match run(&client, &shared, name, operation).await {
            Ok(outcome) => {
                revisions[name] = match outcome {
                    Outcome::Stored { revision } | Outcome::Conflict { revision } => revision,
                    Outcome::Found(found) => found.map_or(0, |(_, revision)| revision),
                };
                shared.done.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => shared.failed.lock().unwrap().push(error.to_string()),
        }
        tokio::time::sleep(PACE).await;
    }
}

/// Asks, and records what came of it. A command that failed may still be executed, a read is then as if it had not been.
async fn run(client: &Client, shared: &Shared, name: usize, operation: Operation) -> Result<Outcome, Error> {
    let now = || shared.origin.elapsed().as_nanos() as u64;
    let called = now();
    let outcome = ask(client, &format!("/test/{name}").parse().unwrap(), operation).await;
    let returned = now();
    if outcome.is_ok() || matches!(operation, Operation::Put { .. }) {
        let operation = Step { operation, outcome: outcome.as_ref().ok().copied() };
        let returned = outcome.is_ok().then_some(returned);
        let interval = Interval { operation, called, returned };
        shared.records.lock().unwrap().entry(name).or_default().push(interval);
    }
    outcome
}

async fn ask(client: &Client, name: &Name, operation: Operation) -> Result<Outcome, Error> {
    match operation {
        Operation::Put { value, expected } => {
            let value = value.to_be_bytes().to_vec();
            match client.put_record(RecordKind::Route, name.as_name(), value, expected).await {
                Ok(revision) => Ok(Outcome::Stored { revision }),
                Err(Error::Refused(Reason::Conflict(conflict))) => {
                    Ok(Outcome::Conflict { revision: conflict.revision })
                }
                Err(error) => Err(error),
            }
        }
        Operation::Read => {
            let resolved = client.resolve(&[name.as_name()], Freshness::Linearizable).await?;
            let route = resolved.first().and_then(|resolved| resolved.route.as_ref());
            let found = route.map(|route| {
                let value = route.record.value[..].try_into().map(u64::from_be_bytes).unwrap();
                (value, route.record.revision)
            });
            Ok(Outcome::Found(found))
        }
    }
}
