//! The directory of one node: its configuration, its data, and the command line.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod support;

use std::path::Path;
use std::process::{Command, Output};

use nix::sys::signal::Signal;
use serde_json::Value;
use support::{Node, SMARTSWITCH, fresh_directory, wait, write_config};

fn directory(node: &Node, arguments: &[&str]) -> Output {
    let admin = node.admin.to_string();
    let arguments = [&["directory", "--admin", &admin], arguments].concat();
    Command::new(SMARTSWITCH).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What a command prints, which has to end well.
fn said(node: &Node, arguments: &[&str]) -> String {
    let output = directory(node, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn json(node: &Node, arguments: &[&str]) -> Value {
    serde_json::from_str(&said(node, &[arguments, &["--json"]].concat())).unwrap()
}

/// Waits until the node is registered: then everything else is there, too.
fn registered(node: &Node) -> Value {
    wait("the node's registration", || {
        let listed = directory(node, &["ls", "/node", "--json"]);
        let entries: Value = serde_json::from_slice(&listed.stdout).ok()?;
        entries.get(0).cloned()
    })
}

fn restarted(data: &Path) -> Node {
    let data = data.to_str().unwrap();
    Node::start_with(&["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data", data])
}

#[test]
fn a_node_without_a_configuration_is_a_directory_of_its_own() {
    let node = Node::start();
    assert!(node.ready.contains("directory (node 0000000000000001), "), "{}", node.ready);
    let entry = registered(&node);
    assert_eq!((&entry["name"], &entry["kind"]), (&"/node/0000000000000001".into(), &"node".into()));
    let status = json(&node, &["status"]);
    let shard = &status["shards"][0];
    assert_eq!((&shard["from"], &shard["until"]), (&"/".into(), &Value::Null));
    assert_eq!(shard["leader"], "0000000000000001");
    assert_eq!(shard["members"][0]["role"], "leader");
    let shown = said(&node, &["status"]);
    assert!(shown.contains("/ to the end  1 name  led by 0000000000000001"), "{shown}");
    assert!(shown.contains("knows nodes 1"), "{shown}");
    let members = said(&node, &["members"]);
    assert!(members.contains("node 0000000000000001  leads 1 shard  rack default  alone"), "{members}");
    let resolved = said(&node, &["resolve", "/a/b"]);
    assert!(resolved.starts_with("/a/b\n") && resolved.contains("copies     none"), "{resolved}");
    assert_eq!(json(&node, &["resolve", "/a/b", "--local"])["authority"], Value::Null);

    let status: Value = serde_json::from_str(&node.http("/api/status").1).unwrap();
    assert_eq!(status["directory"]["node"], "0000000000000001");
    node.wait_metric("smartswitch_directory_leads", 1.0);
    assert!(node.metric("smartswitch_directory_syncs_total") > 0.0);
    assert!(node.data.join("directory/IDENTITY").exists());
}

#[test]
fn what_the_directory_knows_outlives_the_node() {
    let data = fresh_directory();
    let mut node = restarted(&data);
    let before = registered(&node)["epoch"].as_u64().unwrap();
    assert!(node.stop(Signal::SIGTERM).success());
    let node = restarted(&data);
    // The same node in another life, in the log that it had.
    wait("a later epoch", || (registered(&node)["epoch"].as_u64().unwrap() > before).then_some(()));
    drop(node);
    let node = restarted(&data);
    wait("a later epoch, after a kill", || {
        (registered(&node)["epoch"].as_u64().unwrap() > before).then_some(())
    });
}

#[test]
fn a_watch_tells_what_is_there() {
    use std::io::{BufRead, BufReader};
    let node = Node::start();
    registered(&node);
    let admin = node.admin.to_string();
    let mut watch = Command::new(SMARTSWITCH)
        .args(["directory", "--admin", &admin, "watch", "/node", "--json"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(watch.stdout.take().unwrap()).read_line(&mut line).unwrap();
    _ = watch.kill();
    _ = watch.wait();
    let told: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(told["listing"]["entries"][0]["name"], "/node/0000000000000001");
}

#[test]
fn a_backup_becomes_the_data_of_another_node() {
    let node = Node::start();
    registered(&node);
    let (place, data) = (fresh_directory(), fresh_directory());
    let file = place.join("backup");
    let file = file.to_str().unwrap();
    let backup = json(&node, &["backup", file]);
    assert_eq!((&backup["shards"], backup["bytes"].as_u64().unwrap() > 100), (&1.into(), true));
    let again = directory(&node, &["backup", file]);
    assert!(text(&again.stderr).contains("give a file that is not there yet"), "{}", text(&again.stderr));

    let restore = |file: &str, data: &Path| {
        let data = data.to_str().unwrap();
        Command::new(SMARTSWITCH).args(["directory", "restore", file, "--data", data]).output().unwrap()
    };
    let restored = restore(file, &data);
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    let other = restarted(&data);
    assert_eq!(json(&other, &["ls", "/node", "--local"])[0]["name"], "/node/0000000000000001");
    drop(other);
    let twice = restore(file, &data);
    assert!(!twice.status.success() && text(&twice.stderr).contains("has a directory already"));
    let bytes = std::fs::read(file).unwrap();
    std::fs::write(file, &bytes[..bytes.len() - 1]).unwrap();
    let data = fresh_directory();
    let cut = restore(file, &data);
    assert!(text(&cut.stderr).contains("it ends early"), "{}", text(&cut.stderr));
    assert!(!data.join("directory").exists(), "nothing is made of half a backup");
}

#[test]
fn data_that_cannot_be_used_is_told_with_a_remedy() {
    let data = fresh_directory();
    let node = restarted(&data);
    registered(&node);
    let start = |id: &str| {
        let text = format!(
            "[node]\nid = \"{id}\"\ndata = {data:?}\n[admin]\nlisten = \"127.0.0.1:0\"\n[directory]\n"
        );
        let file = write_config(&format!("directory-{id}"), &text);
        Command::new(SMARTSWITCH).args(["run", "--config", file.to_str().unwrap()]).output().unwrap()
    };
    let in_use = start("1");
    assert_eq!(in_use.status.code(), Some(1));
    assert!(text(&in_use.stderr).contains("stop that one first"), "{}", text(&in_use.stderr));
    // Who did not ask for a directory does without.
    let other = restarted(&data);
    let output = directory(&other, &["status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("has no part in a directory") && !other.ready.contains("directory")
    );

    drop(node);
    let output = start("2");
    assert!(text(&output.stderr).contains("give each node a place of its own"), "{}", text(&output.stderr));
    let identity = data.join("directory/IDENTITY");
    std::fs::write(&identity, "smartswitch directory\nformat 9\nnode 0000000000000001\n").unwrap();
    assert!(text(&start("1").stderr).contains("upgrade this node"));
    std::fs::write(&identity, "nonsense").unwrap();
    assert!(text(&start("1").stderr).contains("empty the directory"));
}

#[test]
fn what_cannot_be_asked_is_said() {
    let node = Node::start_beside("no-directory", "", "");
    let output = directory(&node, &["ls", "/"]);
    assert!(
        text(&output.stderr).contains("add [directory] to its configuration"),
        "{}",
        text(&output.stderr)
    );
    let (status, body) = node.http("/api/directory");
    assert_eq!((status, body.contains("[directory]")), (404, true));

    let node = Node::start();
    registered(&node);
    let output = directory(&node, &["resolve", "no name"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    let output = directory(&node, &["add-node", "2"]);
    let message = text(&output.stderr);
    assert!(message.contains("node 0000000000000002 is not registered"), "{message}");
    let output = directory(&node, &["remove-node", "1"]);
    assert_eq!(output.status.code(), Some(1));
    // By a page of another site, say.
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let url = format!("http://{}/api/directory/remove-node?node=1", node.admin);
    assert_eq!(agent.post(&url).send_empty().unwrap().status(), 403);
    let output = Command::new(SMARTSWITCH).args(["directory", "--help"]).output().unwrap();
    let help = text(&output.stdout);
    for expected in ["add-node 2", "From one node to three", "pki node DIR --id 1", "backup"] {
        assert!(help.contains(expected), "{expected} is not in\n{help}");
    }
}

#[test]
fn a_shard_is_split_by_hand() {
    let node = Node::start();
    registered(&node);
    let split = json(&node, &["split", "/hdfs"]);
    assert_eq!(
        (&split["at"], &split["shard"], &split["leader"]),
        (&"/hdfs".into(), &"0000000000000001".into(), &"0000000000000001".into())
    );
    let status = json(&node, &["status"]);
    let range = |shard: &Value| (shard["id"].clone(), shard["from"].clone(), shard["until"].clone());
    let shards: Vec<_> = status["shards"].as_array().unwrap().iter().map(range).collect();
    assert_eq!(
        shards,
        [
            (split["shard"].clone(), "/".into(), "/hdfs".into()),
            (split["new"].clone(), "/hdfs".into(), Value::Null)
        ]
    );
    let said = said(&node, &["split", "/mc"]);
    // In the order of names a shorter component is before a longer one.
    let expected = "shard 0000000000000001 keeps the names before /mc; those from it on are shard ";
    assert!(said.starts_with(expected) && said.contains("led by 0000000000000001"), "{said}");
    for (prefix, expected) in [
        ("/hdfs", "begins with /hdfs already"),
        ("/", "shard 0000000000000001 begins with / already"),
        ("/node/1", "names of nodes"),
    ] {
        let output = directory(&node, &["split", prefix]);
        let message = text(&output.stderr);
        assert!(output.status.code() == Some(1) && message.contains(expected), "{prefix}: {message}");
    }
    // Not by a page of another site.
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let url = format!("http://{}/api/directory/split?prefix=/x", node.admin);
    assert_eq!(agent.post(&url).send_empty().unwrap().status(), 403);
}
