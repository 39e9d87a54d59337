//! memcached on the packet path: the network function of one pool. That of a pool which the node answers for itself is
//! [`embedded`].
//!
//! A request to the pool's virtual address is read in flight. A get of a hot key turns into its own answer; what
//! a server must answer is sent to it by rewriting the destination MAC, source untouched, so that the server
//! answers the client directly; what no single server can answer the node gathers. Replies pass on their way back,
//! so that the node knows when a write is done.
//!
//! ```text
//!  burst ─► whose is it? ─┬─ get of one key ──► hot table ─► answer in place      (hot_path)
//!           (mod)         │                  └► ring ─► redirect, count, fill     (hot_path, fill)
//!                         ├─ other request ──► read all its commands              (request)
//!                         │     ├─ one server: write-class ones begin, redirect
//!                         │     └─ several:    ask each, merge                    (scatter, gather)
//!                         ├─ fragment, or one of several datagrams: hold          (odd, pieces, datagrams)
//!                         ├─ reply to a client ─► ends its write                  (reply)
//!                         ├─ reply to the node ─► fill, part, probe               (upstream, answered)
//!                         ├─ straight to or from a server ─► void the cache       (direct)
//!                         └─ ARP for the virtual address ─► answer                (odd, arp)
//! ```
//!
//! One instance per pool and worker. What the workers share is in [`PoolState`]: the epochs and writes in flight
//! ([`Coherence`](crate::coherence::Coherence)), the servers' liveness and the ring ([`Members`](crate::members::Members)).
//!
//! **Bounds.** Held fragments, held datagrams, gathered requests and requests of the node itself live in slabs of
//! fixed size; each says in its module what happens when it is full.
//!
//! **What a hit needs** (invariant 4): the entry's lease and remaining TTL have not run out, no write began since
//! its fill was sent, and the pool is open. A burst looks at the pool's epoch once: its packets had arrived
//! before, so a write acknowledged later is concurrent with them.

mod allowlist;
mod answered;
mod arp;
mod counters;
mod datagrams;
mod direct;
pub mod embedded;
mod fill;
mod gather;
mod hot_path;
mod odd;
mod pieces;
pub mod pool;
mod probe;
mod reply;
mod request;
mod scatter;
mod state;
mod upstream;
mod wire;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use fabric::counters::Published;
use fabric::fragments::Fragments;
use fabric::function::{Burst, Context, NetworkFunction, Verdict, WorkerId};
use fabric::io::PacketBuf;
use fabric::packet::udp4::Udp4;

pub use counters::PoolCounters;
pub use state::{PoolState, SHOWN_HOT_KEYS, WorkerStatus};
pub use wire::REPLY_PACKET_BYTES;

use crate::coherence::PoolView;
use crate::hashing::Ring;
use crate::hot::{Attempts, HotTable, Hottest, Sampler, Sketch};
use datagrams::{Datagrams, Stretch};
use gather::Gathers;
use hot_path::Candidate;
use pool::Pool;
use upstream::Upstream;

/// The time in which requests for a key are counted to tell whether it is hot.
pub const HOT_WINDOW: Duration = Duration::from_secs(1);

/// Packets that a pool holds on one worker at most: fragments, datagrams of requests of several, parts of gathered
/// requests.
pub const HELD_PACKETS: usize = pieces::FRAGMENT_LIMITS.packets + datagrams::MAX_HELD + gather::MAX_HELD;

/// The network function of one pool on one worker.
pub struct MemcachedSwitch<P> {
    state: Arc<PoolState>,
    worker: WorkerId,
    ring: Arc<Ring>,
    ring_generation: u64,
    /// `None` if the pool has no cache: then writes need no tracking either.
    cache: Option<Cache>,
    upstream: Upstream,
    gathers: Gathers<P>,
    fragments: Fragments<P>,
    datagrams: Datagrams<P>,
    prober: Option<probe::Prober>,
    counters: PoolCounters,
    published: Arc<Published>,
    status: Arc<WorkerStatus>,
    /// Scratch of one burst: gets of one key, and the packets that need a longer look.
    candidates: Vec<Candidate>,
    others: Vec<(usize, Owner)>,
    /// Scratch of one request: its memcached bytes, its packets.
    payload: Vec<u8>,
    packets: Vec<P>,
    stretches: Vec<Stretch<P>>,
}

/// The worker's part of the hot-key cache.
struct Cache {
    table: HotTable,
    sketch: Sketch,
    attempts: Attempts,
    hot_threshold: u16,
    lease: Duration,
    /// The walk for the keys that are shown.
    hottest: Hottest,
    /// Which of the requests of a full burst are counted.
    sampler: Sampler,
}

/// Whose a packet is, if it needs a longer look.
#[derive(Clone, Copy, Debug)]
enum Owner {
    /// A request to the virtual address that is no plain get of one key.
    Request(Udp4),
    /// From the virtual address to a client.
    Reply(Udp4),
    /// From the virtual address to the node; the worker whose request it answers.
    Answer(Udp4, WorkerId),
    /// Not a plain UDP packet: ARP, a fragment, TCP, IPv6.
    Odd,
    /// To or from a server's MAC address, past the virtual address.
    Direct,
}

