//! Commands that build the rack: run to the end, with their output in the error.

use crate::RackError;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The Debian package of each program that tests may use.
const PACKAGES: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("bridge", "iproute2"),
    ("ethtool", "ethtool"),
    ("etcd", "etcd-server"),
    ("memcached", "memcached"),
    ("memccapable", "libmemcached-tools"),
    ("setpriv", "util-linux"),
    ("nutcracker", "nutcracker"),
    ("tcpdump", "tcpdump"),
    ("ping", "iputils-ping"),
    ("dpdk-testpmd", "dpdk-dev"),
    ("go", "golang-go"),
    ("java", "default-jdk-headless"),
    ("/usr/bin/perl", "perl"),
    ("/usr/bin/php", "php-cli"),
    ("/usr/bin/python3", "python3"),
];

/// Where `program` is.
///
/// # Errors
/// [`RackError::Missing`] with the Debian package to install.
pub fn find_program(program: &str) -> Result<PathBuf, RackError> {
    let path = std::env::var("PATH").unwrap_or_default();
    let places = path.split(':').chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"]);
    let found = places.map(|place| PathBuf::from(place).join(program)).find(|file| file.is_file());
    let package =
        PACKAGES.iter().find(|(name, _)| *name == program).map_or("the package that has it", |p| p.1);
    found.ok_or_else(|| RackError::Missing { program: program.to_owned(), package })
}

/// Runs a program to its end and gives what it printed.
///
/// # Errors
/// [`RackError::Missing`], [`RackError::Io`] or, for a failure status, [`RackError::Command`].
pub(super) fn run(program: &str, arguments: &[&str]) -> Result<String, RackError> {
    run_with_input(program, arguments, "")
}

/// Runs `ip` on a batch of its commands, one a line.
pub(super) fn ip_batch(namespace: &str, lines: &[String]) -> Result<(), RackError> {
    run_with_input("ip", &["-n", namespace, "-batch", "-"], &(lines.join("\n") + "\n"))
        .map_err(|error| match error {
            RackError::Command { command, output } => {
                RackError::Command { command: format!("{command}: {}", lines.join("; ")), output }
            }
            other => other,
        })
        .map(drop)
}

fn run_with_input(program: &str, arguments: &[&str], input: &str) -> Result<String, RackError> {
    let what = || format!("{program} {}", arguments.join(" "));
    let mut child = Command::new(find_program(program)?)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(RackError::io(what()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends before it has read everything says why on its own.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(RackError::io(what()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let output = format!("{}{text}", String::from_utf8_lossy(&output.stderr));
    Err(RackError::Command { command: what(), output: output.trim().to_owned() })
}
