//! Stores of every format that was ever released are read. Each has an archive in `tests/data`, written by the release that had
//! it last, and stays as it is. The current one's is made by
//!
//! ```text
//! cargo test -p naming-directory-server --test format -- --ignored
//! ```
//! before a release raises the format; what that release adds to the state belongs into [`fill`] and
//! [`check`](support::archive::check) first.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod support;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use naming::Location;
use naming_directory::catalog::{Catalog, RecordKind};
use naming_directory::log::{EntryKind, Log};
use naming_directory::proto::{OpenSession, PutRecord, Session, command::Action, reply::Outcome};
use naming_directory_client::wire::Freshness;
use naming_directory_client::{Client, ShardId};
use naming_directory_server::store::Store;
use support::archive::{self, LEASE, NAMES, OWNER, copy, tar};
use support::raw::Raw;
use support::{Cluster, name, node};
use tempfile::TempDir;

/// Who says things to it byte by byte.
const RAW: u64 = 50;
/// What the archive has beside the store: what was acknowledged, a line each.
const ACKNOWLEDGED: &str = "acknowledged";

fn archive(format: u32) -> PathBuf {
    archive::archive(Path::new(env!("CARGO_MANIFEST_DIR")), format)
}

/// The archive of a format, unpacked, as the disk of a node that is not started; what was acknowledged.
fn unpacked(format: u32) -> (Cluster, PathBuf, String) {
    let mut cluster = Cluster::adjusted(&[], frequent_snapshots);
    let store = cluster.empty_disk(OWNER);
    let disk = store.parent().unwrap().to_owned();
    tar(&["-xzf", archive(format).to_str().unwrap()], &disk);
    let acknowledged = fs::read_to_string(disk.join(ACKNOWLEDGED)).unwrap();
    (cluster, store, acknowledged)
}

/// So that there is a snapshot, and a log behind it.
fn frequent_snapshots(settings: &mut naming_directory_server::Settings) {
    settings.group.snapshot_entries = 20;
    settings.group.retained_entries = 5;
}

fn put(value: &'static str, expected: Option<u64>) -> Action {
    Action::PutRecord(PutRecord {
        kind: 2,
        name: name("/in/a/session").as_bytes().to_vec().into(),
        value: value.into(),
        expected_revision: expected,
    })
}

/// Something of each kind, in two shards.
async fn fill(client: &Client) {
    let rack = "/row1/r2".parse().unwrap();
    let location = Location { node: node(7), rack, addresses: vec!["192.0.2.7:6364".parse().unwrap()] };
    let epoch = client.register(&location, 77, LEASE).await.unwrap().epoch();
    client.publish(node(7), epoch, (0..NAMES).map(copy).collect()).await.unwrap();
    client.publish(node(8), 1, (0..NAMES / 2).map(copy).collect()).await.unwrap();
    client.withdraw(node(8), vec![copy(0).name]).await.unwrap();
    client.publish(node(9), 1, vec![copy(1)]).await.unwrap();
    client.retire_holder(node(9), 1).await.unwrap();
    client.split(name("/hdfs").as_name()).await.unwrap();
    client.acquire(name("/mc/web").as_name(), node(7), epoch, LEASE).await.unwrap();
    for (number, kind) in RecordKind::ALL.into_iter().enumerate() {
        let at = name(&format!("/mc/web/{number}"));
        client.put_record(kind, at.as_name(), "first", Some(0)).await.unwrap();
        client.put_record(kind, at.as_name(), "second", None).await.unwrap();
    }
    client.put_record(RecordKind::Route, name("/gone").as_name(), "x", None).await.unwrap();
    client.remove_record(RecordKind::Route, name("/gone").as_name(), None).await.unwrap();
}

/// All that [`fill`] was told is done.
async fn check(client: &Client) {
    archive::check(client).await;
    assert_eq!(client.nodes().await.unwrap().len(), 1);
}

/// The state that a log makes of a snapshot.
fn execute(log: &Log, mut state: Catalog) -> Catalog {
    for entry in log.entries_from(state.position().index + 1) {
        match entry.kind {
            EntryKind::Command if !entry.data.is_empty() => {
                state.apply(entry.position, entry.data.clone()).unwrap();
            }
            _ => state.skip(entry.position),
        }
    }
    state
}

/// Of each shard the last entry, and the state after it.
fn states(store: &Path) -> String {
    let shards = Store::open(store, node(OWNER)).unwrap().load(0).unwrap();
    let mut text = String::new();
    for (shard, loaded) in shards {
        let base = loaded.state.unwrap();
        let (from, last) = (base.position().index, loaded.log.last_index());
        assert!(1 < from && from < last, "shard {shard}: a snapshot of entry {from}, a log up to {last}");
        let state = execute(&loaded.log, base);
        writeln!(text, "shard {shard} {} {}", state.position().index, state.checksum()).unwrap();
    }
    text
}

