//! The rack itself, with the kernel's bridge or testpmd in the place of SmartSwitch: if these fail, no other test
//! of this crate says anything.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod support;

use cluster_tests::linearizability::{Recorder, Route, Workload, check};
use cluster_tests::memcached::{
    Command, Encoding, Item, Outcome, TcpClient, UdpClient, decode, frame, values,
};
use cluster_tests::rack::{Driver, MEMCACHED_PORT, Rack, Server, SwitchProgram};
use cluster_tests::wait;
use cluster_tests::wire::{Capture, Datagram, Direction, Ethernet, FrameSender, UdpView, ethertype};
use std::net::SocketAddrV4;
use std::path::Path;
use std::time::Duration;
use support::{IN_TIME, ping, script};

const ENCODINGS: [Encoding; 3] = [Encoding::Text, Encoding::Meta, Encoding::Binary];

fn bridged(clients: usize, servers: usize) -> Rack {
    Rack::builder("bridged").clients(clients).servers(servers).switch(SwitchProgram::Bridge).build().unwrap()
}

fn own_address(server: &Server) -> SocketAddrV4 {
    SocketAddrV4::new(server.host.address, MEMCACHED_PORT)
}

#[test]
fn every_command_in_every_encoding() {
    let rack = bridged(1, 1);
    let to = own_address(rack.server(0));
    let recorder = Recorder::default();
    rack.client(0).run(|| {
        let mut udp = UdpClient::connect(to).unwrap();
        for encoding in ENCODINGS {
            let key = format!("udp-{encoding:?}");
            script(&recorder, &key, |command| udp.execute(encoding, key.as_bytes(), command).unwrap());
        }
        let mut tcp = TcpClient::connect(to).unwrap();
        for encoding in [Encoding::Text, Encoding::Meta] {
            let key = format!("tcp-{encoding:?}");
            script(&recorder, &key, |command| Some(tcp.execute(encoding, key.as_bytes(), command).unwrap()));
        }
    });
    let history = recorder.finish();
    assert_eq!(history.pending(), 0);
    check(&history).unwrap();
}

#[test]
fn large_values_and_many_keys_over_udp() {
    let rack = bridged(1, 1);
    let to = own_address(rack.server(0));
    rack.client(0).run(|| {
        let mut udp = UdpClient::connect(to).unwrap();
        for len in [0, 1, 1400, 4096, 60_000] {
            let item = Item::new(1, vec![b'x'; len]);
            let set = Command::Set(item.clone());
            assert_eq!(udp.execute(Encoding::Text, b"large", &set).unwrap(), Some(Outcome::Done), "{len}");
            let got = udp.execute(Encoding::Text, b"large", &Command::Get).unwrap();
            assert_eq!(got, Some(Outcome::Value { item, cas: None }), "{len}");
        }
        let reply = udp.ask(b"get large absent large\r\n", |reply| values(reply).is_some()).unwrap().unwrap();
        assert_eq!(values(&reply).unwrap().unwrap().order, ["large", "large"]);
    });
}

#[test]
fn frames_made_by_hand_arrive_as_they_are() {
    let rack = bridged(1, 1);
    let (client, server) = (rack.client(0), &rack.server(0).host);
    let sender = FrameSender::open(client).unwrap();
    let head = Ethernet { to: server.mac, from: client.mac, vlan: None };

    // A set in fragments, last first.
    let replies = Capture::open(client, Direction::In, "udp and port 11211").unwrap();
    let item = Item::new(0, vec![b'y'; 4096]);
    let request = cluster_tests::memcached::encode(Encoding::Text, b"pieces", &Command::Set(item.clone()));
    let datagram = Datagram {
        from: SocketAddrV4::new(client.address, 4000),
        to: own_address(rack.server(0)),
        id: 99,
        payload: frame(cluster_tests::memcached::RequestId(5), 0, 1, &request),
    };
    for fragment in datagram.fragments(1500).iter().rev() {
        sender.send(&head.frame(ethertype::IPV4, fragment)).unwrap();
    }
    let reply = replies.wait_udp("STORED", IN_TIME, |view| view.payload.ends_with(b"STORED\r\n")).unwrap();
    assert_eq!(UdpView::parse(&reply).unwrap().mac_from, server.mac);
    assert!(rack.server(0).holds("pieces").unwrap());

    // A tagged frame of an unknown protocol.
    let arrived = Capture::open(server, Direction::In, "").unwrap();
    let tagged = Ethernet { vlan: Some(0x6007), ..head }.frame(ethertype::EXPERIMENTAL, &[7; 100]);
    sender.send(&tagged).unwrap();
    arrived.wait_for("the tagged frame", IN_TIME, |frames| frames.contains(&tagged).then_some(())).unwrap();
}

