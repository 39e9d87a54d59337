//! A pool without servers: requests in, the embedded store's replies out.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use fabric::function::{NetworkFunction, WorkerId};
use fabric::io::{PacketBuf, PortId};
use fabric::memory::{MemoryIo, MemoryPacket};
use fabric::packet::MacAddr;
use fabric::packet::arp::{self, Arp, Operation};
use fabric::packet::udp4::Udp4Spec;
use fabric::stations::{Stations, StationsConfig};
use fabric::time::Nanos;
use fabric::worker::{Mailboxes, Worker};

use super::rig::{
    CLIENT, CLIENT_MAC, CLIENT_PORT, CLIENTS, NODE, NODE_MAC, SERVICE, STRANGER, Sent, VIP, datagram,
    fragments, request, request_from,
};
use crate::packet::embedded::{EmbeddedPool, EmbeddedServer, EmbeddedState, MAX_ITEM_BYTES};
use crate::packet::pool::NodeAddress;
use crate::protocol::udp::{FRAME_LEN, Frame};
use crate::session::Server;
use crate::session::stats::ServerFacts;
use crate::store::{Limits, Now, Store};

/// Toward the host's kernel.
const HOST: PortId = PortId(1);
/// When the tests begin.
const UNIX: u64 = 1_800_000_000;

struct Rig {
    worker: Worker<MemoryIo>,
    state: Arc<EmbeddedState>,
    server: Arc<Server>,
    now: Nanos,
}

impl Rig {
    fn new() -> Self {
        let server = Server {
            store: Store::new(Limits { memory_bytes: 64 << 20, item_bytes: MAX_ITEM_BYTES }),
            facts: ServerFacts::default(),
            credentials: None,
        };
        let pool = EmbeddedPool {
            name: "web".into(),
            vip: VIP,
            service_port: SERVICE,
            vlan: None,
            clients: vec!["10.0.0.0/24".parse().unwrap()],
            amplification_limit: 3.0,
            node: NodeAddress { mac: NODE_MAC, ip: NODE, kernel_answers_arp: true },
        };
        let server = Arc::new(server);
        let state = EmbeddedState::new(pool, Arc::clone(&server), 1);
        let now = Nanos(1_000_000_000);
        state.set_calendar(now, Duration::from_secs(UNIX));
        let stations = Arc::new(Stations::new(StationsConfig::default()));
        stations.pin(0, CLIENT_MAC, CLIENTS).unwrap();
        stations.pin(0, NODE_MAC, HOST).unwrap();
        let function: Box<dyn NetworkFunction<MemoryPacket>> =
            Box::new(EmbeddedServer::new(Arc::clone(&state), WorkerId(0)));
        let io = MemoryIo::new(2);
        let worker = Worker::new(WorkerId(0), io, stations, Mailboxes::new(1, 64), vec![function]);
        let mut rig = Self { worker, state, server, now };
        rig.worker.step(rig.now);
        rig
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = self.now + Duration::from_millis(1);
            self.worker.step(self.now);
        }
    }

    fn arrive(&mut self, port: PortId, frame: &[u8]) {
        assert!(self.worker.io().arrive(port, frame));
        self.worker.step(self.now);
    }

    fn sent(&mut self) -> Vec<Sent> {
        std::iter::from_fn(|| self.worker.io().take_sent(CLIENTS))
            .filter_map(|packet| Sent::read(&packet))
            .collect()
    }

    fn sent_to_host(&mut self) -> usize {
        std::iter::from_fn(|| self.worker.io().take_sent(HOST)).count()
    }

    /// The memcached bytes of the reply to `body`, whose datagrams must be a whole message for the client; empty if
    /// none came.
    fn ask(&mut self, body: impl AsRef<[u8]>) -> Vec<u8> {
        self.arrive(CLIENTS, &request(CLIENT, Frame::single(7), body.as_ref()));
        self.message()
    }

    fn message(&mut self) -> Vec<u8> {
        let sent = self.sent();
        for (sequence, datagram) in sent.iter().enumerate() {
            let frame = Frame { request_id: 7, sequence: sequence as u16, total: sent.len() as u16 };
            assert_eq!(datagram.frame, frame);
            assert_eq!((datagram.dst_mac, datagram.src_mac), (CLIENT_MAC, NODE_MAC));
            assert_eq!((datagram.udp.src, datagram.udp.src_port), (VIP.into(), SERVICE));
            assert_eq!((datagram.udp.dst, datagram.udp.dst_port), (CLIENT.into(), CLIENT_PORT));
            let is_last = sequence + 1 == sent.len();
            assert!(if is_last { datagram.body.len() <= 1392 } else { datagram.body.len() == 1392 });
        }
        sent.into_iter().flat_map(|datagram| datagram.body).collect()
    }

    fn text(&mut self, body: &str) -> String {
        String::from_utf8(self.ask(body)).unwrap()
    }

    fn counter(&mut self, name: &str) -> u64 {
        self.worker.publish();
        let published = self.state.of_worker(WorkerId(0));
        published.read().find(|(counter, ..)| *counter == name).map(|(.., value)| value).expect("a counter")
    }
}

