//! A directory that divides itself, and spreads over its nodes.

use std::collections::{BTreeMap, BTreeSet};

use cluster_tests::wait;
use serde_json::Value;

use crate::fleet::{Fleet, PATIENCE, id};
use crate::load::Load;

/// The shards, as a node tells.
struct Shards(Vec<Value>);

impl Shards {
    fn of(fleet: &Fleet) -> Option<Self> {
        let asked = *fleet.running().first()?;
        let shards = fleet.status(asked)["shards"].as_array()?.clone();
        shards.iter().all(|shard| shard["leader"].is_string()).then_some(Self(shards))
    }

    fn leaders(&self) -> BTreeSet<String> {
        self.0.iter().filter_map(|shard| Some(shard["leader"].as_str()?.to_owned())).collect()
    }

    /// Each member with the number of its replicas; `None` while members change.
    fn replicas(&self) -> Option<BTreeMap<String, usize>> {
        let mut replicas = BTreeMap::new();
        for shard in &self.0 {
            let members = shard["members"].as_array()?;
            if shard["moving"] != false || members.len() != 3 {
                return None;
            }
            for member in members {
                *replicas.entry(member["node"].as_str()?.to_owned()).or_default() += 1;
            }
        }
        Some(replicas)
    }

    /// Whether there are several, of three members each, on exactly these nodes, about as many on each.
    fn are_spread(&self, nodes: &[u64]) -> bool {
        let Some(replicas) = self.replicas() else { return false };
        let (least, most) = (replicas.values().min(), replicas.values().max());
        let even = least.zip(most).is_some_and(|(least, most)| most - least <= 2);
        self.0.len() >= 4
            && replicas.keys().cloned().eq(nodes.iter().map(|node| id(*node)))
            && even
            && self.leaders().len() >= 3
    }
}

fn wait_spread(fleet: &Fleet, nodes: &[u64]) {
    let spread = || Shards::of(fleet).filter(|shards| shards.are_spread(nodes));
    // Each replica of each shard moves by itself, one after the other.
    wait::until("shards on all nodes", 3 * PATIENCE, spread).unwrap_or_else(|error| {
        panic!("{error}: {:#?}", fleet.status(fleet.running()[0]));
    });
}

#[test]
fn shards_split_and_spread_over_five_nodes_and_a_dead_one_is_replaced() {
    let keys = "split_names = 150\nreplace_after_s = 5";
    let mut fleet = Fleet::prepare_with("directory-spreads", &[1, 2, 3], keys);
    [1, 2, 3].iter().for_each(|founder| fleet.start(*founder));
    [4, 5].iter().for_each(|node| fleet.join(*node, &[1, 2, 3]));
    let load = Load::start(&fleet, 6);
    load.goes_on("one shard");
    (0..12).for_each(|batch| load.publish(batch * 50..(batch + 1) * 50));
    wait_spread(&fleet, &[1, 2, 3, 4, 5]);
    load.goes_on("shards on five nodes");
    load.find(0..600);

    // For good, disk and all. Not the one that sees to it: that one's successor begins to count anew.
    let leader = fleet.leader();
    let dead = (1..=5).find(|node| *node != leader).unwrap();
    fleet.kill(dead);
    load.goes_on("without one of five");
    load.publish(600..700);
    wait_spread(&fleet, &fleet.running());
    load.find(0..700);
    let moved: f64 = fleet
        .running()
        .iter()
        .map(|node| fleet.metric(*node, "smartswitch_directory_replicas_promoted"))
        .sum();
    assert!(moved > 0.0, "replicas were moved by the directory itself");
    load.check();
    load_is_found_by_all(&fleet);
}

/// Also by nodes that have no replica of most shards.
fn load_is_found_by_all(fleet: &Fleet) {
    for node in fleet.running() {
        let said = fleet.said(node, &["resolve", "/hdfs/00000/v=1"]);
        assert!(said.contains("content    1 bytes"), "{said}");
        let listed = fleet.said(node, &["ls", "/hdfs"]);
        assert_eq!(listed.lines().count(), 350, "{listed}");
    }
}
