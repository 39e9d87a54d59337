//! Shards that split, and replicas that move, while names are published.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use naming::{Digest, Location, Name};
use naming_directory::catalog::RecordKind;
use naming_directory_client::balance::{Balancer, Counters, Settings};
use naming_directory_client::client::Copy;
use naming_directory_client::wire::{Freshness, Shard};
use naming_directory_client::{Client, ShardId};
use support::{Cluster, PATIENCE, name, node, until};

const NAMES: usize = 1200;
const SPLIT_NAMES: u64 = 300;

fn copies() -> Vec<Copy> {
    let name = |number: usize| name(&format!("/hdfs/c1/b/{number:04}/v=1"));
    (0..NAMES)
        .map(|number| Copy { name: name(number), digest: Digest::of(&number.to_be_bytes()), length: 1 })
        .collect()
}

async fn register(client: &Client, number: u64) -> tokio::task::JoinHandle<()> {
    let location =
        Location { node: node(number), rack: format!("r{number}").parse().unwrap(), addresses: Vec::new() };
    let lease = Duration::from_secs(2);
    tokio::spawn(client.register(&location, number, lease).await.unwrap().keep(client.clone()))
}

/// Each shard as its leader sees it.
fn shards(cluster: &Cluster) -> BTreeMap<u64, Shard> {
    let all = cluster.running().into_iter().flat_map(|number| cluster.server(number).look());
    all.filter(|shard| shard.leads).map(|shard| (shard.shard, shard)).collect()
}

/// All replicas, a line each.
fn replicas(cluster: &Cluster) -> String {
    let all = cluster.running().into_iter().flat_map(|number| {
        let shards = cluster.server(number).look().into_iter();
        shards.map(move |shard| {
            let Shard { shard, leads, term, last, voters, learners, leader, failure, .. } = shard;
            let id = ShardId(shard);
            format!("node {number} shard {id} leads {leads} leader {leader} term {term} last {last} {voters:?} {learners:?} {failure}\n")
        })
    });
    all.collect()
}

