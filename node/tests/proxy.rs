//! Pools of real memcached servers over TCP, end to end.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use support::fleet::Fleet;
use support::wait;

#[test]
fn a_pool_is_one_memcached() {
    let fleet = Fleet::start("one", 3, "hash = \"md5\"");
    let node = &fleet.node;
    assert_eq!(node.ready, format!("ready: pool web {}, admin http://{}/\n", node.memcached, node.admin));
    let keys: Vec<String> = (0..60).map(|number| format!("k{number}")).collect();
    let sets: String = keys.iter().map(|key| format!("set {key} 5 0 3 noreply\r\nabc\r\n")).collect();
    assert_eq!(node.ask(&format!("{sets}version\r\n")), "VERSION 1.6.18\r\n");
    for server in &fleet.servers {
        assert!(!server.ask("stats\r\n").contains("curr_items 0\r\n"), "a server has no key");
    }
    let reply = node.ask(&format!("get {} none\r\nget k1\r\n", keys.join(" ")));
    for key in &keys {
        assert!(reply.contains(&format!("VALUE {key} 5 3\r\nabc\r\n")), "{key} is not in {reply}");
    }
    let items: usize = keys.iter().map(|key| format!("VALUE {key} 5 3\r\nabc\r\n").len()).sum();
    let expected = items + "END\r\nVALUE k1 5 3\r\nabc\r\nEND\r\n".len();
    assert_eq!(reply.len(), expected, "{reply}");
    assert_eq!(node.ask("incr n 1\r\nflush_all\r\nget k1 k2 k3\r\n"), "NOT_FOUND\r\nOK\r\nEND\r\n");
    let statistics = node.ask("stats\r\n");
    assert!(
        statistics.contains("STAT threads 6\r\n") && statistics.contains("STAT cmd_flush "),
        "{statistics}"
    );
}

#[test]
fn memccapable_finds_nothing_wrong() {
    let fleet = Fleet::start("capable", 2, "");
    let port = fleet.node.memcached.port().to_string();
    for protocol in ["-a", "-b"] {
        let output = Command::new("memccapable").args(["-h", "127.0.0.1", "-p", &port, protocol]).output();
        let output = output.expect("memccapable is missing: apt-get install libmemcached-tools");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("All tests passed"), "{protocol}: {text}");
    }
}

fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn large_values_are_not_held() {
    const LEN: usize = 100 << 20;
    let fleet = Fleet::start("large", 2, "cache = 0\nreply_timeout_ms = 10000");
    let before = resident_bytes(fleet.node.pid());
    let mut stream = fleet.node.connect();
    let mut writer = stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        writer.write_all(format!("set big 0 0 {LEN}\r\n").as_bytes()).unwrap();
        let piece = vec![b'v'; 1 << 20];
        (0..LEN / piece.len()).for_each(|_| writer.write_all(&piece).unwrap());
        writer.write_all(b"\r\nget big\r\n").unwrap();
    });
    let mut head = vec![0; "STORED\r\n".len() + format!("VALUE big 0 {LEN}\r\n").len()];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head, format!("STORED\r\nVALUE big 0 {LEN}\r\n").as_bytes());
    let mut piece = vec![0; 1 << 20];
    for _ in 0..LEN / piece.len() {
        stream.read_exact(&mut piece).unwrap();
        assert!(piece.iter().all(|byte| *byte == b'v'));
    }
    let mut end = [0; 7];
    stream.read_exact(&mut end).unwrap();
    assert_eq!(&end, b"\r\nEND\r\n");
    writing.join().unwrap();
    let grown = resident_bytes(fleet.node.pid()).saturating_sub(before);
    assert!(grown < 16 << 20, "it has grown by {grown} bytes");
}

#[test]
fn an_idle_connection_costs_little_memory() {
    const CLIENTS: usize = 4000;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    assert!(most > 2 * CLIENTS as u64, "raise `ulimit -Hn` beyond {}", 2 * CLIENTS);
    let fleet = Fleet::start("idle", 2, "");
    let ask = |stream: &mut TcpStream, request: &[u8], reply: &[u8]| {
        stream.write_all(request).unwrap();
        let mut got = vec![0; reply.len()];
        stream.read_exact(&mut got).unwrap();
        assert_eq!(got, reply);
    };
    let open = || {
        let mut stream = fleet.node.connect();
        ask(&mut stream, b"get none\r\nget a b c d e\r\n", b"END\r\nEND\r\n");
        stream
    };
    let mut clients: Vec<TcpStream> = (0..100).map(|_| open()).collect();
    let before = resident_bytes(fleet.node.pid());
    clients.extend((0..CLIENTS).map(|_| open()));
    fleet.node.wait_metric("smartswitch_proxy_connections", clients.len() as f64);
    let each = resident_bytes(fleet.node.pid()).saturating_sub(before) / CLIENTS as u64;
    assert!(each <= 8192, "{each} bytes for each");
    clients.iter_mut().step_by(100).for_each(|client| ask(client, b"get none\r\n", b"END\r\n"));
}

