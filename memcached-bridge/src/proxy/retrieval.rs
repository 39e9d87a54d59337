//! `get`, `gets`, `gat`, `gats`: what the node has, and one line to each server for the rest.

use super::Proxy;
use super::backend::BackendId;
use super::cache::{Form, Items, Wanted};
use super::client::{ClientId, Transmit};
use super::failure::Failure;
use super::gather::{Merge, PartId};
use super::in_flight::{InFlight, Owner, Place, Writes};
use super::request::{Asked, Taken};
use super::route::{AttemptId, Home, Lead};
use crate::protocol::delimit::Shape;
use crate::protocol::{Class, Request, Verb, render};

/// The lines of a request, one for each server, and keys worth caching. Kept from request to request for its memory.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: Vec<Line>,
    /// Between the numbers of the first writes of two lines; 0 if nothing is written.
    stride: u64,
    failure: Option<Failure>,
    wanted: Vec<Wanted>,
    /// Keys of several pools: each is asked for by itself.
    attempts: Vec<AttemptId>,
}

/// The line of one server.
#[derive(Debug)]
struct Line {
    pool: u16,
    server: u16,
    backend: BackendId,
    keys: u32,
    /// Some of its keys may be asked for elsewhere.
    splits: bool,
}

impl Proxy {
    pub(super) fn retrieve(&mut self, asked: Asked<'_>, sink: &mut dyn Transmit) -> Taken {
        let mut keys = asked.request.keys();
        match (keys.next(), keys.next()) {
            (Some(_), None) => self.ask_one(asked, sink),
            (Some(first), Some(_)) => {
                let home = match self.lead_of(&self.clients[asked.client], &first) {
                    Lead::One(home) => home,
                    Lead::Several(destination) => self.home_up(asked.client, destination, &first),
                };
                let server = self.pools[home.index()].ring.locate(&first);
                match self.lane(home, server, asked.protocol()) {
                    Ok(backend) if !self.has_room(backend, asked.client) => Taken::NotYet,
                    _ => self.retrieve_many(asked, sink),
                }
            }
            // `gat` without a key.
            (None, _) => {
                let place = self.clients[asked.client].ask();
                self.reply(asked.client, place, b"END\r\n", sink);
                Taken::Yes
            }
        }
    }

    fn retrieve_many(&mut self, asked: Asked<'_>, sink: &mut dyn Transmit) -> Taken {
        let request = &asked.request;
        let client = &mut self.clients[asked.client];
        let place = client.ask();
        let (route, default) = (client.route, Home { pool: client.pool, lane: client.lane });
        let writes = request.class() == Class::Write;
        // Each line's writes are numbered in a row.
        let numbered = writes && (route.is_some() || self.pools[default.index()].cache.is_some());
        let stride = if numbered { request.keys().count() as u64 } else { 0 };
        let (mut items, with_cas) = (Items::default(), request.verb == Verb::Gets);
        let mut to = std::mem::take(&mut self.lines);
        to.stride = stride;
        for key in request.keys() {
            let (home, several) = match route.map(|_| self.lead_of(&self.clients[asked.client], &key)) {
                None => (default, None),
                Some(Lead::One(home)) => (home, None),
                Some(Lead::Several(id)) => (self.home_up(asked.client, id, &key), Some(id)),
            };
            if let Some(destination) = several {
                self.shadow_key(&asked, destination, &key);
            }
            let pool = home.index();
            let hash = match self.pools[pool].cache {
                Some(_) => Some(self.pools[pool].shared.hash(&key)),
                None => None,
            };
            if let Some(hash) = hash.filter(|_| !writes) {
                if items.are_of_another(home) {
                    self.pass_items(asked.client, place, &mut items, None, sink);
                }
                let (id, verb, wanted) = (asked.client, request.verb, &mut to.wanted);
                // A client with too much to take waits for servers, which wait for it in turn.
                let hit = !self.clients[id].is_full()
                    && match with_cas {
                        false => self.note_hit(home, verb, &key, hash, &mut items, wanted),
                        true => self.pass_hit(
                            id,
                            Some(place),
                            home,
                            verb,
                            &key,
                            hash,
                            Form::Item { cas: true },
                            wanted,
                            sink,
                        ),
                    };
                if items.is_full() {
                    self.pass_items(id, place, &mut items, None, sink);
                }
                if hit {
                    continue;
                }
                self.observe(home, &key, hash, &mut to.wanted);
            }
            if let Some(destination) = several.filter(|id| writes || !self.destination(*id).reads_in_lines())
            {
                to.attempts.push(self.attempt_key(&asked, destination, &key));
                continue;
            }
            let line = match self.line_for(home, &key, request, &mut to.lines) {
                Ok(line) => line,
                Err(unreachable) => {
                    to.failure = Some(unreachable);
                    continue;
                }
            };
            if let Some(hash) = hash.filter(|_| writes) {
                let number = self.writes + line as u64 * stride + u64::from(to.lines[line].keys);
                if let Err(full) = self.begin_numbered_write(pool, number, hash) {
                    to.failure = Some(full);
                    continue;
                }
            }
            to.lines[line].keys += 1;
            to.lines[line].splits |= several.is_some();
            if let Some(backend) = self.backends.get_mut(to.lines[line].backend) {
                let out = backend.outgoing.tail();
                out.push(b' ');
                out.extend_from_slice(&key);
            }
        }
        for line in &to.lines {
            self.pools[usize::from(line.pool)].servers[usize::from(line.server)].part = None;
            if let Some(backend) = self.backends.get_mut(line.backend) {
                backend.outgoing.tail().extend_from_slice(b"\r\n");
            }
        }
        let nothing_is_asked = to.lines.is_empty() && to.attempts.is_empty();
        let end = (nothing_is_asked && to.failure.is_none()).then_some(&b"END\r\n"[..]);
        self.pass_items(asked.client, place, &mut items, end, sink);
        self.post_lines(&asked, place, &to, sink);
        self.writes += stride * to.lines.len() as u64;
        self.fill_wanted(&mut to.wanted);
        to.lines.clear();
        to.attempts.clear();
        self.lines = Lines { failure: None, ..to };
        Taken::Yes
    }

