//! A client's cache, of nodes that come and go and shards that are split.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use naming::{Digest, Name, NodeId};
use naming_directory::catalog::RecordKind;
use naming_directory_client::cache::{Known, Size, Unknown};
use naming_directory_client::client::Copy;
use naming_directory_client::wire::Freshness;
use naming_directory_client::{Cache, Client};
use support::{Cluster, PATIENCE, name, node, until};
use tokio::time::timeout;

const AMPLE: Size = Size { names: 100_000, bytes: 16 << 20 };
const ANY: Duration = Duration::MAX;
/// What a cache that hears something every second may be asked for.
const FRESH: Duration = Duration::from_secs(3);

fn copy(text: &str) -> Copy {
    Copy { name: name(text), digest: Digest::of(text.as_bytes()), length: text.len() as u64 }
}

/// Waits until the cache knows all that was acknowledged before.
async fn reach(cache: &Cache, client: &Client, name: &Name) {
    let (shard, position) = client.position(name.as_name()).await.unwrap();
    timeout(PATIENCE, cache.reach(name.as_name(), shard, position)).await.unwrap().unwrap();
}

fn holders(cache: &Cache, name: &Name, max_age: Duration) -> Result<Vec<NodeId>, Unknown> {
    let known = cache.resolve(name.as_name(), max_age)?;
    Ok(known.copies.map(|copies| copies.holders).unwrap_or_default())
}