#[test]
fn a_full_pool_and_a_stranger_are_refused() {
    let fleet = Fleet::start("full", 1, "max_connections = 1");
    let mut first = fleet.node.connect();
    first.write_all(b"mn\r\n").unwrap();
    first.read_exact(&mut [0; 4]).unwrap();
    let mut reply = String::new();
    fleet.node.connect().read_to_string(&mut reply).unwrap();
    assert_eq!(reply, "ERROR Too many open connections\r\n");
    drop(first);
    wait("a free connection", || {
        let mut stream = fleet.node.connect();
        stream.write_all(b"mn\r\n").ok()?;
        let mut reply = [0; 4];
        stream.read_exact(&mut reply).ok()?;
        (reply == *b"MN\r\n").then_some(())
    });
    let fleet = Fleet::start("stranger", 1, "clients = [\"10.1.2.0/24\"]");
    assert_eq!(fleet.node.connect().read(&mut [0; 16]).unwrap_or(0), 0);
    fleet.node.wait_metric("smartswitch_proxy_refused_clients_total", 1.0);
}

#[test]
fn a_command_in_flight_is_finished_before_the_end() {
    let mut fleet = Fleet::start("drain", 2, "");
    let mut idle = fleet.node.connect();
    idle.write_all(b"mn\r\n").unwrap();
    idle.read_exact(&mut [0; 4]).unwrap();
    let mut busy = fleet.node.connect();
    busy.write_all(b"mn\r\nset k 0 0 5\r\nhe").unwrap();
    busy.read_exact(&mut [0; 4]).unwrap();
    let pid = nix::unistd::Pid::from_raw(fleet.node.pid() as i32);
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    // The idle connection is closed; that tells that the node drains.
    assert_eq!(idle.read(&mut [0; 16]).unwrap_or(0), 0);
    busy.write_all(b"llo\r\n").unwrap();
    let mut reply = String::new();
    busy.read_to_string(&mut reply).unwrap();
    assert_eq!(reply, "STORED\r\n");
    assert_eq!(fleet.node.stop(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn hot_keys_are_answered_here_and_never_from_before_a_write() {
    let fleet = Fleet::start("hot", 2, "hot_threshold = 3");
    let mut stream = fleet.node.connect();
    let mut ask = |request: &str| {
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = vec![0; 4096];
        let len = stream.read(&mut reply).unwrap();
        String::from_utf8(reply[..len].to_vec()).unwrap()
    };
    for round in 0..50 {
        assert_eq!(ask(&format!("set k 0 0 3\r\n{round:03}\r\n")), "STORED\r\n");
        for _ in 0..20 {
            assert_eq!(ask("get k\r\n"), format!("VALUE k 0 3\r\n{round:03}\r\nEND\r\n"));
        }
    }
    fleet.node.wait_metric("smartswitch_proxy_hits_total", 100.0);
    let (_, status) = fleet.node.http("/api/status");
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["pools"][0]["name"], "web");
    assert!(status["pools"][0]["counters"]["get_cached"].as_u64().unwrap() >= 100, "{status}");
    let (_, metrics) = fleet.node.http("/metrics");
    for expected in [
        "smartswitch_proxy_requests_total{pool=\"web\",verb=\"set\",outcome=\"done\"} 50\n",
        "smartswitch_proxy_server_alive{pool=\"web\",server=\"mc0\"} 1\n",
        "# TYPE smartswitch_proxy_server_seconds histogram\n",
        "smartswitch_proxy_server_seconds_bucket{pool=\"web\",le=\"+Inf\"} ",
    ] {
        assert!(metrics.contains(expected), "{expected} is not in\n{metrics}");
    }
}

#[test]
fn a_stale_item_is_made_anew_by_a_client_and_not_by_the_node() {
    let fleet = Fleet::start("stale", 1, "cache = \"1MiB\"\nhot_threshold = 2");
    assert_eq!(fleet.node.ask("set k 0 0 1\r\n1\r\nmd k I T60\r\n"), "STORED\r\nHD\r\n");
    wait("a fill that wins", || {
        fleet.node.ask("get k\r\nget k\r\n");
        (fleet.node.metric("smartswitch_proxy_tokens_given_back_total") >= 1.0).then_some(())
    });
    let asked = fleet.node.ask("mg k v\r\nmg k v\r\n");
    assert_eq!(asked, "VA 1 X W\r\n1\r\nVA 1 Z X\r\n1\r\n");
}
