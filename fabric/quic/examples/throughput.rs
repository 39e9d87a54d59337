//! What one connection over the loopback interface carries: small messages, small calls, and a stream of 1 MiB chunks.
//! Each end has a thread of its own.
//!
//! ```sh
//! cargo run --release -p fabric-quic --example throughput -- 5     # seconds for each
//! ```
#![allow(clippy::unwrap_used, reason = "an example that cannot go on ends here")]

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fabric_quic::pki::{Authority, Validity};
use fabric_quic::{Builder, Calls, Config, Endpoint, Identity, Messages, Streams};
use naming::NodeId;

const NEWS: Messages = Messages::new(1, "news");
const ASK: Calls = Calls::new(2, "ask");
const FLOW: Streams = Streams::new(3, "flow");

const MESSAGE_BYTES: usize = 100;
const CALLERS: usize = 64;
const LONG: Duration = Duration::from_secs(10);

fn main() {
    let seconds = std::env::args().nth(1).map_or(5, |seconds| seconds.parse().expect("a number of seconds"));
    let span = Duration::from_secs(seconds);
    let dir = std::env::temp_dir().join(format!("throughput-{}", std::process::id()));
    let authority = Authority::create(&dir, "throughput", Validity::days(1).unwrap()).unwrap();
    let [a, b] = [1, 2].map(|number| {
        let node = NodeId::new(number).unwrap();
        let validity = Validity { until: authority.facts().not_after, ..Validity::days(1).unwrap() };
        Identity::open(&authority.issue(node, &[], validity).unwrap()).unwrap()
    });
    remove(&dir);

    let (address, bound) = std::sync::mpsc::channel();
    std::thread::spawn(move || runtime().block_on(serve(b, &address)));
    let address = bound.recv().unwrap();
    runtime().block_on(async {
        let endpoint = Builder::new(a, Config::default()).bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let peer = NodeId::new(2).unwrap();
        endpoint.set_addresses(peer, &[address]).unwrap();
        endpoint.call(peer, &ASK, Bytes::new(), LONG).await.unwrap();
        messages(&endpoint, peer, span).await;
        calls(&endpoint, peer, span).await;
        stream(&endpoint, peer, span).await;
        let connection = endpoint.peer(peer).unwrap().connection.unwrap();
        println!(
            "path      {} B per packet, {} of {} packets lost, socket buffers {:?}",
            connection.mtu_bytes,
            connection.lost_packets,
            connection.sent_packets,
            endpoint.socket_buffers()
        );
        endpoint.close().await;
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn remove(dir: &Path) {
    std::fs::remove_dir_all(dir).unwrap();
}

/// The other end: counts messages, echoes calls, says how many bytes of a stream came.
async fn serve(identity: Identity, address: &std::sync::mpsc::Sender<std::net::SocketAddr>) {
    let mut builder = Builder::new(identity, Config::default());
    let (mut news, mut ask, mut flow) =
        (builder.messages(&NEWS), builder.calls(&ASK), builder.streams(&FLOW));
    let endpoint = builder.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    address.send(endpoint.local_address()).unwrap();
    tokio::spawn(async move { while news.recv().await.is_some() {} });
    tokio::spawn(async move {
        while let Some(call) = ask.recv().await {
            let reply = match &call.request()[..] {
                b"received" => endpoint.counters().value("messages_received").unwrap().to_string().into(),
                _ => call.request().clone(),
            };
            call.reply(reply).unwrap();
        }
    });
    while let Some(mut stream) = flow.recv().await {
        tokio::spawn(async move {
            let mut bytes = 0;
            while let Some(chunk) = stream.receiver.next().await.unwrap() {
                bytes += chunk.len();
            }
            stream.sender.send(bytes.to_string().into()).await.unwrap();
            stream.sender.finish().unwrap();
        });
    }
}

async fn received(endpoint: &Endpoint, peer: NodeId) -> u64 {
    let reply = endpoint.call(peer, &ASK, Bytes::from_static(b"received"), LONG).await.unwrap();
    String::from_utf8(reply.to_vec()).unwrap().parse().unwrap()
}

async fn messages(endpoint: &Endpoint, peer: NodeId, span: Duration) {
    let message = Bytes::from(vec![0; MESSAGE_BYTES]);
    let (before, start) = (received(endpoint, peer).await, Instant::now());
    while start.elapsed() < span {
        // Until the queue is full; then let it be written.
        while endpoint.send(peer, &NEWS, message.clone()).is_ok() {}
        tokio::task::yield_now().await;
    }
    let count = received(endpoint, peer).await - before;
    println!("messages  {:.0} /s of {MESSAGE_BYTES} B", count as f64 / start.elapsed().as_secs_f64());
}

async fn calls(endpoint: &Endpoint, peer: NodeId, span: Duration) {
    let start = Instant::now();
    let callers = (0..CALLERS).map(|_| {
        let endpoint = endpoint.clone();
        tokio::spawn(async move {
            let mut latencies = Vec::new();
            while start.elapsed() < span {
                let asked = Instant::now();
                endpoint.call(peer, &ASK, Bytes::from(vec![0; MESSAGE_BYTES]), LONG).await.unwrap();
                latencies.push(asked.elapsed());
            }
            latencies
        })
    });
    let mut latencies = Vec::new();
    for caller in callers.collect::<Vec<_>>() {
        latencies.extend(caller.await.unwrap());
    }
    latencies.sort_unstable();
    println!(
        "calls     {:.0} /s from {CALLERS} callers, median {:?}, 99th percentile {:?}",
        latencies.len() as f64 / start.elapsed().as_secs_f64(),
        latencies[latencies.len() / 2],
        latencies[latencies.len() * 99 / 100]
    );
}

async fn stream(endpoint: &Endpoint, peer: NodeId, span: Duration) {
    let (mut sender, mut receiver) = endpoint.open(peer, &FLOW, Bytes::new()).await.unwrap();
    let (chunk, start) = (Bytes::from(vec![0; 1 << 20]), Instant::now());
    while start.elapsed() < span {
        sender.send(chunk.clone()).await.unwrap();
    }
    sender.finish().unwrap();
    let bytes = receiver.next().await.unwrap().unwrap();
    let bytes: f64 = String::from_utf8(bytes.to_vec()).unwrap().parse().unwrap();
    println!("stream    {:.2} Gbit/s", bytes * 8e-9 / start.elapsed().as_secs_f64());
}