#[test]
fn servers_pause_die_and_come_back() {
    let rack = bridged(1, 2);
    let (broken, other) = (rack.server(0), rack.server(1));
    let set = Command::Set(Item::new(0, "v"));
    let run = |server: &Server, deadline: Duration| {
        rack.client(0).run(|| {
            let mut udp = UdpClient::connect(own_address(server)).unwrap();
            udp.set_deadline(deadline);
            udp.execute(Encoding::Text, b"k", &set).unwrap()
        })
    };
    let short = Duration::from_millis(100);
    assert_eq!(run(broken, IN_TIME), Some(Outcome::Done));

    broken.pause().unwrap();
    assert_eq!(run(broken, short), None);
    assert_eq!(run(other, IN_TIME), Some(Outcome::Done));
    broken.resume();
    assert_eq!(run(broken, IN_TIME), Some(Outcome::Done));
    assert_eq!(
        broken.stat("cmd_set").unwrap(),
        Some(3),
        "the command sent during the pause is executed after it"
    );

    broken.kill();
    assert_eq!(run(broken, short), None);
    broken.start().unwrap();
    assert!(!broken.holds("k").unwrap());
    assert_eq!(run(broken, IN_TIME), Some(Outcome::Done));

    broken.host.set_link(false).unwrap();
    assert_eq!(run(broken, short), None);
    broken.host.set_link(true).unwrap();
    wait::until_true("the link to come back", IN_TIME, || run(broken, short).is_some()).unwrap();
}

#[test]
fn concurrent_clients_of_a_plain_server_are_linearizable() {
    let rack = bridged(2, 1);
    let mut workload = Workload {
        seed: 1,
        clients: 8,
        commands: 200,
        keys: 4,
        write_one_in: 2,
        patience: Duration::from_millis(100),
        rest: Duration::ZERO,
        expiring_one_in: 0,
        flush_one_in: 0,
        encodings: ENCODINGS.to_vec(),
        routes: [
            &[Route::Udp(own_address(rack.server(0))); 3][..],
            &[Route::Tcp(own_address(rack.server(0)))],
        ]
        .concat(),
    };
    for seed in 1..=3 {
        workload.seed = seed;
        let server = rack.server(0);
        let report =
            workload.run(rack.clients(), |_| support::pause_for(server, Duration::from_millis(150))).unwrap();
        assert_eq!(report.errors, Vec::<String>::new());
        assert_eq!(report.history.len(), 1600);
        assert!(report.history.pending() < 16, "{} pending", report.history.pending());
        check(&report.history).unwrap();
    }
}

#[test]
fn testpmd_forwards_between_two_hosts() {
    for driver in [Driver::AfXdp, Driver::AfPacket] {
        let rack = Rack::builder("testpmd").clients(1).servers(1).switch(SwitchProgram::Testpmd { driver });
        let rack = rack.build().unwrap();
        let server = &rack.server(0).host;
        ping(rack.client(0), &server.address.to_string());
        ping(rack.client(0), &server.address6.to_string());
        rack.client(0).run(|| {
            let mut udp = UdpClient::connect(own_address(rack.server(0))).unwrap();
            let stored = udp.execute(Encoding::Text, b"k", &Command::Set(Item::new(0, "v"))).unwrap();
            assert_eq!(stored, Some(Outcome::Done), "{driver:?}");
        });
    }
}

#[test]
fn nothing_is_left_behind() {
    let namespaces_of = |pid: u32| -> Vec<String> {
        let names = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| name.starts_with(&format!("ssw{pid}-"))).collect()
    };

    // A rack whose test panics.
    let memcached = std::panic::catch_unwind(|| {
        let rack = bridged(1, 1);
        let id = rack.server(0).process_id().unwrap();
        assert!(Path::new(&format!("/proc/{id}")).exists());
        assert!(!namespaces_of(std::process::id()).is_empty());
        std::panic::panic_any(id);
    });
    let id = memcached.unwrap_err().downcast::<u32>().unwrap();
    assert!(!Path::new(&format!("/proc/{id}")).exists());

    // A rack whose process is gone, with something still running in it. No other rack is built, and so nothing
    // swept, while this one stands.
    let standing = bridged(1, 0);
    let mut gone = std::process::Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    let abandoned = format!("ssw{}-m1", gone.id());
    let ip = |arguments: &[&str]| std::process::Command::new("ip").args(arguments).status().unwrap();
    assert!(ip(&["netns", "add", &abandoned]).success());
    let mut sleeper = std::process::Command::new("ip")
        .args(["netns", "exec", &abandoned, "sleep", "1000"])
        .spawn()
        .unwrap();
    wait::until_true("the sleeper to be inside", IN_TIME, || {
        let inside = std::process::Command::new("ip").args(["netns", "pids", &abandoned]).output().unwrap();
        !inside.stdout.is_empty()
    })
    .unwrap();
    drop(standing);
    drop(bridged(1, 0));
    assert!(namespaces_of(gone.id()).is_empty());
    wait::until_true("the sleeper to be killed", IN_TIME, || sleeper.try_wait().unwrap().is_some()).unwrap();
}

#[test]
fn a_missing_switch_says_how_to_build_it() {
    // Not through SMARTSWITCH_BIN: the environment belongs to all tests of the process.
    let error = cluster_tests::RackError::NoSwitch { path: "/nowhere/smartswitch".into() };
    assert!(error.to_string().contains("cargo build -p node --profile fast"));
    let error = cluster_tests::rack::find_program("no-such-program").unwrap_err();
    assert!(error.to_string().contains("`no-such-program` is missing"));
}

#[test]
fn replies_decode_alike() {
    assert_eq!(decode(Encoding::Text, &Command::Get, b"END\r\n"), Some(Outcome::Absent));
    assert_eq!(decode(Encoding::Meta, &Command::Add(Item::new(0, "")), b"NS\r\n"), Some(Outcome::NotStored));
}
