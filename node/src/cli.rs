//! The command line.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueHint};
use tracing_subscriber::EnvFilter;

use memcached_bridge::store::MIN_MEMORY_BYTES;

use crate::config::size::NotASize;
use crate::config::{self, ByteSize, Severity};
use crate::directory::cli::DirectoryOptions;
use crate::import::ImportOptions;
use crate::pki::PkiOptions;
use crate::reload::ask::ReloadOptions;
use crate::telemetry::Telemetry;

const EXAMPLES: &str = "\
Examples:
  smartswitch run                          memcached on 127.0.0.1:11211, no root, no configuration
  smartswitch run --listen 127.0.0.1:0 --memory 1GiB
  smartswitch check --config node.toml     every problem of a configuration, with its line and a remedy
  smartswitch run --config node.toml       a rack's switch on DPDK ports
  smartswitch top                          live rates in the terminal
  smartswitch directory status             the name directory: its shards, their leaders and members
  curl http://127.0.0.1:9311/metrics       for Prometheus; / is a page for people

`smartswitch help run` explains a command and its options.";

const RUN_EXAMPLES: &str = "\
Examples:
  smartswitch run
  smartswitch run --listen 0.0.0.0:11211 --memory 4GiB   serves loopback clients only, until `clients` in
                                                         [embedded] of a configuration names others
  smartswitch run --config node.toml

Once everything is served, exactly one line that begins with `ready:` goes to standard output. The log goes to standard
error. SIGTERM and SIGINT let requests in flight finish, and then end the node.";

const CHECK_EXAMPLES: &str = "\
A configuration that serves memcached over kernel sockets:

  [embedded]
  listen = \"0.0.0.0:11211\"
  memory = \"1GiB\"
  clients = [\"10.0.0.0/8\"]

One that switches packets between memcached servers and their clients:

  [node]
  address = \"10.0.0.254/24\"

  [dataplane]
  cores = [1]

  [[dataplane.port]]
  name = \"clients\"
  device = \"net_af_xdp0,iface=eth1\"

  [[dataplane.port]]
  name = \"servers\"
  device = \"net_af_xdp1,iface=eth2\"

  [[pool]]
  name = \"web\"
  vip = \"10.0.0.100\"
  clients = [\"10.0.0.0/24\"]

  [[pool.server]]
  name = \"mc1\"
  mac = \"02:00:00:00:01:01\"
  port = \"servers\"

Every key has its meaning and default in the README of `node`. Ends with 1 if there are errors, with 0 if there are
warnings at most.";

/// One node: a switch that answers memcached requests where they pass, or memcached itself over kernel sockets.
#[derive(Debug, Parser)]
#[command(name = "smartswitch", version, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do; `run`, if nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What is logged: error, warn, info, debug or trace, or filters such as `node=debug` (also SMARTSWITCH_LOG).
    #[arg(long, global = true, value_name = "FILTER", display_order = 100)]
    pub log: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a node until it is told to stop (the default).
    Run(RunOptions),
    /// Check a configuration and start nothing.
    Check(CheckOptions),
    /// Show the live rates of a running node.
    Top(TopOptions),
    /// Have a running node read its configuration again.
    Reload(ReloadOptions),
    /// Turn twemproxy's configuration into one of a node.
    Import(ImportOptions),
    /// Ask the name directory, and add or remove its members.
    Directory(DirectoryOptions),
    /// Make a small certificate authority, and certificates by which nodes know one another.
    Pki(PkiOptions),
}

/// Options of `run`.
#[derive(Debug, Default, Args)]
#[command(after_help = RUN_EXAMPLES)]
pub struct RunOptions {
    /// The configuration. Without one: memcached over kernel sockets on the loopback interface.
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Where memcached listens over TCP and UDP; port 0 takes a free one. Overrides `listen` in `[embedded]`.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// Where the admin server listens. Overrides `listen` in `[admin]`.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub admin: Option<SocketAddr>,
    /// Bytes for the items of memcached, such as 64MiB. Overrides `memory` in `[embedded]`.
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub memory: Option<ByteSize>,
    /// Where the node keeps what outlives it. Overrides `data` in `[node]`. Without either: STATE_DIRECTORY, which systemd
    /// sets, or smartswitch in XDG_DATA_HOME, /var/lib (as root) or ~/.local/share.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub data: Option<PathBuf>,
}

/// Options of `check`.
#[derive(Debug, Args)]
#[command(after_help = CHECK_EXAMPLES)]
pub struct CheckOptions {
    /// The configuration.
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: PathBuf,
    /// Print JSON: {"ok": ..., "problems": [{"severity", "file", "line", "column", "message", "remedy"}]}.
    #[arg(long)]
    pub json: bool,
}

/// Options of `top`.
#[derive(Debug, Args)]
pub struct TopOptions {
    /// The node's admin server.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9311")]
    pub admin: String,
    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    pub interval: f64,
    /// Look twice, one interval apart, print, and end.
    #[arg(long)]
    pub once: bool,
    /// With --once: print JSON: {"rates": {...}, "status": {...}}.
    #[arg(long, requires = "once")]
    pub json: bool,
}

fn memory(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse().map_err(|error: NotASize| error.to_string())?;
    let least = ByteSize(MIN_MEMORY_BYTES as u64);
    if size < least {
        Err(format!("{size} is too little; give at least {least}, such as 64MiB"))
    } else {
        Ok(size)
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("`{text}` is no number of seconds"))?;
    if (0.05..=3600.0).contains(&seconds) { Ok(seconds) } else { Err("give 0.05 to 3600 seconds".to_owned()) }
}

impl Cli {
    /// Starts the log on standard error. Traces go nowhere yet.
    pub fn start_log(&self) -> Telemetry {
        let filter = self.log.clone().or_else(|| std::env::var("SMARTSWITCH_LOG").ok());
        let filter = EnvFilter::try_new(filter.as_deref().unwrap_or("info")).unwrap_or_else(|error| {
            eprintln!("smartswitch: the log filter is ignored: {error}");
            EnvFilter::new("info")
        });
        Telemetry::start(filter)
    }
}

/// Checks a configuration and prints what is wrong with it.
pub fn check(options: &CheckOptions) -> ExitCode {
    let checked = match config::load(&options.config) {
        Ok(checked) => checked,
        Err(error) => {
            eprintln!("smartswitch: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ok = checked.config.is_some();
    if options.json {
        say(format_args!("{}", serde_json::json!({ "ok": ok, "problems": checked.problems })));
    } else {
        for problem in &checked.problems {
            say(format_args!("{problem}"));
        }
        let count = |severity| checked.problems.iter().filter(|problem| problem.severity == severity).count();
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        let file = options.config.display();
        match (errors, warnings) {
            (0, 0) => say(format_args!("{file}: no problems")),
            _ => say(format_args!("{file}: errors: {errors}, warnings: {warnings}")),
        }
    }
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Writes a line to standard output. A reader that has gone away (`| head`) has what it wanted.
pub(crate) fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
