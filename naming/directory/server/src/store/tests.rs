use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use naming_directory::catalog::{Catalog, NameRange};
use naming_directory::log::{Base, Entry, EntryKind, HardState, Log, Members};
use naming_directory::{Bytes, Position};
use tempfile::TempDir;

use super::*;

const SHARD: ShardId = ShardId::FIRST;
const OTHER: ShardId = ShardId(0xbeef);

fn node(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

fn base(index: u64) -> Base {
    Base { position: Position::new(1, index), members: Members::of_voters([1, 2, 3].map(node)) }
}

fn entry(term: u64, index: u64) -> Record {
    let data = Bytes::from(format!("entry {index} of {term}"));
    Record::Entry(Entry { position: Position::new(term, index), kind: EntryKind::Command, data })
}

fn voted(term: u64, commit: u64) -> Record {
    Record::HardState(HardState { term, vote: 2, commit })
}

fn state(index: u64) -> Catalog {
    Catalog::new(NameRange::all(), Position::new(1, index), 0)
}

/// A store of node 1 with a shard that begins.
fn begin(path: &Path) -> Store {
    let store = Store::open(path, node(1)).unwrap();
    store.create(SHARD, &Log::begin(base(1)), &state(1)).unwrap();
    store
}

fn load(path: &Path) -> Result<BTreeMap<ShardId, Loaded>, StoreError> {
    Store::open(path, node(1))?.load(0)
}

fn write(store: &Store, records: &[Record]) {
    store.write([(SHARD, records)], true).unwrap();
}

fn places(log: &Log) -> Vec<(u64, u64)> {
    log.entries_from(0).map(|entry| (entry.position.term, entry.position.index)).collect()
}

#[test]
fn what_was_written_is_there_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let store = begin(dir.path());
    write(&store, &[voted(1, 1), entry(1, 2), entry(1, 3), entry(1, 4)]);
    // Another leader's entry takes the place of two.
    write(&store, &[voted(2, 2), entry(2, 3)]);
    store.create(OTHER, &Log::begin(base(1)), &state(1)).unwrap();
    drop(store);
    let shards = load(dir.path()).unwrap();
    assert_eq!(shards.keys().copied().collect::<Vec<_>>(), [SHARD, OTHER]);
    let Loaded { log, state } = &shards[&SHARD];
    assert_eq!((places(log), log.hard_state().commit), (vec![(1, 2), (2, 3)], 2));
    assert_eq!(state.as_ref().unwrap().position(), Position::new(1, 1));
}

#[test]
fn a_log_is_compacted_and_begins_anew() {
    let dir = TempDir::new().unwrap();
    let store = begin(dir.path());
    write(&store, &[voted(1, 1), entry(1, 2), entry(1, 3), entry(1, 4)]);
    store.keep_snapshot(SHARD, &state(3)).unwrap();
    write(&store, &[Record::Compact(base(3))]);
    drop(store);
    let store = Store::open(dir.path(), node(1)).unwrap();
    let loaded = store.load(0).unwrap().remove(&SHARD).unwrap();
    assert_eq!((places(&loaded.log), loaded.state.unwrap().position().index), (vec![(1, 4)], 3));
    // The first snapshot was of no use any more, and is gone.
    assert_eq!(store.snapshots(SHARD).unwrap().len(), 1);
    store.keep_snapshot(SHARD, &state(90)).unwrap();
    write(&store, &[Record::Reset(base(90)), voted(1, 90), entry(1, 91)]);
    drop(store);
    let loaded = load(dir.path()).unwrap().remove(&SHARD).unwrap();
    assert_eq!((places(&loaded.log), loaded.state.unwrap().position().index), (vec![(1, 91)], 90));
}