#[test]
fn every_protocol_is_answered_in_place() {
    let mut rig = Rig::new();
    for (asked, answered) in [
        ("get k\r\n", "END\r\n"),
        ("set k 5 0 5\r\nhello\r\n", "STORED\r\n"),
        ("gets k\r\n", "VALUE k 5 5 1\r\nhello\r\nEND\r\n"),
        ("cas k 0 0 1 1\r\n9\r\n", "STORED\r\n"),
        ("cas k 0 0 1 1\r\n9\r\n", "EXISTS\r\n"),
        ("incr k 4\r\n", "13\r\n"),
        ("mg k v c\r\n", "VA 2 c3\r\n13\r\n"),
        ("set k 0 0 1 noreply\r\n1\r\n", ""),
        ("get k none k\r\n", "VALUE k 0 1\r\n1\r\nVALUE k 0 1\r\n1\r\nEND\r\n"),
        ("delete k\r\nget k\r\n", "DELETED\r\nEND\r\n"),
        ("bogus\r\n", "ERROR\r\n"),
    ] {
        assert_eq!(rig.text(asked), answered, "{asked:?}");
    }
    // A binary set of `k` and a get with its key.
    let set = b"\x80\x01\0\x01\x08\0\0\0\0\0\0\x0a\0\0\0\x09\0\0\0\0\0\0\0\0\0\0\0\x07\0\0\0\0kv";
    let get = b"\x80\x0c\0\x01\0\0\0\0\0\0\0\x01\0\0\0\x09\0\0\0\0\0\0\0\0k";
    assert!(rig.ask(set).starts_with(b"\x81\x01"));
    assert!(rig.ask(get).ends_with(b"\0\0\0\x07kv"));
    assert_eq!(rig.counter("answered"), 12);
    assert_eq!(rig.counter("answered_silently"), 1);
    assert_eq!(rig.counter("reply_datagrams"), 0);
}

#[test]
fn the_host_and_the_workers_have_the_same_items() {
    let mut rig = Rig::new();
    rig.text("set k 0 100 1\r\nv\r\n");
    let now = Now { at: rig.now, unix: UNIX };
    let mut out = Vec::new();
    crate::session::Session::new().receive(b"mg k v t\r\nset k 0 0 3\r\nnew\r\n", &rig.server, now, &mut out);
    assert_eq!(out, b"VA 1 t100\r\nv\r\nSTORED\r\n");
    assert_eq!(rig.text("get k\r\n"), "VALUE k 0 3\r\nnew\r\nEND\r\n");
}

#[test]
fn items_expire_by_seconds_and_by_the_calendar_and_are_flushed() {
    let mut rig = Rig::new();
    rig.text("set relative 0 2 1\r\nv\r\n");
    rig.text(&format!("set absolute 0 {} 1\r\nv\r\n", UNIX + 3));
    let mut there = |time| {
        rig.pass(time);
        ["relative", "absolute"].map(|key| rig.text(&format!("get {key}\r\n")).starts_with("VALUE"))
    };
    assert_eq!(there(Duration::ZERO), [true, true]);
    assert_eq!(there(Duration::from_secs(2)), [false, true]);
    assert_eq!(there(Duration::from_secs(1)), [false, false]);
    rig.text("set k 0 0 1\r\nv\r\n");
    assert_eq!(rig.text("flush_all\r\nget k\r\n"), "OK\r\nEND\r\n");
}

