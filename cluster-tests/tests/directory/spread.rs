//! A directory that divides itself, and spreads over its nodes; backups of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

use cluster_tests::wait;
use serde_json::Value;

use crate::fleet::{Fleet, PATIENCE, id};
use crate::load::Load;

/// A node that is none of them, for what is restored.
const RESTORED: u64 = 6;
/// How many backups are taken while a member is killed.
const BACKUPS: u32 = 12;

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
    // None of them has all of it.
    let files = [1, 2, 3, 4, 5].map(|asked| back_up(&fleet, asked, &format!("backup-{asked}")));
    is_restored(&mut fleet, &files[4], &["/hdfs", "/tests"]);

    // For good, disk and all. Not the one that sees to it: that one's successor begins to count anew.
    let leader = fleet.leader();
    let dead = (1..=5).find(|node| *node != leader).unwrap();
    let (began, begins) = mpsc::channel();
    let backups = back_up_again_and_again(&fleet, leader, began);
    begins.recv().unwrap();
    fleet.kill(dead);
    let taken = backups.join().unwrap();
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
    let last = fleet.running()[3];
    let file = back_up(&fleet, last, "last");
    is_restored(&mut fleet, &file, &["/"]);
    if let Some(taken) = taken.last() {
        is_restored(&mut fleet, taken, &["/hdfs/00000/v=1"]);
    }
    there_is_no_backup_without_a_shard(&mut fleet);
}

/// Of which the first one is on its way already when it shows that another one does not answer.
fn there_is_no_backup_without_a_shard(fleet: &mut Fleet) {
    let shards = Shards::of(fleet).unwrap();
    let (first, others) = shards.0.split_first().unwrap();
    let running = fleet.running();
    let mut pairs = running.iter().flat_map(|one| running.iter().map(move |other| (*one, *other)));
    let goes_on = |shard: &Value, one, other| !(is_member(shard, one) && is_member(shard, other));
    let (one, other) = pairs
        .find(|(one, other)| {
            let (one, other) = (*one, *other);
            one < other
                && goes_on(first, one, other)
                && !others.iter().all(|shard| goes_on(shard, one, other))
        })
        .unwrap();
    [one, other].into_iter().for_each(|member| fleet.kill(member));
    let file = fleet.backup_file("without-a-shard");
    let output = fleet.directory(fleet.running()[0], &["backup", file.to_str().unwrap()]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && !file.exists(), "{message}");
    assert!(message.contains("was not finished: shard ") && message.contains("did not answer"), "{message}");
}

fn is_member(shard: &Value, node: u64) -> bool {
    shard["members"].as_array().unwrap().iter().any(|member| member["node"] == id(node))
}

/// A backup of all shards.
fn back_up(fleet: &Fleet, asked: u64, name: &str) -> PathBuf {
    let file = fleet.backup_file(name);
    let said = fleet.said(asked, &["backup", file.to_str().unwrap(), "--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert!(said["shards"].as_u64().unwrap() >= 4, "{said}");
    file
}

/// Has a node asked for backups, one after the other, and says when the first one is there. Each is whole, or there is none and the
/// error says where it ended. The files of those that are whole.
fn back_up_again_and_again(fleet: &Fleet, asked: u64, began: Sender<()>) -> JoinHandle<Vec<PathBuf>> {
    let files = (0..BACKUPS).map(|number| fleet.backup_file(&format!("again-{number}")));
    let mut commands: Vec<(PathBuf, Command)> =
        files.map(|file| (file.clone(), fleet.asking(asked, &["backup", file.to_str().unwrap()]))).collect();
    thread::spawn(move || {
        let mut taken = Vec::new();
        for (file, command) in &mut commands {
            let output = command.output().unwrap();
            let message = String::from_utf8_lossy(&output.stderr);
            if output.status.success() {
                taken.push(file.clone());
            } else {
                println!("{message}");
                assert!(message.contains("shard ") && message.contains("node "), "{message}");
            }
            assert_eq!(file.exists(), output.status.success());
            assert!(!file.with_extension("part").exists());
            // Nobody waits for the others.
            _ = began.send(());
        }
        taken
    })
}

/// A node that begins with a backup knows under these prefixes what the directory does.
fn is_restored(fleet: &mut Fleet, file: &Path, prefixes: &[&str]) {
    let asked = fleet.running()[0];
    fleet.start_restored(RESTORED, file);
    for prefix in prefixes {
        let expected = known(fleet, asked, prefix);
        assert!(!expected.is_empty());
        assert_eq!(known(fleet, RESTORED, prefix), expected, "under {prefix}");
    }
    fleet.kill(RESTORED);
}

/// What is under a prefix, but for the nodes that live.
fn known(fleet: &Fleet, asked: u64, prefix: &str) -> Vec<Value> {
    let listed = fleet.said(asked, &["ls", prefix, "--json"]);
    let mut entries: Vec<Value> = serde_json::from_str(&listed).unwrap();
    entries.retain(|entry| entry["kind"] != "node");
    entries
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
