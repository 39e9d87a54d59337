//! A get of one key: answered from the hot table, or redirected.
//!
//! A burst is worked through in passes, so that the processor waits for memory, and for the long chains of dependent
//! steps that hash functions are, on many packets at a time: read all packets and load the index lines of their keys;
//! load the records; answer what is there; hash what is not; redirect.

use fabric::function::{Burst, Context, Verdict};
use fabric::io::PacketBuf;
use fabric::packet::checksum::Sum;
use fabric::packet::udp4::{self, IP_AND_UDP, Udp4};
use fabric::time::Nanos;

use super::pool::CacheLimits;
use super::state::Address;
use super::{Cache, HOT_WINDOW, MemcachedSwitch, SHOWN_HOT_KEYS};
use crate::coherence::PoolView;
use crate::hot::{Attempts, Guess, Hit, HotTable, Hottest, Sampler, Sketch};
use crate::protocol::single_get;
use crate::protocol::udp::FRAME_LEN;

/// In a burst this full the worker is busy: a sample of the gets is counted.
const BUSY: usize = 32;

/// A get of one key: where it is in the burst and in its packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// The key's hash for the hot table and the epochs; 0 without a cache.
    pub(super) hash: u64,
    /// The key's hash on the ring, once it is needed.
    ring_hash: u32,
    client: u32,
    client_port: u16,
    pub(super) slot: u16,
    /// Where the UDP payload begins in the frame, and where the key is.
    pub(super) payload: u16,
    pub(super) start: u16,
    pub(super) end: u16,
    with_cas: bool,
    guess: Option<Guess>,
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

impl Candidate {
    /// The get in `frame`, if it is one: the only datagram of its request, plain `get` or `gets` of one key.
    #[inline(always)]
    pub(super) fn read(slot: usize, frame: &[u8], udp: &Udp4) -> Option<Candidate> {
        let (header, command) = frame.get(udp.payload..udp.end)?.split_first_chunk::<FRAME_LEN>()?;
        if header[2..6] != [0, 0, 0, 1] {
            return None;
        }
        let get = single_get(command)?;
        // The key ends where the line does, two bytes before the datagram.
        let end = udp.end - 2;
        Some(Candidate {
            hash: 0,
            ring_hash: 0,
            client: udp.src,
            client_port: udp.src_port,
            slot: slot as u16,
            payload: udp.payload as u16,
            start: (end - get.key.len()) as u16,
            end: end as u16,
            with_cas: get.with_cas,
            guess: None,
        })
    }

