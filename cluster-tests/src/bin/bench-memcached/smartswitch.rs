//! The configuration of the node.

use std::net::SocketAddrV4;

/// The file for one pool in front of `servers`, hashed as twemproxy hashes. With a cache every key turns hot at its
/// second request.
pub(crate) fn config(
    listen: SocketAddrV4,
    admin: SocketAddrV4,
    servers: impl IntoIterator<Item = SocketAddrV4>,
    cached: bool,
) -> String {
    let cache = if cached { "cache = \"256MiB\"\nhot_threshold = 2" } else { "cache = 0" };
    let mut config = format!(
        "[admin]\nlisten = \"{admin}\"\n\n[[pool]]\nname = \"bench\"\nlisten = \"{listen}\"\n\
         clients = [\"127.0.0.0/8\"]\ndistribution = \"ketama\"\nhash = \"fnv1a_64\"\n{cache}\n"
    );
    for (index, server) in servers.into_iter().enumerate() {
        config += &format!("\n[[pool.server]]\nname = \"mc{}\"\naddress = \"{server}\"\n", index + 1);
    }
    config
}
