//! A client among servers that say what somebody likes: what it does ends, whatever they say. Time is simulated.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use naming::{Digest, Location, Name, NodeId};
use naming_directory::Position;
use naming_directory::catalog::snapshot::SnapshotWriter;
use naming_directory::catalog::{Catalog, NameRange, RecordKind};
use naming_directory::proto::{self, command::Action, reply::Outcome};
use naming_directory_client::cache::Size;
use naming_directory_client::client::{Copy, Settings};
use naming_directory_client::wire::{
    self, Freshness, Request, Response, event_of, event_to, request, response,
};
use naming_directory_client::{Channel, Client, Error, Receive, ShardId, Transport};
use prost::Message;
use prost::bytes::Bytes;
use response::Body;
use tokio::time::{sleep, timeout};

/// How long an answer is under way.
const LATENCY: Duration = Duration::from_millis(1);
/// How long a request may take, as the client is told.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long whatever is asked may take at most: several requests, each of some tries.
const FAR_TOO_LONG: Duration = Duration::from_secs(120);
/// How long watches go on.
const WATCHED: Duration = Duration::from_secs(5);
/// Requests a second that a client may make while nobody asks it anything: its watches only, of each shard that was made up
/// some. Without pauses it would be a thousand.
const HASTE: u32 = 500;

/// What a server says to a request.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    /// What belongs to it, in a directory where nothing is.
    Proper,
    /// Something else.
    Body(Box<Body>),
    /// Anything.
    Bytes(Vec<u8>),
    /// Nothing.
    Nothing,
}

/// All servers. They say one thing after the other, and then all of it again.
struct Servers {
    said: Mutex<VecDeque<Said>>,
    asked: Mutex<u32>,
    /// Who is answered, until all is over: it has the servers, too.
    client: Mutex<Option<Client>>,
}

impl Servers {
    fn client(&self) -> MutexGuard<'_, Option<Client>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transport for Servers {
    fn send(&self, to: NodeId, channel: Channel, message: Bytes) -> bool {
        assert_eq!(channel, Channel::Request, "a client speaks to servers");
        let Ok(request) = Request::decode(message) else { panic!("a client's request is one") };
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        let said = {
            let mut all = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            let said = all.pop_front().unwrap_or(Said::Proper);
            all.push_back(said.clone());
            said
        };
        let (id, client) = (request.id, self.client().clone());
        let body = match said {
            Said::Proper => proper(&request),
            Said::Body(body) => Some(*body),
            Said::Bytes(bytes) => {
                deliver(client, to, bytes.into());
                return true;
            }
            Said::Nothing => return false,
        };
        deliver(client, to, Response { id, body }.encode_to_vec().into());
        true
    }
}

fn deliver(client: Option<Client>, from: NodeId, message: Bytes) {
    tokio::spawn(async move {
        sleep(LATENCY).await;
        if let Some(client) = client {
            client.receive(from, Channel::Response, message);
        }
    });
}

/// What a server says in whose directory there is nothing.
fn proper(request: &Request) -> Option<Body> {
    let outcome = |outcome| Body::Reply(proto::Reply { outcome: Some(outcome), ..Default::default() });
    Some(match request.body.as_ref()? {
        request::Body::Describe(_) => {
            let shard =
                wire::Shard { shard: 1, voters: vec![1, 2, 3], leader: 1, leads: true, ..Default::default() };
            Body::Description(wire::Description { shards: vec![shard], ..Default::default() })
        }
        request::Body::Resolve(resolve) => {
            let resolutions = vec![wire::Resolution::default(); resolve.names.len()];
            Body::Resolved(wire::Resolved { resolutions, position: None })
        }
        request::Body::List(_) => Body::Listing(wire::Listing::default()),
        request::Body::Watch(watch) => {
            let (after, position) = (watch.after, watch.after);
            Body::Changed(wire::Changed { after, position, current: true, events: Vec::new() })
        }
        request::Body::Command(command) => outcome(match command.action.as_ref()? {
            Action::OpenSession(_) => Outcome::SessionOpened(proto::SessionOpened { client: 1 }),
            Action::RegisterNode(_) => Outcome::Registered(proto::Registered { epoch: 1 }),
            Action::RenewNodes(_) => Outcome::Renewed(proto::Renewed::default()),
            Action::PutRecord(_) => Outcome::Stored(proto::Stored { revision: 1 }),
            Action::AcquireAuthority(_) => Outcome::Granted(proto::Granted { term: 1, expires_ms: 1 }),
            Action::Publish(_) => Outcome::Published(proto::Published::default()),
            Action::Withdraw(_) => Outcome::Withdrawn(proto::Withdrawn::default()),
            _ => Outcome::Done(proto::Done {}),
        }),
        request::Body::Snapshot(_) => Body::SnapshotBegun(wire::SnapshotBegun {}),
        request::Body::Fetch(fetch) => {
            let empty = Catalog::new(NameRange::all(), Position::FIRST, 0);
            let data = SnapshotWriter::new(&empty).nth(fetch.number as usize)?.into();
            Body::Chunk(wire::Chunk { data })
        }
        request::Body::Unwatch(_) | request::Body::Release(_) => return None,
        _ => Body::Done(wire::Done {}),
    })
}

