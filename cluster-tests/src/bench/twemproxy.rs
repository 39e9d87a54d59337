//! The configuration of twemproxy, Debian's `nutcracker`.

use std::net::SocketAddrV4;

/// The file for one pool in front of `servers`, with the node's own default hash and distribution.
pub fn config(listen: SocketAddrV4, servers: impl IntoIterator<Item = SocketAddrV4>) -> String {
    let mut config = format!(
        "bench:\n  listen: {listen}\n  hash: fnv1a_64\n  distribution: ketama\n  preconnect: true\n  \
         auto_eject_hosts: false\n  server_connections: 1\n  servers:\n"
    );
    for (index, server) in servers.into_iter().enumerate() {
        config += &format!("   - {server}:1 mc{}\n", index + 1);
    }
    config
}
