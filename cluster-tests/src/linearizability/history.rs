//! Recording calls and returns of many clients, and checking what was recorded.

use super::checker::{Interval, Verdict, search};
use super::register::{Action, Register, Step};
use crate::memcached::{Command, Outcome};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Steps of the model that the check of one key may take.
const BUDGET: u64 = 20_000_000;
/// How many operations a report of a violation shows around the one that does not fit.
const SHOWN: usize = 30;

/// A recorded call that may still return.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallId(usize);

#[derive(Clone, Debug)]
struct Record {
    client: usize,
    key: String,
    interval: Interval<Step>,
}

/// Records from many threads, by one clock.
#[derive(Debug)]
pub struct Recorder {
    origin: Instant,
    records: Mutex<Vec<Record>>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { origin: Instant::now(), records: Mutex::default() }
    }
}

impl Recorder {
    /// To be called before the request is sent.
    pub fn call(&self, client: usize, key: &str, command: Command) -> CallId {
        self.begin(client, key, Action::Command(command))
    }

    /// To be called before all items are flushed, for each key. It [returns](Recorder::returned) with [`Outcome::Done`].
    pub fn flush(&self, client: usize, key: &str) -> CallId {
        self.begin(client, key, Action::Flush)
    }

    /// To be called before the server of `key` is killed. It [returns](Recorder::returned) with [`Outcome::Done`] when
    /// the server is empty.
    pub fn loss(&self, key: &str) -> CallId {
        self.begin(usize::MAX, key, Action::Loss)
    }

    fn begin(&self, client: usize, key: &str, action: Action) -> CallId {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let called = self.now();
        let operation = Step { action, outcome: None, called, returned: u64::MAX };
        let interval = Interval { operation, called, returned: None };
        records.push(Record { client, key: key.to_owned(), interval });
        CallId(records.len() - 1)
    }

    /// To be called after the reply was received, however late. Only the first return of a call counts.
    pub fn returned(&self, call: CallId, outcome: Outcome) {
        let now = self.now();
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let interval = &mut records[call.0].interval;
        if interval.returned.is_none() {
            interval.returned = Some(now);
            interval.operation.returned = now;
            interval.operation.outcome = Some(outcome);
        }
    }

    /// What was recorded.
    pub fn finish(self) -> History {
        History { records: self.records.into_inner().unwrap_or_else(PoisonError::into_inner) }
    }

    fn now(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }
}

/// Everything that many clients did.
#[derive(Clone, Debug)]
pub struct History {
    records: Vec<Record>,
}

impl History {
    /// How many commands were called.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// How many commands never returned.
    pub fn pending(&self) -> usize {
        self.records.iter().filter(|record| record.interval.returned.is_none()).count()
    }
}

/// Checks each key of `history` by itself against [`Register`].
///
/// # Errors
/// A description of the first key that has no linearization, or whose search was given up.
pub fn check(history: &History) -> Result<(), String> {
    let mut keys: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in &history.records {
        // A read that told nobody anything constrains nothing.
        let read = matches!(&record.interval.operation.action, Action::Command(command) if command.is_read());
        if record.interval.returned.is_some() || !read {
            keys.entry(&record.key).or_default().push(record);
        }
    }
    keys.iter().try_for_each(|(key, records)| check_key(key, records))
}

fn check_key(key: &str, records: &[&Record]) -> Result<(), String> {
    let intervals: Vec<Interval<Step>> = records.iter().map(|record| record.interval.clone()).collect();
    let lost = |interval: &Interval<Step>| matches!(interval.operation.action, Action::Loss);
    match search(&Register { uniques_recur: intervals.iter().any(lost) }, &intervals, BUDGET) {
        Verdict::Linearizable => Ok(()),
        Verdict::Undecided => {
            Err(format!("key {key}: {} operations, no verdict in {BUDGET} steps", records.len()))
        }
        Verdict::Violation { longest, stuck } => Err(describe(key, records, &longest, stuck)),
    }
}

