//! `smartswitch pki`: the built program, and OpenSSL's opinion of what it makes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const SMARTSWITCH: &str = env!("CARGO_BIN_EXE_smartswitch");

fn pki(arguments: &[&str]) -> Output {
    Command::new(SMARTSWITCH).arg("pki").args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refused(arguments: &[&str]) -> String {
    let output = pki(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&said(&pki(&[arguments, &["--json"]].concat()))).unwrap()
}

/// A directory that is not there.
fn fresh(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("pki-{name}"));
    let _ = std::fs::remove_dir_all(&dir);
    dir
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn an_authority_gives_nodes_certificates() {
    let dir = fresh("life");
    let at = dir.to_str().unwrap();
    assert!(said(&pki(&["init", at])).contains("ca.key: keep it secret"));
    assert_eq!([mode(&dir), mode(&dir.join("ca.key"))], [0o700, 0o600]);
    let made = json(&["node", at, "--id", "2a", "--address", "tor-1.example", "--address", "10.0.0.1"]);
    assert_eq!(made["certificate"]["node"], "000000000000002a");
    let certificate = made["files"]["certificate"].as_str().unwrap();
    assert_eq!(mode(Path::new(made["files"]["key"].as_str().unwrap())), 0o600);

    let shown = json(&["show", certificate]);
    assert_eq!(shown["certificates"][0], made["certificate"]);
    assert_eq!(shown["certificates"][0]["names"][1], "tor-1.example");
    assert_eq!(shown["certificates"][0]["days_left"], 364);
    let words = said(&pki(&["show", certificate]));
    assert!(words.contains("node         000000000000002a") && words.contains("364 days left"), "{words}");

    let ca = made["files"]["ca"].as_str().unwrap();
    let verify = ["verify", "-x509_strict", "-CAfile", ca, "-verify_ip", "10.0.0.1"];
    for purpose in ["sslserver", "sslclient"] {
        let checked =
            Command::new("openssl").args(verify).args(["-purpose", purpose, certificate]).output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }

    let renewed = json(&["node", at, "--id", "2a", "--renew", "--days", "700"]);
    assert_eq!(renewed["certificate"]["names"], made["certificate"]["names"]);
    assert_eq!(renewed["certificate"]["days_left"], 699);
    assert_ne!(renewed["certificate"]["serial"], made["certificate"]["serial"]);
}

#[test]
fn what_is_there_is_kept_and_what_is_wrong_is_said() {
    let dir = fresh("errors");
    let at = dir.to_str().unwrap();
    let none = refused(&["node", at, "--id", "1"]);
    assert!(none.contains("there is no authority in") && none.contains("smartswitch pki init"), "{none}");
    said(&pki(&["init", at, "--days", "10"]));
    let key = std::fs::read(dir.join("ca.key")).unwrap();
    assert!(refused(&["init", at]).contains("ca.crt is there already, and is kept"));
    assert_eq!(std::fs::read(dir.join("ca.key")).unwrap(), key);
    let long = refused(&["node", at, "--id", "1", "--days", "11"]);
    assert!(long.contains("before the certificate would; give fewer days"), "{long}");
    assert!(refused(&["node", at, "--id", "1", "--renew", "--days", "1"]).contains("leave `--renew` out"));
    said(&pki(&["node", at, "--id", "1", "--days", "1"]));
    assert!(refused(&["node", at, "--id", "1", "--days", "1"]).contains("`--renew` gives node"));
    assert!(refused(&["show", dir.join("ca.key").to_str().unwrap()]).contains("it holds no certificate"));
    assert!(!pki(&["node", at, "--id", "zz"]).status.success());
}
