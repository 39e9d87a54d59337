//! Packets of another pool than the port's. A binary of its own: a second pool changes how every port transmits.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Bench, Scratch, bench, frame, receive};
use fabric::io::{PacketBuf, PacketIo, Packets, PortId};
use fabric_dpdk::{HugePages, Mbuf, Mempool, PoolConfig, Ports};

const PORT: PortId = PortId(0);

fn mixed(bench: &Bench, other: Mempool) -> Packets<Mbuf> {
    let make = |number: usize| {
        let mut packet =
            if number % 3 == 1 { other.allocate().unwrap() } else { bench.pool.allocate().unwrap() };
        packet.set_len(64).unwrap();
        packet.bytes_mut().copy_from_slice(&frame(number, 64));
        packet
    };
    (0..10).map(make).collect()
}

#[test]
fn foreign_packets_are_freed_to_their_own_pool_and_counted() {
    let bench = bench(HugePages::Never);
    let config = PoolConfig { packets: 100, data_room_bytes: 256 };
    let other = Mempool::create(bench.eal, &config).unwrap();
    let (ports, mut io) = bench.open_one(&["net_ring0"]);
    assert_eq!(io.transmit(PORT, &mut mixed(&bench, other)), 3);
    let received = receive(&mut io, PORT);
    let expected = [0, 2, 3, 5, 6, 8, 9].map(|number| frame(number, 64));
    assert_eq!(received.iter().map(PacketBuf::bytes).collect::<Vec<_>>(), expected);
    let statistics = ports.statistics(PORT).unwrap();
    assert_eq!((statistics.tx_foreign, statistics.tx_refused), (3, 0));
    drop(received);
    assert_eq!(other.available(), 100);
    bench.assert_all_returned();
}

#[test]
fn a_larger_data_room_holds_jumbo_frames() {
    let bench = bench(HugePages::Never);
    let config = PoolConfig { packets: 500, data_room_bytes: 9216 };
    let jumbo = Mempool::create(bench.eal, &config).unwrap();
    let frames = [frame(0, 9014), frame(1, 9216), frame(2, 9217), frame(3, 60)];
    let input = Scratch::pcap("jumbo", &frames);
    let mut config = bench.config(&[&format!("net_pcap0,rx_pcap={}", input.path().display())], 1);
    (config.pool, config.mtu) = (jumbo, Some(9000));
    let (ports, mut workers) = Ports::open(bench.eal, &config).unwrap();
    let received = receive(&mut workers[0], PORT);
    let received: Vec<_> = received.iter().map(PacketBuf::bytes).collect();
    assert_eq!(received, [&frames[0], &frames[1], &frames[3]]);
    assert_eq!(ports.statistics(PORT).unwrap().rx_too_long, 1);
}
