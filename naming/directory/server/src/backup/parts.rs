//! The parts of the file.

use std::io::{ErrorKind, Read};

use naming_directory::frame::{self, HEADER_LEN, MAX_PAYLOAD_LEN};
use naming_directory_client::ShardId;

use super::{BackupError, FORMAT};

const HEADER: u8 = 1;
const SHARD: u8 = 2;
const CHUNK: u8 = 3;
const END: u8 = 4;
const FAILED: u8 = 5;

/// What comes behind the header.
#[derive(Debug, PartialEq)]
pub(super) enum Part {
    Shard(ShardId),
    /// Of the shard before it.
    Chunk(Vec<u8>),
    /// So many shards came.
    End(u32),
}

impl Part {
    fn of(kind: u8, payload: Vec<u8>) -> Result<Self, &'static str> {
        match kind {
            SHARD => {
                let id = payload.as_slice().try_into().map_err(|_| "a shard has no id")?;
                Ok(Self::Shard(ShardId(u64::from_be_bytes(id))))
            }
            CHUNK => Ok(Self::Chunk(payload)),
            END => number(&payload).map(Self::End).ok_or("its end is none"),
            _ => Err("a part is in the wrong place"),
        }
    }
}

/// What a file begins with.
pub(super) fn header() -> Vec<u8> {
    framed(HEADER, &FORMAT.to_be_bytes())
}

pub(super) fn shard(shard: ShardId) -> Vec<u8> {
    framed(SHARD, &shard.0.to_be_bytes())
}

pub(super) fn chunk(chunk: &[u8]) -> Vec<u8> {
    framed(CHUNK, chunk)
}

pub(super) fn end(shards: u32) -> Vec<u8> {
    framed(END, &shards.to_be_bytes())
}

pub(super) fn failed(why: &impl ToString) -> Vec<u8> {
    framed(FAILED, why.to_string().as_bytes())
}

fn framed(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(HEADER_LEN + payload.len());
    frame::write(&mut framed, kind, payload);
    framed
}

fn number(payload: &[u8]) -> Option<u32> {
    payload.try_into().ok().map(u32::from_be_bytes)
}

/// Parts one after the other.
pub(super) struct Parts<'a> {
    backup: &'a mut dyn Read,
    at: u64,
}

impl<'a> Parts<'a> {
    /// Those behind the header.
    pub(super) fn open(backup: &'a mut dyn Read) -> Result<Self, BackupError> {
        let mut parts = Self { backup, at: 0 };
        let (kind, payload) = parts.frame()?;
        let format = number(&payload).filter(|_| kind == HEADER);
        match format.ok_or_else(|| parts.damaged("it is no backup of a directory"))? {
            FORMAT => Ok(parts),
            newer => Err(BackupError::NewerFormat(newer)),
        }
    }

    /// The next one, unless what wrote the file failed there.
    pub(super) fn next(&mut self) -> Result<Part, BackupError> {
        let at = self.at;
        let (kind, payload) = self.frame()?;
        if kind == FAILED {
            return Err(BackupError::Failed(String::from_utf8_lossy(&payload).into_owned()));
        }
        Part::of(kind, payload).map_err(|problem| BackupError::Damaged { at, problem: problem.to_owned() })
    }

    pub(super) fn damaged(&self, problem: impl ToString) -> BackupError {
        BackupError::Damaged { at: self.at, problem: problem.to_string() }
    }

    fn frame(&mut self) -> Result<(u8, Vec<u8>), BackupError> {
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
            ErrorKind::UnexpectedEof => self.damaged("it ends early"),
            _ => BackupError::Io(error),
        }
    }
}
