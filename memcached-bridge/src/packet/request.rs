//! Requests to the virtual address that are no plain get of one key.
//!
//! A datagram may hold several commands, and a server acts on every one of them; so a datagram is read to its
//! end, and forwarded only if all of it is understood. What is not gets memcached's own error from the node.

use std::fmt::Write as _;
use std::time::Duration;

use arrayvec::{ArrayString, ArrayVec};
use fabric::function::{Burst, Context};
use fabric::io::PacketBuf;
use fabric::packet::ethernet;
use fabric::packet::udp4::Udp4;

use super::MemcachedSwitch;
use super::datagrams::{Filed, Sender, Stretch};
use super::gather::{Arrived, GatherId, MAX_PARTS, Merge};
use super::upstream::{KeyBytes, Purpose};
use super::wire::Client;
use crate::coherence::{PoolView, WriteId};
use crate::hashing::MemberIndex;
use crate::protocol::udp::{FRAME_LEN, Frame};
use crate::protocol::{Class, Dialect, Protocol, ProtocolError, Replies, Request, Step, Verb, binary};

/// Commands in one datagram at most.
const MAX_COMMANDS: usize = 16;
/// How long the servers have for all parts of a gathered request.
pub(super) const GATHER_PATIENCE: Duration = Duration::from_millis(500);
/// Delays of `flush_all` beyond this are Unix times (memcached's rule), which a worker cannot tell.
const MAX_FLUSH_DELAY_S: i64 = 60 * 60 * 24 * 30;
/// The server's clock ticks once a second and may be read before or after the tick: so long before and after a
/// delayed flush nothing is answered from the cache.
const FLUSH_MARGIN: Duration = Duration::from_secs(2);

type Commands<'a> = ArrayVec<Request<'a>, MAX_COMMANDS>;

/// Where a datagram's packets go.
enum Route {
    Server(MemberIndex),
    /// Nowhere: the node answers, or has counted why nobody does.
    Ended,
    /// Nowhere: the node answers with this error, a line without its end.
    Error(&'static str),
    /// Nowhere: the node answers with this binary header.
    BinaryError([u8; binary::HEADER_LEN]),
}

impl<P: PacketBuf> MemcachedSwitch<P> {
    /// A request in one unfragmented packet.
    pub(super) fn request(
        &mut self,
        slot: usize,
        udp: Udp4,
        burst: &mut Burst<P>,
        view: &PoolView,
        context: &mut dyn Context<P>,
    ) {
        let Some(packet) = burst.take(slot) else { return };
        let client = client(packet.bytes(), udp.src, udp.src_port);
        let range = (udp.payload, udp.end);
        let valid = udp.checksums_ok(packet.bytes());
        self.datagram(client, packet, range, valid, view, context);
    }

    /// A request datagram in one packet, its UDP payload at `start..end`.
    pub(super) fn datagram(
        &mut self,
        mut client: Client,
        packet: P,
        (start, end): (usize, usize),
        valid: bool,
        view: &PoolView,
        context: &mut dyn Context<P>,
    ) {
        if !valid {
            return self.counters.drop_bad_checksum += 1;
        }
        if !self.admits(client.ip, client.port) {
            return;
        }
        let Some((frame, body)) = Frame::parse(&packet.bytes()[start..end]) else {
            return self.counters.drop_bad_frame += 1;
        };
        client.request_id = frame.request_id;
        if frame.total > 1 {
            let stretch = Stretch { packet, start: start + FRAME_LEN, end };
            return self.file_datagram(client, frame, stretch, view, context);
        }
        if frame.total == 0 {
            return self.counters.drop_bad_frame += 1;
        }
        self.payload.clear();
        self.payload.extend_from_slice(body);
        self.packets.push(packet);
        self.whole_request(client, view, context);
    }

    /// One datagram of a request of several.
    fn file_datagram(
        &mut self,
        client: Client,
        frame: Frame,
        stretch: Stretch<P>,
        view: &PoolView,
        context: &mut dyn Context<P>,
    ) {
        let sender = Sender { ip: client.ip, port: client.port, request_id: client.request_id };
        match self.datagrams.file(sender, frame, stretch, context.now(), &mut self.stretches) {
            Filed::Held { evicted } => {
                self.counters.datagrams_held += 1;
                self.counters.drop_datagram_expired += evicted as u64;
            }
            Filed::Refused(_) => self.counters.drop_datagram_malformed += 1,
            Filed::Whole => {
                self.payload.clear();
                for stretch in self.stretches.drain(..) {
                    self.payload.extend_from_slice(&stretch.packet.bytes()[stretch.start..stretch.end]);
                    self.packets.push(stretch.packet);
                }
                self.whole_request(client, view, context);
            }
        }
    }

