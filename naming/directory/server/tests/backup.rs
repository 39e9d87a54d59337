//! Backups of a directory that no node has all of.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod support;

use std::io::Cursor;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use naming::{Digest, Name, NodeId};
use naming_directory::Bytes;
use naming_directory::catalog::{Event, RecordKind};
use naming_directory_client::client::Copy;
use naming_directory_client::wire::{self, Freshness, Request, Response, request, response};
use naming_directory_client::{Channel, Client, Error, Receive, ShardId, client};
use naming_directory_server::backup::{Backup, BackupError, check, restore};
use prost::Message;
use support::{Cluster, PATIENCE, name, node, until};
use tokio::time::timeout;

/// Some chunks of a snapshot.
const NAMES: u32 = 20_000;

/// Longer than it takes until a chunk is asked for again.
const LOST: Duration = Duration::from_millis(1200);

fn copy(number: u32) -> Copy {
    let name = name(&format!("/z/{number:05}/v=1"));
    Copy { digest: Digest::of(name.as_name().as_bytes()), name, length: number.into() }
}

async fn put(client: &Client, at: &str, value: String) {
    client.put_record(RecordKind::Route, name(at).as_name(), value, None).await.unwrap();
}

async fn value(client: &Client, at: &str) -> u64 {
    let found = client.resolve(&[name(at).as_name()], Freshness::Linearizable).await.unwrap();
    String::from_utf8(found[0].route.as_ref().unwrap().record.value.to_vec()).unwrap().parse().unwrap()
}

/// The names before /m on nodes 1 and 2, the others on 3 and 4, nothing on 5. Of the clients of nodes the first one's, which saw to
/// it: others hear from its node where shards are.
async fn spread() -> (Cluster, Client) {
    let mut cluster = Cluster::found(&[1, 2]);
    [3, 4, 5].iter().for_each(|number| cluster.start(*number));
    let client = cluster.client_of(1);
    put(&client, "/a", "0".to_owned()).await;
    client.publish(node(7), 1, (0..NAMES).map(copy).collect()).await.unwrap();
    client.split(name("/m").as_name()).await.unwrap();
    for number in [1, 2] {
        until("the split is there", || cluster.server(number).look().len() == 2).await;
    }
    let second = cluster.server(1).look().iter().map(|shard| ShardId(shard.shard)).max().unwrap();
    for (old, new) in [(1, 3), (2, 4)] {
        client.members(second).replace(Some(node(old)), node(new), PATIENCE).await.unwrap();
    }
    // What is written behind the moves has their end on the disks, too: whoever starts anew needs nobody who left.
    put(&client, "/z", "0".to_owned()).await;
    for number in 1..=4 {
        until("each node has one shard", || cluster.server(number).look().len() == 1).await;
    }
    (cluster, client)
}

/// A client that finds each shard whoever has forgotten where it is.
fn client_that_knows_all(cluster: &Cluster, number: u64) -> Client {
    let settings = client::Settings::new((1..=5).map(node));
    let client = Client::new(node(number), cluster.network.transport(node(number)), settings);
    cluster.network.attach(node(number), Arc::new(client.clone()));
    client
}

/// The file, and how it ended.
async fn taken(mut backup: Backup) -> (Vec<u8>, Result<(), Error>) {
    let mut file = Vec::new();
    while let Some(part) = backup.next().await {
        match part {
            Ok(part) => file.extend(part),
            Err(error) => return (file, Err(error)),
        }
    }
    (file, Ok(()))
}

async fn whole(client: &Client) -> Vec<u8> {
    let (file, ended) = taken(Backup::begin(client.clone()).await.unwrap()).await;
    ended.unwrap();
    file
}

/// A directory that begins with a backup, on this node.
fn restored(cluster: &mut Cluster, number: u64, file: &[u8]) -> Client {
    let store = cluster.empty_disk(number);
    restore(&store, node(number), &mut Cursor::new(file)).unwrap();
    // Whoever had it is told nothing of it.
    for other in 1..=5 {
        cluster.network.cut(node(other), node(number));
        cluster.network.cut(node(number), node(other));
    }
    cluster.start(number);
    cluster.client_of(number)
}

