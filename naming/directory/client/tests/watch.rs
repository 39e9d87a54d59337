//! Watches, while nothing changes.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use naming::NodeId;
use naming_directory_client::client::Settings;
use naming_directory_client::watch::PROGRESS;
use naming_directory_client::wire::{self, Request, Response, request, response::Body};
use naming_directory_client::{Channel, Client, Receive, Transport};
use prost::Message;
use prost::bytes::Bytes;
use tokio::time::sleep;

/// A server in whose directory nothing is, and nothing happens: it tells its watchers so again and again.
#[derive(Default)]
struct Quiet {
    requests: Mutex<Vec<request::Body>>,
    client: OnceLock<Client>,
}

impl Quiet {
    fn count(&self, is: fn(&request::Body) -> bool) -> usize {
        self.requests.lock().unwrap().iter().filter(|request| is(request)).count()
    }
}

impl Transport for Quiet {
    fn send(&self, to: NodeId, _: Channel, message: Bytes) -> bool {
        let Request { id, body, .. } = Request::decode(message).unwrap();
        let asked = body.unwrap();
        self.requests.lock().unwrap().push(asked.clone());
        let body = match asked {
            request::Body::Describe(_) => {
                let shard = wire::Shard { shard: 1, voters: vec![to.get()], ..Default::default() };
                Body::Description(wire::Description { shards: vec![shard], ..Default::default() })
            }
            request::Body::List(_) => Body::Listing(wire::Listing::default()),
            request::Body::Watch(_) => Body::Changed(wire::Changed::default()),
            _ => return true,
        };
        let again = matches!(body, Body::Changed(_));
        let (client, message) = (self.client.get().unwrap().clone(), Response { id, body: Some(body) });
        tokio::spawn(async move {
            loop {
                client.receive(to, Channel::Response, message.encode_to_vec().into());
                if !again {
                    return;
                }
                sleep(PROGRESS).await;
            }
        });
        true
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_nobody_reads_any_more_ends_though_nothing_changes() {
    let (server, node) = (Arc::new(Quiet::default()), NodeId::new(1).unwrap());
    let client = Client::new(NodeId::new(9).unwrap(), server.clone(), Settings::new([node]));
    drop(server.client.set(client.clone()));
    let is_read = Arc::new(AtomicBool::new(true));
    let seen = Arc::clone(&is_read);
    client.watch("/".parse().unwrap(), move |_| seen.load(Ordering::Relaxed)).await.unwrap();
    sleep(10 * PROGRESS).await;
    let begun = || server.count(|request| matches!(request, request::Body::Watch(_)));
    let ended = || server.count(|request| matches!(request, request::Body::Unwatch(_)));
    assert_eq!((begun(), ended()), (1, 0), "as long as it is read it goes on");
    is_read.store(false, Ordering::Relaxed);
    sleep(PROGRESS + Duration::from_millis(1)).await;
    assert_eq!((begun(), ended()), (1, 1));
}