    /// A whole request: its memcached bytes are in `self.payload`, the packets that carry it in `self.packets`.
    pub(super) fn whole_request(&mut self, client: Client, view: &PoolView, context: &mut dyn Context<P>) {
        let payload = std::mem::take(&mut self.payload);
        match self.route(&client, &payload, view, context) {
            Route::Server(server) => self.redirect_packets(server, context),
            Route::Ended => self.packets.clear(),
            Route::Error(line) => {
                self.packets.clear();
                self.send_error(&client, line, context);
            }
            Route::BinaryError(header) => {
                self.packets.clear();
                self.send_reply(&client, header.len(), std::iter::once(&header[..]), context);
            }
        }
        self.payload = payload;
    }

    /// Whether a request of this sender is looked at; counts it if not. A stranger's must not be held or forwarded, and one
    /// that poses as the node would have its reply taken for that to a request of the node's own.
    pub(super) fn admits(&mut self, ip: u32, port: u16) -> bool {
        if self.state.poses_as_node(ip, port) {
            self.counters.drop_forged_request += 1;
            return false;
        }
        if !self.state.allows(ip) {
            self.counters.drop_client_not_allowed += 1;
            return false;
        }
        true
    }

    fn redirect_packets(&mut self, server: MemberIndex, context: &mut dyn Context<P>) {
        let mac = self.state.server_mac(server);
        for mut packet in self.packets.drain(..) {
            ethernet::set_destination(packet.bytes_mut(), mac);
            context.emit(packet);
        }
        self.counters.redirected += 1;
        self.status.count_request(server);
    }

    fn route(
        &mut self,
        client: &Client,
        payload: &[u8],
        view: &PoolView,
        context: &mut dyn Context<P>,
    ) -> Route {
        let commands = match read_all(payload) {
            Ok(commands) => commands,
            Err(refusal) => return self.refuse(refusal, payload),
        };
        match commands.as_slice() {
            [] => {
                self.counters.drop_truncated_request += 1;
                Route::Ended
            }
            [request] => self.route_one(client, request, view, context),
            several => self.route_several(client, several, context),
        }
    }

    fn refuse(&mut self, refusal: Refusal, payload: &[u8]) -> Route {
        match refusal {
            Refusal::Truncated => {
                self.counters.drop_truncated_request += 1;
                Route::Ended
            }
            Refusal::Invalid { error, quiet } => {
                self.counters.refused_invalid += 1;
                match error.reply() {
                    _ if quiet => Route::Ended,
                    Some(line) => Route::Error(line),
                    None => refuse_binary(payload, error),
                }
            }
            Refusal::TooMany => {
                self.counters.refused_mixed += 1;
                Route::Error("SERVER_ERROR too many commands in one datagram")
            }
        }
    }

    fn route_one(
        &mut self,
        client: &Client,
        request: &Request<'_>,
        view: &PoolView,
        context: &mut dyn Context<P>,
    ) -> Route {
        let class = request.class();
        match (class, request.keys().nth(1).is_some()) {
            (Class::Keyless | Class::Quit, _) => Route::Server(self.state.any_server()),
            (Class::WriteAll, _) => self.broadcast(client, request, context),
            (Class::Read, several) => {
                let gather = (several && self.one_server(request).is_none())
                    || self.any_cached(request, view, context);
                if gather { self.gather(client, request, view, context) } else { self.redirect_one(request) }
            }
            (Class::Write, true) => self.gather(client, request, view, context),
            (Class::Write, false) => {
                if self.begin(client, request, context) {
                    self.redirect_one(request)
                } else {
                    Route::Ended
                }
            }
        }
    }

    fn redirect_one(&self, request: &Request<'_>) -> Route {
        match request.key() {
            Some(key) => Route::Server(self.ring.locate(&key)),
            None => Route::Server(self.state.any_server()),
        }
    }

