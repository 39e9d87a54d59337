//! One run.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::panic::{AssertUnwindSafe, catch_unwind};

use cluster_tests::random::Random;
use naming::NodeId;
use naming_directory::Position;
use naming_directory::group::{Config, Incoming, Outgoing, Role};
use naming_directory::log::Members;
use naming_directory::replica::Replica;
use serde::Serialize;

use crate::balancer::{self, Plan};
use crate::broken::Broken;
use crate::clients::{Answer, Client, NAMES, Request};
use crate::faults;
use crate::history::History;
use crate::host::Host;
use crate::invariants::{Invariants, Seen};
pub(crate) use crate::network::Micros;
use crate::network::Network;

/// Things go wrong until then.
const TROUBLE_MICROS: Micros = 8_000_000;
/// By then everything has to be well again.
const END_MICROS: Micros = 60_000_000;
/// Clients, each with one command under way.
const CLIENTS: usize = 5;
/// Nodes there may be; a group begins with some of them.
const NODES: u64 = 6;

/// Of a node's shards, which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shard(pub(crate) usize);

impl Shard {
    /// The one that is split off from it.
    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Something that happens.
#[derive(Debug)]
pub(crate) enum Event {
    Tick { host: NodeId, life: u64 },
    Start { host: NodeId },
    Deliver { to: NodeId, shard: Shard, bytes: Vec<u8>, chunks: Option<Vec<Vec<u8>>> },
    Report { host: NodeId, shard: Shard, peer: NodeId, delivered: bool },
    Staged { host: NodeId, life: u64, shard: Shard, message: Option<Incoming>, chunks: Vec<Vec<u8>> },
    Synced { host: NodeId, life: u64, shard: Shard, len: usize },
    SnapshotDurable { host: NodeId, life: u64, shard: Shard, position: Position, chunks: Vec<Vec<u8>> },
    Request { host: NodeId, request: Request },
    Answer { client: usize, attempt: u64, answer: Answer },
    ClientAct { client: usize },
    ClientTimeout { client: usize, attempt: u64 },
    ClientRetry { client: usize, attempt: u64 },
    Fault,
    Look,
    Balance(Plan),
}

/// What differs from seed to seed, and does not change in a run.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) seed: u64,
    pub(crate) broken: Broken,
    trace: bool,
    pub(crate) nodes: Vec<NodeId>,
    pub(crate) tick_micros: Micros,
    pub(crate) values: Values,
    snapshot_entries: u64,
    retained_entries: u64,
    max_committed_bytes: u64,
    max_append_bytes: u64,
}

/// Values that nobody wrote before.
#[derive(Debug, Default)]
pub(crate) struct Values(u64);

impl Values {
    pub(crate) fn next_value(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

impl Settings {
    fn new(seed: u64, broken: Broken, trace: bool, random: &mut Random) -> Self {
        Self {
            seed,
            broken,
            trace,
            nodes: (1..=NODES).filter_map(NodeId::new).collect(),
            tick_micros: 15_000,
            values: Values::default(),
            snapshot_entries: *random.pick(&[5, 40, 200]),
            retained_entries: *random.pick(&[0, 10, 100]),
            max_committed_bytes: *random.pick(&[1, 500, 1 << 20]),
            max_append_bytes: *random.pick(&[1, 500, 1 << 20]),
        }
    }

    pub(crate) fn config(&self, id: NodeId) -> Config {
        Config {
            snapshot_entries: self.snapshot_entries,
            retained_entries: self.retained_entries,
            max_committed_bytes: self.max_committed_bytes,
            max_append_bytes: self.max_append_bytes,
            max_inflight: 8,
            max_uncommitted_bytes: 64 << 10,
            max_promotion_lag: 20,
            read_timeout_ticks: 40,
            ..Config::new(id, 0)
        }
    }
}

/// How much of what happened.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Report {
    pub events: u64,
    pub answered: u64,
    pub given_up: u64,
    pub sessions_lost: u64,
    pub committed: u64,
    pub crashes: u64,
    pub torn: u64,
    pub clock_jumps: u64,
    pub transfers: u64,
    pub member_changes: u64,
    pub balanced: u64,
    pub retired: u64,
    pub splits: u64,
    pub snapshots_taken: u64,
    pub snapshots_installed: u64,
    pub snapshots_garbled: u64,
}

impl std::ops::AddAssign for Report {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.answered += other.answered;
        self.given_up += other.given_up;
        self.sessions_lost += other.sessions_lost;
        self.committed += other.committed;
        self.crashes += other.crashes;
        self.torn += other.torn;
        self.clock_jumps += other.clock_jumps;
        self.transfers += other.transfers;
        self.member_changes += other.member_changes;
        self.balanced += other.balanced;
        self.retired += other.retired;
        self.splits += other.splits;
        self.snapshots_taken += other.snapshots_taken;
        self.snapshots_installed += other.snapshots_installed;
        self.snapshots_garbled += other.snapshots_garbled;
    }
}

