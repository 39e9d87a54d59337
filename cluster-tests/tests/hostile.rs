//! Frames that no honest client sends: each is dropped with its reason counted, nobody is amplified at, and the
//! switch serves on.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod support;

use cluster_tests::admin::Metrics;
use cluster_tests::memcached::{RequestId, frame};
use cluster_tests::rack::{Driver, Rack, VIP};
use cluster_tests::random::Random;
use cluster_tests::wire::{Capture, Datagram, Direction, Ethernet, FrameSender, UdpView, ethertype};
use std::net::{Ipv4Addr, SocketAddrV4};
use support::{IN_TIME, get, heat, ping, pool_client, set, smart};

/// Off the pool's allowlist.
const STRANGER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const AMPLIFICATION_LIMIT: usize = 3;

struct Attacker<'a> {
    rack: &'a Rack,
    sender: FrameSender,
    head: Ethernet,
    next_id: u16,
}

impl<'a> Attacker<'a> {
    fn new(rack: &'a Rack) -> Self {
        let client = rack.client(1);
        // An honest request first, so that the VIP's MAC address is known.
        client.run(|| set(&mut pool_client(rack), "honest", b"value"));
        let head = Ethernet { to: client.neighbour(VIP).unwrap(), from: client.mac, vlan: None };
        Self { rack, sender: FrameSender::open(client).unwrap(), head, next_id: 1000 }
    }

    fn source(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.rack.client(1).address, 6666)
    }

    fn packet(&self, packet: &[u8]) {
        self.sender.send(&self.head.frame(ethertype::IPV4, packet)).unwrap();
    }

    /// A datagram to the pool with anything in it, the memcached UDP frame included.
    fn datagram(&mut self, from: SocketAddrV4, payload: &[u8]) -> Datagram {
        self.next_id += 1;
        Datagram { from, to: self.rack.vip(), id: self.next_id, payload: payload.to_vec() }
    }

    /// A request in a well-formed memcached UDP frame.
    fn request(&mut self, from: SocketAddrV4, request: &[u8]) {
        let datagram = self.datagram(from, &frame(RequestId(1), 0, 1, request));
        self.packet(&datagram.packet());
    }

    /// Runs `attack` and waits until one of `reasons` was counted.
    fn is_counted(&mut self, reasons: &[&str], attack: impl FnOnce(&mut Self)) {
        let total = |metrics: &Metrics| reasons.iter().map(|reason| metrics.sum(reason)).sum::<f64>();
        let earlier = self.rack.admin().metrics().unwrap();
        attack(self);
        let counted = self.rack.admin().wait_metrics("", IN_TIME, |metrics| total(metrics) > total(&earlier));
        if counted.is_err() {
            let grown = self.rack.admin().metrics().unwrap().grown_since(&earlier);
            panic!("none of {reasons:?} was counted; these were: {grown:?}");
        }
    }
}

/// It is still the same process, forwards, and serves.
fn is_well(rack: &Rack, process: Option<u32>) {
    assert_eq!(rack.switch_process_id(), process);
    ping(rack.client(0), &rack.client(1).address.to_string());
    rack.client(0).run(|| {
        let mut udp = pool_client(rack);
        set(&mut udp, "after", b"value");
        assert_eq!(get(&mut udp, "after"), Some(b"value".to_vec()));
    });
}

#[test]
fn each_malformed_request_is_counted_under_its_reason() {
    let rack = smart(Driver::AfXdp, 2).build().unwrap();
    let process = rack.switch_process_id();
    let mut attacker = Attacker::new(&rack);
    malformed_requests(&mut attacker);
    malformed_fragments(&mut attacker);
    malformed_datagrams(&mut attacker);
    is_well(&rack, process);
}

