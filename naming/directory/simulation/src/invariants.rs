//! What holds at every step, of all replicas of a shard together.

use std::collections::BTreeMap;

use naming::NodeId;
use naming_directory::Position;
use naming_directory::catalog::Checksum;
use naming_directory::group::Role;
use naming_directory::log::{Entry, Record};
use naming_directory::replica::Replica;

/// What was seen of a shard so far.
#[derive(Debug, Default)]
pub(crate) struct Invariants {
    /// Who led each term.
    leaders: BTreeMap<u64, NodeId>,
    /// Of every entry that was durable anywhere: what is before it, and what it says.
    entries: BTreeMap<(u64, u64), (u64, Entry)>,
    /// The term of each committed entry.
    committed: BTreeMap<u64, u64>,
    /// The state after each entry.
    states: BTreeMap<u64, (u64, Checksum)>,
}

/// How far a replica was looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    committed: u64,
    applied: u64,
    pub(crate) term_led: u64,
}

impl Invariants {
    /// Raft's log matching: entries of one index and term are the same, and so are those before them. Of
    /// records that are durable: what a crash takes before anybody saw it may be made differently again.
    pub(crate) fn check_records(&mut self, replica: &Replica, records: &[Record]) -> Result<(), String> {
        for record in records {
            let Record::Entry(entry) = record else { continue };
            let Position { term, index } = entry.position;
            let log = replica.group().log();
            let Some(before) = log.term(index - 1).filter(|_| log.term(index) == Some(term)) else {
                continue;
            };
            let known = self.entries.entry((index, term)).or_insert_with(|| (before, entry.clone()));
            if *known != (before, entry.clone()) {
                return Err(format!(
                    "log matching: entry {} is {entry:?} after {before}, and was {known:?}",
                    entry.position
                ));
            }
        }
        Ok(())
    }

    /// All the others.
    pub(crate) fn check(&mut self, replica: &Replica, seen: &mut Seen) -> Result<(), String> {
        let status = replica.group().status();
        let log = replica.group().log();
        // Nothing committed is ever another entry.
        for index in seen.committed + 1..=status.committed {
            let Some(term) = log.term(index) else { continue };
            let known = *self.committed.entry(index).or_insert(term);
            if known != term {
                return Err(format!(
                    "node {}: entry {index} is committed with term {term} and with {known}",
                    status.id
                ));
            }
        }
        seen.committed = seen.committed.max(status.committed);
        if status.role == Role::Leader {
            let first = *self.leaders.entry(status.term).or_insert(status.id);
            if first != status.id {
                return Err(format!("term {} has leaders {first} and {}", status.term, status.id));
            }
            if seen.term_led != status.term {
                seen.term_led = status.term;
                self.check_leader(replica)?;
            }
        }
        let position = replica.state().position();
        if position.index != seen.applied {
            if position.index < seen.applied {
                return Err(format!(
                    "node {}: the state went back from {} to {position}",
                    status.id, seen.applied
                ));
            }
            seen.applied = position.index;
            let state = (position.term, replica.state().checksum());
            let known = *self.states.entry(position.index).or_insert(state);
            if known != state {
                return Err(format!(
                    "node {}: the state after {position} is {}, and was {}",
                    status.id, state.1, known.1
                ));
            }
        }
        Ok(())
    }

    /// A leader has all that was committed before.
    fn check_leader(&self, replica: &Replica) -> Result<(), String> {
        let log = replica.group().log();
        for (index, term) in self.committed.range(log.base().position.index..) {
            if log.term(*index) != Some(*term) {
                let status = replica.group().status();
                return Err(format!(
                    "leader {} of term {} lacks entry {index} of term {term}",
                    status.id, status.term
                ));
            }
        }
        Ok(())
    }

    pub(crate) fn last_committed(&self) -> u64 {
        self.committed.last_key_value().map_or(0, |(index, _)| *index)
    }
}
