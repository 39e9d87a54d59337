//! Clients: they write in sessions and try again until they know, and read from any replica.

use std::collections::BTreeSet;

use cluster_tests::random::Random;
use naming::{Digest, Name, NodeId};
use naming_directory::catalog::{Catalog, RecordKind};
use naming_directory::proto::command::Action;
use naming_directory::proto::refused::Reason;
use naming_directory::proto::reply::Outcome as Reply;
use naming_directory::{Bytes, proto};

use crate::broken::Broken;
use crate::history::{CallId, Key, Operation, Outcome};
use crate::host::command;
use crate::world::{Context, Event, Shard};

/// Names with records, and names with copies.
const RECORDS: usize = 4;
const COPIES: usize = 2;
/// All of them.
pub(crate) const NAMES: usize = RECORDS + COPIES;
/// Nodes that clients publish for.
const HOLDERS: usize = 3;
/// After which a client tries again elsewhere.
const TIMEOUT_MICROS: u64 = 250_000;
/// Tries after which a client gives up, and does not know.
const MAX_TRIES: u32 = 40;

/// What a client sends to a node.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) client: usize,
    pub(crate) attempt: u64,
    pub(crate) shard: Shard,
    pub(crate) body: Body,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    Write(proto::Command),
    Read(Key),
}

impl Body {
    pub(crate) fn key(&self) -> Option<Key> {
        match self {
            Self::Write(_) => None,
            Self::Read(key) => Some(*key),
        }
    }
}

/// What a node answers.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Reply(proto::Reply),
    Read(Outcome),
    WrongShard,
    /// Not here, or not now; perhaps there.
    Again(Option<NodeId>),
}

#[derive(Clone, Debug)]
pub(crate) struct Client {
    id: usize,
    attempt: u64,
    /// In each shard: client id and the last sequence.
    sessions: [Option<(u64, u64)>; 2],
    work: Option<Work>,
    pub(crate) target: NodeId,
    /// The revisions it has seen of each record.
    revisions: [u64; RECORDS],
}

#[derive(Clone, Debug)]
struct Work {
    /// `None`: commands in bulk, which nobody checks one by one.
    call: Option<(CallId, Key, Operation)>,
    action: Option<Action>,
    shard: Shard,
    /// In this shard it was sent under this sequence.
    sequence: Option<u64>,
    tries: u32,
}

fn name_of(key: Key) -> Name {
    // Some on either side of where the shard is split.
    let text = match key {
        Key::Record(number) => format!("/{}/record", ["a", "f", "p", "z"][number % 4]),
        Key::Copies(number) => format!("/{}/copies", ["c", "x"][number % 2]),
    };
    text.parse().unwrap_or_default()
}

fn bytes_of(key: Key) -> Bytes {
    name_of(key).as_bytes().to_vec().into()
}

/// What a state says of a name.
pub(crate) fn read(state: &Catalog, key: Key) -> Answer {
    let name = name_of(key);
    if !state.range().contains(name.as_name()) {
        return Answer::WrongShard;
    }
    Answer::Read(match key {
        Key::Record(_) => {
            let record = state.record(RecordKind::Route, name.as_name());
            let value =
                |value: &[u8]| value.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte));
            Outcome::Record(record.map(|record| (value(&record.value), record.revision)))
        }
        Key::Copies(_) => {
            let holders = state.copies(name.as_name()).map(|copies| copies.holders).unwrap_or_default();
            Outcome::Copies(holders.into_iter().map(NodeId::get).collect::<BTreeSet<_>>())
        }
    })
}

impl Client {
    pub(crate) fn new(id: usize, target: NodeId) -> Self {
        Self { id, attempt: 0, sessions: [None; 2], work: None, target, revisions: [0; RECORDS] }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.work.is_none()
    }

    /// Begins something new, unless it is busy.
    pub(crate) fn act(&mut self, ctx: &mut Context) {
        if self.work.is_some() {
            return;
        }
        if ctx.random.one_in(12) {
            self.work =
                Some(Work { call: None, action: Some(bulk(ctx)), shard: Shard(0), sequence: None, tries: 0 });
        } else {
            let (key, operation) = self.choose(&mut ctx.random, ctx.settings.values.next_value());
            self.begin(key, operation, ctx);
        }
        self.send(ctx);
    }

