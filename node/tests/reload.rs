//! A new configuration for a running node: what is shown, what is taken on, and that no request is lost.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{DEADLINE, Node, SMARTSWITCH, wait, write_config};

/// Requests that a client has under way.
const DEPTH: usize = 8;

/// Servers of a pool: nodes with nothing but the embedded store.
struct Servers(Vec<Node>);

impl Servers {
    fn start(count: usize) -> Self {
        Self((0..count).map(|_| Node::start()).collect())
    }

    /// A pool over the first `count` of them.
    fn pool(&self, name: &str, listen: &str, count: usize, more: &str) -> String {
        let server = |(index, node): (usize, &Node)| {
            format!("[[pool.server]]\nname = \"mc{index}\"\naddress = \"{}\"\n", node.memcached)
        };
        let servers: String = self.0.iter().enumerate().take(count).map(server).collect();
        format!("[[pool]]\nname = \"{name}\"\nlisten = \"{listen}\"\n{more}\n{servers}")
    }
}

/// A node that serves pools, and its configuration.
struct Proxy {
    node: Node,
    file: PathBuf,
}

const ADMIN: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n";
const EMBEDDED: &str = "[embedded]\nlisten = \"127.0.0.1:0\"\n";

impl Proxy {
    fn start(name: &str, pools: &str) -> Self {
        let file = write_config(name, &format!("{ADMIN}{EMBEDDED}{pools}"));
        let node = Node::start_with(&["--config", file.to_str().unwrap()]);
        Self { node, file }
    }

    fn pool(&self, name: &str) -> SocketAddr {
        self.door(&format!("pool {name}"))
    }

    fn door(&self, door: &str) -> SocketAddr {
        let rest = self.node.ready.split_once(&format!("{door} ")).unwrap().1;
        rest.split(',').next().unwrap().parse().unwrap()
    }

    fn write(&self, pools: &str) {
        std::fs::write(&self.file, format!("{ADMIN}{EMBEDDED}{pools}")).unwrap();
    }

    fn reload(&self, options: &[&str]) -> Output {
        let admin = self.node.admin.to_string();
        Command::new(SMARTSWITCH).args(["reload", "--admin", &admin]).args(options).output().unwrap()
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn connect(address: SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_nodelay(true).unwrap();
    BufReader::new(stream)
}

fn line(client: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    client.read_line(&mut line).unwrap();
    line
}

fn ask(client: &mut BufReader<TcpStream>, request: &str) -> String {
    client.get_mut().write_all(request.as_bytes()).unwrap();
    line(client)
}

/// Writes keys of its own again and again, some requests ahead of the replies, until told to stop. Every reply is `STORED`.
fn write_on(address: SocketAddr, client: usize, stop: &AtomicBool, done: &AtomicU64) {
    let mut connection = connect(address);
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        let requests: String = (sent..sent + DEPTH)
            .map(|number| format!("set k{client}-{} 0 0 3\r\nabc\r\n", number % 100))
            .collect();
        // In two pieces: a request is cut in the middle.
        let (one, other) = requests.split_at(requests.len() / 2 + sent % 7);
        connection.get_mut().write_all(one.as_bytes()).unwrap();
        connection.get_mut().write_all(other.as_bytes()).unwrap();
        for _ in 0..DEPTH {
            assert_eq!(line(&mut connection), "STORED\r\n", "client {client}");
            done.fetch_add(1, Ordering::Relaxed);
        }
        sent += DEPTH;
    }
}

#[test]
fn no_request_is_lost_while_pools_change() {
    let servers = Servers::start(3);
    let web = |count, more: &str| servers.pool("web", "127.0.0.1:0", count, more);
    let proxy = Proxy::start("reload-load", &web(1, ""));
    let address = proxy.pool("web");
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..6)
        .map(|client| {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            thread::spawn(move || write_on(address, client, &stop, &done))
        })
        .collect();
    let shapes =
        [web(2, ""), web(3, "connections = 2"), web(1, "cache = 0"), web(3, "lease_ms = 200"), web(2, "")];
    for round in 0..20 {
        let before = done.load(Ordering::Relaxed);
        proxy.write(&shapes[round % shapes.len()]);
        let output = proxy.reload(&[]);
        assert!(output.status.success(), "{output:?}");
        wait("requests after the reload", || (done.load(Ordering::Relaxed) > before + 200).then_some(()));
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(ask(&mut connect(address), "version\r\n"), "VERSION 1.6.18\r\n");
}

#[test]
fn no_request_is_lost_while_a_route_changes() {
    let servers = Servers::start(3);
    let pool = |name: &str, count: usize| servers.pool(name, "127.0.0.1:0", count, "");
    let pools = format!("{}{}", pool("web", 1), pool("other", 2));
    let route =
        |keys: &str| format!("{pools}[[route]]\nname = \"front\"\nlisten = \"127.0.0.1:0\"\n{keys}\n");
    let shapes = [
        route("pool = \"web\""),
        route("pool = \"other\"\nfailover = [\"web\"]"),
        route("pool = \"web\"\nreplicas = [\"other\"]"),
        route("pool = \"other\"\n[[route.prefix]]\nprefix = \"k1\"\npool = \"web\""),
        route("pool = \"web\"\nwarm_from = \"other\""),
    ];
    let proxy = Proxy::start("reload-route", &shapes[0]);
    let address = proxy.door("route front");
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|client| {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            thread::spawn(move || write_on(address, client, &stop, &done))
        })
        .collect();
    for shape in shapes.iter().cycle().skip(1).take(10) {
        let before = done.load(Ordering::Relaxed);
        proxy.write(shape);
        let output = proxy.reload(&[]);
        assert!(output.status.success(), "{output:?}");
        wait("requests after the reload", || (done.load(Ordering::Relaxed) > before + 200).then_some(()));
    }
    proxy.write(&shapes[1]);
    let shown = stdout(&proxy.reload(&["--dry-run"]));
    assert!(shown.contains("~ route.front.pool: \"web\" -> \"other\""), "{shown}");
    assert!(!shown.contains("restart"), "{shown}");
    stop.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().unwrap());
}

