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
    /// Then or before: as of [`Sessions::by_silence`], and no part of the state.
    listed: ReplicatedTime,
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
        Some(Self { sequence, seen, listed: seen, reply })
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
    /// Every client, by when it is listed to have been seen. Who comes first was silent for longest, unless it was seen since: so a
    /// command changes nothing here.
    by_silence: BTreeSet<(ReplicatedTime, u64)>,
    next_client: u64,
}

impl Sessions {
    pub(super) fn new() -> Self {
        Self::of(Table::new(Chunk::Sessions), 1)
    }

    pub(super) fn of(table: Table<u64, Session>, next_client: u64) -> Self {
        let by_silence = table.iter().map(|(client, session)| (session.listed, *client)).collect();
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
        self.by_silence.insert((now, client));
        self.table.put(client, Session { sequence: 0, seen: now, listed: now, reply: Bytes::new() });
        Ok(client)
    }

    pub(super) fn close(&mut self, client: u64) {
        if let Some(session) = self.table.remove(&client) {
            self.by_silence.remove(&(session.listed, client));
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
        if let Some(Session { listed, .. }) = self.table.get(&command.client) {
            let (sequence, listed, reply) = (command.sequence, *listed, Bytes::from(reply.encode_to_vec()));
            self.table.put(command.client, Session { sequence, seen: now, listed, reply });
        }
    }

    /// Forgets clients that were silent for too long. A few at a time: what is left over goes with the next
    /// command.
    pub(super) fn expire(&mut self, now: ReplicatedTime) -> usize {
        let limit = ReplicatedTime(now.0.saturating_sub(capacity::SESSION_MS));
        let mut expired = 0;
        while expired < capacity::EXPIRED_AT_ONCE
            && let Some((listed, client)) =
                self.by_silence.first().copied().filter(|(listed, _)| *listed < limit)
        {
            self.by_silence.pop_first();
            match self.table.get(&client) {
                Some(session) if session.seen > listed => {
                    let session = Session { listed: session.seen, ..session.clone() };
                    self.by_silence.insert((session.listed, client));
                    self.table.put(client, session);
                }
                _ => expired += usize::from(self.table.remove(&client).is_some()),
            }
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As a snapshot has them.
    fn restored(sessions: &Sessions) -> Sessions {
        let mut table = Table::new(Chunk::Sessions);
        for (client, session) in sessions.table.iter() {
            table.put(*client, Session::from_bytes(session.to_bytes().into()).unwrap());
        }
        Sessions::of(table, sessions.next_client())
    }

    fn clients(sessions: &Sessions) -> Vec<u64> {
        sessions.table.iter().map(|(client, _)| *client).collect()
    }

    proptest! {
        /// Who expires first is the same on a replica that was there all the time and on one that began with a snapshot.
        #[test]
        fn the_longest_silent_go_first_on_all_replicas(
            heard in prop::collection::vec((0..200_u64, 0..20_000_u64, any::<bool>()), 0..600),
        ) {
            let mut sessions = Sessions::new();
            let mut now = ReplicatedTime(0);
            (0..200).for_each(|_| _ = sessions.open(now).unwrap());
            for (sequence, (client, later, closes)) in (1..).zip(heard) {
                now.0 += later;
                let mut other = restored(&sessions);
                let expired = sessions.expire(now);
                prop_assert_eq!(expired, other.expire(now));
                prop_assert_eq!(clients(&sessions), clients(&other));
                let lives = |session: &Session| session.seen.0 + capacity::SESSION_MS >= now.0;
                let all_live = sessions.table.iter().all(|(_, session)| lives(session));
                prop_assert!(all_live || expired == capacity::EXPIRED_AT_ONCE);
                if closes {
                    sessions.close(client);
                } else {
                    sessions.record(command::Session { client, sequence }, &proto::Reply::default(), now);
                }
                prop_assert_eq!(sessions.by_silence.len(), sessions.table.len());
            }
        }
    }
}