#[test]
fn a_snapshot_that_was_not_finished_does_not_exist() {
    let dir = TempDir::new().unwrap();
    let store = begin(dir.path());
    let generation = store.next_generation(SHARD).unwrap();
    store.put_chunk(SHARD, generation, 0, b"half of it").unwrap();
    store.db.flush_cf(store.state()).unwrap();
    drop(store);
    let store = Store::open(dir.path(), node(1)).unwrap();
    assert_eq!(store.load(0).unwrap()[&SHARD].state.as_ref().unwrap().position().index, 1);
    assert_eq!(store.chunk(SHARD, generation, 0).unwrap(), None);
}

#[test]
fn a_shard_is_forgotten() {
    let dir = TempDir::new().unwrap();
    let store = begin(dir.path());
    store.create(OTHER, &Log::begin(base(1)), &state(1)).unwrap();
    assert!(store.retired().unwrap().is_empty());
    let had = Retired { term: 7, last: Position::new(6, 80) };
    store.forget(SHARD, Some(had)).unwrap();
    drop(store);
    assert_eq!(load(dir.path()).unwrap().keys().copied().collect::<Vec<_>>(), [OTHER]);
    let store = Store::open(dir.path(), node(1)).unwrap();
    assert_eq!(store.retired().unwrap(), [(SHARD, had)].into());
    store.forget(OTHER, None).unwrap();
    assert_eq!((store.retired().unwrap(), store.load(0).unwrap().len()), ([(SHARD, had)].into(), 0));
}

#[test]
fn a_store_of_others_is_refused_and_says_what_to_do() {
    let dir = TempDir::new().unwrap();
    drop(begin(dir.path()));
    let error = Store::open(dir.path(), node(2)).err().unwrap();
    assert!(
        matches!(error, StoreError::OtherNode { .. }) && error.to_string().contains("start this one as node")
    );
    let store = Store::open(dir.path(), node(1)).unwrap();
    assert!(matches!(Store::open(dir.path(), node(1)), Err(StoreError::InUse { .. })));
    drop(store);
    let identity = dir.path().join("IDENTITY");
    let text = fs::read_to_string(&identity).unwrap();
    fs::write(&identity, text.replace("format 1", "format 2")).unwrap();
    let error = Store::open(dir.path(), node(1)).err().unwrap();
    assert!(
        matches!(error, StoreError::NewerFormat { format: 2, .. })
            && error.to_string().ends_with("upgrade this node")
    );
    fs::write(&identity, "garbage").unwrap();
    assert!(matches!(Store::open(dir.path(), node(1)), Err(StoreError::Identity { .. })));
    let other = TempDir::new().unwrap();
    fs::write(other.path().join("thesis.tex"), "").unwrap();
    let error = Store::open(other.path(), node(1)).err().unwrap();
    assert!(matches!(error, StoreError::NotEmpty { .. }), "{error}");
}

/// The newest write-ahead log.
fn write_ahead_log(dir: &Path) -> PathBuf {
    let files = fs::read_dir(dir.join("db")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|kind| kind == "log")).max().unwrap()
}

/// A store that crashed after it wrote entries 2 to 9, each synced; the length of its write-ahead log after each.
fn crashed(dir: &Path) -> (PathBuf, Vec<u64>) {
    let store = begin(dir);
    let mut lengths = Vec::new();
    for index in 2..10 {
        write(&store, &[voted(1, index - 1), entry(1, index)]);
        lengths.push(fs::metadata(write_ahead_log(dir)).unwrap().len());
    }
    // Not closed, as by a crash: what a close would do must not be needed.
    let copy = dir.join("copy");
    fs::create_dir_all(copy.join("db")).unwrap();
    fs::copy(dir.join("IDENTITY"), copy.join("IDENTITY")).unwrap();
    for file in fs::read_dir(dir.join("db")).unwrap().map(|entry| entry.unwrap().path()) {
        if !file.ends_with("LOCK") {
            fs::copy(&file, copy.join("db").join(file.file_name().unwrap())).unwrap();
        }
    }
    (copy, lengths)
}

