//! A running `smartswitch`, and what tests ask of it.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

pub mod fleet;
#[path = "../../../cluster-tests/src/free_address.rs"]
pub mod free_address;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub const SMARTSWITCH: &str = env!("CARGO_BIN_EXE_smartswitch");
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A node on free ports of the loopback interface, stopped when dropped.
pub struct Node {
    process: Child,
    pub ready: String,
    /// Where it speaks memcached: the embedded server or the pool `web`; where its admin server is if it has neither.
    pub memcached: SocketAddr,
    pub admin: SocketAddr,
    /// Where it keeps its data, unless it was told.
    pub data: PathBuf,
}

impl Node {
    /// Without a configuration.
    pub fn start() -> Self {
        Self::start_with(&["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
    }

    /// With `[admin]` and `[embedded]` sections that hold `admin` and `embedded` besides the addresses.
    pub fn start_configured(name: &str, admin: &str, embedded: &str) -> Self {
        let listen = "listen = \"127.0.0.1:0\"";
        let text = format!("[admin]\n{listen}\n{admin}\n[embedded]\n{listen}\n{embedded}\n");
        let file = write_config(name, &text);
        Self::start_with(&["--config", file.to_str().unwrap()])
    }

    /// With the configuration `text` besides an `[admin]` and an `[embedded]` section, and `embedded` in that.
    pub fn start_beside(name: &str, embedded: &str, text: &str) -> Self {
        let listen = "listen = \"127.0.0.1:0\"";
        let text = format!("[admin]\n{listen}\n[embedded]\n{listen}\n{embedded}\n{text}");
        Self::start_with(&["--config", write_config(name, &text).to_str().unwrap()])
    }

    /// Where a pool listens.
    pub fn pool(&self, name: &str) -> SocketAddr {
        let rest = self.ready.split_once(&format!("pool {name} ")).unwrap().1;
        rest.split(',').next().unwrap().parse().unwrap()
    }

    pub fn start_with(options: &[&str]) -> Self {
        let mut command = Command::new(SMARTSWITCH);
        // Else nodes of all tests would share the data of this machine's user.
        let data = fresh_directory();
        command.arg("run").args(options).env("STATE_DIRECTORY", &data).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let word = |after: &str| {
            let rest = ready.split_once(after).unwrap_or_else(|| panic!("not ready: {ready:?}")).1;
            rest.split([' ', '/', ',', '\n']).next().unwrap().parse().unwrap()
        };
        let serves = ["pool web ", "memcached "].into_iter().find(|serves| ready.contains(serves));
        let admin = word("http://");
        let memcached = serves.map_or(admin, word);
        Self { process, memcached, admin, ready, data }
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn connect(&self) -> TcpStream {
        connect(self.memcached)
    }

    /// What one connection answers to `commands` and `quit`.
    pub fn ask(&self, commands: &str) -> String {
        ask(self.memcached, commands)
    }

    /// Status and body of `path` on the admin server.
    pub fn http(&self, path: &str) -> (u16, String) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut response = agent.get(format!("http://{}{path}", self.admin)).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }

    /// The sum of a metric's samples.
    pub fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.http("/metrics");
        let samples = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
        samples.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// Waits until `metric` is at least `value`.
    pub fn wait_metric(&self, metric: &str, value: f64) {
        wait(metric, || (self.metric(metric) >= value).then_some(()));
    }

    /// Sends `signal` and waits for the end.
    pub fn stop(&mut self, signal: Signal) -> ExitStatus {
        kill(Pid::from_raw(self.process.id() as i32), signal).unwrap();
        wait("the end of the node", || self.process.try_wait().unwrap())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
        _ = std::fs::remove_dir_all(&self.data);
    }
}

/// A directory that nobody had before.
pub fn fresh_directory() -> PathBuf {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let name = format!("data-{}-{number}", std::process::id());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

pub fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// What one connection answers to `commands` and `quit`.
pub fn ask(to: SocketAddr, commands: &str) -> String {
    let mut stream = connect(to);
    stream.write_all(commands.as_bytes()).unwrap();
    stream.write_all(b"quit\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

/// Asks again and again until there is an answer. Who is asked may need the processor; and a virtual machine may stand still
/// for long, which is why questions are counted, not time.
pub fn wait<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let pause = Duration::from_millis(1);
    for _ in 0..DEADLINE.as_millis() / pause.as_millis() {
        if let Some(answer) = ask() {
            return answer;
        }
        std::thread::sleep(pause);
    }
    panic!("waited in vain for {what}");
}

pub fn write_config(name: &str, text: &str) -> PathBuf {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.toml"));
    std::fs::write(&file, text).unwrap();
    file
}
