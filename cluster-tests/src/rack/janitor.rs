//! Removes what racks of dead processes left behind.
//!
//! Every namespace of a rack carries the process id of its maker in its name. If no such process runs, whatever
//! still runs in the namespace was started by the dead rack: it is killed and the namespace removed.

use super::command;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::Path;

/// What the names of a rack's namespaces and directories begin with.
pub(super) const PREFIX: &str = "ssw";

/// The process id in a rack's name `ssw<pid>-...`.
fn maker(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split_once('-')?.0.parse().ok()
}

/// Removes the namespaces and directories of racks whose makers are gone.
pub(super) fn sweep() {
    let abandoned = |directory: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names
            .filter(|name| maker(name).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()))
            .collect()
    };
    for namespace in abandoned(Path::new("/run/netns")) {
        remove_namespace(&namespace);
    }
    for directory in abandoned(&std::env::temp_dir()) {
        let _ = std::fs::remove_dir_all(std::env::temp_dir().join(directory));
    }
}

/// Kills what runs in `namespace` and removes it.
pub(super) fn remove_namespace(namespace: &str) {
    let inside = command::run("ip", &["netns", "pids", namespace]).unwrap_or_default();
    let own = std::process::id();
    for pid in inside.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()).filter(|pid| *pid != own) {
        let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
    }
    let _ = command::run("ip", &["netns", "del", namespace]);
}

#[cfg(test)]
mod tests {
    use super::maker;

    #[test]
    fn names_carry_their_maker() {
        assert_eq!(maker("ssw4711-c1"), Some(4711));
        assert_eq!(maker("ssw4711"), None);
        assert_eq!(maker("sswitch-c1"), None);
        assert_eq!(maker("other4711-c1"), None);
    }
}
