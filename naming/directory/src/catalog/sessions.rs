//! Clients' sessions: what makes a retry harmless.
//!
//! A client numbers its commands and has one under way at a time. The last reply of each client is kept, so
//! that a command that arrives again is answered, not executed (Ongaro, "Consensus: bridging theory and
//! practice", 2014, section 6.3). A session expires when its client was silent for long in *replicated* time;
//! a command of an unknown session is refused, never executed, since nobody can tell any more whether it was.

use std::collections::BTreeSet;

use prost::Message;
use prost::bytes::Bytes;

use super::chunk::Chunk;
use super::command;
use super::refusal::Reason;
use super::table::{Table, Value};
use super::{ReplicatedTime, capacity};
use crate::proto;
use crate::proto::state;

#[derive(Clone, Debug)]
pub(super) struct Session {
    sequence: u64,
    seen: ReplicatedTime,
    /// The encoded [`proto::Reply`].
    reply: Bytes,
}

impl Value for Session {
    fn to_bytes(&self) -> Vec<u8> {
        let (sequence, seen_ms, reply) = (self.sequence, self.seen.0, self.reply.clone());
        state::Session { sequence, seen_ms, reply }.encode_to_vec()
    }

    fn from_bytes(bytes: Bytes) -> Option<Self> {
        let message = state::Session::decode(bytes).ok()?;
        proto::Reply::decode(message.reply.clone()).ok()?;
        let (sequence, seen, reply) = (message.sequence, ReplicatedTime(message.seen_ms), message.reply);
        Some(Self { sequence, seen, reply })
    }
}

/// What to do with a command of a session.
pub(super) enum Admission {
    /// It is new: execute it, and [record](Sessions::record) the reply.
    Execute,
    /// It was executed: this is the reply.
    Answer(proto::Reply),
    Refuse(Reason),
}

#[derive(Clone, Debug)]
pub(super) struct Sessions {
    pub(super) table: Table<u64, Session>,
    /// The longest silent first.
    by_silence: BTreeSet<(ReplicatedTime, u64)>,
    next_client: u64,
}

impl Sessions {
    pub(super) fn new() -> Self {
        Self::of(Table::new(Chunk::Sessions), 1)
    }

    pub(super) fn of(table: Table<u64, Session>, next_client: u64) -> Self {
        let by_silence = table.iter().map(|(client, session)| (session.seen, *client)).collect();
        Self { table, by_silence, next_client }
    }

    /// The id of the next client.
    pub(super) fn next_client(&self) -> u64 {
        self.next_client
    }

    pub(super) fn open(&mut self, now: ReplicatedTime) -> Result<u64, Reason> {
        let client = self.next_client;
        self.table.admit(&client)?;
        self.next_client += 1;
        self.put(client, Session { sequence: 0, seen: now, reply: Bytes::new() });
        Ok(client)
    }

    pub(super) fn close(&mut self, client: u64) {
        if let Some(session) = self.table.remove(&client) {
            self.by_silence.remove(&(session.seen, client));
        }
    }

    pub(super) fn admit(&self, command: command::Session) -> Admission {
        let Some(session) = self.table.get(&command.client) else {
            return Admission::Refuse(Reason::SessionUnknown(proto::SessionUnknown {}));
        };
        if command.sequence > session.sequence {
            return Admission::Execute;
        }
        if command.sequence == session.sequence
            && let Ok(reply) = proto::Reply::decode(session.reply.clone())
            && reply.outcome.is_some()
        {
            return Admission::Answer(reply);
        }
        Admission::Refuse(Reason::SequencePassed(proto::SequencePassed { last: session.sequence }))
    }

    pub(super) fn record(&mut self, command: command::Session, reply: &proto::Reply, now: ReplicatedTime) {
        if self.table.get(&command.client).is_some() {
            let reply = Bytes::from(reply.encode_to_vec());
            self.put(command.client, Session { sequence: command.sequence, seen: now, reply });
        }
    }

    /// Forgets clients that were silent for too long. A few at a time: what is left over goes with the next
    /// command.
    pub(super) fn expire(&mut self, now: ReplicatedTime) -> usize {
        let limit = now.0.saturating_sub(capacity::SESSION_MS);
        let expired = |(seen, _): &(ReplicatedTime, u64)| seen.0 < limit;
        let clients: Vec<u64> = self
            .by_silence
            .iter()
            .take_while(|entry| expired(entry))
            .take(capacity::EXPIRED_AT_ONCE)
            .map(|(_, client)| *client)
            .collect();
        clients.iter().for_each(|client| self.close(*client));
        clients.len()
    }

    fn put(&mut self, client: u64, session: Session) {
        if let Some(old) = self.table.get(&client) {
            self.by_silence.remove(&(old.seen, client));
        }
        self.by_silence.insert((session.seen, client));
        self.table.put(client, session);
    }
}
