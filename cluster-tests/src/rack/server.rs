//! A memcached server of the rack, and what can be done to it.

use super::host::Host;
use super::process::Process;
use crate::RackError;
use crate::memcached::values;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a server may take to start.
const SERVER_DEADLINE: Duration = Duration::from_secs(5);

/// Keys asked for in one command.
const KEYS_AT_ONCE: usize = 50;

/// A host that runs memcached on its own address, on the pool's VIP and on its loopback, over UDP and TCP.
#[derive(Debug)]
pub struct Server {
    /// The host it runs on.
    pub host: Host,
    vip: Ipv4Addr,
    port: u16,
    threads: u16,
    process: Mutex<Option<Process>>,
}

impl Server {
    pub(super) fn new(host: Host, vip: Ipv4Addr, port: u16, threads: u16) -> Self {
        Self { host, vip, port, threads, process: Mutex::new(None) }
    }

    /// Starts memcached (empty) and waits until it answers.
    ///
    /// # Errors
    /// [`RackError::Missing`], or that it does not answer.
    pub fn start(&self) -> Result<(), RackError> {
        // UDP replies carry the address their socket is bound to, so each address has its own.
        let listen = format!("{},{},127.0.0.1", self.vip, self.host.address);
        let (port, threads) = (self.port.to_string(), self.threads.to_string());
        let mut process = self.host.start(
            "memcached",
            &[
                "-u", "nobody", "-l", &listen, "-p", &port, "-U", &port, "-t", &threads, "-m", "64", "-c",
                "4096",
            ],
        )?;
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port);
        process.wait_ready("an answer", SERVER_DEADLINE, |_| self.host.run(|| answers(address)))?;
        *self.process() = Some(process);
        Ok(())
    }

    /// Kills memcached (SIGKILL). What it held is lost.
    pub fn kill(&self) {
        *self.process() = None;
    }

    /// Stops memcached from running (SIGSTOP); its sockets go on collecting. Returns when it has stopped.
    ///
    /// # Errors
    /// [`RackError::Timeout`] if it does not stop.
    pub fn pause(&self) -> Result<(), RackError> {
        self.process().as_mut().map_or(Ok(()), Process::pause)
    }

    /// Lets a paused memcached run on (SIGCONT).
    pub fn resume(&self) {
        if let Some(process) = self.process().as_mut() {
            process.resume();
        }
    }

    /// The process id of memcached, if it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.process().as_ref().map(Process::id)
    }

    /// Runs one text command on the server itself, over its loopback, and gives everything up to the line that
    /// ends the reply.
    ///
    /// # Errors
    /// [`RackError::Io`] if the server does not answer within two seconds.
    pub fn ask(&self, command: &str) -> Result<String, RackError> {
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port);
        let asked = self.host.run(|| ask(address, command));
        asked.map_err(RackError::io(format!("ask {} `{}`", self.host.name, command.trim_end())))
    }

    /// Whether the server itself holds `key`.
    ///
    /// # Errors
    /// As [`ask`](Server::ask).
    pub fn holds(&self, key: &str) -> Result<bool, RackError> {
        Ok(self.ask(&format!("get {key}\r\n"))?.starts_with("VALUE "))
    }

    /// Those of `keys` that the server itself holds.
    ///
    /// # Errors
    /// As [`ask`](Server::ask).
    pub fn held<'k>(&self, keys: &'k [String]) -> Result<Vec<&'k str>, RackError> {
        let mut held = Vec::new();
        for chunk in keys.chunks(KEYS_AT_ONCE) {
            let reply = self.ask(&format!("get {}\r\n", chunk.join(" ")))?;
            let items = values(reply.as_bytes()).and_then(Result::ok).unwrap_or_default().items;
            held.extend(chunk.iter().filter(|key| items.contains_key(*key)).map(String::as_str));
        }
        Ok(held)
    }

    /// A number out of the server's `stats`, such as `cmd_get`.
    ///
    /// # Errors
    /// As [`ask`](Server::ask).
    pub fn stat(&self, name: &str) -> Result<Option<u64>, RackError> {
        let prefix = format!("STAT {name} ");
        let stats = self.ask("stats\r\n")?;
        Ok(stats.lines().find_map(|line| line.strip_prefix(&prefix)?.trim().parse().ok()))
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answers(address: SocketAddrV4) -> bool {
    ask(address, "mn\r\n").is_ok()
}

fn ask(address: SocketAddrV4, command: &str) -> std::io::Result<String> {
    const LAST_LINES: &[&str] = &[
        "END",
        "MN",
        "OK",
        "STORED",
        "NOT_STORED",
        "EXISTS",
        "NOT_FOUND",
        "DELETED",
        "TOUCHED",
        "RESET",
        "ERROR",
    ];
    let mut stream = TcpStream::connect_timeout(&address.into(), Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(command.as_bytes())?;
    let (mut reply, mut buffer) = (Vec::new(), [0; 16384]);
    loop {
        let len = stream.read(&mut buffer)?;
        reply.extend_from_slice(&buffer[..len]);
        let text = String::from_utf8_lossy(&reply);
        let last = text.strip_suffix("\r\n").map(|text| text.rsplit("\r\n").next().unwrap_or(text));
        let ended = last.is_some_and(|line| {
            LAST_LINES.contains(&line) || line.contains("_ERROR ") || line.bytes().all(|b| b.is_ascii_digit())
        });
        if ended || len == 0 {
            return Ok(text.into_owned());
        }
    }
}
