//! The thread that takes, sends, lends and receives snapshots, a chunk of each at a time: none holds up another, and nothing of it
//! holds up the groups.
//!
//! A chunk is sent when the pace allows it and not too many are on their way. The receiver tells how many it has, in order;
//! what is lost is sent again from there. Once it has all, restored the state and made it durable, the group's message that
//! announces the snapshot is stepped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use naming::NodeId;
use naming_directory::catalog::Catalog;
use naming_directory::catalog::snapshot::SnapshotWriter;
use naming_directory::replica::SplitOff;
use naming_directory::{Bytes, Position};
use naming_directory_client::{Channel, ShardId};
use prost::Message;

use crate::counters::count;
use crate::driver::{Done, Shared};
use crate::store::{Kept, Store, StoreError};

mod lend;
mod pace;
mod receive;
mod send;
mod proto {
    #![allow(clippy::doc_markdown, unreachable_pub, reason = "generated")]
    include!(concat!(env!("OUT_DIR"), "/smartswitch.directory.transfer.v1.rs"));
}

use lend::Lent;
pub(crate) use lend::Loan;
use pace::{Pace, Side, Turn};
use proto::transfer::Body;
use receive::Receiving;
use send::Sending;

/// What is to be done, at most; messages beyond are dropped, and sent again.
const MAX_JOBS: usize = 1024;
/// Without jobs and chunks to send, time is looked at this often.
const LOOK: Duration = Duration::from_millis(50);

/// What is to be done.
pub(crate) enum Job {
    /// A group wants a snapshot of its state.
    Take { shard: ShardId, position: Position, writer: Box<SnapshotWriter> },
    /// A shard was split off.
    Create { shard: ShardId, begin: Box<SplitOff> },
    /// A peer needs a snapshot.
    Send { shard: ShardId, to: NodeId, position: Position, announcement: Bytes },
    /// A client fetches a snapshot.
    Lend { loan: Loan, writer: Box<SnapshotWriter> },
    /// It asks for a chunk, by this request.
    Fetch { loan: Loan, id: u64, number: u32 },
    /// It has all it wants.
    Release(Loan),
    /// Of a peer.
    Message { from: NodeId, message: Bytes },
    /// Snapshots of a shard before this one are of no use any more.
    Outdated { shard: ShardId, before: Position },
    /// Nothing is wanted of a shard any more.
    Cancel { shard: ShardId },
}

/// The thread.
pub(crate) struct Snapshots {
    jobs: Option<SyncSender<Job>>,
    /// What did not fit: a group's own jobs are few, and must not be lost.
    late: VecDeque<Job>,
    thread: Option<JoinHandle<()>>,
}

/// What it works on.
struct Work {
    shared: Arc<Shared>,
    store: Arc<Store>,
    life: u64,
    taking: VecDeque<Taking>,
    sending: Vec<Sending>,
    lent: Vec<Lent>,
    receiving: Vec<Receiving>,
    pace: Pace,
    turn: Turn,
    next_transfer: u64,
    /// Snapshots to be removed as soon as nobody sends them.
    garbage: Vec<(ShardId, Kept)>,
}

/// A snapshot that is being taken.
struct Taking {
    shard: ShardId,
    writer: Box<SnapshotWriter>,
    kept: Kept,
}

impl Snapshots {
    pub(crate) fn spawn(shared: Arc<Shared>, store: Arc<Store>, life: u64) -> std::io::Result<Self> {
        let (jobs, receiver) = sync_channel(MAX_JOBS);
        let pace = Pace::new(shared.settings.snapshot_bytes_per_second, Instant::now());
        let mut work = Work {
            shared,
            store,
            life,
            taking: VecDeque::new(),
            sending: Vec::new(),
            lent: Vec::new(),
            receiving: Vec::new(),
            pace,
            turn: Turn::new(),
            // Of no earlier life of this node.
            next_transfer: std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_micros() as u64,
            garbage: Vec::new(),
        };
        let thread = work.shared.clone().spawn("directory-snap", move || work.run(&receiver))?;
        Ok(Self { jobs: Some(jobs), late: VecDeque::new(), thread: Some(thread) })
    }

    /// Has something done. Messages are dropped if there is too much to do.
    pub(crate) fn give(&mut self, job: Job) {
        self.give_late();
        match self.try_give(job) {
            Some(Job::Message { .. } | Job::Fetch { .. } | Job::Release(_)) | None => {}
            Some(job) => self.late.push_back(job),
        }
    }

    /// Has done what did not fit before.
    pub(crate) fn give_late(&mut self) {
        while let Some(job) = self.late.pop_front() {
            if let Some(job) = self.try_give_first(job) {
                return self.late.push_front(job);
            }
        }
    }

    /// The job, if it does not fit, or others are before it.
    fn try_give(&mut self, job: Job) -> Option<Job> {
        if self.late.is_empty() { self.try_give_first(job) } else { Some(job) }
    }

    fn try_give_first(&mut self, job: Job) -> Option<Job> {
        match self.jobs.as_ref()?.try_send(job) {
            Err(TrySendError::Full(job)) => Some(job),
            // The disk failed, and this life ends.
            Ok(()) | Err(TrySendError::Disconnected(_)) => None,
        }
    }
}

impl Drop for Snapshots {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // It tells itself if it panicked.
            let _ = thread.join();
        }
    }
}

