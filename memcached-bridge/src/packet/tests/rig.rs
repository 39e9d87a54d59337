//! One client port, two server ports, a worker with the function, and a clock that the test moves.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use fabric::function::{NetworkFunction, WorkerId};
use fabric::io::{PacketBuf, PortId};
use fabric::memory::{MemoryIo, MemoryPacket};
use fabric::packet::MacAddr;
use fabric::packet::checksum::Sum;
use fabric::packet::udp4::{self, Udp4, Udp4Spec};
use fabric::stations::{Stations, StationsConfig};
use fabric::time::Nanos;
use fabric::worker::{Mailboxes, Worker};

use crate::hashing::{Distribution, KeyHash};
use crate::packet::pool::{CacheLimits, NodeAddress, Pool, Probing, Server};
use crate::packet::{MemcachedSwitch, PoolState};
use crate::protocol::udp::Frame;

pub(super) const CLIENTS: PortId = PortId(0);
pub(super) const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
pub(super) const NODE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);
pub(super) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(super) const STRANGER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(super) const NODE_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xfe]);
pub(super) const CLIENT_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub(super) const CLIENT_PORT: u16 = 40_000;
pub(super) const SERVICE: u16 = 11_211;
pub(super) const UPSTREAM: u16 = 20_000;
pub(super) const LEASE: Duration = Duration::from_secs(1);

pub(super) fn server_mac(index: usize) -> MacAddr {
    MacAddr([2, 0, 0, 0, 1, index as u8])
}

pub(super) fn server_port(index: usize) -> PortId {
    PortId(1 + index as u16)
}

/// A datagram that left the switch.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) dst_mac: MacAddr,
    pub(super) src_mac: MacAddr,
    pub(super) udp: Udp4,
    pub(super) frame: Frame,
    pub(super) body: Vec<u8>,
}

impl Sent {
    pub(super) fn read(packet: &MemoryPacket) -> Option<Self> {
        let bytes = packet.bytes();
        let udp = Udp4::parse(bytes)?;
        assert!(udp.checksums_ok(bytes), "checksums of {udp:?}");
        let (frame, body) = Frame::parse(&bytes[udp.payload..udp.end])?;
        let mac = |at: usize| MacAddr(*bytes[at..].first_chunk().unwrap());
        Some(Self { dst_mac: mac(0), src_mac: mac(6), udp, frame, body: body.to_vec() })
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

pub(super) struct Rig {
    pub(super) worker: Worker<MemoryIo>,
    pub(super) state: Arc<PoolState>,
    pub(super) now: Nanos,
}

pub(super) fn pool(servers: usize, cache: bool) -> Pool {
    let server = |index| Server { name: format!("mc{index}"), mac: server_mac(index), port: None, weight: 1 };
    Pool {
        name: "web".into(),
        vip: VIP,
        service_port: SERVICE,
        vlan: None,
        servers: (0..servers).map(server).collect(),
        distribution: Distribution::Ketama,
        key_hash: KeyHash::Fnv1a64,
        hash_tag: None,
        clients: vec!["10.0.0.0/24".parse().unwrap()],
        tracks_tcp: false,
        amplification_limit: 3.0,
        cache: cache.then_some(CacheLimits { capacity_bytes: 1 << 20, lease: LEASE, hot_threshold: 2 }),
        probing: Probing { interval: Duration::from_secs(3600), failures: 3, auto_eject: true },
        node: NodeAddress { mac: NODE_MAC, ip: NODE, kernel_answers_arp: false },
        upstream_port: UPSTREAM,
    }
}

impl Rig {
    pub(super) fn new(servers: usize, cache: bool) -> Self {
        Self::with(pool(servers, cache))
    }

    pub(super) fn with(pool: Pool) -> Self {
        let servers = pool.servers.len();
        let state = PoolState::new(pool, 1, 7).unwrap();
        let stations = Arc::new(Stations::new(StationsConfig::default()));
        stations.pin(0, CLIENT_MAC, CLIENTS).unwrap();
        for index in 0..servers {
            stations.pin(0, server_mac(index), server_port(index)).unwrap();
        }
        let function: Box<dyn NetworkFunction<MemoryPacket>> =
            Box::new(MemcachedSwitch::new(Arc::clone(&state), WorkerId(0)));
        let io = MemoryIo::new(1 + servers as u16);
        let worker = Worker::new(WorkerId(0), io, stations, Mailboxes::new(1, 64), vec![function]);
        let mut rig = Self { worker, state, now: Nanos(1_000_000_000) };
        rig.step();
        // The first probes, which no test waits for.
        for index in 0..servers {
            rig.sent(server_port(index));
        }
        rig
    }

    pub(super) fn step(&mut self) {
        self.worker.step(self.now);
    }

    /// Lets time pass, a tick at a time.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = self.now + Duration::from_millis(1);
            self.step();
        }
    }

    pub(super) fn arrive(&mut self, port: PortId, frame: &[u8]) {
        assert!(self.worker.io().arrive(port, frame));
        self.step();
    }

    /// Everything that left `port`, in order.
    pub(super) fn sent(&mut self, port: PortId) -> Vec<Sent> {
        std::iter::from_fn(|| self.worker.io().take_sent(port))
            .filter_map(|packet| Sent::read(&packet))
            .collect()
    }

