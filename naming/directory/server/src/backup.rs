//! A directory's state in a file, and a directory from such a file.
//!
//! ```text
//! header    frame of kind 1: format, 4 bytes
//! shard     frame of kind 2: the shard's id, 8 bytes; then the chunks of a snapshot, each in a frame of kind 3
//! ...
//! end       frame of kind 4: shards, 4 bytes
//! ```
//! Numbers are big-endian. Each shard is as of one entry of its log; different shards are as of different moments.

use std::io::{Read, Write};
use std::path::Path;

use naming::NodeId;
use naming_directory::catalog::snapshot::{Restore, SnapshotError, SnapshotWriter};
use naming_directory::frame::{self, HEADER_LEN, MAX_PAYLOAD_LEN};
use naming_directory::log::{Base, Log, Members};
use naming_directory_client::ShardId;

use crate::store::{Store, StoreError};

/// Of the file: what this release writes, and the newest it reads.
const FORMAT: u32 = 1;

const HEADER: u8 = 1;
const SHARD: u8 = 2;
const CHUNK: u8 = 3;
const END: u8 = 4;

/// Why a backup cannot be written or restored.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum BackupError {
    #[error("the node's directory does not answer; see its log")]
    NotRunning,
    #[error("the node has no shard of the directory: back up another one")]
    NoShards,
    #[error("the backup cannot be written or read: {0}")]
    Io(#[from] std::io::Error),
    #[error("byte {at} of the backup: {problem}; use another backup")]
    Damaged { at: u64, problem: String },
    #[error("the backup has format {0}, this release reads up to {FORMAT}: upgrade this node")]
    NewerFormat(u32),
    #[error("the backup's state cannot be used: {0}")]
    State(#[from] SnapshotError),
    #[error("{path} has a directory already: restore to a place of its own", path = .0.display())]
    Used(std::path::PathBuf),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Writes shards; how many bytes.
pub(crate) fn write(shards: Vec<(ShardId, SnapshotWriter)>, out: &mut dyn Write) -> Result<u64, BackupError> {
    let (count, mut bytes) = (shards.len() as u32, 0);
    let mut put = |kind: u8, payload: &[u8]| {
        let mut framed = Vec::with_capacity(HEADER_LEN + payload.len());
        frame::write(&mut framed, kind, payload);
        bytes += framed.len() as u64;
        out.write_all(&framed)
    };
    put(HEADER, &FORMAT.to_be_bytes())?;
    for (shard, writer) in shards {
        put(SHARD, &shard.0.to_be_bytes())?;
        for chunk in writer {
            put(CHUNK, &chunk)?;
        }
    }
    put(END, &count.to_be_bytes())?;
    out.flush()?;
    Ok(bytes)
}

/// How many shards a backup has, if it is whole and undamaged, as far as that shows without its states being made.
///
/// # Errors
/// If it is not.
pub fn check(backup: &mut dyn Read) -> Result<u32, BackupError> {
    let mut frames = Frames { backup, at: 0 };
    frames.header()?;
    let mut count = 0;
    loop {
        match frames.next()? {
            (END, payload) if number(&payload) == Some(count) && count > 0 => return Ok(count),
            (END, _) => return Err(frames.damaged("shards are missing")),
            (SHARD, _) => count += 1,
            _ => {}
        }
    }
}

/// Makes a new store of a backup, in which `node` is the only member of all shards; how many. Others are added to it, with
/// stores that are new.
///
/// # Errors
/// If the place has a directory, or the backup is not whole; what was made of it then is to be removed.
pub fn restore(path: &Path, node: NodeId, backup: &mut dyn Read) -> Result<u32, BackupError> {
    let store = Store::open(path, node)?;
    if store.has_begun() || !store.load(0)?.is_empty() {
        return Err(BackupError::Used(path.to_owned()));
    }
    let mut frames = Frames { backup, at: 0 };
    frames.header()?;
    let mut count = 0;
    let mut shard: Option<(ShardId, Restore)> = None;
    loop {
        let (kind, payload) = frames.next()?;
        match (kind, &mut shard) {
            (CHUNK, Some((_, restore))) => restore.push(&payload)?,
            (SHARD | END, done) => {
                if let Some((shard, restore)) = done.take() {
                    keep(&store, node, shard, restore)?;
                    count += 1;
                }
                if kind == END {
                    let whole = number(&payload) == Some(count) && count > 0;
                    whole.then_some(()).ok_or_else(|| frames.damaged("shards are missing"))?;
                    store.join()?;
                    return Ok(count);
                }
                let id = payload.as_slice().try_into().map(u64::from_be_bytes);
                let id = id.map_err(|_| frames.damaged("a shard has no id"))?;
                shard = Some((ShardId(id), Restore::new(0)));
            }
            _ => return Err(frames.damaged("a part is in the wrong place")),
        }
    }
}

fn keep(store: &Store, node: NodeId, shard: ShardId, restore: Restore) -> Result<(), BackupError> {
    let state = restore.finish()?;
    let base = Base { position: state.position(), members: Members::of_voters([node]) };
    Ok(store.create(shard, &Log::begin(base), &state)?)
}

fn number(payload: &[u8]) -> Option<u32> {
    payload.try_into().ok().map(u32::from_be_bytes)
}

/// Frames one after the other.
struct Frames<'a> {
    backup: &'a mut dyn Read,
    at: u64,
}

impl Frames<'_> {
    fn header(&mut self) -> Result<(), BackupError> {
        let (kind, payload) = self.next()?;
        let format = number(&payload).filter(|_| kind == HEADER);
        match format.ok_or_else(|| self.damaged("it is no backup of a directory"))? {
            FORMAT => Ok(()),
            newer => Err(BackupError::NewerFormat(newer)),
        }
    }

    fn next(&mut self) -> Result<(u8, Vec<u8>), BackupError> {
        let mut framed = vec![0; HEADER_LEN];
        self.backup.read_exact(&mut framed).map_err(|error| self.ends(error))?;
        let len = u32::from_le_bytes([framed[0], framed[1], framed[2], framed[3]]) as usize;
        if len > MAX_PAYLOAD_LEN {
            return Err(self.damaged("a part is longer than any can be"));
        }
        framed.resize(HEADER_LEN + len, 0);
        self.backup.read_exact(&mut framed[HEADER_LEN..]).map_err(|error| self.ends(error))?;
        let (frame, _) = frame::read(&framed).map_err(|problem| self.damaged(problem))?;
        let next = (frame.kind, frame.payload.to_vec());
        self.at += framed.len() as u64;
        Ok(next)
    }

    fn ends(&self, error: std::io::Error) -> BackupError {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.damaged("it ends early"),
            _ => BackupError::Io(error),
        }
    }

    fn damaged(&self, problem: impl ToString) -> BackupError {
        BackupError::Damaged { at: self.at, problem: problem.to_string() }
    }
}