fn malformed_requests(attacker: &mut Attacker) {
    let from = attacker.source();
    for payload in [&b""[..], b"\0", b"\0\x01\0\0\0\x01\0"] {
        attacker.is_counted(&["drop_bad_frame"], |attacker| {
            let datagram = attacker.datagram(from, payload);
            attacker.packet(&datagram.packet());
        });
    }
    attacker.is_counted(&["drop_bad_frame"], |attacker| {
        let datagram = attacker.datagram(from, &frame(RequestId(1), 0, 0, b"get a\r\n"));
        attacker.packet(&datagram.packet());
    });
    // memcached would take the next datagram, whoever sends it, for the rest of such a set.
    for request in [&b"set a 0 0 100\r\nshort\r\n"[..], b"set a 0 0 5\r\nab", b"ms a 10\r\nab\r\n", b"get a"]
    {
        attacker.is_counted(&["drop_truncated_request"], |attacker| attacker.request(from, request));
    }
    let long = format!("get {}\r\n", "k".repeat(251));
    let invalid =
        [long.as_bytes(), b"get \r\n", b"bogus\r\n", b"set a 0 0 -5\r\n\r\n", b"set a 0 0 1\r\nab\r\n"];
    for request in invalid {
        attacker.is_counted(&["refused_invalid"], |attacker| attacker.request(from, request));
    }
    attacker.is_counted(&["drop_bad_checksum"], |attacker| {
        let datagram = attacker.datagram(from, &frame(RequestId(1), 0, 1, b"bogus\r\n"));
        let mut udp = datagram.udp();
        udp[6] ^= 0x55;
        let packet = datagram.piece(0, false, &udp);
        attacker.packet(&packet);
    });
    attacker.is_counted(&["drop_forged_reply"], |attacker| {
        let to = SocketAddrV4::new(attacker.rack.client(0).address, 4000);
        let forged = Datagram {
            from: attacker.rack.vip(),
            to,
            id: 1,
            payload: frame(RequestId(1), 0, 1, b"STORED\r\n"),
        };
        attacker.packet(&forged.packet());
    });
}

/// A reply that no server sent, in fragments, of which all but the first name no port.
#[test]
fn a_reply_forged_in_fragments_reaches_no_client() {
    let rack = smart(Driver::AfXdp, 2).build().unwrap();
    let process = rack.switch_process_id();
    let mut attacker = Attacker::new(&rack);
    attacker.head.to = rack.client(0).mac;
    let seen = Capture::open(rack.client(0), Direction::In, "ip[4:2] == 4711").unwrap();
    let to = SocketAddrV4::new(rack.client(0).address, 4000);
    let payload = frame(RequestId(1), 0, 1, &[b'f'; 2000]);
    let forged = Datagram { from: rack.vip(), to, id: 4711, payload };
    for fragment in forged.fragments(1500) {
        attacker.is_counted(&["drop_forged_reply"], |attacker| attacker.packet(&fragment));
    }
    is_well(&rack, process);
    // What the client got since came later than the fragments would have.
    assert_eq!(seen.frames(), Vec::<Vec<u8>>::new());
}

fn malformed_fragments(attacker: &mut Attacker) {
    let from = attacker.source();
    let udp_of = |datagram: &Datagram| datagram.udp();
    attacker.is_counted(&["drop_fragment_bad_checksum"], |attacker| {
        let datagram = attacker.datagram(from, &frame(RequestId(1), 0, 1, b"get checksummed\r\n"));
        let mut udp = udp_of(&datagram);
        udp[6] ^= 0x55;
        attacker.packet(&datagram.piece(0, true, &udp[..16]));
        attacker.packet(&datagram.piece(16, false, &udp[16..]));
    });
    attacker.is_counted(&["drop_fragment_overlap"], |attacker| {
        let datagram = attacker.datagram(from, &[b'o'; 4000]);
        let udp = udp_of(&datagram);
        attacker.packet(&datagram.piece(0, true, &udp[..1480]));
        attacker.packet(&datagram.piece(1472, true, &udp[1472..2952]));
    });
    attacker.is_counted(&["drop_fragment_malformed"], |attacker| {
        // Ends beyond what an IPv4 packet can be.
        let datagram = attacker.datagram(from, &[b'l'; 1400]);
        attacker.packet(&datagram.piece(65528, false, &udp_of(&datagram)));
    });
    attacker.is_counted(&["drop_fragment_malformed"], |attacker| {
        // More follow, but at no multiple of eight.
        let datagram = attacker.datagram(from, &[b'm'; 1000]);
        attacker.packet(&datagram.piece(0, true, &udp_of(&datagram)[..999]));
    });
    attacker.is_counted(&["drop_fragment_expired"], |attacker| {
        for _ in 0..200 {
            let datagram = attacker.datagram(from, &[b'e'; 4000]);
            attacker.packet(&datagram.fragments(1500)[0]);
        }
    });
    // The same fragment over and over, and none that says it is the last.
    let looping = attacker.datagram(from, &[b'p'; 4000]);
    let first = &looping.fragments(1500)[0];
    (0..100).for_each(|_| attacker.packet(first));
}

