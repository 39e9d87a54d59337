//! The rack: a switch, clients and memcached servers, each in a network namespace of its own.
//!
//! ```text
//!  c1 10.77.0.1 ─eth0──sw1─┐                ┌─sw3──eth0─ m1 10.77.0.11 + VIP on lo: memcached
//!  c2 10.77.0.2 ─eth0──sw2─┤ switch under   ├─sw4──eth0─ m2 10.77.0.12 + VIP on lo: memcached
//!                          │ test, admin on │
//!                          │ 127.0.0.1:9311 ├─sw5──eth0─ other hosts from 10.77.0.201
//!                          └────────────────┘
//! ```
//! IPv6 addresses are `fd77::` with the same last number, MAC addresses `02:00:00:77:00:` with it in hex.

mod build;
mod command;
mod host;
mod janitor;
mod process;
mod server;
mod switch;
mod turn;

pub use build::RackBuilder;
pub use command::find_program;
pub use host::{Host, LINK};
pub use process::Process;
pub use server::Server;
pub use switch::{Driver, SwitchProgram, smartswitch_binary};

use crate::RackError;
use crate::admin::AdminClient;
use nix::sys::signal::Signal;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The pool's virtual address.
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
/// The node's own address.
pub const NODE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);
/// The port of the pool and of every server.
pub const MEMCACHED_PORT: u16 = 11211;
/// Where the admin server listens, inside the switch's namespace.
pub const ADMIN: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9311);

/// How long a draining switch may take.
const DRAIN_DEADLINE: Duration = Duration::from_secs(10);

/// A rack that stands until it is dropped.
#[derive(Debug)]
pub struct Rack {
    name: String,
    clients: Vec<Host>,
    servers: Vec<Server>,
    others: Vec<Host>,
    switch: Host,
    program: SwitchProgram,
    ports: Vec<String>,
    mtu: u16,
    process: Mutex<Option<Process>>,
    // Dropped after the processes above; its namespaces go with it.
    ground: build::Ground,
}

impl Rack {
    /// Starts the description of a rack; `name` is for messages.
    pub fn builder(name: &str) -> RackBuilder {
        RackBuilder::new(name)
    }

    /// Client `index`, from 0.
    pub fn client(&self, index: usize) -> &Host {
        &self.clients[index]
    }

    /// All clients.
    pub fn clients(&self) -> &[Host] {
        &self.clients
    }

    /// Server `index`, from 0; the pool calls it `mc<index + 1>`.
    pub fn server(&self, index: usize) -> &Server {
        &self.servers[index]
    }

    /// All servers.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The other host called `name`.
    ///
    /// # Panics
    /// If the builder was not asked for it.
    pub fn host(&self, name: &str) -> &Host {
        let named = self.others.iter().find(|host| host.name == name);
        named.unwrap_or_else(|| panic!("rack {} has no host {name}", self.name))
    }

    /// The switch's namespace.
    pub fn switch_host(&self) -> &Host {
        &self.switch
    }

    /// Where the rack keeps configuration and logs while it stands.
    pub fn directory(&self) -> &std::path::Path {
        &self.ground.directory
    }

    /// The VIP and port of the pool.
    pub fn vip(&self) -> SocketAddrV4 {
        SocketAddrV4::new(VIP, MEMCACHED_PORT)
    }

    /// The admin server of the node.
    pub fn admin(&self) -> AdminClient {
        AdminClient::new(self.switch.clone(), ADMIN)
    }

    /// The MTU of the links.
    pub fn mtu(&self) -> u16 {
        self.mtu
    }

    /// Stops the switch as an operator would (SIGTERM) and waits until it has drained. A bridge stays.
    ///
    /// # Errors
    /// [`RackError::Timeout`] if it does not end.
    pub fn stop_switch(&self) -> Result<Option<ExitStatus>, RackError> {
        let mut guard = self.process();
        let Some(process) = guard.as_mut() else { return Ok(None) };
        process.signal(Signal::SIGTERM);
        let status = process.wait_end(DRAIN_DEADLINE)?;
        *guard = None;
        Ok(Some(status))
    }

    /// Kills the switch (SIGKILL). A bridge stays.
    pub fn kill_switch(&self) {
        *self.process() = None;
    }

    /// Starts the switch again after it was stopped or killed.
    ///
    /// # Errors
    /// As when the rack was built.
    pub fn start_switch(&self) -> Result<(), RackError> {
        let started = self.program.start(&self.switch, &self.ports, self.mtu)?;
        *self.process() = started;
        Ok(())
    }

    /// The process id of the switch program, if there is one.
    pub fn switch_process_id(&self) -> Option<u32> {
        self.process().as_ref().map(Process::id)
    }

    /// The end of the switch program's log.
    pub fn switch_log(&self) -> String {
        self.process().as_ref().map(Process::log_tail).unwrap_or_default()
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Rack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- rack {}: the switch's log ends:\n{}\n---", self.name, self.switch_log());
        }
    }
}