    /// The line of the server of `key`, begun if it is not there.
    fn line_for(
        &mut self,
        home: Home,
        key: &[u8],
        request: &Request<'_>,
        lines: &mut Vec<Line>,
    ) -> Result<usize, Failure> {
        let pool = home.index();
        let server = self.pools[pool].ring.locate(key);
        if let Some(line) = self.pools[pool].servers[usize::from(server.0)].part {
            return Ok(usize::from(line));
        }
        let backend = self.lane(home, server, crate::protocol::Protocol::Text)?;
        self.pools[pool].servers[usize::from(server.0)].part = Some(lines.len() as u16);
        lines.push(Line { pool: home.pool, server: server.0, backend, keys: 0, splits: false });
        if let Some(backend) = self.backends.get_mut(backend) {
            let out = backend.outgoing.tail();
            out.extend_from_slice(request.verb.name().as_bytes());
            if matches!(request.verb, Verb::Gat | Verb::Gats) {
                render::signed(out, request.exptime);
            }
        }
        Ok(lines.len() - 1)
    }

    fn post_lines(
        &mut self,
        asked: &Asked<'_>,
        place: Place,
        &Lines { ref lines, ref attempts, stride, failure, .. }: &Lines,
        sink: &mut dyn Transmit,
    ) {
        let gather = match (lines.len() + attempts.len(), failure) {
            // Answered.
            (0, None) => return,
            (0, Some(failure)) => return self.refuse(asked, place, failure, sink),
            (1, None) if attempts.is_empty() => None,
            (parts, failure) => {
                let merge = Merge::Items;
                Some(self.gathers.begin(asked.client, place, merge, parts, failure.map(Failure::line)))
            }
        };
        for (part, line) in (0u16..).zip(lines) {
            let (owner, shape) = match gather {
                None => (owner_of(asked.client, place), Shape::Items),
                Some(gather) => (Owner::Part(PartId { gather, part }), Shape::Items),
            };
            let mut in_flight = InFlight::new(owner, asked.request.verb, shape, self.now);
            in_flight.splits = line.splits;
            in_flight.repeatable = stride == 0 && asked.request.class() == Class::Read;
            if stride > 0 && self.pools[usize::from(line.pool)].cache.is_some() {
                let first = self.writes + u64::from(part) * stride;
                in_flight.writes = Some(Writes { first, count: line.keys, hash: None });
            }
            self.post(line.backend, in_flight);
        }
        for (part, attempt) in (lines.len() as u16..).zip(attempts) {
            // There is a gather if there is an attempt.
            let Some(gather) = gather else { break };
            self.begin_attempt(*attempt, Owner::Part(PartId { gather, part }), sink);
        }
        if failure.is_some() {
            self.commons.tracer.failed(asked.client, place, super::Outcome::Unavailable);
            let pool = usize::from(self.clients[asked.client].pool);
            self.pools[pool].view.requests.count(asked.request.verb, super::Outcome::Unavailable);
        }
    }
}

fn owner_of(client: ClientId, place: Place) -> Owner {
    Owner::Client { client, place }
}