    /// Several commands: all of them for one server, or the client is told.
    fn route_several(
        &mut self,
        client: &Client,
        commands: &[Request<'_>],
        context: &mut dyn Context<P>,
    ) -> Route {
        let mut servers = commands.iter().flat_map(Request::keys).map(|key| self.ring.locate(&key));
        let server = servers.next().unwrap_or_else(|| self.state.any_server());
        let mixed = servers.any(|other| other != server);
        if mixed || commands.iter().any(|request| request.class() == Class::WriteAll) {
            self.counters.refused_mixed += 1;
            return Route::Error("SERVER_ERROR commands in one datagram for several servers");
        }
        for request in commands.iter().filter(|request| request.class() == Class::Write) {
            if !self.begin(client, request, context) {
                return Route::Ended;
            }
        }
        Route::Server(server)
    }

    /// Counts a write before it goes to its server. `false` if it cannot be tracked and must not go.
    fn begin(&mut self, client: &Client, request: &Request<'_>, context: &mut dyn Context<P>) -> bool {
        self.counters.writes += 1;
        if self.cache.is_none() {
            return true;
        }
        let coherence = self.state.coherence();
        let id = self.state.write_id(client.ip, client.port, client.request_id);
        let begun = request.keys().all(|key| {
            let hash = self.state.hash(&key);
            match request.replies() {
                Replies::Always => coherence.begin_write(id, hash, context.now()),
                Replies::Unusual | Replies::Never => coherence.begin_write_without_reply(hash, context.now()),
            }
            .is_ok()
        });
        if !begun {
            self.counters.drop_writes_in_flight_full += 1;
        }
        begun
    }

    /// The server of all keys, if it is one.
    fn one_server(&self, request: &Request<'_>) -> Option<MemberIndex> {
        let mut servers = request.keys().map(|key| self.ring.locate(&key));
        let first = servers.next()?;
        servers.all(|server| server == first).then_some(first)
    }

    fn any_cached(&mut self, request: &Request<'_>, view: &PoolView, context: &mut dyn Context<P>) -> bool {
        matches!((request.dialect, request.verb), (Dialect::Ascii, Verb::Get | Verb::Gets))
            && request.keys().any(|key| self.cached(&key, view, context).is_some())
    }

    /// The valid hit for `key`, if there is one.
    fn cached(
        &mut self,
        key: &[u8],
        view: &PoolView,
        context: &mut dyn Context<P>,
    ) -> Option<crate::hot::Hit<'_>> {
        let cache = self.cache.as_mut()?;
        let hash = self.state.hash(key);
        let hit = cache.table.find(hash, key)?;
        let valid =
            hit.expires() > context.now() && self.state.coherence().is_current(view, hash, hit.stamp());
        valid.then_some(hit)
    }

    /// Answers a get of keys on several servers, or some of them cached: every part on its own, merged in order.
    fn gather(
        &mut self,
        client: &Client,
        request: &Request<'_>,
        view: &PoolView,
        context: &mut dyn Context<P>,
    ) -> Route {
        let parts = request.keys().count();
        if parts > MAX_PARTS {
            self.counters.refused_too_many_keys += 1;
            return Route::Error("SERVER_ERROR too many keys for one datagram");
        }
        let deadline = context.now() + GATHER_PATIENCE;
        let room = self.upstream.room() >= parts;
        let Some(id) = room.then(|| self.gathers.begin(*client, Merge::Values, parts, deadline)).flatten()
        else {
            self.counters.drop_gather_full += 1;
            return Route::Ended;
        };
        let mut arrived = Arrived::Waiting;
        for (part, key) in request.keys().enumerate() {
            let Some(state) = self.begin_part(id, part as u16, request, &key, view, context) else {
                self.abandon(id);
                return Route::Ended;
            };
            arrived = if state == Arrived::Whole { state } else { arrived };
        }
        if arrived == Arrived::Whole {
            self.finish_gather(id, context);
        }
        Route::Ended
    }

