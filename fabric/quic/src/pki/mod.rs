//! A certificate authority for those who have none: a directory with the authority's certificate and key, and a
//! certificate and key for each node.
//!
//! ```text
//! DIR/ca.crt                   the authority; every node gets a copy
//! DIR/ca.key                   stays where nodes are given certificates, and nowhere else
//! DIR/<node id>.crt, .key      one node's
//! ```
//! Keys are ECDSA on P-256. Keys are for their owner only (mode 0600), in a directory that is, too, if it is made here
//! (0700). Nothing that exists is overwritten, but a node's certificate when it is renewed; its key stays.
//!
//! Any other authority does as well, if its certificates name nodes as [`node_name`](crate::node_name) says, for
//! servers and clients both.
//!
//! | module | what it is |
//! |---|---|
//! | `authority` | makes certificates |
//! | `facts` | says what is in one |
//! | `files` | writes them |

mod authority;
mod facts;
mod files;

use std::path::PathBuf;
use std::time::SystemTime;

pub use authority::{Authority, Validity};
pub use facts::{Facts, facts};
use naming::NodeId;

/// What was asked of the authority cannot be done.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum PkiError {
    #[error("{} is there already, and is kept; choose another directory, or move it away", .0.display())]
    Exists(PathBuf),
    #[error("{} is there already, and is kept; `--renew` gives node {node} a new certificate", path.display())]
    NodeExists { path: PathBuf, node: NodeId },
    #[error("{} is not there: node {node} has no certificate yet; leave `--renew` out", path.display())]
    NothingToRenew { path: PathBuf, node: NodeId },
    #[error("there is no authority in {}; `smartswitch pki init {}` makes one", .0.display(), .0.display())]
    NoAuthority(PathBuf),
    #[error("cannot read {}: {source}; check the path and who may read it", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("cannot write {}: {source}; check the directory and its permissions", path.display())]
    Unwritable { path: PathBuf, source: std::io::Error },
    #[error("cannot use {}: {reason}", path.display())]
    Unfit { path: PathBuf, reason: String },
    #[error("`{0}` is no host name or IP address that a certificate can hold")]
    Name(String),
    #[error("the authority in {} ends on {}, before the certificate would; give fewer days, or make a new authority", dir.display(), date(*.ends))]
    Outlives { dir: PathBuf, ends: SystemTime },
    #[error("a certificate cannot be valid for that long; give fewer days")]
    TooLong,
    #[error("no certificate could be made: {0}")]
    Unmade(String),
}

/// A point in time, as people read it: `2026-11-23T17:40:00Z`.
pub fn date(time: SystemTime) -> String {
    let whole = time::OffsetDateTime::from(time).replace_nanosecond(0);
    let format = &time::format_description::well_known::Rfc3339;
    whole
        .ok()
        .and_then(|time| time.format(format).ok())
        .unwrap_or_else(|| "a date beyond the calendar".to_owned())
}

#[cfg(test)]
mod tests;
