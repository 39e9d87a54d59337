//! Finds whoever can answer a request, and asks until somebody does or the time is up.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use naming::{NameRef, NodeId};
use prost::Message;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{Client, bytes_of};
use crate::shards::Shard;
use crate::transport::Channel;
use crate::wire::{self, Describe, FailureKind, Request, request, response};
use crate::{Error, ShardId};

/// Between two tries, if nothing says whom to ask next: from this on, doubled up to [`MAX_PAUSE`].
const PAUSE: Duration = Duration::from_millis(10);
const MAX_PAUSE: Duration = Duration::from_millis(50);

/// Which shard is meant.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'a> {
    /// Whichever has this name.
    Name(NameRef<'a>),
    This(ShardId),
}

/// Which of its replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    Leader,
    Any,
}

/// What became of one try.
enum Tried {
    Answered(response::Body),
    /// Nothing was done: another one is to be asked at once.
    Elsewhere,
    /// In a moment again. Whether it was taken is not known.
    Later {
        text: String,
        taken: bool,
    },
}

/// An answer, and what it took.
pub(crate) struct Asked {
    pub(crate) shard: ShardId,
    /// Who answered.
    pub(crate) node: NodeId,
    pub(crate) body: response::Body,
    /// Whether an earlier try may have been taken, too.
    pub(crate) repeated: bool,
}

impl Client {
    /// Asks until there is an answer that is none of "not me" and "not now". What is asked must be harmless if it is
    /// done twice.
    pub(crate) async fn ask(
        &self,
        target: Target<'_>,
        whom: Whom,
        body: impl Fn() -> request::Body,
    ) -> Result<Asked, Error> {
        let deadline = Instant::now() + self.0.settings.timeout;
        let (mut last, mut repeated, mut pause) = (String::from("no answer"), false, PAUSE);
        for attempt in 0.. {
            let shard = self.shard(target, deadline).await?;
            let node = self.choose(&shard, whom, attempt);
            match self.try_once(&shard, node, body(), deadline).await {
                Tried::Answered(body) => return Ok(Asked { shard: shard.id, node, body, repeated }),
                Tried::Elsewhere if attempt % 4 < 3 => {}
                Tried::Elsewhere => sleep(pause).await,
                Tried::Later { text, taken } => {
                    (last, repeated) = (format!("node {node}: {text}"), repeated || taken);
                    sleep(pause).await;
                    pause = MAX_PAUSE.min(2 * pause);
                }
            }
            if Instant::now() >= deadline {
                let (members, waited) = (shard.members.clone(), self.0.settings.timeout);
                return Err(Error::NoQuorum { shard: shard.id, members, waited, last });
            }
        }
        unreachable!("attempts are not counted out")
    }

    async fn try_once(&self, shard: &Shard, node: NodeId, body: request::Body, deadline: Instant) -> Tried {
        let id = shard.id;
        let left = deadline.saturating_duration_since(Instant::now());
        let patience = left.min(self.0.settings.try_timeout);
        let Some(body) = self.call_within(patience, node, id, body).await else {
            // It may be gone: others know who leads.
            self.shards().note_leader(id, None);
            self.look_around();
            return Tried::Later { text: "no answer".to_owned(), taken: true };
        };
        let response::Body::Failure(failure) = &body else { return Tried::Answered(body) };
        let later = |taken| Tried::Later { text: failure.text.clone(), taken };
        match failure.kind() {
            FailureKind::NotLeader => {
                let leader = NodeId::new(failure.leader).filter(|leader| *leader != node);
                self.shards().note_leader(id, leader);
                if leader.is_some() { Tried::Elsewhere } else { later(false) }
            }
            FailureKind::NoReplica => {
                self.shards().disbelieve(id);
                later(false)
            }
            // It was split: whoever asks has to divide what it asks for anew.
            FailureKind::WrongShard => {
                self.shards().forget(id);
                Tried::Answered(body)
            }
            FailureKind::Busy => later(false),
            FailureKind::Unknown => later(true),
            FailureKind::Refused | FailureKind::Unsupported | FailureKind::Gap => Tried::Answered(body),
        }
    }

    /// Asks one node once, for as long as one try may take.
    pub(crate) async fn call(
        &self,
        node: NodeId,
        shard: ShardId,
        body: request::Body,
    ) -> Option<response::Body> {
        self.call_within(self.0.settings.try_timeout, node, shard, body).await
    }

    /// Asks one node once; what it answers within `patience`.
    pub(crate) async fn call_within(
        &self,
        patience: Duration,
        node: NodeId,
        shard: ShardId,
        body: request::Body,
    ) -> Option<response::Body> {
        let call = self.0.calls.one(node);
        self.send(node, Request { id: call.id, shard: shard.0, body: Some(body) }).then_some(())?;
        timeout(patience, call.answer()).await.ok()?
    }

