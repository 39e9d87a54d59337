//! Real memcached servers and a node before them.

use std::fmt::Write as _;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::free_address::free_address;
use super::{Node, wait, write_config};

const MEMCACHED: &str = "/usr/bin/memcached";

/// A memcached on the loopback interface, ended when dropped.
pub struct Memcached {
    process: Option<Child>,
    pub port: u16,
}

impl Memcached {
    pub fn start() -> Self {
        assert!(
            std::path::Path::new(MEMCACHED).exists(),
            "{MEMCACHED} is missing: apt-get install memcached"
        );
        let port = free_address().unwrap().port();
        let mut server = Self { process: None, port };
        server.restart();
        server
    }

    /// Starts it again, empty, where it was.
    pub fn restart(&mut self) {
        let port = self.port.to_string();
        let mut command = Command::new(MEMCACHED);
        command.args(["-u", "nobody", "-l", "127.0.0.1", "-U", "0", "-p", &port]);
        command.args(["-t", "2", "-I", "128m", "-m", "512", "-c", "8192"]);
        self.process = Some(command.stderr(Stdio::null()).spawn().unwrap());
        wait("memcached", || std::net::TcpStream::connect(("127.0.0.1", self.port)).ok());
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid() as i32), signal).unwrap();
    }

    /// `SIGSTOP`, and waits until every thread stands still.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
        let stopped = |thread: std::fs::DirEntry| {
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
        };
        wait("the pause", || {
            let mut threads = std::fs::read_dir(format!("/proc/{}/task", self.pid())).ok()?.flatten();
            threads.all(stopped).then_some(())
        });
    }

    fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// `kill -9`
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            _ = process.kill();
            _ = process.wait();
        }
    }
}

impl Drop for Memcached {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A pool `web` of real servers behind a node.
pub struct Fleet {
    pub servers: Vec<Memcached>,
    pub node: Node,
}

impl Fleet {
    /// `pool` are further lines of `[[pool]]`.
    pub fn start(name: &str, servers: usize, pool: &str) -> Self {
        Self::start_beside(name, servers, pool, "")
    }

    /// The same with further sections.
    pub fn start_beside(name: &str, servers: usize, pool: &str, sections: &str) -> Self {
        let servers: Vec<Memcached> = (0..servers).map(|_| Memcached::start()).collect();
        let mut text = String::from("[admin]\nlisten = \"127.0.0.1:0\"\n[proxy]\nthreads = 2\n");
        writeln!(text, "[[pool]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n{pool}").unwrap();
        for (index, server) in servers.iter().enumerate() {
            let Memcached { port, .. } = server;
            writeln!(text, "[[pool.server]]\nname = \"mc{index}\"\naddress = \"127.0.0.1:{port}\"").unwrap();
        }
        text.push_str(sections);
        let file = write_config(name, &text);
        let node = Node::start_with(&["--config", file.to_str().unwrap()]);
        Self { servers, node }
    }

    /// Keys that are each at another server, by the server's index.
    pub fn key_of_each(&self) -> Vec<String> {
        let mut keys = vec![None; self.servers.len()];
        for number in 0.. {
            let key = format!("key-{number}");
            assert_eq!(self.node.ask(&format!("set {key} 0 0 1\r\n1\r\n")), "STORED\r\n");
            for (index, server) in self.servers.iter().enumerate() {
                if server.ask(&format!("get {key}\r\n")) != "END\r\n" {
                    keys[index].get_or_insert(key.clone());
                }
            }
            if keys.iter().all(Option::is_some) {
                break;
            }
        }
        keys.into_iter().flatten().collect()
    }
}

impl Memcached {
    /// What the server itself answers to `commands`.
    pub fn ask(&self, commands: &str) -> String {
        super::ask(([127, 0, 0, 1], self.port).into(), commands)
    }
}