/// That the cache knows of these names what the directory does.
async fn check(cache: &Cache, client: &Client, names: &[Name]) {
    let refs: Vec<_> = names.iter().map(Name::as_name).collect();
    for (name, said) in names.iter().zip(client.resolve(&refs, Freshness::Linearizable).await.unwrap()) {
        let Known { copies, authority, route, .. } = cache.resolve(name.as_name(), ANY).unwrap();
        assert_eq!(copies, said.copies, "{name}");
        let route = route.map(|route| (route.prefix.to_name(), route.record));
        assert_eq!(route, said.route.map(|route| (route.prefix, route.record)), "{name}");
        let authority = authority.map(|held| (held.prefix.to_name(), held.node, held.term));
        assert_eq!(authority, said.authority.map(|held| (held.prefix, held.node, held.term)), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_known_once_it_is_reached() {
    let cluster = Cluster::found(&[1, 2, 3]);
    let client = cluster.client(100);
    let names = ["/c/1/v=1", "/c/2/v=1", "/c/d/3/v=1", "/c/none"].map(name);
    let published = names[..3].iter().map(|name| copy(&name.to_string())).collect::<Vec<_>>();
    client.publish(node(7), 1, published.clone()).await.unwrap();
    client.put_record(RecordKind::Route, name("/").as_name(), "root", None).await.unwrap();
    let cache = cluster.client(101).cache(name("/c"), AMPLE).await.unwrap();
    timeout(PATIENCE, cache.complete()).await.unwrap();
    check(&cache, &client, &names).await;
    client.publish(node(8), 1, published).await.unwrap();
    client.put_record(RecordKind::Route, name("/c/d").as_name(), "deep", None).await.unwrap();
    client.acquire(name("/c").as_name(), node(7), 1, PATIENCE).await.unwrap();
    reach(&cache, &client, &names[0]).await;
    assert_eq!(holders(&cache, &names[0], FRESH), Ok(vec![node(7), node(8)]));
    check(&cache, &client, &names).await;
    client.withdraw(node(8), vec![names[0].clone()]).await.unwrap();
    client.retire_holder(node(7), 1).await.unwrap();
    client.release(name("/c").as_name(), node(7), 1).await.unwrap();
    reach(&cache, &client, &names[0]).await;
    assert_eq!(holders(&cache, &names[0], FRESH), Ok(vec![]));
    check(&cache, &client, &names).await;
    // What is above the prefix is asked for now and then.
    client.put_record(RecordKind::Route, name("/").as_name(), "other", None).await.unwrap();
    let root = |cache: &Cache| cache.resolve(names[0].as_name(), ANY).unwrap().route.unwrap().record.value;
    until("the prefix's prefix is asked for", || root(&cache) == "other").await;
    let (events, _) = client.list(name("/c").as_name(), Freshness::Linearizable).await.unwrap();
    let listed = cache.list(name("/c").as_name(), FRESH).unwrap();
    assert!(listed.len() == events.len() && events.iter().all(|event| listed.contains(event)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_kept_is_asked_for() {
    let cluster = Cluster::found(&[1]);
    let client = cluster.client(100);
    let names: Vec<Name> = (0..50).map(|number| name(&format!("/c/{number}/v=1"))).collect();
    let copies = names.iter().map(|name| copy(&name.to_string())).collect();
    client.publish(node(7), 1, copies).await.unwrap();
    let cache = cluster.client(101).cache(name("/"), Size { names: 20, ..AMPLE }).await.unwrap();
    let known = names.iter().filter(|name| match holders(&cache, name, ANY) {
        Ok(holders) => holders == [node(7)],
        Err(unknown) => unknown != Unknown::NotKept,
    });
    assert_eq!(known.count(), 20);
    let refs: Vec<_> = names.iter().map(Name::as_name).collect();
    let found = cache.resolve_or_ask(&refs, PATIENCE).await.unwrap();
    assert_eq!(found.len(), names.len());
    for (name, known) in names.iter().zip(found) {
        assert_eq!(known.copies.unwrap().digest, Digest::of(name.to_string().as_bytes()));
    }
    let counters = cache.counters();
    assert_eq!((counters.copies_not_kept, counters.answered, counters.unanswered), (30, 40, 60));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_under_the_prefix_loses_nothing() {
    let cluster = Cluster::found(&[1, 2, 3]);
    let client = cluster.client(100);
    let names: Vec<Name> = ('a'..='z').map(|letter| name(&format!("/c/{letter}/v=1"))).collect();
    let publish = async |number| {
        let copies = names.iter().map(|name| copy(&name.to_string())).collect();
        client.publish(node(number), 1, copies).await.unwrap();
    };
    publish(7).await;
    client.put_record(RecordKind::Route, name("/c").as_name(), "all", None).await.unwrap();
    let cache = cluster.client(101).cache(name("/c"), AMPLE).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let reader = {
        let (cache, stop, names) = (cache.clone(), Arc::clone(&stop), names.clone());
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                for name in &names {
                    let known = cache.resolve(name.as_name(), ANY).unwrap();
                    let copies = known.copies.unwrap_or_else(|| panic!("{name} is lost"));
                    assert!(copies.holders.contains(&node(7)) && known.route.unwrap().record.value == "all");
                }
                tokio::task::yield_now().await;
            }
        })
    };
    // The second one is of the half that the first one made.
    for (at, number) in [("/c/m", 8), ("/c/t", 9), ("/c", 10)] {
        client.split(name(at).as_name()).await.unwrap();
        publish(number).await;
        for name in &names {
            reach(&cache, &client, name).await;
            assert!(holders(&cache, name, ANY).unwrap().contains(&node(number)), "{name} after {at}");
        }
    }
    stop.store(true, Ordering::Relaxed);
    reader.await.unwrap();
    check(&cache, &client, &names).await;
    assert_eq!(cache.listed().len(), 3);
    until("all shards tell", || names.iter().all(|name| holders(&cache, name, FRESH).is_ok())).await;
    assert_eq!(cache.counters().astray, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_from_before_a_split_is_reached_by_who_came_after_it() {
    let cluster = Cluster::found(&[1, 2, 3]);
    let client = cluster.client(100);
    let name = name("/c/m/v=1");
    client.publish(node(7), 1, vec![copy("/c/m/v=1")]).await.unwrap();
    let (shard, position) = client.position(name.as_name()).await.unwrap();
    client.split(self::name("/c/m").as_name()).await.unwrap();
    let cache = cluster.client(101).cache(self::name("/c"), AMPLE).await.unwrap();
    timeout(PATIENCE, cache.reach(name.as_name(), shard, position)).await.unwrap().unwrap();
    assert_eq!(holders(&cache, &name, ANY), Ok(vec![node(7)]));
    assert_ne!(cache.listed().last().unwrap().shard, shard);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_tells_may_die() {
    let mut cluster = Cluster::found(&[1, 2, 3]);
    let client = cluster.client(100);
    let cache = cluster.client(101).cache(name("/c"), AMPLE).await.unwrap();
    let mut names = Vec::new();
    for round in 0..6_u64 {
        let gone = round % 3 + 1;
        cluster.kill(gone);
        for number in 0..20 {
            let name = name(&format!("/c/{round}/{number}/v=1"));
            client.publish(node(7 + number % 3), 1, vec![copy(&name.to_string())]).await.unwrap();
            names.push(name);
        }
        let last = names.last().unwrap();
        reach(&cache, &client, last).await;
        check(&cache, &client, &names).await;
        assert!(holders(&cache, last, FRESH).is_ok());
        cluster.start(gone);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_hears_nothing_new_says_so() {
    let cluster = Cluster::found(&[1, 2, 3]);
    let client = cluster.client(100);
    let key = name("/c/1/v=1");
    client.publish(node(7), 1, vec![copy("/c/1/v=1")]).await.unwrap();
    let cache = cluster.client(101).cache(name("/"), AMPLE).await.unwrap();
    assert_eq!(holders(&cache, &key, FRESH), Ok(vec![node(7)]));
    // Two servers do not reach it. The third one does, and reaches none of them.
    for (one, other) in [(1, 101), (2, 101), (1, 3), (2, 3), (3, 1), (3, 2)] {
        cluster.network.cut(node(one), node(other));
    }
    client.publish(node(8), 1, vec![copy("/c/1/v=1")]).await.unwrap();
    let long = Duration::from_secs(12);
    until(
        "it has grown old",
        || matches!(holders(&cache, &key, FRESH), Err(Unknown::TooOld(age)) if age > long),
    )
    .await;
    assert_eq!(holders(&cache, &key, ANY), Ok(vec![node(7)]), "as it was last heard");
    cluster.network.heal();
    until("it is told again", || holders(&cache, &key, FRESH) == Ok(vec![node(7), node(8)])).await;
    // Nobody reaches it.
    (1..=3).for_each(|server| cluster.network.cut(node(server), node(101)));
    until("it has grown old", || holders(&cache, &key, FRESH).is_err()).await;
    assert!(cache.resolve_or_ask(&[key.as_name()], FRESH).await.is_err());
    assert!(cache.resolve_or_ask(&[key.as_name()], ANY).await.is_ok());
    cluster.network.heal();
    let found = cache.resolve_or_ask(&[key.as_name()], Duration::ZERO).await.unwrap();
    assert_eq!(found[0].copies.as_ref().unwrap().holders, [node(7), node(8)]);
}
