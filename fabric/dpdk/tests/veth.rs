//! Ports on kernel interfaces: a veth pair, both ends of which are DPDK's. Needs root.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Bench, bench, frame, receive};
use fabric::io::{PacketBuf, PacketIo, Packets, PortId};
use fabric_dpdk::{HugePages, Link, Mbuf, PortInfo, Ports, WorkerIo};
use std::process::{self, Command};
use std::time::{Duration, Instant};

const NEAR: PortId = PortId(0);
const FAR: PortId = PortId(1);
const PATIENCE: Duration = Duration::from_secs(10);

/// A veth pair that is removed when dropped.
struct Pair {
    near: String,
    far: String,
}

impl Pair {
    fn new(name: &str) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "making veth pairs needs root: run the tests with sudo");
        let (near, far) = (format!("fd{}{name}0", process::id()), format!("fd{}{name}1", process::id()));
        ip(&["link", "add", &near, "type", "veth", "peer", "name", &far]);
        let pair = Self { near, far };
        for end in [&pair.near, &pair.far] {
            ip(&["link", "set", end, "up"]);
        }
        pair
    }

    fn devices(&self, driver: &str) -> [String; 2] {
        [format!("{driver}0,iface={}", self.near), format!("{driver}1,iface={}", self.far)]
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "del", &self.near]).status();
    }
}

fn ip(arguments: &[&str]) {
    assert!(
        Command::new("ip").args(arguments).status().expect("`ip`, of Debian's package iproute2").success(),
        "ip {arguments:?}"
    );
}

/// Receives until `count` of the test's frames came; the kernel sends its own (IPv6 neighbour discovery).
fn receive_frames(io: &mut WorkerIo, port: PortId, count: usize) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let start = Instant::now();
    while frames.len() < count && start.elapsed() < PATIENCE {
        let ours = |packet: &&Mbuf| packet.bytes()[12..14] == [0x88, 0xb5];
        frames.extend(receive(io, port).iter().filter(ours).map(|packet| packet.bytes().to_vec()));
    }
    frames
}

fn frames_cross_the_pair(bench: &Bench, io: &mut WorkerIo) {
    for (from, to) in [(NEAR, FAR), (FAR, NEAR)] {
        let frames: Vec<_> = (0..50).map(|number| frame(number, 60 + number * 29)).collect();
        let mut packets: Packets<Mbuf> = frames.iter().map(|frame| bench.packet(frame)).collect();
        assert_eq!(io.transmit(from, &mut packets), 0);
        assert_eq!(receive_frames(io, to, frames.len()), frames);
    }
}

fn check_info(info: &PortInfo, name: &str) {
    assert_eq!((info.name.as_str(), info.mtu, info.queues), (name, 1500, 1));
    assert!(info.promiscuous);
    assert_ne!(info.mac, [0; 6]);
}

#[test]
fn af_packet() {
    let bench = bench(HugePages::Auto);
    let pair = Pair::new("p");
    let devices = pair.devices("net_af_packet");
    let (ports, mut io) = bench.open_one(&devices.each_ref().map(String::as_str));
    check_info(ports.info(NEAR).unwrap(), "net_af_packet0");
    check_info(ports.info(FAR).unwrap(), "net_af_packet1");
    assert!(matches!(ports.link(NEAR), Some(Link { up: true, .. })));
    frames_cross_the_pair(&bench, &mut io);
    assert!(ports.statistics(FAR).unwrap().rx_packets >= 50);
    drop((ports, io));
    bench.assert_all_returned();
}

#[test]
fn af_packet_with_too_few_queues() {
    let bench = bench(HugePages::Auto);
    let pair = Pair::new("q");
    let [near, _] = pair.devices("net_af_packet");
    let message = bench.refusal(&[&near], 2).to_string();
    assert!(message.contains("set qpairs= to the number of workers"), "{message}");
    let (ports, _workers) = bench.open(&[&format!("{near},qpairs=2")], 2);
    assert_eq!(ports.info(NEAR).unwrap().queues, 2);
}

#[test]
fn af_xdp() {
    let bench = bench(HugePages::Auto);
    let pair = Pair::new("x");
    let devices = pair.devices("net_af_xdp");
    let config = bench.config(&devices.each_ref().map(String::as_str), 1);
    let opened = Ports::open(bench.eal, &config);
    let (ports, mut workers) = opened.expect("AF_XDP sockets: the kernel needs CONFIG_XDP_SOCKETS");
    check_info(ports.info(NEAR).unwrap(), "net_af_xdp0");
    frames_cross_the_pair(&bench, &mut workers[0]);
}
