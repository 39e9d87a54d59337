//! Requests that the node answers itself.

use super::Proxy;
use super::client::Transmit;
use super::request::{Asked, Taken};
use crate::protocol::{Dialect, ProtocolError, Verb};
use crate::session::COMPATIBLE_VERSION;

impl Proxy {
    /// Answers `version`, `quit`, `mn`, the binary no-op, and refuses SASL, where nobody has to authenticate.
    pub(super) fn answer(&mut self, asked: Asked<'_>, sink: &mut dyn Transmit) -> Taken {
        let mut reply = self.commons.spares.take();
        push_answer(&mut reply, &asked);
        let place = self.clients[asked.client].ask();
        self.reply(asked.client, place, &reply, sink);
        self.commons.spares.put(reply);
        if asked.request.verb == Verb::Quit {
            self.end_client(asked.client);
        }
        Taken::Yes
    }
}

fn push_answer(out: &mut Vec<u8>, asked: &Asked<'_>) {
    let request = &asked.request;
    if let Some(tag) = asked.tag() {
        return match request.verb {
            Verb::Quit if request.quiet => {}
            Verb::Version => super::binary::push_reply(out, tag, 0, b"", COMPATIBLE_VERSION.as_bytes()),
            Verb::Sasl => super::binary::push_error(out, asked.head, ProtocolError::BinaryUnknown),
            _ => super::binary::push_reply(out, tag, 0, b"", b""),
        };
    }
    match (request.verb, request.dialect) {
        (Verb::Version, _) => {
            out.extend_from_slice(b"VERSION ");
            out.extend_from_slice(COMPATIBLE_VERSION.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        (_, Dialect::Meta(_)) => out.extend_from_slice(b"MN\r\n"),
        _ => {}
    }
}
