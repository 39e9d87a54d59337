//! The smartswitch program.

use std::process::ExitCode;

use clap::Parser;
use node::cli::{Cli, Command, RunOptions};
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let telemetry = cli.start_log();
    let outcome = match cli.command.unwrap_or(Command::Run(RunOptions::default())) {
        Command::Run(options) => node::run::run(&options, telemetry),
        Command::Check(options) => return node::cli::check(&options),
        Command::Top(options) => node::top::top(&options),
        Command::Reload(options) => node::reload::ask::reload(&options),
        Command::Import(options) => node::import::import(&options),
        Command::Directory(options) => node::directory::cli::directory(&options),
        Command::Pki(options) => node::pki::pki(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("smartswitch: {error}");
            ExitCode::FAILURE
        }
    }
}