#[test]
fn a_large_value_comes_in_numbered_datagrams() {
    let mut rig = Rig::new();
    let value: Vec<u8> = (0..MAX_ITEM_BYTES - 100).map(|at| (at % 251) as u8).collect();
    for len in [1300, 1392 - 22, 1392 - 21, 10_000, value.len()] {
        // Larger than a packet: it comes by another way.
        let line = format!("set large 0 0 {len}\r\n");
        let set = [line.as_bytes(), &value[..len], b"\r\n"].concat();
        let now = Now { at: rig.now, unix: UNIX };
        crate::session::Session::new().receive(&set, &rig.server, now, &mut Vec::new());
        let reply = rig.ask("get large\r\n");
        let head = format!("VALUE large 0 {len}\r\n");
        assert_eq!(reply, [head.as_bytes(), &value[..len], b"\r\nEND\r\n"].concat(), "{len}");
    }
    assert_eq!(rig.counter("answered"), 5);
    assert_eq!(rig.worker.io().pool().in_use(), 0);
}

#[test]
fn a_reply_too_long_for_a_message_is_refused() {
    let mut rig = Rig::new();
    let set = [&b"set k 0 0 900000\r\n"[..], &[b'v'; 900_000], b"\r\n"].concat();
    let now = Now { at: rig.now, unix: UNIX };
    crate::session::Session::new().receive(&set, &rig.server, now, &mut Vec::new());
    assert_eq!(rig.text("get k k\r\n"), "SERVER_ERROR reply too large for one UDP request\r\n");
    assert_eq!(rig.counter("refused_too_large"), 1);
}

#[test]
fn a_request_for_what_another_thread_holds_is_answered_once_it_lets_go() {
    let mut rig = Rig::new();
    rig.text("set k 0 0 1\r\n1\r\n");
    let server = Arc::clone(&rig.server);
    let held = server.store.entry(b"k", Now::default());
    assert_eq!(rig.text("version\r\nincr k 1\r\n"), "");
    rig.pass(Duration::from_millis(100));
    assert!(rig.message().is_empty());
    drop(held);
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.message(), b"VERSION 1.6.18\r\n2\r\n");
    assert_eq!((rig.counter("store_held"), rig.counter("drop_store_held")), (1, 0));
}

#[test]
fn requests_that_wait_are_bounded_in_number_and_time() {
    let mut rig = Rig::new();
    let server = Arc::clone(&rig.server);
    let held = server.store.entry(b"k", Now::default());
    for _ in 0..65 {
        rig.ask("incr k 1\r\n");
    }
    assert_eq!(rig.counter("drop_store_held"), 1);
    rig.pass(Duration::from_millis(600));
    assert_eq!((rig.counter("store_held"), rig.counter("drop_store_held")), (65, 65));
    drop(held);
    rig.pass(Duration::from_millis(5));
    assert!(rig.sent().is_empty());
    assert_eq!(rig.text("set k 0 0 1\r\n1\r\n"), "STORED\r\n");
}

#[test]
fn strangers_may_read_small_values_and_change_nothing() {
    let mut rig = Rig::new();
    rig.text("set small 0 0 1\r\nv\r\n");
    rig.text(&format!("set large 0 0 900\r\n{}\r\n", "v".repeat(900)));
    for (body, answers) in [
        ("get small\r\n", 1),
        ("get large\r\n", 0),
        ("get small small\r\n", 0),
        ("set small 0 0 1\r\nw\r\n", 0),
        ("flush_all\r\n", 0),
        ("stats\r\n", 0),
    ] {
        rig.arrive(CLIENTS, &request(STRANGER, Frame::single(1), body.as_bytes()));
        assert_eq!(rig.sent().len(), answers, "{body:?}");
    }
    assert_eq!(rig.counter("drop_client_not_allowed"), 5);
    assert_eq!(rig.text("get small\r\n"), "VALUE small 0 1\r\nv\r\nEND\r\n");
}

