//! The world: clients, network, servers, time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use fabric::time::Nanos;

use super::history::{History, Moment};
use crate::hot::random::Random;
use crate::proxy::limits::ClientLimits;
use crate::proxy::route::{Acks, Destination, Route};
use crate::proxy::tests::rig;
use crate::proxy::{Action, BackendId, ClientId, DoorId, Proxy, SharedPool, SharedRoute, Transmit};
use crate::session::stats::ServerFacts;
use crate::session::{Needs, Server, Session};
use crate::store::{Limits, Now, Store};

const THREADS: usize = 2;
const SERVERS: usize = 2;
const CLIENTS: usize = 6;
const KEYS: usize = 3;
/// Bytes that the network holds toward a client.
const WINDOW: usize = 60_000;

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Faults {
    /// Connections are reset, servers stand still or refuse, clients leave or take nothing.
    pub(super) network: bool,
    /// Servers that fail are ejected.
    pub(super) ejection: bool,
}

/// What clients come in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A pool.
    Pool,
    /// A route to two pools with a copy of everything each.
    Copies(Acks),
    /// A route to a pool and one to fail over to.
    Failover,
    /// A route to a pool that is filled from another one.
    Warm,
}

impl Shape {
    fn pools(self) -> usize {
        if self == Shape::Pool { 1 } else { 2 }
    }

    fn route(self) -> Option<Route> {
        let home = Destination::of(0);
        let default = match self {
            Shape::Pool => return None,
            Shape::Copies(acks) => Destination { replicas: vec![1], acks, ..home },
            Shape::Failover => Destination { failover: vec![1], failover_on_miss: true, ..home },
            Shape::Warm => Destination { warm_from: Some(1), ..home },
        };
        let (limits, credentials) = (ClientLimits::default(), None);
        Some(Route { name: "test".to_owned(), default, prefixes: Vec::new(), limits, credentials })
    }
}

/// What a client waits for.
#[derive(Clone, Debug)]
enum Expected {
    /// Items of these keys, one for each.
    Items { keys: Vec<usize>, begin: Moment },
    /// That a write was done, or not.
    Write { keys: Vec<usize>, version: u64 },
    /// This line.
    Line(&'static str),
}

struct Client {
    thread: usize,
    id: Option<ClientId>,
    /// Sent, and not read by the proxy.
    outgoing: VecDeque<u8>,
    /// Taken, and not understood yet.
    incoming: Vec<u8>,
    expected: VecDeque<Expected>,
    deaf: bool,
}

struct Link {
    server: usize,
    connected: bool,
    session: Session,
    to_server: VecDeque<u8>,
    held: Vec<u8>,
    to_proxy: VecDeque<u8>,
}

/// The way to a thread's clients.
#[derive(Default)]
struct Wires {
    under_way: BTreeMap<ClientId, VecDeque<u8>>,
    /// What a send without a copy takes at most.
    take: usize,
}

impl Wires {
    fn put(&mut self, client: ClientId, bytes: &[u8]) -> usize {
        let wire = self.under_way.entry(client).or_default();
        let len = bytes.len().min(WINDOW - wire.len().min(WINDOW));
        wire.extend(&bytes[..len]);
        len
    }
}

impl Transmit for Wires {
    fn transmit(&mut self, client: ClientId, parts: &[&[u8]]) -> usize {
        let bytes = parts.concat();
        self.put(client, &bytes[..bytes.len().min(self.take)])
    }
}

struct Thread {
    proxy: Proxy,
    wires: Wires,
    links: BTreeMap<BackendId, Link>,
}

pub(super) struct World {
    random: Random,
    faults: Faults,
    now: Nanos,
    moment: Moment,
    threads: Vec<Thread>,
    servers: Vec<Server>,
    frozen: Vec<bool>,
    refusing: Vec<bool>,
    door: DoorId,
    clients: Vec<Client>,
    versions: u64,
    pub(super) history: History,
    wrong: Option<String>,
}

impl World {
    pub(super) fn new(seed: u64, faults: Faults, shape: Shape) -> Self {
        let mut limits = rig::pool(SERVERS, true);
        limits.probing.auto_eject = faults.ejection;
        limits.lanes = 1 + (seed % 2) as u8;
        if let Some(cache) = &mut limits.cache {
            (cache.lease, cache.hot_threshold) = (Duration::from_millis(200), 2);
        }
        let shared: Vec<Arc<SharedPool>> = (0..shape.pools() as u64)
            .map(|pool| SharedPool::new(limits.clone(), THREADS, seed + pool).unwrap())
            .collect();
        let route = shape.route().map(|route| SharedRoute::new(route, THREADS));
        let servers = SERVERS * shape.pools();
        let thread = |index: usize| Thread {
            proxy: Proxy::new(shared.clone(), index as u16, seed)
                .with_routes(route.iter().cloned().collect()),
            wires: Wires::default(),
            links: BTreeMap::new(),
        };
        let limits = Limits { memory_bytes: 32 << 20, item_bytes: 1 << 20 };
        let server =
            |_| Server { store: Store::new(limits), facts: ServerFacts::default(), credentials: None };
        let client = |index: usize| Client {
            thread: index % THREADS,
            id: None,
            outgoing: VecDeque::new(),
            incoming: Vec::new(),
            expected: VecDeque::new(),
            deaf: false,
        };
        Self {
            random: Random(seed),
            faults,
            now: Nanos(1_000_000_000),
            moment: 0,
            threads: (0..THREADS).map(thread).collect(),
            servers: (0..servers).map(server).collect(),
            frozen: vec![false; servers],
            refusing: vec![false; servers],
            door: if shape == Shape::Pool { DoorId::Pool(0) } else { DoorId::Route(0) },
            clients: (0..CLIENTS).map(client).collect(),
            versions: 0,
            history: History::default(),
            wrong: None,
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound as u64) as usize
    }

