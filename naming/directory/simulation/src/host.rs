//! A node: its replicas on fake disks, driven as a shell has to drive them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use naming::NodeId;
use naming_directory::catalog::snapshot::Restore;
use naming_directory::catalog::{Catalog, NameRange};
use naming_directory::group::{
    Config, Incoming, Outgoing, ProposeError, ReadId, Retired, StepError, Unsynced,
};
use naming_directory::log::{Base, HardState, Log, Members, Record};
use naming_directory::replica::{Output, Replica, RequestId, SplitOff};
use naming_directory::{Position, proto};

use crate::broken::Broken;
use crate::clients::{Answer, Body, Request, read};
use crate::disk::Disk;
use crate::invariants::Seen;
use crate::network::Micros;
use crate::world::{Context, Event, Shard};

/// Bytes of changes that a state remembers.
const HISTORY_BYTES: usize = 1 << 14;

pub(crate) struct Host {
    pub(crate) id: NodeId,
    /// Rises with each start; 0 before the first one.
    pub(crate) life: u64,
    pub(crate) up: bool,
    /// What its clock is ahead of the simulation's.
    pub(crate) clock_offset: Micros,
    /// Its clock's rate, of a thousand.
    clock_rate: u64,
    /// How long a sync takes at most.
    pub(crate) sync_micros: Micros,
    pub(crate) shards: BTreeMap<Shard, Slot>,
    requests: BTreeMap<u64, Request>,
    next_request: u64,
    /// What it had of each of these shards when it gave them up; on its disk.
    retired: BTreeMap<Shard, Retired>,
}

/// A replica, and its disk, which outlives it.
#[derive(Default)]
pub(crate) struct Slot {
    pub(crate) disk: Disk,
    pub(crate) live: Option<Live>,
}

pub(crate) struct Live {
    pub(crate) replica: Replica,
    seen: Seen,
    /// What waits for a sync, with the length of the journal that must be synced.
    unsynced: VecDeque<(Unsynced, usize)>,
    syncing: bool,
}

impl Host {
    pub(crate) fn new(id: NodeId, clock_rate: u64) -> Self {
        Self {
            id,
            life: 0,
            up: false,
            clock_offset: 0,
            clock_rate,
            sync_micros: 1_000,
            shards: BTreeMap::new(),
            requests: BTreeMap::new(),
            next_request: 0,
            retired: BTreeMap::new(),
        }
    }

    /// Its disk gets what the first members of a group begin with.
    pub(crate) fn found(&mut self, members: Members) {
        let state = Catalog::new(NameRange::all(), Position::FIRST, HISTORY_BYTES);
        let log = Log::begin(Base { position: Position::FIRST, members });
        self.create(Shard(0), &SplitOff { state, log });
    }

    fn create(&mut self, shard: Shard, begin: &SplitOff) {
        let disk = &mut self.shards.entry(shard).or_default().disk;
        let records: Vec<_> = begin.log.records().collect();
        let len = disk.write(&records);
        disk.sync(len);
        let chunks = naming_directory::catalog::snapshot::SnapshotWriter::new(&begin.state).collect();
        disk.keep_snapshot(begin.state.position(), chunks);
    }

    pub(crate) fn clock(&self, now: Micros) -> Duration {
        Duration::from_micros(self.clock_offset + now * self.clock_rate / 1000)
    }

    /// How long a tick of its clock takes.
    pub(crate) fn tick_micros(&self, ctx: &Context) -> Micros {
        ctx.settings.tick_micros * 1000 / self.clock_rate
    }

    pub(crate) fn start(&mut self, ctx: &mut Context) -> Result<(), String> {
        self.life += 1;
        self.up = true;
        ctx.after(0, Event::Tick { host: self.id, life: self.life });
        let shards: Vec<Shard> = self.shards.keys().copied().collect();
        shards.into_iter().try_for_each(|shard| self.open(shard, ctx))
    }