/// What a run came upon.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Of the run: it does it again.
    pub seed: u64,
    /// When, in microseconds of the run.
    pub at: u64,
    /// What does not hold.
    pub problem: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {}, at {} us: {}", self.seed, self.at, self.problem)
    }
}

/// Everything but nodes and clients.
pub(crate) struct Context {
    pub(crate) now: Micros,
    pub(crate) random: Random,
    pub(crate) network: Network,
    pub(crate) settings: Settings,
    pub(crate) history: History,
    pub(crate) tally: Report,
    /// Nothing goes wrong any more.
    pub(crate) calm: bool,
    pub(crate) invariants: [Invariants; 2],
    queue: BinaryHeap<Reverse<(Micros, u64)>>,
    events: BTreeMap<u64, Event>,
    sequence: u64,
}

impl Context {
    pub(crate) fn after(&mut self, delay: Micros, event: Event) {
        self.sequence += 1;
        self.queue.push(Reverse((self.now + delay, self.sequence)));
        self.events.insert(self.sequence, event);
    }

    /// Tells what happens, if somebody wants to know.
    pub(crate) fn note(&self, text: impl FnOnce() -> String) {
        if self.settings.trace {
            eprintln!("{:>9} {}", self.now, text());
        }
    }

    pub(crate) fn check(&mut self, shard: Shard, replica: &Replica, seen: &mut Seen) -> Result<(), String> {
        let before = *seen;
        self.invariants[shard.0].check(replica, seen)?;
        if seen.term_led != before.term_led {
            self.note(|| format!("shard {}: leads: {:?}", shard.0, replica.group().status()));
        }
        Ok(())
    }

    pub(crate) fn send(
        &mut self,
        from: NodeId,
        shard: Shard,
        message: Outgoing,
        chunks: Option<Vec<Vec<u8>>>,
    ) {
        let arrivals = self.network.pass(from, message.to, &mut self.random);
        if chunks.is_some() {
            // What a sender learns of it: whether its stream came to an end, sooner or later.
            let delivered = !arrivals.is_empty();
            let delay = if delivered { 30_000 } else { 200_000 };
            self.after(delay, Event::Report { host: from, shard, peer: message.to, delivered });
        }
        for delay in arrivals {
            let mut chunks = chunks.clone();
            if let Some(chunks) = &mut chunks
                && self.random.one_in(10)
            {
                let chunk = self.random.below(chunks.len());
                let at = self.random.below(chunks[chunk].len());
                chunks[chunk][at] ^= 1 << self.random.below(8);
            }
            self.after(delay, Event::Deliver { to: message.to, shard, bytes: message.bytes.clone(), chunks });
        }
    }

    /// Nothing that is under way to, from or at a replica comes any more: it is long ago by the time that the node may get
    /// another one.
    pub(crate) fn forget(&mut self, node: NodeId, of: Shard) {
        self.events.retain(|_, event| match event {
            Event::Deliver { to, shard, bytes, .. } => {
                let from = || Incoming::decode(bytes).map(|message| message.from());
                *shard != of || (*to != node && from() != Ok(node))
            }
            Event::Report { host, shard, .. }
            | Event::Staged { host, shard, .. }
            | Event::Synced { host, shard, .. }
            | Event::SnapshotDurable { host, shard, .. } => (*host, *shard) != (node, of),
            _ => true,
        });
    }

    pub(crate) fn request(&mut self, host: NodeId, request: Request) {
        for delay in self.network.pass_client(&mut self.random) {
            self.after(delay, Event::Request { host, request: request.clone() });
        }
    }