fn describe(key: &str, records: &[&Record], longest: &[usize], stuck: usize) -> String {
    let mut text = format!("key {key} is not linearizable. The longest explanation ends with:\n");
    let line = |record: &Record| {
        let Interval { operation, called, returned } = &record.interval;
        let until = returned.map_or("never".to_owned(), |at| format!("{:.3}", at as f64 / 1e6));
        let from = *called as f64 / 1e6;
        let who = match operation.action {
            Action::Loss => "server   ".to_owned(),
            _ => format!("client {:2}", record.client),
        };
        let Step { action, outcome, .. } = operation;
        format!("  {from:10.3} - {until:>10} ms  {who}  {action:?} -> {outcome:?}\n")
    };
    for index in &longest[longest.len().saturating_sub(SHOWN)..] {
        text += &line(records[*index]);
    }
    let _ = write!(text, "and has no place for\n{}", line(records[stuck]));
    let ended = records[stuck].interval.returned.unwrap_or(u64::MAX);
    let mut others: Vec<&Record> = records
        .iter()
        .enumerate()
        .filter(|(index, record)| {
            !longest.contains(index) && *index != stuck && record.interval.called <= ended
        })
        .map(|(_, record)| *record)
        .collect();
    others.sort_by_key(|record| std::cmp::Reverse(record.interval.called));
    if !others.is_empty() {
        text += "while these had been called too:\n";
    }
    others.iter().take(SHOWN).for_each(|record| text += &line(record));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memcached::Item;
    use proptest::prelude::*;

    #[test]
    fn a_lost_read_is_no_evidence_and_a_stale_one_is() {
        let recorder = Recorder::default();
        recorder.call(0, "k", Command::Get);
        let set = recorder.call(0, "k", Command::Set(Item::new(0, "1")));
        recorder.returned(set, Outcome::Done);
        let read = recorder.call(1, "k", Command::Get);
        recorder.returned(read, Outcome::Absent);
        let history = recorder.finish();
        assert_eq!((history.len(), history.pending()), (3, 1));
        let report = check(&history).expect_err("the set was acknowledged");
        assert!(report.contains("key k is not linearizable"), "{report}");
    }

    #[test]
    fn keys_are_independent() {
        let recorder = Recorder::default();
        for key in ["a", "b"] {
            let set = recorder.call(0, key, Command::Set(Item::new(0, key)));
            recorder.returned(set, Outcome::Done);
            let read = recorder.call(0, key, Command::Get);
            recorder.returned(read, Outcome::Value { item: Item::new(0, key), cas: None });
        }
        assert_eq!(check(&recorder.finish()), Ok(()));
    }

    fn command() -> impl Strategy<Value = Command> {
        let item = |n: u8| Item::new(n.into(), n.to_string());
        prop_oneof![
            Just(Command::Get),
            Just(Command::Gets),
            Just(Command::Delete),
            (0..9u8).prop_map(move |n| Command::Set(item(n))),
            (0..9u8).prop_map(move |n| Command::Add(item(n))),
            (0..9u8).prop_map(|n| Command::Append(vec![b'0' + n])),
            (0..9u64).prop_map(Command::Increment),
        ]
    }

    /// A register that really executes, by a description of its own.
    fn answer(state: &mut Option<(Item, u64)>, clock: u64, command: &Command) -> Outcome {
        match (command, state.as_mut()) {
            (Command::Set(item), _) | (Command::Add(item), None) => *state = Some((item.clone(), clock)),
            (Command::Add(_), Some(_)) | (Command::Append(_), None) => return Outcome::NotStored,
            (Command::Delete, Some(_)) => *state = None,
            (_, None) => return Outcome::Absent,
            (Command::Append(tail), Some(stored)) => {
                stored.0.value.extend(tail);
                stored.1 = clock;
            }
            (Command::Increment(by), Some(stored)) => {
                let number: u64 = String::from_utf8_lossy(&stored.0.value).parse().unwrap_or(0);
                *stored = (Item::new(stored.0.flags, (number + by).to_string()), clock);
                return Outcome::Number(number + by);
            }
            (Command::Gets, Some(stored)) => {
                return Outcome::Value { item: stored.0.clone(), cas: Some(stored.1) };
            }
            (_, Some(stored)) => return Outcome::Value { item: stored.0.clone(), cas: None },
        }
        Outcome::Done
    }

    proptest! {
        /// Commands that took effect at one instant each, with calls before, returns after, and some returns lost.
        #[test]
        fn real_executions_are_accepted(
            commands in prop::collection::vec((command(), 0..50u64, 0..50u64, prop::bool::weighted(0.9)), 1..60)
        ) {
            let mut state = None;
            let records = commands.into_iter().enumerate().map(|(index, (command, before, after, seen))| {
                let instant = 100 + 10 * index as u64;
                let outcome = answer(&mut state, instant, &command);
                let interval = Interval {
                    operation: Step::command(command, seen.then_some(outcome)),
                    called: instant - before,
                    returned: seen.then_some(instant + after),
                };
                Record { client: 0, key: "k".to_owned(), interval }
            });
            let history = History { records: records.collect() };
            prop_assert_eq!(check(&history), Ok(()));
        }
    }
}
