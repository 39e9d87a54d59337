//! The command line: what it says, and how it ends.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod support;

use std::process::{Command, Output};

use support::{Node, SMARTSWITCH, write_config};

fn smartswitch(arguments: &[&str]) -> Output {
    Command::new(SMARTSWITCH).args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn help_teaches_by_example() {
    let help = stdout(&smartswitch(&["--help"]));
    for expected in [
        "Examples:",
        "smartswitch run",
        "smartswitch check --config node.toml",
        "smartswitch top",
        "/metrics",
    ] {
        assert!(help.contains(expected), "{expected} is not in\n{help}");
    }
    let help = stdout(&smartswitch(&["run", "--help"]));
    assert!(help.contains("--listen") && help.contains("ready:") && help.contains("SIGTERM"), "{help}");
    assert!(stdout(&smartswitch(&["--version"])).starts_with("smartswitch "));
}

/// The examples of `check --help` are configurations without a problem.
#[test]
fn the_configurations_that_help_shows_are_good() {
    let help = stdout(&smartswitch(&["check", "--help"]));
    let blocks: Vec<String> = help
        .split("\nA configuration")
        .nth(1)
        .unwrap()
        .split("\nOne that")
        .map(|part| part.lines().filter_map(|line| line.strip_prefix("  ")).collect::<Vec<_>>().join("\n"))
        .collect();
    assert_eq!(blocks.len(), 2, "{help}");
    for (index, block) in blocks.iter().enumerate() {
        let file = write_config(&format!("help-{index}"), block);
        let output = smartswitch(&["check", "--config", file.to_str().unwrap()]);
        assert!(stdout(&output).ends_with("no problems\n"), "{block}\n{}", stdout(&output));
    }
}

#[test]
fn an_unknown_option_is_refused_with_a_hint() {
    let output = smartswitch(&["run", "--lisen", "127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--listen"), "{}", stderr(&output));
    assert_eq!(smartswitch(&["run", "--memory", "lots"]).status.code(), Some(2));
    let output = smartswitch(&["run", "--memory", "10"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("give at least 64KiB"), "{}", stderr(&output));
    assert_eq!(smartswitch(&["fly"]).status.code(), Some(2));
}

#[test]
fn check_says_what_is_wrong_and_ends_with_1() {
    let file = write_config(
        "bad",
        "[embedded]\nlisten = \"127.0.0.1:11211\"\nmemroy = \"64MiB\"\nclients = [\"0.0.0.0/0\"]\n",
    );
    let path = file.to_str().unwrap();
    let output = smartswitch(&["check", "--config", path]);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    assert!(
        text.contains(&format!(
            "{path}:3:1: error: unknown key `memroy` in [embedded]\n  remedy: did you mean `memory`?"
        )),
        "{text}"
    );
    assert!(text.contains(&format!("{path}:4:12: warning: `clients` is open to all addresses")), "{text}");
    assert!(text.ends_with("errors: 1, warnings: 1\n"), "{text}");

    let output = smartswitch(&["check", "--config", path, "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&report["ok"], &report["problems"][0]["line"]), (&false.into(), &3.into()));
    assert_eq!(report["problems"][1]["severity"], "warning");

    let output = smartswitch(&["run", "--config", path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("did you mean `memory`?") && output.stdout.is_empty());
}

#[test]
fn check_of_a_good_file_ends_with_0() {
    let file = write_config("good", "[embedded]\n");
    let output = smartswitch(&["check", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).ends_with("no problems\n"));
    let output = smartswitch(&["check", "--config", "/nonexistent/node.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("cannot read /nonexistent/node.toml"));
    std::fs::write(&file, b"\xff\xfe").unwrap();
    let output = smartswitch(&["check", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("TOML in UTF-8"), "{}", stderr(&output));
}

#[test]
fn top_shows_a_node_once_and_says_if_there_is_none() {
    let node = Node::start();
    let admin = node.admin.to_string();
    let output = smartswitch(&["top", "--admin", &admin, "--once", "--json", "--interval", "0.1"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let shown: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(shown["status"]["embedded"]["listen"], node.memcached.to_string());
    assert!(shown["rates"]["seconds"].as_f64().unwrap() >= 0.1);
    let output = smartswitch(&["top", "--admin", &format!("http://{admin}/"), "--once", "--interval", "0.1"]);
    assert!(stdout(&output).contains("embedded memcached"), "{}", stdout(&output));

    drop(node);
    let output = smartswitch(&["top", "--admin", &admin, "--once"]);
    assert_eq!(output.status.code(), Some(1));
    let message = stderr(&output);
    assert!(
        message.contains(&format!("no node answers at http://{admin}/api/status"))
            && message.contains("--admin"),
        "{message}"
    );
}

#[cfg(not(feature = "dpdk"))]
#[test]
fn a_build_without_the_packet_path_says_so() {
    let port = "[[dataplane.port]]\nname = \"p\"\ndevice = \"net_null0\"\n";
    let file = write_config("dataplane", &format!("[dataplane]\ncores = [0]\n{port}"));
    let output = smartswitch(&["run", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("needs a build with the feature `dpdk`"), "{}", stderr(&output));
}
