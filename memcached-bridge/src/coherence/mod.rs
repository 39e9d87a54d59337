//! Which cached values may still be answered: the coherence of one pool on one node, over all its workers and its
//! TCP shell. Fixed tables of atomics; no locks, no messages between cores, no state per cold key.
//!
//! # What it guarantees
//!
//! A hit never returns a value older than the last write that was acknowledged before the read arrived, whatever
//! the network loses, delays or reorders, provided that every write-class command of the pool and every reply to
//! one passes the node and the caller keeps the contract below. Moreover a write whose request reaches its server
//! within the lease is never overtaken: no hit that arrives after the server executed it returns an older value,
//! acknowledged or not, as long as its client does not use its request id for two requests at a time.
//!
//! # Contract of the caller
//!
//! | when | call | before |
//! |---|---|---|
//! | a burst was received | [`snapshot`](Coherence::snapshot) once | deciding on its packets |
//! | a value is found in a hot table | [`is_current`](Coherence::is_current) | answering with it |
//! | a value is to be fetched | [`may_fill`](Coherence::may_fill); keep the [`Stamp`] with the value | the request leaves |
//! | a write-class command passes | [`begin_write`](Coherence::begin_write) or a sibling | it is forwarded |
//! | the reply to one passes | [`end_write`](Coherence::end_write); [`bump_pool`](Coherence::bump_pool) if [`Ended::Unknown`] | it is forwarded |
//! | a tick | [`sweep`](Coherence::sweep) | |
//!
//! # How
//!
//! Each key hashes to a *bucket*, one word `{epoch: 48 bits, pending writes: 16 bits}`; one more such word, the
//! *gate*, stands for the whole pool. A write raises its bucket (epoch + 1, pending + 1) before it leaves, and
//! lowers it (epoch + 1, pending - 1) before its reply is forwarded. A value carries the epochs of its bucket and
//! of the gate from before its request left, when nothing was pending, and is current only while both still hold.
//!
//! What a reply ends is found in a set-associative table of writes in flight. Its cells pass through phases:
//! *pending* until the reply or the deadline (`lease` after the request); then the bucket is lowered and the cell is
//! *late*: it remembers, for the `quarantine`, which bucket a reply that comes after all must bump; then free.
//!
//! # Why it holds
//!
//! Let `W` be a write to bucket `b`, and `V` a value older than `W` that a reader holds, stamped with epoch `e`.
//!
//! 1. *`V` was stamped before `W` was raised.* Raising changed the epoch: `V` is void from then on.
//! 2. *`V` would be stamped between `W`'s raising and its lowering.* Pending is not 0: no stamp is given.
//! 3. *`V` was stamped after `W` was lowered by its reply.* The fill left after the server executed `W`: it is not older.
//! 4. *`V` was stamped after `W` was lowered at its deadline.* `W`'s reply, should it ever come, bumps `b` if the
//!    cell is still late, or the pool if no cell knows it: `V` is void before `W` is acknowledged.
//!
//! The epoch changes at both ends although either change alone would void what is older than an acknowledged
//! write: the first (with pending) also keeps the cache out of the write's way while it is under way, the second
//! still protects when the first was attributed to another request of the same id.
//!
//! **One snapshot for a burst.** The gate is read once, after the packets of the burst arrived. A write
//! acknowledged later is concurrent with all of them, so any order is right. A stamp made from an older
//! snapshot holds an older pool epoch, which only makes the value void sooner.
//!
//! **Equal ids.** Clients choose request ids freely and may use one again while it is in flight or late; hashes of
//! 37 bits may collide. A reply whose id matches several cells cannot be attributed. If all matches are pending for
//! one bucket it does not matter which ends. Else *every* matching bucket is bumped and no cell is freed: the
//! oldest pending one becomes late (it is likely to have been the reply's). So as long as a write's cell exists in
//! either phase, each reply that could be its acknowledgement bumps its bucket.
//!
//! **Races.** Every change of a cell is one compare-and-swap of its whole word, and whoever wins the swap that ends
//! a pending phase, and nobody else, lowers the bucket: exactly once for each raise, by a reply or the sweep. The raise
//! comes before the cell, the lowering after it, so pending never falls below the number of pending cells
//! and never under 0. ABA is harmless: a cell freed and made again with the same word has the same id, bucket and
//! deadline, and pending counts cells, not their identities. When late cells of one id merge, the merged cell has the higher
//! index, is written first, and scans go upward, so no scan misses both. A reply cannot miss its own cell: that was
//! written before the request left.
//!
//! **Wrapping.** Deadlines are 19 bits of 4.2 ms ticks (36 minutes), compared modulo 2^19: times within 18
//! minutes of each other compare right, and lease and quarantine are capped far below. A node that stood still for longer
//! may take an expired cell for a fresh one, which only keeps a bucket uncacheable for longer. Epochs wrap after
//! 2^48 writes to one bucket; a stamp would have to live through all of them.
//!
//! **Full.** Pending stops at 65,535 and a full set refuses: nothing is forwarded that is not counted
//! ([`InFlightFull`]). Late cells give way to new writes, the oldest first: their reply would then be unknown, which
//! bumps the pool. Writes without a reply share a cell per bucket and, in a flood, fall back on the gate, which never refuses.
//!
//! **Memory order.** Every change is a read-modify-write with `AcqRel`, every read `Acquire`, so within the process a
//! reader that sees a cell freed sees the bucket raised. Toward packets the order is the driver's: it issues a store
//! barrier before it rings the device's doorbell and a load barrier after it reads a descriptor. Hence what was
//! stored before a packet left is seen by whoever received what that packet caused.
//!
//! # Known limits
//!
//! - Writes that bypass the node, and duplicates of UDP writes that the network delays beyond the lease.
//! - A write without a reply that reaches its server after the lease: nobody ever learns of it. Values filled in
//!   between live until they expire.
//! - A delayed `flush_all` that reaches its server after the lease.
//! - A reply that comes after lease *and* quarantine (or after its late cell gave way), to a client that is using the same id for another write at that
//!   moment, is taken for the other's.

