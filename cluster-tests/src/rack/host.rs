//! One host: a network namespace with one link to the switch.

use super::command;
use super::process::Process;
use crate::RackError;
use crate::wire::Mac;
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// The name of a host's link inside its namespace.
pub const LINK: &str = "eth0";

/// A host of the rack. Cheap to clone; the rack owns the namespace.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its name in the rack, such as `c1`.
    pub name: String,
    /// Its network namespace, such as `ssw4711-c1`.
    pub namespace: String,
    /// The switch port it is behind, such as `sw1`.
    pub port: String,
    /// Its IPv4 address, in a /24.
    pub address: Ipv4Addr,
    /// Its IPv6 address, in a /64.
    pub address6: Ipv6Addr,
    /// Its MAC address.
    pub mac: Mac,
    pub(super) directory: PathBuf,
    pub(super) handle: Arc<File>,
}

impl Host {
    /// Moves the calling thread into the host, for good: threads that do this should end afterwards. Sockets
    /// opened there stay there.
    ///
    /// # Errors
    /// [`RackError::Io`] if the kernel refuses.
    pub fn enter(&self) -> Result<(), RackError> {
        setns(self.handle.as_ref(), CloneFlags::CLONE_NEWNET)
            .map_err(|errno| RackError::io(format!("enter {}", self.namespace))(errno.into()))
    }

    /// Runs `work` on a thread inside the host and gives its result. A panic in it goes on in the caller.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            self.enter().expect("the rack keeps its namespaces while it lives");
            work()
        };
        thread::scope(|scope| scope.spawn(inside).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Starts `work` on a thread inside the host.
    pub fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let host = self.clone();
        thread::spawn(move || {
            host.enter().expect("the rack keeps its namespaces while it lives");
            work()
        })
    }

    /// A command that will run inside the host.
    ///
    /// # Errors
    /// [`RackError::Missing`] if the program is not installed.
    pub fn command(&self, program: &str) -> Result<Command, RackError> {
        let mut inside = Command::new(command::find_program("ip")?);
        inside.args(["netns", "exec", &self.namespace]);
        inside.arg(command::find_program(program)?);
        Ok(inside)
    }

    /// Runs a program inside the host to its end and gives what it printed.
    ///
    /// # Errors
    /// [`RackError::Missing`], or [`RackError::Command`] with the output.
    pub fn exec(&self, program: &str, arguments: &[&str]) -> Result<String, RackError> {
        command::find_program(program)?;
        command::run("ip", &[&["netns", "exec", &self.namespace, program], arguments].concat())
    }

    /// Starts a program inside the host.
    ///
    /// # Errors
    /// [`RackError::Missing`] or [`RackError::Io`].
    pub fn start(&self, program: &str, arguments: &[&str]) -> Result<Process, RackError> {
        let name = format!("{}-{program}", self.name);
        Process::start(&name, &self.directory, self.command(program)?.args(arguments))
    }

    /// The MAC address under which the host knows `address`, if it does. Ask again after some traffic.
    pub fn neighbour(&self, address: Ipv4Addr) -> Option<Mac> {
        let shown =
            command::run("ip", &["-n", &self.namespace, "neigh", "show", &address.to_string()]).ok()?;
        let mut words = shown.split_whitespace();
        words.find(|word| *word == "lladdr")?;
        words.next()?.parse().ok()
    }

    /// Cuts or restores the host's link.
    ///
    /// # Errors
    /// [`RackError::Command`] if `ip` refuses.
    pub fn set_link(&self, up: bool) -> Result<(), RackError> {
        let state = if up { "up" } else { "down" };
        command::run("ip", &["-n", &self.namespace, "link", "set", LINK, state]).map(drop)
    }
}