    /// How many bytes move at a time: mostly all.
    fn most(&mut self) -> usize {
        match self.below(12) {
            0 => 1,
            1 => 30,
            2 => 3000,
            _ => usize::MAX,
        }
    }

    pub(super) fn hits(&self) -> u64 {
        let pools = self.threads.iter().flat_map(|thread| &thread.proxy.pools);
        pools.map(|pool| pool.counters.hits).sum()
    }

    /// Lets `events` things happen.
    pub(super) fn run(&mut self, events: usize) {
        for _ in 0..events {
            self.moment += 1;
            match self.below(200) {
                0..40 => self.ask(),
                40..80 => self.client_to_proxy(),
                80..115 => self.act(),
                115..145 => self.proxy_to_server(),
                145..175 => self.server_to_proxy(),
                175..194 => self.proxy_to_client(),
                194..199 => self.pass(),
                _ if self.faults.network && self.below(3) == 0 => self.break_something(),
                _ => {}
            }
        }
    }

    /// Mends everything, and lets all that is under way arrive.
    pub(super) fn heal(&mut self) {
        self.mend();
        self.clients.iter_mut().for_each(|client| client.deaf = false);
        for _ in 0..20_000 {
            self.moment += 1;
            let idle = self.clients.iter().all(|client| client.id.is_none() || client.expected.is_empty());
            if idle {
                return;
            }
            match self.below(10) {
                0..2 => self.client_to_proxy(),
                2..4 => self.act(),
                4..6 => self.proxy_to_server(),
                6..8 => self.server_to_proxy(),
                8 => self.proxy_to_client(),
                _ => self.pass(),
            }
        }
    }

    fn mend(&mut self) {
        self.frozen.fill(false);
        self.refusing.fill(false);
    }

    /// Whether every client got all replies, in their order.
    pub(super) fn check_replies(&self) -> Result<(), String> {
        if let Some(wrong) = &self.wrong {
            return Err(wrong.clone());
        }
        for (index, client) in self.clients.iter().enumerate() {
            if client.id.is_some() && !client.expected.is_empty() {
                return Err(format!(
                    "client {index} waits for {} replies, the first of them {:?}; {} bytes of its requests are unread",
                    client.expected.len(),
                    client.expected[0],
                    client.outgoing.len()
                ));
            }
        }
        Ok(())
    }

