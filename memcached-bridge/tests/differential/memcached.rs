//! The real one, on a port of its own.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::streams::DETERMINISTIC;

const MEMCACHED: &str = "/usr/bin/memcached";

/// A server that ends with the test.
pub struct Memcached {
    process: Child,
    /// Of TCP and UDP.
    pub port: u16,
}

impl Memcached {
    pub fn start() -> Self {
        assert!(
            std::path::Path::new(MEMCACHED).exists(),
            "{MEMCACHED} is missing: apt-get install memcached"
        );
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new(MEMCACHED)
            .args(DETERMINISTIC)
            .args([
                "-u",
                "nobody",
                "-l",
                "127.0.0.1",
                "-t",
                "1",
                "-p",
                &port.to_string(),
                "-U",
                &port.to_string(),
            ])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { process, port };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "memcached does not listen on port {port}");
            std::thread::yield_now();
        }
        server
    }

    /// Of TCP.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }
}

impl Drop for Memcached {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}
