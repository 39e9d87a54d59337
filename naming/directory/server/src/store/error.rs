//! Why a store cannot be used.

use std::path::PathBuf;

use naming::NodeId;
use naming_directory_client::ShardId;

use super::identity::FORMAT;

/// Why a node's disk cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum StoreError {
    #[error("{path}: {problem}; see that it is a directory that this process may write to", path = path.display())]
    Io { path: PathBuf, problem: std::io::Error },
    #[error(
        "{path} has `{file}` in it and is no directory store: give the directory a place of its own",
        path = path.display(), file = file.display()
    )]
    NotEmpty { path: PathBuf, file: PathBuf },
    #[error(
        "{path} is node {owner}'s, this is node {node}: give each node a place of its own, or start this one as node {owner}",
        path = path.display()
    )]
    OtherNode { path: PathBuf, owner: NodeId, node: NodeId },
    #[error(
        "{path} has format {format}, this release reads up to {FORMAT}: upgrade this node",
        path = path.display()
    )]
    NewerFormat { path: PathBuf, format: u32 },
    #[error("{path} does not say whose store it is: {REPLACE}", path = path.display())]
    Identity { path: PathBuf },
    #[error("{path} is in use by another process: stop that one first", path = path.display())]
    InUse { path: PathBuf },
    #[error("{path} cannot be opened: {problem}; if it is damaged, {REPLACE}", path = path.display())]
    Open { path: PathBuf, problem: rocksdb::Error },
    #[error("the log or state of shard {shard} is damaged: {problem}; {REPLACE}")]
    Damaged { shard: ShardId, problem: String },
    #[error("the store cannot be read: {0}")]
    Read(rocksdb::Error),
    #[error("the store cannot be written: {0}; see that its disk is not full")]
    Write(rocksdb::Error),
}

/// The way out of damage: a member that lost what it promised must not vote as if it had not.
const REPLACE: &str =
    "remove this node from its groups, empty the directory, and add it anew under another node id";
