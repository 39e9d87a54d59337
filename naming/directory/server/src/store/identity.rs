//! Whose directory it is, and whether it was ever used. A file beside RocksDB's, so that it can be read before RocksDB is.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use naming::NodeId;

use super::StoreError;

/// Of the layout of column families, keys and values. A release reads all formats up to its own.
pub(super) const FORMAT: u32 = 1;

const FILE: &str = "IDENTITY";
const ASIDE: &str = "IDENTITY.new";
const BEGUN: &str = "begun";

/// Makes sure that the directory is `node`'s and of a format this release knows; makes it so if it is empty.
pub(super) fn check(path: &Path, node: NodeId) -> Result<(), StoreError> {
    let io = |problem| StoreError::Io { path: path.to_owned(), problem };
    fs::create_dir_all(path).map_err(io)?;
    match fs::read_to_string(path.join(FILE)) {
        Ok(text) => compare(path, &text, node),
        Err(problem) if problem.kind() == ErrorKind::NotFound => {
            let others = fs::read_dir(path).map_err(io)?.filter_map(Result::ok);
            let name =
                others.map(|entry| entry.file_name()).find(|name| name != ASIDE && name != "lost+found");
            match name {
                Some(name) => Err(StoreError::NotEmpty { path: path.to_owned(), file: name.into() }),
                None => write(path, node, false).map_err(io),
            }
        }
        Err(problem) => Err(io(problem)),
    }
}

fn compare(path: &Path, text: &str, node: NodeId) -> Result<(), StoreError> {
    let value =
        |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')).map(str::trim);
    let damaged = || StoreError::Identity { path: path.join(FILE) };
    let format: u32 = value("format").and_then(|text| text.parse().ok()).ok_or_else(damaged)?;
    if format > FORMAT {
        return Err(StoreError::NewerFormat { path: path.to_owned(), format });
    }
    let owner: NodeId = value("node").and_then(|text| text.parse().ok()).ok_or_else(damaged)?;
    if owner == node { Ok(()) } else { Err(StoreError::OtherNode { path: path.to_owned(), owner, node }) }
}

/// Whether the directory ever had a shard.
pub(super) fn has_begun(path: &Path) -> Result<bool, StoreError> {
    let io = |problem| StoreError::Io { path: path.to_owned(), problem };
    Ok(fs::read_to_string(path.join(FILE)).map_err(io)?.lines().any(|line| line == BEGUN))
}

/// Notes that it has one.
pub(super) fn begin(path: &Path, node: NodeId) -> Result<(), StoreError> {
    if has_begun(path)? {
        return Ok(());
    }
    write(path, node, true).map_err(|problem| StoreError::Io { path: path.to_owned(), problem })
}

/// Aside, then renamed: there, or not.
fn write(path: &Path, node: NodeId, begun: bool) -> std::io::Result<()> {
    let mut file = File::create(path.join(ASIDE))?;
    let begun = if begun { BEGUN } else { "" };
    writeln!(file, "smartswitch directory\nformat {FORMAT}\nnode {node}\n{begun}")?;
    file.sync_all()?;
    fs::rename(path.join(ASIDE), path.join(FILE))?;
    File::open(path)?.sync_all()
}
