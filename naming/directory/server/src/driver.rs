//! The task that drives all groups of a node. It shares its thread with others, so that nothing in it may wait;
//! but to begin, once in a store's life.
//!
//! | module | what it is |
//! |---|---|
//! | `event`, `queue` | what comes, and where it waits |
//! | `begin` | with a new store |
//! | `happen` | what is done with it |
//! | `obey` | what groups then want done |
//! | `writer` | the thread that writes, for all groups together |
//! | `peers` | messages of groups, put together by node |
//! | `requests`, `queries`, `watches`, `describe` | what clients ask, and their answers |
//! | `lend` | snapshots that clients fetch |
//! | `empty` | replicas that have nothing yet |
//! | `split` | shards that have grown too large |

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use naming::NodeId;
use naming_directory::Position;
use naming_directory::catalog::{Catalog, NameRange};
use naming_directory::group::{Config, Retired};
use naming_directory::log::Log;
use naming_directory::replica::Replica;
use naming_directory_client::wire::{self, Response, response};
use naming_directory_client::{Channel, ShardId, Transport};
use prost::Message;
use tokio::task::yield_now;
use tokio::time::sleep_until;

use crate::beginning::{Beginning, Refused};
use crate::counters::{Counters, count};
use crate::random::random;
use crate::settings::Settings;
use crate::snapshots::{Loan, Snapshots};
use crate::store::{Store, StoreError};
use crate::threads::Fate;

mod begin;
mod describe;
mod empty;
mod event;
mod happen;
mod lend;
mod obey;
mod peers;
mod queries;
mod queue;
mod requests;
mod split;
mod watches;
mod writer;

pub(crate) use event::{Done, Event};
pub(crate) use peers::decode;
pub(crate) use queue::{Events, Limit, Queue, queue};

use empty::Empty;
use peers::Outbox;
use requests::Requests;
use split::Splits;
use watches::Watches;
use writer::Writer;

/// Events that are taken before the groups are asked what is to be done: what comes at the same time is done together.
const TOGETHER: usize = 1024;

/// Replicas of a node; messages of further shards are refused.
const MAX_SHARDS: usize = 4096;

/// What a node has heard of shards: what is asked about, and the first one.
pub type Hearsay = Box<dyn Fn(&wire::Describe) -> Vec<wire::Shard> + Send + Sync>;

/// What all lives of a server share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) queue: Queue,
    /// The origin of its clock.
    pub(crate) began: Instant,
    /// Tells what the node has heard of shards that it need not replicate.
    pub(crate) hearsay: OnceLock<Hearsay>,
    pub(crate) fate: Fate,
}

impl Shared {
    /// Answers a client. What does not get through it asks again.
    pub(crate) fn respond(&self, to: NodeId, id: u64, body: response::Body) {
        let response = Response { id, body: Some(body) };
        if !self.transport.send(to, Channel::Response, response.encode_to_vec().into()) {
            count(&self.counters.messages_unsent);
        }
    }
}

/// All groups of a node, from one opening of its store to the next.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    life: u64,
    store: Arc<Store>,
    /// While the store has no shard, and it has to be asked whether it may.
    beginning: Option<Beginning>,
    replicas: BTreeMap<ShardId, Replica>,
    /// Shards that were split off and are not durable yet.
    creating: BTreeSet<ShardId>,
    /// Shards that cannot go on, and why.
    failed: BTreeMap<ShardId, String>,
    /// What this node had of each of these shards when it gave them up, for good: messages of an earlier one are of who does not know
    /// yet, and whose vote or acknowledgement would count there.
    retired: BTreeMap<ShardId, Retired>,
    /// Shards to which something happened.
    dirty: BTreeSet<ShardId>,
    outbox: Outbox,
    requests: Requests,
    watches: Watches,
    writer: Writer,
    snapshots: Snapshots,
    /// Snapshots that clients fetch.
    lent: BTreeSet<Loan>,
    empty: Empty,
    splits: Splits,
    /// Who led each shard when it was last looked at.
    leaders: BTreeMap<ShardId, NodeId>,
    next_tick: Instant,
}

/// Why a life ended.
pub(crate) enum End {
    Stopped,
    Refused(Refused),
    Failed(StoreError),
}