    pub(crate) fn answer(&mut self, request: &Request, answer: Answer) {
        let (client, attempt) = (request.client, request.attempt);
        for delay in self.network.pass_client(&mut self.random) {
            self.after(delay, Event::Answer { client, attempt, answer: answer.clone() });
        }
    }
}

/// Nodes, clients and all between them.
pub(crate) struct World {
    pub(crate) ctx: Context,
    pub(crate) hosts: BTreeMap<NodeId, Host>,
    clients: Vec<Client>,
    /// Of the reads at the end, how many were begun.
    last_reads: usize,
}

/// Runs the seed, with a rule broken or none.
///
/// # Errors
/// If anything does not hold that has to.
pub fn run(seed: u64, broken: Broken) -> Result<Report, Failure> {
    run_world(World::new(seed, broken, false))
}

/// The same, with an account of what happens on standard error.
///
/// # Errors
/// If anything does not hold that has to.
pub fn run_traced(seed: u64, broken: Broken) -> Result<Report, Failure> {
    run_world(World::new(seed, broken, true))
}

fn run_world(mut world: World) -> Result<Report, Failure> {
    // `raft` panics on broken invariants: what a run came upon, too.
    let result = catch_unwind(AssertUnwindSafe(|| world.run())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    });
    let seed = world.ctx.settings.seed;
    result.map_err(|problem| Failure { seed, at: world.ctx.now, problem })
}

impl World {
    fn new(seed: u64, broken: Broken, trace: bool) -> Self {
        let mut random = Random::new(seed);
        let settings = Settings::new(seed, broken, trace, &mut random);
        // A single node that grows, three, or five.
        let founders: Vec<NodeId> = settings.nodes[..*random.pick(&[1, 3, 3, 5])].to_vec();
        let mut hosts: BTreeMap<NodeId, Host> =
            settings.nodes.iter().map(|id| (*id, Host::new(*id, 950 + random.below(101) as u64))).collect();
        for id in &founders {
            if let Some(host) = hosts.get_mut(id) {
                host.found(Members::of_voters(founders.iter().copied()));
            }
        }
        let clients = (0..CLIENTS).map(|client| Client::new(client, *random.pick(&settings.nodes))).collect();
        let ctx = Context {
            now: 0,
            random,
            network: Network::new(),
            settings,
            history: History::default(),
            tally: Report::default(),
            calm: false,
            invariants: Default::default(),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            sequence: 0,
        };
        Self { ctx, hosts, clients, last_reads: 0 }
    }

    fn run(&mut self) -> Result<Report, String> {
        for id in self.ctx.settings.nodes.clone() {
            self.ctx.after(0, Event::Start { host: id });
        }
        for client in 0..CLIENTS {
            self.ctx.after(200_000, Event::ClientAct { client });
        }
        self.ctx.after(500_000, Event::Fault);
        self.ctx.after(600_000, Event::Look);
        while !self.is_over()? {
            let Some(Reverse((at, sequence))) = self.ctx.queue.pop() else { break };
            self.ctx.now = at;
            self.ctx.tally.events += 1;
            if let Some(event) = self.ctx.events.remove(&sequence) {
                self.handle(event)?;
            }
        }
        self.ctx.history.check()?;
        self.ctx.tally.answered = self.ctx.history.answered() as u64;
        self.ctx.tally.committed = self.ctx.invariants[0].last_committed();
        Ok(self.ctx.tally)
    }

