//! What can go wrong while a rack is built or used.

use std::path::PathBuf;
use std::time::Duration;

/// Why a rack could not be built, or why something asked of it failed.
#[derive(Debug, thiserror::Error)]
pub enum RackError {
    /// Namespaces and raw sockets need root.
    #[error("a rack needs network namespaces and raw sockets: run as root")]
    NotRoot,
    /// A program is not installed.
    #[error("`{program}` is missing: apt-get install {package}")]
    Missing {
        /// The program looked for.
        program: String,
        /// The Debian package that holds it.
        package: &'static str,
    },
    /// The switch program was not built.
    #[error("no switch at {}: run `cargo build -p node --profile fast`, or name one in SMARTSWITCH_BIN", path.display())]
    NoSwitch {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A command ended with an error.
    #[error("`{command}` failed: {output}")]
    Command {
        /// The whole command line.
        command: String,
        /// What it printed.
        output: String,
    },
    /// A child process ended before it was to.
    #[error("{program} ended early ({status}); its log ends:\n{log}")]
    Died {
        /// The program.
        program: String,
        /// Its exit status.
        status: String,
        /// The end of its log.
        log: String,
    },
    /// A condition did not come true in time.
    #[error("waited {waited:?} in vain for {what}{detail}")]
    Timeout {
        /// The condition.
        what: String,
        /// How long it was waited for.
        waited: Duration,
        /// More about it, such as the end of a log; may be empty.
        detail: String,
    },
    /// An operation of the system failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The process may not open as many files as it needs.
    #[error(
        "{needed} open files are needed and {allowed} allowed: raise the hard limit, `ulimit -Hn {needed}`"
    )]
    OpenFiles {
        /// How many are needed.
        needed: u64,
        /// How many are allowed.
        allowed: u64,
    },
    /// The admin server's answer was not what was expected.
    #[error("admin {path}: {reason}")]
    Admin {
        /// The path asked for.
        path: String,
        /// What was wrong.
        reason: String,
    },
}

impl RackError {
    /// A function that wraps an I/O error with what was tried.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> RackError {
        let what = what.into();
        move |source| RackError::Io { what, source }
    }
}