    /// Answers one part from the cache, or asks its server. `None` if neither can be done; it is counted then.
    fn begin_part(
        &mut self,
        gather: GatherId,
        part: u16,
        request: &Request<'_>,
        key: &[u8],
        view: &PoolView,
        context: &mut dyn Context<P>,
    ) -> Option<Arrived> {
        if request.class() == Class::Read
            && let Some(packet) = self.cached_part(key, request.with_cas(), view, context)
        {
            self.counters.hits += 1;
            let end = packet.bytes().len();
            return Some(self.gathers.arrive(gather, part, (0, 1), packet, (0, end)));
        }
        let server = self.ring.locate(key);
        let id = self.upstream.open(context.now() + GATHER_PATIENCE, server)?;
        let write = self.begin_part_write(id.0, request, key, context);
        if write.is_err() {
            self.upstream.close(id);
            self.counters.drop_writes_in_flight_full += 1;
            return None;
        }
        let (verb, exptime) = part_command(request);
        if !self.send_upstream(server, id, &[verb, exptime.as_bytes(), key, b"\r\n"], context) {
            self.upstream.close(id);
            return None;
        }
        self.status.count_request(server);
        // A key that came in a text command fits.
        let key = KeyBytes::try_from(key).ok();
        self.upstream.assign(id, Purpose::Part { gather, part, write: write.ok().flatten(), key });
        Some(Arrived::Waiting)
    }

    /// If the parts write (`gat`): counts the write under the node's own request.
    fn begin_part_write(
        &mut self,
        id: u16,
        request: &Request<'_>,
        key: &[u8],
        context: &mut dyn Context<P>,
    ) -> Result<Option<WriteId>, ()> {
        if request.class() != Class::Write {
            return Ok(None);
        }
        self.counters.writes += 1;
        if self.cache.is_none() {
            return Ok(None);
        }
        let coherence = self.state.coherence();
        let write = self.state.write_id(self.state.address().node, self.own_port(), id);
        coherence.begin_write(write, self.state.hash(key), context.now()).map_err(|_| ())?;
        Ok(Some(write))
    }

    /// The cached reply to a get of `key`, in a packet of its own: it is what is valid now, whatever comes later.
    fn cached_part(
        &mut self,
        key: &[u8],
        with_cas: bool,
        view: &PoolView,
        context: &mut dyn Context<P>,
    ) -> Option<P> {
        self.cached(key, view, context)?;
        let mut packet = context.allocate()?;
        let hit = self.cached(key, view, context)?;
        packet.set_len(hit.reply_len(with_cas)).ok()?;
        match with_cas {
            true => hit.write_gets(packet.bytes_mut()),
            false => hit.write_get(packet.bytes_mut()),
        };
        Some(packet)
    }

    /// A command for the whole pool: every server gets it, the client one reply.
    fn broadcast(&mut self, client: &Client, request: &Request<'_>, context: &mut dyn Context<P>) -> Route {
        let delay = request.exptime.max(0);
        if delay > MAX_FLUSH_DELAY_S {
            self.counters.refused_invalid += 1;
            return Route::Error("CLIENT_ERROR flush_all delay beyond 30 days");
        }
        let living =
            self.state.servers().filter(|server| self.state.members().is_alive(usize::from(server.0)));
        let parts = living.count().min(MAX_PARTS);
        let deadline = context.now() + GATHER_PATIENCE;
        let merge = Merge::AllOk(flush_reply(request));
        let room = parts > 0 && self.upstream.room() >= parts;
        let Some(id) = room.then(|| self.gathers.begin(*client, merge, parts, deadline)).flatten() else {
            self.counters.drop_gather_full += 1;
            return Route::Ended;
        };
        if !self.begin_broadcast(client, id, delay, context) {
            self.abandon(id);
            return Route::Ended;
        }
        let mut command = ArrayString::<24>::new();
        // Fits: the delay has at most seven digits.
        let _ = write!(command, "flush_all {delay}");
        for server in self.state.servers() {
            self.send_flush(server, id, &command, parts, context);
        }
        self.counters.broadcasts += 1;
        Route::Ended
    }

    /// Counts the flush as a write to everything, and keeps the cache shut around the time a delayed one acts.
    fn begin_broadcast(
        &mut self,
        client: &Client,
        id: GatherId,
        delay: i64,
        context: &mut dyn Context<P>,
    ) -> bool {
        if self.cache.is_none() {
            return true;
        }
        let now = context.now();
        let coherence = self.state.coherence();
        let write = self.state.write_id(client.ip, client.port, client.request_id);
        if coherence.begin_write_all(Some(write), now).is_err() {
            self.counters.drop_writes_in_flight_full += 1;
            return false;
        }
        if delay > 0 {
            let acts = now + Duration::from_secs(delay.unsigned_abs());
            coherence.close_for_flush(acts - FLUSH_MARGIN, acts + FLUSH_MARGIN);
        }
        if let Some(gather) = self.gathers.get_mut(id) {
            gather.write = Some(write);
        }
        true
    }

