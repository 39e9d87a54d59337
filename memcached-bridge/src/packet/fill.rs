//! Fills: the node asks the server for the value of a key that turned hot, with all it needs to answer for it.
//!
//! `mg <key> v f c t k` brings value, flags, CAS, remaining TTL and the key in one reply. The epochs are read before the request
//! leaves; the reply enters the table only if they still hold.

use std::time::Duration;

use fabric::function::{Burst, Context};
use fabric::io::PacketBuf;
use fabric::time::Nanos;

use super::MemcachedSwitch;
use super::hot_path::Candidate;
use super::upstream::{Fill, KeyBytes, Purpose};
use crate::coherence::PoolView;
use crate::hashing::MemberIndex;
use crate::hot::{Inserted, Item, expiry};
use crate::protocol::MAX_KEY_LEN;
use crate::protocol::render::{self, Fixed};
use crate::protocol::reply::MetaGetReply;
use crate::protocol::udp::FRAME_LEN;

/// How long a server has for the reply to a fill.
const FILL_PATIENCE: Duration = Duration::from_millis(100);
/// `md `, a key, ` I C`, twenty digits, and the end of the line.
const MAX_MARK_STALE_LEN: usize = 32 + MAX_KEY_LEN;

impl<P: PacketBuf> MemcachedSwitch<P> {
    /// Counts a get that its server answers, and asks for the value if its key is hot now.
    pub(super) fn note_request(
        &mut self,
        candidate: &Candidate,
        server: MemberIndex,
        weight: u16,
        burst: &mut Burst<P>,
        view: &PoolView,
        context: &mut dyn Context<P>,
    ) {
        let Some(cache) = &mut self.cache else { return };
        if cache.sketch.observe(candidate.hash, weight) < cache.hot_threshold {
            return;
        }
        let Some(packet) = burst.packet(usize::from(candidate.slot)) else { return };
        let Ok(key) = KeyBytes::try_from(candidate.key(packet.bytes())) else { return };
        self.fill(key, candidate.hash, server, view, context);
    }

    /// Asks again for a key that was just answered and whose entry will soon run out.
    pub(super) fn refresh(
        &mut self,
        candidate: &Candidate,
        burst: &mut Burst<P>,
        view: &PoolView,
        context: &mut dyn Context<P>,
    ) {
        // The packet is a reply by now: its key stands behind `VALUE `.
        let start = usize::from(candidate.payload) + FRAME_LEN + b"VALUE ".len();
        let Some(packet) = burst.packet(usize::from(candidate.slot)) else { return };
        let key = packet.bytes().get(start..start + candidate.key_len());
        let Some(key) = key.and_then(|key| KeyBytes::try_from(key).ok()) else { return };
        if let Some(cache) = &mut self.cache {
            cache.table.note_refresh(candidate.hash, &key, context.now() + cache.lease / 8);
        }
        let server = self.ring.locate(&key);
        self.fill(key, candidate.hash, server, view, context);
    }

    fn fill(
        &mut self,
        key: KeyBytes,
        hash: u64,
        server: MemberIndex,
        view: &PoolView,
        context: &mut dyn Context<P>,
    ) {
        let now = context.now();
        let Some(cache) = &mut self.cache else { return };
        if !cache.attempts.allowed(hash, now) {
            return;
        }
        let Some(stamp) = self.state.coherence().may_fill(view, hash) else { return };
        let Some(id) = self.upstream.open(now + FILL_PATIENCE, server) else { return };
        cache.attempts.note(hash, now + FILL_PATIENCE);
        let sent = self.send_upstream(server, id, &[b"mg ", &key, b" v f c t k\r\n"], context);
        if !sent {
            self.upstream.close(id);
            return;
        }
        self.upstream.assign(id, Purpose::Fill(Fill { key, hash, stamp, sent: now }));
        self.counters.fills_sent += 1;
    }

    /// Files the reply to a fill.
    pub(super) fn install(&mut self, fill: &Fill, reply: MetaGetReply<'_>, view: &PoolView, now: Nanos) {
        let Some(cache) = &mut self.cache else { return };
        let MetaGetReply::Hit { value, flags, cas, ttl, stale: false, key, .. } = reply else {
            self.counters.fills_missed += 1;
            return cache.attempts.note(fill.hash, now + cache.lease);
        };
        // The id alone does not say which key a reply is about: ids are used again.
        if key != Some(&fill.key) {
            return self.counters.drop_reply_unexpected += 1;
        }
        let expires = expiry(fill.sent, ttl, cache.lease);
        let Some(expires) = expires.filter(|expires| *expires > now) else {
            self.counters.fills_unfit += 1;
            return cache.attempts.note(fill.hash, now + cache.lease);
        };
        if !self.state.coherence().is_current(view, fill.hash, fill.stamp) {
            self.counters.fills_overtaken += 1;
            return cache.attempts.note(fill.hash, now);
        }
        let item =
            Item { key: &fill.key, flags, cas, value, installed: fill.sent, expires, stamp: fill.stamp };
        match cache.table.insert(fill.hash, item) {
            Inserted::New | Inserted::Replaced => {
                self.counters.fills_installed += 1;
                cache.attempts.note(fill.hash, now);
            }
            Inserted::TooLarge => self.note_unfit(fill, now),
        }
    }

    /// Gives back the recache token that `fill` has won by its reply: it was meant for a client, and the node makes no item
    /// anew. Whoever asks before it is back is told that somebody does.
    pub(super) fn give_token_back(
        &mut self,
        fill: &Fill,
        reply: MetaGetReply<'_>,
        context: &mut dyn Context<P>,
    ) {
        let MetaGetReply::Hit { won: true, cas, key, .. } = reply else { return };
        let now = context.now();
        // It changes the CAS: a write, whose reply nobody waits for.
        if key != Some(&fill.key) || self.state.coherence().begin_write_without_reply(fill.hash, now).is_err()
        {
            return;
        }
        let server = self.ring.locate(&fill.key);
        let Some(id) = self.upstream.open(now + FILL_PATIENCE, server) else { return };
        let mut line = [0; MAX_MARK_STALE_LEN];
        let mut out = Fixed::new(&mut line);
        render::mark_stale(&mut out, &fill.key, cas);
        let sent = out.finish().is_some_and(|len| self.send_upstream(server, id, &[&line[..len]], context));
        if !sent {
            self.upstream.close(id);
            return;
        }
        self.upstream.assign(id, Purpose::Token);
        self.counters.tokens_given_back += 1;
    }

    /// The value does not fit: no use asking again soon.
    pub(super) fn note_unfit(&mut self, fill: &Fill, now: Nanos) {
        self.counters.fills_unfit += 1;
        if let Some(cache) = &mut self.cache {
            cache.attempts.note(fill.hash, now + cache.lease);
        }
    }
}
