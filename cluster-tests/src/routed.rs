//! Pools of memcached servers and a node with a route over them, on the loopback interface.

use std::net::SocketAddrV4;

use crate::RackError;
use crate::admin::AdminClient;
use crate::loopback::{Service, free_address};
use crate::rack::smartswitch_binary;
use crate::scratch::Scratch;

/// A pool without an address of its own.
#[derive(Clone, Copy, Debug)]
pub struct RoutedPool {
    /// Its name.
    pub name: &'static str,
    /// How many servers it has.
    pub servers: usize,
    /// Its keys in TOML besides its name and servers, such as `cache = 0`.
    pub keys: &'static str,
}

/// Servers, and a node in front of them. All are killed when this is dropped, and when the thread that made it ends.
#[derive(Debug)]
pub struct Routed {
    /// The node.
    pub node: Service,
    /// The servers, pool by pool.
    pub servers: Vec<Service>,
    admin: SocketAddrV4,
    /// Dropped after the processes that write to it.
    _scratch: Scratch,
}

impl Routed {
    /// Empty servers behind a node with `pools`, and a route with these keys in TOML besides its name and address. `name`
    /// tells it from others of this process.
    ///
    /// # Errors
    /// As [`Service::start`].
    pub fn start(name: &str, pools: &[RoutedPool], route: &str) -> Result<Self, RackError> {
        let scratch = Scratch::new(name)?;
        let (listen, admin) = (free_address()?, free_address()?);
        let mut config = format!("[admin]\nlisten = \"{admin}\"\n[proxy]\nthreads = 2\n");
        let mut servers = Vec::new();
        for pool in pools {
            config += &format!("[[pool]]\nname = \"{}\"\n{}\n", pool.name, pool.keys);
            for number in 1..=pool.servers {
                let name = format!("{}{number}", pool.name);
                let server = Service::memcached(&name, scratch.path())?;
                config +=
                    &format!("[[pool.server]]\nname = \"{name}\"\naddress = \"{}\"\n", server.address());
                servers.push(server);
            }
        }
        config += &format!("[[route]]\nname = \"front\"\nlisten = \"{listen}\"\n{route}\n");
        let file = scratch.path().join("node.toml");
        std::fs::write(&file, config).map_err(RackError::io(format!("write {}", file.display())))?;
        let arguments = ["run", "--config", &file.display().to_string()];
        let node = Service::start("node", scratch.path(), listen, &smartswitch_binary()?, &arguments)?;
        Ok(Self { node, servers, admin, _scratch: scratch })
    }

    /// Where the route is served.
    pub fn address(&self) -> SocketAddrV4 {
        self.node.address()
    }

    /// The node's admin server.
    pub fn admin(&self) -> AdminClient {
        AdminClient::here(self.admin)
    }
}