    /// Opens the replica that the shard's disk holds: an empty one if it holds nothing.
    fn open(&mut self, shard: Shard, ctx: &mut Context) -> Result<(), String> {
        let (id, life) = (self.id, self.life);
        let fail = |problem: String| format!("node {id} cannot start: {problem}");
        let slot = self.shards.entry(shard).or_default();
        let recovered = slot.disk.recover().map_err(|error| fail(error.to_string()))?;
        ctx.tally.torn += u64::from(recovered.torn > 0);
        let state = match slot.disk.snapshot_for(&recovered.log) {
            Some(chunks) => restore(chunks).map_err(|error| fail(error.to_string()))?,
            None => Catalog::new(NameRange::all(), Position::default(), HISTORY_BYTES),
        };
        let retired = self.retired.get(&shard).copied().unwrap_or_default();
        let config = Config { seed: ctx.settings.seed ^ (life << 40), retired, ..ctx.settings.config(id) };
        ctx.note(|| {
            let (log, state) = (&recovered.log, state.position());
            let (first, last, hard_state) = (log.first_index(), log.last_index(), log.hard_state());
            format!(
                "node {id} shard {}: starts with entries {first} to {last}, {hard_state:?}, state {state}",
                shard.0
            )
        });
        let replica = Replica::open(config, recovered.log, state).map_err(|error| fail(error.to_string()))?;
        let (seen, unsynced) = (Seen::default(), VecDeque::new());
        slot.live = Some(Live { replica, seen, unsynced, syncing: false });
        self.drive(shard, ctx)
    }

    /// Power fails.
    pub(crate) fn crash(&mut self, ctx: &mut Context) {
        ctx.note(|| format!("node {} crashes", self.id));
        self.up = false;
        self.requests.clear();
        for slot in self.shards.values_mut() {
            slot.live = None;
            slot.disk.crash(&mut ctx.random);
            if ctx.settings.broken == Broken::LosesDisks && self.id == ctx.settings.nodes[0] {
                slot.disk = Disk::default();
            }
        }
        ctx.tally.crashes += 1;
    }

    pub(crate) fn tick(&mut self, ctx: &mut Context) -> Result<(), String> {
        let now = self.clock(ctx.now);
        let shards: Vec<Shard> = self.shards.keys().copied().collect();
        for shard in shards {
            if let Some(live) = self.live(shard) {
                live.replica.tick(now);
                self.drive(shard, ctx)?;
            }
        }
        Ok(())
    }

    /// A message of a peer arrives, and with it the snapshot that it announces, if it does.
    pub(crate) fn receive(
        &mut self,
        shard: Shard,
        bytes: &[u8],
        chunks: Option<Vec<Vec<u8>>>,
        ctx: &mut Context,
    ) -> Result<(), String> {
        let message = Incoming::decode(bytes).map_err(|error| error.to_string())?;
        if self.retired.get(&shard).is_some_and(|retired| retired.precludes(&message)) {
            return Ok(());
        }
        if self.live(shard).is_none() {
            // A shard that was split off while this node was away, or that it was added to: it begins empty.
            self.open(shard, ctx)?;
        }
        let Some(chunks) = chunks else {
            return self.step(shard, message, None, ctx);
        };
        let (host, life, peer) = (self.id, self.life, message.from());
        let Ok(state) = restore(&chunks) else {
            ctx.tally.snapshots_garbled += 1;
            ctx.after(1_000, Event::Report { host: peer, shard, peer: host, delivered: false });
            return Ok(());
        };
        let delay = ctx.random.below(200_000) as Micros;
        let early = ctx.settings.broken == Broken::InstallsBeforeSync;
        if early {
            self.step(shard, message.clone(), Some(state), ctx)?;
        }
        ctx.after(delay, Event::Staged { host, life, shard, message: (!early).then_some(message), chunks });
        Ok(())
    }

    /// The snapshot that a message announces is durable.
    pub(crate) fn staged(
        &mut self,
        shard: Shard,
        message: Option<Incoming>,
        chunks: Vec<Vec<u8>>,
        ctx: &mut Context,
    ) -> Result<(), String> {
        let Ok(state) = restore(&chunks) else { return Ok(()) };
        if let Some(slot) = self.shards.get_mut(&shard) {
            slot.disk.keep_snapshot(state.position(), chunks);
        }
        message.map_or(Ok(()), |message| self.step(shard, message, Some(state), ctx))
    }

    fn step(
        &mut self,
        shard: Shard,
        message: Incoming,
        state: Option<Catalog>,
        ctx: &mut Context,
    ) -> Result<(), String> {
        let Some(live) = self.live(shard) else { return Ok(()) };
        let stepped = match state {
            Some(state) => live.replica.step_snapshot(message, state),
            None => live.replica.step(message),
        };
        match stepped {
            Ok(()) => self.drive(shard, ctx),
            Err(error @ (StepError::LostLog { .. } | StepError::BeyondTheLog { .. })) => {
                Err(error.to_string())
            }
            Err(StepError::Misdelivered { .. } | StepError::Refused(_)) => Ok(()),
        }
    }

    pub(crate) fn report_snapshot(
        &mut self,
        shard: Shard,
        peer: NodeId,
        delivered: bool,
        ctx: &mut Context,
    ) -> Result<(), String> {
        let Some(live) = self.live(shard) else { return Ok(()) };
        live.replica.report_snapshot(peer, delivered);
        self.drive(shard, ctx)
    }

