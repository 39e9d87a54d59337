//! A pool behind its virtual address, over UDP: every key on the server its hash names, replies straight from the
//! servers, requests of any size.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod support;

use cluster_tests::memcached::{Command, Encoding, Item, RequestId, UdpClient, encode, frame, values};
use cluster_tests::rack::{Driver, LINK, MEMCACHED_PORT, Rack, VIP};
use cluster_tests::wire::{Capture, Datagram, Direction, Ethernet, FrameSender, UdpView, ethertype};
use memcached_bridge::hashing::{Distribution, KeyHash, Member, Ring};
use std::net::SocketAddrV4;
use support::{IN_TIME, get, holder, pool_client, set, smart};

const KEYS: usize = 200;

#[test]
fn two_servers_over_af_xdp() {
    serves(Driver::AfXdp, 2);
}

#[test]
fn two_servers_over_af_packet() {
    serves(Driver::AfPacket, 2);
}

#[test]
fn eight_servers_over_af_xdp() {
    serves(Driver::AfXdp, 8);
}

/// Servers behind a route with a small MTU fragment their replies, which must not be taken for forged ones.
#[test]
fn replies_in_fragments_pass() {
    let rack = &smart(Driver::AfXdp, 2).build().unwrap();
    for server in rack.servers() {
        let route = ["route", "replace", "10.77.0.0/24", "dev", LINK, "mtu", "600"];
        server.host.exec("ip", &route).unwrap();
    }
    rack.client(0).run(|| {
        let fragments = Capture::open(rack.client(0), Direction::In, "ip[6:2] & 0x3fff != 0").unwrap();
        let mut udp = pool_client(rack);
        for number in 0..8 {
            let (key, value) = (format!("{number}-fragmented"), vec![b'a' + number; 1000]);
            set(&mut udp, &key, &value);
            assert_eq!(get(&mut udp, &key), Some(value), "{key}");
        }
        let all = |frames: &[Vec<u8>]| (frames.len() >= 16).then_some(());
        fragments.wait_for("two fragments of each reply", IN_TIME, all).unwrap();
    });
    assert_eq!(rack.admin().metrics().unwrap().sum("drop_forged_reply"), 0.0);
}

// FNV-1a hardly mixes the last bytes of a key: what tells the keys apart comes first.
fn serves(driver: Driver, servers: usize) {
    let rack = &smart(driver, servers).build().unwrap();
    let keys: Vec<String> = (0..KEYS).map(|number| format!("{number}-key")).collect();
    rack.client(0).run(|| {
        let mut udp = pool_client(rack);
        keys_come_back(rack, &mut udp, &keys);
        keys_sit_where_their_hash_says(rack, &keys);
        many_keys_at_once(&mut udp, &keys);
        if driver.carries_fragments() {
            large_sets(rack, &mut udp);
        }
    });
    if driver.carries_fragments() {
        large_sets_last_fragment_first(rack);
    }
    requests_of_several_datagrams(rack);
}

/// Each reply carries the MAC address of the server that holds the key: it did not pass through a proxy.
fn keys_come_back(rack: &Rack, udp: &mut UdpClient, keys: &[String]) {
    let replies = Capture::open(rack.client(0), Direction::In, "udp src port 11211").unwrap();
    keys.iter().for_each(|key| set(udp, key, format!("value of {key}").as_bytes()));
    for key in keys {
        assert_eq!(get(udp, key), Some(format!("value of {key}").into_bytes()));
    }
    for key in keys.iter().step_by(10) {
        let begins = format!("VALUE {key} ");
        let is_reply = |view: &UdpView<'_>| {
            view.payload.get(8..).is_some_and(|body| body.starts_with(begins.as_bytes()))
        };
        let reply = replies.wait_udp(&format!("the reply with {key}"), IN_TIME, is_reply).unwrap();
        let view = UdpView::parse(&reply).unwrap();
        assert_eq!(view.mac_from, rack.server(holder(rack, key)).host.mac, "{key}");
        assert_eq!(view.from, SocketAddrV4::new(VIP, MEMCACHED_PORT));
    }
}

fn ring(rack: &Rack) -> Ring {
    let member = |number: usize| Member { name: format!("mc{}", number + 1), weight: 1, alive: true };
    let members: Vec<Member> = (0..rack.servers().len()).map(member).collect();
    Ring::build(Distribution::Ketama, KeyHash::Fnv1a64, None, &members).unwrap()
}