impl Driver {
    /// Opens the store and all that is in it.
    pub(crate) fn open(shared: &Arc<Shared>, life: u64) -> Result<Self, StoreError> {
        let settings = &shared.settings;
        let io = |problem| StoreError::Io { path: settings.path.clone(), problem };
        let store = Arc::new(Store::open(&settings.path, settings.node)?);
        let mut loaded = store.load(settings.history_bytes)?;
        let retired = store.retired()?;
        // A replica that a leader began to fill, and no more, is no shard.
        if loaded.values().any(|loaded| loaded.state.is_some()) || !retired.is_empty() {
            store.begin()?;
        }
        let beginning = begin::begin(&store, settings, loaded.is_empty())?;
        if loaded.is_empty() && store.has_begun() {
            loaded = store.load(settings.history_bytes)?;
        }
        let writer = Writer::spawn(shared, Arc::clone(&store), life).map_err(io)?;
        let snapshots = Snapshots::spawn(Arc::clone(shared), Arc::clone(&store), life).map_err(io)?;
        let mut driver = Self {
            shared: Arc::clone(shared),
            life,
            store,
            beginning,
            replicas: BTreeMap::new(),
            creating: BTreeSet::new(),
            failed: BTreeMap::new(),
            retired,
            dirty: BTreeSet::new(),
            outbox: Outbox::default(),
            requests: Requests::new(settings.max_requests),
            watches: Watches::new(settings.max_watches),
            writer,
            snapshots,
            lent: BTreeSet::new(),
            empty: Empty::default(),
            splits: Splits::new(),
            leaders: BTreeMap::new(),
            next_tick: Instant::now(),
        };
        for (shard, loaded) in loaded {
            driver.start(shard, loaded.log, loaded.state)?;
        }
        Ok(driver)
    }

    /// Does what happens, until the end. Closing the store, by dropping this, may wait for the disk.
    pub(crate) async fn run(&mut self, events: &mut Events) -> End {
        let mut ticks = pin!(sleep_until(self.next_tick.into()));
        loop {
            tokio::select! {
                biased;
                () = events.come(TOGETHER) => {}
                () = ticks.as_mut() => {}
            }
            let mut taken = 0;
            while let Some(event) = events.next() {
                taken += 1;
                match event {
                    Event::Stop => return End::Stopped,
                    Event::Done { life, done } if life == self.life => {
                        if let Err(error) = self.done(done) {
                            return End::Failed(error);
                        }
                    }
                    Event::Told { answers, reply } => match self.told(answers) {
                        // Whoever told it may have gone.
                        Ok(waiting) => drop(reply.send(waiting)),
                        Err(end) => return end,
                    },
                    event => self.take(event),
                }
            }
            if self.tick() {
                ticks.as_mut().reset(self.next_tick.into());
            }
            loop {
                self.drive();
                self.outbox.flush(&*self.shared.transport, &self.shared.counters);
                let done = self.writer.begin();
                if done.is_empty() {
                    break;
                }
                done.into_iter().for_each(|(shard, unsynced)| self.persisted(shard, unsynced));
            }
            self.snapshots.give_late();
            if taken == TOGETHER {
                // There may be as many again: the network's turn.
                yield_now().await;
            }
        }
    }

    /// Opens the replica that a disk has; an empty one if it has nothing.
    fn start(&mut self, shard: ShardId, log: Log, state: Option<Catalog>) -> Result<(), StoreError> {
        let settings = &self.shared.settings;
        let retired = self.retired.get(&shard).copied().unwrap_or_default();
        let config = Config { id: settings.node, seed: random(), retired, ..settings.group };
        let state = state
            .unwrap_or_else(|| Catalog::new(NameRange::all(), Position::default(), settings.history_bytes));
        let replica = Replica::open(config, log, state)
            .map_err(|problem| StoreError::Damaged { shard, problem: problem.to_string() })?;
        self.replicas.insert(shard, replica);
        self.dirty.insert(shard);
        Ok(())
    }

    /// Lets a tick pass if it is time; whether it was.
    fn tick(&mut self) -> bool {
        let (now, tick) = (Instant::now(), self.shared.settings.tick);
        if now < self.next_tick {
            return false;
        }
        // A clock that stood still, or a thread that did, makes up for nothing.
        self.next_tick = (self.next_tick + tick).max(now);
        let clock = now.duration_since(self.shared.began);
        for replica in self.replicas.values_mut() {
            replica.tick(clock);
        }
        self.dirty.extend(self.replicas.keys());
        self.note_leaders();
        self.forget_empty(now);
        self.split_large(now);
        self.report_progress(now);
        true
    }

    fn note_leaders(&mut self) {
        for (shard, replica) in &self.replicas {
            if let Some(leader) = replica.group().leader()
                && self.leaders.insert(*shard, leader) != Some(leader)
            {
                tracing::info!(%shard, %leader, term = replica.group().term(), "a shard has a new leader");
            }
        }
    }
}
