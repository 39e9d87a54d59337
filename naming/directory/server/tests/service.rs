//! What clients get, from nodes that stay.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod support;

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use naming::{Digest, Location, Name};
use naming_directory::catalog::{Change, Event, RecordKind};
use naming_directory::proto::refused::Reason;
use naming_directory_client::client::Copy;
use naming_directory_client::watch::Seen;
use naming_directory_client::wire::Freshness;
use naming_directory_client::{Client, Error, ShardId};
use naming_directory_server::backup::{Backup, BackupError, restore};
use support::{Cluster, name, node, until};

fn copy(text: &str) -> Copy {
    Copy { name: name(text), digest: Digest::of(text.as_bytes()), length: text.len() as u64 }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_one_node_keeps_what_it_is_told() {
    let mut cluster = Cluster::found(&[1]);
    let client = cluster.client_of(1);
    let route = name("/hdfs/c1");
    let revision = client.put_record(RecordKind::Route, route.as_name(), "origin", Some(0)).await.unwrap();
    let again = client.put_record(RecordKind::Route, route.as_name(), "other", Some(0)).await;
    assert!(
        matches!(again, Err(Error::Refused(Reason::Conflict(conflict))) if conflict.revision == revision)
    );
    let chunks = ["/hdfs/c1/b/1/v=3/seg=0", "/hdfs/c1/b/1/v=3/seg=1"];
    let published = client.publish(node(7), 1, chunks.map(copy).to_vec()).await.unwrap();
    assert_eq!((published.added, published.refused), (2, 0));
    drop(client);
    cluster.kill(1);
    cluster.start(1);
    let client = cluster.client_of(1);
    let names = chunks.map(name);
    let refs: Vec<_> = names.iter().map(Name::as_name).collect();
    let resolved = client.resolve(&refs, Freshness::Linearizable).await.unwrap();
    let copies = resolved[1].copies.as_ref().unwrap();
    assert_eq!((copies.digest, &copies.holders[..]), (Digest::of(chunks[1].as_bytes()), &[node(7)][..]));
    let routed = resolved[0].route.as_ref().unwrap();
    assert_eq!(
        (&routed.prefix, &routed.record.value[..], routed.record.revision),
        (&route, &b"origin"[..], revision)
    );
    assert_eq!(client.withdraw(node(7), names.to_vec()).await.unwrap(), 2);
    assert_eq!(client.resolve(&refs, Freshness::Local).await.unwrap()[0].copies, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_at_any_replica_see_what_was_acknowledged_before() {
    let cluster = Cluster::found(&[1, 2, 3]);
    let writer = cluster.client(100);
    let readers = [1, 2, 3].map(|number| cluster.client_of(number));
    let prefix = name("/p");
    for round in 0..60_u32 {
        let revision =
            writer.put_record(RecordKind::Route, prefix.as_name(), round.to_string(), None).await.unwrap();
        for reader in &readers {
            let seen = reader.resolve(&[prefix.as_name()], Freshness::Linearizable).await.unwrap();
            assert_eq!(seen[0].route.as_ref().unwrap().record.revision, revision, "round {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_divided_and_listed_whole() {
    let cluster = Cluster::found(&[1, 2, 3]);
    let client = cluster.client(100);
    let copies: Vec<Copy> = (0..10_000).rev().map(|number| copy(&format!("/b/{number:05}/v=1"))).collect();
    let before = cluster.server(cluster.leader().await).look()[0].last;
    let published = client.publish(node(7), 1, copies.clone()).await.unwrap();
    assert_eq!(published.added, 10_000);
    let entries = cluster.server(cluster.leader().await).look()[0].last - before;
    assert!(entries < 20, "{entries} entries for one batch");
    let (events, places) = client.list(name("/b").as_name(), Freshness::Linearizable).await.unwrap();
    assert_eq!((events.len(), places.len()), (10_000, 1));
    assert!(events.is_sorted_by_key(|event| event.name.clone()));
    // A name stands for one content.
    let other = Copy { digest: Digest::of(b"other"), ..copies[0].clone() };
    let refused = client.publish(node(8), 1, vec![other]).await.unwrap();
    assert_eq!((refused.added, refused.refused, &refused.refusals[0].name), (0, 1, &copies[0].name));
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_end_unless_they_are_renewed() {
    let cluster = Cluster::found(&[1, 2, 3]);
    let client = cluster.client(100);
    let lease = Duration::from_millis(400);
    let address = "192.0.2.1:6363".parse().unwrap();
    let location = Location { node: node(7), rack: "/r1".parse().unwrap(), addresses: vec![address] };
    let mut liveness = client.register(&location, 11, lease).await.unwrap();
    let prefix = name("/mc/web");
    let grant = client.acquire(prefix.as_name(), node(7), liveness.epoch(), lease).await.unwrap();
    let other = client.acquire(prefix.as_name(), node(8), 1, lease).await;
    assert!(matches!(other, Err(Error::Refused(Reason::Held(_)))), "{other:?}");
    assert!(liveness.renew(&client).await.unwrap());
    // Nobody renews: it goes to another one, and nobody takes the old one for it.
    let next = loop {
        match client.acquire(prefix.as_name(), node(8), 1, lease).await {
            Ok(next) => break next,
            Err(Error::Refused(Reason::Held(_))) => tokio::time::sleep(lease / 20).await,
            Err(error) => panic!("{error}"),
        }
    };
    assert!(next.term > grant.term && std::time::Instant::now() > grant.until);
    let gone = |events: &[Event]| !events.iter().any(|event| matches!(event.change, Change::NodeUp { .. }));
    while !gone(&client.nodes().await.unwrap()) {
        tokio::time::sleep(lease / 20).await;
    }
    // It was away, and is the same again.
    assert!(liveness.renew(&client).await.unwrap() && !gone(&client.nodes().await.unwrap()));
    client.remove_node(node(7)).await.unwrap();
    assert!(!liveness.renew(&client).await.unwrap());
}

/// What a watcher knows: of each name its route.
type Known = Arc<Mutex<BTreeMap<Name, Option<Vec<u8>>>>>;

async fn watch(client: &Client, prefix: &str) -> Known {
    let known = Known::default();
    let sink = Arc::clone(&known);
    let seen = move |seen: Seen| {
        let mut known = sink.lock().unwrap();
        let events = match seen {
            Seen::Listing { from, until, events, .. } => {
                known.retain(|name, _| *name < from || until.as_ref().is_some_and(|until| name >= until));
                events
            }
            Seen::Changes { events, .. } => events,
        };
        for event in events {
            if let Change::Record { record, .. } = event.change {
                known.insert(event.name, record.map(|record| record.value.to_vec()));
            }
        }
        true
    };
    client.watch(name(prefix), seen).await.unwrap();
    known
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_sees_all_that_is_and_all_that_changes() {
    let mut cluster = Cluster::found(&[1, 2, 3]);
    let client = cluster.client(100);
    let put = async |number: u32, value: &'static str| {
        let prefix = name(&format!("/w/{number}"));
        client.put_record(RecordKind::Route, prefix.as_name(), value, None).await.unwrap();
    };
    put(1, "before").await;
    let known = watch(&cluster.client(101), "/w").await;
    let is = |number: u32, value: &str| {
        known.lock().unwrap().get(&name(&format!("/w/{number}"))) == Some(&Some(value.as_bytes().to_vec()))
    };
    assert!(is(1, "before"));
    put(2, "after").await;
    until("the change is seen", || is(2, "after")).await;
    // Whoever tells is gone, each in turn; so is the watcher for a while.
    for gone in [1, 2, 3] {
        cluster.kill(gone);
        put(10 + gone as u32, "meanwhile").await;
        until("the change is seen", || is(10 + gone as u32, "meanwhile")).await;
        cluster.start(gone);
    }
    for number in [1, 2, 3] {
        cluster.network.cut(node(number), node(101));
    }
    put(1, "unheard").await;
    put(2, "unheard").await;
    cluster.network.heal();
    until("what was unheard is seen", || is(1, "unheard") && is(2, "unheard")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_in_the_history_is_listed() {
    // No history at all.
    let cluster = Cluster::adjusted(&[1], |settings| settings.history_bytes = 0);
    let client = cluster.client(100);
    let known = watch(&cluster.client(101), "/w").await;
    for number in 0..50 {
        let prefix = name(&format!("/w/{number}"));
        client.put_record(RecordKind::Route, prefix.as_name(), "x", None).await.unwrap();
    }
    until("everything is seen", || known.lock().unwrap().len() == 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_shard_serves_and_is_watched_as_before() {
    let mut cluster = Cluster::found(&[1, 2, 3]);
    let client = cluster.client(100);
    let names: Vec<Name> = ["/a/1", "/m/1", "/z/1"].map(name).to_vec();
    let put = async |round: &'static str| {
        for name in &names {
            client.put_record(RecordKind::Route, name.as_name(), round, None).await.unwrap();
        }
    };
    put("before").await;
    let known = watch(&cluster.client(101), "/").await;
    let refs: Vec<_> = names.iter().map(Name::as_name).collect();
    let unaware = cluster.client(103);
    unaware.resolve(&refs, Freshness::Linearizable).await.unwrap();
    client.split(name("/m").as_name()).await.unwrap();
    put("after").await;
    let all = |value: &str| {
        let known = known.lock().unwrap();
        names.iter().all(|name| known.get(name) == Some(&Some(value.as_bytes().to_vec())))
    };
    until("changes of both shards are seen", || all("after")).await;
    let shards = |cluster: &Cluster| {
        cluster.server(1).look().into_iter().map(|shard| ShardId(shard.shard)).collect::<Vec<_>>()
    };
    assert_eq!(shards(&cluster).len(), 2);
    // Clients that do not know of the split, or of anything, and one batch over both.
    let stranger = cluster.client(102);
    for client in [&unaware, &stranger] {
        let resolved = client.resolve(&refs, Freshness::Linearizable).await.unwrap();
        assert!(resolved.iter().all(|one| one.route.as_ref().unwrap().record.value == "after"));
    }
    let published = client.publish(node(7), 1, ["/a/c/v=1", "/z/c/v=1"].map(copy).to_vec()).await.unwrap();
    assert_eq!(published.added, 2);
    let (events, places) = stranger.list(name("/").as_name(), Freshness::Linearizable).await.unwrap();
    assert_eq!((events.len(), places.len()), (5, 2));
    for number in [1, 2, 3] {
        cluster.kill(number);
    }
    for number in [1, 2, 3] {
        cluster.start(number);
    }
    put("restarted").await;
    until("changes of both shards are seen", || all("restarted")).await;
    for shard in shards(&cluster) {
        cluster.agree(shard).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_a_directory_again() {
    let mut cluster = Cluster::found(&[1, 2, 3]);
    let client = cluster.client(100);
    let names: Vec<Name> = ["/a/1", "/z/1"].map(name).to_vec();
    for name in &names {
        client.put_record(RecordKind::Route, name.as_name(), "kept", None).await.unwrap();
    }
    client
        .publish(node(7), 1, (0..5000).map(|number| copy(&format!("/b/{number}/v=1"))).collect())
        .await
        .unwrap();
    client.split(name("/m").as_name()).await.unwrap();
    client.put_record(RecordKind::Route, names[1].as_name(), "kept", None).await.unwrap();
    let mut file = Vec::new();
    let mut backup = Backup::begin(client.clone()).await.unwrap();
    while let Some(part) = backup.next().await {
        file.extend(part.unwrap());
    }
    [1, 2, 3].into_iter().for_each(|number| cluster.kill(number));
    let store = cluster.empty_disk(9);
    assert_eq!(restore(&store, node(9), &mut Cursor::new(&file)).unwrap(), 2);
    cluster.start(9);
    let client = cluster.client_of(9);
    let (events, places) = client.list(name("/").as_name(), Freshness::Linearizable).await.unwrap();
    assert_eq!((events.len(), places.len()), (5002, 2));
    // Not over what is there, and not of what is not whole.
    cluster.kill(9);
    assert!(matches!(restore(&store, node(9), &mut Cursor::new(&file)), Err(BackupError::Used(_))));
    for (number, damaged) in [
        (10, file[..file.len() - 30].to_vec()),
        (11, b"no backup".to_vec()),
        (12, {
            let mut flipped = file.clone();
            flipped[file.len() / 2] ^= 1;
            flipped
        }),
    ] {
        let store = cluster.empty_disk(number);
        let error = restore(&store, node(number), &mut Cursor::new(&damaged)).unwrap_err();
        assert!(matches!(error, BackupError::Damaged { .. }), "{error}");
    }
}
