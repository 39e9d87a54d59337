//! TLS to clients and to servers: the built program, real sockets, OpenSSL and a real memcached.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use support::free_address::free_address;
use support::{Node, connect, wait, write_config};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

type Client = StreamOwned<ClientConnection, TcpStream>;

/// A certificate authority and its files.
struct Authority {
    name: String,
    issuer: Issuer<'static, KeyPair>,
    ca: PathBuf,
}

/// A certificate and its key, in files.
struct Identity {
    certificate: PathBuf,
    key: PathBuf,
}

/// OpenSSL takes a certificate for self-signed whose name is that of who signed it.
fn named(name: &str, hosts: Vec<String>) -> CertificateParams {
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = named(name, vec![]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let ca = write_config(&format!("{name}-ca"), &certificate.pem());
        Self { name: name.to_owned(), issuer: Issuer::new(params, key), ca }
    }

    fn sign(&self, host: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = named(host, vec![host.to_owned()]);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let file = |kind: &str, text: &str| write_config(&format!("{}-{host}-{kind}", self.name), text);
        Identity { certificate: file("crt", &certificate.pem()), key: file("key", &key.serialize_pem()) }
    }

    /// What a client trusts and shows.
    fn client(
        &self,
        version: &'static SupportedProtocolVersion,
        shows: Option<&Identity>,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.ca).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_protocol_versions(&[version]).with_root_certificates(roots);
        Arc::new(match shows {
            None => builder.with_no_client_auth(),
            Some(Identity { certificate, key }) => builder
                .with_client_auth_cert(
                    vec![CertificateDer::from_pem_file(certificate).unwrap()],
                    PrivateKeyDer::from_pem_file(key).unwrap(),
                )
                .unwrap(),
        })
    }
}

impl Identity {
    /// The keys of a `[....tls]` section.
    fn keys(&self) -> String {
        format!("certificate = {:?}\nkey = {:?}\n", self.certificate, self.key)
    }
}

fn dial(address: SocketAddr, config: &Arc<ClientConfig>) -> Client {
    let name = "127.0.0.1".try_into().unwrap();
    StreamOwned::new(ClientConnection::new(Arc::clone(config), name).unwrap(), connect(address))
}

fn ask(client: &mut Client, request: &[u8], len: usize) -> Vec<u8> {
    client.write_all(request).unwrap();
    let mut reply = vec![0; len];
    client.read_exact(&mut reply).unwrap();
    reply
}

#[test]
fn both_versions_are_spoken_and_sessions_resumed() {
    let authority = Authority::new("versions");
    let identity = authority.sign("127.0.0.1");
    let node = Node::start_beside("tls-versions", "", &format!("[embedded.tls]\n{}", identity.keys()));
    assert!(node.ready.contains(" (tcp), "), "{}: datagrams are not encrypted", node.ready);
    let value = "v".repeat(900_000);
    for version in [&TLS12, &TLS13] {
        let config = authority.client(version, None);
        let mut first = dial(node.memcached, &config);
        let stored = ask(&mut first, format!("set k 0 0 900000\r\n{value}\r\n").as_bytes(), 8);
        assert_eq!(stored, b"STORED\r\n");
        let expected = format!("VALUE k 0 900000\r\n{value}\r\nEND\r\n").repeat(3);
        let reply = ask(&mut first, b"get k\r\nget k\r\nget k\r\n", expected.len());
        assert!(reply == expected.as_bytes(), "{version:?}");
        let mut second = dial(node.memcached, &config);
        assert_eq!(ask(&mut second, b"mn\r\n", 4), b"MN\r\n");
        assert_eq!(second.conn.handshake_kind(), Some(HandshakeKind::Resumed), "{version:?}");
    }
    assert_eq!(node.metric("smartswitch_embedded_handshakes_total"), 4.0);
    assert_eq!(node.metric("smartswitch_embedded_handshakes_resumed_total"), 2.0);
    // Who speaks no TLS is not answered in the clear.
    let mut plain = connect(node.memcached);
    plain.write_all(b"version\r\n").unwrap();
    let mut reply = Vec::new();
    _ = plain.read_to_end(&mut reply);
    assert!(!reply.starts_with(b"VERSION"), "{reply:?}");
    node.wait_metric("smartswitch_embedded_handshakes_failed_total", 1.0);
}