    pub(super) fn sent_raw(&mut self, port: PortId) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.worker.io().take_sent(port))
            .map(|packet| packet.bytes().to_vec())
            .collect()
    }

    /// A request of the client.
    pub(super) fn ask(&mut self, request_id: u16, body: &str) {
        let frame = request(CLIENT, Frame::single(request_id), body.as_bytes());
        self.arrive(CLIENTS, &frame);
    }

    /// A server's reply to what was `asked` of it.
    pub(super) fn reply(&mut self, server: usize, asked: &Sent, body: &str) {
        self.reply_frame(server, asked, Frame::single(asked.frame.request_id), body.as_bytes());
    }

    pub(super) fn reply_frame(&mut self, server: usize, asked: &Sent, frame: Frame, body: &[u8]) {
        let spec = Udp4Spec {
            dst_mac: asked.src_mac,
            src_mac: server_mac(server),
            vlan: 0,
            src: asked.udp.dst,
            dst: asked.udp.src,
            src_port: asked.udp.dst_port,
            dst_port: asked.udp.src_port,
            ttl: 64,
            id: 0,
        };
        self.arrive(server_port(server), &datagram(&spec, frame, body));
    }

    /// What the client got, as `(request id, text)`.
    pub(super) fn got(&mut self) -> Vec<(u16, String)> {
        self.sent(CLIENTS).into_iter().map(|sent| (sent.frame.request_id, sent.text().to_string())).collect()
    }

    /// The index of the server of `key`.
    pub(super) fn home(&self, key: &str) -> usize {
        usize::from(self.state.members().ring().locate(key.as_bytes()).0)
    }

    /// The `n`-th key of server `server`.
    pub(super) fn key_of(&self, server: usize, n: usize) -> String {
        (0..).map(|i| format!("key{i}")).filter(|key| self.home(key) == server).nth(n).unwrap()
    }

    /// Makes `key` hot: asks for it until the node fetches it, and answers with `value`.
    pub(super) fn heat(&mut self, key: &str, value: &str, cas: u64, ttl: i64) {
        let server = self.home(key);
        for _ in 0..2 {
            self.ask(99, &format!("get {key}\r\n"));
        }
        let fill = self.take_fill(server).expect("a fill was sent");
        assert_eq!(fill.text(), format!("mg {key} v f c t k\r\n"));
        self.reply(server, &fill, &format!("VA {} f5 c{cas} t{ttl} k{key}\r\n{value}\r\n", value.len()));
        assert_eq!(self.counter("fills_installed") % 1000, self.counter("fills_installed"));
    }

    /// The fill that was sent to `server`, if one was; what else was sent there is forgotten.
    pub(super) fn take_fill(&mut self, server: usize) -> Option<Sent> {
        self.sent(server_port(server)).into_iter().find(|sent| sent.body.starts_with(b"mg "))
    }

    pub(super) fn counter(&mut self, name: &str) -> u64 {
        self.worker.publish();
        let (published, _) = self.state.of_worker(WorkerId(0));
        published.read().find(|(counter, ..)| *counter == name).map(|(.., value)| value).expect("a counter")
    }
}

/// A request datagram from `ip` to the virtual address.
pub(super) fn request(ip: Ipv4Addr, frame: Frame, body: &[u8]) -> Vec<u8> {
    request_from(ip, CLIENT_PORT, frame, body)
}

pub(super) fn request_from(ip: Ipv4Addr, port: u16, frame: Frame, body: &[u8]) -> Vec<u8> {
    let spec = Udp4Spec {
        dst_mac: NODE_MAC,
        src_mac: CLIENT_MAC,
        vlan: 0,
        src: ip.into(),
        dst: VIP.into(),
        src_port: port,
        dst_port: SERVICE,
        ttl: 64,
        id: 0,
    };
    datagram(&spec, frame, body)
}

pub(super) fn datagram(spec: &Udp4Spec, frame: Frame, body: &[u8]) -> Vec<u8> {
    let payload = [&frame.to_bytes()[..], body].concat();
    let mut bytes = vec![0; spec.headers_len()];
    udp4::write_headers(&mut bytes, spec, payload.len(), Sum::of(&payload));
    bytes.extend(payload);
    bytes
}

/// Puts the right checksum into the IPv4 header of an untagged frame.
pub(super) fn write_header_checksum(frame: &mut [u8]) {
    let header = 14..14 + usize::from(frame[14] & 0xf) * 4;
    frame[24..26].fill(0);
    let sum = Sum::of(&frame[header]).checksum();
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
}

/// The fragments of an untagged frame, each with at most `size` bytes of IP payload (a multiple of eight).
pub(super) fn fragments(frame: &[u8], size: usize) -> Vec<Vec<u8>> {
    let (headers, payload) = frame.split_at(34);
    let count = payload.len().div_ceil(size);
    payload
        .chunks(size)
        .enumerate()
        .map(|(index, chunk)| {
            let mut fragment = [headers, chunk].concat();
            let more = u16::from(index + 1 < count) << 13;
            fragment[16..18].copy_from_slice(&(20 + chunk.len() as u16).to_be_bytes());
            fragment[20..22].copy_from_slice(&(more | (index * size / 8) as u16).to_be_bytes());
            write_header_checksum(&mut fragment);
            fragment
        })
        .collect()
}
