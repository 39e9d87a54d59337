//! The thread that drives all groups of a node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use naming::NodeId;
use naming_directory::Position;
use naming_directory::catalog::snapshot::SnapshotWriter;
use naming_directory::catalog::{Catalog, NameRange};
use naming_directory::group::{Config, Incoming, StepError, Unsynced};
use naming_directory::log::{Base, Log, Members, Record};
use naming_directory::replica::{Output, Replica};
use naming_directory_client::wire::{self, FailureKind, response};
use naming_directory_client::{ShardId, Transport};

use crate::counters::{Counters, add, count};
use crate::settings::{Begin, Settings};
use crate::snapshots::{Job, Snapshots};
use crate::store::{Store, StoreError};

mod describe;
mod empty;
mod event;
mod peers;
mod queries;
mod queue;
mod requests;
mod watches;
mod writer;

pub(crate) use event::{Done, Event};
pub(crate) use peers::decode;
pub(crate) use queue::{Events, Limit, Queue, queue};

use empty::Empty;
use peers::Outbox;
use requests::Requests;
use watches::Watches;
use writer::Writer;

/// Events that are taken before the groups are asked what is to be done: what comes at the same time is done together.
const TOGETHER: usize = 1024;

/// Replicas of a node; messages of further shards are refused.
const MAX_SHARDS: usize = 4096;

