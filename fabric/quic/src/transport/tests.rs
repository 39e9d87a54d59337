use std::path::Path;
use std::time::Instant;

use naming::NodeId;
use quinn_proto::{ConnectionIdGenerator, DatagramEvent, Endpoint};

use super::*;
use crate::pki::{Authority, Validity};

/// A node's identity, whose files are gone again.
fn identity(node: u64) -> Identity {
    let directory = std::env::temp_dir().join(format!("quic-transport-{node}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    let identity = made(&directory, NodeId::new(node).unwrap());
    std::fs::remove_dir_all(directory).unwrap();
    identity
}

fn made(directory: &Path, node: NodeId) -> Identity {
    let authority = Authority::create(directory, "test", Validity::days(30).unwrap()).unwrap();
    Identity::open(&authority.issue(node, &[], Validity::days(1).unwrap()).unwrap()).unwrap()
}

/// A packet of a connection that the node of `identity` had in an earlier life.
fn forgotten(identity: &Identity, len: usize) -> Vec<u8> {
    let mut packet = vec![0x40];
    packet.extend_from_slice(&HashedConnectionIdGenerator::from_key(id_key(identity)).generate_cid());
    packet.resize(len, 0x5a);
    packet
}

#[test]
fn all_peers_that_come_at_once_hear_that_the_node_forgot_them() {
    let (own, other) = (identity(1), identity(2));
    let mut anew = Endpoint::new(Arc::new(endpoint(&own, &Config::default())), None, true, None);
    let now = Instant::now();
    let mut answer = |packet: &[u8]| {
        let (from, mut answer) = ("127.0.0.1:9".parse().unwrap(), Vec::new());
        match anew.handle(now, from, None, None, packet.into(), &mut answer)? {
            DatagramEvent::Response(_) => Some(answer),
            _ => panic!("there are no connections"),
        }
    };
    for _ in 0..1000 {
        let packet = forgotten(&own, 40);
        let reset = answer(&packet).expect("a reset");
        assert!(reset.len() < packet.len());
        assert_eq!(answer(&reset), None, "resets are not answered");
    }
    assert_eq!(answer(&forgotten(&other, 40)), None, "another node's id");
    assert_eq!(answer(&forgotten(&own, 21)), None, "no reset is shorter");
}
