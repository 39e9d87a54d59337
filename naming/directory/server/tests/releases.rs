//! Nodes and clients of different releases: what the other one does not know yet.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod support;

use naming_directory::catalog::{RecordKind, VERSION};
use naming_directory::proto::{Command, PutRecord, RaiseVersion, command::Action, reply::Outcome};
use naming_directory_client::ShardId;
use naming_directory_client::wire::{FailureKind, Freshness, Request, request, response::Body};
use prost::Message;
use support::raw::Raw;
use support::{Cluster, name, node, until};

/// A field 4000 of a message, with `bytes`.
fn unknown(bytes: &[u8]) -> Vec<u8> {
    [&[0x82, 0xfa, 0x01, bytes.len() as u8], bytes].concat()
}

fn raw(cluster: &Cluster) -> Raw {
    Raw::new(&cluster.network, node(50), node(1))
}

fn put(value: &'static str) -> PutRecord {
    let name = name("/a").as_bytes().to_vec().into();
    PutRecord { kind: 2, name, value: value.into(), expected_revision: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_not_known_is_answered_so() {
    let cluster = Cluster::found(&[1]);
    cluster.leader().await;
    let request = Request { id: 7, shard: 1, body: None }.encode_to_vec();
    let answer = raw(&cluster).ask([request, unknown(b"\x08\x01")].concat());
    let Body::Failure(failure) = answer else { panic!("{answer:?}") };
    assert_eq!(failure.kind(), FailureKind::Unsupported);
    assert!(failure.text.contains("upgrade this node"), "{}", failure.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_are_not_known_are_passed_over() {
    let cluster = Cluster::found(&[1]);
    let client = cluster.client(100);
    client.put_record(RecordKind::Route, name("/a").as_name(), "before", None).await.unwrap();
    // In the request, in its command, and in what that asks for: field 16 of one, field 21 of the other.
    let asked = [put("after").encode_to_vec(), unknown(b"later")].concat();
    let action = [&[0xaa, 0x01, asked.len() as u8], &asked[..]].concat();
    let command = [action, unknown(b"later")].concat();
    let body = [&[0x82, 0x01, command.len() as u8], &command[..]].concat();
    let request = [Request { id: 7, shard: 1, body: None }.encode_to_vec(), body, unknown(b"later")].concat();
    let answer = raw(&cluster).ask(request);
    assert!(
        matches!(&answer, Body::Reply(reply) if matches!(reply.outcome, Some(Outcome::Stored(_)))),
        "{answer:?}"
    );
    let found = client.resolve(&[name("/a").as_name()], Freshness::Linearizable).await.unwrap();
    assert_eq!(found[0].route.as_ref().unwrap().record.value, "after");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_not_known_is_refused_and_its_leader_goes_on() {
    let cluster = Cluster::found(&[1]);
    let client = cluster.client(100);
    client.put_record(RecordKind::Route, name("/a").as_name(), "before", None).await.unwrap();
    let command = unknown(b"\x08\x01");
    let body = [&[0x82, 0x01, command.len() as u8], &command[..]].concat();
    let answer = raw(&cluster).ask([Request { id: 7, shard: 1, body: None }.encode_to_vec(), body].concat());
    let Body::Failure(failure) = answer else { panic!("{answer:?}") };
    assert_eq!(failure.kind(), FailureKind::Unsupported);
    assert!(failure.text.contains("upgrade this node"), "{}", failure.text);
    client.put_record(RecordKind::Route, name("/a").as_name(), "after", None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_too_old_for_its_shard_stops_and_says_so_and_others_go_on() {
    let mut cluster = Cluster::found(&[1]);
    let client = cluster.client(100);
    let (old, new) = (name("/a"), name("/z"));
    client.put_record(RecordKind::Route, old.as_name(), "kept", None).await.unwrap();
    client.split(name("/m").as_name()).await.unwrap();
    client.put_record(RecordKind::Route, new.as_name(), "before", None).await.unwrap();
    // What the first release that knows the next version proposes once all of its replicas should.
    let raise = Action::RaiseVersion(RaiseVersion { version: VERSION + 1 });
    let command = Command { action: Some(raise), ..Default::default() };
    let request = Request { id: 7, shard: 1, body: Some(request::Body::Command(command)) };
    let answer = raw(&cluster).ask(request.encode_to_vec());
    // Whether it was done: other replicas may know it.
    assert!(
        matches!(&answer, Body::Failure(failure) if failure.kind() == FailureKind::Unknown),
        "{answer:?}"
    );
    for start in 0..2 {
        let failure = || cluster.shard(1, ShardId::FIRST).map(|shard| shard.failure).unwrap_or_default();
        until("it says so", || failure().contains("upgrade this node")).await;
        let value = format!("after {start}");
        client.put_record(RecordKind::Route, new.as_name(), value, None).await.unwrap();
        cluster.kill(1);
        cluster.start(1);
    }
}
