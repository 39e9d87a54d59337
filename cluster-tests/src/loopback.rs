//! Programs that serve on the loopback interface, without namespaces and without root.

use std::net::{SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::RackError;
use crate::memcached::TcpClient;
use crate::rack::{Process, find_program};

const START_DEADLINE: Duration = Duration::from_secs(10);

/// A program that listens on a TCP port of the loopback interface. It is killed when this is dropped, and when the
/// thread that started it ends.
#[derive(Debug)]
pub struct Service {
    name: String,
    directory: PathBuf,
    address: SocketAddrV4,
    program: PathBuf,
    arguments: Vec<String>,
    process: Process,
}

impl Service {
    /// Starts `program`, which is told to listen on `address`, with its output in `directory`, and waits until it
    /// accepts a connection.
    ///
    /// # Errors
    /// [`RackError::Missing`], or that it does not start; with its log.
    pub fn start(
        name: &str,
        directory: &Path,
        address: SocketAddrV4,
        program: &Path,
        arguments: &[&str],
    ) -> Result<Self, RackError> {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let process = start(name, directory, address, program, &arguments)?;
        let (directory, program) = (directory.to_owned(), program.to_owned());
        Ok(Self { name: name.to_owned(), directory, address, program, arguments, process })
    }

    /// An empty memcached of one thread, 1 GiB and at most 4096 connections.
    ///
    /// # Errors
    /// As [`start`](Service::start).
    pub fn memcached(name: &str, directory: &Path) -> Result<Self, RackError> {
        Self::memcached_with(name, directory, &[])
    }

    /// The same with `more` arguments.
    ///
    /// # Errors
    /// As [`start`](Service::start).
    pub fn memcached_with(name: &str, directory: &Path, more: &[&str]) -> Result<Self, RackError> {
        let address = free_address()?;
        let port = address.port().to_string();
        // Another user than root would lose the signal of its parent's death.
        let arguments = ["-u", "root", "-l", "127.0.0.1", "-p", &port, "-t", "1", "-m", "1024", "-c", "4096"];
        Self::start(name, directory, address, &find_program("memcached")?, &[&arguments, more].concat())
    }

    /// Kills it (SIGKILL) and waits for its end.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same address after it was killed, and waits until it accepts a connection.
    ///
    /// # Errors
    /// As [`start`](Service::start).
    pub fn restart(&mut self) -> Result<(), RackError> {
        self.process = start(&self.name, &self.directory, self.address, &self.program, &self.arguments)?;
        Ok(())
    }

    /// Stops it from running (SIGSTOP); its sockets go on collecting. Returns when it has stopped.
    ///
    /// # Errors
    /// [`RackError::Timeout`] if it does not stop.
    pub fn pause(&mut self) -> Result<(), RackError> {
        self.process.pause()
    }

    /// Lets it run on after a [`pause`](Service::pause) (SIGCONT).
    pub fn resume(&mut self) {
        self.process.resume();
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Its process id.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// A number out of its `stats`, such as `cmd_get`; `None` if there is none of that name.
    ///
    /// # Errors
    /// [`RackError::Io`] if it does not answer within two seconds.
    pub fn stat(&self, name: &str) -> Result<Option<u64>, RackError> {
        let ask = || TcpClient::connect(self.address)?.ask(b"stats\r\n", |reply| reply.ends_with(b"END\r\n"));
        let stats = ask().map_err(RackError::io(format!("ask {} for its stats", self.address)))?;
        let prefix = format!("STAT {name} ");
        let stats = String::from_utf8_lossy(&stats);
        Ok(stats.lines().find_map(|line| line.strip_prefix(&prefix)?.trim().parse().ok()))
    }
}

fn start(
    name: &str,
    directory: &Path,
    address: SocketAddrV4,
    program: &Path,
    arguments: &[String],
) -> Result<Process, RackError> {
    let mut process = Process::start(name, directory, &mut tied(program, arguments)?)?;
    process.wait_ready("a connection", START_DEADLINE, |_| {
        TcpStream::connect_timeout(&address.into(), Duration::from_millis(100)).is_ok()
    })?;
    Ok(process)
}

/// A command whose process is killed when the thread that starts it ends.
///
/// # Errors
/// [`RackError::Missing`] if there is no `setpriv`.
pub fn tied(program: &Path, arguments: &[String]) -> Result<Command, RackError> {
    let mut command = Command::new(find_program("setpriv")?);
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(arguments);
    Ok(command)
}

/// An address of the loopback interface whose port nobody uses now, and that no other call in this process gives.
///
/// # Errors
/// [`RackError::Io`] if there is none.
pub fn free_address() -> Result<SocketAddrV4, RackError> {
    crate::free_address::free_address().map_err(RackError::io("find a free port on 127.0.0.1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_server_runs_as_long_as_it_is_wanted() {
        let scratch = Scratch::new("loopback").unwrap();
        let server = Service::memcached("mc1", scratch.path()).unwrap();
        assert_eq!(server.stat("cmd_get").unwrap(), Some(0));
        assert_eq!(server.stat("no_such").unwrap(), None);
        let address = server.address();
        drop(server);
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    fn a_server_comes_back_empty_where_it_was() {
        let scratch = Scratch::new("comes-back").unwrap();
        let mut server = Service::memcached("mc1", scratch.path()).unwrap();
        let ask = |request: &[u8]| {
            TcpClient::connect(server.address())
                .unwrap()
                .ask(request, |reply| reply.ends_with(b"\r\n"))
                .unwrap()
        };
        assert_eq!(ask(b"set a 0 0 1\r\n1\r\n"), b"STORED\r\n");
        server.kill();
        server.restart().unwrap();
        let mut client = TcpClient::connect(server.address()).unwrap();
        server.pause().unwrap();
        assert!(client.ask(b"get a\r\n", |reply| !reply.is_empty()).is_err(), "paused");
        server.resume();
        assert_eq!(client.ask(b"", |reply| reply.ends_with(b"END\r\n")).unwrap(), b"END\r\n");
    }

    #[test]
    fn a_program_that_ends_is_told_with_its_log() {
        let scratch = Scratch::new("ends").unwrap();
        let program = find_program("memcached").unwrap();
        let arguments = ["--no-such-option"];
        let error = Service::start("mc1", scratch.path(), free_address().unwrap(), &program, &arguments);
        assert!(error.unwrap_err().to_string().contains("no-such-option"));
    }
}
