//! `smartswitch import`: the configuration of another proxy, turned into one of a node.
//!
//! What comes out does what the other proxy did: it listens at the same addresses, serves the same clients, and sends
//! each key to the same server. What cannot be the same is said in a note, in the file and on standard error.

mod nutcracker;

use std::error::Error;
use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::cli::say;
use crate::config;

const EXAMPLES: &str = "\
Examples:
  smartswitch import nutcracker.yml --output node.toml
  smartswitch import /etc/nutcracker/nutcracker.yml | less
  smartswitch check --config node.toml";

/// Options of `import`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ImportOptions {
    /// The configuration of twemproxy (nutcracker), in YAML.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Write the node's configuration here, not to standard output. What is there already is kept, and refused.
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Print JSON: {"toml": "...", "notes": ["..."]}.
    #[arg(long, conflicts_with = "output")]
    pub json: bool,
}

/// A converted configuration.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
struct Imported {
    /// The node's configuration.
    toml: String,
    /// What is not as it was.
    notes: Vec<String>,
}

/// Converts and prints.
///
/// # Errors
/// If the file cannot be read, or says what a node cannot do.
pub fn import(options: &ImportOptions) -> Result<(), Box<dyn Error>> {
    let file = options.file.display();
    let text = std::fs::read_to_string(&options.file)
        .map_err(|error| format!("cannot read {file}: {error}; check the path and its permissions"))?;
    let imported = nutcracker::convert(&text).map_err(|error| format!("{file}: {error}"))?;
    let checked = config::parse("the converted configuration", &imported.toml);
    if checked.config.is_none() {
        let problems: Vec<String> = checked.problems.iter().map(ToString::to_string).collect();
        return Err(format!("{file} says what a node cannot do\n{}", problems.join("\n")).into());
    }
    if options.json {
        say(format_args!("{}", serde_json::json!(imported)));
        return Ok(());
    }
    match &options.output {
        None => say(format_args!("{}", imported.toml.trim_end())),
        Some(output) => {
            write_new(output, &imported.toml)?;
            let output = output.display();
            say(format_args!("{output} is written; try it with `smartswitch run --config {output}`"));
        }
    }
    for note in &imported.notes {
        eprintln!("note: {note}");
    }
    Ok(())
}

fn write_new(path: &std::path::Path, text: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| {
        let remedy = match error.kind() {
            std::io::ErrorKind::AlreadyExists => "move it away, or choose another name",
            _ => "check the directory and its permissions",
        };
        format!("cannot write {}: {error}; {remedy}", path.display())
    };
    let mut file = std::fs::File::create_new(path).map_err(failed)?;
    std::io::Write::write_all(&mut file, text.as_bytes()).map_err(failed)
}
