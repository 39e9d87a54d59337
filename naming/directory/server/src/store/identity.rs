//! Whose directory it is, which store it is, with whom it founds a directory, and whether it was ever used. A file beside
//! RocksDB's, so that it can be read before RocksDB is.
//!
//! ```text
//! smartswitch directory
//! format 1
//! node 0000000000000001
//! store 5d0c7a1e90b3f246
//! founder 0000000000000001 5d0c7a1e90b3f246
//! founder 0000000000000002 83e1c0aa5f1d7724
//! begun
//! ```
//! Lines that a release does not know it passes over.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use naming::NodeId;

use super::StoreError;
use crate::random::random;

/// Of the layout of column families, keys and values. A release reads all formats up to its own.
pub(super) const FORMAT: u32 = 1;

const FILE: &str = "IDENTITY";
const ASIDE: &str = "IDENTITY.new";
const BEGUN: &str = "begun";

/// Tells a store from all others, those that the same node had before among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId(u64);

impl StoreId {
    /// The id of this number, which is not 0.
    pub fn new(number: u64) -> Option<Self> {
        (number != 0).then_some(Self(number))
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }

    fn draw() -> Self {
        Self(random().max(1))
    }
}

impl std::fmt::Display for StoreId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Who founds a directory, each with which store.
pub type Founders = BTreeMap<NodeId, StoreId>;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Whose it is.
    pub(crate) node: NodeId,
    /// Which of its stores.
    pub(crate) store: StoreId,
    /// As it was agreed with them; none, if it was not.
    pub(crate) founders: Founders,
    /// Whether the store ever had a shard.
    pub(crate) begun: bool,
}

/// Makes sure that the directory is `node`'s and of a format this release knows; makes it so if it is empty.
pub(super) fn check(path: &Path, node: NodeId) -> Result<Identity, StoreError> {
    let io = |problem| StoreError::Io { path: path.to_owned(), problem };
    fs::create_dir_all(path).map_err(io)?;
    match fs::read_to_string(path.join(FILE)) {
        Ok(text) => read(path, &text, node),
        Err(problem) if problem.kind() == ErrorKind::NotFound => {
            let others = fs::read_dir(path).map_err(io)?.filter_map(Result::ok);
            let name =
                others.map(|entry| entry.file_name()).find(|name| name != ASIDE && name != "lost+found");
            if let Some(name) = name {
                return Err(StoreError::NotEmpty { path: path.to_owned(), file: name.into() });
            }
            let new = Identity { node, store: StoreId::draw(), founders: Founders::new(), begun: false };
            write(path, &new).map(|()| new)
        }
        Err(problem) => Err(io(problem)),
    }
}

fn read(path: &Path, text: &str, node: NodeId) -> Result<Identity, StoreError> {
    let value =
        |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')).map(str::trim);
    let damaged = || StoreError::Identity { path: path.join(FILE) };
    let format: u32 = value("format").and_then(|text| text.parse().ok()).ok_or_else(damaged)?;
    if format > FORMAT {
        return Err(StoreError::NewerFormat { path: path.to_owned(), format });
    }
    let owner: NodeId = value("node").and_then(|text| text.parse().ok()).ok_or_else(damaged)?;
    if owner != node {
        return Err(StoreError::OtherNode { path: path.to_owned(), owner, node });
    }
    let store = value("store").map(|text| store_of(text).ok_or_else(damaged)).transpose()?;
    let founders = text.lines().filter_map(|line| line.strip_prefix("founder "));
    let founder = |line: &str| {
        let (node, store) = line.split_once(' ')?;
        Some((node.parse().ok()?, store_of(store)?))
    };
    let founders = founders.map(|line| founder(line).ok_or_else(damaged)).collect::<Result<_, _>>()?;
    let begun = text.lines().any(|line| line == BEGUN);
    if let Some(store) = store {
        return Ok(Identity { node, store, founders, begun });
    }
    // A release made it that drew none.
    let drawn = Identity { node, store: StoreId::draw(), founders, begun };
    write(path, &drawn).map(|()| drawn)
}

fn store_of(text: &str) -> Option<StoreId> {
    u64::from_str_radix(text.trim(), 16).ok().and_then(StoreId::new)
}

/// Aside, then renamed: there, or not.
pub(super) fn write(path: &Path, identity: &Identity) -> Result<(), StoreError> {
    let mut text = format!("smartswitch directory\nformat {FORMAT}\nnode {}\n", identity.node);
    text += &format!("store {}\n", identity.store);
    text.extend(identity.founders.iter().map(|(node, store)| format!("founder {node} {store}\n")));
    if identity.begun {
        text += BEGUN;
        text.push('\n');
    }
    let replace = || {
        let mut file = File::create(path.join(ASIDE))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(path.join(ASIDE), path.join(FILE))?;
        File::open(path)?.sync_all()
    };
    replace().map_err(|problem| StoreError::Io { path: path.to_owned(), problem })
}