async fn all(client: &Client) -> Vec<Event> {
    client.list(name("/").as_name(), Freshness::Linearizable).await.unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn any_node_gives_all_shards() {
    let (mut cluster, first) = spread().await;
    let expected = all(&first).await;
    assert_eq!(expected.len(), NAMES as usize + 2);
    // Of the first shard, of the second one, of none; nobody's.
    let clients = [first, cluster.client_of(4), cluster.client_of(5), cluster.client(100)];
    for (number, client) in (20..).zip(&clients) {
        let file = whole(client).await;
        assert_eq!(check(&mut &file[..]).unwrap(), 2);
        let restored = restored(&mut cluster, number, &file);
        assert!(
            all(&restored).await == expected,
            "the backup that node {number} was made of has something else"
        );
    }
    let lent = |number: u64| cluster.server(number).counters().snapshots_lent.load(Ordering::Relaxed);
    assert!(lent(1) > 0 && lent(4) > 0 && lent(5) == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_before_is_there_while_more_is_written() {
    let (mut cluster, client) = spread().await;
    let writer = cluster.client(101);
    let writes = tokio::spawn(async move {
        for number in 1_u64.. {
            put(&writer, "/a", number.to_string()).await;
            put(&writer, "/z", number.to_string()).await;
        }
    });
    while value(&client, "/z").await == 0 {}
    for number in 20..23 {
        let before = (value(&client, "/a").await, value(&client, "/z").await);
        let file = whole(&client).await;
        let restored = restored(&mut cluster, number, &file);
        let kept = (value(&restored, "/a").await, value(&restored, "/z").await);
        assert!(kept.0 >= before.0 && kept.1 >= before.1, "{kept:?} of {before:?}");
    }
    writes.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_behind_sends_nothing() {
    let mut cluster = Cluster::found(&[1, 2, 3]);
    let leader = cluster.leader().await;
    let writer = cluster.client(100);
    put(&writer, "/a", "1".to_owned()).await;
    cluster.agree(ShardId::FIRST).await;
    let behind = (1..=3).find(|number| *number != leader).unwrap();
    for other in (1..=3).filter(|other| *other != behind) {
        cluster.network.cut(node(other), node(behind));
        cluster.network.cut(node(behind), node(other));
    }
    put(&writer, "/a", "2".to_owned()).await;
    // Whoever has this number asks that one first.
    let client = cluster.client(99 + behind - 1);
    let file = whole(&client).await;
    assert_eq!(value(&restored(&mut cluster, 20, &file), "/a").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_is_split_meanwhile_is_there_with_both_halves() {
    let (mut cluster, first) = spread().await;
    let expected = all(&first).await;
    let client = client_that_knows_all(&cluster, 100);
    // The second shard is begun when it is its turn.
    let backup = Backup::begin(client.clone()).await.unwrap();
    let other = client_that_knows_all(&cluster, 101);
    other.split(name("/z/10000").as_name()).await.unwrap();
    other.split(name("/c").as_name()).await.unwrap();
    let (file, ended) = taken(backup).await;
    ended.unwrap();
    assert_eq!(check(&mut &file[..]).unwrap(), 3);
    assert!(all(&restored(&mut cluster, 20, &file)).await == expected);
    assert_eq!(check(&mut &whole(&client).await[..]).unwrap(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_chunk_is_fetched_again() {
    let (cluster, _first) = spread().await;
    let client = cluster.client(100);
    for from in [3, 4] {
        let mut snapshot = client.snapshot(name("/m").as_name()).await.unwrap();
        snapshot.next().await.unwrap().unwrap();
        // What is asked arrives, the answer does not; then not even that.
        let (member, own) = (snapshot.node(), node(100));
        let cut = if from == 3 { (member, own) } else { (own, member) };
        cluster.network.cut(cut.0, cut.1);
        let mut next = Box::pin(snapshot.next());
        assert!(timeout(LOST, &mut next).await.is_err());
        cluster.network.heal();
        assert!(next.await.unwrap().is_some());
        while snapshot.next().await.unwrap().is_some() {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_loses_a_member_is_none() {
    let (mut cluster, _first) = spread().await;
    let client = cluster.client(100);
    let mut backup = Backup::begin(client.clone()).await.unwrap();
    // The first shard is one chunk or two, the second one is under way with this.
    let mut file = Vec::new();
    while file.len() < 400 << 10 {
        file.extend(backup.next().await.unwrap().unwrap());
    }
    for number in [3, 4] {
        cluster.kill(number);
        cluster.start(number);
    }
    let (rest, ended) = taken(backup).await;
    file.extend(rest);
    let error = ended.unwrap_err();
    let Error::BrokenOff { shard, node, chunks, .. } = &error else { panic!("{error}") };
    assert!(*shard != ShardId::FIRST && [3, 4].contains(&node.get()) && *chunks > 0, "{error}");
    assert!(error.to_string().contains("is not known here any more"), "{error}");
    let refused = check(&mut &file[..]).unwrap_err();
    assert!(matches!(&refused, BackupError::Failed(why) if *why == error.to_string()), "{refused}");
    let store = cluster.empty_disk(20);
    let refused = restore(&store, support::node(20), &mut Cursor::new(&file)).unwrap_err();
    assert!(matches!(refused, BackupError::Failed(_)), "{refused}");
    assert_eq!(check(&mut &whole(&client).await[..]).unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_asked_for_again_is_the_same_one() {
    let cluster = Cluster::found(&[1]);
    cluster.leader().await;
    let client = cluster.client(100);
    let root = Name::root();
    let snapshot = client.snapshot(root.as_name()).await.unwrap();
    let counters = cluster.server(1).counters();
    let begun = || counters.snapshots_lent.load(Ordering::Relaxed);
    assert_eq!(begun(), 1);
    // What the client sends, many times over: tries that are served late.
    let asker = Arc::new(Answers::default());
    cluster.network.attach(node(101), asker.clone());
    let transport = cluster.network.transport(node(101));
    let tries = 32;
    for id in 1..=tries {
        let body = request::Body::Snapshot(wire::Snapshot { name: Bytes::new(), snapshot: 9 });
        let request = Request { id, shard: ShardId::FIRST.0, body: Some(body) };
        transport.send(node(1), Channel::Request, request.encode_to_vec().into());
    }
    until("all tries are answered", || asker.0.lock().unwrap().len() == tries as usize).await;
    let as_begun = |body: &response::Body| matches!(body, response::Body::SnapshotBegun(_));
    assert!(asker.0.lock().unwrap().iter().all(as_begun));
    assert_eq!(begun(), 2);
    // There is room for others.
    client.snapshot(root.as_name()).await.unwrap();
    drop(snapshot);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_fetches_fast_keeps_nobody_waiting() {
    // A chunk takes longer at this pace than a client takes to ask for the next one.
    let mut cluster = Cluster::adjusted(&[1], |settings| settings.snapshot_bytes_per_second = 1 << 20);
    let client = cluster.client(100);
    client.publish(node(7), 1, (0..NAMES).map(copy).collect()).await.unwrap();
    let fetching = [101, 102, 103].map(|number| {
        let client = cluster.client(number);
        let fetched = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&fetched);
        let fetches = tokio::spawn(async move {
            loop {
                let mut snapshot = client.snapshot(Name::root().as_name()).await.unwrap();
                while snapshot.next().await.unwrap().is_some() {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        (fetched, fetches)
    });
    until("all clients fetch", || fetching.iter().all(|(fetched, _)| fetched.load(Ordering::Relaxed) > 1))
        .await;
    cluster.start(2);
    client.members(ShardId::FIRST).add(node(2), PATIENCE).await.unwrap();
    for (_, fetches) in fetching {
        assert!(!fetches.is_finished(), "a client got no chunks");
        fetches.abort();
    }
    let counters = cluster.server(1).counters();
    assert_eq!(counters.snapshots_failed.load(Ordering::Relaxed), 0);
    assert!(counters.snapshots_sent.load(Ordering::Relaxed) > 0);
}

/// What came back.
#[derive(Default)]
struct Answers(Mutex<Vec<response::Body>>);

impl Receive for Answers {
    fn receive(&self, _: NodeId, _: Channel, message: Bytes) {
        self.0.lock().unwrap().push(Response::decode(message).unwrap().body.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_lends_so_many_snapshots_and_no_more() {
    let cluster = Cluster::found(&[1]);
    cluster.leader().await;
    let timeout = Duration::from_millis(300);
    let settings = client::Settings { timeout, ..client::Settings::new([node(1)]) };
    let client = Client::new(node(100), cluster.network.transport(node(100)), settings);
    cluster.network.attach(node(100), Arc::new(client.clone()));
    let root = Name::root();
    let mut lent = Vec::new();
    for _ in 0..16 {
        lent.push(client.snapshot(root.as_name()).await.unwrap());
    }
    let error = client.snapshot(root.as_name()).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("16 snapshots are fetched already"), "{error}");
    assert!(cluster.server(1).counters().snapshots_refused.load(Ordering::Relaxed) > 0);
    // Those that are there are fetched, and make room.
    let mut first = lent.remove(0);
    while first.next().await.unwrap().is_some() {}
    drop(first);
    client.snapshot(root.as_name()).await.unwrap();
    assert_eq!(lent.len(), 15);
}
