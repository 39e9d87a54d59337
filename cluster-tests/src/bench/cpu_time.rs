//! Processor time of a process.

use std::fs;
use std::time::Duration;

/// How long the threads that `process` has now have been on a processor since they started, all together.
///
/// It is what the kernel charges to the process (`/proc/<pid>/task/*/schedstat`), the network stack's work on its
/// behalf included, and whatever interrupts it happens to be charged for.
pub fn of(process: u32) -> Option<Duration> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).ok()?;
    let on_processor = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    Some(Duration::from_nanos(tasks.flatten().filter_map(on_processor).sum()))
}

#[cfg(test)]
mod tests {
    use super::of;
    use std::time::Duration;

    #[test]
    fn work_takes_time() {
        let here = || of(std::process::id()).unwrap();
        let before = here();
        crate::wait::until("5 ms of processor time", Duration::from_secs(10), || {
            (here() >= before + Duration::from_millis(5)).then_some(())
        })
        .unwrap();
        assert!(of(0).is_none(), "there is no process 0");
    }
}