#[test]
fn openssl_is_served_to_the_last_byte() {
    let authority = Authority::new("openssl");
    let identity = authority.sign("127.0.0.1");
    let node = Node::start_beside("tls-openssl", "", &format!("[embedded.tls]\n{}", identity.keys()));
    let mut client = Command::new("openssl")
        .args([
            "s_client",
            "-quiet",
            "-verify_return_error",
            "-connect",
            &node.memcached.to_string(),
            "-CAfile",
        ])
        .arg(&authority.ca)
        .args(["-verify_ip", "127.0.0.1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl is missing: apt-get install openssl");
    let mut requests = client.stdin.take().unwrap();
    let value = "v".repeat(500_000);
    write!(requests, "set k 0 0 500000\r\n{value}\r\n{}quit\r\n", "get k\r\n".repeat(4)).unwrap();
    let mut reply = Vec::new();
    client.stdout.take().unwrap().read_to_end(&mut reply).unwrap();
    let expected = format!("STORED\r\n{}", format!("VALUE k 0 500000\r\n{value}\r\nEND\r\n").repeat(4));
    assert_eq!(reply.len(), expected.len());
    assert!(reply == expected.as_bytes());
    drop(requests);
    client.wait().unwrap();
}

#[test]
fn clients_without_the_right_certificate_are_not_served() {
    let (authority, strangers) = (Authority::new("mutual"), Authority::new("strangers"));
    let identity = authority.sign("127.0.0.1");
    let tls = format!("[embedded.tls]\n{}client_ca = {:?}\n", identity.keys(), authority.ca);
    let node = Node::start_beside("tls-mutual", "", &tls);
    let known = authority.client(&TLS13, Some(&authority.sign("known")));
    assert_eq!(ask(&mut dial(node.memcached, &known), b"mn\r\n", 4), b"MN\r\n");
    let stranger = strangers.sign("stranger");
    for shows in [None, Some(&stranger)] {
        let mut client = dial(node.memcached, &authority.client(&TLS13, shows));
        let asked = client.write_all(b"mn\r\n").and_then(|()| client.read(&mut [0; 4]));
        assert!(asked.is_err(), "{asked:?}");
    }
    node.wait_metric("smartswitch_embedded_handshakes_failed_total", 2.0);
}

/// A memcached that speaks TLS and wants a certificate of its clients.
struct Memcached {
    process: Child,
    address: SocketAddr,
}

impl Memcached {
    fn start(authority: &Authority, identity: &Identity) -> Self {
        let address = SocketAddr::from(free_address().unwrap());
        let tls = format!(
            "ssl_chain_cert={},ssl_key={},ssl_ca_cert={},ssl_verify_mode=2",
            identity.certificate.display(),
            identity.key.display(),
            authority.ca.display()
        );
        let process = Command::new("memcached")
            .args([
                "-u",
                "nobody",
                "-l",
                "127.0.0.1",
                "-p",
                &address.port().to_string(),
                "-I",
                "8m",
                "-Z",
                "-o",
                &tls,
            ])
            .spawn()
            .expect("memcached is missing: apt-get install memcached");
        wait("memcached", || TcpStream::connect(address).ok());
        Self { process, address }
    }
}

impl Drop for Memcached {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

fn pool(name: &str, servers: &[SocketAddr], keys: &str, sections: &str) -> String {
    let servers: Vec<String> =
        servers.iter().map(|server| format!("[[pool.server]]\nname = \"{server}\"\n")).collect();
    let servers = servers.concat();
    format!("[[pool]]\nname = {name:?}\nlisten = \"127.0.0.1:0\"\n{keys}\n{sections}\n{servers}")
}

#[test]
fn a_pool_speaks_tls_on_both_sides() {
    let authority = Authority::new("pool");
    let identity = authority.sign("127.0.0.1");
    let servers = [(); 2].map(|()| Memcached::start(&authority, &identity));
    let addresses = servers.each_ref().map(|server| server.address);
    let server_tls = format!("[pool.server_tls]\nca = {:?}\n{}", authority.ca, authority.sign("node").keys());
    let sections = format!("[pool.tls]\n{}{server_tls}", identity.keys());
    let node = Node::start_beside("tls-pool", "", &pool("web", &addresses, "", &sections));
    let config = authority.client(&TLS13, None);
    let mut client = dial(node.pool("web"), &config);
    let (mut expected, value) = (String::new(), "v".repeat(300_000));
    for number in 0..8 {
        let set = format!("set k{number} 0 0 300000\r\n{value}\r\n");
        assert_eq!(ask(&mut client, set.as_bytes(), 8), b"STORED\r\n");
        expected.push_str(&format!("VALUE k{number} 0 300000\r\n{value}\r\nEND\r\n"));
    }
    // The requests are all there before the first reply is taken; the end must not overtake the last bytes.
    let gets: String = (0..8).map(|number| format!("get k{number}\r\n")).collect();
    client.write_all(format!("{gets}quit\r\n").as_bytes()).unwrap();
    let mut reply = Vec::new();
    client.read_to_end(&mut reply).unwrap();
    assert!(reply == expected.as_bytes(), "{} of {} bytes", reply.len(), expected.len());
    let mut client = dial(node.pool("web"), &config);
    let keys: Vec<String> = (0..8).map(|number| format!("k{number}")).collect();
    let len = expected.len() - 7 * "END\r\n".len();
    let reply = ask(&mut client, format!("get {}\r\n", keys.join(" ")).as_bytes(), len);
    assert_eq!(reply.iter().filter(|byte| **byte == b'v').count(), 8 * 300_000);
    assert_eq!(client.conn.handshake_kind(), Some(HandshakeKind::Resumed));
    assert_eq!(node.metric("smartswitch_proxy_handshakes_total"), 2.0);
}

#[test]
fn a_server_that_is_another_one_is_not_used() {
    let (authority, others) = (Authority::new("right"), Authority::new("wrong"));
    let server = Memcached::start(&authority, &authority.sign("elsewhere.example"));
    let own = authority.sign("node-2").keys();
    let sections = |ca: &PathBuf, name: &str| format!("[pool.server_tls]\nca = {ca:?}\n{own}{name}\n");
    let name = "server_name = \"elsewhere.example\"";
    let pools = [
        pool("host", &[server.address], "", &sections(&authority.ca, "")),
        pool("ca", &[server.address], "", &sections(&others.ca, name)),
        pool("right", &[server.address], "", &sections(&authority.ca, name)),
    ];
    let node = Node::start_beside("tls-wrong", "", &pools.concat());
    let mut reply = [0; 8];
    for (pool, expected) in [("host", b"SERVER_E"), ("ca", b"SERVER_E"), ("right", b"STORED\r\n")] {
        let mut client = connect(node.pool(pool));
        client.write_all(b"set k 0 0 1\r\n1\r\n").unwrap();
        client.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, expected, "{pool}");
    }
    node.wait_metric("smartswitch_proxy_server_handshakes_failed_total", 2.0);
}

fn reload(node: &Node) -> Output {
    let admin = node.admin.to_string();
    Command::new(support::SMARTSWITCH).args(["reload", "--admin", &admin]).output().unwrap()
}

#[test]
fn a_reload_reads_the_files_again_and_who_is_connected_goes_on() {
    let (before, after) = (Authority::new("before"), Authority::new("after"));
    let server = Node::start();
    let (identity, renewed) = (before.sign("127.0.0.1"), after.sign("127.0.0.1"));
    let tls = format!("[pool.tls]\n{}", identity.keys());
    let node = Node::start_beside("tls-reload", "", &pool("web", &[server.memcached], "", &tls));
    let mut connected = dial(node.pool("web"), &before.client(&TLS13, None));
    assert_eq!(ask(&mut connected, b"set k 0 0 1\r\n1\r\n", 8), b"STORED\r\n");
    std::fs::copy(&renewed.certificate, &identity.certificate).unwrap();
    let refused = reload(&node);
    assert!(!refused.status.success(), "a certificate without its key is taken");
    std::fs::copy(&renewed.key, &identity.key).unwrap();
    assert!(reload(&node).status.success());
    assert_eq!(ask(&mut connected, b"get k\r\n", 20), b"VALUE k 0 1\r\n1\r\nEND\r\n"[..20]);
    let trusts_the_new = after.client(&TLS13, None);
    wait("the new certificate", || {
        let mut client = dial(node.pool("web"), &trusts_the_new);
        client.write_all(b"mn\r\n").ok()?;
        client.read_exact(&mut [0; 4]).ok()
    });
}

#[test]
fn a_reload_closes_who_came_in_by_another_door() {
    let server = Node::start();
    let keys = |keys: &str| pool("web", &[server.memcached], keys, "");
    let node = Node::start_beside("doors", "", &keys(""));
    let mut client = connect(node.pool("web"));
    client.write_all(b"mn\r\n").unwrap();
    client.read_exact(&mut [0; 4]).unwrap();
    let users = write_config("doors-users", "alice:wonderland\n");
    let listen = "listen = \"127.0.0.1:0\"";
    let guarded = keys(&format!("password_file = {users:?}"));
    write_config("doors", &format!("[admin]\n{listen}\n[embedded]\n{listen}\n{guarded}"));
    assert!(reload(&node).status.success());
    assert_eq!(client.read(&mut [0; 1]).unwrap_or(0), 0, "who has no password is served still");
}

#[test]
fn files_that_cannot_be_used_are_named_with_a_remedy() {
    let authority = Authority::new("files");
    let (one, other) = (authority.sign("one"), authority.sign("other"));
    let fails = |name: &str, certificate: &PathBuf, key: &PathBuf| {
        let tls = format!(
            "[embedded]\nlisten = \"127.0.0.1:0\"\n[embedded.tls]\ncertificate = {certificate:?}\nkey = {key:?}\n"
        );
        let config = write_config(name, &tls);
        let mut command = Command::new(support::SMARTSWITCH);
        let output =
            command.args(["run", "--admin", "127.0.0.1:0", "--config"]).arg(config).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let message = fails("tls-none", &PathBuf::from("/nonexistent/crt"), &one.key);
    assert!(
        message.contains("cannot read /nonexistent/crt, the `certificate` in [embedded.tls]"),
        "{message}"
    );
    let message = fails("tls-empty", &one.key, &one.key);
    assert!(message.contains("holds no certificate; give a PEM file"), "{message}");
    let message = fails("tls-keyless", &one.certificate, &one.certificate);
    assert!(message.contains("the `key` in [embedded.tls], holds no private key"), "{message}");
    let message = fails("tls-mismatch", &one.certificate, &other.key);
    assert!(message.contains("cannot use") && message.contains("openssl pkey"), "{message}");
}
