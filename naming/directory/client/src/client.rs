//! What a client asks and tells.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use naming::{Name, NameRef, NodeId};
use naming_directory::catalog::{NameRange, RecordKind};
use naming_directory::proto::command::Action;
use naming_directory::proto::refused::Reason;
use naming_directory::proto::reply::Outcome;
use naming_directory::{Bytes, proto};
use tokio::time::Instant;

use crate::transport::{Channel, Receive, Transport};
use crate::wire::{Malformed, kind_to, request, response};
use crate::{Error, ShardId};

mod ask;
mod calls;
mod leases;
mod publish;
mod resolve;
mod session;
mod snapshot;

pub use leases::{Grant, Liveness};
pub use publish::{Copy, Published, RefusedCopy};
pub use resolve::{Copies, Held, Resolution, Routed};
pub use snapshot::Snapshot;

pub(crate) use ask::{Target, Whom};
use calls::Calls;
pub(crate) use resolve::ListedShard;
use session::{Session, Sessions};

use crate::shards::ShardMap;

/// How a client behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whom to ask first: some members of the directory, at least one of which answers.
    pub servers: Vec<NodeId>,
    /// How long a request may take in all.
    pub timeout: Duration,
    /// How long one server may take, before another one is asked.
    pub try_timeout: Duration,
}

impl Settings {
    /// Ten seconds for a request, a fifth of one for a server: a leader that was killed says nothing, and its successor is
    /// there by then.
    pub fn new(servers: impl IntoIterator<Item = NodeId>) -> Self {
        let servers = servers.into_iter().collect();
        Self { servers, timeout: Duration::from_secs(10), try_timeout: Duration::from_millis(200) }
    }
}

/// The directory, as a node sees it. Clones share what they know and are one client; a node has one.
#[derive(Clone)]
pub struct Client(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) id: NodeId,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) settings: Settings,
    pub(crate) calls: Calls,
    shards: Mutex<ShardMap>,
    /// Whether a task looks around for who knows better.
    looking: AtomicBool,
    sessions: Sessions,
}

impl Client {
    /// The client of node `id`. It has to [receive](Receive) what comes to the node in [`Channel::Response`].
    pub fn new(id: NodeId, transport: Arc<dyn Transport>, settings: Settings) -> Self {
        let shards = Mutex::new(ShardMap::new(settings.servers.iter().copied()));
        let (calls, sessions) = (Calls::new(), Sessions::default());
        let looking = AtomicBool::new(false);
        Self(Arc::new(Inner { id, transport, settings, calls, shards, looking, sessions }))
    }

    /// Writes a record; its new revision. With `expected`, only if the record has that revision; 0: if there is none.
    ///
    /// # Errors
    /// If the directory refuses, or does not answer.
    pub async fn put_record(
        &self,
        kind: RecordKind,
        name: NameRef<'_>,
        value: impl Into<Bytes>,
        expected: Option<u64>,
    ) -> Result<u64, Error> {
        let put = proto::PutRecord {
            kind: kind_to(kind).into(),
            name: bytes_of(name),
            value: value.into(),
            expected_revision: expected,
        };
        match self.execute(Target::Name(name), Action::PutRecord(put)).await? {
            Outcome::Stored(stored) => Ok(stored.revision),
            _ => Err(unexpected()),
        }
    }

    /// Removes a record, with `expected` only if it has that revision.
    ///
    /// # Errors
    /// If there is none, the directory refuses, or does not answer.
    pub async fn remove_record(
        &self,
        kind: RecordKind,
        name: NameRef<'_>,
        expected: Option<u64>,
    ) -> Result<(), Error> {
        let kind = kind_to(kind).into();
        let remove = proto::RemoveRecord { kind, name: bytes_of(name), expected_revision: expected };
        self.execute(Target::Name(name), Action::RemoveRecord(remove)).await.map(drop)
    }

    /// The names from `at` on become a shard of their own, with the same members.
    ///
    /// # Errors
    /// If the directory refuses, or does not answer.
    pub async fn split(&self, at: NameRef<'_>) -> Result<(), Error> {
        self.execute(Target::Name(at), Action::Split(proto::Split { at: bytes_of(at) })).await?;
        if let Some(shard) = { self.shards().find(at).map(|shard| shard.id) } {
            self.shards().forget(shard);
        }
        Ok(())
    }

