//! A sample of a destination's requests, sent to another pool as well, whose answers nobody waits for.
//!
//! The sample is one of keys, the same in every thread and on every node: all that is asked of these keys goes to the shadow, so
//! that its hit ratio says something. It never slows a client down: what would have to wait is not sent.

use super::attempt::DestinationId;
use super::form;
use crate::hashing::KeyHash;
use crate::protocol::{Class, Head, Protocol};
use crate::proxy::Proxy;
use crate::proxy::in_flight::Owner;
use crate::proxy::request::Asked;

/// Bytes on their way to a server of the shadow beyond which nothing more is sent to it.
const MAX_ON_THE_WAY: usize = 256 << 10;

/// A sample of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u32);

impl Share {
    /// This share of all keys, 0 to 1.
    pub fn of(share: f64) -> Self {
        Self((share.clamp(0.0, 1.0) * f64::from(u32::MAX)) as u32)
    }

    fn has(self, key: &[u8]) -> bool {
        // FNV hardly mixes the last bytes of a key into its upper bits: Fibonacci hashing does.
        KeyHash::Fnv1a32.hash(key).wrapping_mul(0x9e37_79b9) <= self.0 && self.0 > 0
    }
}

/// Where a sample goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shadow {
    /// The pool.
    pub pool: u16,
    /// Which keys.
    pub share: Share,
}

impl Proxy {
    /// Sends `asked`, which names `key` alone, to the shadow of its destination, too, if the key is in the sample.
    pub(super) fn shadow(&mut self, asked: &Asked<'_>, key: &[u8], id: DestinationId) {
        let Some(shadow) = self.destination(id).shadow.filter(|shadow| shadow.share.has(key)) else { return };
        if asked.request.class() == Class::Keyless {
            return;
        }
        match self.post_shadow(asked, key, shadow.pool) {
            Some(()) => self.route_counters(id).shadowed += 1,
            None => self.route_counters(id).shadow_dropped += 1,
        }
    }

    /// The same with one key of a get of several.
    pub(in crate::proxy) fn shadow_key(&mut self, asked: &Asked<'_>, id: DestinationId, key: &[u8]) {
        if self.destination(id).shadow.is_none() {
            return;
        }
        let mut head = self.commons.spares.take();
        form::push_get(&mut head, &asked.request, key);
        if let Head::Complete { request, .. } = Protocol::Text.parse_head(&head) {
            self.shadow(&Asked { client: asked.client, request, head: &head, block: &[] }, key, id);
        }
        self.commons.spares.put(head);
    }

    /// Notes that a large value is not sent to the shadow: it is never held as a whole.
    pub(in crate::proxy) fn shadow_leaves_out(&mut self, id: DestinationId, key: &[u8]) {
        if self.destination(id).shadow.is_some_and(|shadow| shadow.share.has(key)) {
            self.route_counters(id).shadow_dropped += 1;
        }
    }

    fn post_shadow(&mut self, asked: &Asked<'_>, key: &[u8], pool: u16) -> Option<()> {
        if self.is_down(pool, key) {
            return None;
        }
        let home = self.home_in(pool, self.clients[asked.client].lane);
        let server = self.pools[home.index()].ring.locate(key);
        let backend = self.lane(home, server, asked.protocol()).ok()?;
        let on_the_way = self.backends.get(backend)?.outgoing.len();
        if on_the_way + asked.head.len() + asked.block.len() > MAX_ON_THE_WAY {
            return None;
        }
        let writes = self.begin_write(home.index(), &asked.request, key).ok()?;
        self.post_request(backend, asked, Owner::Nobody, writes);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_keys_is_that_share() {
        for share in [0.0, 0.01, 0.25, 0.5, 1.0] {
            let taken =
                (0..20_000).filter(|number| Share::of(share).has(format!("user:{number}").as_bytes()));
            let taken = taken.count() as f64 / 20_000.0;
            assert!((taken - share).abs() <= 0.02, "{taken} for {share}");
        }
    }

    #[test]
    fn a_larger_share_has_all_keys_of_a_smaller_one() {
        for number in 0..5000 {
            let key = format!("{number}-key");
            assert!(Share::of(0.4).has(key.as_bytes()) || !Share::of(0.3).has(key.as_bytes()), "{key}");
        }
    }
}
