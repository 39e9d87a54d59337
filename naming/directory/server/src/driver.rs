//! The thread that drives all groups of a node.
//!
//! | module | what it is |
//! |---|---|
//! | `event`, `queue` | what comes, and where it waits |
//! | `happen` | what is done with it |
//! | `obey` | what groups then want done |
//! | `writer` | the thread that writes, for all groups together |
//! | `peers` | messages of groups, put together by node |
//! | `requests`, `queries`, `watches`, `describe` | what clients ask, and their answers |
//! | `lend` | snapshots that clients fetch |
//! | `empty` | replicas that have nothing yet |
//! | `split` | shards that have grown too large |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use naming::NodeId;
use naming_directory::Position;
use naming_directory::catalog::{Catalog, NameRange};
use naming_directory::group::{Config, Retired};
use naming_directory::log::{Base, Log, Members, Record};
use naming_directory::replica::Replica;
use naming_directory_client::{ShardId, Transport, wire};

use crate::counters::Counters;
use crate::settings::{Begin, Settings};
use crate::snapshots::Snapshots;
use crate::store::{Store, StoreError};
use crate::threads::Fate;

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
use lend::Lent;
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

/// All groups of a node, from one opening of its store to the next.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    life: u64,
    store: Arc<Store>,
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
    lent: Lent,
    empty: Empty,
    splits: Splits,
    /// Who led each shard when it was last looked at.
    leaders: BTreeMap<ShardId, NodeId>,
    next_tick: Instant,
}

/// Why a life ended.
pub(crate) enum End {
    Stopped,
    Failed(StoreError),
}

impl Driver {
    /// Opens the store and all that is in it.
    pub(crate) fn open(shared: &Arc<Shared>, life: u64) -> Result<Self, StoreError> {
        let settings = &shared.settings;
        let io = |problem| StoreError::Io { path: settings.path.clone(), problem };
        let store = Arc::new(Store::open(&settings.path, settings.node)?);
        let mut loaded = store.load(settings.history_bytes)?;
        if let (true, Begin::Found(voters)) = (loaded.is_empty() && !store.has_begun()?, &settings.begin) {
            found(&store, voters, settings.history_bytes)?;
            loaded = store.load(settings.history_bytes)?;
        }
        if !loaded.is_empty() {
            store.begin()?;
        }
        let retired = store.retired()?;
        let writer = Writer::spawn(shared, Arc::clone(&store), life).map_err(io)?;
        let snapshots = Snapshots::spawn(Arc::clone(shared), Arc::clone(&store), life).map_err(io)?;
        let mut driver = Self {
            shared: Arc::clone(shared),
            life,
            store,
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
            lent: Lent::new(),
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

    /// Does what happens, until the end.
    pub(crate) fn run(mut self, events: &Events) -> End {
        loop {
            let wait = self.next_tick.saturating_duration_since(Instant::now());
            let first = events.next(wait);
            let more = std::iter::from_fn(|| events.more()).take(TOGETHER);
            for event in first.into_iter().chain(more) {
                match event {
                    Event::Stop => return End::Stopped,
                    Event::Done { life, done } if life == self.life => {
                        if let Err(error) = self.done(done) {
                            return End::Failed(error);
                        }
                    }
                    event => self.take(event),
                }
            }
            self.tick();
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

    fn tick(&mut self) {
        let (now, tick) = (Instant::now(), self.shared.settings.tick);
        if now < self.next_tick {
            return;
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

/// What the first members of a directory begin with, all with the same.
fn found(store: &Store, voters: &[NodeId], history_bytes: usize) -> Result<(), StoreError> {
    let state = Catalog::new(NameRange::all(), Position::FIRST, history_bytes);
    let members = Members::of_voters(voters.iter().copied());
    let log = Log::begin(Base { position: Position::FIRST, members });
    store.create(ShardId::FIRST, &log, &state)
}

impl Store {
    /// Makes a shard durable that begins: its state first, since a log without a state is damage.
    pub(crate) fn create(&self, shard: ShardId, log: &Log, state: &Catalog) -> Result<(), StoreError> {
        self.keep_snapshot(shard, state)?;
        let records: Vec<Record> = log.records().collect();
        self.write([(shard, &records[..])], true).map(drop)
    }
}

/// What no other start has.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}
