//! What clients of pools and of the embedded server may do: the built program, real sockets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;

use support::{Node, ask, connect, wait, write_config};

/// A node with a pool `web` in front of another one.
fn behind(server: &Node, name: &str, keys: &str) -> Node {
    let pool = format!(
        "[[pool]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n{keys}\n[[pool.server]]\nname = \"{}\"\n",
        server.memcached
    );
    Node::start_beside(name, "", &pool)
}

/// Whether the other side closes the connection.
fn is_closed(mut stream: &TcpStream) -> bool {
    matches!(stream.read(&mut [0; 64]), Ok(0) | Err(_))
}

#[test]
fn a_pools_limits_hold_for_all_connections_of_a_client() {
    let server = Node::start();
    let keys = "client_requests_per_s = 1\nclient_burst = 10\nmax_value = \"1KiB\"\nmax_ttl_s = 60";
    let node = behind(&server, "limits", keys);
    let pool = node.pool("web");
    let large = format!("set k 0 0 1025\r\n{}\r\n", "v".repeat(1025));
    assert_eq!(ask(pool, &large), "SERVER_ERROR object too large for cache\r\n");
    assert_eq!(ask(pool, "set k 0 0 1\r\n1\r\nmg k t\r\n"), "STORED\r\nHD t60\r\n");
    let replies: Vec<String> = (0..4).map(|_| ask(pool, &"get none\r\n".repeat(10))).collect();
    let busy = replies.concat().matches("SERVER_ERROR this client sends too many requests\r\n").count();
    // A new connection is no new share: of 42 requests 10 pass at once, and those of some seconds.
    assert!((20..=32).contains(&busy), "{busy} of 40 refused");
    node.wait_metric("smartswitch_proxy_refused_client_rate_total", busy as f64);
    node.wait_metric("smartswitch_proxy_refused_too_large_total", 1.0);
}

#[test]
fn a_client_has_so_many_connections_and_no_more() {
    let server = Node::start_configured("crowd-embedded", "", "max_connections_per_client = 2");
    let node = behind(&server, "crowd", "max_connections_per_client = 2");
    for (address, metric) in [
        (server.memcached, "smartswitch_embedded_crowded_clients_total"),
        (node.pool("web"), "smartswitch_proxy_crowded_clients_total"),
    ] {
        let clients = [connect(address), connect(address)];
        for mut client in &clients {
            client.write_all(b"mn\r\n").unwrap();
            client.read_exact(&mut [0; 4]).unwrap();
        }
        let mut reply = String::new();
        connect(address).read_to_string(&mut reply).unwrap();
        assert_eq!(reply, "ERROR Too many open connections\r\n");
        let counts = if address == server.memcached { &server } else { &node };
        counts.wait_metric(metric, 1.0);
        drop(clients);
        wait("a free connection", || {
            let mut client = connect(address);
            let mut reply = [0; 4];
            client.write_all(b"mn\r\n").and_then(|()| client.read_exact(&mut reply)).ok()?;
            (reply == *b"MN\r\n").then_some(())
        });
    }
}

#[test]
fn who_does_not_finish_a_command_is_cut() {
    let server = Node::start_configured("stall-embedded", "", "stall_timeout_s = 1");
    let node = behind(&server, "stall", "stall_timeout_s = 1");
    for (address, node, metric) in [
        (server.memcached, &server, "smartswitch_embedded_stalled_clients_total"),
        (node.pool("web"), &node, "smartswitch_proxy_cut_stalled_total"),
    ] {
        let (mut idle, mut begins, mut sends) = (connect(address), connect(address), connect(address));
        begins.write_all(b"get k").unwrap();
        sends.write_all(b"set k 0 0 1000\r\nv").unwrap();
        assert!(is_closed(&begins) && is_closed(&sends));
        node.wait_metric(metric, 2.0);
        idle.write_all(b"mn\r\n").unwrap();
        idle.read_exact(&mut [0; 4]).unwrap();
    }
}

#[test]
fn who_does_not_read_is_cut() {
    let server = Node::start_configured("unread-embedded", "", "stall_timeout_s = 1");
    // Without a cache nobody else waits behind what it does not read.
    let node = behind(&server, "unread", "stall_timeout_s = 1\ncache = 0");
    let value = "v".repeat(900_000);
    assert_eq!(ask(server.memcached, &format!("set k 0 0 900000\r\n{value}\r\n")), "STORED\r\n");
    for (address, node, metric) in [
        (server.memcached, &server, "smartswitch_embedded_stalled_clients_total"),
        (node.pool("web"), &node, "smartswitch_proxy_cut_stalled_total"),
    ] {
        let mut client = connect(address);
        client.write_all(&b"get k\r\n".repeat(50)).unwrap();
        node.wait_metric(metric, 1.0);
    }
}

fn binary(opcode: u8, key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut head =
        vec![0x80, opcode, 0, key.len() as u8, 0, 0, 0, 0, 0, 0, 0, (key.len() + value.len()) as u8];
    head.resize(24, 0);
    [&head, key, value].concat()
}

/// The status of the reply.
fn ask_binary(mut stream: &TcpStream, request: &[u8]) -> u8 {
    stream.write_all(request).unwrap();
    let mut header = [0; 24];
    stream.read_exact(&mut header).unwrap();
    stream.read_exact(&mut vec![0; usize::from(header[11])]).unwrap();
    header[7]
}

#[test]
fn a_pool_with_a_password_file_serves_who_authenticates() {
    let server = Node::start();
    let users = write_config("pool-users", "alice:wonderland\n");
    let node = behind(&server, "pool-passwords", &format!("password_file = {users:?}"));
    let stranger = connect(node.pool("web"));
    assert_eq!(ask_binary(&stranger, &binary(0x00, b"k", b"")), 0x20);
    assert!(is_closed(&stranger), "a stranger may go on");
    let alice = connect(node.pool("web"));
    assert_eq!(ask_binary(&alice, &binary(0x21, b"PLAIN", b"\0alice\0wrong")), 0x20);
    assert_eq!(ask_binary(&alice, &binary(0x21, b"PLAIN", b"\0alice\0wonderland")), 0);
    assert_eq!(ask_binary(&alice, &binary(0x00, b"k", b"")), 1);
    assert_eq!(node.metric("smartswitch_proxy_auth_cmds_total"), 2.0);
    assert_eq!(node.metric("smartswitch_proxy_auth_errors_total"), 1.0);
}