    fn handle(&mut self, event: Event) -> Result<(), String> {
        let ctx = &mut self.ctx;
        match event {
            Event::Tick { host, life } => {
                if let Some(host) = alive(&mut self.hosts, host, Some(life)) {
                    let tick = host.tick_micros(ctx);
                    ctx.after(tick, Event::Tick { host: host.id, life });
                    host.tick(ctx)?;
                }
            }
            Event::Start { host } => {
                if let Some(host) = self.hosts.get_mut(&host).filter(|host| !host.up) {
                    host.start(ctx)?;
                }
            }
            Event::Deliver { to, shard, bytes, chunks } => {
                if let Some(host) = alive(&mut self.hosts, to, None) {
                    host.receive(shard, &bytes, chunks, ctx)?;
                }
            }
            Event::Report { host, shard, peer, delivered } => {
                if let Some(host) = alive(&mut self.hosts, host, None) {
                    host.report_snapshot(shard, peer, delivered, ctx)?;
                }
            }
            Event::Staged { host, life, shard, message, chunks } => {
                if let Some(host) = alive(&mut self.hosts, host, Some(life)) {
                    host.staged(shard, message, chunks, ctx)?;
                }
            }
            Event::Synced { host, life, shard, len } => {
                if let Some(host) = alive(&mut self.hosts, host, Some(life)) {
                    host.synced(shard, len, ctx)?;
                }
            }
            Event::SnapshotDurable { host, life, shard, position, chunks } => {
                if let Some(host) = alive(&mut self.hosts, host, Some(life)) {
                    host.snapshot_durable(shard, position, chunks, ctx)?;
                }
            }
            Event::Request { host, request } => {
                if let Some(host) = alive(&mut self.hosts, host, None) {
                    host.serve(request, ctx)?;
                }
            }
            Event::Answer { client, attempt, answer } => {
                self.clients[client].answered(attempt, answer, ctx)?
            }
            Event::ClientTimeout { client, attempt } => self.clients[client].timeout(attempt, ctx),
            Event::ClientRetry { client, attempt } => self.clients[client].retry(attempt, ctx),
            Event::ClientAct { client } if !ctx.calm => {
                self.clients[client].act(ctx);
                let pause = 1_000 + ctx.random.below(60_000) as Micros;
                ctx.after(pause, Event::ClientAct { client });
            }
            Event::ClientAct { .. } => {}
            Event::Fault if ctx.now < TROUBLE_MICROS => {
                let pause = 20_000 + ctx.random.below(500_000) as Micros;
                ctx.after(pause, Event::Fault);
                faults::strike(self)?;
            }
            Event::Look if ctx.now < TROUBLE_MICROS => {
                let pause = 50_000 + ctx.random.below(200_000) as Micros;
                ctx.after(pause, Event::Look);
                balancer::look(self);
            }
            Event::Look => {}
            Event::Balance(plan) => balancer::act(self, &plan)?,
            Event::Fault => {
                ctx.calm = true;
                faults::heal(self);
            }
        }
        Ok(())
    }

    /// Whether trouble is over, all clients are done, each name was read once more, and all members agree.
    fn is_over(&mut self) -> Result<bool, String> {
        if self.ctx.now > END_MICROS {
            let busy = self.clients.iter().filter(|client| !client.is_idle()).count();
            return Err(format!("not well again: {busy} clients wait, members: {}", self.describe()));
        }
        if !self.ctx.calm || self.clients.iter().any(|client| !client.is_idle()) {
            return Ok(false);
        }
        if self.last_reads < NAMES {
            for client in &mut self.clients {
                client.read_at_last(self.last_reads, &mut self.ctx);
                self.last_reads += 1;
            }
            return Ok(false);
        }
        let shards: Vec<Shard> = self.hosts.values().flat_map(|host| host.shards.keys().copied()).collect();
        Ok(shards.into_iter().all(|shard| self.agrees(shard)))
    }

    /// Whether the shard's members have all that its leader has, and no change of members is under way.
    fn agrees(&mut self, shard: Shard) -> bool {
        let mut states = BTreeMap::new();
        let mut leader: Option<(u64, NodeId, u64, Members)> = None;
        for host in self.hosts.values_mut() {
            let id = host.id;
            let Some(live) = host.live(shard) else { continue };
            let status = live.replica.group().status();
            states.insert(id, (live.replica.state().position(), live.replica.state().checksum()));
            if status.role == Role::Leader && leader.as_ref().is_none_or(|(term, ..)| *term < status.term) {
                leader = Some((status.term, id, status.last_index, status.members));
            }
        }
        leader.is_some_and(|(_, id, last, members)| {
            let state = states.get(&id);
            let current = state.is_some_and(|(position, _)| position.index == last);
            current && !members.is_joint() && members.all().iter().all(|member| states.get(member) == state)
        })
    }

    fn describe(&mut self) -> String {
        let mut text = String::new();
        for host in self.hosts.values_mut() {
            for (shard, slot) in &host.shards {
                if let Some(live) = &slot.live {
                    text += &format!("\n  shard {}: {:?}", shard.0, live.replica.group().status());
                }
            }
        }
        text
    }
}

fn alive(hosts: &mut BTreeMap<NodeId, Host>, id: NodeId, life: Option<u64>) -> Option<&mut Host> {
    hosts.get_mut(&id).filter(|host| host.up && life.is_none_or(|life| life == host.life))
}
