//! Traces reach a collector, and nobody waits for one that does not take them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;

use nix::sys::signal::Signal;
use support::{DEADLINE, Node};

/// A collector that takes one batch: its path and body.
fn collector() -> (u16, mpsc::Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (send, batches) = mpsc::channel();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream);
        let (mut request, mut len) = (String::new(), 0);
        reader.read_line(&mut request).unwrap();
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
        send.send((request, body)).unwrap();
    });
    (port, batches)
}

fn holds(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|window| window == text.as_bytes())
}

fn node(name: &str, port: u16) -> Node {
    let telemetry = format!("[telemetry]\notlp = \"http://127.0.0.1:{port}\"\nsample = 1.0");
    Node::start_configured(name, "", &telemetry)
}

#[test]
fn a_sampled_request_is_in_the_trace() {
    let (port, batches) = collector();
    let mut node = node("traces", port);
    assert_eq!(node.ask("version\r\n"), "VERSION 1.6.18\r\n");
    // What is not sent yet is sent when the node ends.
    assert!(node.stop(Signal::SIGTERM).success());
    let (request, body) = batches.recv_timeout(DEADLINE).unwrap();
    assert!(request.starts_with("POST /v1/traces "), "{request}");
    for text in ["smartswitch", "memcached", "client.address", "127.0.0.1:"] {
        assert!(holds(&body, text), "{text} is not in {}", String::from_utf8_lossy(&body));
    }
}

#[test]
fn a_collector_that_is_not_there_delays_nothing() {
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut node = node("no-collector", port);
    for _ in 0..100 {
        assert_eq!(node.ask("get k\r\n"), "END\r\n");
    }
    assert!(node.stop(Signal::SIGTERM).success());
}
