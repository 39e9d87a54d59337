//! Watches of what never changes, and of what makes no sense.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use naming::{Name, NodeId};
use naming_directory::proto;
use naming_directory_client::cache::Size;
use naming_directory_client::client::Settings;
use naming_directory_client::watch::PROGRESS;
use naming_directory_client::wire::{self, Request, Response, request, response::Body};
use naming_directory_client::{Channel, Client, Receive, Transport};
use prost::Message;
use prost::bytes::Bytes;
use tokio::time::sleep;

/// How long an answer is under way.
const LATENCY: Duration = Duration::from_millis(1);

/// A server in whose directory nothing is. It tells its watchers the same again and again: that nothing happens, unless
/// it is to say something else.
#[derive(Default)]
struct Same {
    tells: wire::Changed,
    requests: Mutex<Vec<request::Body>>,
    client: OnceLock<Client>,
}

impl Same {
    /// A server, and who watches all it has.
    fn watched(tells: wire::Changed) -> (Arc<Self>, Client) {
        let (server, node) = (Arc::new(Self { tells, ..Self::default() }), NodeId::new(1).unwrap());
        let client = Client::new(NodeId::new(9).unwrap(), server.clone(), Settings::new([node]));
        drop(server.client.set(client.clone()));
        (server, client)
    }

    fn count(&self, is: fn(&request::Body) -> bool) -> usize {
        self.requests.lock().unwrap().iter().filter(|request| is(request)).count()
    }

    fn begun(&self) -> usize {
        self.count(|request| matches!(request, request::Body::Watch(_)))
    }

    fn ended(&self) -> usize {
        self.count(|request| matches!(request, request::Body::Unwatch(_)))
    }
}

impl Transport for Same {
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
            request::Body::Resolve(resolve) => {
                let resolutions = vec![wire::Resolution::default(); resolve.names.len()];
                Body::Resolved(wire::Resolved { resolutions, position: None })
            }
            request::Body::Watch(_) => Body::Changed(self.tells.clone()),
            _ => return true,
        };
        let again = matches!(body, Body::Changed(_));
        let (client, message) = (self.client.get().unwrap().clone(), Response { id, body: Some(body) });
        tokio::spawn(async move {
            sleep(LATENCY).await;
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
    let (server, client) = Same::watched(wire::Changed::default());
    let is_read = Arc::new(AtomicBool::new(true));
    let seen = Arc::clone(&is_read);
    client.watch("/".parse().unwrap(), move |_| seen.load(Ordering::Relaxed)).await.unwrap();
    sleep(10 * PROGRESS).await;
    assert_eq!((server.begun(), server.ended()), (1, 0), "as long as it is read it goes on");
    is_read.store(false, Ordering::Relaxed);
    sleep(PROGRESS + LATENCY).await;
    assert_eq!((server.begun(), server.ended()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_cache_ends_with_its_last_handle() {
    let (server, client) = Same::watched(wire::Changed { current: true, ..Default::default() });
    let cache = client.cache("/a".parse().unwrap(), Size { names: 10, bytes: 10_000 }).await.unwrap();
    let other = cache.clone();
    drop(cache);
    sleep(10 * PROGRESS).await;
    let name = "/a/b".parse::<Name>().unwrap();
    assert!(other.resolve(name.as_name(), 2 * PROGRESS).unwrap().route.is_none());
    assert_eq!((server.begun(), server.ended()), (1, 0));
    drop(other);
    sleep(2 * PROGRESS).await;
    assert_eq!((server.begun(), server.ended()), (1, 1));
    let resolves = || server.count(|request| matches!(request, request::Body::Resolve(_)));
    let asked = resolves();
    assert!(asked > 5, "what is above the prefix is asked for");
    sleep(10 * PROGRESS).await;
    assert_eq!(resolves(), asked);
}

#[tokio::test(start_paused = true)]
async fn a_watch_asks_no_more_than_ten_times_a_second_whatever_it_is_told() {
    let position = |index| Some(proto::Position { term: 1, index });
    let event = |change| vec![wire::Event { name: Bytes::new(), change: Some(change) }];
    let split = event(wire::event::Change::Split(wire::Split {}));
    let nonsense = event(wire::event::Change::NodeDown(wire::NodeDown::default()));
    for tells in [
        // A message before it was lost.
        wire::Changed { after: position(1), ..Default::default() },
        // The names are another shard's.
        wire::Changed { position: position(1), events: split, ..Default::default() },
        wire::Changed { events: nonsense, ..Default::default() },
    ] {
        let (server, client) = Same::watched(tells);
        client.watch("/".parse().unwrap(), |_| true).await.unwrap();
        sleep(10 * PROGRESS).await;
        assert!((50..=101).contains(&server.begun()), "{} times: {:?}", server.begun(), server.tells);
    }
}
