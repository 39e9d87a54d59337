//! A node's part in the directory: start, stop, drain, look.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use naming::NodeId;
use naming_directory::Bytes;
use naming_directory_client::wire::{self, Failure, FailureKind, Request, Response, response};
use naming_directory_client::{Channel, Receive, Transport};
use prost::Message;

use crate::counters::{Counters, count};
use crate::driver::{self, Driver, End, Event, Events, Hearsay, Limit, Queue, Shared};
use crate::settings::Settings;
use crate::store::StoreError;
use crate::threads::{Fate, Panicked};

/// Between two tries to open a store that failed.
const REOPEN: Duration = Duration::from_secs(1);
/// Between two looks at whether leadership was handed over.
const LOOK: Duration = Duration::from_millis(20);

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("no thread for the directory: {0}")]
    Thread(std::io::Error),
}

/// A node's replicas of the directory, running. Dropped, it is told to end; [`Self::stop`] waits for it.
pub struct Server {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Server {
    /// Opens the node's store and joins in. The server has to [receive](Receive) what comes to the node.
    ///
    /// # Errors
    /// If the store cannot be used.
    pub fn start(settings: Settings, transport: Arc<dyn Transport>) -> Result<Self, StartError> {
        let (queue, events) =
            driver::queue(Limit { events: settings.max_events, bytes: settings.max_event_bytes });
        let counters = Arc::new(Counters::default());
        let shared = Arc::new(Shared {
            settings,
            transport,
            counters,
            queue,
            began: Instant::now(),
            hearsay: OnceLock::new(),
            fate: Fate::default(),
        });
        let driver = Driver::open(&shared, 0)?;
        let lives = Arc::clone(&shared);
        let thread = shared.spawn("directory", move || live(&lives, driver, &events));
        Ok(Self { shared, thread: Mutex::new(Some(thread.map_err(StartError::Thread)?)) })
    }

    /// From now on tells whoever looks for a shard what the node has heard of it, too: replicas move, and a node that has none
    /// may be the only one that somebody knows. To be called once.
    pub fn tell_also(&self, hearsay: Hearsay) {
        // A second one would say the same.
        let _ = self.shared.hearsay.set(hearsay);
    }

    /// How this node's replicas are; none if the server failed and has not recovered.
    pub fn look(&self) -> Vec<wire::Shard> {
        let (reply, answer) = channel();
        self.queue().push(Event::Look(reply), 0);
        answer.recv_timeout(REOPEN).unwrap_or_default()
    }

    /// Waits until the server ends because one of its threads panicked; for ever, if none does. The store is closed by then, and
    /// nothing that comes is taken or answered any more: it is for the process to end, and for whoever started it to do so again.
    pub async fn panicked(&self) -> Panicked {
        self.shared.fate.sealed().await
    }

    /// What happened since it started.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Hands leadership of all shards to other nodes, for as long as `patience` lasts; whether all took it. To be called
    /// before a planned stop: nobody then waits for an election.
    pub fn drain(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            let leads = |shard: &wire::Shard| shard.leads && shard.voters.len() > 1;
            if !self.look().iter().any(leads) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            self.queue().push(Event::Drain, 0);
            std::thread::sleep(LOOK);
        }
    }

    /// Ends, and closes the store. What was acknowledged is on the disk, whether it ends so or by a crash.
    pub fn stop(&self) {
        self.queue().stop();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It tells itself if it panicked.
            let _ = thread.join();
        }
    }

    fn queue(&self) -> &Queue {
        &self.shared.queue
    }

    fn request(&self, from: NodeId, message: Bytes) {
        let (counters, bytes) = (&self.shared.counters, message.len());
        let Ok(request) = Request::decode(message) else { return count(&counters.messages_malformed) };
        let id = request.id;
        if self.queue().push(Event::Request { from, request }, bytes) {
            return;
        }
        count(&counters.requests_refused);
        let failure = Failure::new(FailureKind::Busy, "the server has too much to do");
        let response = Response { id, body: Some(response::Body::Failure(failure)) };
        self.shared.transport.send(from, Channel::Response, response.encode_to_vec().into());
    }
}

impl Receive for Server {
    fn receive(&self, from: NodeId, channel: Channel, message: Bytes) {
        // Who is silent is passed over; who says that it is busy is asked again.
        if self.shared.fate.is_sealed() {
            return;
        }
        let (counters, bytes) = (&self.shared.counters, message.len());
        if bytes > channel.max_bytes() {
            return count(&counters.messages_malformed);
        }
        let taken = match channel {
            Channel::Request => return self.request(from, message),
            Channel::Response => return,
            Channel::Snapshot => self.queue().push(Event::Transfer { from, message }, bytes),
            Channel::Raft => match driver::decode(from, &message) {
                Some(messages) => self.queue().push(Event::Messages(messages), bytes),
                None => return count(&counters.messages_malformed),
            },
        };
        if !taken {
            count(&counters.messages_dropped);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Not waited for: a thread of the server itself may be the last one that holds it, in a message to its own node.
        self.queue().stop();
    }
}

/// One life after the other.
fn live(shared: &Arc<Shared>, first: Driver, events: &Events) {
    let mut driver = first;
    for life in 1.. {
        match driver.run(events) {
            End::Stopped => return,
            End::Failed(error) => tracing::error!(%error, "the directory stops, and opens its store again"),
        }
        count(&shared.counters.lives_failed);
        driver = match reopen(shared, life, events) {
            Some(driver) => driver,
            None => return,
        };
    }
}

/// Tries until it works; `None`: it is to stop.
fn reopen(shared: &Arc<Shared>, life: u64, events: &Events) -> Option<Driver> {
    let mut next = Instant::now();
    loop {
        // What comes meanwhile is lost: peers and clients send it again.
        match events.next(next.saturating_duration_since(Instant::now())) {
            Some(Event::Stop) => return None,
            Some(_) => continue,
            None => next = Instant::now() + REOPEN,
        }
        match Driver::open(shared, life) {
            Ok(driver) => return Some(driver),
            Err(error) => tracing::error!(%error, "the directory's store cannot be opened yet"),
        }
    }
}
