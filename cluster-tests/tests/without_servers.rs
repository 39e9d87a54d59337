//! A node without servers behind it is a memcached itself: over UDP its workers answer, over TCP its host, from one store.
//!
//! `MEMCACHED_SEED` repeats a run of the differential test.
#![allow(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]
#![allow(unreachable_pub, missing_docs, dead_code, reason = "the modules of a test")]

#[path = "../../memcached-bridge/tests/differential/streams/mod.rs"]
mod streams;
mod support;
#[path = "../../memcached-bridge/tests/differential/whole.rs"]
mod whole;

use cluster_tests::admin::Metrics;
use cluster_tests::config::{Embedded, EmbeddedPool};
use cluster_tests::loopback::{Service, free_address};
use cluster_tests::memcached::{Command, Encoding, Item, Outcome, RequestId, TcpClient, UdpClient, frame};
use cluster_tests::rack::{Driver, Rack};
use cluster_tests::scratch::Scratch;
use cluster_tests::wait;
use std::net::UdpSocket;
use std::time::{Duration, Instant};
use streams::random::Random;
use streams::{DETERMINISTIC, Reply, binary, difference, seed, text as streams_text, unix};
use support::{IN_TIME, get, pool_client, set, text};
use whole::are_whole;

const CLIENTS: &str = "10.77.0.0/24";
const REQUESTS: usize = 1000;

/// Two clients, no servers, and a node that is one.
fn rack(driver: Driver) -> Rack {
    let rack = Rack::builder("without-servers").clients(2).servers(0).driver(driver);
    let rack = rack.configure(|config| {
        config.dataplane.host_interface = Some("ss0".to_owned());
        let vip = config.pool[0].vip.clone();
        let clients = vec![CLIENTS.to_owned()];
        config.embedded = Some(Embedded { listen: format!("{vip}:11211"), clients: clients.clone() });
        config.embedded_pool = Some(EmbeddedPool { name: "web".to_owned(), store: "embedded", vip, clients });
    });
    rack.build().unwrap()
}

fn connect(rack: &Rack) -> TcpClient {
    wait::until("a connection to the node", IN_TIME, || TcpClient::connect(rack.vip()).ok()).unwrap()
}

fn over_tcp(tcp: &mut TcpClient, key: &str, command: &Command) -> Outcome {
    tcp.execute(Encoding::Text, key.as_bytes(), command).unwrap()
}

#[test]
fn clients_over_udp_and_tcp_see_one_store() {
    for driver in [Driver::AfXdp, Driver::AfPacket] {
        let rack = &rack(driver);
        rack.client(0).run(|| {
            let (mut udp, mut tcp) = (pool_client(rack), connect(rack));
            set(&mut udp, "k", b"by udp");
            let Outcome::Value { item, .. } = over_tcp(&mut tcp, "k", &Command::Get) else { panic!("no k") };
            assert_eq!(item.value, b"by udp");
            assert_eq!(over_tcp(&mut tcp, "k", &Command::Set(Item::new(0, &b"by tcp"[..]))), Outcome::Done);
            assert_eq!(get(&mut udp, "k"), Some(b"by tcp".to_vec()));

            cas_flush_and_expiry(&mut udp, &mut tcp);
            large_values(driver, &mut udp, &mut tcp);
        });
        let metrics = || rack.admin().metrics().unwrap();
        let counted =
            |metrics: Metrics| metrics.sum("answered") > 10.0 && metrics.sum("reply_datagrams") > 50.0;
        wait::until_true("the counters", IN_TIME, || counted(metrics())).unwrap();
        let metrics = metrics();
        assert_eq!(metrics.sum("drop_forged_reply") + metrics.sum("drop_no_buffer"), 0.0);
        assert!(rack.stop_switch().unwrap().unwrap().success(), "SIGTERM drains");
    }
}

fn cas_flush_and_expiry(udp: &mut UdpClient, tcp: &mut TcpClient) {
    let unique = |udp: &mut UdpClient| {
        let reply = text(udp, "gets k\r\n");
        reply.split_whitespace().nth(4).unwrap().to_owned()
    };
    let seen = unique(udp);
    assert_eq!(over_tcp(tcp, "k", &Command::Append(b"!".to_vec())), Outcome::Done);
    assert_eq!(text(udp, &format!("cas k 0 0 1 {seen}\r\nx\r\n")), "EXISTS\r\n");
    let seen = unique(udp);
    assert_eq!(text(udp, &format!("cas k 0 0 1 {seen}\r\nx\r\n")), "STORED\r\n");

    assert_eq!(text(udp, "set short 0 1 1\r\nv\r\n"), "STORED\r\n");
    let gone = |udp: &mut UdpClient| get(udp, "short").is_none();
    wait::until_true("the item to end", IN_TIME, || gone(udp)).unwrap();
    assert_eq!(over_tcp(tcp, "short", &Command::Get), Outcome::Absent);

    assert_eq!(text(udp, "flush_all\r\n"), "OK\r\n");
    assert_eq!(over_tcp(tcp, "k", &Command::Get), Outcome::Absent);
    assert_eq!(get(udp, "k"), None);
}

