//! The configuration: a TOML file, read once into types that are always valid.
//!
//! All problems of the sections are found in one pass, then those that only show across sections, each with its line,
//! its column and a remedy.
//!
//! | module | what it is |
//! |---|---|
//! | `types` | the valid configuration |
//! | `buffers` | how many packet buffers it needs |
//! | `reader` | tables, key by key |
//! | `read` | sections: from tables to valid values |
//! | `routes` | `[[route]]` |
//! | `embedded_pool` | pools whose server is the node itself |
//! | `security` | doors: TLS, passwords and limits of clients |
//! | [`directory`], `shards` | the node among other nodes, and how their directory divides and spreads itself |
//! | `check` | what only shows across sections |
//! | [`difference`] | what a new file changes |
//! | [`problem`] | what is wrong, where, and what to do |
//! | [`size`] | byte sizes |

mod buffers;
mod check;
pub mod difference;
pub mod directory;
mod embedded_pool;
pub mod problem;
mod read;
mod reader;
mod routes;
mod security;
mod shards;
pub mod size;
mod types;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::io::ErrorKind;
use std::path::Path;

pub use directory::{Directory, Fabric};
use problem::Problems;
pub use problem::{Problem, Severity};
pub use shards::Shards;
pub use size::ByteSize;
pub use types::{
    Admin, Config, Dataplane, Destination, Door, Embedded, EmbeddedPool, Node, Pool, PoolTcp, Port, Proxy,
    Route, Server, ServerTls, Telemetry, Tls, TracedKeys, default_threads, is_allowed, loopback,
};

/// A file that was read: what it says, and what is wrong with it.
#[derive(Debug)]
pub struct Checked {
    /// The configuration; `None` if there are errors.
    pub config: Option<Config>,
    /// Errors and warnings in the order of the file.
    pub problems: Vec<Problem>,
    /// The file itself.
    pub text: String,
}

/// Why a file cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// No file, or none that may be read.
    #[error("cannot read {path}: {source}; check the path and its permissions")]
    File {
        /// Which.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Bytes that are no UTF-8.
    #[error("cannot read {path}: it is no text; a configuration is TOML in UTF-8")]
    NoText {
        /// Which.
        path: String,
    },
}

/// Reads the file at `path`.
///
/// # Errors
/// [`Unreadable`] if there is no text to check.
pub fn load(path: &Path) -> Result<Checked, Unreadable> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| match source.kind() {
        ErrorKind::InvalidData => Unreadable::NoText { path: file.clone() },
        _ => Unreadable::File { path: file.clone(), source },
    })?;
    Ok(parse(&file, &text))
}

/// Reads `text`, which messages say is in `file`.
pub fn parse(file: &str, text: &str) -> Checked {
    let problems = RefCell::new(Problems::new(file, text));
    let (config, places) = read::document(read::root(text, &problems));
    let mut problems = problems.into_inner();
    if !problems.any_error() {
        check::check(&config, &places, &mut problems);
    }
    let config = (!problems.any_error()).then_some(config);
    Checked { config, problems: problems.into_sorted(), text: text.to_owned() }
}
