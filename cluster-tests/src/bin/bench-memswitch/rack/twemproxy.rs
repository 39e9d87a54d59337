//! twemproxy, Debian's `nutcracker`, on a host of its own.

use std::error::Error;
use std::net::{SocketAddrV4, TcpStream};
use std::time::Duration;

use cluster_tests::bench::twemproxy;
use cluster_tests::rack::{MEMCACHED_PORT, Process, Rack};

/// The host that it runs on.
pub(crate) const HOST: &str = "proxy";
const PORT: u16 = 22121;
const DEADLINE: Duration = Duration::from_secs(5);

/// Where clients reach it.
pub(crate) fn address(rack: &Rack) -> SocketAddrV4 {
    SocketAddrV4::new(rack.host(HOST).address, PORT)
}

/// Starts it in front of all servers of the rack, with the pool's own hash and distribution.
pub(crate) fn start(rack: &Rack) -> Result<Process, Box<dyn Error>> {
    let (host, listen) = (rack.host(HOST), address(rack));
    let servers = rack.servers().iter().map(|server| SocketAddrV4::new(server.host.address, MEMCACHED_PORT));
    let config = twemproxy::config(listen, servers);
    let file = rack.directory().join("nutcracker.yml");
    std::fs::write(&file, config)?;
    let file = file.display().to_string();
    let mut process = host.start("nutcracker", &["-c", &file, "-v", "4"])?;
    process.wait_ready("a connection", DEADLINE, |_| {
        host.run(|| TcpStream::connect_timeout(&listen.into(), Duration::from_millis(100)).is_ok())
    })?;
    Ok(process)
}
