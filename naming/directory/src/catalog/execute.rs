//! The execution of commands.

use naming::{Name, NameRef};
use prost::bytes::Bytes;

use super::changes::{Change, Event};
use super::command::{self, Action, Command};
use super::refusal::{self, Reason};
use super::sessions::Admission;
use super::{ApplyError, Catalog, VERSION, authorities, nodes, records};
use crate::proto::reply::Outcome;
use crate::{Position, proto};

/// The reply, and the shard that was split off.
type Executed = (proto::Reply, Option<Catalog>);

impl Catalog {
    pub(super) fn execute(
        &mut self,
        position: Position,
        data: Bytes,
        events: &mut Vec<Event>,
    ) -> Result<Executed, ApplyError> {
        let message = match command::decode(data) {
            Ok(message) => message,
            Err(reason) => {
                self.advance(position);
                return Ok((self.reply(Err(reason)), None));
            }
        };
        let Command { time, session, action } = command::parse(&message, self.version);
        if let Ok(Action::RaiseVersion(version @ VERSION_BEHIND..)) = action {
            return Err(ApplyError::TooNew { at: position, version });
        }
        self.advance(position);
        self.time = self.time.max(time);
        self.counters.sessions_expired += self.sessions.expire(self.time) as u64;
        self.nodes.expire(self.time, events);
        self.copies.purge();
        let action = match action {
            Ok(action) => action,
            Err(reason) => return Ok((self.reply(Err(reason)), None)),
        };
        let Some(session) = session else {
            let (outcome, split) = self.act(action, 0, events);
            return Ok((self.reply(outcome), split));
        };
        match self.sessions.admit(session) {
            Admission::Execute => {
                let (outcome, mut split) = self.act(action, session.client, events);
                let reply = self.reply(outcome);
                for state in split.iter_mut().chain([self]) {
                    state.sessions.record(session, &reply, state.time);
                }
                Ok((reply, split))
            }
            Admission::Answer(reply) => {
                self.counters.repeated += 1;
                Ok((reply, None))
            }
            Admission::Refuse(reason) => Ok((self.reply(Err(reason)), None)),
        }
    }

    fn act(
        &mut self,
        action: Action<'_>,
        client: u64,
        events: &mut Vec<Event>,
    ) -> (Result<Outcome, Reason>, Option<Catalog>) {
        if let Action::Split(at) = action {
            return match self.split(at) {
                Ok(right) => {
                    events.push(Event { name: at.to_name(), change: Change::Split });
                    (Ok(done()), Some(right))
                }
                Err(reason) => (Err(reason), None),
            };
        }
        (self.change(action, client, events), None)
    }

    fn change(
        &mut self,
        action: Action<'_>,
        client: u64,
        events: &mut Vec<Event>,
    ) -> Result<Outcome, Reason> {
        let (now, index) = (self.time, self.position.index);
        match action {
            Action::OpenSession => {
                let client = self.sessions.open(now)?;
                Ok(Outcome::SessionOpened(proto::SessionOpened { client }))
            }
            Action::CloseSession => {
                self.sessions.close(client);
                Ok(done())
            }
            Action::RegisterNode(request) => {
                let name = self.own(nodes::name_of(request.node).as_name())?;
                self.nodes.register(name, request, now, index, events)
            }
            Action::RenewNodes { nodes, lease_ms } => {
                for (id, _) in &nodes {
                    self.own(nodes::name_of(*id).as_name())?;
                }
                Ok(self.nodes.renew(&nodes, lease_ms, now, events))
            }
            Action::RemoveNode(id) => {
                let name = self.own(nodes::name_of(id).as_name())?;
                self.nodes.remove(&name, events)
            }
            Action::PutRecord { kind, name, value, expected } => {
                let name = self.own(name)?;
                let record = records::Record { revision: index, value };
                records::put(self.table_mut(kind), kind, name, record, expected, events)
            }
            Action::RemoveRecord { kind, name, expected } => {
                let name = self.own(name)?;
                records::remove(self.table_mut(kind), kind, &name, expected, events)
            }
            Action::AcquireAuthority { prefix, claim, lease_ms } => {
                let prefix = self.own(prefix)?;
                authorities::acquire(&mut self.authorities, prefix, claim, lease_ms, now, events)
            }
            Action::ReleaseAuthority { prefix, claim } => {
                let prefix = self.own(prefix)?;
                authorities::release(&mut self.authorities, prefix, claim, events)
            }
            Action::Publish { holder, copies } => {
                self.own_all(copies.first().map(|copy| copy.name), copies.last().map(|copy| copy.name))?;
                let published = self.copies.publish(holder, &copies, events)?;
                self.counters.copies_refused += u64::from(published.refused);
                Ok(Outcome::Published(published))
            }
            Action::Withdraw { node, names } => {
                self.own_all(names.first().copied(), names.last().copied())?;
                let removed = self.copies.withdraw(node, &names, events);
                Ok(Outcome::Withdrawn(proto::Withdrawn { removed }))
            }
            Action::RetireHolder(claim) => {
                self.copies.retire(claim, self.range.from(), events)?;
                Ok(done())
            }
            Action::RaiseVersion(version) => {
                self.version = self.version.max(version);
                Ok(done())
            }
            Action::Split(_) | Action::PassTime => Ok(done()),
        }
    }

    /// A copy of `name`, if it is one of the shard's.
    fn own(&self, name: NameRef<'_>) -> Result<Name, Reason> {
        self.own_all(Some(name), Some(name)).map(|()| name.to_name())
    }

    /// Whether names are the shard's, of which these are the first and the last.
    fn own_all(&self, first: Option<NameRef<'_>>, last: Option<NameRef<'_>>) -> Result<(), Reason> {
        let own = first.iter().chain(&last).all(|name| self.range.contains(*name));
        if own { Ok(()) } else { Err(refusal::wrong_shard(&self.range)) }
    }

    fn reply(&mut self, outcome: Result<Outcome, Reason>) -> proto::Reply {
        let counters = &mut self.counters;
        *match &outcome {
            Ok(_) => &mut counters.executed,
            Err(Reason::Unsupported(_)) => &mut counters.unsupported,
            Err(Reason::Malformed(_)) => &mut counters.malformed,
            Err(Reason::WrongShard(_)) => &mut counters.wrong_shard,
            Err(Reason::SessionUnknown(_)) => &mut counters.session_unknown,
            Err(Reason::SequencePassed(_)) => &mut counters.sequence_passed,
            Err(Reason::Full(_)) => &mut counters.table_full,
            Err(Reason::Conflict(_) | Reason::NotFound(_) | Reason::Held(_) | Reason::StaleEpoch(_)) => {
                &mut counters.refused
            }
        } += 1;
        let outcome =
            outcome.unwrap_or_else(|reason| Outcome::Refused(proto::Refused { reason: Some(reason) }));
        let Position { term, index } = self.position;
        proto::Reply { position: Some(proto::Position { term, index }), outcome: Some(outcome) }
    }
}

/// The first version that this release does not know.
const VERSION_BEHIND: u32 = VERSION + 1;

fn done() -> Outcome {
    Outcome::Done(proto::Done {})
}
