//! Certificates of nodes are read again at a reload: a peer that was believed is believed no more, and the other way round.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod support;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use fabric_quic::{Builder, Config, Files, Identity, Messages, SendError, Unreachable};
use naming::NodeId;
use support::{DEADLINE, Node, SMARTSWITCH, fresh_directory, write_config};

/// What the node's peers send with; its number is part of the protocol.
const REQUEST: Messages = Messages::new(3, "directory-request");

/// Makes an authority with certificates for nodes 1 and 2.
fn authority() -> PathBuf {
    let dir = fresh_directory().join("pki");
    let at = dir.to_str().unwrap();
    for arguments in [&["init", at][..], &["node", at, "--id", "1"], &["node", at, "--id", "2"]] {
        let output = Command::new(SMARTSWITCH).arg("pki").args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    dir
}

fn id(node: u64) -> NodeId {
    NodeId::new(node).unwrap()
}

fn files(authority: &Path, node: u64) -> Files {
    let file = |ending: &str| authority.join(format!("{}.{ending}", id(node)));
    Files { ca: authority.join("ca.crt"), certificate: file("crt"), key: file("key") }
}

/// Puts the node's files where its configuration says they are.
fn install(authority: &Path, place: &Path) {
    let Files { ca, certificate, key } = files(authority, 1);
    for (from, to) in [(ca, "ca.crt"), (certificate, "node.crt"), (key, "node.key")] {
        std::fs::copy(from, place.join(to)).unwrap();
    }
}

fn reload(node: &Node) -> Output {
    Command::new(SMARTSWITCH).args(["reload", "--admin", &node.admin.to_string()]).output().unwrap()
}

/// Connects to the node as node 2 of this authority; why not, if it does not come about.
async fn connect(authority: &Path, address: SocketAddr) -> Result<(), String> {
    let identity = Identity::open(&files(authority, 2)).unwrap();
    let mut builder = Builder::new(identity, Config::default());
    let _inbox = builder.messages(&REQUEST);
    let endpoint = builder.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    endpoint.set_addresses(id(1), &[address]).unwrap();
    let deadline = std::time::Instant::now() + DEADLINE;
    let outcome = loop {
        // Whatever it says: there is a connection, or none. Again and again, lest the reason why not is over unseen.
        let sent = endpoint.send(id(1), &REQUEST, Vec::new().into());
        if let Err(SendError::Unreachable(Unreachable::Resting { why, .. })) = sent {
            break Err(why.to_string());
        }
        if endpoint.peer(id(1)).unwrap().connection.is_some() {
            break Ok(());
        }
        assert!(std::time::Instant::now() < deadline, "no connection, and no reason why not");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    endpoint.close().await;
    outcome
}

#[tokio::test]
async fn a_reload_takes_on_what_is_in_the_files_unless_it_is_of_no_use() {
    let (old, new, place) = (authority(), authority(), fresh_directory());
    install(&old, &place);
    let at = place.display();
    let text = format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\n[node]\nid = \"1\"\ndata = \"{at}/data\"\n[directory]\n\
         [fabric]\nlisten = \"127.0.0.1:0\"\nca = \"{at}/ca.crt\"\ncertificate = \"{at}/node.crt\"\nkey = \"{at}/node.key\"\n"
    );
    let node = Node::start_with(&["--config", write_config("certificates", &text).to_str().unwrap()]);
    let address = node.ready.split_once("directory ").unwrap().1.split(' ').next().unwrap().parse().unwrap();
    connect(&old, address).await.unwrap();
    let why = connect(&new, address).await.unwrap_err();
    assert!(why.contains("UnknownIssuer"), "{why}");

    // What is half there changes nothing.
    std::fs::write(place.join("node.crt"), "-----BEGIN CERTIFICATE-----\n").unwrap();
    let output = reload(&node);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && message.contains("node.crt"), "{message}");
    connect(&old, address).await.unwrap();

    install(&new, &place);
    let output = reload(&node);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    connect(&new, address).await.unwrap();
    let why = connect(&old, address).await.unwrap_err();
    assert!(why.contains("UnknownIssuer"), "{why}");
}
