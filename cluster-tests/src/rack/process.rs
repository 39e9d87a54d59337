//! A child process with its log, killed when dropped.

use crate::{RackError, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// How long a process may take to stop.
const PAUSE_DEADLINE: Duration = Duration::from_secs(5);

/// A running child. Its output goes to two files, `<name>.out` and `<name>.err`.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    out: PathBuf,
    err: PathBuf,
}

impl Process {
    /// Starts `command` with its output in `directory`.
    ///
    /// # Errors
    /// [`RackError::Io`] if it cannot be started.
    pub fn start(name: &str, directory: &std::path::Path, command: &mut Command) -> Result<Self, RackError> {
        let out = directory.join(format!("{name}.out"));
        let err = directory.join(format!("{name}.err"));
        let open =
            |path: &PathBuf| File::create(path).map_err(RackError::io(format!("log {}", path.display())));
        let child = command
            .stdin(Stdio::null())
            .stdout(open(&out)?)
            .stderr(open(&err)?)
            .spawn()
            .map_err(RackError::io(format!("start {name}")))?;
        Ok(Self { child, name: name.to_owned(), out, err })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it printed on its standard output so far.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap_or_default()
    }

    /// The last lines of its output and its errors, without those that libxdp prints on any machine without bpffs.
    pub fn log_tail(&self) -> String {
        let errors = std::fs::read(&self.err).unwrap_or_default();
        let text = self.output() + &String::from_utf8_lossy(&errors);
        let chatter = |line: &&str| line.starts_with("libbpf: ") || line.starts_with("libxdp: ");
        let lines: Vec<&str> = text.lines().filter(|line| !chatter(line)).collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Waits until `ready` is true.
    ///
    /// # Errors
    /// [`RackError::Died`] if the process ends first, [`RackError::Timeout`] with its log otherwise.
    pub fn wait_ready(
        &mut self,
        what: &str,
        within: Duration,
        mut ready: impl FnMut(&Process) -> bool,
    ) -> Result<(), RackError> {
        let outcome = wait::until(format!("{}: {what}", self.name), within, || {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(Err(self.died(status)));
            }
            ready(self).then_some(Ok(()))
        });
        match outcome {
            Err(RackError::Timeout { what, waited, .. }) => Err(RackError::Timeout {
                what,
                waited,
                detail: format!("; its log ends:\n{}", self.log_tail()),
            }),
            Err(error) => Err(error),
            Ok(result) => result,
        }
    }

    /// Waits for a line of its output that starts with `prefix`.
    ///
    /// # Errors
    /// As [`wait_ready`](Process::wait_ready).
    pub fn wait_line(&mut self, prefix: &str, within: Duration) -> Result<(), RackError> {
        self.wait_ready(&format!("a line `{prefix}`"), within, |process| {
            process.output().lines().any(|line| line.starts_with(prefix))
        })
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// [`RackError::Timeout`] with its log.
    pub fn wait_end(&mut self, within: Duration) -> Result<ExitStatus, RackError> {
        let child = &mut self.child;
        let ended =
            wait::until(format!("the end of {}", self.name), within, || child.try_wait().ok().flatten());
        ended.map_err(|error| match error {
            RackError::Timeout { what, waited, .. } => {
                RackError::Timeout { what, waited, detail: format!("; its log ends:\n{}", self.log_tail()) }
            }
            other => other,
        })
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal; nothing happens if the process has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.is_running() {
            // Still unreaped, so the id is still this child's.
            let _ = kill(Pid::from_raw(self.child.id() as i32), signal);
        }
    }

    /// Stops it from running (SIGSTOP); its sockets go on collecting. Returns when it has stopped.
    ///
    /// # Errors
    /// [`RackError::Timeout`] if it does not stop.
    pub fn pause(&mut self) -> Result<(), RackError> {
        self.signal(Signal::SIGSTOP);
        let id = self.id();
        wait::until_true(format!("{} to stop", self.name), PAUSE_DEADLINE, || is_stopped(id))
    }

    /// Lets it run on after a [`pause`](Process::pause) (SIGCONT).
    pub fn resume(&mut self) {
        self.signal(Signal::SIGCONT);
    }

    /// Kills it (SIGKILL) and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn died(&self, status: ExitStatus) -> RackError {
        RackError::Died { program: self.name.clone(), status: status.to_string(), log: self.log_tail() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `T` in the process's state (proc(5)): every thread of it has stopped.
fn is_stopped(id: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{id}/task")) else { return false };
    threads.flatten().all(|thread| {
        let status = std::fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("State:\tT"))
    })
}
