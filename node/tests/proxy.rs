//! Pools of real memcached servers over TCP, end to end.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use support::fleet::{Fleet, Memcached};
use support::{connect, wait};

/// xorshift64* (Vigna 2016).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

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

/// Random commands on few keys, none of whose replies tells servers apart.
fn random_commands(random: &mut Random) -> Vec<u8> {
    let mut commands = Vec::new();
    for _ in 0..200 {
        let key = format!("k{}", random.below(12));
        let number = random.below(100);
        let len = [0, 1, 10, 3000, 70_000][random.below(5)];
        let value = "v".repeat(len);
        let noreply = ["", " noreply"][random.below(2)];
        let verb = ["set", "add", "replace", "append", "prepend"][random.below(5)];
        commands.extend(
            match random.below(22) {
                0..=3 => format!("{verb} {key} {number} 0 {len}{noreply}\r\n{value}\r\n"),
                4 => format!("set {key} 0 0 2\r\n{number:02}\r\n"),
                5 => format!("incr {key} {number}{noreply}\r\n"),
                6 => format!("decr {key} {number}\r\n"),
                7 => format!("delete {key}{noreply}\r\n"),
                8 => format!("touch {key} 0{noreply}\r\n"),
                9 => format!("gat 0 {key}\r\n"),
                10 => format!("ms {key} {len} q F{number}\r\n{value}\r\n"),
                11 => format!("ms {key} {len} ME O{number}\r\n{value}\r\n"),
                12 => format!("mg {key} v f k q O{number}\r\n"),
                13 => format!("mg {key} s t\r\n"),
                14 => format!("md {key} q O{number}\r\n"),
                15 => format!("ma {key} q N0 J{number} v\r\n"),
                16 => format!("ma {key} v D{number}\r\n"),
                17 => "mn\r\n".to_owned(),
                18 => {
                    ["nonsense\r\n", "get\r\n", "set a b c d\r\n", "mg a Z\r\n"][random.below(4)].to_owned()
                }
                19 => format!("set {key} 0 0 2\r\nabcd\r\n"),
                _ => format!("get {key}\r\n"),
            }
            .bytes(),
        );
    }
    commands.extend(b"\r\n\r\nflush_all\r\nmg the-end k Olast\r\n");
    commands
}

/// The reply to `commands`, sent in pieces of random lengths.
fn converse(mut stream: TcpStream, commands: &[u8], random: &mut Random) -> Vec<u8> {
    let mut reader = stream.try_clone().unwrap();
    let reading = std::thread::spawn(move || {
        let (mut reply, mut piece) = (Vec::new(), vec![0; 65536]);
        while !reply.ends_with(b"EN kthe-end Olast\r\n") {
            let len = reader.read(&mut piece).unwrap();
            assert!(len > 0, "closed after {}", String::from_utf8_lossy(&reply));
            reply.extend_from_slice(&piece[..len]);
        }
        reply
    });
    let mut rest = commands;
    while !rest.is_empty() {
        let most = [3, 50, 2000, 100_000][random.below(4)];
        let (piece, after) = rest.split_at(rest.len().min(1 + random.below(most)));
        stream.write_all(piece).unwrap();
        rest = after;
    }
    reading.join().unwrap()
}

/// `MEMCACHED_SEED` repeats a run.
#[test]
fn the_bytes_are_those_of_memcached() {
    let fleet = Fleet::start("differential", 2, "hot_threshold = 1");
    let alone = Memcached::start();
    let given = std::env::var("MEMCACHED_SEED").ok().map(|seed| seed.parse().unwrap());
    let first = given.unwrap_or_else(|| u64::from(std::process::id()) * 1000 + 1);
    for seed in first..first + if given.is_some() { 1 } else { 25 } {
        let mut random = Random(seed | 1 << 40);
        let commands = random_commands(&mut random);
        let expected = converse(connect(([127, 0, 0, 1], alone.port).into()), &commands, &mut random);
        let reply = converse(fleet.node.connect(), &commands, &mut random);
        if reply != expected {
            let at = reply.iter().zip(&expected).position(|(one, other)| one != other);
            let at = at.unwrap_or(reply.len().min(expected.len()));
            let near = |bytes: &[u8]| {
                String::from_utf8_lossy(&bytes[at.saturating_sub(100)..bytes.len().min(at + 100)])
                    .into_owned()
            };
            panic!("MEMCACHED_SEED={seed}, byte {at}:\n{}\ninstead of\n{}", near(&reply), near(&expected));
        }
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
