//! Recache tokens that a fill has won.
//!
//! Of the readers of a stale item (`md ... I`) memcached tells one that it should make the item anew, and the others that somebody
//! does. A fill reads like any of them and cannot ask not to be told; but it makes nothing anew. So the token goes back:
//! the item is marked stale once more, and the next client that asks is told. Between the two it is a loser like others.

use super::Proxy;
use super::backend::BackendId;
use super::cache::Fill;
use super::in_flight::{InFlight, Owner, Writes};
use crate::protocol::delimit::Shape;
use crate::protocol::reply::{MetaGetReply, parse_meta_get_reply};
use crate::protocol::{Verb, render};

impl Proxy {
    /// Gives back what `fill` has won by its reply, over the connection that it came by.
    pub(super) fn give_token_back(&mut self, id: BackendId, fill: &Fill) {
        let MetaGetReply::Hit { won: true, cas, .. } = parse_meta_get_reply(&fill.reply) else { return };
        let Some(to) = self.backends.get_mut(id) else { return };
        let pool = usize::from(to.server.pool);
        // It changes the CAS: a write like any other.
        if self.begin_numbered_write(pool, self.writes, fill.hash).is_err() {
            return;
        }
        let writes = Writes { first: self.writes, count: 1, hash: Some(fill.hash) };
        self.writes += 1;
        let Some(to) = self.backends.get_mut(id) else { return };
        render::mark_stale(to.outgoing.tail(), &fill.key, cas);
        let mut in_flight = InFlight::new(Owner::Nobody, Verb::MetaDelete, Shape::Meta, self.now);
        in_flight.writes = Some(writes);
        self.post(id, in_flight);
        self.pools[pool].counters.tokens_given_back += 1;
    }
}