/// A value that is stored over TCP comes in many datagrams. One that is stored over UDP comes to the host in fragments.
fn large_values(driver: Driver, udp: &mut UdpClient, tcp: &mut TcpClient) {
    let value: Vec<u8> = (0..100_000_u32).map(|at| (at % 251) as u8).collect();
    let stored = over_tcp(tcp, "large", &Command::Set(Item::new(0, &value[..])));
    assert_eq!(stored, Outcome::Done);
    assert_eq!(get(udp, "large"), Some(value));
    if driver.carries_fragments() {
        let value = vec![b'f'; 20_000];
        set(udp, "fragments", &value);
        assert_eq!(get(udp, "fragments"), Some(value));
    }
}

/// The same datagrams of random commands to memcached and to the node's virtual address. A difference counts if it is there
/// again in a second run: the clocks of the two do not tick at the same moment.
#[test]
fn datagrams_get_the_same_bytes_as_from_memcached() {
    let unix = unix();
    let seed = seed(unix);
    if let Err(first) = differs(unix, seed) {
        println!("once more, for it differs: {first}");
        differs(unix, seed).unwrap_or_else(|again| panic!("{again}"));
    }
}

fn differs(unix: u64, seed: u64) -> Result<(), String> {
    let rack = &rack(Driver::AfXdp);
    let scratch = Scratch::new("without-servers").unwrap();
    let udp = free_address().unwrap();
    let port = udp.port().to_string();
    let arguments = [&DETERMINISTIC[..], &["-U", &port]].concat();
    let _memcached = Service::memcached_with("memcached", scratch.path(), &arguments).unwrap();
    let theirs = Datagrams::to(&udp.to_string());
    let ours = rack.client(0).run(|| Datagrams::to(&rack.vip().to_string()));
    let mut random = Random(seed);
    let mut sent = 0;
    while sent < REQUESTS {
        let mut commands = Vec::new();
        match random.one_in(2) {
            true => {
                streams_text::Generator { random: &mut random, unix, administers: false, invalidates: true }
                    .command(&mut commands)
            }
            false => binary::Generator { random: &mut random, unix }.command(&mut commands),
        }
        if fits(&commands) {
            sent += 1;
            let expected = Reply::whole(theirs.converse(&commands)).map(streams_text::without_unsteady);
            let reply = Reply::whole(ours.converse(&commands)).map(streams_text::without_unsteady);
            difference(&commands, &expected, &reply, sent)?;
        }
    }
    Ok(())
}

/// A socket toward a memcached.
struct Datagrams(UdpSocket);

/// Asked for behind every datagram, to tell the end of its reply.
const MARKER: RequestId = RequestId(0xffff);

impl Datagrams {
    fn to(server: &str) -> Self {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let this = Self(socket);
        let deadline = Instant::now() + IN_TIME;
        while this.mark().and_then(|()| this.0.recv(&mut [0; 64])).is_err() {
            assert!(Instant::now() < deadline, "no answer from {server}");
        }
        this.0.set_read_timeout(Some(IN_TIME)).unwrap();
        this
    }

    fn mark(&self) -> std::io::Result<()> {
        self.0.send(&frame(MARKER, 0, 1, b"mn\r\n")).map(drop)
    }

    /// The payloads of all datagrams that answer `commands`.
    fn converse(&self, commands: &[u8]) -> Vec<u8> {
        self.0.send(&frame(RequestId(1), 0, 1, commands)).unwrap();
        let mut reply = Vec::new();
        // In one burst of packets, a reply of one datagram may leave before a longer one: what is asked for then cannot.
        for _ in 0..2 {
            self.mark().unwrap();
            self.read_to_mark(&mut reply);
        }
        reply
    }

    fn read_to_mark(&self, reply: &mut Vec<u8>) {
        let mut buffer = vec![0; 65_536];
        loop {
            let len = self.0.recv(&mut buffer).unwrap();
            if buffer[..2] == MARKER.0.to_be_bytes() {
                return;
            }
            reply.extend_from_slice(&buffer[8..len]);
        }
    }
}

/// Whether these are whole commands that fit one packet: what memcached misses at the end it would read from the next
/// datagram, and fragments may come after the marker behind them.
fn fits(commands: &[u8]) -> bool {
    commands.len() <= 1400 && are_whole(commands)
}
