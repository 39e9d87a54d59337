//! A directory's state in a file, and a directory from such a file.
//!
//! ```text
//! header    frame of kind 1: format, 4 bytes
//! shard     frame of kind 2: the shard's id, 8 bytes; then the chunks of a snapshot, each in a frame of kind 3
//! ...
//! end       frame of kind 4: shards, 4 bytes
//! failed    frame of kind 5, in place of an end: why there is none, in words
//! ```
//! Numbers are big-endian. Each shard is as of one entry of its log; different shards are as of different moments. Together they
//! have all names. What has no end is no backup.
//!
//! | module | what it is |
//! |---|---|
//! | `take` | [`Backup`]: asks for all shards, one after the other |
//! | `parts` | the frames of the file, written and read |

use std::collections::BTreeSet;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use naming::{Name, NodeId};
use naming_directory::catalog::NameRange;
use naming_directory::catalog::snapshot::{Restore, Sequence, SnapshotError};
use naming_directory::log::{Base, Log, Members};
use naming_directory_client::ShardId;

use crate::store::{Store, StoreError};

mod parts;
mod take;

pub use take::Backup;

use parts::{Part, Parts};

/// Of the file: what this release writes, and the newest it reads.
const FORMAT: u32 = 1;

/// Why a backup cannot be read or restored.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum BackupError {
    #[error("the backup cannot be read: {0}")]
    Io(#[from] std::io::Error),
    #[error("byte {at} of the backup: {problem}; use another backup")]
    Damaged { at: u64, problem: String },
    #[error("the backup was not finished: {0}")]
    Failed(String),
    #[error("the backup has no shard for {0} and the names behind it; use another backup")]
    Gap(Name),
    #[error("the backup has format {0}, this release reads up to {FORMAT}: upgrade this node")]
    NewerFormat(u32),
    #[error("the backup's state cannot be used: {0}")]
    State(#[from] SnapshotError),
    #[error("{path} has a directory already: restore to a place of its own", path = .0.display())]
    Used(PathBuf),
    #[error("{error}; {path} has only some of the backup: remove it", path = .path.display())]
    Half { path: PathBuf, error: Box<BackupError> },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How many shards a backup has, if it is whole and undamaged, as far as that shows without its states being made.
///
/// # Errors
/// If it is not.
pub fn check(backup: &mut dyn Read) -> Result<u32, BackupError> {
    each_shard(backup, |_, chunks| {
        let mut sequence = Sequence::default();
        while let Some(chunk) = chunks.next()? {
            sequence.push(&chunk)?;
        }
        Ok(sequence.finish()?)
    })
}

/// Makes a new store of a backup, in which `node` is the only member of all shards; how many. Others are added to it, with
/// stores that are new. The backup is read twice: nothing is made of one that is not whole.
///
/// # Errors
/// If the place has a directory, the backup is not whole, or the store cannot be written: the error says whether something is to be
/// removed then.
pub fn restore(path: &Path, node: NodeId, backup: &mut (impl Read + Seek)) -> Result<u32, BackupError> {
    let begin = backup.stream_position()?;
    check(backup)?;
    backup.seek(SeekFrom::Start(begin))?;
    let store = Store::open(path, node)?;
    if store.has_begun() || !store.load(0)?.is_empty() {
        return Err(BackupError::Used(path.to_owned()));
    }
    let half = |error| BackupError::Half { path: path.to_owned(), error: Box::new(error) };
    fill(&store, node, backup).map_err(half)
}

fn fill(store: &Store, node: NodeId, backup: &mut dyn Read) -> Result<u32, BackupError> {
    let count = each_shard(backup, |shard, chunks| {
        let mut restore = Restore::new(0);
        while let Some(chunk) = chunks.next()? {
            restore.push(&chunk)?;
        }
        let state = restore.finish()?;
        let base = Base { position: state.position(), members: Members::of_voters([node]) };
        store.create(shard, &Log::begin(base), &state)?;
        Ok(state.range().clone())
    })?;
    store.join()?;
    Ok(count)
}

/// The chunks of one shard.
struct Chunks<'a, 'b> {
    parts: &'a mut Parts<'b>,
    /// What comes behind them, once they are read.
    behind: Option<Part>,
}

impl Chunks<'_, '_> {
    fn next(&mut self) -> Result<Option<Vec<u8>>, BackupError> {
        if self.behind.is_none() {
            match self.parts.next()? {
                Part::Chunk(chunk) => return Ok(Some(chunk)),
                behind => self.behind = Some(behind),
            }
        }
        Ok(None)
    }
}

/// Gives each shard to `take`, which has to read its chunks and says which names it has; how many there are, if they have all.
fn each_shard(
    backup: &mut dyn Read,
    mut take: impl FnMut(ShardId, &mut Chunks<'_, '_>) -> Result<NameRange, BackupError>,
) -> Result<u32, BackupError> {
    let mut parts = Parts::open(backup)?;
    let (mut ids, mut ranges, mut part) = (BTreeSet::new(), Vec::new(), parts.next()?);
    loop {
        match part {
            Part::Shard(shard) if !ids.insert(shard) => {
                return Err(parts.damaged(format_args!("shard {shard} comes twice")));
            }
            Part::Shard(shard) => {
                let mut chunks = Chunks { parts: &mut parts, behind: None };
                ranges.push(take(shard, &mut chunks)?);
                part = match chunks.behind {
                    Some(behind) => behind,
                    None => return Err(parts.damaged("a shard's chunks have no end")),
                };
            }
            Part::End(count) if ranges.len() == count as usize => {
                return have_all_names(ranges).map(|()| count);
            }
            Part::End(_) => return Err(parts.damaged("shards are missing")),
            Part::Chunk(_) => return Err(parts.damaged("a part is in the wrong place")),
        }
    }
}

fn have_all_names(mut ranges: Vec<NameRange>) -> Result<(), BackupError> {
    ranges.sort_by(|one, other| one.from().cmp(&other.from()));
    // The first name that none before has.
    let mut next = Some(Name::root());
    for range in &ranges {
        match &next {
            Some(gap) if range.from() > gap.as_name() => break,
            Some(gap) if range.contains(gap.as_name()) => next = range.until().map(|until| until.to_name()),
            _ => {}
        }
    }
    next.map_or(Ok(()), |gap| Err(BackupError::Gap(gap)))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use naming_directory::Position;
    use naming_directory::catalog::Catalog;
    use naming_directory::catalog::snapshot::SnapshotWriter;
    use proptest::prelude::*;

    use super::*;

    /// A backup of two shards, where nothing is.
    fn file() -> Vec<u8> {
        let mut file = parts::header();
        for (id, range) in [(1, range("/", Some("/m"))), (7, range("/m", None))] {
            file.extend(parts::shard(ShardId(id)));
            let state = Catalog::new(range, Position::FIRST, 0);
            SnapshotWriter::new(&state).for_each(|chunk| file.extend(parts::chunk(&chunk)));
        }
        file
    }

    fn ended(mut file: Vec<u8>, end: Vec<u8>) -> Vec<u8> {
        file.extend(end);
        file
    }

    #[test]
    fn what_has_no_end_is_no_backup() {
        assert_eq!(check(&mut &ended(file(), parts::end(2))[..]).unwrap(), 2);
        let refused = |bytes: &[u8]| check(&mut &bytes[..]).unwrap_err().to_string();
        assert!(refused(&file()).contains("it ends early"));
        assert!(refused(&ended(file(), parts::end(3))).contains("shards are missing"));
        assert!(refused(&parts::header()).contains("it ends early"));
        assert!(refused(&ended(parts::header(), parts::end(0))).contains("no shard for / and"));
        let failed = refused(&ended(file(), parts::failed(&"node 3 is gone")));
        assert_eq!(failed, "the backup was not finished: node 3 is gone");
        let chunk = SnapshotWriter::new(&Catalog::new(NameRange::all(), Position::FIRST, 0)).next().unwrap();
        assert!(refused(&ended(parts::header(), parts::chunk(&chunk))).contains("in the wrong place"));
        let twice = ended(ended(file(), parts::shard(ShardId(7))), parts::end(3));
        assert!(refused(&twice).contains(&format!("shard {} comes twice", ShardId(7))));
        // A shard that lacks its last chunk.
        let cut = ended(parts::header(), parts::shard(ShardId(1)));
        let cut = ended(ended(cut, parts::chunk(&chunk)), parts::end(1));
        assert!(refused(&cut).contains("the snapshot ends early"));
    }

    #[test]
    fn nothing_is_made_of_what_is_not_whole() {
        let place = tempfile::tempdir().unwrap();
        let (path, node) = (place.path().join("directory"), NodeId::new(1).unwrap());
        let whole = ended(file(), parts::end(2));
        let cut = restore(&path, node, &mut Cursor::new(&whole[..whole.len() - 1])).unwrap_err();
        assert!(cut.to_string().contains("it ends early") && !path.exists(), "{cut}");
        assert_eq!(restore(&path, node, &mut Cursor::new(&whole)).unwrap(), 2);
        let used = restore(&path, node, &mut Cursor::new(&whole)).unwrap_err();
        assert!(matches!(used, BackupError::Used(_)), "{used}");
    }

    #[test]
    fn what_fails_half_way_is_told_where_to_remove_it() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("directory");
        // A checked file that is another one when it is read again.
        struct Changing(Cursor<Vec<u8>>);
        impl Read for Changing {
            fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
                self.0.read(to)
            }
        }
        impl Seek for Changing {
            fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
                if matches!(to, SeekFrom::Start(_)) {
                    let len = self.0.get_ref().len();
                    self.0.get_mut().truncate(len - 1);
                }
                self.0.seek(to)
            }
        }
        let mut changing = Changing(Cursor::new(ended(file(), parts::end(2))));
        let half = restore(&path, NodeId::new(1).unwrap(), &mut changing).unwrap_err().to_string();
        assert!(half.contains("it ends early") && half.ends_with("remove it"), "{half}");
        assert!(half.contains(&path.display().to_string()), "{half}");
    }

    proptest! {
        #[test]
        fn a_cut_or_a_flipped_bit_is_noticed(at: prop::sample::Index, bit in 0..8_u8) {
            let whole = ended(file(), parts::end(2));
            let at = at.index(whole.len());
            prop_assert!(check(&mut &whole[..at]).is_err());
            let mut flipped = whole;
            flipped[at] ^= 1 << bit;
            prop_assert!(check(&mut &flipped[..]).is_err());
        }

        #[test]
        fn any_parts_are_read_or_refused(
            parts in prop::collection::vec((0..7_u8, prop::collection::vec(any::<u8>(), 0..12)), 0..6)
        ) {
            let mut bytes = parts::header();
            for (kind, payload) in parts {
                naming_directory::frame::write(&mut bytes, kind, &payload);
            }
            prop_assert!(check(&mut &bytes[..]).is_err());
        }
    }

    fn range(from: &str, until: Option<&str>) -> NameRange {
        let until = until.map(|until| until.parse().unwrap());
        NameRange::new(from.parse().unwrap(), until).unwrap()
    }

    #[test]
    fn shards_have_all_names_or_there_is_a_gap() {
        let gap = |ranges: &[NameRange]| match have_all_names(ranges.to_vec()) {
            Err(BackupError::Gap(gap)) => Some(gap.to_string()),
            other => {
                other.unwrap();
                None
            }
        };
        let (first, second, third) = (range("/", Some("/b")), range("/b", Some("/d")), range("/d", None));
        assert_eq!(gap(&[third.clone(), first.clone(), second.clone()]), None);
        assert_eq!(gap(&[NameRange::all()]), None);
        assert_eq!(gap(&[]), Some("/".to_owned()));
        assert_eq!(gap(&[second.clone(), third.clone()]), Some("/".to_owned()));
        assert_eq!(gap(&[first.clone(), third.clone()]), Some("/b".to_owned()));
        assert_eq!(gap(&[first.clone(), second]), Some("/d".to_owned()));
        // Of one shard's halves an older state may have both.
        assert_eq!(gap(&[first, range("/a", None), third]), None);
    }
}
