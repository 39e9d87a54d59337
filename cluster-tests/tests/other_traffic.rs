//! What is not memcached passes unharmed, while memcached is served.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod support;

use cluster_tests::RackError;
use cluster_tests::memcached::{Command, Encoding, Item, Outcome, UdpClient};
use cluster_tests::rack::{Driver, Host, LINK, MEMCACHED_PORT, Rack, SwitchProgram};
use cluster_tests::random::Random;
use cluster_tests::wire::{Capture, Direction, Ethernet, FrameSender, Mac, ethertype};
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use support::{IN_TIME, ping, smart};

const BROADCAST: Mac = Mac([0xff; 6]);

#[test]
fn over_af_xdp() {
    let rack = smart(Driver::AfXdp, 2).host("other").build().unwrap();
    passes(&rack, rack.vip());
}

#[test]
fn over_af_packet() {
    let rack = smart(Driver::AfPacket, 2).host("other").build().unwrap();
    passes(&rack, rack.vip());
}

/// The control: the same checks with the kernel's bridge.
#[test]
fn over_a_bridge() {
    let rack = Rack::builder("bridge")
        .clients(2)
        .servers(2)
        .host("other")
        .switch(SwitchProgram::Bridge)
        .build()
        .unwrap();
    passes(&rack, SocketAddrV4::new(rack.server(0).host.address, MEMCACHED_PORT));
}

#[test]
fn jumbo_frames_over_af_packet() {
    let rack = smart(Driver::AfPacket, 2).host("other").mtu(9000).build().unwrap();
    jumbo(&rack, rack.vip());
}

#[test]
fn jumbo_frames_over_a_bridge() {
    let rack =
        Rack::builder("bridge").clients(2).servers(2).host("other").mtu(9000).switch(SwitchProgram::Bridge);
    let rack = rack.build().unwrap();
    jumbo(&rack, SocketAddrV4::new(rack.server(0).host.address, MEMCACHED_PORT));
}

fn passes(rack: &Rack, memcached: SocketAddrV4) {
    let done = AtomicBool::new(false);
    let served = thread::scope(|scope| {
        let load = scope.spawn(|| rack.client(0).run(|| load(memcached, &done)));
        // Ends the load also when a check panics.
        let _end = EndOnDrop(&done);
        let (here, there) = (rack.client(1), rack.host("other"));
        ping(here, &there.address.to_string());
        ping(here, &rack.server(0).host.address.to_string());
        ping(here, &there.address6.to_string());
        tcp(here, there);
        vlan(here, there);
        frames_are_exact(here, there);
        drop(_end);
        load.join().unwrap()
    });
    assert!(served > 100, "only {served} memcached requests beside the other traffic");
}

struct EndOnDrop<'a>(&'a AtomicBool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Datagrams may be lost beside a TCP transfer that takes all there is; wrong answers may not be given.
fn load(memcached: SocketAddrV4, done: &AtomicBool) -> usize {
    let mut udp = UdpClient::connect(memcached).unwrap();
    udp.set_deadline(Duration::from_millis(100));
    let mut served = 0;
    while !done.load(Ordering::Relaxed) {
        let key = format!("load-{}", served % 50).into_bytes();
        let item = Item::new(0, vec![b'l'; 500]);
        let stored = udp.execute(Encoding::Text, &key, &Command::Set(item.clone())).unwrap();
        let got = udp.execute(Encoding::Text, &key, &Command::Get).unwrap();
        let value = Outcome::Value { item, cas: None };
        assert!(stored.as_ref().is_none_or(|stored| *stored == Outcome::Done), "{stored:?}");
        assert!(stored.is_none() || got.as_ref().is_none_or(|got| *got == value), "{got:?}");
        served += usize::from(stored.is_some()) + usize::from(got.is_some());
    }
    served
}