/// Whatever can be asked is asked of servers that say this, and ends; events that are taken are told as they came.
pub(crate) fn survive(said: Vec<Said>) {
    said.iter().for_each(check_events);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let Ok(runtime) = runtime else { panic!("a runtime needs nothing") };
    runtime.block_on(async {
        let servers =
            Servers { said: Mutex::new(said.into()), asked: Mutex::default(), client: Mutex::default() };
        let servers = Arc::new(servers);
        let nodes = [1, 2, 3].into_iter().filter_map(NodeId::new);
        let settings = Settings { timeout: PATIENCE, try_timeout: PATIENCE / 10, ..Settings::new(nodes) };
        let Some(own) = NodeId::new(9) else { return };
        let client = Client::new(own, servers.clone(), settings);
        *servers.client() = Some(client.clone());
        for what in 0..ASKED {
            let asked = timeout(FAR_TOO_LONG, ask(&client, own, what)).await;
            assert!(asked.is_ok(), "what is asked as number {what} has no end");
        }
        let asked = || *servers.asked.lock().unwrap_or_else(PoisonError::into_inner);
        for prefix in ["/", "/a"] {
            // Servers that make no sense are no news.
            drop(client.watch(name(prefix), |_| true).await);
        }
        let cache = client.cache(name("/a"), Size { names: 2, bytes: 4096 }).await;
        let before = asked();
        sleep(WATCHED).await;
        if let Ok(cache) = cache {
            let (sum, resolved) = (cache.size(), cache.resolve(name("/a/1").as_name(), WATCHED).is_ok());
            assert!(sum.names <= 2 && (cache.is_complete() || !resolved));
        }
        let in_all = asked() - before;
        servers.client().take();
        assert!(in_all < HASTE * WATCHED.as_secs() as u32, "watches asked {in_all} times in {WATCHED:?}");
    });
}

const ASKED: u32 = 12;
/// Chunks of a snapshot that are asked for.
const SNAPSHOT: u32 = 5;

async fn ask(client: &Client, own: NodeId, what: u32) -> Result<(), Error> {
    let names = ["/a/1", "/a/2/v=3", "/z"].map(name);
    let first = names[0].as_name();
    let copy = |name: &Name| Copy { name: name.clone(), digest: Digest::of(b"x"), length: 1 };
    match what {
        0 => {
            let names: Vec<_> = names.iter().map(Name::as_name).collect();
            let resolved = client.resolve(&names, Freshness::Linearizable).await?;
            assert_eq!(resolved.len(), names.len());
        }
        1 => drop(client.list(name("/").as_name(), Freshness::Local).await?),
        2 => drop(client.put_record(RecordKind::Route, first, "x", Some(1)).await?),
        3 => drop(client.publish(own, 1, names.iter().map(copy).collect()).await?),
        4 => drop(client.withdraw(own, names.to_vec()).await?),
        5 => client.retire_holder(own, 1).await?,
        6 => {
            let Ok(rack) = "/r".parse() else { return Ok(()) };
            let location = Location { node: own, rack, addresses: Vec::new() };
            let mut liveness = client.register(&location, 1, PATIENCE).await?;
            liveness.renew(client).await?;
        }
        7 => drop(client.acquire(first, own, 1, PATIENCE).await?),
        8 => {
            let mut snapshot = client.snapshot(first).await?;
            assert!(snapshot.range().contains(first));
            // One that says the same chunk again and again has no end.
            for _ in 0..SNAPSHOT {
                if snapshot.next().await?.is_none() {
                    break;
                }
            }
        }
        9 => client.split(first).await?,
        10 => client.members(ShardId::FIRST).add(own, PATIENCE).await?,
        _ => drop(client.shards_known().await?),
    }
    Ok(())
}

/// What becomes an event is told again as the same.
fn check_events(said: &Said) {
    let Said::Body(body) = said else { return };
    let events = match &**body {
        Body::Changed(changed) => &changed.events,
        Body::Listing(listing) => &listing.events,
        _ => return,
    };
    for event in events.iter().filter_map(|event| event_of(event.clone()).ok()) {
        assert_eq!(event_of(event_to(&event)).as_ref(), Ok(&event));
    }
}

fn name(text: &str) -> Name {
    let Ok(name) = text.parse() else { panic!("{text} is a name") };
    name
}
