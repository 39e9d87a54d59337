//! A proxy, servers that are the embedded one, and clients; bytes move when the rig says so.

use std::collections::BTreeMap;
use std::time::Duration;

use fabric::time::Nanos;

use crate::hashing::{Distribution, KeyHash};
use crate::members::{Change, MemberPool};
use crate::proxy::limits::ClientLimits;
use crate::proxy::pool::{CacheLimits, Deadlines, Pool, Probing, Server as PoolServer};
use crate::proxy::route::Route;
use crate::proxy::{Action, BackendId, ClientId, DoorId, Proxy, ServerId, SharedPool, SharedRoute, Transmit};
use crate::session::stats::ServerFacts;
use crate::session::{Needs, Server, Session};
use crate::store::{Limits, Now, Store};

/// What clients have taken, and whether they take more.
#[derive(Default)]
pub(crate) struct Taken {
    bytes: BTreeMap<ClientId, Vec<u8>>,
    /// Clients that take nothing.
    deaf: Vec<ClientId>,
    /// What was sent to each without a copy.
    pub(crate) direct: usize,
}

impl Taken {
    fn take(&mut self, client: ClientId, bytes: &[u8]) -> usize {
        if self.deaf.contains(&client) {
            return 0;
        }
        self.bytes.entry(client).or_default().extend_from_slice(bytes);
        bytes.len()
    }
}

impl Transmit for Taken {
    fn transmit(&mut self, client: ClientId, parts: &[&[u8]]) -> usize {
        let sent: usize = parts.iter().map(|part| self.take(client, part)).sum();
        self.direct += sent;
        sent
    }
}

/// One connection at its server.
struct Connection {
    at: usize,
    session: Session,
    /// Sent by the proxy, and not read by the server.
    arriving: Vec<u8>,
    /// Read by the server, and not carried out.
    held: Vec<u8>,
    replies: Vec<u8>,
}

pub(crate) struct Rig {
    pub(crate) proxy: Proxy,
    /// The first pool.
    pub(crate) shared: std::sync::Arc<SharedPool>,
    /// Where clients come in.
    pub(crate) door: DoorId,
    /// By pool: its first server.
    firsts: Vec<usize>,
    pub(crate) servers: Vec<Server>,
    connections: BTreeMap<BackendId, Connection>,
    pub(crate) taken: Taken,
    pub(crate) closed: Vec<ClientId>,
    /// Clients that a retired proxy offered.
    pub(crate) leaving: Vec<ClientId>,
    pub(crate) changes: Vec<Change>,
    /// Servers that refuse connections.
    pub(crate) refusing: Vec<usize>,
    /// Servers that read, and answer nothing.
    pub(crate) silent: Vec<usize>,
    /// Connections that their servers do not read.
    pub(crate) deaf_connections: Vec<BackendId>,
    /// Bytes that move at a time.
    pub(crate) step: usize,
    pub(crate) now: Nanos,
    /// Connections made so far, by server.
    pub(crate) connected: Vec<usize>,
}

pub(crate) fn pool(servers: usize, cache: bool) -> Pool {
    let server = |index: usize| PoolServer { name: format!("10.0.0.{index}:11211"), weight: 1 };
    let lease = Duration::from_secs(1);
    Pool {
        name: "test".to_owned(),
        servers: (0..servers).map(server).collect(),
        distribution: Distribution::Ketama,
        key_hash: KeyHash::Md5,
        hash_tag: None,
        cache: cache.then_some(CacheLimits { capacity_bytes: 8 << 20, lease, hot_threshold: 3 }),
        deadlines: Deadlines { connect: Duration::from_millis(500), reply: Duration::from_secs(1) },
        probing: Probing { interval: Duration::from_millis(200), failures: 3, auto_eject: true },
        lanes: 1,
        limits: ClientLimits::default(),
        credentials: None,
    }
}

impl Rig {
    pub(crate) fn new(servers: usize) -> Self {
        Self::with(pool(servers, false))
    }

    pub(crate) fn with(pool: Pool) -> Self {
        Self::of_pools(vec![pool])
    }

