//! Requests out of a client's bytes, and what becomes of each.

use super::client::{ClientId, Reading, Transmit, Wait};
use super::failure::Failure;
use super::in_flight::{Place, Tag};
use super::limits::Progress;
use super::quiet::Quiet;
use super::sasl::Checked;
use super::{Action, MAX_HELD_VALUE, MAX_PIPELINE, MAX_UNSENT, Proxy};
use crate::protocol::{Class, Dialect, Head, Invalid, Protocol, ProtocolError, Request, Verb, ascii, render};
use crate::session::is_http;

/// A request that has arrived.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) client: ClientId,
    pub(super) request: Request<'a>,
    /// The command line or header, extras and key.
    pub(super) head: &'a [u8],
    /// What is there of the data block.
    pub(super) block: &'a [u8],
}

impl Asked<'_> {
    pub(super) fn protocol(&self) -> Protocol {
        match self.request.dialect {
            Dialect::Binary { .. } => Protocol::Binary,
            _ => Protocol::Text,
        }
    }

    pub(super) fn tag(&self) -> Option<Tag> {
        match self.request.dialect {
            Dialect::Binary { opcode, opaque } => Some(Tag { opcode, opaque }),
            _ => None,
        }
    }
}

/// Whether a request was dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Yes,
    /// Its client waits; the request is to be read again then.
    NotYet,
}

impl Proxy {
    /// Reads what the client has sent from `input`. Returns how many of its bytes are done with.
    pub(super) fn read_requests(&mut self, id: ClientId, input: &[u8], sink: &mut dyn Transmit) -> usize {
        let mut at = 0;
        loop {
            let Some(client) = self.clients.get_mut(id) else { return input.len() };
            if client.ending {
                return input.len();
            }
            let reading = client.reading;
            if client.wait != Wait::No || at == input.len() || self.leaves_requests(reading) {
                return at;
            }
            let Some(client) = self.clients.get_mut(id) else { return input.len() };
            let rest = &input[at..];
            let done = match reading {
                Reading::Swallow(left) => {
                    let done = left.min(rest.len());
                    client.reading = match left - done {
                        0 => Reading::Requests,
                        left => Reading::Swallow(left),
                    };
                    done
                }
                Reading::Value { backend, left } => self.go_on_with_value(id, backend, left, rest),
                Reading::Requests => {
                    let done = self.read_request(id, rest, sink);
                    if done > 0 {
                        self.is_through_with_request(id);
                    }
                    done
                }
            };
            if done == 0 {
                return at;
            }
            at += done;
        }
    }