mod cells;
mod epoch;
mod in_flight;
mod ticks;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fabric::time::Nanos;

use crate::hot::KeyHasher;
use cells::Target;
use epoch::Epochs;
use in_flight::{Held, InFlight};
use ticks::ClosedInterval;

/// The sizes and times of a [`Coherence`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoherenceLimits {
    /// Buckets of keys; rounded up to a power of two, at most 2^19. Two keys of one bucket invalidate each other. 8 bytes each.
    pub buckets: usize,
    /// Cells for writes in flight or late; rounded up to a power of two, at least 8. 8 bytes each.
    pub in_flight: usize,
    /// How long a bucket stays uncacheable for a reply that does not come; at most 300 s.
    pub lease: Duration,
    /// How much longer the bucket of such a write is remembered; at most 300 s.
    pub quarantine: Duration,
    /// Secret for the ids of writes.
    pub seed: u64,
}

impl Default for CoherenceLimits {
    fn default() -> Self {
        let lease = Duration::from_secs(1);
        Self { buckets: 1 << 18, in_flight: 1 << 16, lease, quarantine: 4 * lease, seed: 0 }
    }
}

/// The longest lease and the longest quarantine.
const LONGEST_LEASE: Duration = Duration::from_secs(300);

/// The epochs a value was fetched under: what it must still find to be current.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    pub(crate) bucket_epoch: u64,
    pub(crate) pool_epoch: u64,
}

/// The state of the whole pool, as read once for a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolView {
    epoch: u64,
    open: bool,
    fills: bool,
}

impl PoolView {
    /// Whether values may be answered from the cache at all.
    pub fn is_open(&self) -> bool {
        self.open
    }
}

/// Tells a write in flight from others: a keyed hash of client, port, request id and protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WriteId(u64);

/// There is no room to track one more write: it must not be forwarded (its client will retry).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "too many writes in flight; raise the pool's limit of writes in flight, or see why its servers do not answer"
)]
pub struct InFlightFull;

/// What a reply to a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Ended {
    /// A write the table knows: nothing cached is older than it. The reply may be forwarded.
    Matched,
    /// Nobody knows which write: call [`Coherence::bump_pool`] before the reply is forwarded.
    Unknown,
}