    /// A client sends a request.
    fn ask(&mut self) {
        let index = self.below(CLIENTS);
        if self.clients[index].expected.len() >= 4 {
            return;
        }
        if self.clients[index].id.is_none() {
            let thread = &mut self.threads[self.clients[index].thread];
            self.clients[index].id = Some(thread.proxy.client_opened(self.door, self.now));
        }
        let key = self.below(KEYS);
        let (request, expected) = match self.below(100) {
            0..78 => self.read(vec![key]),
            78..86 => {
                let keys = (0..2 + self.below(4)).map(|_| self.below(KEYS)).collect();
                self.read(keys)
            }
            86..93 => self.write(key),
            93 => {
                let version = self.begin_write(&[key]);
                (format!("delete k{key}\r\n"), Expected::Write { keys: vec![key], version })
            }
            94 if self.below(4) == 0 => {
                let keys: Vec<usize> = (0..KEYS).collect();
                let version = self.begin_write(&keys);
                ("flush_all\r\n".to_owned(), Expected::Write { keys, version })
            }
            95 => (format!("touch k{key} 0\r\n"), Expected::Write { keys: vec![], version: 0 }),
            _ => ("mn\r\n".to_owned(), Expected::Line("MN\r\n")),
        };
        let client = &mut self.clients[index];
        client.outgoing.extend(request.bytes());
        client.expected.push_back(expected);
    }

    fn read(&mut self, keys: Vec<usize>) -> (String, Expected) {
        let names: Vec<String> = keys.iter().map(|key| format!("k{key}")).collect();
        let verb = ["get", "gat 0"][usize::from(self.below(40) == 0)];
        (format!("{verb} {}\r\n", names.join(" ")), Expected::Items { keys, begin: self.moment })
    }

    fn write(&mut self, key: usize) -> (String, Expected) {
        let version = self.begin_write(&[key]);
        let len = if self.below(10) > 0 { 20 } else { [3000, 70_000, 150_000][self.below(3)] };
        let value = format!("{key}:{version}:{}", "v".repeat(len));
        let len = value.len();
        let request = match self.below(3) {
            0 => format!("replace k{key} 0 0 {len}\r\n{value}\r\n"),
            1 => format!("ms k{key} {len}\r\n{value}\r\n"),
            _ => format!("set k{key} 0 0 {len}\r\n{value}\r\n"),
        };
        (request, Expected::Write { keys: vec![key], version })
    }

    fn begin_write(&mut self, keys: &[usize]) -> u64 {
        self.versions += 1;
        keys.iter().for_each(|key| self.history.write(*key, self.versions, self.moment));
        self.versions
    }

    fn client_to_proxy(&mut self) {
        let (index, most) = (self.below(CLIENTS), self.most());
        let client = &mut self.clients[index];
        let Some(id) = client.id else { return };
        let Thread { proxy, wires, .. } = &mut self.threads[client.thread];
        let len = client.outgoing.len().min(most).min(proxy.client_wants(id));
        let bytes: Vec<u8> = client.outgoing.drain(..len).collect();
        if len > 0 {
            proxy.client_received(id, &bytes, self.now, wires);
        }
    }

    /// A shell does what its proxy wants, and sends what did not go before.
    fn act(&mut self) {
        let index = self.below(THREADS);
        let take = [0, 1000, usize::MAX][self.below(3)];
        let partial = self.below(2) == 0;
        let thread = &mut self.threads[index];
        thread.wires.take = take;
        while let Some(action) = thread.proxy.next_action() {
            match action {
                Action::CloseClient(id) => {
                    let client =
                        self.clients.iter_mut().find(|other| other.thread == index && other.id == Some(id));
                    if let Some(client) = client {
                        leave(client);
                    }
                    thread.wires.under_way.remove(&id);
                }
                Action::CloseBackend(id) => _ = thread.links.remove(&id),
                Action::Connect(id, server) => {
                    let link = Link {
                        server: SERVERS * usize::from(server.pool) + usize::from(server.server),
                        connected: false,
                        session: Session::new(),
                        to_server: VecDeque::new(),
                        held: Vec::new(),
                        to_proxy: VecDeque::new(),
                    };
                    thread.links.insert(id, link);
                }
                _ => {}
            }
        }
        for (id, link) in &mut thread.links {
            let output = thread.proxy.backend_output(*id);
            let len = if partial { output.len().div_ceil(2) } else { output.len() };
            link.to_server.extend(&output[..len]);
            thread.proxy.backend_sent(*id, len, self.now, &mut thread.wires);
        }
        let ids: Vec<ClientId> = thread.proxy.clients.keys().collect();
        for id in ids {
            let sent = thread.wires.put(id, thread.proxy.client_output(id));
            if sent > 0 {
                thread.proxy.client_sent(id, sent, self.now, &mut thread.wires);
            }
        }
    }

