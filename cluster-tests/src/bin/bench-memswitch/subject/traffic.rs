//! The frames that clients send.

use std::net::{Ipv4Addr, SocketAddrV4};

use cluster_tests::load::{Keys, Zipf};
use cluster_tests::memcached::{RequestId, frame};
use cluster_tests::random::Random;
use cluster_tests::wire::{Datagram, Ethernet, Mac, ethertype};

use super::{BYSTANDER_MAC, MEMCACHED, Mode, NODE_MAC, Scenario, VIP};

/// Frames in the file that is played over and over.
const REQUESTS: usize = 4096;
/// Keys to draw from.
const KEYS: usize = 100_000;
/// The skew of YCSB's default workload (Cooper et al., SoCC 2010), and of most papers since.
const EXPONENT: f64 = 0.99;
const CLIENT_HOSTS: usize = 16;
const PORTS_PER_HOST: usize = 256;

/// 4096 frames, the same ones every time: gets of keys of 16 bytes from sixteen hosts, by Zipf's law, or
/// for [`Mode::Cold`] of keys that are all alike. If
/// `scenario` is not about requests, they are addressed to a bystander.
pub(crate) fn frames(scenario: &Scenario) -> Vec<Vec<u8>> {
    let exponent = if scenario.mode == Mode::Cold { 0.0 } else { EXPONENT };
    let (zipf, mut random) = (Zipf::new(KEYS, exponent), Random::new(99));
    let keys = Keys { count: KEYS, value_bytes: scenario.value_bytes };
    let make = |number: usize| {
        let request = format!("get {}\r\n", keys.key(zipf.draw(&mut random)));
        let host = random.below(CLIENT_HOSTS) as u8 + 1;
        let port = 20_000 + random.below(PORTS_PER_HOST) as u16;
        let (to, to_ip) =
            if scenario.mode.is_get() { (NODE_MAC, VIP) } else { (BYSTANDER_MAC, [10, 77, 0, 201].into()) };
        let datagram = Datagram {
            from: SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, host), port),
            to: SocketAddrV4::new(to_ip, MEMCACHED),
            id: number as u16,
            payload: frame(RequestId(number as u16), 0, 1, request.as_bytes()),
        };
        let head = Ethernet { to: Mac(to.0), from: Mac([0x02, 0, 0, 0x77, 0, host]), vlan: None };
        head.frame(ethertype::IPV4, &datagram.packet())
    };
    (0..REQUESTS).map(make).collect()
}