/// What happened so far, and how full the table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoherenceStatistics {
    /// Writes whose reply is awaited.
    pub in_flight: u64,
    /// Writes whose reply did not come in time and is still remembered.
    pub late: u64,
    /// Writes given up at their deadline, those without a reply included.
    pub swept: u64,
    /// Late writes forgotten before their quarantine ended, for want of room.
    pub forgotten: u64,
    /// Writes refused because the table or a bucket was full.
    pub refused: u64,
    /// Times the whole pool was voided.
    pub pool_bumps: u64,
}

/// The coherence state of a pool, and the hash that its keys go by there: what the parts of a node that touch one pool share.
#[derive(Clone, Debug)]
pub struct Tracking {
    pub(crate) hasher: KeyHasher,
    pub(crate) coherence: Arc<Coherence>,
}

/// The coherence state of one pool. Shared by everything on the node that touches the pool.
#[derive(Debug)]
pub struct Coherence {
    epochs: Epochs,
    closed: ClosedInterval,
    /// Apart from the other closures, which are near: the union with a flush that is days away would last for days.
    flushes: ClosedInterval,
    in_flight: InFlight,
    lease: Duration,
    ids: KeyHasher,
    refused: AtomicU64,
    pool_bumps: AtomicU64,
}

impl Coherence {
    /// The state of a pool of which nothing is cached. Allocates everything it will ever need.
    pub fn new(limits: CoherenceLimits) -> Arc<Self> {
        Arc::new(Self {
            epochs: Epochs::new(limits.buckets),
            closed: ClosedInterval::default(),
            flushes: ClosedInterval::default(),
            in_flight: InFlight::new(limits.in_flight, limits.quarantine.min(LONGEST_LEASE)),
            lease: limits.lease.min(LONGEST_LEASE),
            ids: KeyHasher::new(limits.seed),
            refused: AtomicU64::new(0),
            pool_bumps: AtomicU64::new(0),
        })
    }

    /// Bytes of its tables.
    pub fn memory_bytes(&self) -> usize {
        self.epochs.memory_bytes() + self.in_flight.memory_bytes()
    }