    /// The key in the candidate's request.
    #[inline(always)]
    pub(super) fn key<'f>(&self, frame: &'f [u8]) -> &'f [u8] {
        &frame[usize::from(self.start)..usize::from(self.end)]
    }

    pub(super) fn key_len(&self) -> usize {
        usize::from(self.end - self.start)
    }

    /// The datagram it was read from.
    fn udp(&self, at: &Address) -> Udp4 {
        let payload = usize::from(self.payload);
        Udp4 {
            vlan: at.vlan,
            l3: payload - IP_AND_UDP,
            src: self.client,
            dst: at.vip,
            src_port: self.client_port,
            dst_port: at.service_port,
            payload,
            end: usize::from(self.end) + 2,
        }
    }
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
            sampler: Sampler::new(0),
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
        if let Some(cache) = &self.cache {
            for candidate in &mut candidates {
                candidate.guess = cache.table.guess(candidate.hash);
            }
            self.look_up_all(&mut candidates, burst, view, context);
        }
        self.hash_all(&mut candidates, burst);
        self.redirect_all(&candidates, burst, view, context);
        candidates.clear();
        self.candidates = candidates;
    }

    /// Answers what the hot table can, and keeps the others.
    fn look_up_all(
        &mut self,
        candidates: &mut Vec<Candidate>,
        burst: &mut Burst<P>,
        view: &PoolView,
        context: &mut dyn Context<P>,
    ) {
        let now = context.now();
        candidates.retain(|candidate| {
            let slot = usize::from(candidate.slot);
            match self.look_up(candidate, burst, view, now) {
                Looked::Missed => return true,
                Looked::Amplifies => {
                    self.counters.drop_client_not_allowed += 1;
                    burst.decide(slot, Verdict::Drop);
                    return false;
                }
                Looked::AnsweredDue => self.refresh(candidate, burst, view, context),
                Looked::Answered => {}
            }
            self.counters.hits += 1;
            burst.decide(slot, Verdict::Reply);
            false
        });
    }

    #[inline(always)]
    fn look_up(
        &mut self,
        candidate: &Candidate,
        burst: &mut Burst<P>,
        view: &PoolView,
        now: Nanos,
    ) -> Looked {
        let Some(cache) = &mut self.cache else { return Looked::Missed };
        let Some(packet) = burst.undecided(usize::from(candidate.slot)) else { return Looked::Missed };
        let key = candidate.key(packet.bytes());
        let Some(hit) = cache.table.find_at(candidate.guess, candidate.hash, key) else {
            return Looked::Missed;
        };
        let expires = hit.expires();
        if expires <= now || !self.state.coherence().is_current(view, candidate.hash, hit.stamp()) {
            return Looked::Missed;
        }
        let udp = candidate.udp(self.state.address());
        let body = hit.reply_len(candidate.with_cas);
        let allowed = self.state.allows(udp.src);
        if !allowed && !self.state.within_limit(&udp, FRAME_LEN + body) {
            return Looked::Amplifies;
        }
        let due = allowed && now + cache.lease / 2 >= expires && hit.refresh_not_before() <= now;
        match answer_in_place(packet, &udp, candidate.with_cas, &hit, body) {
            true if due => Looked::AnsweredDue,
            true => Looked::Answered,
            false => Looked::Missed,
        }
    }

    /// Finds the keys' hashes on the ring.
    fn hash_all(&self, candidates: &mut [Candidate], burst: &Burst<P>) {
        let key = |candidate: &Candidate| {
            let packet = burst.packet(usize::from(candidate.slot));
            packet.map_or(&[][..], |packet| candidate.key(packet.bytes()))
        };
        let (fours, rest) = candidates.as_chunks_mut::<4>();
        for four in fours {
            let hashes = self.ring.hash_four(four.each_ref().map(key));
            for (candidate, hash) in four.iter_mut().zip(hashes) {
                candidate.ring_hash = hash;
            }
        }
        for candidate in rest {
            candidate.ring_hash = self.ring.hash(key(candidate));
        }
    }

    /// Sends each get on to the server of its key.
    fn redirect_all(
        &mut self,
        candidates: &[Candidate],
        burst: &mut Burst<P>,
        view: &PoolView,
        context: &mut dyn Context<P>,
    ) {
        let busy = burst.len() >= BUSY;
        let weight = if busy { Sampler::WEIGHT } else { 1 };
        for candidate in candidates {
            let slot = usize::from(candidate.slot);
            if !self.state.allows(candidate.client) {
                self.counters.drop_client_not_allowed += 1;
                burst.decide(slot, Verdict::Drop);
                continue;
            }
            let Some(packet) = burst.undecided(slot) else { continue };
            let server = self.ring.locate_hash(candidate.ring_hash);
            packet.bytes_mut()[..6].copy_from_slice(&self.state.server_mac(server).0);
            burst.decide(slot, Verdict::Deliver);
            self.counters.redirected += 1;
            self.status.count_request(server);
            if self.cache.as_mut().is_some_and(|cache| !busy || cache.sampler.picks()) {
                self.note_request(candidate, server, weight, burst, view, context);
            }
        }
    }
}

/// Turns a get into its reply. `false`, and the packet as it was, if it has no room for the reply.
#[inline(always)]
fn answer_in_place<P: PacketBuf>(
    packet: &mut P,
    udp: &Udp4,
    with_cas: bool,
    hit: &Hit<'_>,
    body: usize,
) -> bool {
    let start = udp.payload + FRAME_LEN;
    let Some(request_frame) = packet.bytes()[udp.payload..].first_chunk::<FRAME_LEN>().copied() else {
        return false;
    };
    if packet.set_len(start + body).is_err() {
        return false;
    }
    let frame = packet.bytes_mut();
    let sum = if with_cas {
        hit.write_gets(&mut frame[start..]);
        hit.gets_sum()
    } else {
        hit.write_get(&mut frame[start..]);
        hit.get_sum()
    };
    // The request's frame (its id, datagram 0 of 1) is the reply's, too.
    let sum = Sum::of_four(request_frame).then(sum);
    udp4::turn_around(frame, udp, FRAME_LEN + body, sum);
    true
}