    /// It is told that it is no member any more, by the entries up to `through`; whether it gives up what it has.
    pub(crate) fn retire(&mut self, shard: Shard, through: u64, ctx: &mut Context) -> bool {
        let id = self.id;
        let Some(live) = self.live(shard) else { return false };
        let group = live.replica.group();
        let Ok(retired) = group.give_up(through) else { return false };
        ctx.note(|| format!("node {id} shard {}: gives up {:?}", shard.0, group.status()));
        self.retired.insert(shard, retired);
        self.requests.retain(|_, request| request.shard != shard);
        self.shards.remove(&shard);
        ctx.forget(id, shard);
        true
    }

    /// A client asks.
    pub(crate) fn serve(&mut self, request: Request, ctx: &mut Context) -> Result<(), String> {
        let now = self.clock(ctx.now);
        self.next_request += 1;
        let (id, shard) = (self.next_request, request.shard);
        let stale = ctx.settings.broken == Broken::StaleReads;
        let Some(live) = self.live(shard) else {
            ctx.answer(&request, Answer::Again(None));
            return Ok(());
        };
        let refused = match &request.body {
            Body::Write(command) => {
                live.replica.propose(RequestId(id), command.clone(), now).err().map(|error| match error {
                    ProposeError::NotLeader { leader } => Answer::Again(leader),
                    _ => Answer::Again(None),
                })
            }
            Body::Read(key) if stale => Some(read(live.replica.state(), *key)),
            Body::Read(_) => live.replica.read(ReadId(id)).err().map(|_| Answer::Again(None)),
        };
        match refused {
            Some(answer) => ctx.answer(&request, answer),
            None => drop(self.requests.insert(id, request)),
        }
        self.drive(shard, ctx)
    }

    /// A sync of the journal's first `len` bytes is done.
    pub(crate) fn synced(&mut self, shard: Shard, len: usize, ctx: &mut Context) -> Result<(), String> {
        let Some(slot) = self.shards.get_mut(&shard) else { return Ok(()) };
        slot.disk.sync(len);
        let Some(live) = &mut slot.live else { return Ok(()) };
        live.syncing = false;
        while live.unsynced.front().is_some_and(|(_, end)| *end <= len)
            && let Some((unsynced, _)) = live.unsynced.pop_front()
        {
            let before = live.replica.state().position();
            ctx.invariants[shard.0].check_records(&live.replica, unsynced.records())?;
            let send = live.replica.persisted(unsynced);
            ctx.tally.snapshots_installed += u64::from(live.replica.state().position() != before);
            send_all(self.id, shard, &slot.disk, live, send, ctx);
        }
        if live.unsynced.is_empty() {
            slot.disk.rewrite(live.replica.group().log().records());
        }
        self.drive(shard, ctx)
    }

    /// A snapshot that this replica took is durable.
    pub(crate) fn snapshot_durable(
        &mut self,
        shard: Shard,
        position: Position,
        chunks: Vec<Vec<u8>>,
        ctx: &mut Context,
    ) -> Result<(), String> {
        let Some(slot) = self.shards.get_mut(&shard) else { return Ok(()) };
        slot.disk.keep_snapshot(position, chunks);
        let Some(live) = &mut slot.live else { return Ok(()) };
        live.replica.snapshot_taken(position);
        slot.disk.drop_snapshots_before(position.index);
        self.drive(shard, ctx)
    }

    /// Does what the replica says, until it says nothing.
    pub(crate) fn drive(&mut self, shard: Shard, ctx: &mut Context) -> Result<(), String> {
        loop {
            let Some(live) = self.live(shard) else { return Ok(()) };
            let output = live.replica.poll().map_err(|error| error.to_string())?;
            ctx.check(shard, &live.replica, &mut live.seen)?;
            if output.is_empty() {
                return self.begin_sync(shard, ctx);
            }
            self.obey(shard, output, ctx)?;
        }
    }