    /// A link of some thread.
    fn link(&mut self) -> Option<(usize, BackendId)> {
        let thread = self.below(THREADS);
        let links = self.threads[thread].links.len();
        let index = if links > 0 { self.below(links) } else { return None };
        self.threads[thread].links.keys().nth(index).map(|id| (thread, *id))
    }

    fn proxy_to_server(&mut self) {
        let Some((thread, id)) = self.link() else { return };
        let most = self.most();
        let Thread { proxy, wires, links } = &mut self.threads[thread];
        let Some(link) = links.get_mut(&id) else { return };
        if !link.connected {
            if self.refusing[link.server] {
                links.remove(&id);
                return proxy.backend_closed(id, self.now, wires);
            }
            link.connected = true;
            return proxy.backend_connected(id, self.now);
        }
        if !self.frozen[link.server] {
            serve(link, &self.servers[link.server], most, self.now);
        }
    }

    fn server_to_proxy(&mut self) {
        let Some((thread, id)) = self.link() else { return };
        let most = self.most();
        let Thread { proxy, wires, links } = &mut self.threads[thread];
        let Some(link) = links.get_mut(&id) else { return };
        if !proxy.backend_wants(id) {
            return;
        }
        let len = link.to_proxy.len().min(most);
        let bytes: Vec<u8> = link.to_proxy.drain(..len).collect();
        if len > 0 {
            proxy.backend_received(id, &bytes, self.now, wires);
        }
    }

    fn proxy_to_client(&mut self) {
        let (index, most) = (self.below(CLIENTS), self.most());
        let client = &mut self.clients[index];
        let Some(id) = client.id.filter(|_| !client.deaf) else { return };
        let Some(wire) = self.threads[client.thread].wires.under_way.get_mut(&id) else { return };
        let len = wire.len().min(most);
        client.incoming.extend(wire.drain(..len));
        while self.understand(index) {}
    }

    /// Reads one reply from what a client has. `false` if it is not all there.
    fn understand(&mut self, index: usize) -> bool {
        let client = &mut self.clients[index];
        let incoming = std::mem::take(&mut client.incoming);
        let Some(expected) = client.expected.front().cloned() else {
            if !incoming.is_empty() {
                self.wrong = Some(format!("client {index} got {:?} unasked", start(&incoming)));
            }
            return false;
        };
        let read = match &expected {
            Expected::Line(line) => line_of(&incoming).map(|len| {
                let right = &incoming[..len] == line.as_bytes();
                if right { Ok(len) } else { Err(format!("{:?} for {line:?}", start(&incoming))) }
            }),
            Expected::Write { keys, version } => self.understand_write(&incoming, keys, *version),
            Expected::Items { keys, begin } => self.understand_items(&incoming, keys, *begin),
        };
        let client = &mut self.clients[index];
        client.incoming = incoming;
        match read {
            None => false,
            Some(Ok(len)) => {
                client.incoming.drain(..len);
                client.expected.pop_front();
                true
            }
            Some(Err(wrong)) => {
                self.wrong = Some(format!("client {index}: {wrong}"));
                false
            }
        }
    }

    fn understand_write(
        &mut self,
        incoming: &[u8],
        keys: &[usize],
        version: u64,
    ) -> Option<Result<usize, String>> {
        let len = line_of(incoming)?;
        let now = self.moment;
        match &incoming[..len] {
            b"STORED\r\n" | b"HD\r\n" | b"DELETED\r\n" | b"OK\r\n" | b"TOUCHED\r\n" => {
                keys.iter().for_each(|key| self.history.written(*key, version, now));
            }
            b"NOT_STORED\r\n" | b"NOT_FOUND\r\n" => {
                keys.iter().for_each(|key| self.history.unwritten(*key, version));
            }
            line if line.starts_with(b"SERVER_ERROR") => self.history.refuse(),
            line => return Some(Err(format!("{:?} for a write", start(line)))),
        }
        Some(Ok(len))
    }