    /// The shards, as far as servers tell: each with its names and members, by its id.
    ///
    /// # Errors
    /// If none answers.
    pub async fn shards_known(&self) -> Result<Vec<(ShardId, NameRange, Vec<NodeId>)>, Error> {
        let deadline = Instant::now() + self.0.settings.timeout;
        self.shard(Target::Name(Name::root().as_name()), deadline).await?;
        let shards = self.shards();
        let range = |from: &Name, until: &Option<Name>| NameRange::new(from.clone(), until.clone());
        Ok(shards
            .all()
            .filter_map(|shard| Some((shard.id, range(&shard.from, &shard.until)?, shard.members.clone())))
            .collect())
    }

    /// Has a command executed, once.
    pub(crate) async fn execute(&self, target: Target<'_>, action: Action) -> Result<Outcome, Error> {
        let deadline = Instant::now() + self.0.settings.timeout;
        loop {
            if let Some(outcome) = self.execute_within(target, &action, deadline).await? {
                return Ok(outcome);
            }
        }
    }

    /// Has a command executed, once, or not at all: then it has names of several shards, one of which was split, and has
    /// to be divided anew.
    pub(crate) async fn execute_within(
        &self,
        target: Target<'_>,
        action: &Action,
        deadline: Instant,
    ) -> Result<Option<Outcome>, Error> {
        let shard = self.shard(target, deadline).await?.id;
        match self.execute_at(shard, action, deadline).await? {
            Outcome::Refused(proto::Refused { reason: Some(Reason::WrongShard(_)) })
                if Instant::now() < deadline =>
            {
                self.shards().forget(shard);
                Ok(None)
            }
            Outcome::Refused(proto::Refused { reason: Some(reason) }) => Err(Error::Refused(reason)),
            outcome => Ok(Some(outcome)),
        }
    }

    /// In a session of the shard, a new one if none is free.
    async fn execute_at(&self, shard: ShardId, action: &Action, deadline: Instant) -> Result<Outcome, Error> {
        loop {
            let session = match self.0.sessions.take(shard) {
                Some(session) => session,
                None => self.open_session(shard).await?,
            }
            .next();
            let command = || proto::Command {
                session: Some(session.to_wire()),
                action: Some(action.clone()),
                ..proto::Command::default()
            };
            let asked =
                self.ask(Target::This(shard), Whom::Leader, || request::Body::Command(command())).await;
            let asked = match asked {
                Ok(asked) => asked,
                Err(error) => {
                    // What comes too late is refused, since the number is not used again.
                    self.0.sessions.give_back(shard, session);
                    return Err(error);
                }
            };
            match outcome_of(asked.body)? {
                Outcome::Refused(proto::Refused { reason: Some(Reason::SessionUnknown(reason)) }) => {
                    // The others are as old. Nothing was executed, unless an earlier try was before the session ended.
                    self.0.sessions.forget(shard);
                    if asked.repeated {
                        return Err(Error::OutcomeUnknown);
                    }
                    if Instant::now() >= deadline {
                        return Err(Error::Refused(Reason::SessionUnknown(reason)));
                    }
                }
                outcome => {
                    self.0.sessions.give_back(shard, session);
                    return Ok(outcome);
                }
            }
        }
    }

    async fn open_session(&self, shard: ShardId) -> Result<Session, Error> {
        let action = Action::OpenSession(proto::OpenSession {});
        let command = || proto::Command { action: Some(action.clone()), ..proto::Command::default() };
        // Twice opened is harmless: one of the two expires.
        let asked = self.ask(Target::This(shard), Whom::Leader, || request::Body::Command(command())).await?;
        match outcome_of(asked.body)? {
            Outcome::SessionOpened(opened) => Ok(Session::opened(opened.client)),
            Outcome::Refused(proto::Refused { reason: Some(reason) }) => Err(Error::Refused(reason)),
            _ => Err(unexpected()),
        }
    }

    pub(crate) fn shards(&self) -> MutexGuard<'_, ShardMap> {
        self.0.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Receive for Client {
    fn receive(&self, from: NodeId, channel: Channel, message: Bytes) {
        if channel == Channel::Response {
            self.0.calls.answer(from, message);
        }
    }
}

fn outcome_of(body: response::Body) -> Result<Outcome, Error> {
    match body {
        response::Body::Reply(proto::Reply { outcome: Some(outcome), .. }) => Ok(outcome),
        response::Body::Failure(failure) => Err(Error::Rejected(failure.text)),
        _ => Err(unexpected()),
    }
}

pub(crate) fn unexpected() -> Error {
    Error::Senseless(Malformed("it does not belong to the request"))
}

pub(crate) fn bytes_of(name: NameRef<'_>) -> Bytes {
    Bytes::copy_from_slice(name.as_bytes())
}
