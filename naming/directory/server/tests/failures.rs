//! Nodes that come and go, and disks that are full.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod support;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use naming_directory::catalog::RecordKind;
use naming_directory_client::wire::Freshness;
use naming_directory_client::{Client, Error, ShardId};
use naming_directory_server::{Begin, Server, Settings, StartError};
use support::{Cluster, PATIENCE, name, node, until};
use tempfile::TempDir;

/// Snapshots after a few entries, so that whoever is away misses some of the log.
fn frequent_snapshots(settings: &mut Settings) {
    settings.group.snapshot_entries = 50;
    settings.group.retained_entries = 10;
}

/// Writes numbers that rise to a record of its own, each where the one before must still be; how many it wrote.
async fn count_up(client: Client, writer: u64, stop: Arc<AtomicBool>) -> u64 {
    let own = name(&format!("/count/{writer}"));
    let (mut count, mut revision) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let value = (count + 1).to_string();
        match client.put_record(RecordKind::Route, own.as_name(), value, Some(revision)).await {
            Ok(now) => (count, revision) = (count + 1, now),
            Err(Error::NoQuorum { .. } | Error::NoServer { .. }) => {
                // Done or not: looked at.
                if let Ok(found) = client.resolve(&[own.as_name()], Freshness::Linearizable).await
                    && let Some(route) = &found[0].route
                    && route.record.revision != revision
                {
                    assert_eq!(route.record.value, (count + 1).to_string().as_bytes());
                    (count, revision) = (count + 1, route.record.revision);
                }
            }
            Err(error) => panic!("writer {writer}: {error}"),
        }
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_acknowledged_is_lost_and_nothing_is_done_twice() {
    let mut cluster = Cluster::adjusted(&[1, 2, 3], frequent_snapshots);
    let client = cluster.client(100);
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> =
        (0..8).map(|writer| tokio::spawn(count_up(client.clone(), writer, Arc::clone(&stop)))).collect();
    let written = || async { client.list(name("/count").as_name(), Freshness::Local).await };
    for round in 0..4 {
        // The leader, then a follower, then all at once.
        let leader = cluster.leader().await;
        let victims = match round {
            0 | 3 => vec![leader],
            1 => vec![leader % 3 + 1],
            _ => vec![1, 2, 3],
        };
        victims.iter().for_each(|victim| cluster.kill(*victim));
        if victims.len() == 1 {
            let before = cluster.server(cluster.leader().await).look()[0].applied;
            let leader = cluster.leader().await;
            until("the others go on", || cluster.server(leader).look()[0].applied > before + 50).await;
        }
        victims.iter().for_each(|victim| cluster.start(*victim));
        cluster.leader().await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut total = 0;
    for (writer, task) in writers.into_iter().enumerate() {
        let count = task.await.unwrap();
        let own = name(&format!("/count/{writer}"));
        let found = client.resolve(&[own.as_name()], Freshness::Linearizable).await.unwrap();
        let value = found[0].route.as_ref().map_or("0".into(), |route| route.record.value.clone());
        assert_eq!(value, count.to_string().as_bytes(), "writer {writer}");
        total += count;
    }
    assert!(total > 100, "{total} writes");
    cluster.agree(ShardId::FIRST).await;
    assert!(written().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_it_is_said_who_is_missing() {
    let mut cluster = Cluster::found(&[1, 2, 3]);
    let prefix = name("/p");
    let client = cluster.client(100);
    client.put_record(RecordKind::Route, prefix.as_name(), "x", None).await.unwrap();
    cluster.kill(2);
    cluster.kill(3);
    let mut settings = naming_directory_client::client::Settings::new([node(1)]);
    (settings.timeout, settings.try_timeout) = (Duration::from_secs(2), Duration::from_millis(300));
    let hasty = Client::new(node(101), cluster.network.transport(node(101)), settings);
    cluster.network.attach(node(101), Arc::new(hasty.clone()));
    let error = hasty.put_record(RecordKind::Route, prefix.as_name(), "y", None).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::NoQuorum { .. }), "{text}");
    assert!(text.contains("0000000000000003") && text.contains("majority"), "{text}");
    let error = hasty.resolve(&[prefix.as_name()], Freshness::Linearizable).await.unwrap_err();
    assert!(matches!(error, Error::NoQuorum { .. }), "{error}");
    // What it has it tells, to whom that will do.
    let local = hasty.resolve(&[prefix.as_name()], Freshness::Local).await.unwrap();
    assert_eq!(local[0].route.as_ref().unwrap().record.value, "x");
    cluster.start(2);
    client.put_record(RecordKind::Route, prefix.as_name(), "z", None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_for_long_gets_a_snapshot() {
    let mut cluster = Cluster::adjusted(&[1, 2, 3], frequent_snapshots);
    let client = cluster.client(100);
    cluster.leader().await;
    cluster.kill(3);
    for number in 0..300 {
        // Few names: the more a state has, the less often it is written.
        let prefix = name(&format!("/p/{}", number % 40));
        client.put_record(RecordKind::Route, prefix.as_name(), vec![b'x'; 4096], None).await.unwrap();
    }
    let leader = cluster.leader().await;
    until("the log is compacted", || {
        cluster.server(leader).counters().snapshots_taken.load(Ordering::Relaxed) >= 4
    })
    .await;
    cluster.start(3);
    cluster.agree(ShardId::FIRST).await;
    assert!(cluster.server(3).counters().snapshots_received.load(Ordering::Relaxed) >= 1);
    // It stands on its own.
    cluster.kill(3);
    cluster.start(3);
    cluster.agree(ShardId::FIRST).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_arrives_though_messages_are_lost() {
    let mut cluster = Cluster::adjusted(&[1, 2, 3], |settings| {
        frequent_snapshots(settings);
        // Slow enough to be interrupted.
        settings.snapshot_bytes_per_second = 2 << 20;
    });
    let client = cluster.client(100);
    cluster.leader().await;
    cluster.kill(3);
    for number in 0..150 {
        let prefix = name(&format!("/p/{number}"));
        client.put_record(RecordKind::Route, prefix.as_name(), vec![b'x'; 20_000], None).await.unwrap();
    }
    cluster.start(3);
    let leader = cluster.leader().await;
    let sent = || cluster.server(leader).counters().snapshot_bytes_sent.load(Ordering::Relaxed);
    until("a snapshot is on its way", || sent() > 512 << 10).await;
    let before = sent();
    cluster.network.cut(node(leader), node(3));
    until("some of it is lost", || sent() > before + (256 << 10)).await;
    cluster.network.heal();
    cluster.agree(ShardId::FIRST).await;
    let failed = cluster.server(leader).counters().snapshots_failed.load(Ordering::Relaxed);
    assert_eq!(failed, 0, "what was lost is sent again, and nothing else");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_grows_to_three_and_the_first_one_goes() {
    let mut cluster = Cluster::adjusted(&[1], frequent_snapshots);
    let client = cluster.client(100);
    let prefix = name("/p");
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(count_up(client.clone(), 0, Arc::clone(&stop)));
    for number in [2, 3] {
        cluster.start(number);
        client.members(ShardId::FIRST).add(node(number), PATIENCE).await.unwrap();
    }
    // Again is no error.
    client.members(ShardId::FIRST).add(node(3), PATIENCE).await.unwrap();
    assert_eq!(client.members(ShardId::FIRST).look().await.unwrap().voters, [1, 2, 3]);
    client.members(ShardId::FIRST).remove(node(1), PATIENCE).await.unwrap();
    assert!(cluster.server(1).look().is_empty(), "node 1 gave up what it had");
    // Nor has it anything on its disk, and it founds no directory of its own.
    cluster.kill(1);
    cluster.start(1);
    assert!(cluster.server(1).look().is_empty());
    cluster.kill(1);
    stop.store(true, Ordering::Relaxed);
    assert!(writer.await.unwrap() > 0);
    client.put_record(RecordKind::Route, prefix.as_name(), "still there", None).await.unwrap();
    assert_eq!(client.members(ShardId::FIRST).look().await.unwrap().voters, [2, 3]);
    cluster.agree(ShardId::FIRST).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_node_is_replaced() {
    let mut cluster = Cluster::adjusted(&[1, 2, 3], frequent_snapshots);
    let client = cluster.client(100);
    for number in 0..100 {
        let prefix = name(&format!("/p/{number}"));
        client.put_record(RecordKind::Route, prefix.as_name(), "x", None).await.unwrap();
    }
    let dead = cluster.leader().await;
    cluster.kill(dead);
    cluster.start(4);
    client.members(ShardId::FIRST).replace(Some(node(dead)), node(4), PATIENCE).await.unwrap();
    let mut expected: Vec<u64> = [1, 2, 3, 4].into_iter().filter(|number| *number != dead).collect();
    expected.sort_unstable();
    assert_eq!(client.members(ShardId::FIRST).look().await.unwrap().voters, expected);
    cluster.agree(ShardId::FIRST).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_directory_of_its_own_is_not_added_to_another_one() {
    let (cluster, disk) = (Cluster::found(&[1]), TempDir::new().unwrap());
    let network = &cluster.network;
    let settings = Settings::new(node(2), disk.path().join("directory"), Begin::Found(vec![node(2)]));
    let other = Arc::new(Server::start(settings, network.transport(node(2))).unwrap());
    network.attach(node(2), other);
    let settings = naming_directory_client::client::Settings::new([node(2)]);
    let (ours, theirs) =
        (cluster.client(100), Client::new(node(101), network.transport(node(101)), settings));
    network.attach(node(101), Arc::new(theirs.clone()));
    let put = async |client: &Client| {
        client.put_record(RecordKind::Route, name("/p").as_name(), "x", None).await.map(drop)
    };
    put(&ours).await.unwrap();
    put(&theirs).await.unwrap();
    let error = ours.members(ShardId::FIRST).add(node(2), PATIENCE).await.unwrap_err().to_string();
    assert!(error.contains("node 0000000000000002 has a directory of its own"), "{error}");
    put(&ours).await.unwrap();
    put(&theirs).await.unwrap();
    assert_eq!(ours.members(ShardId::FIRST).look().await.unwrap().voters, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_leads_nothing() {
    let cluster = Cluster::found(&[1, 2, 3]);
    let client = cluster.client(100);
    let leader = cluster.leader().await;
    client.put_record(RecordKind::Route, name("/p").as_name(), "x", None).await.unwrap();
    assert!(cluster.server(leader).drain(PATIENCE));
    assert_ne!(cluster.leader().await, leader);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lost_its_disk_says_so_and_has_no_say() {
    let mut cluster = Cluster::found(&[1, 2, 3]);
    let client = cluster.client(100);
    client.put_record(RecordKind::Route, name("/p").as_name(), "x", None).await.unwrap();
    cluster.agree(ShardId::FIRST).await;
    let lost = cluster.leader().await % 3 + 1;
    cluster.kill(lost);
    cluster.lose_disk(lost);
    cluster.start(lost);
    let failure = || cluster.shard(lost, ShardId::FIRST).map(|shard| shard.failure).unwrap_or_default();
    until("it says so", || failure().contains("add it anew")).await;
    client.put_record(RecordKind::Route, name("/p").as_name(), "y", None).await.unwrap();
}

#[test]
fn a_store_of_another_node_is_refused() {
    let dir = TempDir::new().unwrap();
    let network = naming_directory_client::transport::Network::default();
    let start = |number: u64| {
        let begin = Begin::Found(vec![node(number)]);
        Server::start(Settings::new(node(number), dir.path(), begin), network.transport(node(number)))
    };
    start(1).unwrap().stop();
    let error = start(2).err().unwrap();
    assert!(
        matches!(error, StartError::Store(_)) && error.to_string().contains("0000000000000001"),
        "{error}"
    );
}

/// A file system of its own, of some size; gone when dropped. None where this process may not mount.
struct Disk(TempDir);

impl Disk {
    fn new(bytes: usize) -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let size = format!("size={bytes}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(dir))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_a_node_until_there_is_room_again() {
    let Some(disk) = Disk::new(24 << 20) else {
        eprintln!("skipped: this user may not mount");
        return;
    };
    let network = naming_directory_client::transport::Network::default();
    let mut settings = Settings::new(node(1), disk.0.path().join("directory"), Begin::Found(vec![node(1)]));
    settings.group.snapshot_bytes = 4 << 20;
    let server = Arc::new(Server::start(settings, network.transport(node(1))).unwrap());
    network.attach(node(1), server.clone());
    let client = Client::new(
        node(100),
        network.transport(node(100)),
        naming_directory_client::client::Settings::new([node(1)]),
    );
    network.attach(node(100), Arc::new(client.clone()));
    let put = async |number: u64| {
        let prefix = name(&format!("/p/{number}"));
        client.put_record(RecordKind::Route, prefix.as_name(), number.to_string(), None).await
    };
    put(1).await.unwrap();
    // Somebody else fills the disk.
    let ballast = disk.0.path().join("ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    let _ = std::io::copy(&mut std::io::repeat(1), &mut file);
    drop(file);
    let filler = vec![b'x'; 60_000];
    for _ in 0..2000 {
        let name = name("/filler");
        let put = client.put_record(RecordKind::Route, name.as_name(), filler.clone(), None);
        if tokio::time::timeout(Duration::from_secs(2), put).await.is_err() {
            break;
        }
    }
    let failed = || server.counters().lives_failed.load(Ordering::Relaxed);
    until("the disk is full", || failed() > 0).await;
    std::fs::remove_file(&ballast).unwrap();
    until("the node recovers", || !server.look().is_empty()).await;
    put(2).await.unwrap();
    let found = client.resolve(&[name("/p/1").as_name()], Freshness::Linearizable).await.unwrap();
    assert_eq!(found[0].route.as_ref().unwrap().record.value, "1");
}