    pub(crate) fn send(&self, node: NodeId, request: Request) -> bool {
        self.0.transport.send(node, Channel::Request, request.encode_to_vec().into())
    }

    /// Whom to ask: the leader where it is known, or this node itself where it will do, or one after the other.
    fn choose(&self, shard: &Shard, whom: Whom, attempt: usize) -> NodeId {
        let members = &shard.members;
        let first = match whom {
            Whom::Leader => shard.leader,
            Whom::Any => Some(self.0.id).filter(|_| attempt == 0),
        };
        // Clients of different nodes begin at different members.
        let place = (self.0.id.get() as usize).wrapping_add(attempt) % members.len().max(1);
        let member = |node: &NodeId| members.contains(node) || whom == Whom::Leader;
        first.filter(member).or(members.get(place).copied()).unwrap_or(self.0.id)
    }

    /// The shard that is meant, asked for if it is not known.
    pub(crate) async fn shard(&self, target: Target<'_>, deadline: Instant) -> Result<Arc<Shard>, Error> {
        let mut pause = PAUSE;
        loop {
            if let Some(shard) = self.known(target) {
                return Ok(shard);
            }
            let asked = self.refresh(target, deadline).await;
            if let Some(shard) = self.known(target) {
                return Ok(shard);
            }
            if Instant::now() + pause >= deadline {
                let (asked, waited) = (asked.into_iter().collect(), self.0.settings.timeout);
                let name = match target {
                    Target::Name(name) => name.to_name(),
                    Target::This(_) => naming::Name::root(),
                };
                return Err(Error::NoServer { name, asked, waited });
            }
            sleep(pause).await;
            pause = MAX_PAUSE.min(2 * pause);
        }
    }

    fn known(&self, target: Target<'_>) -> Option<Arc<Shard>> {
        let shards = self.shards();
        match target {
            Target::Name(name) => shards.find(name),
            Target::This(id) => shards.shard(id),
        }
        .cloned()
    }

    /// Asks everybody at once how the shards are, until one knows of what is meant.
    pub(crate) async fn refresh(&self, target: Target<'_>, deadline: Instant) -> BTreeSet<NodeId> {
        let until = deadline.min(Instant::now() + self.0.settings.try_timeout);
        self.ask_around(until, &describe(Some(target)), || self.known(target).is_some()).await
    }

    /// Whoever is known may be no member any more, and nobody of those who are: everybody who may know better is asked how
    /// the shards are, by one task at a time. Nobody waits for that.
    pub(crate) fn look_around(&self) {
        if self.0.looking.swap(true, Ordering::Relaxed) {
            return;
        }
        let client = self.clone();
        tokio::spawn(async move {
            let until = Instant::now() + client.0.settings.try_timeout;
            client.ask_around(until, &describe(None), || false).await;
            client.0.looking.store(false, Ordering::Relaxed);
        });
    }

    /// What the client's node has heard of what is asked about, and of the first shard, whose leader has heard of all.
    pub fn hearsay(&self, asked: &Describe) -> Vec<wire::Shard> {
        let shards = self.shards();
        let name = asked.name.as_ref().and_then(|name| NameRef::from_bytes(name).ok());
        let found = name.and_then(|name| shards.find(name)).map(|shard| shard.id);
        let ids: BTreeSet<ShardId> =
            [ShardId::FIRST, ShardId(asked.shard)].into_iter().chain(found).collect();
        ids.into_iter().filter_map(|id| shards.hearsay(id)).collect()
    }

    /// Asks everybody at once, until `enough` is known or the time is up; whom.
    async fn ask_around(
        &self,
        until: Instant,
        describe: &Describe,
        enough: impl Fn() -> bool,
    ) -> BTreeSet<NodeId> {
        let contacts = self.shards().contacts();
        let mut answers = self.0.calls.many(contacts.iter().copied());
        for contact in &contacts {
            self.send(
                *contact,
                Request { id: answers.id, shard: 0, body: Some(request::Body::Describe(describe.clone())) },
            );
        }
        for _ in &contacts {
            let Ok(Some(body)) = timeout_at(until, answers.next()).await else { break };
            if let response::Body::Description(description) = body {
                let mut shards = self.shards();
                description.shards.iter().for_each(|shard| shards.learn(shard));
                description.elsewhere.iter().for_each(|shard| shards.hear(shard));
            }
            if enough() {
                break;
            }
        }
        contacts
    }
}

fn describe(target: Option<Target<'_>>) -> Describe {
    match target {
        None => Describe::default(),
        Some(Target::Name(name)) => Describe { name: Some(bytes_of(name)), shard: 0 },
        Some(Target::This(shard)) => Describe { name: None, shard: shard.0 },
    }
}
