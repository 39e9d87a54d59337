//! Large values to several copies: streamed to all at the pace of the slowest, and held by none.

use super::acks::Acknowledged;
use super::attempt::DestinationId;
use super::form::Effect;
use crate::protocol::Request;
use crate::proxy::Proxy;
use crate::proxy::backend::{BackendId, ServerId};
use crate::proxy::client::{Reading, Transmit};
use crate::proxy::failure::Failure;
use crate::proxy::gather::{Merge, PartId};
use crate::proxy::in_flight::{InFlight, Owner, Writes};
use crate::proxy::keyed::shape;
use crate::proxy::quiet::Quiet;
use crate::proxy::request::Asked;

impl Proxy {
    /// Whether a large value goes to all copies at once. What one copy decides is streamed to that one.
    pub(in crate::proxy) fn goes_to_copies(&self, id: DestinationId, request: &Request<'_>) -> bool {
        self.has_legs(id) && Effect::of(request) == Effect::Sets
    }

    /// Begins to forward a large value to all copies of its key. Returns the length of its head, 0 if it cannot be done yet.
    pub(in crate::proxy) fn begin_upload_to_copies(
        &mut self,
        asked: &Asked<'_>,
        key: &[u8],
        id: DestinationId,
        len: usize,
        sink: &mut dyn Transmit,
    ) -> usize {
        let Some((mut copies, missing)) = self.upload_connections(asked, key, id) else { return 0 };
        copies.retain_mut(|copy| match self.begin_write(usize::from(copy.pool), &asked.request, key) {
            Ok(writes) => {
                copy.writes = writes;
                true
            }
            Err(_) => {
                self.upload_is_idle(copy.backend);
                false
            }
        });
        let needed = self.destination(id).acks_needed();
        self.route_counters(id).copies_missing += u64::from(missing);
        if copies.len() < needed {
            copies.iter().for_each(|copy| self.upload_is_idle(copy.backend));
            return self.refuse_upload(asked, len, Some(Failure::TooFewCopies), sink);
        }
        let client = &mut self.clients[asked.client];
        let place = client.ask();
        client.reading = Reading::Value { backend: copies[0].backend, left: len };
        client.copies = copies[1..].iter().map(|copy| copy.backend).collect();
        let quiet = Quiet::of(&asked.request);
        let deletes = self.reach_older(id, asked, key);
        let (needed, parts) = (needed + deletes.len(), copies.len() + deletes.len());
        let merge = Merge::Acks(Acknowledged::new(needed, parts, None, quiet));
        let gather = self.gathers.begin(asked.client, place, merge, parts, None);
        for (part, copy) in (0u16..).zip(&copies) {
            let owner = Owner::Part(PartId { gather, part });
            let mut in_flight = InFlight::new(owner, asked.request.verb, shape(&asked.request), self.now);
            (in_flight.tag, in_flight.writes) = (asked.tag(), copy.writes);
            self.post_upload(copy.backend, asked, in_flight);
        }
        for (part, delete) in (copies.len() as u16..).zip(&deletes) {
            self.post_delete(delete, key, Owner::Part(PartId { gather, part }));
        }
        asked.head.len()
    }

    /// A connection to each copy that is up, and whether some are missing. `None` if the client has to wait for one.
    fn upload_connections(
        &mut self,
        asked: &Asked<'_>,
        key: &[u8],
        id: DestinationId,
    ) -> Option<(Vec<Copy>, bool)> {
        let pools: Vec<u16> = self.destination(id).copies().collect();
        let mut copies: Vec<Copy> = Vec::with_capacity(pools.len());
        for &pool in &pools {
            if self.is_down(pool, key) {
                continue;
            }
            let server = ServerId { pool, server: self.pools[usize::from(pool)].ring.locate(key).0 };
            match self.upload_connection(server, asked.protocol(), asked.client) {
                Ok(Some(backend)) => copies.push(Copy { pool, backend, writes: None }),
                Ok(None) => {
                    copies.iter().for_each(|copy| self.upload_is_idle(copy.backend));
                    return None;
                }
                Err(_) => {}
            }
        }
        let missing = copies.len() < pools.len();
        Some((copies, missing))
    }
}

/// A copy that a large value goes to.
struct Copy {
    pool: u16,
    backend: BackendId,
    writes: Option<Writes>,
}
