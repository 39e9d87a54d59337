//! The real one, on a port of its own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::pieces;

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
            // Its background threads hold items now and then, and an item that is held is not counted in place.
            .args(["-W", "-X", "-o", "no_lru_maintainer,no_lru_crawler,no_slab_reassign"])
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

    /// The whole reply to `input`, sent in pieces on a connection of its own: up to `last`, or to the end of the
    /// connection.
    pub fn converse(&self, input: &[u8], cuts: &[usize], last: &'static [u8]) -> Vec<u8> {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        connection.set_nodelay(true).unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut reader = connection.try_clone().unwrap();
        let reading = std::thread::spawn(move || {
            let (mut reply, mut piece) = (Vec::new(), vec![0; 65536]);
            // A connection that memcached closes with input unread ends in a reset.
            while let Ok(len @ 1..) = reader.read(&mut piece) {
                reply.extend_from_slice(&piece[..len]);
                if reply.ends_with(last) {
                    break;
                }
            }
            reply
        });
        for piece in pieces(input, cuts) {
            if connection.write_all(piece).is_err() {
                break;
            }
        }
        reading.join().unwrap()
    }
}

impl Drop for Memcached {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}
