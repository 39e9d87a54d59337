//! memcached over kernel sockets, end to end: the built program, real sockets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod support;

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
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
    let expected = format!(
        "ready: memcached {} (tcp, udp), directory (node 0000000000000001), admin http://{}/\n",
        node.memcached, node.admin
    );
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
fn memccapable_finds_nothing_wrong() {
    for protocol in ["-a", "-b"] {
        let node = Node::start();
        let port = node.memcached.port().to_string();
        let output =
            Command::new("memccapable").args(["-h", "127.0.0.1", "-p", &port, "-t", "10", protocol]).output();
        let output = output.expect("memccapable is missing: apt-get install libmemcached-tools");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("All tests passed"), "{protocol}: {text}");
    }
}

/// A binary request; its reply's status and value.
fn ask_binary(stream: &mut TcpStream, opcode: u8, key: &[u8], value: &[u8]) -> (u16, Vec<u8>) {
    let (key_len, body_len) = (key.len() as u8, (key.len() + value.len()) as u8);
    let mut request = vec![0x80, opcode, 0, key_len, 0, 0, 0, 0, 0, 0, 0, body_len];
    request.resize(24, 0);
    stream.write_all(&[&request, key, value].concat()).unwrap();
    let mut header = [0; 24];
    stream.read_exact(&mut header).unwrap();
    let mut body = vec![0; usize::from(header[11])];
    stream.read_exact(&mut body).unwrap();
    (u16::from_be_bytes([header[6], header[7]]), body)
}

#[test]
fn with_a_password_file_strangers_are_not_served() {
    let users = support::write_config("users", "alice:wonderland\n");
    let node = Node::start_configured("passwords", "", &format!("password_file = {users:?}"));
    assert!(node.ready.contains(" (tcp), "), "{}: a datagram cannot authenticate", node.ready);
    let mut stranger = node.connect();
    assert_eq!(ask_binary(&mut stranger, 0x00, b"k", b""), (0x20, b"Auth failure.".to_vec()));
    assert_eq!(stranger.read(&mut [0; 1]).unwrap_or(0), 0, "a stranger may go on");
    let mut alice = node.connect();
    let (plain, message) = (b"PLAIN", b"\0alice\0wonderland");
    assert_eq!(ask_binary(&mut alice, 0x21, plain, b"\0alice\0wonder").0, 0x20);
    assert_eq!(ask_binary(&mut alice, 0x21, plain, message), (0, b"Authenticated".to_vec()));
    assert_eq!(ask_binary(&mut alice, 0x00, b"k", b""), (0x01, b"Not found".to_vec()));
    node.wait_metric("smartswitch_embedded_auth_cmds_total", 2.0);
    assert_eq!(node.metric("smartswitch_embedded_auth_errors_total"), 1.0);
    let mut text = node.connect();
    text.write_all(b"version\r\n").unwrap();
    assert_eq!(text.read(&mut [0; 16]).unwrap_or(0), 0, "text is answered");
}

#[test]
fn a_password_file_that_cannot_be_used_is_named_with_a_remedy() {
    let fails = |name: &str, path: &str| {
        let config = format!("[embedded]\nlisten = \"127.0.0.1:0\"\npassword_file = {path:?}\n");
        let config = support::write_config(name, &config);
        let output = Command::new(SMARTSWITCH)
            .args(["run", "--admin", "127.0.0.1:0", "--config"])
            .arg(config)
            .output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let message = fails("no-users", "/nonexistent/users");
    assert!(message.contains("/nonexistent/users") && message.contains("`password_file`"), "{message}");
    let bad = support::write_config("bad-users", "alice:wonderland\nnonsense\n");
    let message = fails("wrong-users", bad.to_str().unwrap());
    assert!(message.contains("line 2: write `user:password`"), "{message}");
}

#[test]
fn who_is_connected_is_listed() {
    let node = Node::start();
    let mut stream = node.connect();
    let local = stream.local_addr().unwrap();
    stream.write_all(b"stats conns\r\nquit\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.contains(&format!(":addr tcp:{local}\r\n")), "{reply}");
    let settings = node.ask("stats settings\r\n");
    assert!(settings.contains(&format!("STAT tcpport {}\r\n", node.memcached.port())), "{settings}");
    wait("its end", || (!node.ask("stats conns\r\n").contains(&format!("tcp:{local}\r"))).then_some(()));
}