#[test]
fn a_torn_end_is_cut_off() {
    let dir = TempDir::new().unwrap();
    let (copy, lengths) = crashed(dir.path());
    let log = write_ahead_log(&copy);
    // In the middle of the last batch.
    let torn = (lengths[6] + lengths[7]) / 2;
    OpenOptions::new().write(true).open(&log).unwrap().set_len(torn).unwrap();
    let loaded = load(&copy).unwrap().remove(&SHARD).unwrap();
    assert_eq!((loaded.log.last_index(), loaded.log.hard_state().commit), (8, 7));
}

#[test]
fn damage_within_what_was_synced_is_refused() {
    let dir = TempDir::new().unwrap();
    let (copy, lengths) = crashed(dir.path());
    let mut log = OpenOptions::new().read(true).write(true).open(write_ahead_log(&copy)).unwrap();
    let at = (lengths[2] + lengths[3]) / 2;
    let mut byte = [0];
    log.seek(SeekFrom::Start(at)).unwrap();
    log.read_exact(&mut byte).unwrap();
    log.seek(SeekFrom::Start(at)).unwrap();
    log.write_all(&[byte[0] ^ 1]).unwrap();
    let error = load(&copy).expect_err("damage is not accepted");
    assert!(error.to_string().contains("add it anew"), "{error}");
}

#[test]
fn damage_that_rocksdb_does_not_see_is_refused() {
    let dir = TempDir::new().unwrap();
    let store = begin(dir.path());
    write(&store, &[voted(1, 1), entry(1, 2), entry(1, 3), entry(1, 4)]);
    let mut value = store.db.get_cf(store.log(), Key::entry(SHARD, 3)).unwrap().unwrap();
    let last = value.len() - 1;
    value[last] ^= 1;
    store.db.put_cf(store.log(), Key::entry(SHARD, 3), &value).unwrap();
    assert!(matches!(store.load(0), Err(StoreError::Damaged { shard: SHARD, .. })));
    // A hole.
    store.db.delete_cf(store.log(), Key::entry(SHARD, 3)).unwrap();
    assert!(matches!(store.load(0), Err(StoreError::Damaged { .. })));
    // An end that is missing though it was committed.
    store.db.delete_cf(store.log(), Key::entry(SHARD, 4)).unwrap();
    assert_eq!(store.load(0).unwrap()[&SHARD].log.last_index(), 2);
    write(&store, &[voted(1, 3)]);
    assert!(matches!(store.load(0), Err(StoreError::Damaged { .. })));
    // A snapshot without its chunks.
    write(&store, &[voted(1, 2)]);
    let generation = store.snapshots(SHARD).unwrap()[0].generation;
    store.db.delete_cf(store.state(), Key::chunk(SHARD, generation, 1)).unwrap();
    assert!(matches!(store.load(0), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_store_knows_how_it_began() {
    let dir = TempDir::new().unwrap();
    let open = || Store::open(dir.path(), node(1)).unwrap();
    let new = open().identity();
    let id = new.store;
    assert!(new.founders.is_empty() && !new.begun);
    assert_ne!(Store::open(TempDir::new().unwrap().path(), node(1)).unwrap().identity().store, id);
    let founders = Founders::from([(node(1), id), (node(2), StoreId::new(u64::MAX).unwrap())]);
    open().write_down(&founders).unwrap();
    assert_eq!(open().identity(), Identity { founders: founders.clone(), ..new.clone() });
    open().begin().unwrap();
    open().join().unwrap();
    assert_eq!(open().identity(), Identity { founders, begun: true, ..new });

    // One that gets its first shard from others did not found it.
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path(), node(1)).unwrap();
    store.write_down(&Founders::from([(node(1), id)])).unwrap();
    store.join().unwrap();
    assert!(store.identity().founders.is_empty() && store.has_begun());
    drop(store);

    // An earlier release drew no id.
    fs::write(dir.path().join("IDENTITY"), "smartswitch directory\nformat 1\nnode 0000000000000001\nbegun\n")
        .unwrap();
    let begun = Store::open(dir.path(), node(1)).unwrap().identity();
    assert!(begun.begun);
    assert_eq!(Store::open(dir.path(), node(1)).unwrap().identity(), begun, "it is drawn once");
}