#[test]
fn idle_clients_follow_their_pool() {
    let servers = Servers::start(2);
    let proxy = Proxy::start("reload-idle", &servers.pool("web", "127.0.0.1:0", 1, ""));
    let mut client = connect(proxy.pool("web"));
    assert_eq!(ask(&mut client, "set k 0 0 1\r\n1\r\n"), "STORED\r\n");
    // Half of a request goes along.
    client.get_mut().write_all(b"delete ").unwrap();
    let moved = servers.pool("web", "127.0.0.1:0", 2, "").replace("mc0", "other");
    proxy.write(&moved);
    assert!(proxy.reload(&[]).status.success());
    assert_eq!(ask(&mut client, "none\r\n"), "NOT_FOUND\r\n");
    proxy.node.wait_metric("smartswitch_proxy_connections", 1.0);
}

#[test]
fn a_pool_that_is_gone_closes_its_clients_and_a_new_one_is_served() {
    let servers = Servers::start(1);
    let pool = |name: &str| servers.pool(name, "127.0.0.1:0", 1, "");
    let proxy = Proxy::start(
        "reload-gone",
        &format!("{}{}", pool("a"), pool("b").replace(":0\"", ":1\"").replace("127.0.0.1:1", "127.0.0.2:0")),
    );
    let (mut a, mut b) = (connect(proxy.pool("a")), connect(proxy.pool("b")));
    assert_eq!(ask(&mut a, "version\r\n"), ask(&mut b, "version\r\n"));
    proxy.write(&pool("a"));
    assert!(proxy.reload(&[]).status.success());
    assert_eq!(line(&mut b), "", "the end of the connection");
    assert_eq!(ask(&mut a, "version\r\n"), "VERSION 1.6.18\r\n");
}

#[test]
fn the_difference_is_shown_first() {
    let servers = Servers::start(2);
    let web = |count, more: &str| servers.pool("web", "127.0.0.1:0", count, more);
    let proxy = Proxy::start("reload-shown", &web(1, ""));
    assert!(stdout(&proxy.reload(&["--dry-run"])).contains("nothing has changed"));
    proxy.write(&(web(2, "cache = 0") + "[telemetry]\nsample = 0.5\n"));
    for options in [&["--dry-run"][..], &["--dry-run"], &[]] {
        let output = proxy.reload(options);
        let text = stdout(&output);
        assert!(output.status.success(), "{output:?}");
        for expected in [
            "+ pool.web.cache = 0\n",
            "+ pool.web.server.mc1.address = ",
            "+ telemetry.sample = 0.5   (needs a restart)\n",
            "effect: 2, that wait for a restart: 1\n",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
    }
    let text = stdout(&proxy.reload(&["--dry-run", "--json"]));
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        report["changes"].as_array().unwrap().len(),
        1,
        "what waits for a restart is shown on: {text}"
    );
    assert_eq!(report["changes"][0]["takes_effect"], "restart");
}

#[test]
fn a_file_with_errors_changes_nothing() {
    let servers = Servers::start(1);
    let good = servers.pool("web", "127.0.0.1:0", 1, "");
    let proxy = Proxy::start("reload-errors", &good);
    let mut client = connect(proxy.pool("web"));
    proxy.write(&good.replace("listen", "lisen"));
    let output = proxy.reload(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("unknown") || stdout(&output).contains("lisen"), "{output:?}");
    assert_eq!(ask(&mut client, "version\r\n"), "VERSION 1.6.18\r\n");
    // An address that is taken: nothing changes either.
    proxy.write(&good.replace("127.0.0.1:0", &proxy.node.admin.to_string()));
    let output = proxy.reload(&[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(ask(&mut client, "version\r\n"), "VERSION 1.6.18\r\n");
}

#[test]
fn sighup_reloads() {
    let servers = Servers::start(2);
    let proxy = Proxy::start("reload-hangup", &servers.pool("web", "127.0.0.1:0", 1, ""));
    proxy.write(&servers.pool("web", "127.0.0.1:0", 2, ""));
    kill(Pid::from_raw(proxy.node.pid() as i32), Signal::SIGHUP).unwrap();
    wait("the second server", || proxy.node.http("/api/status").1.contains("\"mc1\"").then_some(()));
}

#[test]
fn a_reload_must_be_asked_for_by_more_than_a_page() {
    let proxy = Proxy::start("reload-header", "");
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let url = format!("http://{}/api/reload", proxy.node.admin);
    assert_eq!(agent.post(&url).send_empty().unwrap().status(), 403);
    assert_eq!(agent.post(&url).header("x-smartswitch", "test").send_empty().unwrap().status(), 200);
}
