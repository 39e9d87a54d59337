//! Traces reach a collector, and nobody waits for one that does not take them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use nix::sys::signal::Signal;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use prost::Message as _;
use support::fleet::Fleet;
use support::free_address::free_address;
use support::{DEADLINE, Node, wait};

/// A collector of spans: its port, and what it gets.
fn collector() -> (u16, Receiver<ExportTraceServiceRequest>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (send, batches) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let send = send.clone();
            thread::spawn(move || while collect(stream.as_ref().unwrap(), &send).is_some() {});
        }
    });
    (port, batches)
}

/// One batch of a connection, if there is one more.
fn collect(stream: &TcpStream, batches: &Sender<ExportTraceServiceRequest>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (mut request, mut len) = (String::new(), 0);
    reader.read_line(&mut request).ok().filter(|len| *len > 0)?;
    assert!(request.starts_with("POST /v1/traces "), "{request}");
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            len = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; len];
    reader.read_exact(&mut body).unwrap();
    reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    batches.send(ExportTraceServiceRequest::decode(&body[..]).unwrap()).ok()
}

/// All spans that come before one of this name does, and those that come with it.
fn spans_up_to(name: &str, batches: &Receiver<ExportTraceServiceRequest>) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    while !spans.iter().any(|span| span.name == name) {
        let batch = batches.recv_timeout(DEADLINE).unwrap();
        let scopes = batch.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        spans.extend(scopes.flat_map(|scope| scope.spans));
    }
    spans
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    Some(match found.value.clone()?.value? {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => panic!("{key} is {other:?}"),
    })
}

fn telemetry(port: u16) -> String {
    format!("[telemetry]\notlp = \"http://127.0.0.1:{port}\"\nsample = 1.0")
}

#[test]
fn a_sampled_request_is_in_the_trace() {
    let (port, batches) = collector();
    let mut node = Node::start_configured("traces", "", &telemetry(port));
    assert_eq!(node.ask("version\r\n"), "VERSION 1.6.18\r\n");
    // What is not sent yet is sent when the node ends.
    assert!(node.stop(Signal::SIGTERM).success());
    let batch = batches.recv_timeout(DEADLINE).unwrap();
    let resource = batch.resource_spans[0].resource.clone().unwrap();
    assert_eq!(attribute(&resource.attributes, "service.name").as_deref(), Some("smartswitch"));
    let span = &batch.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!(span.name, "memcached");
    let client = attribute(&span.attributes, "client.address").unwrap();
    assert!(client.starts_with("127.0.0.1:"), "{client}");
}

/// The values of some attributes; empty where one is missing.
fn seen(span: &Span, keys: &[&str]) -> Vec<String> {
    assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
    keys.iter().map(|key| attribute(&span.attributes, key).unwrap_or_default()).collect()
}

#[test]
fn a_request_to_a_pool_has_a_span_and_each_of_its_servers_one_in_it() {
    let (port, batches) = collector();
    let plain = telemetry(port) + "\nkeys = \"plain\"\n";
    let mut fleet = Fleet::start_beside("pool-traces", 2, "cache = \"1MiB\"\nhot_threshold = 2", &plain);
    let keys = fleet.key_of_each();
    let node = &fleet.node;
    wait("a hit", || {
        node.ask(&format!("get {}\r\n", keys[0]));
        (node.metric("smartswitch_proxy_hits_total") >= 1.0).then_some(())
    });
    node.ask(&format!("gat 0 {} {}\r\n", keys[1], keys[0]));
    node.ask(&format!("touch {} 0\r\nmn\r\n", keys[1]));
    fleet.servers[1].kill();
    node.ask(&format!("md {}\r\n", keys[1]));
    assert!(fleet.node.stop(Signal::SIGTERM).success());

    let spans = spans_up_to("md web", &batches);
    let last = |name: &str| spans.iter().rfind(|span| span.name == name).unwrap();
    let within = |outer: &Span| -> Vec<&Span> {
        spans.iter().filter(|span| span.parent_span_id == outer.span_id).collect()
    };
    let address = |server: usize| format!("127.0.0.1:{}", fleet.servers[server].port);
    let facts = ["memcached.outcome", "memcached.key", "memcached.keys", "memcached.cache_hits"];
    let bytes = ["memcached.bytes_read", "memcached.bytes_written", "server.address", "client.address"];

    let is_hit = |span: &&Span| seen(span, &facts) == ["cached", &keys[0], "1", "1"];
    let hit = spans.iter().filter(|span| span.name == "get web").find(is_hit).unwrap();
    assert_eq!((hit.kind(), within(hit).len()), (SpanKind::Server, 0));

    let touch = last("touch web");
    assert_eq!(seen(touch, &facts), ["done", &keys[1], "1", "0"]);
    let len = format!("touch {} 0\r\n", keys[1]).len();
    assert_eq!(seen(touch, &bytes), [&len.to_string(), "9", &address(1), "127.0.0.1"]);
    assert_eq!(within(touch).len(), 1);

    let gathered = last("gat web");
    assert_eq!(seen(gathered, &facts), ["done", &keys[1], "2", "0"]);
    let parts = within(gathered);
    let mut asked: Vec<_> = parts.iter().map(|part| seen(part, &["server.address"]).concat()).collect();
    asked.sort_unstable();
    let mut servers = [address(0), address(1)];
    servers.sort_unstable();
    assert_eq!(asked, servers);
    for part in parts {
        assert_eq!((part.kind(), &part.trace_id), (SpanKind::Client, &gathered.trace_id));
        assert!(gathered.start_time_unix_nano <= part.start_time_unix_nano, "{part:?} in {gathered:?}");
        assert!(part.end_time_unix_nano <= gathered.end_time_unix_nano, "{part:?} in {gathered:?}");
        assert_eq!(attribute(&part.attributes, "memcached.outcome").as_deref(), Some("done"));
    }

    let failed = last("md web");
    assert_eq!(seen(failed, &facts)[..2], ["unavailable", &keys[1]]);
    assert_eq!(failed.status.as_ref().unwrap().code(), StatusCode::Error);
}

#[test]
fn keys_are_hashed_unless_the_configuration_says_otherwise() {
    let (port, batches) = collector();
    let mut fleet = Fleet::start_beside("hashed-traces", 1, "", &telemetry(port));
    fleet.node.ask("get secret\r\nget secret\r\nget other\r\ndelete secret\r\n");
    assert!(fleet.node.stop(Signal::SIGTERM).success());
    let spans = spans_up_to("delete web", &batches);
    let asked: Vec<&Span> = spans.iter().filter(|span| span.name == "get web").collect();
    let hashes: Vec<_> =
        asked.iter().map(|span| attribute(&span.attributes, "memcached.key_hash").unwrap()).collect();
    assert!(hashes[0] == hashes[1] && hashes[0] != hashes[2], "{hashes:?}");
    let plain = |span: &Span| span.encode_to_vec().windows(6).any(|word| word == b"secret");
    assert!(!spans.iter().any(plain));
}

#[test]
fn a_collector_that_is_not_there_delays_nothing() {
    let port = free_address().unwrap().port();
    let mut node = Node::start_configured("no-collector", "", &telemetry(port));
    for _ in 0..100 {
        assert_eq!(node.ask("get k\r\n"), "END\r\n");
    }
    assert!(node.stop(Signal::SIGTERM).success());
}
