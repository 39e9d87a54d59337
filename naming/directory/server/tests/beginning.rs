//! Servers with new stores that ask others first.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod support;

use std::sync::atomic::Ordering;

use naming_directory::catalog::RecordKind;
use naming_directory::log::{HardState, Record};
use naming_directory_client::{Client, ShardId};
use naming_directory_server::store::Store;
use naming_directory_server::{Begin, Ended, Refused, Settings, Waiting};
use support::{Cluster, PATIENCE, name, node, until};

fn found_together(settings: &mut Settings) {
    let founders = [1, 2, 3].map(node).into();
    settings.begin = Begin::Ask { founders, peers: [1, 2, 3].map(node).into() };
}

fn wait_to_be_added(settings: &mut Settings) {
    settings.begin = Begin::Ask { founders: [].into(), peers: [1, 2, 3].map(node).into() };
}

/// A round of questions of a node; what it waits for after that.
async fn ask(cluster: &Cluster, client: &Client, number: u64) -> Option<Waiting> {
    let mut answers = Vec::new();
    for other in cluster.server(number).told(Vec::new())?.ask {
        if let Ok(description) = client.description(other).await {
            answers.push((other, description));
        }
    }
    cluster.server(number).told(answers)
}

async fn put(client: &Client, text: &'static str) {
    client.put_record(RecordKind::Route, name("/p").as_name(), text, None).await.unwrap();
}

async fn refused(cluster: &Cluster, number: u64) -> Refused {
    let ended = tokio::time::timeout(PATIENCE, cluster.server(number).ended()).await.unwrap();
    let Ended::Refused(refused) = ended else { panic!("{ended}") };
    refused
}

#[tokio::test(flavor = "multi_thread")]
async fn founders_begin_together_and_one_that_lost_its_disk_ends() {
    let mut cluster = Cluster::adjusted(&[1, 2, 3], found_together);
    let client = cluster.client(100);
    cluster.kill(3);
    for _ in 0..3 {
        for number in [1, 2] {
            let waiting = ask(&cluster, &client, number).await.unwrap();
            assert!(waiting.text.contains("have not answered: 0000000000000003;"), "{}", waiting.text);
            assert!(cluster.server(number).look().is_empty());
        }
    }
    cluster.start(3);
    // All write down the stores, then one ends before it has begun; it founds later, as the others do before.
    for number in [1, 2] {
        assert!(ask(&cluster, &client, number).await.unwrap().text.contains("have not agreed"));
    }
    assert_eq!(ask(&cluster, &client, 3).await, None);
    cluster.kill(2);
    assert_eq!(ask(&cluster, &client, 1).await, None, "one that has begun knows of all");
    put(&client, "with two of three").await;
    cluster.start(2);
    assert_eq!(ask(&cluster, &client, 2).await, None);
    cluster.agree(ShardId::FIRST).await;

    cluster.kill(2);
    cluster.lose_disk(2);
    cluster.start(2);
    ask(&cluster, &client, 2).await;
    let refused = refused(&cluster, 2).await;
    assert!(matches!(refused, Refused::Voter { shard: ShardId::FIRST, .. }), "{refused}");
    assert!(cluster.server(2).look().is_empty());
    put(&client, "without it").await;

    // Who still has its disk asks nobody.
    [1, 3].iter().for_each(|number| cluster.kill(*number));
    [1, 3].iter().for_each(|number| cluster.start(*number));
    assert_eq!(cluster.server(1).told(Vec::new()), None);
    put(&client, "once more").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_others_have_answered_it_votes_for_nobody() {
    let mut cluster = Cluster::found(&[1, 2, 3]);
    put(&cluster.client(100), "on two disks of three").await;
    cluster.kill(3);
    put(&cluster.client(100), "on one of those that are left").await;
    [1, 2].iter().for_each(|number| cluster.kill(*number));
    cluster.lose_disk(2);
    cluster.adjust = wait_to_be_added;
    [2, 3].iter().for_each(|number| cluster.start(*number));
    // Node 3 stands for election again and again.
    let asked = || cluster.server(2).counters().messages_refused.load(Ordering::Relaxed);
    until("it is asked for its vote", || asked() >= 5).await;
    let shard = cluster.shard(3, ShardId::FIRST).unwrap();
    assert!(!shard.leads && shard.leader == 0, "{shard:?}");

    ask(&cluster, &cluster.client(100), 2).await;
    let refused = refused(&cluster, 2).await;
    let expected = Refused::Voter { node: node(2), by: node(3), shard: ShardId::FIRST };
    assert_eq!(refused, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_crashed_before_it_had_its_first_shard_asks_again() {
    let mut cluster = Cluster::found(&[1]);
    cluster.adjust = wait_to_be_added;
    let path = cluster.empty_disk(2);
    // A leader's first message came, and nothing else.
    let heard = [Record::HardState(HardState { term: 5, vote: 0, commit: 0 })];
    Store::open(&path, node(2)).unwrap().write([(ShardId::FIRST, &heard[..])], true).unwrap();
    cluster.start(2);
    assert!(cluster.server(2).told(Vec::new()).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_waits_is_added_once_it_has_asked() {
    let mut cluster = Cluster::found(&[1]);
    let client = cluster.client(100);
    put(&client, "before").await;
    cluster.adjust = wait_to_be_added;
    cluster.start(2);
    let waiting = ask(&cluster, &client, 2).await.unwrap();
    assert!(waiting.joins && waiting.text.contains("waits to be added"), "{}", waiting.text);
    client.members(ShardId::FIRST).add(node(2), PATIENCE).await.unwrap();
    assert_eq!(ask(&cluster, &client, 2).await, None);
    cluster.agree(ShardId::FIRST).await;
}