/// What all lives of a server share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) queue: Queue,
    /// The origin of its clock.
    pub(crate) began: Instant,
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
    /// Shards to which something happened.
    dirty: BTreeSet<ShardId>,
    outbox: Outbox,
    requests: Requests,
    watches: Watches,
    writer: Writer,
    snapshots: Snapshots,
    empty: Empty,
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
        let writer = Writer::spawn(Arc::clone(&store), life, shared.queue.clone()).map_err(io)?;
        let snapshots = Snapshots::spawn(Arc::clone(shared), Arc::clone(&store), life).map_err(io)?;
        let mut driver = Self {
            shared: Arc::clone(shared),
            life,
            store,
            replicas: BTreeMap::new(),
            creating: BTreeSet::new(),
            failed: BTreeMap::new(),
            dirty: BTreeSet::new(),
            outbox: Outbox::default(),
            requests: Requests::new(settings.max_requests),
            watches: Watches::new(settings.max_watches),
            writer,
            snapshots,
            empty: Empty::default(),
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
            self.drive();
            self.outbox.flush(&*self.shared.transport, &self.shared.counters);
            self.writer.begin();
            self.snapshots.give_late();
        }
    }

    /// Opens the replica that a disk has; an empty one if it has nothing.
    fn start(&mut self, shard: ShardId, log: Log, state: Option<Catalog>) -> Result<(), StoreError> {
        let settings = &self.shared.settings;
        let config = Config { id: settings.node, seed: random(), ..settings.group };
        let state = state
            .unwrap_or_else(|| Catalog::new(NameRange::all(), Position::default(), settings.history_bytes));
        let replica = Replica::open(config, log, state)
            .map_err(|problem| StoreError::Damaged { shard, problem: problem.to_string() })?;
        self.replicas.insert(shard, replica);
        self.dirty.insert(shard);
        Ok(())
    }

    /// What comes from outside.
    fn take(&mut self, event: Event) {
        match event {
            Event::Messages(messages) => {
                messages.into_iter().for_each(|(shard, message)| self.step(shard, message))
            }
            Event::Transfer { from, message } => self.snapshots.give(Job::Message { from, message }),
            Event::Request { from, request } => self.request(from, request),
            // Whoever asked may have gone.
            Event::Look(reply) => drop(reply.send(self.describe())),
            Event::Backup(reply) => {
                let begun = self.replicas.iter().filter(|(_, replica)| replica.state().position().index > 0);
                drop(reply.send(
                    begun.map(|(shard, replica)| (*shard, SnapshotWriter::new(replica.state()))).collect(),
                ));
            }
            Event::Drain => self.drain(),
            // An earlier life's, or handled before.
            Event::Done { .. } | Event::Stop => {}
        }
    }

    fn step(&mut self, shard: ShardId, message: Incoming) {
        if self.creating.contains(&shard) || self.failed.contains_key(&shard) {
            return;
        }
        if !self.replicas.contains_key(&shard) {
            let full = self.replicas.len() >= MAX_SHARDS;
            if full || !self.start_empty(shard) {
                return count(&self.shared.counters.messages_refused);
            }
        }
        let Some(replica) = self.replicas.get_mut(&shard) else { return };
        let stepped = replica.step(message);
        self.stepped(shard, stepped);
    }

    fn stepped(&mut self, shard: ShardId, stepped: Result<(), StepError>) {
        self.dirty.insert(shard);
        match stepped {
            Ok(()) => {}
            Err(error @ StepError::LostLog { .. }) => self.fail(shard, &error),
            Err(error) => {
                count(&self.shared.counters.messages_refused);
                tracing::debug!(%error, %shard, "a message was refused");
            }
        }
    }

    /// What another thread has done.
    fn done(&mut self, done: Done) -> Result<(), StoreError> {
        match done {
            Done::Written { result, batch, forgotten } => {
                self.writer.done();
                let (written, counters) = (result?, &self.shared.counters);
                count(&counters.batches_written);
                add(&counters.records_written, written.records);
                add(&counters.bytes_written, written.bytes);
                add(&counters.syncs, written.synced.into());
                batch.into_iter().for_each(|(shard, unsynced)| self.persisted(shard, unsynced));
                for (from, id) in forgotten.into_iter().flatten() {
                    self.respond(from, id, response::Body::Done(wire::Done {}));
                }
            }
            Done::Taken { shard, position } => {
                count(&self.shared.counters.snapshots_taken);
                if let Some(replica) = self.touch(shard) {
                    replica.snapshot_taken(position);
                }
            }
            Done::Failed(error) => return Err(error),
            Done::Created { shard } => {
                let loaded = self.store.load_one(shard, self.shared.settings.history_bytes)?;
                self.creating.remove(&shard);
                self.start(shard, loaded.log, loaded.state)?;
            }
            Done::Sent { shard, to, delivered } => {
                let counters = &self.shared.counters;
                count(if delivered { &counters.snapshots_sent } else { &counters.snapshots_failed });
                if let Some(replica) = self.touch(shard) {
                    replica.report_snapshot(to, delivered);
                }
            }
            Done::Received { shard, announcement, state } => {
                count(&self.shared.counters.snapshots_received);
                if !self.replicas.contains_key(&shard) && !self.failed.contains_key(&shard) {
                    self.start(shard, Log::default(), None)?;
                }
                if let Some(replica) = self.touch(shard) {
                    let stepped = replica.step_snapshot(*announcement, *state);
                    self.stepped(shard, stepped);
                }
            }
        }
        Ok(())
    }

    fn persisted(&mut self, shard: ShardId, unsynced: Unsynced) {
        let Some(replica) = self.touch(shard) else { return };
        let before = replica.state().position();
        let promised = replica.persisted(unsynced);
        let installed = replica.state().position() != before;
        self.send(shard, promised);
        if installed {
            // Watchers are told of the gap with the next progress.
            if let Some(replica) = self.replicas.get(&shard) {
                self.snapshots.give(Job::Outdated { shard, before: replica.state().position() });
            }
        }
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

    /// Asks the groups to which something happened what is to be done, until that is nothing.
    fn drive(&mut self) {
        while let Some(shard) = self.dirty.pop_first() {
            let Some(replica) = self.replicas.get_mut(&shard) else { continue };
            match replica.poll() {
                Ok(output) if output.is_empty() => {}
                Ok(output) => {
                    self.dirty.insert(shard);
                    self.obey(shard, output);
                }
                Err(error) => self.fail(shard, &error),
            }
        }
    }

    fn obey(&mut self, shard: ShardId, output: Output) {
        for begin in output.split {
            let child = shard.split_off(begin.state.position());
            // After a restart the log is executed again.
            if !self.replicas.contains_key(&child) && self.creating.insert(child) {
                self.snapshots.give(Job::Create { shard: child, begin: Box::new(begin) });
            }
        }
        self.send(shard, output.send);
        if let Some(unsynced) = output.persist {
            self.writer.push(shard, unsynced);
        }
        for (request, reply) in output.replies {
            self.reply(request.0, reply);
        }
        for request in output.abandoned {
            let text = "leadership changed before the command was committed";
            self.fail_request(request.0, FailureKind::Unknown, text);
        }
        for read in output.reads {
            self.serve_read(shard, read.0);
        }
        for read in output.failed_reads {
            self.fail_request(
                read.0,
                FailureKind::Busy,
                "no majority of the shard's members confirmed the read",
            );
        }
        if !output.changes.is_empty() {
            self.tell_watchers(shard);
        }
        if let (Some(writer), Some(replica)) = (output.snapshot, self.replicas.get(&shard)) {
            let position = replica.state().position();
            self.snapshots.give(Job::Take { shard, position, writer: Box::new(writer) });
        }
    }

    fn send(&mut self, shard: ShardId, messages: Vec<naming_directory::group::Outgoing>) {
        for message in messages {
            match message.snapshot {
                Some(position) => {
                    let (to, announcement) = (message.to, message.bytes.into());
                    self.snapshots.give(Job::Send { shard, to, position, announcement });
                }
                None => {
                    let (transport, counters) = (&*self.shared.transport, &self.shared.counters);
                    self.outbox.push(message.to, shard, &message.bytes, transport, counters);
                }
            }
        }
    }

    /// A replica that something happens to.
    fn touch(&mut self, shard: ShardId) -> Option<&mut Replica> {
        self.dirty.insert(shard);
        self.replicas.get_mut(&shard)
    }

    /// A replica cannot go on; the others do.
    fn fail(&mut self, shard: ShardId, error: &dyn std::error::Error) {
        tracing::error!(%error, %shard, "a replica of the directory stops");
        // Of shards that never were there may be any number; what is forgotten here is found anew.
        if self.failed.len() < MAX_SHARDS {
            self.failed.insert(shard, error.to_string());
        }
        self.give_up(shard);
    }

    /// Forgets a replica, but for what is on the disk.
    fn give_up(&mut self, shard: ShardId) {
        self.replicas.remove(&shard);
        self.fail_all_of(shard);
        self.snapshots.give(Job::Cancel { shard });
    }

    fn drain(&mut self) {
        for (shard, replica) in &mut self.replicas {
            let status = replica.group().status();
            let voters =
                status.progress.iter().filter(|progress| status.members.voters.contains(&progress.node));
            let best = voters.filter(|progress| progress.active).max_by_key(|progress| progress.matched);
            if let Some(best) = best
                && let Err(error) = replica.transfer_leader(best.node)
            {
                tracing::warn!(%error, %shard, "leadership is not handed over");
            }
            self.dirty.insert(*shard);
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
