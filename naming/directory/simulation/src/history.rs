//! What clients saw, and whether one directory that executes one command at a time explains it.
//!
//! Linearizability is local (Herlihy and Wing), so each name is checked by itself. There are two kinds of
//! names: those with a record, which is a register with a revision, and those with copies, which is a set of
//! nodes.

use std::collections::{BTreeMap, BTreeSet};

use cluster_tests::linearizability::{Interval, Model, Verdict, search};

use crate::network::Micros;

/// Steps of the model that the check of one name may take.
const BUDGET: u64 = 2_000_000;

/// One of the names that clients use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Record(usize),
    Copies(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Put { value: u64, expected: Option<u64> },
    Remove { expected: Option<u64> },
    ReadRecord,
    Publish { node: u64 },
    Withdraw { node: u64 },
    ReadCopies,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Stored {
        revision: u64,
    },
    Removed,
    NotFound,
    Conflict {
        revision: u64,
    },
    /// Value and revision.
    Record(Option<(u64, u64)>),
    /// Copies that were added or removed.
    Changed(u32),
    Copies(BTreeSet<u64>),
}

/// An operation; without an outcome its client does not know it.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    operation: Operation,
    outcome: Option<Outcome>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum State {
    /// Value, and revision once a client has seen it.
    Record(Option<(u64, Option<u64>)>),
    Copies(BTreeSet<u64>),
}

struct Name(Key);

impl Model for Name {
    type State = State;
    type Operation = Step;

    fn initial(&self) -> State {
        match self.0 {
            Key::Record(_) => State::Record(None),
            Key::Copies(_) => State::Copies(BTreeSet::new()),
        }
    }

    fn step(&self, state: &State, Step { operation, outcome }: &Step) -> Option<State> {
        let seen = outcome.as_ref();
        match state {
            State::Record(record) => step_record(*record, operation, seen).map(State::Record),
            State::Copies(holders) => step_copies(holders, operation, seen).map(State::Copies),
        }
    }
}

type Record = Option<(u64, Option<u64>)>;

fn step_record(record: Record, operation: &Operation, seen: Option<&Outcome>) -> Option<Record> {
    let expected = match operation {
        Operation::Put { expected, .. } | Operation::Remove { expected } => *expected,
        _ => None,
    };
    let revision = record.map_or(Some(0), |(_, revision)| revision);
    if expected.is_some() && expected != revision {
        return match (seen, revision) {
            (None, _) => Some(record),
            (Some(Outcome::Conflict { revision: seen }), Some(revision)) => {
                (*seen == revision).then_some(record)
            }
            // Now a client has seen it.
            (Some(Outcome::Conflict { revision: seen }), None) => {
                Some(record.map(|(value, _)| (value, Some(*seen))))
            }
            _ => None,
        };
    }
    match (operation, seen) {
        (Operation::Put { value, .. }, None) => Some(Some((*value, None))),
        (Operation::Put { value, .. }, Some(Outcome::Stored { revision })) => {
            Some(Some((*value, Some(*revision))))
        }
        (Operation::Remove { .. }, None) => Some(None),
        (Operation::Remove { .. }, Some(Outcome::Removed)) => record.map(|_| None),
        (Operation::Remove { .. }, Some(Outcome::NotFound)) => record.is_none().then_some(None),
        (Operation::ReadRecord, None) => Some(record),
        (Operation::ReadRecord, Some(Outcome::Record(seen))) => match (record, seen) {
            (None, None) => Some(None),
            (Some((value, revision)), Some((seen, seen_revision))) => {
                let same = value == *seen && revision.is_none_or(|revision| revision == *seen_revision);
                same.then_some(Some((value, Some(*seen_revision))))
            }
            _ => None,
        },
        _ => None,
    }
}

fn step_copies(
    holders: &BTreeSet<u64>,
    operation: &Operation,
    seen: Option<&Outcome>,
) -> Option<BTreeSet<u64>> {
    let mut next = holders.clone();
    let expected = match operation {
        Operation::Publish { node } => Outcome::Changed(next.insert(*node).into()),
        Operation::Withdraw { node } => Outcome::Changed(next.remove(node).into()),
        _ => Outcome::Copies(holders.clone()),
    };
    seen.is_none_or(|seen| *seen == expected).then_some(next)
}

/// A call that may still return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallId(usize);

/// Everything that clients did.
#[derive(Debug, Default)]
pub(crate) struct History {
    calls: Vec<(Key, Interval<Step>)>,
}

impl History {
    pub(crate) fn call(&mut self, now: Micros, key: Key, operation: Operation) -> CallId {
        let operation = Step { operation, outcome: None };
        self.calls.push((key, Interval { operation, called: now, returned: None }));
        CallId(self.calls.len() - 1)
    }

    pub(crate) fn returned(&mut self, now: Micros, call: CallId, outcome: Outcome) {
        let interval = &mut self.calls[call.0].1;
        interval.returned = Some(now);
        interval.operation.outcome = Some(outcome);
    }

    /// How many returned.
    pub(crate) fn answered(&self) -> usize {
        self.calls.iter().filter(|(_, interval)| interval.operation.outcome.is_some()).count()
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        let mut keys: BTreeMap<Key, Vec<&Interval<Step>>> = BTreeMap::new();
        for (key, interval) in &self.calls {
            let read = matches!(interval.operation.operation, Operation::ReadRecord | Operation::ReadCopies);
            if !(read && interval.operation.outcome.is_none()) {
                keys.entry(*key).or_default().push(interval);
            }
        }
        keys.into_iter().try_for_each(|(key, calls)| check_name(key, &calls))
    }
}

fn check_name(key: Key, calls: &[&Interval<Step>]) -> Result<(), String> {
    let intervals: Vec<Interval<Step>> = calls.iter().map(|interval| (*interval).clone()).collect();
    match search(&Name(key), &intervals, BUDGET) {
        Verdict::Linearizable => Ok(()),
        Verdict::Undecided => Err(format!("{key:?}: {} calls, no verdict in {BUDGET} steps", calls.len())),
        Verdict::Violation { longest, stuck } => {
            let shown = longest.iter().rev().take(8).rev().chain([&stuck]);
            let lines: Vec<String> = shown.map(|call| format!("\n  {:?}", intervals[*call])).collect();
            Err(format!("{key:?} is not linearizable; the last does not fit:{}", lines.concat()))
        }
    }
}