    /// Goes on with what was kept of the client's bytes.
    pub(super) fn read_kept(&mut self, id: ClientId, sink: &mut dyn Transmit) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let mut input = std::mem::take(&mut client.input);
        let done = self.read_requests(id, &input, sink);
        let Some(client) = self.clients.get_mut(id) else { return self.commons.spares.put(input) };
        input.drain(..done);
        self.commons.spares.collect(&mut input);
        client.input = input;
    }

    pub(super) fn keep_input(&mut self, id: ClientId, rest: &[u8]) {
        if let Some(client) = self.clients.get_mut(id) {
            self.commons.spares.append(&mut client.input, rest);
        }
    }

    /// The client need not wait any longer.
    pub(super) fn resume_client(&mut self, id: ClientId, sink: &mut dyn Transmit) {
        if let Some(client) = self.clients.get_mut(id) {
            client.progress = Progress::new(self.now);
        }
        self.read_kept(id, sink);
        let Some(client) = self.clients.get_mut(id) else { return };
        if client.wait == Wait::No && !client.ending {
            self.commons.actions.push_back(Action::ReadClient(id));
        }
    }

    /// Reads one request from the front of `rest`. Returns its length, 0 if it cannot be dealt with yet.
    fn read_request(&mut self, id: ClientId, rest: &[u8], sink: &mut dyn Transmit) -> usize {
        let client = &mut self.clients[id];
        if rest.len() < client.awaited {
            return 0;
        }
        let door = match client.route {
            None => self.pools[usize::from(client.pool)].shared.door(),
            Some(route) => self.routes[usize::from(route)].shared.door(),
        };
        let protocol = *client.protocol.get_or_insert_with(|| match door.credentials {
            Some(_) => Protocol::Binary,
            None => Protocol::detect(rest[0]),
        });
        if door.credentials.is_some()
            && let Checked::Done(done) = self.check_authentication(id, rest, sink)
        {
            return done;
        }
        let (request, head, block) = match protocol.parse_head(rest) {
            Head::Complete { request, consumed, block } => (request, consumed, block),
            Head::Incomplete => return 0,
            Head::Invalid(invalid) => return self.refuse_invalid(id, protocol, rest, invalid, sink),
        };
        let value = block.map_or(0, |block| block.wire_len());
        let asked = Asked { client: id, request, head: &rest[..head], block: &rest[head..] };
        self.sample(&asked, value);
        if let Some(failure) = self.beyond_limit(id, &request, block.map_or(0, |block| block.value_len)) {
            return self.refuse_beyond_limit(&asked, value, failure, sink);
        }
        let lowered = self.lower_ttl(id, &request, asked.head);
        let asked = match lowered.as_deref().map(|lowered| (lowered, protocol.parse_head(lowered))) {
            None => asked,
            Some((lowered, Head::Complete { request, .. })) => Asked { request, head: lowered, ..asked },
            // An `ms` has so many flags that there is no room for one more.
            Some(_) => return self.refuse_beyond_limit(&asked, value, Failure::TooManyFlags, sink),
        };
        if asked.block.len() < value {
            if value > MAX_HELD_VALUE {
                return match self.begin_upload(asked, value, sink) {
                    0 => 0,
                    // Not the length of a head that was lowered.
                    _ => head,
                };
            }
            self.clients[id].awaited = head + value;
            return 0;
        }
        self.clients[id].awaited = 0;
        let asked = Asked { block: &asked.block[..value], ..asked };
        match self.carry_out(asked, sink) {
            Taken::NotYet => return 0,
            Taken::Yes => {}
        }
        head + value
    }

    /// A request was carried out or refused. Before the next one the client has to take some of its replies, if there are
    /// many.
    fn is_through_with_request(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.is_through_with_request(self.now);
        if client.wait == Wait::No
            && !matches!(client.reading, Reading::Value { .. })
            && (client.waiting() >= MAX_PIPELINE || client.unsent().len() >= MAX_UNSENT)
        {
            client.wait = Wait::Replies;
        }
    }

    fn carry_out(&mut self, asked: Asked<'_>, sink: &mut dyn Transmit) -> Taken {
        match asked.request.verb {
            Verb::Get | Verb::Gets | Verb::Gat | Verb::Gats => self.retrieve(asked, sink),
            Verb::FlushAll | Verb::Verbosity => self.ask_all(asked, sink),
            Verb::Stats => self.ask_statistics(asked, sink),
            Verb::Version | Verb::Noop | Verb::Quit | Verb::Sasl => self.answer(asked, sink),
            _ => self.ask_one(asked, sink),
        }
    }

    fn refuse_invalid(
        &mut self,
        id: ClientId,
        protocol: Protocol,
        rest: &[u8],
        invalid: Invalid,
        sink: &mut dyn Transmit,
    ) -> usize {
        let client = &mut self.clients[id];
        client.awaited = 0;
        client.reading = match invalid.swallow {
            0 => Reading::Requests,
            swallow => Reading::Swallow(swallow),
        };
        let http = protocol == Protocol::Text
            && invalid.error == ProtocolError::UnknownCommand
            && is_http(ascii::line_of(rest));
        let last = http || invalid.is_fatal();
        let counters = &mut self.pools[usize::from(client.pool)].counters;
        counters.refused_invalid += 1;
        counters.cut_invalid += u64::from(last);
        let place = client.ask();
        let mut reply = self.commons.spares.take();
        match protocol {
            _ if invalid.quiet || http => {}
            Protocol::Text => render::error(&mut reply, invalid.error),
            Protocol::Binary => super::binary::push_error(&mut reply, rest, invalid.error),
        }
        self.reply(id, place, &reply, sink);
        self.commons.spares.put(reply);
        if last {
            self.end_client(id);
        }
        invalid.consumed
    }

    /// The whole reply at `place`.
    pub(super) fn reply(&mut self, id: ClientId, place: Place, bytes: &[u8], sink: &mut dyn Transmit) {
        if let Some(client) = self.clients.get_mut(id) {
            client.deliver(id, place, &[bytes], true, &mut self.commons, sink);
        }
    }

    /// Tells the client why `asked` has no reply of a server.
    pub(super) fn refuse(
        &mut self,
        asked: &Asked<'_>,
        place: Place,
        failure: Failure,
        sink: &mut dyn Transmit,
    ) {
        let quiet = Quiet::of(&asked.request);
        let pool = self.clients[asked.client].pool;
        self.commons.tracer.failed(asked.client, place, failure.outcome());
        self.pools[usize::from(pool)].view.requests.count(asked.request.verb, failure.outcome());
        let reply = match asked.tag() {
            _ if quiet == Quiet::Always => Vec::new(),
            None => failure.line(),
            Some(tag) => super::binary::failure(tag, failure),
        };
        self.reply(asked.client, place, &reply, sink);
    }

    /// Nothing more is read from the client.
    pub(super) fn end_client(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.ending = true;
        client.may_go_on(id, &mut self.commons);
    }

    /// Closes clients whose last byte was sent, and while the node drains those that are idle. Offers those that leave.
    pub(super) fn close_finished(&mut self) {
        while let Some(id) = self.commons.finished.pop() {
            let Some(client) = self.clients.get(id) else { continue };
            if client.is_done() || self.commons.draining && client.is_idle() {
                self.cut(id);
            } else if self.commons.retired && client.may_leave() {
                self.offer(id);
            }
        }
    }

    /// Closes the client's connection now.
    pub(super) fn cut(&mut self, id: ClientId) {
        if self.clients.contains_key(id) {
            self.commons.actions.push_back(Action::CloseClient(id));
            self.remove_client(id);
        }
    }

    pub(super) fn remove_client(&mut self, id: ClientId) {
        let Some(client) = self.clients.get(id) else { return };
        self.pools[usize::from(client.pool)].counters.clients_closed += 1;
        if let Reading::Value { backend, .. } = client.reading {
            let copies = client.copies.clone();
            std::iter::once(backend).chain(copies).for_each(|backend| self.abandon_upload(backend));
        }
        let Some(client) = self.clients.remove(id) else { return };
        self.commons.tracer.left(id, self.now);
        let held_up = client.dismantle(&mut self.commons);
        self.commons.released.extend(held_up.into_iter().map(|(backend, _)| backend));
    }

    /// Whether the class of `request` changes keys.
    pub(super) fn writes(request: &Request<'_>) -> bool {
        matches!(request.class(), Class::Write | Class::WriteAll)
    }
}