/// Megabytes over TCP, compared byte by byte.
fn tcp(here: &Host, there: &Host) {
    let sent = Random::new(3).bytes(4 << 20);
    let listener = there.run(|| TcpListener::bind((there.address, 0)).unwrap());
    let to = listener.local_addr().unwrap();
    let received = thread::scope(|scope| {
        scope.spawn(|| {
            here.run(|| TcpStream::connect_timeout(&to, IN_TIME).unwrap().write_all(&sent).unwrap())
        });
        let mut stream = listener.accept().unwrap().0;
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        received
    });
    assert!(received == sent, "{} bytes sent, {} received, or others", sent.len(), received.len());
}

/// Through VLAN interfaces of the kernel, where it has them; tagged frames made by hand come later either way.
fn vlan(here: &Host, there: &Host) {
    let add = ["link", "add", "link", LINK, "name", "tagged", "type", "vlan", "id", "7"];
    for (host, address) in [(here, "10.79.0.1/24"), (there, "10.79.0.2/24")] {
        match host.exec("ip", &add) {
            Err(RackError::Command { output, .. }) if output.contains("Unknown device type") => {
                eprintln!(
                    "this kernel has no VLAN interfaces (8021q): tagged frames are tested by hand only"
                );
                return;
            }
            added => added.unwrap(),
        };
        host.exec("ip", &["addr", "add", address, "dev", "tagged"]).unwrap();
        host.exec("ip", &["link", "set", "tagged", "up"]).unwrap();
    }
    ping(here, "10.79.0.2");
    // A full packet and its tag make 1518 bytes.
    here.exec("ping", &["-c", "1", "-W", "2", "-M", "do", "-s", "1472", "10.79.0.2"]).unwrap();
}

/// Random frames, tagged and not, known destination and broadcast: each arrives byte for byte, once, in order.
fn frames_are_exact(here: &Host, there: &Host) {
    let mut random = Random::new(11);
    let arrived = Capture::open(there, Direction::In, "ether src 02:0a:0b:0c:0d:0e").unwrap();
    let sender = FrameSender::open(here).unwrap();
    let from = Mac([0x02, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e]);
    let mut sent = Vec::new();
    for number in 0..300_u16 {
        let to = if number % 10 == 0 { BROADCAST } else { there.mac };
        let vlan = random.one_in(3).then(|| random.next() as u16 & 0xefff);
        // IPv4 and IPv6 of random bytes are malformed, and still none of the switch's business.
        let kinds = [ethertype::EXPERIMENTAL, ethertype::IPV4, ethertype::IPV6, 0x0842, 0x88cc];
        let kind = *random.pick(&kinds);
        let len = 46 + random.below(1455);
        let frame = Ethernet { to, from, vlan }.frame(kind, &random.bytes(len));
        sender.send(&frame).unwrap();
        sent.push(frame);
        if number % 32 == 31 {
            // No more than what every queue on the way holds.
            arrived
                .wait_for("a train of frames", IN_TIME, |frames| (frames.len() >= sent.len()).then_some(()))
                .unwrap();
        }
    }
    let got = arrived
        .wait_for("all frames", IN_TIME, |frames| (frames.len() >= sent.len()).then(|| frames.to_vec()));
    for (number, (got, sent)) in got.unwrap().iter().zip(&sent).enumerate() {
        assert_eq!(got, sent, "frame {number}");
    }
}

fn jumbo(rack: &Rack, memcached: SocketAddrV4) {
    let (here, there) = (rack.client(1), rack.host("other"));
    here.exec(
        "ping",
        &["-c", "3", "-i", "0.02", "-W", "2", "-M", "do", "-s", "8972", &there.address.to_string()],
    )
    .unwrap();
    tcp(here, there);
    rack.client(0).run(|| {
        let mut udp = UdpClient::connect(memcached).unwrap();
        udp.set_deadline(Duration::from_secs(2));
        let set = Command::Set(Item::new(0, vec![b'j'; 8000]));
        assert_eq!(udp.execute(Encoding::Text, b"jumbo", &set).unwrap(), Some(Outcome::Done));
        let got = udp.execute(Encoding::Text, b"jumbo", &Command::Get).unwrap();
        assert!(matches!(got, Some(Outcome::Value { item, .. }) if item.value.len() == 8000));
    });
}
