//! memcached over kernel sockets, end to end: the built program, real sockets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod support;

use std::io::{Read, Write};
use std::net::UdpSocket;
use std::process::Command;

use nix::sys::signal::Signal;
use support::{DEADLINE, Node, SMARTSWITCH, wait};

/// One request over UDP, and the datagrams of the reply: sequence, total, payload.
fn ask_udp(node: &Node, socket: &UdpSocket, commands: &[u8]) -> Vec<(u16, u16, Vec<u8>)> {
    socket.send_to(&[&[0x12, 0x34, 0, 0, 0, 1, 0, 0], commands].concat(), node.memcached).unwrap();
    let mut datagrams = Vec::new();
    let mut buffer = [0; 2048];
    loop {
        let len = socket.recv(&mut buffer).unwrap();
        let number = |at: usize| u16::from_be_bytes([buffer[at], buffer[at + 1]]);
        assert_eq!((number(0), number(6)), (0x1234, 0));
        datagrams.push((number(2), number(4), buffer[8..len].to_vec()));
        if datagrams.len() == usize::from(number(4)) {
            return datagrams;
        }
    }
}

fn udp() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

#[test]
fn it_serves_over_tcp_and_udp_and_ends_when_told() {
    let mut node = Node::start();
    let expected = format!("ready: memcached {} (tcp, udp), admin http://{}/\n", node.memcached, node.admin);
    assert_eq!(node.ready, expected);
    assert_eq!(node.ask("set a 7 0 5\r\nhello\r\nget a b\r\n"), "STORED\r\nVALUE a 7 5\r\nhello\r\nEND\r\n");

    let socket = udp();
    let reply = ask_udp(&node, &socket, b"get a\r\n");
    assert_eq!(reply, [(0, 1, b"VALUE a 7 5\r\nhello\r\nEND\r\n".to_vec())]);
    assert!(node.ask(&format!("set big 0 0 10000\r\n{}\r\n", "v".repeat(10_000))).starts_with("STORED"));
    let reply = ask_udp(&node, &socket, b"get big\r\n");
    assert_eq!(reply.iter().map(|(sequence, total, _)| (*sequence, *total)).collect::<Vec<_>>().len(), 8);
    assert!(
        reply
            .iter()
            .enumerate()
            .all(|(index, (sequence, total, _))| (usize::from(*sequence), *total) == (index, 8))
    );
    let whole: Vec<u8> = reply.into_iter().flat_map(|(_, _, payload)| payload).collect();
    assert_eq!(whole.len(), "VALUE big 0 10000\r\n".len() + 10_000 + "\r\nEND\r\n".len());

    assert_eq!(node.stop(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn the_admin_server_shows_what_happens() {
    let mut node = Node::start();
    node.ask("set a 0 0 1\r\n1\r\nget a\r\nget b\r\n");
    assert_eq!(node.http("/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(node.metric("smartswitch_embedded_get_hits_total"), 1.0);
    assert_eq!(node.metric("smartswitch_embedded_get_misses_total"), 1.0);
    let (_, text) = node.http("/metrics");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let name = name.split('{').next().unwrap();
        assert!(value.parse::<f64>().is_ok() && text.contains(&format!("# TYPE {name} ")), "{line}");
    }
    let status: serde_json::Value = serde_json::from_str(&node.http("/api/status").1).unwrap();
    assert_eq!(status["embedded"]["hits"], 1);
    assert_eq!(status["embedded"]["commands"]["cmd_get"], 2);
    let (code, page) = node.http("/");
    assert_eq!(code, 200);
    assert!(!page.contains("://"), "the page must load nothing from elsewhere");
    let parts: Vec<&str> = page.split('"').filter(|part| part.starts_with('/')).collect();
    assert!(
        parts.contains(&"/page.css") && parts.contains(&"/page.js") && parts.contains(&"/api/status"),
        "{page}"
    );
    for part in parts {
        assert_eq!(node.http(part).0, 200, "{part}");
    }
    assert_eq!(node.http("/nothing").0, 404);
    assert_eq!(node.stop(Signal::SIGINT).code(), Some(0));
}

#[test]
fn an_address_off_the_admin_allowlist_gets_a_403() {
    let node = Node::start_configured("forbidden", "allow = [\"10.1.2.0/24\"]", "");
    for path in ["/", "/healthz", "/metrics", "/api/status", "/nothing"] {
        assert_eq!(node.http(path), (403, "127.0.0.1 is not in `allow` of [admin]\n".to_owned()));
    }
}

#[test]
fn a_client_off_the_allowlist_gets_no_more_than_three_times_its_bytes() {
    let node = Node::start_configured("amplification", "", "clients = [\"10.1.2.0/24\"]");
    let socket = udp();
    let set = format!("set k 0 0 500\r\n{}\r\n", "v".repeat(500));
    assert_eq!(ask_udp(&node, &socket, set.as_bytes())[0].2, b"STORED\r\n");
    // 8 + 7 bytes ask for 8 + 16 + 500 + 7; the same keys and a longer request get their reply.
    socket.send_to(b"\0\x01\0\0\0\x01\0\0get k\r\n", node.memcached).unwrap();
    node.wait_metric("smartswitch_embedded_amplification_limited_total", 1.0);
    assert_eq!(ask_udp(&node, &socket, b"get missing\r\n")[0].2, b"END\r\n");
    let padded = [b"get".as_slice(), &[b' '; 200], b"k\r\n"].concat();
    assert_eq!(ask_udp(&node, &socket, &padded).len(), 1);

    let mut stream = node.connect();
    assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0, "served over TCP");
    node.wait_metric("smartswitch_embedded_refused_clients_total", 1.0);
}

#[test]
fn a_taken_port_is_named_with_a_remedy() {
    let node = Node::start();
    let taken = node.memcached.to_string();
    let run = |options: &[&str]| {
        let output = Command::new(SMARTSWITCH).arg("run").args(options).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    };
    let message = run(&["--listen", &taken, "--admin", "127.0.0.1:0"]);
    assert!(message.contains(&format!("cannot listen on {taken} (tcp) for memcached")), "{message}");
    assert!(message.contains("choose another with --listen"), "{message}");
    let message = run(&["--listen", "127.0.0.1:0", "--admin", &node.admin.to_string()]);
    assert!(message.contains("for the admin server") && message.contains("--admin"), "{message}");
}

#[test]
fn a_client_that_does_not_read_holds_nobody_up() {
    let node = Node::start();
    let value = "v".repeat(10_000);
    assert!(node.ask(&format!("set k 0 0 10000\r\n{value}\r\n")).starts_with("STORED"));
    let before = resident_bytes(node.pid());
    // Asks for half a gigabyte and reads none of it. The requests fit into the sockets' buffers.
    let mut slow = node.connect();
    slow.set_nonblocking(true).unwrap();
    let requests = b"get k\r\n".repeat(50_000);
    let asked = slow.write(&requests).unwrap();
    assert!(asked > 100_000, "only {asked} bytes of requests were taken");
    // While the node answers others, it could go on with the slow one, too.
    for _ in 0..300 {
        assert_eq!(node.ask("get none\r\n"), "END\r\n");
    }
    let grown = resident_bytes(node.pid()).saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes are held for one slow client");
}

fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn one_connection_too_many_is_told_so() {
    let node = Node::start_configured("connections", "", "max_connections = 2");
    let mut first = node.connect();
    let mut second = node.connect();
    for stream in [&mut first, &mut second] {
        stream.write_all(b"mn\r\n").unwrap();
        stream.read_exact(&mut [0; 4]).unwrap();
    }
    let mut reply = String::new();
    node.connect().read_to_string(&mut reply).unwrap();
    assert_eq!(reply, "ERROR Too many open connections\r\n");
    drop(first);
    wait("a free connection", || {
        let mut stream = node.connect();
        stream.write_all(b"mn\r\n").ok()?;
        let mut reply = [0; 4];
        stream.read_exact(&mut reply).ok()?;
        (reply == *b"MN\r\n").then_some(())
    });
}

#[test]
fn a_command_in_flight_is_finished_before_the_end() {
    let mut node = Node::start();
    let mut idle = node.connect();
    idle.write_all(b"mn\r\n").unwrap();
    idle.read_exact(&mut [0; 4]).unwrap();
    let mut busy = node.connect();
    busy.write_all(b"mn\r\nset k 0 0 5\r\nhe").unwrap();
    busy.read_exact(&mut [0; 4]).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(node.pid() as i32), Signal::SIGTERM).unwrap();
    // The idle connection is closed; that tells that the node drains.
    assert_eq!(idle.read(&mut [0; 16]).unwrap_or(0), 0);
    busy.write_all(b"llo\r\n").unwrap();
    let mut reply = String::new();
    busy.read_to_string(&mut reply).unwrap();
    assert_eq!(reply, "STORED\r\n");
    assert_eq!(node.stop(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn memcapable_finds_nothing_wrong() {
    let node = Node::start();
    let port = node.memcached.port().to_string();
    let output = Command::new("memccapable").args(["-h", "127.0.0.1", "-p", &port, "-a"]).output();
    let output = output.expect("memccapable is missing: apt-get install libmemcached-tools");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("All tests passed"), "{text}");
}