    /// A route to `pools`, whose clients [`open`](Rig::open) gives.
    pub(crate) fn routed(pools: Vec<Pool>, route: Route) -> Self {
        let mut rig = Self::of_pools(pools);
        rig.proxy = rig.proxy.with_routes(vec![SharedRoute::new(route, 1)]);
        rig.door = DoorId::Route(0);
        rig
    }

    fn of_pools(pools: Vec<Pool>) -> Self {
        let mut firsts = vec![0];
        for pool in &pools {
            firsts.push(firsts[firsts.len() - 1] + pool.servers());
        }
        let count = firsts[firsts.len() - 1];
        let limits = Limits { memory_bytes: 256 << 20, item_bytes: 64 << 20 };
        let server =
            |_| Server { store: Store::new(limits), facts: ServerFacts::default(), credentials: None };
        let all: Vec<_> = pools.into_iter().map(|pool| SharedPool::new(pool, 1, 7).unwrap()).collect();
        Self {
            shared: all[0].clone(),
            proxy: Proxy::new(all, 0, 11),
            door: DoorId::Pool(0),
            firsts,
            servers: (0..count).map(server).collect(),
            connections: BTreeMap::new(),
            taken: Taken::default(),
            closed: Vec::new(),
            leaving: Vec::new(),
            changes: Vec::new(),
            refusing: Vec::new(),
            silent: Vec::new(),
            deaf_connections: Vec::new(),
            step: usize::MAX,
            now: Nanos(1_000_000_000),
            connected: vec![0; count],
        }
    }

    pub(crate) fn open(&mut self) -> ClientId {
        self.proxy.client_opened(self.door, self.now)
    }

    /// Another client, of the pool at this index.
    pub(crate) fn open_at(&mut self, pool: u16) -> ClientId {
        self.proxy.client_opened(pool, self.now)
    }

    /// The server that `key` belongs to.
    pub(crate) fn home(&self, key: &str) -> usize {
        usize::from(self.shared.members().ring().locate(key.as_bytes()).0)
    }

    /// A key of the server at `index`.
    pub(crate) fn key_of(&self, index: usize) -> String {
        (0..).map(|number| format!("key{number}")).find(|key| self.home(key) == index).unwrap()
    }