    fn understand_items(
        &mut self,
        incoming: &[u8],
        keys: &[usize],
        begin: Moment,
    ) -> Option<Result<usize, String>> {
        let mut left = keys.to_vec();
        let (mut at, mut seen) = (0, Vec::new());
        loop {
            let rest = &incoming[at..];
            let line = &rest[..line_of(rest)?];
            at += line.len();
            if line == b"END\r\n" || line.starts_with(b"SERVER_ERROR") {
                if line != b"END\r\n" {
                    self.history.refuse();
                }
                let now = self.moment;
                seen.into_iter().for_each(|(key, version)| self.history.read(key, version, begin, now));
                return Some(Ok(at));
            }
            let Some((key, len)) = item_of(line) else {
                return Some(Err(format!("{:?} for items", start(line))));
            };
            let value = incoming.get(at..at + len + 2)?;
            at += len + 2;
            let mut parts = value.split(|byte| *byte == b':');
            let mut number = || std::str::from_utf8(parts.next()?).ok()?.parse::<u64>().ok();
            let asked = left.iter().position(|other| *other == key).map(|index| left.swap_remove(index));
            match (asked, number(), number()) {
                (Some(_), Some(of), Some(version)) if of == key as u64 && value.ends_with(b"\r\n") => {
                    seen.push((key, version));
                }
                _ => return Some(Err(format!("{:?} behind {:?}", start(value), start(line)))),
            }
        }
    }

    fn pass(&mut self) {
        // Now and then longer than a lease.
        let millis = if self.faults.network && self.below(20) == 0 { 300 } else { 1 + self.below(3) as u64 };
        self.now = self.now + Duration::from_millis(millis);
        for thread in &mut self.threads {
            thread.proxy.tick(self.now, &mut thread.wires);
        }
    }

    fn break_something(&mut self) {
        let server = self.below(self.servers.len());
        match self.below(8) {
            0 | 1 => self.frozen[server] = !self.frozen[server],
            2 => self.refusing[server] = !self.refusing[server],
            3 | 4 => self.reset(),
            5 => {
                let index = self.below(CLIENTS);
                self.clients[index].deaf = !self.clients[index].deaf;
            }
            6 => {
                let index = self.below(CLIENTS);
                let client = &mut self.clients[index];
                let Some(id) = client.id else { return };
                leave(client);
                let thread = &mut self.threads[client.thread];
                thread.wires.under_way.remove(&id);
                thread.proxy.client_closed(id, self.now);
            }
            _ => {
                self.mend();
            }
        }
    }

    /// A connection breaks. Its server may have read what was on its way, or not.
    fn reset(&mut self) {
        let Some((thread, id)) = self.link() else { return };
        let most = [0, 10, 100_000][self.below(3)];
        let Thread { proxy, wires, links } = &mut self.threads[thread];
        let Some(mut link) = links.remove(&id) else { return };
        let server = link.server;
        if link.connected && !self.frozen[server] {
            serve(&mut link, &self.servers[server], most, self.now);
        }
        proxy.backend_closed(id, self.now, wires);
    }
}

/// The server reads up to `most` bytes and answers.
fn serve(link: &mut Link, server: &Server, most: usize, now: Nanos) {
    let now = Now { at: now, unix: now.0 / 1_000_000_000 };
    let len = link.to_server.len().min(most);
    link.held.extend(link.to_server.drain(..len));
    loop {
        let mut out = Vec::new();
        let progress = link.session.receive(&link.held, server, now, &mut out);
        link.held.drain(..progress.consumed);
        link.to_proxy.extend(out);
        if progress.needs != Needs::Output {
            return;
        }
    }
}

/// The client's connection is gone, and with it what it waited for.
fn leave(client: &mut Client) {
    client.id = None;
    client.outgoing.clear();
    client.incoming.clear();
    client.expected.clear();
    client.deaf = false;
}

fn line_of(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n').map(|end| end + 1)
}

/// Key and length of an item whose first line this is.
fn item_of(line: &[u8]) -> Option<(usize, usize)> {
    let line = std::str::from_utf8(line).ok()?.strip_prefix("VALUE k")?.trim_end();
    let mut words = line.split(' ');
    let (key, _flags, len) = (words.next()?, words.next()?, words.next()?);
    Some((key.parse().ok()?, len.parse().ok()?))
}

fn start(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned()
}
