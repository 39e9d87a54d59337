//! A member of a directory: a process, and its data.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cluster_tests::RackError;
use cluster_tests::bench::cpu_time;
use cluster_tests::loopback::tied;
use cluster_tests::rack::Process;
use nix::sys::signal::Signal;

use crate::disk;

/// A member: started, killed and started again on the same data. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Member {
    name: String,
    data: PathBuf,
    program: PathBuf,
    arguments: Vec<String>,
    process: Option<Process>,
}

/// What a member takes, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Footprint {
    /// Memory of its own.
    pub(crate) memory: u64,
    /// Memory that files are mapped to, which the kernel may take back.
    pub(crate) mapped: u64,
    /// Disk.
    pub(crate) disk: u64,
}

impl Member {
    /// One that does not run yet. It keeps its data in `data`, and its log beside that.
    pub(crate) fn new(name: &str, data: &Path, program: &Path, arguments: Vec<String>) -> Self {
        let (data, program) = (data.to_owned(), program.to_owned());
        Self { name: name.to_owned(), data, program, arguments, process: None }
    }

    /// Starts it. It may take a while until it answers.
    ///
    /// # Errors
    /// [`RackError`], if there is no such program.
    pub(crate) fn start(&mut self) -> Result<(), RackError> {
        let logs = self.data.parent().unwrap_or(&self.data);
        let mut command = tied(&self.program, &self.arguments)?;
        self.process = Some(Process::start(&self.name, logs, &mut command)?);
        Ok(())
    }

    /// Kills it (SIGKILL) and waits for its end.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Sends it a signal, if it runs.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if let Some(process) = &mut self.process {
            process.signal(signal);
        }
    }

    /// The end of its log, if it runs.
    pub(crate) fn log_tail(&self) -> String {
        self.process.as_ref().map(Process::log_tail).unwrap_or_default()
    }

    /// Time that it has spent on processors since it was started.
    pub(crate) fn cpu_time(&self) -> Duration {
        self.process.as_ref().and_then(|process| cpu_time::of(process.id())).unwrap_or_default()
    }

    /// What it takes now.
    pub(crate) fn footprint(&self) -> Footprint {
        let status = |process: &Process| fs::read_to_string(format!("/proc/{}/status", process.id())).ok();
        let status = self.process.as_ref().and_then(status).unwrap_or_default();
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
        };
        Footprint {
            memory: bytes("RssAnon:").unwrap_or(0),
            mapped: bytes("RssFile:").unwrap_or(0),
            disk: disk::usage(&self.data),
        }
    }
}
