//! libmemcached's `memccapable`, which tries every command of a protocol, through the node.
#![allow(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

use std::net::SocketAddrV4;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cluster_tests::proxied::Proxied;
use cluster_tests::rack::{Process, find_program};

const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn ascii_with_one_server() {
    passes("-a", 1);
}

#[test]
fn ascii_with_two_servers() {
    passes("-a", 2);
}

#[test]
fn binary_with_one_server() {
    passes("-b", 1);
}

#[test]
fn binary_with_two_servers() {
    passes("-b", 2);
}

fn passes(protocol: &str, servers: usize) {
    let pool = Proxied::start(&format!("memccapable{protocol}-{servers}"), servers, |_| ()).unwrap();
    let report = memccapable(pool.address(), protocol, pool.directory());
    let report = report.unwrap_or_else(|report| panic!("{protocol}, {servers} servers:\n{report}"));
    assert!(report.contains("All tests passed"), "{report}");
}

/// What it prints; as an error, if it says so.
fn memccapable(to: SocketAddrV4, protocol: &str, directory: &Path) -> Result<String, String> {
    let mut command = Command::new(find_program("memccapable").unwrap());
    command.args(["-h", &to.ip().to_string(), "-p", &to.port().to_string(), "-t", "5", "-v", protocol]);
    let mut process = Process::start("memccapable", directory, &mut command).unwrap();
    let status = process.wait_end(DEADLINE).unwrap();
    if status.success() { Ok(process.log_tail()) } else { Err(process.log_tail()) }
}