    /// The id of a request. `protocol` tells apart protocols that number requests independently (UDP frames from
    /// the opaque of a TCP connection, say).
    pub fn write_id(&self, client: IpAddr, port: u16, request: u64, protocol: u8) -> WriteId {
        let address = match client {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        let mut bytes = [0; 27];
        bytes[..16].copy_from_slice(&address);
        bytes[16..18].copy_from_slice(&port.to_le_bytes());
        bytes[18..26].copy_from_slice(&request.to_le_bytes());
        bytes[26] = protocol;
        WriteId(self.ids.hash(0, &bytes))
    }

    /// The state of the pool at `now`: read it once for a burst, after the burst was received.
    pub fn snapshot(&self, now: Nanos) -> PoolView {
        // The interval before the gate: whoever clears the interval has bumped the gate before.
        let open = self.is_open(now);
        let gate = self.epochs.gate.read();
        PoolView { epoch: gate.epoch, open, fills: open && gate.pending == 0 }
    }

    /// Hints the processor to load the bucket of `key_hash`.
    #[inline]
    pub fn prefetch(&self, key_hash: u64) {
        self.epochs.prefetch(key_hash);
    }

    /// Whether a value with this stamp may be answered.
    #[inline]
    pub fn is_current(&self, view: &PoolView, key_hash: u64, stamp: Stamp) -> bool {
        view.open
            && stamp.pool_epoch == view.epoch
            && stamp.bucket_epoch == self.epochs.of_key(key_hash).epoch
    }

    /// The stamp for a value whose request leaves after this call; `None` while a write is pending or the pool is
    /// closed.
    pub fn may_fill(&self, view: &PoolView, key_hash: u64) -> Option<Stamp> {
        let bucket = self.epochs.of_key(key_hash);
        if !view.fills || bucket.pending != 0 {
            return None;
        }
        Some(Stamp { bucket_epoch: bucket.epoch, pool_epoch: view.epoch })
    }

    /// Counts a write to one key, before it is forwarded.
    ///
    /// # Errors
    /// [`InFlightFull`]: nothing is counted, and the write must not be forwarded.
    pub fn begin_write(&self, id: WriteId, key_hash: u64, now: Nanos) -> Result<(), InFlightFull> {
        self.begin(id, self.target_of(key_hash), now).map_err(|full| self.count_refusal(full))
    }

    /// Counts a write to one key that will have no reply (`noreply`, quiet commands): its bucket stays
    /// uncacheable for one lease.
    ///
    /// # Errors
    /// [`InFlightFull`]: nothing is counted, and the write must not be forwarded.
    pub fn begin_write_without_reply(&self, key_hash: u64, now: Nanos) -> Result<(), InFlightFull> {
        let target = self.target_of(key_hash);
        self.begin_anonymous(target, now)
            .or_else(|InFlightFull| self.begin_anonymous(Target::GATE, now))
            .map_err(|full| self.count_refusal(full))
    }

    /// Counts a write that may touch any key (`flush_all`, a TCP connection straight to a server), before it is
    /// forwarded. Without an id no reply is awaited and the pool stays uncacheable for one lease.
    ///
    /// # Errors
    /// [`InFlightFull`]: nothing is counted, and the write must not be forwarded.
    pub fn begin_write_all(&self, id: Option<WriteId>, now: Nanos) -> Result<(), InFlightFull> {
        let begun = match id {
            Some(id) => self.begin(id, Target::GATE, now),
            None => self.begin_anonymous(Target::GATE, now),
        };
        begun.map_err(|full| self.count_refusal(full))
    }

    /// Ends the write whose reply passes, before the reply is forwarded.
    pub fn end_write(&self, id: WriteId) -> Ended {
        self.in_flight.end(id, true, &self.epochs)
    }

    /// A reply passes that looks like the answer to a read, under the id of a write: it may be the write's (`gat`
    /// answers with a value) or that of a read that used the id before. The write's bucket is voided, and the write
    /// stays remembered for the quarantine, should its own reply still come.
    pub fn may_end_write(&self, id: WriteId) -> Ended {
        self.in_flight.end(id, false, &self.epochs)
    }

    /// Voids everything cached.
    pub fn bump_pool(&self) {
        self.pool_bumps.fetch_add(1, Ordering::Relaxed);
        self.epochs.bump(Target::GATE);
    }

    /// Closes the cache for `[from, until]`: nothing is answered or filled then, and what was cached before is void
    /// after. Two intervals make one that covers both. Rounded outward to 67 ms.
    pub fn close(&self, from: Nanos, until: Nanos) {
        self.closed.close(from, until);
    }

    /// Like [`close`](Coherence::close), for the time around a delayed `flush_all`; beside
    /// [`begin_write_all`](Coherence::begin_write_all) for the command itself.
    pub fn close_for_flush(&self, from: Nanos, until: Nanos) {
        self.flushes.close(from, until);
    }

    /// Whether the cache is open at `now`.
    pub fn is_open(&self, now: Nanos) -> bool {
        self.closed.is_open(now, || self.bump_pool()) && self.flushes.is_open(now, || self.bump_pool())
    }

    /// Gives up writes whose deadline has passed, looking at about `budget` cells from where the last call, by
    /// whichever worker, stopped.
    pub fn sweep(&self, now: Nanos, budget: usize) {
        self.in_flight.sweep(now, budget, &self.epochs);
    }

    /// Counts so far. Walks the table of writes in flight: not for a worker.
    pub fn statistics(&self) -> CoherenceStatistics {
        CoherenceStatistics {
            refused: self.refused.load(Ordering::Relaxed),
            pool_bumps: self.pool_bumps.load(Ordering::Relaxed),
            ..self.in_flight.statistics()
        }
    }

    fn begin(&self, id: WriteId, target: Target, now: Nanos) -> Result<(), InFlightFull> {
        self.epochs.raise(target)?;
        self.in_flight
            .insert(id, target, now + self.lease, now)
            .inspect_err(|InFlightFull| self.epochs.lower(target))
    }

    fn begin_anonymous(&self, target: Target, now: Nanos) -> Result<(), InFlightFull> {
        self.epochs.raise(target)?;
        let held = self.in_flight.hold(target, now + self.lease, now);
        // A cell that already holds the target holds it for this write, too.
        if held != Ok(Held::Anew) {
            self.epochs.lower(target);
        }
        held.map(|_| ())
    }

    fn target_of(&self, key_hash: u64) -> Target {
        Target::bucket(self.epochs.bucket_of(key_hash))
    }

    fn count_refusal(&self, InFlightFull: InFlightFull) -> InFlightFull {
        self.refused.fetch_add(1, Ordering::Relaxed);
        InFlightFull
    }
}