impl<P: PacketBuf> MemcachedSwitch<P> {
    /// The function of the pool behind `state` for worker `worker`. Allocates all it will ever need.
    pub fn new(state: Arc<PoolState>, worker: WorkerId) -> Self {
        let pool = state.pool();
        let (published, status) = state.of_worker(worker);
        Self {
            worker,
            ring: state.members().ring(),
            ring_generation: state.members().generation(),
            cache: pool.cache.map(|limits| Cache::new(&limits)),
            upstream: Upstream::new(),
            gathers: Gathers::new(),
            fragments: Fragments::new(pieces::FRAGMENT_LIMITS),
            datagrams: Datagrams::new(),
            prober: (worker == WorkerId(0)).then(|| probe::Prober::new(pool)),
            counters: PoolCounters::default(),
            published,
            status,
            candidates: Vec::with_capacity(fabric::io::BURST),
            others: Vec::with_capacity(fabric::io::BURST),
            payload: Vec::with_capacity(datagrams::MAX_DATAGRAMS * LARGEST_FRAME),
            packets: Vec::with_capacity(usize::from(u16::MAX) / 8),
            stretches: Vec::with_capacity(datagrams::MAX_DATAGRAMS),
            state,
        }
    }

    fn pool(&self) -> &Pool {
        self.state.pool()
    }

    fn adopt_ring(&mut self) {
        let generation = self.state.members().generation();
        if generation != self.ring_generation {
            self.ring = self.state.members().ring();
            self.ring_generation = generation;
        }
    }

    /// Sorts the burst into candidates for the hot path and others, and starts loading what the candidates need.
    #[inline]
    fn sort(&mut self, burst: &mut Burst<P>) {
        let at = *self.state.address();
        for slot in 0..burst.len() {
            let Some(packet) = burst.undecided(slot) else { continue };
            let frame = packet.bytes();
            let Some(udp) = Udp4::parse(frame) else {
                self.others.extend(self.odd_owner(frame).map(|owner| (slot, owner)));
                continue;
            };
            if udp.dst == at.vip && udp.dst_port == at.service_port && udp.vlan == at.vlan {
                let genuine = !self.state.poses_as_node(udp.src, udp.src_port);
                let Some(mut candidate) = Candidate::read(slot, frame, &udp).filter(|_| genuine) else {
                    self.others.push((slot, Owner::Request(udp)));
                    continue;
                };
                if let Some(cache) = &self.cache {
                    candidate.hash = self.state.hash(candidate.key(frame));
                    cache.table.prefetch(candidate.hash);
                    self.state.coherence().prefetch(candidate.hash);
                }
                self.candidates.push(candidate);
            } else if udp.src == at.vip && udp.src_port == at.service_port && udp.vlan == at.vlan {
                self.others.push((slot, self.reply_owner(udp)));
            } else if self.is_direct(frame, udp.src_port, udp.dst_port) {
                self.others.push((slot, Owner::Direct));
            }
        }
    }

    fn reply_owner(&self, udp: Udp4) -> Owner {
        let at = self.state.address();
        let worker = udp.dst_port.wrapping_sub(at.upstream_port);
        if udp.dst == at.node && worker < self.state.workers() {
            return Owner::Answer(udp, WorkerId(worker));
        }
        Owner::Reply(udp)
    }

    fn decide_others(&mut self, burst: &mut Burst<P>, view: &PoolView, context: &mut dyn Context<P>) {
        let mut others = std::mem::take(&mut self.others);
        for (slot, owner) in others.drain(..) {
            match owner {
                Owner::Request(udp) => self.request(slot, udp, burst, view, context),
                Owner::Reply(udp) => self.reply(slot, udp, burst),
                Owner::Answer(udp, worker) => self.answer(slot, udp, worker, burst, view, context),
                Owner::Odd => self.odd(slot, burst, view, context),
                Owner::Direct => self.direct(context.now()),
            }
        }
        self.others = others;
    }

    /// Ends slot `slot` here. The caller has counted why.
    fn drop_slot(burst: &mut Burst<P>, slot: usize) {
        burst.decide(slot, Verdict::Drop);
    }
}

impl<P: PacketBuf> NetworkFunction<P> for MemcachedSwitch<P> {
    fn name(&self) -> &'static str {
        "memcached"
    }

    fn process(&mut self, burst: &mut Burst<P>, context: &mut dyn Context<P>) {
        self.adopt_ring();
        let view = self.state.coherence().snapshot(context.now());
        self.sort(burst);
        self.decide_candidates(burst, &view, context);
        if !self.others.is_empty() {
            self.decide_others(burst, &view, context);
        }
    }

    fn tick(&mut self, context: &mut dyn Context<P>) {
        let now = context.now();
        self.adopt_ring();
        if let Some(cache) = &mut self.cache {
            cache.sketch.tick(now);
            self.state.coherence().sweep(now, SWEEP_BUDGET);
        }
        self.expire_upstream(now);
        self.expire_gathers(now);
        self.expire_pieces(now);
        self.probe(context);
    }

    fn publish(&mut self) {
        self.published.publish(&self.counters);
        if let Some(cache) = &mut self.cache {
            self.status.publish_cache(&cache.table, &mut cache.hottest);
        }
    }
}

/// Cells of the table of writes in flight looked at in one tick: with 65,536 cells and a tick each millisecond, the
/// whole table in 64 ms.
const SWEEP_BUDGET: usize = 1024;
/// No port takes larger frames.
const LARGEST_FRAME: usize = 10_000;
