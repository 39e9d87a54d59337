//! A get of one key: answered from the hot table, or redirected.

use fabric::function::{Burst, Context, Verdict};
use fabric::io::PacketBuf;
use fabric::packet::checksum::Sum;
use fabric::packet::udp4::{self, Udp4};
use fabric::time::Nanos;

use super::{Cache, HOT_WINDOW, MemcachedSwitch, SHOWN_HOT_KEYS};
use crate::coherence::PoolView;
use crate::hashing::MemberIndex;
use crate::hot::{Hit, HotTable, Hottest, Sketch};
use crate::packet::fill::Attempts;
use crate::packet::pool::CacheLimits;

/// The memcached UDP frame.
const FRAME: usize = 8;
/// In a burst this full the worker is busy: every [`SAMPLE`]-th get is counted, with that weight.
const BUSY: usize = 32;
const SAMPLE: usize = 8;

/// A get of one key: where it is in the burst and in its packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) slot: usize,
    pub(super) udp: Udp4,
    /// The key's hash for the hot table and the epochs; 0 without a cache.
    pub(super) hash: u64,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) with_cas: bool,
}

/// What became of a look into the hot table.
enum Looked {
    Answered,
    /// Answered; the entry will run out soon.
    AnsweredDue,
    /// A valid entry, but too large a reply for this client.
    Amplifies,
    Missed,
}

impl Cache {
    pub(super) fn new(limits: &CacheLimits) -> Self {
        Self {
            table: HotTable::new(limits.capacity_bytes),
            sketch: Sketch::new(HOT_WINDOW),
            attempts: Attempts::new(),
            hot_threshold: limits.hot_threshold,
            lease: limits.lease,
            hottest: Hottest::new(SHOWN_HOT_KEYS),
            phase: 0,
        }
    }
}

impl<P: PacketBuf> MemcachedSwitch<P> {
    pub(super) fn decide_candidates(
        &mut self,
        burst: &mut Burst<P>,
        view: &PoolView,
        context: &mut dyn Context<P>,
    ) {
        let mut candidates = std::mem::take(&mut self.candidates);
        if self.cache.is_none() {
            for candidate in candidates.drain(..) {
                self.redirect_get(&candidate, burst);
            }
        } else {
            self.look_up_candidates(&mut candidates, burst, view, context);
        }
        self.candidates = candidates;
    }

    fn look_up_candidates(
        &mut self,
        candidates: &mut Vec<Candidate>,
        burst: &mut Burst<P>,
        view: &PoolView,
        context: &mut dyn Context<P>,
    ) {
        let now = context.now();
        let busy = burst.len() >= BUSY;
        if let Some(cache) = &self.cache {
            for candidate in candidates.iter() {
                cache.table.prefetch_record(candidate.hash);
            }
        }
        for (index, candidate) in candidates.drain(..).enumerate() {
            match self.look_up(&candidate, burst, view, now) {
                Looked::Answered => {
                    self.counters.hits += 1;
                    burst.decide(candidate.slot, Verdict::Reply);
                }
                Looked::AnsweredDue => {
                    self.counters.hits += 1;
                    burst.decide(candidate.slot, Verdict::Reply);
                    self.refresh(&candidate, burst, view, context);
                }
                Looked::Amplifies => {
                    self.counters.drop_client_not_allowed += 1;
                    Self::drop_slot(burst, candidate.slot);
                }
                Looked::Missed => {
                    let Some(server) = self.redirect_get(&candidate, burst) else { continue };
                    if !busy || index % SAMPLE == self.sample_phase() {
                        self.note_request(
                            &candidate,
                            server,
                            if busy { SAMPLE as u16 } else { 1 },
                            burst,
                            view,
                            context,
                        );
                    }
                }
            }
        }
        self.advance_sample_phase();
    }

    fn look_up(
        &mut self,
        candidate: &Candidate,
        burst: &mut Burst<P>,
        view: &PoolView,
        now: Nanos,
    ) -> Looked {
        let Some(cache) = &mut self.cache else { return Looked::Missed };
        let Some(packet) = burst.undecided(candidate.slot) else { return Looked::Missed };
        let frame = packet.bytes();
        let Some(hit) = cache.table.find(candidate.hash, &frame[candidate.start..candidate.end]) else {
            return Looked::Missed;
        };
        if hit.expires <= now || !self.state.coherence().is_current(view, candidate.hash, hit.stamp) {
            return Looked::Missed;
        }
        let body = hit.reply_len(candidate.with_cas);
        if !self.state.allows(candidate.udp.src) && !self.state.within_limit(candidate.udp, FRAME + body) {
            return Looked::Amplifies;
        }
        let due = now + cache.lease / 2 >= hit.expires && hit.refresh_not_before <= now;
        match answer_in_place(packet, candidate, &hit, body) {
            true if due => Looked::AnsweredDue,
            true => Looked::Answered,
            false => Looked::Missed,
        }
    }

    /// Sends a get on to the server of its key, which it returns.
    fn redirect_get(&mut self, candidate: &Candidate, burst: &mut Burst<P>) -> Option<MemberIndex> {
        if !self.state.allows(candidate.udp.src) {
            self.counters.drop_client_not_allowed += 1;
            Self::drop_slot(burst, candidate.slot);
            return None;
        }
        let packet = burst.undecided(candidate.slot)?;
        let server = self.ring.locate(&packet.bytes()[candidate.start..candidate.end]);
        packet.bytes_mut()[..6].copy_from_slice(&self.state.server_mac(server).0);
        burst.decide(candidate.slot, Verdict::Deliver);
        self.counters.redirected += 1;
        self.status.count_request(server);
        Some(server)
    }

    fn sample_phase(&self) -> usize {
        self.cache.as_ref().map_or(0, |cache| cache.phase)
    }

    fn advance_sample_phase(&mut self) {
        if let Some(cache) = &mut self.cache {
            cache.phase = (cache.phase + 1) % SAMPLE;
        }
    }
}

/// Turns a get into its reply. `false`, and the packet as it was, if it has no room for the reply.
#[inline]
fn answer_in_place<P: PacketBuf>(packet: &mut P, candidate: &Candidate, hit: &Hit<'_>, body: usize) -> bool {
    let udp = candidate.udp;
    let start = udp.payload + FRAME;
    if packet.set_len(start + body).is_err() {
        return false;
    }
    let frame = packet.bytes_mut();
    let sum = if candidate.with_cas {
        hit.write_gets(&mut frame[start..]);
        hit.gets_sum()
    } else {
        hit.write_get(&mut frame[start..]);
        hit.get_sum()
    };
    // The request's frame (its id, datagram 0 of 1) is the reply's, too.
    let sum = Sum::of(&frame[udp.payload..start]).then(sum);
    udp4::turn_around(frame, &udp, FRAME + body, sum);
    true
}
