//! Clients that have to authenticate themselves, as at a memcached with `-S`: they speak binary, and before they have
//! authenticated themselves by SASL PLAIN a connection answers `version` and nothing else.
//!
//! Servers are not authenticated with: they would take binary requests only, and the node asks in text.

use super::Proxy;
use super::client::{ClientId, Transmit};
use crate::protocol::binary::{HEADER_LEN, Header, MAGIC_REQUEST, Reply, Status};
use crate::protocol::{Head, Protocol, Verb};
use crate::session::binary::sasl;

/// What becomes of the request at the front of a client's input.
pub(super) enum Checked {
    /// It may be carried out.
    Pass,
    /// It was dealt with, and is so long; 0 if more of it has to come.
    Done(usize),
}

impl Proxy {
    /// Answers what has to do with authentication, and refuses what has to wait for it.
    pub(super) fn check_authentication(
        &mut self,
        id: ClientId,
        rest: &[u8],
        sink: &mut dyn Transmit,
    ) -> Checked {
        let credentials = self.door_of(&self.clients[id]).credentials.clone();
        let Some(credentials) = credentials.as_deref() else { return Checked::Pass };
        let client = &mut self.clients[id];
        if rest[0] != MAGIC_REQUEST {
            return Checked::Pass;
        }
        let Some(header) = Header::parse(rest) else { return Checked::Done(0) };
        if rest.len() < HEADER_LEN + header.prefix_len() {
            return Checked::Done(0);
        }
        let reply = Reply::to(header.opcode, header.opaque);
        let mut out = Vec::new();
        if !client.sasl.admits(&header, Some(credentials)) {
            reply.failed(Status::AuthFailure).render(&mut out);
            let place = client.ask();
            self.reply(id, place, &out, sink);
            self.end_client(id);
            return Checked::Done(rest.len());
        }
        let Head::Complete { request, consumed: head, block } = Protocol::Binary.parse_head(rest) else {
            return Checked::Pass;
        };
        if request.verb != Verb::Sasl {
            return Checked::Pass;
        }
        let len = block.map_or(0, |block| block.wire_len());
        if let Some(status) = block.and_then(|_| sasl::refuse(&header, len, Some(credentials))) {
            return Checked::Done(self.refuse_and_swallow(id, head, len, reply.failed(status), sink));
        }
        let Some(message) = rest[head..].get(..len) else {
            client.awaited = head + len;
            return Checked::Done(0);
        };
        client.awaited = 0;
        client.sasl.answer(reply, &rest[HEADER_LEN..head], message, Some(credentials), &mut out);
        let place = client.ask();
        self.reply(id, place, &out, sink);
        Checked::Done(head + len)
    }

    fn refuse_and_swallow(
        &mut self,
        id: ClientId,
        head: usize,
        len: usize,
        reply: Reply<'_>,
        sink: &mut dyn Transmit,
    ) -> usize {
        let client = &mut self.clients[id];
        client.swallow(len);
        let place = client.ask();
        let mut out = Vec::new();
        reply.render(&mut out);
        self.reply(id, place, &out, sink);
        head
    }
}