impl Work {
    /// Until there are no jobs to come any more, or the disk fails.
    fn run(&mut self, jobs: &Receiver<Job>) {
        loop {
            let job = match self.wait() {
                Duration::ZERO => match jobs.try_recv() {
                    Ok(job) => Some(job),
                    Err(TryRecvError::Empty) => None,
                    Err(TryRecvError::Disconnected) => return,
                },
                wait => match jobs.recv_timeout(wait) {
                    Ok(job) => Some(job),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return,
                },
            };
            let done = job.map_or(Ok(()), |job| self.take(job)).and_then(|()| self.go_on());
            if let Err(error) = done {
                return self.done(Done::Failed(error));
            }
        }
    }

    /// How long nothing but a job needs to be looked at.
    fn wait(&mut self) -> Duration {
        let waits = || self.sending.iter().any(Sending::may_send) || self.lent.iter().any(Lent::is_asked);
        match self.taking.is_empty() {
            false => Duration::ZERO,
            true if waits() => self.pace.wait(Instant::now()).min(LOOK),
            true => LOOK,
        }
    }

    fn take(&mut self, job: Job) -> Result<(), StoreError> {
        match job {
            Job::Take { shard, position, writer } => {
                let kept = Kept { generation: self.store.next_generation(shard)?, position, chunks: 0 };
                self.taking.push_back(Taking { shard, writer, kept });
            }
            Job::Create { shard, begin } => {
                self.store.create(shard, &begin.log, &begin.state)?;
                self.done(Done::Created { shard, begin });
            }
            Job::Send { shard, to, position, announcement } => {
                self.begin_send(shard, to, position, announcement)?
            }
            Job::Lend { loan, writer } => self.lent.push(Lent::new(loan, writer)),
            Job::Fetch { loan, id, number } => self.fetch(loan, id, number),
            Job::Release(loan) => self.release(loan),
            Job::Message { from, message } => self.message(from, message)?,
            Job::Outdated { shard, before } => self.outdate(shard, before)?,
            Job::Cancel { shard } => {
                self.taking.retain(|taking| taking.shard != shard);
                self.sending.retain(|sending| sending.shard != shard);
                self.receiving.retain(|receiving| receiving.shard != shard);
            }
        }
        Ok(())
    }

    fn go_on(&mut self) -> Result<(), StoreError> {
        self.take_chunk()?;
        let [first, second] = self.turn.order();
        if self.send_to(first)? {
            self.turn.pass();
        }
        self.send_to(second)?;
        let now = Instant::now();
        self.receiving.retain(|receiving| receiving.is_alive(now));
        let sending = &self.sending;
        let used = |kept: &Kept| sending.iter().any(|sending| sending.kept == *kept);
        for (shard, kept) in self.garbage.extract_if(.., |(_, kept)| !used(kept)) {
            self.store.drop_snapshot(shard, kept.generation)?;
        }
        Ok(())
    }

    /// Whether some of the pace was used.
    fn send_to(&mut self, side: Side) -> Result<bool, StoreError> {
        match side {
            Side::Peers => self.send_chunks(),
            Side::Clients => Ok(self.lend_chunks()),
        }
    }

    /// The next chunk of the snapshot that is taken.
    fn take_chunk(&mut self) -> Result<(), StoreError> {
        let Some(taking) = self.taking.front_mut() else { return Ok(()) };
        let (shard, kept) = (taking.shard, &mut taking.kept);
        if let Some(chunk) = taking.writer.next() {
            self.store.put_chunk(shard, kept.generation, kept.chunks, &chunk)?;
            kept.chunks += 1;
            return Ok(());
        }
        let kept = *kept;
        self.taking.pop_front();
        self.store.finish_snapshot(shard, kept)?;
        self.outdate(shard, kept.position)?;
        self.done(Done::Taken { shard, position: kept.position });
        Ok(())
    }

    fn outdate(&mut self, shard: ShardId, before: Position) -> Result<(), StoreError> {
        let outdated =
            self.store.snapshots(shard)?.into_iter().filter(|kept| kept.position.index < before.index);
        for kept in outdated.map(|kept| (shard, kept)) {
            if !self.garbage.contains(&kept) {
                self.garbage.push(kept);
            }
        }
        Ok(())
    }

    fn message(&mut self, from: NodeId, message: Bytes) -> Result<(), StoreError> {
        let Ok(proto::Transfer { shard, transfer, body: Some(body) }) = proto::Transfer::decode(message)
        else {
            count(&self.shared.counters.messages_malformed);
            return Ok(());
        };
        let shard = ShardId(shard);
        match body {
            Body::Begin(begin) => self.begin_receive(from, shard, transfer, &begin),
            Body::Chunk(chunk) => self.receive_chunk(from, shard, transfer, &chunk),
            Body::Got(got) => {
                self.got(from, transfer, got.next);
                Ok(())
            }
            Body::Refused(refused) => {
                tracing::warn!(node = %from, %shard, reason = refused.reason, "a snapshot was refused");
                self.end_send(from, transfer, false);
                Ok(())
            }
        }
    }

    fn tell(&self, to: NodeId, shard: ShardId, transfer: u64, body: Body) {
        let message = proto::Transfer { shard: shard.0, transfer, body: Some(body) };
        if !self.shared.transport.send(to, Channel::Snapshot, message.encode_to_vec().into()) {
            count(&self.shared.counters.messages_unsent);
        }
    }

    fn done(&self, done: Done) {
        self.shared.queue.done(self.life, done);
    }
}

impl Store {
    /// Takes a snapshot of a state at once.
    pub(crate) fn keep_snapshot(&self, shard: ShardId, state: &Catalog) -> Result<(), StoreError> {
        let generation = self.next_generation(shard)?;
        let mut kept = Kept { generation, position: state.position(), chunks: 0 };
        for chunk in SnapshotWriter::new(state) {
            self.put_chunk(shard, generation, kept.chunks, &chunk)?;
            kept.chunks += 1;
        }
        self.finish_snapshot(shard, kept)
    }
}