    /// Reads a name, at the end.
    pub(crate) fn read_at_last(&mut self, number: usize, ctx: &mut Context) {
        let number = number % NAMES;
        match number.checked_sub(RECORDS) {
            None => self.begin(Key::Record(number), Operation::ReadRecord, ctx),
            Some(number) => self.begin(Key::Copies(number), Operation::ReadCopies, ctx),
        }
        self.send(ctx);
    }

    fn choose(&self, random: &mut Random, value: u64) -> (Key, Operation) {
        if random.one_in(3) {
            let node = 100 + random.below(HOLDERS) as u64;
            let operation = match random.below(4) {
                0 | 1 => Operation::ReadCopies,
                2 => Operation::Publish { node },
                _ => Operation::Withdraw { node },
            };
            return (Key::Copies(random.below(COPIES)), operation);
        }
        let record = random.below(RECORDS);
        let expected = random.one_in(2).then_some(self.revisions[record]);
        let operation = match random.below(8) {
            0..4 => Operation::ReadRecord,
            4 => Operation::Remove { expected },
            _ => Operation::Put { value, expected },
        };
        (Key::Record(record), operation)
    }

    fn begin(&mut self, key: Key, operation: Operation, ctx: &mut Context) {
        let call = ctx.history.call(ctx.now, key, operation.clone());
        let action = action_of(key, &operation);
        self.work = Some(Work {
            call: Some((call, key, operation)),
            action,
            shard: Shard(0),
            sequence: None,
            tries: 0,
        });
    }

    /// Sends what it is busy with, once more or for the first time.
    fn send(&mut self, ctx: &mut Context) {
        let Some(work) = &mut self.work else { return };
        self.attempt += 1;
        work.tries += 1;
        let body = match (&work.action, &work.call, &mut self.sessions[work.shard.0]) {
            (None, Some((_, key, _)), _) => Body::Read(*key),
            (Some(action), _, Some((client, last))) => {
                let retried = work.sequence.is_some();
                let sequence = *work.sequence.get_or_insert_with(|| {
                    *last += 1;
                    *last
                });
                let outside = retried && ctx.settings.broken == Broken::RetriesOutsideSession;
                let session = (!outside).then_some(proto::Session { client: *client, sequence });
                Body::Write(proto::Command { session, ..command(action.clone()) })
            }
            _ => Body::Write(command(Action::OpenSession(proto::OpenSession {}))),
        };
        let request = Request { client: self.id, attempt: self.attempt, shard: work.shard, body };
        ctx.request(self.target, request);
        ctx.after(TIMEOUT_MICROS, Event::ClientTimeout { client: self.id, attempt: self.attempt });
    }

    pub(crate) fn timeout(&mut self, attempt: u64, ctx: &mut Context) {
        if attempt == self.attempt && self.work.is_some() {
            self.again(None, ctx);
        }
    }

    fn again(&mut self, hint: Option<NodeId>, ctx: &mut Context) {
        self.target = hint.unwrap_or_else(|| *ctx.random.pick(&ctx.settings.nodes));
        match &self.work {
            // It does not know, and never will.
            Some(work) if work.tries >= MAX_TRIES && !ctx.calm => {
                ctx.tally.given_up += 1;
                self.work = None;
            }
            Some(_) => {
                // An answer to the last attempt comes too late now.
                self.attempt += 1;
                let pause = 1_000 + ctx.random.below(30_000) as u64;
                ctx.after(pause, Event::ClientRetry { client: self.id, attempt: self.attempt });
            }
            None => {}
        }
    }

    pub(crate) fn retry(&mut self, attempt: u64, ctx: &mut Context) {
        if attempt == self.attempt {
            self.send(ctx);
        }
    }

    pub(crate) fn answered(&mut self, attempt: u64, answer: Answer, ctx: &mut Context) -> Result<(), String> {
        if attempt != self.attempt || self.work.is_none() {
            return Ok(());
        }
        match answer {
            Answer::Again(hint) => self.again(hint, ctx),
            Answer::Read(outcome) => self.finish(outcome, ctx),
            Answer::WrongShard => self.other_shard(ctx)?,
            Answer::Reply(reply) => return self.replied(reply, ctx),
        }
        Ok(())
    }

