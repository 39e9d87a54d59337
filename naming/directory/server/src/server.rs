//! A node's part in the directory: start, stop, drain, look.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use naming::NodeId;
use naming_directory::Bytes;
use naming_directory_client::wire::{self, Failure, FailureKind, Request, response};
use naming_directory_client::{Channel, Receive, Transport};
use prost::Message;
use tokio::runtime::{Builder, Handle};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::timeout_at;

use crate::beginning::Waiting;
use crate::counters::{Counters, count};
use crate::driver::{self, Driver, End, Event, Events, Hearsay, Limit, Queue, Shared};
use crate::settings::Settings;
use crate::store::StoreError;
use crate::threads::{Ended, Fate};

/// The task that drives the node's groups, and its thread, if it has one of its own.
const TASK: &str = "directory";
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
    /// Hears when it has ended: its other end is dropped then.
    ended: Mutex<Receiver<()>>,
}

impl Server {
    /// Opens the node's store and joins in, on a thread of its own. The server has to [receive](Receive) what comes to the
    /// node.
    ///
    /// # Errors
    /// If the store cannot be used.
    pub fn start(settings: Settings, transport: Arc<dyn Transport>) -> Result<Self, StartError> {
        let (server, lives) = Self::open(settings, transport)?;
        let runtime = Builder::new_current_thread().enable_time().build().map_err(StartError::Thread)?;
        let thread = std::thread::Builder::new().name(TASK.to_owned());
        thread.spawn(move || runtime.block_on(lives)).map_err(StartError::Thread)?;
        Ok(server)
    }

    /// The same, as a task of `runtime`: where the transport runs, too, a message is received, taken and answered without any
    /// other thread being woken for it. [`look`](Self::look), [`told`](Self::told),
    /// [`drain`](Self::drain) and [`stop`](Self::stop) wait for it, and must not be called there.
    ///
    /// # Errors
    /// If the store cannot be used.
    pub fn start_on(
        runtime: &Handle,
        settings: Settings,
        transport: Arc<dyn Transport>,
    ) -> Result<Self, StartError> {
        let (server, lives) = Self::open(settings, transport)?;
        runtime.spawn(lives);
        Ok(server)
    }

    /// The server, and what is to be run for it.
    fn open(
        settings: Settings,
        transport: Arc<dyn Transport>,
    ) -> Result<(Self, impl Future<Output = ()> + Send + use<>), StartError> {
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
        let (until, ended) = channel::<()>();
        let lives = Arc::clone(&shared);
        let lives = async move {
            // Dropped last.
            let _until = until;
            Arc::clone(&lives).watch(TASK, live(lives, driver, events)).await;
        };
        Ok((Self { shared, ended: Mutex::new(ended) }, lives))
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

    /// Takes what other nodes answered when they were asked, a round of questions at a time; none, to begin with. What the node
    /// waits for after that, and whom to ask next; `None` once it [takes part](crate::beginning). What is waited for is empty if
    /// the server does not run at the moment.
    pub fn told(&self, answers: Vec<(NodeId, wire::Description)>) -> Option<Waiting> {
        let (reply, answer) = channel();
        self.queue().push(Event::Told { answers, reply }, 0);
        answer.recv().unwrap_or_else(|_| Some(Waiting::default()))
    }

    /// Waits until the server ends by itself: one of its threads panicked, or it must not begin; for ever, if it does not. The
    /// store is closed by then, and nothing that comes is taken or answered any more: it is for the process to end.
    pub async fn ended(&self) -> Ended {
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
        // Nothing is ever sent.
        let _ = self.ended.lock().unwrap_or_else(PoisonError::into_inner).recv();
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
        self.shared.respond(from, id, response::Body::Failure(failure));
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
async fn live(shared: Arc<Shared>, first: Driver, mut events: Events) {
    let mut driver = first;
    for life in 1.. {
        let end = driver.run(&mut events).await;
        // The disk may stand still; the network must not. A panic in there is one of this.
        spawn_blocking(move || drop(driver)).await.unwrap_or_else(rethrow);
        match end {
            End::Stopped => return,
            End::Refused(refused) => {
                tracing::error!(error = %refused, "the node must not take part in the directory");
                return shared.fate.seal(refused.into());
            }
            End::Failed(error) => tracing::error!(%error, "the directory stops, and opens its store again"),
        }
        count(&shared.counters.lives_failed);
        driver = match reopen(&shared, life, &mut events).await {
            Some(driver) => driver,
            None => return,
        };
    }
}

/// Tries until it works; `None`: it is to stop.
async fn reopen(shared: &Arc<Shared>, life: u64, events: &mut Events) -> Option<Driver> {
    let mut next = Instant::now();
    loop {
        // What comes meanwhile is lost: peers and clients send it again.
        match timeout_at(next.into(), events.come(1)).await {
            Ok(()) if matches!(events.next(), Some(Event::Stop)) => return None,
            Ok(()) => continue,
            Err(_) => next = Instant::now() + REOPEN,
        }
        let own = Arc::clone(shared);
        match spawn_blocking(move || Driver::open(&own, life)).await {
            Ok(Ok(driver)) => return Some(driver),
            Ok(Err(error)) => tracing::error!(%error, "the directory's store cannot be opened yet"),
            Err(failed) => {
                rethrow(failed);
                return None;
            }
        }
    }
}

/// Goes on with a panic of another thread; without one, the runtime ends.
fn rethrow(failed: JoinError) {
    if let Ok(panic) = failed.try_into_panic() {
        resume_unwind(panic);
    }
}