fn keys_sit_where_their_hash_says(rack: &Rack, keys: &[String]) {
    let ring = ring(rack);
    for (number, server) in rack.servers().iter().enumerate() {
        let named = keys.iter().filter(|key| usize::from(ring.locate(key.as_bytes()).0) == number);
        let named: Vec<&str> = named.map(String::as_str).collect();
        assert!(!named.is_empty());
        assert_eq!(server.held(keys).unwrap(), named, "server {number}");
    }
}

fn many_keys_at_once(udp: &mut UdpClient, keys: &[String]) {
    for count in [2, 3, 100] {
        let asked: Vec<&str> = keys.iter().take(count).map(String::as_str).collect();
        let request = format!("get {} absent\r\n", asked.join(" "));
        let reply = udp.ask(request.as_bytes(), |reply| values(reply).is_some()).unwrap();
        let got = values(&reply.unwrap_or_else(|| panic!("{count} keys"))).unwrap().unwrap();
        assert_eq!(got.order, asked);
        for key in asked {
            assert_eq!(got.items[key].value, format!("value of {key}").as_bytes());
        }
    }
}

fn large_sets(rack: &Rack, udp: &mut UdpClient) {
    for len in [1400, 4096, 60_000] {
        for number in 0..4 {
            let key = format!("large-{len}-{number}");
            let value = vec![b'a' + number; len];
            set(udp, &key, &value);
            assert_eq!(get(udp, &key), Some(value), "{key}");
            assert_eq!(holder(rack, &key), usize::from(ring(rack).locate(key.as_bytes()).0), "{key}");
        }
    }
}

struct ByHand {
    sender: FrameSender,
    head: Ethernet,
    from: SocketAddrV4,
}

/// Frames from client 0 to the VIP.
fn by_hand(rack: &Rack) -> ByHand {
    let client = rack.client(0);
    let to = client.neighbour(VIP).unwrap();
    let head = Ethernet { to, from: client.mac, vlan: None };
    ByHand { sender: FrameSender::open(client).unwrap(), head, from: SocketAddrV4::new(client.address, 4321) }
}

fn large_sets_last_fragment_first(rack: &Rack) {
    let ByHand { sender, head, from } = by_hand(rack);
    let replies = Capture::open(rack.client(0), Direction::In, "udp dst port 4321").unwrap();
    for (id, len) in [(1_u16, 4096), (2, 60_000)] {
        let key = format!("reversed-{len}");
        let request = encode(Encoding::Text, key.as_bytes(), &Command::Set(Item::new(0, vec![b'r'; len])));
        let datagram = Datagram { from, to: rack.vip(), id, payload: frame(RequestId(id), 0, 1, &request) };
        for fragment in datagram.fragments(1500).iter().rev() {
            sender.send(&head.frame(ethertype::IPV4, fragment)).unwrap();
        }
        let stored = [&frame(RequestId(id), 0, 1, b"STORED\r\n")[..]].concat();
        replies.wait_udp(&key, IN_TIME, |view| view.payload == stored).unwrap();
        assert_eq!(holder(rack, &key), usize::from(ring(rack).locate(key.as_bytes()).0));
    }
}

/// memcached itself ignores requests of several datagrams; the switch must still send all of one to the server of
/// its key, in order, whatever the order in which they came.
fn requests_of_several_datagrams(rack: &Rack) {
    let ByHand { sender, head, from } = by_hand(rack);
    let key = "several-datagrams";
    let server = &rack.server(usize::from(ring(rack).locate(key.as_bytes()).0)).host;
    let arrived = Capture::open(server, Direction::In, "udp src port 4321").unwrap();
    let request = encode(Encoding::Text, key.as_bytes(), &Command::Set(Item::new(0, vec![b'd'; 3000])));
    let datagrams: Vec<Vec<u8>> = request
        .chunks(1200)
        .enumerate()
        .map(|(sequence, piece)| frame(RequestId(9), sequence as u16, 3, piece))
        .collect();
    for index in [2, 0, 1] {
        let datagram = Datagram { from, to: rack.vip(), id: 50, payload: datagrams[index].clone() };
        sender.send(&head.frame(ethertype::IPV4, &datagram.packet())).unwrap();
    }
    arrived
        .wait_for("all datagrams at the server of the key", IN_TIME, |frames| {
            let payloads: Vec<&[u8]> =
                frames.iter().filter_map(|frame| Some(UdpView::parse(frame)?.payload)).collect();
            (payloads == datagrams).then_some(())
        })
        .unwrap();
}