    fn obey(&mut self, shard: Shard, output: Output, ctx: &mut Context) -> Result<(), String> {
        let (id, life) = (self.id, self.life);
        for begin in &output.split {
            ctx.tally.splits += 1;
            // Durable before a snapshot of this shard can leave the split behind.
            if !self.shards.contains_key(&shard.next()) && !self.retired.contains_key(&shard.next()) {
                self.create(shard.next(), begin);
                self.open(shard.next(), ctx)?;
            }
        }
        let Some(slot) = self.shards.get_mut(&shard) else { return Ok(()) };
        let Some(live) = &mut slot.live else { return Ok(()) };
        send_all(id, shard, &slot.disk, live, output.send, ctx);
        if let Some(unsynced) = output.persist {
            for record in unsynced.records() {
                ctx.note(|| format!("node {id} shard {}: writes {record}", shard.0));
            }
            persist(id, shard, slot, unsynced, ctx)?;
        }
        if let Some(snapshot) = output.snapshot {
            let Some(live) = self.live(shard) else { return Ok(()) };
            let position = live.replica.state().position();
            ctx.tally.snapshots_taken += 1;
            if ctx.settings.broken == Broken::SnapshotsBeforeSync {
                live.replica.snapshot_taken(position);
            }
            let (delay, chunks) = (ctx.random.below(200_000) as Micros, snapshot.collect());
            ctx.after(delay, Event::SnapshotDurable { host: id, life, shard, position, chunks });
        }
        for (request, reply) in output.replies {
            self.answer(request.0, Answer::Reply(reply), ctx);
        }
        for request in output.abandoned {
            self.answer(request.0, Answer::Again(None), ctx);
        }
        for ReadId(request) in output.failed_reads {
            self.answer(request, Answer::Again(None), ctx);
        }
        for ReadId(request) in output.reads {
            let key = self.requests.get(&request).and_then(|request| request.body.key());
            let state = self.live(shard).map(|live| live.replica.state());
            if let Some(answer) = key.zip(state).map(|(key, state)| read(state, key)) {
                self.answer(request, answer, ctx);
            }
        }
        Ok(())
    }

    fn answer(&mut self, request: u64, answer: Answer, ctx: &mut Context) {
        if let Some(request) = self.requests.remove(&request) {
            ctx.answer(&request, answer);
        }
    }

    /// One sync at a time, of everything that was written until it begins.
    fn begin_sync(&mut self, shard: Shard, ctx: &mut Context) -> Result<(), String> {
        let (host, life, most) = (self.id, self.life, self.sync_micros);
        let Some(live) = self.live(shard) else { return Ok(()) };
        if let Some((_, len)) = live.unsynced.back().filter(|_| !live.syncing) {
            let len = *len;
            live.syncing = true;
            let delay = 50 + ctx.random.below(most as usize) as Micros;
            ctx.after(delay, Event::Synced { host, life, shard, len });
        }
        Ok(())
    }

    pub(crate) fn live(&mut self, shard: Shard) -> Option<&mut Live> {
        self.shards.get_mut(&shard)?.live.as_mut()
    }
}

fn persist(
    id: NodeId,
    shard: Shard,
    slot: &mut Slot,
    unsynced: Unsynced,
    ctx: &mut Context,
) -> Result<(), String> {
    let Some(live) = &mut slot.live else { return Ok(()) };
    let written = |record: &Record| match (ctx.settings.broken, record) {
        (Broken::ForgetsVotes, Record::HardState(_)) => None,
        (Broken::ForgetsCommits, Record::HardState(state)) => {
            Some(Record::HardState(HardState { commit: 0, ..*state }))
        }
        _ => Some(record.clone()),
    };
    let records: Vec<Record> = unsynced.records().iter().filter_map(written).collect();
    let end = slot.disk.write(&records);
    let nothing = unsynced.records().is_empty() || !unsynced.must_sync();
    let at_once = nothing && live.unsynced.is_empty();
    if at_once || ctx.settings.broken == Broken::PromisesBeforeSync {
        ctx.invariants[shard.0].check_records(&live.replica, unsynced.records())?;
        let send = live.replica.persisted(unsynced);
        send_all(id, shard, &slot.disk, live, send, ctx);
    } else {
        live.unsynced.push_back((unsynced, end));
    }
    Ok(())
}

fn send_all(
    id: NodeId,
    shard: Shard,
    disk: &Disk,
    live: &mut Live,
    messages: Vec<Outgoing>,
    ctx: &mut Context,
) {
    for message in messages {
        let chunks = message.snapshot.map(|position| disk.snapshot(position).cloned());
        match chunks {
            // A newer one took its place.
            Some(None) => live.replica.report_snapshot(message.to, false),
            Some(Some(chunks)) => ctx.send(id, shard, message, Some(chunks)),
            None => ctx.send(id, shard, message, None),
        }
    }
}

fn restore(chunks: &[Vec<u8>]) -> Result<Catalog, naming_directory::catalog::snapshot::SnapshotError> {
    let mut restore = Restore::new(HISTORY_BYTES);
    chunks.iter().try_for_each(|chunk| restore.push(chunk))?;
    restore.finish()
}

/// A command without a session or a time.
pub(crate) fn command(action: proto::command::Action) -> proto::Command {
    proto::Command { action: Some(action), ..proto::Command::default() }
}