/// Takes steps until nothing is left to be done and `holds`.
async fn balance(cluster: &Cluster, balancer: &mut Balancer, what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + 2 * PATIENCE;
    loop {
        let round = balancer.round().await;
        if matches!(round, Ok(None)) && holds() {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: {round:?}\n{}", replicas(cluster));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Whether each shard has three voters of these nodes, nobody has two replicas or led shards more than another, and no other
/// replica is left.
fn is_even(cluster: &Cluster, nodes: &[u64]) -> bool {
    let shards = shards(cluster);
    let count = |number: &u64, is: &dyn Fn(&Shard) -> bool| {
        let first = ShardId::FIRST.0;
        cluster
            .server(*number)
            .look()
            .iter()
            .filter(|shard| is(shard) || shard.shard == first && shard.leads)
            .count()
    };
    let all: Vec<usize> = nodes.iter().map(|number| count(number, &|_| true)).collect();
    let voters: BTreeSet<u64> = shards.values().flat_map(|shard| shard.voters.clone()).collect();
    let settled =
        |shard: &Shard| shard.voters.len() == 3 && shard.learners.is_empty() && shard.outgoing.is_empty();
    shards.len() >= 4
        && shards.values().all(settled)
        && voters == nodes.iter().copied().collect()
        && all.iter().sum::<usize>() == 3 * shards.len()
        && all.iter().max().unwrap() - all.iter().min().unwrap() <= 2
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_split_and_spread_and_a_dead_node_is_replaced() {
    let mut cluster = Cluster::adjusted(&[1, 2, 3], |settings| settings.split_names = SPLIT_NAMES);
    cluster.start(4);
    cluster.start(5);
    let clients: BTreeMap<u64, Client> = (1..=5).map(|number| (number, cluster.client_of(number))).collect();
    let mut leases = BTreeMap::new();
    for (number, client) in &clients {
        leases.insert(*number, register(client, *number).await);
    }
    // It stands before all names that are published: their shards have to look for it elsewhere.
    let route = name("/hdfs");
    clients[&1].put_record(RecordKind::Route, route.as_name(), "origin", None).await.unwrap();

    let leader = cluster.leader().await;
    let settings = Settings { replicas: 3, replace_after: Some(Duration::from_secs(3)) };
    let counters = Arc::new(Counters::default());
    let mut balancer = Balancer::new(clients[&leader].clone(), settings, Arc::clone(&counters));
    let publisher = clients[&leader].clone();
    let published = tokio::spawn(async move {
        for batch in copies().chunks(50) {
            let published = publisher.publish(node(77), 1, batch.to_vec()).await.unwrap();
            assert_eq!(published.added as usize, batch.len());
        }
    });
    balance(&cluster, &mut balancer, "several shards on all five nodes", || {
        published.is_finished() && is_even(&cluster, &[1, 2, 3, 4, 5])
    })
    .await;
    published.await.unwrap();
    let all = shards(&cluster);
    assert!(
        all.values().all(|shard| shard.names <= SPLIT_NAMES),
        "{:?}",
        all.values().map(|shard| shard.names).collect::<Vec<_>>()
    );
    let led: BTreeSet<u64> = all.values().map(|shard| shard.leader).collect();
    assert!(led.len() >= 3, "leaders are spread: {led:?}");
    everything_is_there(&cluster.client(100)).await;
    // A node without replicas of most shards, asked by somebody who knows nobody else.
    let mut settings = naming_directory_client::client::Settings::new([node(5)]);
    settings.try_timeout = Duration::from_millis(500);
    let stranger = Client::new(node(101), cluster.network.transport(node(101)), settings);
    cluster.network.attach(node(101), Arc::new(stranger.clone()));
    everything_is_there(&stranger).await;

    // One that does not lead the first shard: whoever does, counts how long it is silent.
    let dead = (1..=5).find(|number| *number != leader).unwrap();
    leases[&dead].abort();
    cluster.kill(dead);
    let living: Vec<u64> = (1..=5).filter(|number| *number != dead).collect();
    until("each shard has a leader", || shards(&cluster).len() == all.len()).await;
    balance(&cluster, &mut balancer, "the dead node's place is taken", || is_even(&cluster, &living)).await;
    everything_is_there(&clients[&leader]).await;
    // It comes back, and gives up what is others' by now; then it gets replicas again.
    cluster.start(dead);
    let back = cluster.client_of(dead);
    let _lease = register(&back, dead).await;
    balance(&cluster, &mut balancer, "it takes part again", || is_even(&cluster, &[1, 2, 3, 4, 5])).await;
    everything_is_there(&back).await;
    let counted: BTreeMap<_, _> = counters.all().map(|(name, _, value)| (name, value)).collect();
    assert!(counted["replicas_retired"] > 0 && counted["replicas_promoted"] > 0, "{counted:?}");
}

async fn everything_is_there(client: &Client) {
    let copies = copies();
    let names: Vec<_> = copies.iter().map(|copy| copy.name.as_name()).collect();
    let resolved = client.resolve(&names, Freshness::Linearizable).await.unwrap();
    for (copy, found) in copies.iter().zip(&resolved) {
        let digest = found.copies.as_ref().map(|copies| copies.digest);
        assert_eq!(digest, Some(copy.digest), "{}", copy.name);
        assert_eq!(found.route.as_ref().map(|routed| routed.prefix.to_string()), Some("/hdfs".to_owned()));
    }
    let (events, _) = client.list(name("/hdfs").as_name(), Freshness::Linearizable).await.unwrap();
    assert_eq!(events.len(), NAMES + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_splits_by_itself_until_its_parts_are_small() {
    let mut cluster = Cluster::adjusted(&[1], |settings| settings.split_names = SPLIT_NAMES);
    let client = cluster.client_of(1);
    client.publish(node(77), 1, copies()).await.unwrap();
    let small = |cluster: &Cluster| {
        let shards = cluster.server(1).look();
        shards.len() > 3 && shards.iter().all(|shard| shard.leads && shard.names <= SPLIT_NAMES)
    };
    until("all shards are small", || small(&cluster)).await;
    let shards = cluster.server(1).look().len();
    assert!(shards <= 8, "{shards} shards");
    let all: Vec<Name> = copies().into_iter().map(|copy| copy.name).collect();
    drop(client);
    cluster.kill(1);
    cluster.start(1);
    let client = cluster.client_of(1);
    let (events, places) = client.list(name("/hdfs").as_name(), Freshness::Linearizable).await.unwrap();
    assert_eq!((events.len(), places.len()), (all.len(), shards));
}