    /// Sends `bytes` as a client in pieces of the rig's step, as far as the proxy wants them. Returns the rest.
    pub(crate) fn send<'b>(&mut self, client: ClientId, mut bytes: &'b [u8]) -> &'b [u8] {
        while !bytes.is_empty() {
            let wants = self.proxy.client_wants(client);
            if wants == 0 {
                return bytes;
            }
            let (piece, rest) = bytes.split_at(bytes.len().min(self.step).min(wants));
            self.proxy.client_received(client, piece, self.now, &mut self.taken);
            bytes = rest;
        }
        bytes
    }

    /// Sends `bytes`, lets everything happen, and returns what the client got since it last was asked.
    pub(crate) fn ask(&mut self, client: ClientId, bytes: impl AsRef<[u8]>) -> String {
        let mut bytes = bytes.as_ref();
        while !bytes.is_empty() {
            let rest = self.send(client, bytes);
            self.run();
            assert!(rest.len() < bytes.len(), "the proxy reads no more: {} bytes left", rest.len());
            bytes = rest;
        }
        self.run();
        self.take(client)
    }

    /// What the client got since it last was asked.
    pub(crate) fn take(&mut self, client: ClientId) -> String {
        String::from_utf8_lossy(&self.take_bytes(client)).into_owned()
    }

    pub(crate) fn take_bytes(&mut self, client: ClientId) -> Vec<u8> {
        self.taken.bytes.remove(&client).unwrap_or_default()
    }

    pub(crate) fn deafen(&mut self, client: ClientId) {
        self.taken.deaf.push(client);
    }

    /// Lets the client take again what it is sent.
    pub(crate) fn hear(&mut self, client: ClientId) {
        self.taken.deaf.retain(|other| *other != client);
        self.send_to_client(client);
    }

    /// Lets all bytes move until nothing happens any more.
    pub(crate) fn run(&mut self) {
        loop {
            let acted = self.act();
            let moved = self.serve_once();
            if !acted && !moved {
                return;
            }
        }
    }

    /// Lets time pass in ticks of 10 ms.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = self.now + Duration::from_millis(10);
            self.proxy.tick(self.now, &mut self.taken);
            self.run();
        }
    }

    /// Ends all connections to a server, and forgets what was on its way.
    pub(crate) fn reset(&mut self, server: usize) {
        for id in self.connections_of(server) {
            self.connections.remove(&id);
            self.proxy.backend_closed(id, self.now, &mut self.taken);
        }
    }

    /// Forgets all connections to servers: their proxy is gone.
    pub(crate) fn reset_connections(&mut self) {
        self.connections.clear();
    }

    pub(crate) fn connections_of(&self, server: usize) -> Vec<BackendId> {
        self.connections.iter().filter(|(_, to)| to.at == server).map(|(id, _)| *id).collect()
    }

    /// Connections that are open to a server.
    pub(crate) fn open_connections(&self, server: usize) -> usize {
        self.connections_of(server).len()
    }

    pub(crate) fn act(&mut self) -> bool {
        let mut acted = false;
        while let Some(action) = self.proxy.next_action() {
            acted = true;
            match action {
                Action::SendToClient(id) => self.send_to_client(id),
                Action::SendToBackend(id) => self.send_to_backend(id),
                Action::CloseClient(id) => self.closed.push(id),
                Action::HandOver(id) => self.leaving.push(id),
                Action::CloseBackend(id) => _ = self.connections.remove(&id),
                Action::Connect(id, server) => self.connect(id, server),
                Action::Changed { change, .. } => self.changes.push(change),
                Action::ReadClient(_) | Action::ReadBackend(_) => {}
            }
        }
        acted
    }

    fn send_to_client(&mut self, id: ClientId) {
        loop {
            let output = self.proxy.client_output(id);
            let output = output[..output.len().min(self.step)].to_vec();
            let sent = self.taken.take(id, &output);
            if sent == 0 {
                return;
            }
            self.proxy.client_sent(id, sent, self.now, &mut self.taken);
        }
    }

    fn send_to_backend(&mut self, id: BackendId) {
        let output = self.proxy.backend_output(id).to_vec();
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.arriving.extend_from_slice(&output);
        self.proxy.backend_sent(id, output.len(), self.now, &mut self.taken);
    }

    fn connect(&mut self, id: BackendId, server: ServerId) {
        let at = self.firsts[usize::from(server.pool)] + usize::from(server.server);
        if self.refusing.contains(&at) {
            return self.proxy.backend_closed(id, self.now, &mut self.taken);
        }
        self.connected[at] += 1;
        let (arriving, held, replies) = (Vec::new(), Vec::new(), Vec::new());
        self.connections.insert(id, Connection { at, session: Session::new(), arriving, held, replies });
        self.proxy.backend_connected(id, self.now);
    }

    /// Bytes that a server sends of its own accord on each connection.
    pub(crate) fn inject(&mut self, server: usize, bytes: &[u8]) {
        for connection in self.connections.values_mut().filter(|to| to.at == server) {
            connection.replies.extend_from_slice(bytes);
        }
    }

    /// Lets every server read a step and every reply come a step nearer.
    pub(crate) fn serve_once(&mut self) -> bool {
        let mut moved = false;
        let ids: Vec<BackendId> = self.connections.keys().copied().collect();
        for id in ids {
            let wants = self.proxy.backend_wants(id);
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            if self.silent.contains(&connection.at) || self.deaf_connections.contains(&id) {
                continue;
            }
            let len = connection.arriving.len().min(self.step);
            moved |= len > 0;
            connection.held.extend(connection.arriving.drain(..len));
            if len > 0 {
                answer(connection, &self.servers[connection.at], self.now);
            }
            let len = if wants { connection.replies.len().min(self.step) } else { 0 };
            let replies: Vec<u8> = connection.replies.drain(..len).collect();
            if len > 0 {
                moved = true;
                self.proxy.backend_received(id, &replies, self.now, &mut self.taken);
            }
        }
        moved
    }
}

fn answer(connection: &mut Connection, server: &Server, now: Nanos) {
    let now = Now { at: now, unix: now.0 / 1_000_000_000 };
    loop {
        let mut out = Vec::new();
        let progress = connection.session.receive(&connection.held, server, now, &mut out);
        connection.held.drain(..progress.consumed);
        connection.replies.append(&mut out);
        if progress.needs != Needs::Output {
            return;
        }
    }
}
