//! Processor time of the middle box.

use std::fs;
use std::time::Duration;

/// The process whose time is taken, if there is one.
///
/// It is what the kernel charges to the process (`/proc/<pid>/task/*/schedstat`), the network stack's work on its
/// behalf included, and whatever interrupts it happens to be charged for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BoxTime(Option<u32>);

impl BoxTime {
    /// Of the process with that id.
    pub(crate) fn of(process: Option<u32>) -> Self {
        Self(process)
    }

    /// Time on a processor since it started, all its threads together.
    pub(crate) fn read(self) -> Option<Duration> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0?)).ok()?;
        let on_processor = |task: fs::DirEntry| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        };
        Some(Duration::from_nanos(tasks.flatten().filter_map(on_processor).sum()))
    }
}