/// A session of the shard of `/in`, whose second command was executed: what a retry of that has to be answered.
fn session_of(acknowledged: &str) -> (Session, u64) {
    let line = acknowledged.lines().find_map(|line| line.strip_prefix("session ")).unwrap();
    let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
    (Session { client: numbers[0], sequence: numbers[1] }, numbers[2])
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes the archive of the current format"]
async fn write_the_archive() {
    let mut cluster = Cluster::adjusted(&[OWNER], frequent_snapshots);
    let client = cluster.client_of(OWNER);
    fill(&client).await;
    let raw = Raw::new(&cluster.network, node(RAW), node(OWNER));
    let opened = raw.execute(ShardId::FIRST, None, Action::OpenSession(OpenSession {})).outcome;
    let Some(Outcome::SessionOpened(opened)) = opened else { panic!("{opened:?}") };
    let session = |sequence| Some(Session { client: opened.client, sequence });
    raw.execute(ShardId::FIRST, session(1), put("one", Some(0)));
    let Some(Outcome::Stored(stored)) = raw.execute(ShardId::FIRST, session(2), put("two", None)).outcome
    else {
        panic!("the record is not stored")
    };
    // Each shard has a snapshot of more than its beginning, and a log behind it.
    let after = ["/a", "/hdfs/z"].map(name);
    let taken = || cluster.server(OWNER).counters().snapshots_taken.load(Ordering::Relaxed);
    for at in &after {
        let before = taken();
        while taken() == before {
            client.put_record(RecordKind::Route, at.as_name(), "x", None).await.unwrap();
        }
    }
    for at in after.iter().flat_map(|at| [at; 5]) {
        client.put_record(RecordKind::Route, at.as_name(), "last", None).await.unwrap();
    }
    check(&client).await;
    // While it runs, as a crash would leave it: what is written last is in RocksDB's log only. Another copy is opened to see
    // what comes of it, which changes that.
    let (disk, opened_copy) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let file = disk.path().join("copy");
    let file = file.to_str().unwrap();
    tar(&["-cf", file, "directory"], cluster.empty_disk(OWNER).parent().unwrap());
    [&disk, &opened_copy].iter().for_each(|to| tar(&["-xf", file], to.path()));
    let states = states(&opened_copy.path().join("directory"));
    let acknowledged = format!("session {} 2 {}\n{states}", opened.client, stored.revision);
    fs::write(disk.path().join(ACKNOWLEDGED), acknowledged).unwrap();
    let made = archive(1);
    fs::create_dir_all(made.parent().unwrap()).unwrap();
    let not_needed = ["LOG", "LOG.old.*", "LOCK", "OPTIONS-*"].map(|file| format!("--exclude={file}"));
    let not_needed = not_needed.each_ref().map(String::as_str);
    let plain = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0"];
    let to = ["-czf", made.to_str().unwrap(), ACKNOWLEDGED, "directory"];
    tar(&[&not_needed[..], &plain, &to].concat(), disk.path());
    println!("{}: {} bytes", made.display(), fs::metadata(&made).unwrap().len());
}

#[test]
fn the_same_state_comes_of_it() {
    let (_cluster, store, acknowledged) = unpacked(1);
    let expected: Vec<&str> = acknowledged.lines().filter(|line| line.starts_with("shard ")).collect();
    assert_eq!(states(&store).lines().collect::<Vec<_>>(), expected);
    assert_eq!(expected.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_has_all_that_was_acknowledged_and_goes_on() {
    let (mut cluster, _, acknowledged) = unpacked(1);
    cluster.start(OWNER);
    let client = cluster.client_of(OWNER);
    check(&client).await;
    // A retry of what was executed before is answered, and not executed.
    let raw = Raw::new(&cluster.network, node(RAW), node(OWNER));
    let (session, revision) = session_of(&acknowledged);
    let reply = raw.execute(ShardId::FIRST, Some(session), put("two", None));
    assert!(
        matches!(reply.outcome, Some(Outcome::Stored(stored)) if stored.revision == revision),
        "{reply:?}"
    );
    let next = Session { sequence: session.sequence + 1, ..session };
    let reply = raw.execute(ShardId::FIRST, Some(next), put("three", Some(revision)));
    assert!(
        matches!(reply.outcome, Some(Outcome::Stored(stored)) if stored.revision > revision),
        "{reply:?}"
    );
    // On through another snapshot, and another start.
    let taken = || cluster.server(OWNER).counters().snapshots_taken.load(Ordering::Relaxed);
    while taken() == 0 {
        client.put_record(RecordKind::Route, name("/new").as_name(), "x", None).await.unwrap();
    }
    drop(client);
    cluster.kill(OWNER);
    cluster.start(OWNER);
    let client = cluster.client_of(OWNER);
    check(&client).await;
    let found = client.resolve(&[name("/new").as_name()], Freshness::Linearizable).await.unwrap();
    assert_eq!(found[0].route.as_ref().unwrap().record.value, "x");
}
