//! Requests to the virtual address that are no plain get of one key.
//!
//! A datagram may hold several commands, and a server acts on every one of them; so a datagram is read to its
//! end, and forwarded only if all of it is understood. What is not gets memcached's own error from the node.

use std::ops::Deref;

use arrayvec::ArrayVec;
use fabric::function::{Burst, Context};
use fabric::io::PacketBuf;
use fabric::packet::ethernet;
use fabric::packet::udp4::Udp4;
use fabric::time::Nanos;

use super::MemcachedSwitch;
use super::datagrams::{Filed, Sender, Stretch};
use super::wire::Client;
use crate::coherence::{PoolView, WriteId};
use crate::hashing::MemberIndex;
use crate::protocol::udp::{FRAME_LEN, Frame};
use crate::protocol::{Class, Protocol, ProtocolError, Replies, Request, Step, binary};

/// Commands in one datagram at most.
const MAX_COMMANDS: usize = 16;

type Commands<'a> = ArrayVec<Request<'a>, MAX_COMMANDS>;

/// Where a datagram's packets go.
pub(super) enum Route {
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

    /// Counts a client's write before it goes to its server. `false` if it cannot be tracked and must not go.
    fn begin(&mut self, client: &Client, request: &Request<'_>, context: &mut dyn Context<P>) -> bool {
        let id = self.state.write_id(client.ip, client.port, client.request_id);
        self.begin_write(id, request.replies(), request.keys(), context.now())
    }

    /// Counts a write of `keys` before it goes to its server. `false` if it cannot be tracked and must not go; that
    /// is counted, too.
    pub(super) fn begin_write<K: Deref<Target = [u8]>>(
        &mut self,
        id: WriteId,
        replies: Replies,
        mut keys: impl Iterator<Item = K>,
        now: Nanos,
    ) -> bool {
        self.counters.writes += 1;
        if self.cache.is_none() {
            return true;
        }
        let coherence = self.state.coherence();
        let begun = keys.all(|key| {
            let hash = self.state.hash(&key);
            match replies {
                Replies::Always => coherence.begin_write(id, hash, now),
                Replies::Unusual | Replies::Never => coherence.begin_write_without_reply(hash, now),
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
}

/// Who sent the packet; the request id is read later.
pub(super) fn client(frame: &[u8], ip: u32, port: u16) -> Client {
    Client { mac: ethernet::source(frame).unwrap_or_default(), ip, port, request_id: 0 }
}

/// A binary reply of nothing but a status.
pub(super) fn binary_reply(opcode: u8, opaque: u32, status: u16) -> [u8; binary::HEADER_LEN] {
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
