//! The real one, on a port of its own.

use std::net::{SocketAddrV4, TcpStream};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::free_address::free_address;
use super::streams::DETERMINISTIC;

const MEMCACHED: &str = "/usr/bin/memcached";

/// A server that ends with the test.
pub struct Memcached {
    process: Child,
    /// Of TCP and UDP.
    pub address: SocketAddrV4,
}

impl Memcached {
    pub fn start() -> Self {
        assert!(
            std::path::Path::new(MEMCACHED).exists(),
            "{MEMCACHED} is missing: apt-get install memcached"
        );
        let address = free_address().unwrap();
        let port = address.port().to_string();
        let process = Command::new(MEMCACHED)
            .args(DETERMINISTIC)
            .args(["-u", "nobody", "-l", "127.0.0.1", "-t", "1", "-p", &port, "-U", &port])
            .spawn()
            .unwrap();
        let server = Self { process, address };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "memcached does not listen on {address}");
            std::thread::yield_now();
        }
        server
    }
}

impl Drop for Memcached {
    fn drop(&mut self) {
        if let Ok(Some(status)) = self.process.try_wait() {
            println!("memcached at {} was not there any more: {status}", self.address);
        }
        _ = self.process.kill();
        _ = self.process.wait();
    }
}
