//! Lines of gets whose server failed: each of their keys is asked for by itself, where it may be next.

use super::Lead;
use crate::protocol::delimit::Shape;
use crate::protocol::{Head, Protocol};
use crate::proxy::Proxy;
use crate::proxy::client::Transmit;
use crate::proxy::failure::Failure;
use crate::proxy::gather::{Merge, PartId};
use crate::proxy::in_flight::{InFlight, Owner};
use crate::proxy::request::Asked;

impl Proxy {
    /// Asks for the keys of a line elsewhere that `pool` did not answer; `line` is how it was sent. `false` if none of its
    /// client is there any more.
    pub(in crate::proxy) fn split_line(
        &mut self,
        entry: &InFlight,
        line: &[u8],
        pool: u16,
        failure: Failure,
        sink: &mut dyn Transmit,
    ) -> bool {
        let Head::Complete { request, .. } = Protocol::Text.parse_head(line) else { return false };
        let keys = request.keys().count();
        let (gather, first, client) = match entry.owner {
            Owner::Client { client, place } if self.clients.contains_key(client) => {
                (self.gathers.begin(client, place, Merge::Items, keys, None), 0, client)
            }
            Owner::Part(part) => match self.gathers.grow(part.gather, keys - 1) {
                Some((first, client)) => (part.gather, first, client),
                None => return false,
            },
            _ => return false,
        };
        if !self.clients.contains_key(client) {
            return false;
        }
        // The line's own part is its first key's.
        let own = match entry.owner {
            Owner::Part(part) => Some(part.part),
            _ => None,
        };
        let parts = own.into_iter().chain(first..);
        for (part, key) in parts.zip(request.keys()) {
            let to = Owner::Part(PartId { gather, part });
            let asked = Asked { client, request, head: line, block: &[] };
            self.ask_next(&asked, &key, pool, to, failure, sink);
        }
        true
    }

    /// Asks for one key in the pool behind `failed`, if there is one.
    fn ask_next(
        &mut self,
        asked: &Asked<'_>,
        key: &[u8],
        failed: u16,
        to: Owner,
        failure: Failure,
        sink: &mut dyn Transmit,
    ) {
        let Some(client) = self.clients.get(asked.client) else { return };
        let Lead::Several(id) = self.lead_of(client, key) else {
            let like = InFlight::new(to, asked.request.verb, Shape::Items, self.now);
            return self.tell_failure(&like, failure, sink);
        };
        let attempt = self.attempt_key(asked, id, key);
        let next = self.destination(id).chain().position(|pool| pool == failed).map_or(0, |at| at + 1);
        self.go_on_with(attempt, to, next, failure, sink);
    }
}