#[test]
fn what_is_wrong_with_a_datagram_is_counted() {
    let mut rig = Rig::new();
    let get = |frame| request(CLIENT, frame, b"get k\r\n");
    let single = Frame::single(1);
    let mut damaged = get(single);
    damaged[55] ^= 1;
    let mut short = request(CLIENT, single, b"");
    short.truncate(short.len() - FRAME_LEN);
    for (frame, counter) in [
        (damaged, "drop_bad_checksum"),
        (get(Frame { total: 2, ..single }), "drop_several_datagrams"),
        (get(Frame { total: 0, ..single }), "drop_bad_frame"),
        (request(CLIENT, single, b"set k 0 0 9\r\nv"), "drop_truncated_request"),
        (request(CLIENT, single, b""), "drop_truncated_request"),
        (request_from(VIP, SERVICE, single, b"get k\r\n"), "drop_forged_request"),
    ] {
        let before = rig.counter(counter);
        rig.arrive(CLIENTS, &frame);
        assert_eq!((rig.counter(counter), rig.sent().len()), (before + 1, 0), "{counter}");
    }
    assert_eq!(rig.sent_to_host(), 0);
}

#[test]
fn the_virtual_address_is_the_nodes_and_nobody_else_speaks_for_it() {
    let mut rig = Rig::new();
    let spec = |src_mac| Udp4Spec {
        dst_mac: CLIENT_MAC,
        src_mac,
        vlan: 0,
        src: VIP.into(),
        dst: CLIENT.into(),
        src_port: SERVICE,
        dst_port: CLIENT_PORT,
        ttl: 64,
        id: 0,
    };
    let forged = datagram(&spec(MacAddr([2, 0, 0, 0, 9, 9])), Frame::single(1), b"END\r\n");
    rig.arrive(HOST, &forged);
    assert_eq!((rig.sent().len(), rig.counter("drop_forged_reply")), (0, 1));
    let pieces = fragments(&forged, 16);
    pieces.iter().for_each(|piece| rig.arrive(HOST, piece));
    assert_eq!((rig.sent().len(), rig.counter("drop_forged_reply")), (0, 1 + pieces.len() as u64));
    // The host's kernel answers from there what it was left.
    rig.arrive(HOST, &datagram(&spec(NODE_MAC), Frame::single(1), b"END\r\n"));
    assert_eq!(rig.sent().len(), 1);
}

#[test]
fn arp_for_the_virtual_address_is_answered() {
    let mut rig = Rig::new();
    let ask = |target: Ipv4Addr| {
        let request = Arp {
            operation: Operation::Request,
            sender_mac: CLIENT_MAC,
            sender: CLIENT,
            target_mac: MacAddr::default(),
            target,
        };
        let mut frame = [&[0xff; 6][..], &CLIENT_MAC.0, &[8, 6], &[0; arp::LEN]].concat();
        request.write(&mut frame[14..]);
        frame
    };
    rig.arrive(CLIENTS, &ask(VIP));
    let reply = rig.worker.io().take_sent(CLIENTS).unwrap();
    let reply = Arp::parse(&reply.bytes()[14..]).unwrap().unwrap();
    assert_eq!((reply.operation, reply.sender, reply.sender_mac), (Operation::Reply, VIP, NODE_MAC));
    // The kernel answers for its own address.
    rig.arrive(CLIENTS, &ask(NODE));
    assert_eq!((rig.sent_to_host(), rig.counter("arp_replies")), (1, 1));
}

#[test]
fn what_is_no_plain_datagram_goes_to_the_host_and_what_is_not_the_pools_passes() {
    let mut rig = Rig::new();
    let whole = request(CLIENT, Frame::single(1), b"set k 0 0 30\r\nabcdefghijklmnopqrstuvwxyz0123\r\n");
    let pieces = fragments(&whole, 24);
    pieces.iter().for_each(|piece| rig.arrive(CLIENTS, piece));
    assert_eq!(rig.sent_to_host(), pieces.len());
    let mut tcp = whole.clone();
    // The protocol, and a header of five words.
    (tcp[23], tcp[46]) = (6, 0x50);
    super::rig::write_header_checksum(&mut tcp);
    rig.arrive(CLIENTS, &tcp);
    assert_eq!((rig.sent_to_host(), rig.counter("left_to_host")), (1, pieces.len() as u64 + 1));
    // Another port; another station's frame to the same address.
    let mut other = whole.clone();
    other[37] ^= 1;
    rig.arrive(CLIENTS, &other);
    assert_eq!(rig.sent_to_host(), 1);
    let mut elsewhere = whole;
    elsewhere[..6].copy_from_slice(&[2, 0, 0, 0, 9, 9]);
    rig.arrive(CLIENTS, &elsewhere);
    assert_eq!((rig.sent_to_host(), rig.counter("answered")), (1, 0));
}