    fn replied(&mut self, reply: proto::Reply, ctx: &mut Context) -> Result<(), String> {
        let Some(work) = &mut self.work else { return Ok(()) };
        let outcome = match reply.outcome {
            Some(Reply::SessionOpened(opened)) => {
                self.sessions[work.shard.0] = Some((opened.client, 0));
                self.send(ctx);
                return Ok(());
            }
            Some(Reply::Refused(proto::Refused { reason: Some(reason) })) => match reason {
                Reason::WrongShard(_) => return self.other_shard(ctx),
                Reason::SessionUnknown(_) => {
                    // Nobody knows whether an earlier try was executed.
                    ctx.tally.sessions_lost += 1;
                    self.sessions[work.shard.0] = None;
                    self.work = None;
                    return Ok(());
                }
                Reason::Conflict(conflict) => Outcome::Conflict { revision: conflict.revision },
                Reason::NotFound(_) => Outcome::NotFound,
                Reason::StaleEpoch(_) if work.call.is_none() => Outcome::NotFound,
                reason => return Err(format!("a client was refused: {reason:?}")),
            },
            Some(Reply::Stored(stored)) => Outcome::Stored { revision: stored.revision },
            Some(Reply::Done(_)) => Outcome::Removed,
            Some(Reply::Published(published)) => Outcome::Changed(published.added),
            Some(Reply::Withdrawn(withdrawn)) => Outcome::Changed(withdrawn.removed),
            other => return Err(format!("a client got {other:?}")),
        };
        self.finish(outcome, ctx);
        Ok(())
    }

    /// The command was not executed, and belongs to the other shard.
    fn other_shard(&mut self, ctx: &mut Context) -> Result<(), String> {
        let Some(work) = &mut self.work else { return Ok(()) };
        if work.shard == Shard(1) {
            return Err("the second shard does not know a name that the first one gave it".to_owned());
        }
        (work.shard, work.sequence) = (Shard(1), None);
        self.send(ctx);
        Ok(())
    }

    fn finish(&mut self, outcome: Outcome, ctx: &mut Context) {
        let Some(work) = self.work.take() else { return };
        let Some((call, key, _)) = work.call else { return };
        let revision = match outcome {
            Outcome::Stored { revision } | Outcome::Conflict { revision } => Some(revision),
            Outcome::Record(record) => Some(record.map_or(0, |(_, revision)| revision)),
            _ => None,
        };
        if let (Key::Record(number), Some(revision)) = (key, revision) {
            self.revisions[number] = revision;
        }
        ctx.history.returned(ctx.now, call, outcome);
    }
}

fn action_of(key: Key, operation: &Operation) -> Option<Action> {
    let kind = proto::RecordKind::Route.into();
    let name = bytes_of(key);
    Some(match *operation {
        Operation::ReadRecord | Operation::ReadCopies => return None,
        Operation::Put { value, expected } => {
            let value = value.to_le_bytes().to_vec().into();
            Action::PutRecord(proto::PutRecord { kind, name, value, expected_revision: expected })
        }
        Operation::Remove { expected } => {
            Action::RemoveRecord(proto::RemoveRecord { kind, name, expected_revision: expected })
        }
        Operation::Publish { node } => {
            let digest = Digest::of(&name).as_bytes().to_vec().into();
            let copy = proto::Copy { name, digest, length: 1 };
            Action::Publish(proto::Publish { node, epoch: 1, copies: vec![copy] })
        }
        Operation::Withdraw { node } => Action::Withdraw(proto::Withdraw { node, names: vec![name] }),
    })
}

/// Many names at once, and now and then a holder that is retired, so that states are large and purges are
/// under way.
fn bulk(ctx: &mut Context) -> Action {
    let node = 200 + ctx.random.below(3) as u64;
    let epoch = 1 + ctx.now / 2_000_000;
    if ctx.random.one_in(3) {
        return Action::RetireHolder(proto::RetireHolder { node, epoch });
    }
    let first = ctx.random.below(500);
    let copies = (first..first + 100).map(|number| {
        let name: Name = format!("/b/{number:03}").parse().unwrap_or_default();
        let name: Bytes = name.as_bytes().to_vec().into();
        proto::Copy { digest: Digest::of(&name).as_bytes().to_vec().into(), name, length: 1 }
    });
    Action::Publish(proto::Publish { node, epoch, copies: copies.collect() })
}
