//! Pools over TCP whose servers are killed, paused and started again.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod support;

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use support::fleet::Fleet;
use support::{DEADLINE, wait};

/// A client with one connection.
struct Client {
    writer: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Client {
    fn new(fleet: &Fleet) -> Self {
        let writer = fleet.node.connect();
        Self { reader: BufReader::new(writer.try_clone().unwrap()), writer }
    }

    /// The first line of the reply to `request`, the others read and dropped.
    fn ask(&mut self, request: &str) -> String {
        self.writer.write_all(request.as_bytes()).unwrap();
        let first = self.line();
        let mut line = first.clone();
        while first.starts_with("VALUE") && line != "END\r\n" && !line.starts_with("SERVER_ERROR") {
            line = self.line();
        }
        first
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the connection was closed");
        line
    }
}

#[test]
fn a_killed_server_fails_only_its_keys_and_only_until_it_is_ejected() {
    let mut fleet = Fleet::start("killed", 3, "cache = 0");
    let keys = fleet.key_of_each();
    let killed = AtomicBool::new(false);
    let stop = AtomicBool::new(false);
    let fleet_ref = &fleet;
    let (killed, stop, keys) = (&killed, &stop, &keys);
    // Each client asks for the key of one server, over and over; returns when it sent what was refused.
    let run = move |server: usize| {
        let mut client = Client::new(fleet_ref);
        let (mut refused, mut asked) = (Vec::new(), 0);
        while !stop.load(Ordering::Relaxed) {
            let sent = Instant::now();
            let reply = client.ask(&format!("get {}\r\n", keys[server]));
            asked += 1;
            if reply.starts_with("SERVER_ERROR") {
                assert!(killed.load(Ordering::Relaxed) && server == 1, "server {server}: {reply}");
                refused.push(sent);
            } else {
                assert!(reply.starts_with("VALUE") || reply == "END\r\n", "{reply}");
            }
        }
        (refused, asked)
    };
    let (outcomes, ejected) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..6).map(|index| scope.spawn(move || run(index % 3))).collect();
        fleet_ref.node.wait_metric("smartswitch_proxy_requests_total", 300.0);
        killed.store(true, Ordering::Relaxed);
        fleet_ref.servers[1].signal(Signal::SIGKILL);
        wait("the ejection", || {
            (fleet_ref.node.metric("smartswitch_proxy_server_alive") == 2.0).then_some(())
        });
        let ejected = Instant::now();
        let seen = fleet_ref.node.metric("smartswitch_proxy_requests_total");
        fleet_ref.node.wait_metric("smartswitch_proxy_requests_total", seen + 1000.0);
        stop.store(true, Ordering::Relaxed);
        (clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>(), ejected)
    });
    for (refused, asked) in outcomes {
        assert!(asked > 10);
        assert!(refused.iter().all(|at| *at <= ejected), "refused after the ejection");
    }
    // Back again it has its keys.
    fleet.servers[1].kill();
    fleet.servers[1].restart();
    wait("the return", || (fleet.node.metric("smartswitch_proxy_server_alive") == 3.0).then_some(()));
    assert_eq!(fleet.node.ask(&format!("set {} 0 0 1\r\n2\r\n", keys[1])), "STORED\r\n");
    assert!(fleet.servers[1].ask(&format!("get {}\r\n", keys[1])).starts_with("VALUE"));
}

#[test]
fn a_paused_server_holds_up_only_its_keys() {
    let fleet = Fleet::start("paused", 2, "reply_timeout_ms = 2000\nprobe_failures = 2");
    let keys = fleet.key_of_each();
    fleet.servers[0].pause();
    let mut slow = Client::new(&fleet);
    let mut quick = Client::new(&fleet);
    slow.writer.write_all(format!("set {} 0 0 1\r\n2\r\n", keys[0]).as_bytes()).unwrap();
    for _ in 0..20 {
        assert!(quick.ask(&format!("get {}\r\n", keys[1])).starts_with("VALUE"));
    }
    slow.writer.set_nonblocking(true).unwrap();
    let early = slow.writer.peek(&mut [0]).map_err(|error| error.kind());
    assert_eq!(early, Err(ErrorKind::WouldBlock), "the others had to wait for it");
    slow.writer.set_nonblocking(false).unwrap();
    assert_eq!(slow.line(), "SERVER_ERROR the server of this key did not answer in time\r\n");
    // Its key goes elsewhere once it is ejected, and comes back with it.
    let get = format!("get {}\r\n", keys[0]);
    wait("the ejection", || (slow.ask(&get) == "END\r\n").then_some(()));
    fleet.servers[0].signal(Signal::SIGCONT);
    wait("the return", || slow.ask(&get).starts_with("VALUE").then_some(()));
    assert_eq!(fleet.node.metric("smartswitch_proxy_server_alive"), 2.0);
}

#[test]
fn no_first_request_fails_after_the_server_was_restarted() {
    let mut fleet = Fleet::start("restarted", 1, "cache = 0");
    let mut client = Client::new(&fleet);
    for _ in 0..20 {
        assert_eq!(client.ask("set k 0 0 1\r\n1\r\n"), "STORED\r\n");
        fleet.servers[0].kill();
        fleet.servers[0].restart();
        assert_eq!(client.ask("get k\r\n"), "END\r\n");
    }
}

#[test]
fn a_write_that_a_paused_server_still_has_is_never_behind_a_cached_value() {
    let fleet = Fleet::start(
        "lingering",
        1,
        "reply_timeout_ms = 500\nlease_ms = 100\nhot_threshold = 2\nauto_eject = false",
    );
    let mut client = Client::new(&fleet);
    for round in 0..5 {
        assert_eq!(client.ask(&format!("set k 0 0 5\r\n{round:04}a\r\n")), "STORED\r\n");
        fleet.servers[0].pause();
        let refused = client.ask(&format!("set k 0 0 5\r\n{round:04}b\r\n"));
        assert!(refused.starts_with("SERVER_ERROR"), "{refused}");
        // Longer than a lease: by time alone the key could be cached again.
        let stopped = Instant::now();
        wait("some leases", || (stopped.elapsed() > Duration::from_millis(500)).then_some(()));
        fleet.servers[0].signal(Signal::SIGCONT);
        // The value changes once, and never back.
        let (mut seen, last) = (String::new(), format!("{round:04}b\r\n"));
        let (deadline, mut changed) = (Instant::now() + DEADLINE, None::<Instant>);
        while changed.is_none_or(|at| at.elapsed() < Duration::from_millis(300)) {
            assert!(Instant::now() < deadline, "the server has not written it yet: {seen}");
            client.writer.write_all(b"get k\r\n").unwrap();
            let head = client.line();
            if head.starts_with("SERVER_ERROR") {
                continue;
            }
            assert_eq!(head, "VALUE k 0 5\r\n");
            let value = client.line();
            assert_eq!(client.line(), "END\r\n");
            assert!(value >= seen, "{value} after {seen}");
            seen = value;
            changed = changed.or_else(|| (seen == last).then(Instant::now));
        }
    }
}
