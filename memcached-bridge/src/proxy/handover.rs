//! One proxy takes clients over from another: how a pool changes under clients that stay connected.
//!
//! A [retired](Proxy::retire) proxy reads no further requests. Each client is offered by [`Action::HandOver`] as soon as
//! everything it asked is answered; what it has sent besides goes along, so that its successor reads on where this one
//! stopped. Nothing is asked twice, and nothing is lost.

use std::sync::Arc;

use fabric::time::Nanos;

use super::client::{ClientId, Reading, Transmit};
use super::door::DoorId;
use super::limits::TokenBucket;
use super::{Action, PoolPart, Proxy};
use crate::protocol::Protocol;
use crate::session::binary::SaslState;

/// A client between two proxies.
#[derive(Debug)]
pub struct Handover {
    door: DoorId,
    protocol: Option<Protocol>,
    /// What it has sent and nobody has read.
    input: Vec<u8>,
    /// Who it has shown to be.
    sasl: SaslState,
    bucket: Option<Arc<TokenBucket>>,
}

impl Handover {
    /// Where it came in.
    pub fn door(&self) -> DoorId {
        self.door
    }
}

impl Proxy {
    /// Another proxy takes over: no further requests are read. The connections to servers stay until this is dropped.
    pub fn retire(&mut self, now: Nanos) {
        self.now = now;
        self.commons.retired = true;
        self.commons.finished.extend(self.clients.keys());
        self.close_finished();
    }

    /// Gives a client up to its successor. `None` if it is gone, or something of it is under way.
    pub fn hand_over(&mut self, id: ClientId, now: Nanos) -> Option<Handover> {
        self.now = now;
        let client = self.clients.get_mut(id).filter(|client| client.may_leave())?;
        let input = std::mem::take(&mut client.input);
        let sasl = std::mem::take(&mut client.sasl);
        let door = client.route.map_or(DoorId::Pool(client.pool), DoorId::Route);
        let (protocol, bucket) = (client.protocol, client.bucket.take());
        let handover = Handover { door, protocol, input, sasl, bucket };
        self.commons.tracer.forget(id);
        self.remove_client(id);
        Some(handover)
    }

    /// Takes a client over, as if it had come in at `door`.
    pub fn take_over(
        &mut self,
        door: impl Into<DoorId>,
        handover: Handover,
        now: Nanos,
        sink: &mut dyn Transmit,
    ) -> ClientId {
        let id = self.client_opened(door, now);
        self.pools.iter_mut().for_each(PoolPart::adopt_ring);
        let client = &mut self.clients[id];
        client.protocol = handover.protocol;
        client.input = handover.input;
        (client.sasl, client.bucket) = (handover.sasl, handover.bucket);
        if !client.input.is_empty() {
            self.read_kept(id, sink);
        }
        // While this one drains, too.
        self.commons.finished.push(id);
        self.settle(sink);
        id
    }

    /// Whether the client's next request is left to a successor.
    pub(super) fn leaves_requests(&self, reading: Reading) -> bool {
        self.commons.retired && reading == Reading::Requests
    }

    pub(super) fn offer(&mut self, id: ClientId) {
        self.commons.actions.push_back(Action::HandOver(id));
    }
}