fn malformed_datagrams(attacker: &mut Attacker) {
    let from = attacker.source();
    attacker.is_counted(&["drop_datagram_malformed"], |attacker| {
        for (sequence, count) in [(0, 3), (5, 3), (1, 4)] {
            let datagram =
                attacker.datagram(from, &frame(RequestId(77), sequence, count, b"set a 0 0 9000\r\n"));
            attacker.packet(&datagram.packet());
        }
    });
    attacker.is_counted(&["drop_datagram_expired"], |attacker| {
        let datagram = attacker.datagram(from, &frame(RequestId(78), 0, 2, b"set a 0 0 9000\r\n"));
        attacker.packet(&datagram.packet());
    });
}

/// A request that would make memcached answer with megabytes, under the address of a victim.
#[test]
fn strangers_get_no_more_than_the_amplification_limit_allows() {
    let rack = smart(Driver::AfXdp, 2).build().unwrap();
    let process = rack.switch_process_id();
    rack.client(0).run(|| {
        let mut udp = pool_client(&rack);
        set(&mut udp, "small", b"1");
        set(&mut udp, "medium", &[b'm'; 1000]);
        set(&mut udp, "large", &[b'l'; 60_000]);
        heat(&rack, &mut udp, "small");
        heat(&rack, &mut udp, "medium");
    });
    let mut attacker = Attacker::new(&rack);
    let victim = SocketAddrV4::new(STRANGER, 6667);
    let everywhere: Vec<Capture> = rack
        .clients()
        .iter()
        .chain(rack.servers().iter().map(|server| &server.host))
        .map(|host| Capture::open(host, Direction::In, "udp and dst host 198.51.100.7").unwrap())
        .collect();
    let at_servers: Vec<Capture> = rack
        .servers()
        .iter()
        .map(|server| Capture::open(&server.host, Direction::In, "src host 198.51.100.7").unwrap())
        .collect();
    let requests: Vec<Vec<u8>> = [
        &b"get small\r\n"[..],
        b"get medium\r\n",
        b"get large\r\n",
        b"get large large large large large\r\n",
        b"stats\r\n",
        b"set small 0 0 1\r\n9\r\n",
        b"flush_all\r\n",
        b"bogus\r\n",
    ]
    .iter()
    .map(|request| request.to_vec())
    .collect();
    for request in &requests {
        attacker.is_counted(&["drop_client_not_allowed", "hits", "refused_invalid"], |attacker| {
            (0..10).for_each(|_| attacker.request(victim, request));
        });
    }
    is_well(&rack, process);

    // The frames of the honest request above came later than any answer to the stranger.
    let received: usize = requests.iter().map(|request| 10 * (8 + request.len())).sum();
    let sent: usize = everywhere
        .iter()
        .flat_map(Capture::frames)
        .map(|frame| UdpView::parse(&frame).map_or(frame.len(), |view| view.payload.len()))
        .sum();
    assert!(sent <= AMPLIFICATION_LIMIT * received, "{received} bytes from the stranger, {sent} to it");
    assert!(
        at_servers.iter().all(|capture| capture.frames().is_empty()),
        "servers answer strangers themselves"
    );
    rack.client(0).run(|| assert_eq!(get(&mut pool_client(&rack), "small"), Some(b"1".to_vec())));
}

/// Valid frames with a few bytes changed, and bytes of no shape at all.
#[test]
fn random_frames_do_no_harm() {
    for driver in [Driver::AfXdp, Driver::AfPacket] {
        let rack = smart(driver, 2).build().unwrap();
        let process = rack.switch_process_id();
        let mut attacker = Attacker::new(&rack);
        let mut random = Random::new(5);
        for number in 0..3000 {
            let from = attacker.source();
            let payload = match random.below(4) {
                0 => frame(RequestId(1), 0, 1, b"get a b c honest\r\n"),
                1 => frame(RequestId(1), 0, 1, b"set a 0 0 3\r\nabc\r\nmg a v\r\n"),
                2 => frame(RequestId(1), 0, 1, &random.bytes(100)),
                _ => {
                    let len = random.below(600);
                    random.bytes(len)
                }
            };
            let datagram = attacker.datagram(from, &payload);
            let packets = if driver.carries_fragments() && random.one_in(3) {
                datagram.fragments(68)
            } else {
                vec![datagram.packet()]
            };
            for mut packet in packets.into_iter().take(8) {
                for _ in 0..random.below(4) {
                    let at = random.below(packet.len());
                    packet[at] = random.next() as u8;
                }
                packet.truncate(packet.len() - random.below(packet.len()) * usize::from(random.one_in(4)));
                attacker.packet(&packet);
            }
            if number % 500 == 499 {
                is_well(&rack, process);
            }
        }
    }
}
