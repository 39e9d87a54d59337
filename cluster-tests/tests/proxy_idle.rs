//! Connections that are idle, on either side of the node.
#![allow(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

use std::thread;
use std::time::{Duration, Instant};

use cluster_tests::loopback::Service;
use cluster_tests::memcached::TcpClient;
use cluster_tests::open_files;
use cluster_tests::proxied::Proxied;
use cluster_tests::wait;

const CONNECTIONS: usize = 10_000;
/// What the node may keep for an idle connection, the kernel's part aside.
const BYTES_PER_CONNECTION: u64 = 8 << 10;
/// Long enough for any answer that does not wait for the others.
const AT_ONCE: Duration = Duration::from_millis(200);

#[test]
fn ten_thousand_idle_connections_cost_little() {
    // Besides the connections: logs, listeners, servers.
    open_files::allow(CONNECTIONS as u64 + 200).unwrap();
    let pool =
        Proxied::start("many", 2, |pool| pool.max_connections = Some(CONNECTIONS as u32 + 10)).unwrap();
    let value = vec![b'v'; 4000];
    let set = [&b"set k 0 0 4000\r\n"[..], &value, b"\r\n"].concat();
    let get = |client: &mut TcpClient| client.ask(b"get k\r\n", |reply| reply.ends_with(b"END\r\n")).unwrap();
    let connect = |_| {
        let mut client = TcpClient::connect(pool.address()).unwrap();
        // A client that has worked: its buffers were in use.
        assert_eq!(client.ask(&set, |reply| reply.ends_with(b"\r\n")).unwrap(), b"STORED\r\n");
        assert!(get(&mut client).len() > value.len());
        client
    };
    // What the node needs to serve at all is not the connections'.
    let first: Vec<TcpClient> = (0..10).map(connect).collect();
    let before = resident_bytes(&pool.node);
    let mut clients: Vec<TcpClient> = (0..CONNECTIONS - first.len()).map(connect).collect();
    let each = resident_bytes(&pool.node).saturating_sub(before) / clients.len() as u64;
    println!("{each} bytes for each idle connection");
    assert!(each <= BYTES_PER_CONNECTION, "{each} bytes for each of {} idle connections", clients.len());
    let connected = pool.admin().metrics().unwrap().sum("proxy_connections");
    assert_eq!(connected, CONNECTIONS as f64);
    for index in [0, 1, clients.len() / 2, clients.len() - 1] {
        let mut ask = |_| {
            let asked = Instant::now();
            assert!(get(&mut clients[index]).len() > value.len());
            asked.elapsed()
        };
        // Others may have the processor for a moment; those that are idle are there each time.
        let took: Vec<Duration> = (0..5).map(&mut ask).collect();
        let quick = took.iter().any(|took| *took < AT_ONCE);
        assert!(quick, "{took:?} for requests among {CONNECTIONS} idle connections");
    }
}

/// The memory of a process that is in use (`VmRSS` of proc(5)), in bytes.
fn resident_bytes(service: &Service) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.process_id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    1024 * line.trim().strip_suffix("kB").unwrap().trim().parse::<u64>().unwrap()
}

/// A request, and how its reply ends.
struct Request {
    name: &'static str,
    bytes: Vec<u8>,
    reply: &'static [u8],
    /// Servers that it goes to.
    servers: u64,
}

/// Servers close connections that are idle for a second. The first request after that is answered like any other.
#[test]
fn the_first_request_after_idle_does_not_fail() {
    let text = |name, bytes: &[u8], reply| Request { name, bytes: bytes.to_vec(), reply, servers: 1 };
    let large = [&b"set 0-key 0 0 300000\r\n"[..], &[b'v'; 300_000], b"\r\n"].concat();
    let many: String = (0..50).map(|key| format!(" {key}-key")).collect();
    let delete = b"\x80\x04\0\x05\0\0\0\0\0\0\0\x05\0\0\0\x07\0\0\0\0\0\0\0\x000-key";
    let absent = b"\0\0\0\x09\0\0\0\x07\0\0\0\0\0\0\0\0Not found";
    let requests = [
        text("get", b"get 0-key\r\n", b"END\r\n"),
        text("set", b"set 0-key 0 0 1\r\n1\r\n", b"STORED\r\n"),
        text("quiet", b"set 0-key 0 0 1 noreply\r\n1\r\nmg 0-key v\r\n", b"VA 1\r\n1\r\n"),
        text("large", &large, b"STORED\r\n"),
        text("binary", delete, absent),
        Request { servers: 2, ..text("many", format!("get{many}\r\n").as_bytes(), b"END\r\n") },
    ];
    thread::scope(|scope| {
        for request in &requests {
            scope.spawn(|| request.is_answered_after_idle());
        }
    });
}

impl Request {
    fn is_answered_after_idle(&self) {
        let pool =
            Proxied::start_with(&format!("idle-{}", self.name), 2, &["-o", "idle_timeout=1"], |pool| {
                pool.cache = Some("0");
            });
        let pool = pool.unwrap();
        let kicks =
            || pool.servers.iter().map(|server| server.stat("idle_kicks").unwrap().unwrap()).sum::<u64>();
        let mut client = TcpClient::connect(pool.address()).unwrap();
        for round in 0..3 {
            let before = kicks();
            let reply = client.ask(&self.bytes, |reply| reply.ends_with(self.reply) || is_failure(reply));
            let reply = reply.unwrap_or_else(|error| panic!("{} in round {round}: {error}", self.name));
            assert!(reply.ends_with(self.reply), "{} in round {round}: {}", self.name, reply.escape_ascii());
            wait::until_true("servers to close idle connections", Duration::from_secs(20), || {
                kicks() >= before + self.servers
            })
            .unwrap();
        }
    }
}

/// `SERVER_ERROR`, or the status that stands for it.
fn is_failure(reply: &[u8]) -> bool {
    reply.windows(12).any(|part| part == b"SERVER_ERROR") || reply.get(7) == Some(&0x86)
}
