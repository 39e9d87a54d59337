//! A pool that is served over TCP and on the packet path: one cache to its clients, whichever way they come.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod support;

use cluster_tests::memcached::{Command, Encoding, Item, Outcome, TcpClient};
use cluster_tests::rack::{Driver, MEMCACHED_PORT, NODE_ADDRESS, Rack};
use cluster_tests::wait;
use std::net::SocketAddrV4;
use support::{IN_TIME, get, heat, pool_client, set, smart};

const ROUNDS: u32 = 100;

fn rack(driver: Driver) -> Rack {
    let rack = smart(driver, 2).configure(|config| {
        config.dataplane.host_interface = Some("ss0".to_owned());
        let pool = &mut config.pool[0];
        pool.listen = Some(format!("0.0.0.0:{MEMCACHED_PORT}"));
        pool.hot_threshold = 2;
    });
    rack.build().unwrap()
}

fn connect() -> TcpClient {
    let at = SocketAddrV4::new(NODE_ADDRESS, MEMCACHED_PORT);
    wait::until("a connection to the node", IN_TIME, || TcpClient::connect(at).ok()).unwrap()
}

fn tcp_get(tcp: &mut TcpClient, key: &str) -> Option<Vec<u8>> {
    match tcp.execute(Encoding::Text, key.as_bytes(), &Command::Get).unwrap() {
        Outcome::Value { item, .. } => Some(item.value),
        Outcome::Absent => None,
        other => panic!("get {key}: {other:?}"),
    }
}

#[test]
fn a_write_by_one_way_is_seen_by_the_other() {
    for driver in [Driver::AfXdp, Driver::AfPacket] {
        let rack = rack(driver);
        let hits = || rack.admin().metrics().unwrap().sum("hits");
        rack.client(0).run(|| {
            let (mut udp, mut tcp) = (pool_client(&rack), connect());
            set(&mut udp, "k", b"first");
            heat(&rack, &mut udp, "k");
            let direct = rack.admin().metrics().unwrap().sum("direct_frames");
            let before = hits();
            for round in 0..ROUNDS {
                let value = format!("tcp-{round}").into_bytes();
                let command = Command::Set(Item::new(0, &value[..]));
                assert_eq!(tcp.execute(Encoding::Text, b"k", &command).unwrap(), Outcome::Done);
                for _ in 0..5 {
                    assert_eq!(get(&mut udp, "k"), Some(value.clone()), "over UDP, after a write over TCP");
                }
                let value = format!("udp-{round}").into_bytes();
                set(&mut udp, "k", &value);
                for _ in 0..5 {
                    assert_eq!(
                        tcp_get(&mut tcp, "k"),
                        Some(value.clone()),
                        "over TCP, after a write over UDP"
                    );
                }
            }
            let after = rack.admin().metrics().unwrap();
            assert_eq!(after.sum("direct_frames"), direct, "the node's own connections are no strangers");
            assert!(hits() > before + f64::from(ROUNDS) / 2.0, "{} hits were too few", hits() - before);
        });
    }
}
