//! Records in an append-only file.
//!
//! A batch begins with a mark that says how many bytes of the file were synced when it was written, and how
//! many records follow. It is there whole or not at all: what is committed is told with entries, and would be
//! told of those that they replace if it came without them. After a crash the end of the file may be torn: bytes that were not synced may be there,
//! partly there, or not, in any order of sectors. Nobody was promised anything that stood in them, and
//! [`recover`] cuts them off. Bytes that *were* synced are another matter: cutting them off would break
//! promises. So where a record is damaged, the marks behind it decide: if one says that the damage lies
//! within what was synced, the journal is refused.

use prost::encoding::{decode_varint, encode_varint};

use super::record::SYNCED;
use super::{Log, OutOfOrder, Record, RecordError};
use crate::frame::{self, Frame};

/// Lays out batches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Journal {
    len: u64,
    synced: u64,
}

/// What a journal amounts to.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// Its log.
    pub log: Log,
    /// To go on with, once the file was cut to [`Journal::len`] bytes.
    pub journal: Journal,
    /// Bytes of a torn end, to be cut off.
    pub torn: usize,
}

/// Why a journal cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum JournalError {
    #[error(
        "byte {at} of the journal, which was synced: {problem}; remove this member from its group and add it anew with an empty directory"
    )]
    Corrupt { at: usize, problem: RecordError },
    #[error("byte {at} of the journal: {problem}")]
    Unknown { at: usize, problem: RecordError },
    #[error(
        "byte {at} of the journal: {problem}; remove this member from its group and add it anew with an empty directory"
    )]
    OutOfOrder { at: usize, problem: OutOfOrder },
}

impl Journal {
    /// Bytes of the file.
    #[allow(clippy::len_without_is_empty, reason = "a length in bytes")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The bytes to append for a batch of records.
    pub fn batch(&mut self, records: &[Record]) -> Vec<u8> {
        let mut mark = Vec::new();
        encode_varint(self.synced, &mut mark);
        encode_varint(records.len() as u64, &mut mark);
        let mut bytes = Vec::new();
        frame::write(&mut bytes, SYNCED, &mark);
        records.iter().for_each(|record| record.write(&mut bytes));
        self.len += bytes.len() as u64;
        bytes
    }

    /// Notes that the first `len` bytes of the file are durable.
    pub fn synced(&mut self, len: u64) {
        self.synced = self.synced.max(len);
    }
}

/// The log in a file of these bytes, after a start or a crash.
///
/// # Errors
/// If bytes are damaged that were synced, or a later release wrote them.
pub fn recover(bytes: &[u8]) -> Result<Recovered, JournalError> {
    let mut log = Log::default();
    // Up to here batches are whole. Of the one behind: what was read, and how many records are to come.
    let (mut whole, mut batch, mut left) = (0, Vec::new(), 0);
    let mut rest = bytes;
    let at = |rest: &[u8]| bytes.len() - rest.len();
    while !rest.is_empty() {
        let frame = match frame::read(rest) {
            Ok((frame, behind)) => {
                rest = behind;
                frame
            }
            Err(_) if !was_synced(rest, at(rest)) => break,
            Err(problem) => return Err(JournalError::Corrupt { at: at(rest), problem: problem.into() }),
        };
        let kind = frame.kind;
        let unknown = |problem| JournalError::Unknown { at: at(rest), problem };
        let misplaced = || unknown(RecordError::Invalid(kind));
        if kind == SYNCED {
            left = records_of(frame.payload).filter(|_| left == 0).ok_or_else(misplaced)?;
        } else {
            batch.push(Record::of_frame(frame).map_err(unknown)?);
            left = left.checked_sub(1).ok_or_else(misplaced)?;
        }
        if left == 0 {
            for record in batch.drain(..) {
                log.take(record).map_err(|problem| JournalError::OutOfOrder { at: at(rest), problem })?;
            }
            whole = at(rest);
        }
    }
    // What is kept was read back, but may be in a cache only: not synced, as far as is known.
    let journal = Journal { len: whole as u64, synced: 0 };
    Ok(Recovered { log, journal, torn: bytes.len() - whole })
}

/// How many records the batch of a mark has.
fn records_of(mut mark: &[u8]) -> Option<u64> {
    decode_varint(&mut mark).ok()?;
    decode_varint(&mut mark).ok()
}

/// Whether a mark behind the damage at the front of `rest`, at byte `at` of the file, says that more was
/// synced.
fn was_synced(rest: &[u8], at: usize) -> bool {
    (1..rest.len()).any(|start| match frame::read(&rest[start..]) {
        Ok((Frame { kind: SYNCED, mut payload }, _)) => {
            decode_varint(&mut payload).is_ok_and(|synced| synced > at as u64)
        }
        _ => false,
    })
}