    /// Sends a flush to one server: a living one is waited for, a dead one gets it in case it only seems so.
    fn send_flush(
        &mut self,
        server: MemberIndex,
        gather: GatherId,
        command: &str,
        parts: usize,
        context: &mut dyn Context<P>,
    ) {
        let part = self
            .state
            .servers()
            .take_while(|other| *other != server)
            .filter(|other| self.state.members().is_alive(usize::from(other.0)))
            .count();
        let living = self.state.members().is_alive(usize::from(server.0)) && part < parts;
        let Some(id) = self.upstream.open(context.now() + GATHER_PATIENCE, server) else { return };
        let noreply: &[u8] = if living { b"" } else { b" noreply" };
        let sent = self.send_upstream(server, id, &[command.as_bytes(), noreply, b"\r\n"], context);
        if sent && living {
            self.upstream.assign(id, Purpose::Part { gather, part: part as u16, write: None, key: None });
        } else {
            self.upstream.close(id);
        }
    }
}

/// Who sent the packet; the request id is read later.
pub(super) fn client(frame: &[u8], ip: u32, port: u16) -> Client {
    Client { mac: ethernet::source(frame).unwrap_or_default(), ip, port, request_id: 0 }
}

/// What a part of a gathered request asks of its server: everything before the key.
fn part_command(request: &Request<'_>) -> (&'static [u8], ArrayString<24>) {
    let mut exptime = ArrayString::new();
    let verb: &[u8] = match request.verb {
        Verb::Gets => b"gets ",
        Verb::Gat => b"gat ",
        Verb::Gats => b"gats ",
        _ => b"get ",
    };
    if matches!(request.verb, Verb::Gat | Verb::Gats) {
        // Fits: an i64 has at most twenty characters.
        let _ = write!(exptime, "{} ", request.exptime);
    }
    (verb, exptime)
}

/// What the client gets when every server has flushed.
fn flush_reply(request: &Request<'_>) -> ArrayVec<u8, 32> {
    let mut reply = ArrayVec::new();
    if !request.expects_reply() {
        return reply;
    }
    match request.dialect {
        Dialect::Binary { opcode, opaque } => reply.extend(binary_reply(opcode, opaque, 0)),
        _ => reply.extend(*b"OK\r\n"),
    }
    reply
}

/// A binary reply of nothing but a status.
fn binary_reply(opcode: u8, opaque: u32, status: u16) -> [u8; binary::HEADER_LEN] {
    let magic = binary::MAGIC_RESPONSE;
    let empty = binary::Header {
        magic,
        opcode,
        key_len: 0,
        extras_len: 0,
        data_type: 0,
        status,
        body_len: 0,
        opaque,
        cas: 0,
    };
    empty.to_bytes()
}

/// Answers an invalid binary request, if its header can be read.
fn refuse_binary(payload: &[u8], error: ProtocolError) -> Route {
    match (binary::Header::parse(payload), error.status()) {
        (Some(header), Some(status)) => {
            Route::BinaryError(binary_reply(header.opcode, header.opaque, status))
        }
        _ => Route::Ended,
    }
}

/// Why a datagram's commands are not forwarded.
enum Refusal {
    /// It ends in the middle of a command.
    Truncated,
    Invalid {
        error: ProtocolError,
        quiet: bool,
    },
    TooMany,
}

/// All commands of a datagram, in order.
fn read_all(payload: &[u8]) -> Result<Commands<'_>, Refusal> {
    let mut commands = Commands::new();
    let mut rest = payload;
    let Some(&first) = payload.first() else { return Ok(commands) };
    let protocol = Protocol::detect(first);
    while !rest.is_empty() {
        match protocol.parse(rest) {
            Step::Complete { request, consumed } => {
                commands.try_push(request).map_err(|_| Refusal::TooMany)?;
                rest = &rest[consumed..];
            }
            Step::Incomplete => return Err(Refusal::Truncated),
            Step::Invalid(invalid) => {
                return Err(Refusal::Invalid { error: invalid.error, quiet: invalid.quiet });
            }
        }
    }
    Ok(commands)
}
