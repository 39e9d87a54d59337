//! The model: one memcached key.

use super::checker::Model;
use crate::memcached::{Command, Item, Outcome};

/// One key of a server that never evicts and never expires.
#[derive(Clone, Copy, Debug, Default)]
pub struct Register;

/// A command and its outcome; `None` if the client never saw one.
#[derive(Clone, Debug)]
pub struct Step {
    /// The command.
    pub command: Command,
    /// Its outcome.
    pub outcome: Option<Outcome>,
}

/// The item, if there is one.
pub type State = Option<Stored>;

/// An item as stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stored {
    item: Item,
    /// The CAS unique once a client has seen it. Until then no client can name it.
    cas: Option<u64>,
}

impl Model for Register {
    type State = State;
    type Operation = Step;

    fn initial(&self) -> State {
        None
    }

    fn step(&self, state: &State, step: &Step) -> Option<State> {
        let (expected, next) = execute(state, &step.command);
        let Some(outcome) = &step.outcome else { return Some(next) };
        match (expected, outcome) {
            (Outcome::Value { item, cas }, Outcome::Value { item: seen, cas: seen_cas }) => {
                let same_cas = cas.is_none() || seen_cas.is_none() || cas == *seen_cas;
                let same = same_cas && item.flags == seen.flags && number_of(&item.value, &seen.value);
                same.then(|| next.map(|stored| Stored { cas: stored.cas.or(*seen_cas), ..stored }))
            }
            (expected, outcome) => (expected == *outcome).then_some(next),
        }
    }
}

/// Whether both are the same; `decr` may leave spaces behind a number that became shorter.
fn number_of(stored: &[u8], seen: &[u8]) -> bool {
    seen.trim_ascii_end() == stored.trim_ascii_end()
}

/// What a server answers, and what it holds then.
fn execute(state: &State, command: &Command) -> (Outcome, State) {
    let fresh = |item: &Item| Some(Stored { item: item.clone(), cas: None });
    match (command, state) {
        (Command::Set(item), _) | (Command::Add(item), None) | (Command::Replace(item), Some(_)) => {
            (Outcome::Done, fresh(item))
        }
        (Command::Add(_), Some(_))
        | (Command::Replace(_) | Command::Append(_) | Command::Prepend(_), None) => {
            (Outcome::NotStored, state.clone())
        }
        (Command::Append(value), Some(stored)) => {
            (Outcome::Done, fresh(&Item::new(stored.item.flags, [&stored.item.value[..], value].concat())))
        }
        (Command::Prepend(value), Some(stored)) => {
            (Outcome::Done, fresh(&Item::new(stored.item.flags, [&value[..], &stored.item.value].concat())))
        }
        (Command::Cas(item, unique), Some(stored)) if stored.cas == Some(*unique) => {
            (Outcome::Done, fresh(item))
        }
        (Command::Cas(..), Some(_)) => (Outcome::Exists, state.clone()),
        (Command::Increment(by), Some(stored)) => count(stored, |number| number.wrapping_add(*by)),
        (Command::Decrement(by), Some(stored)) => count(stored, |number| number.saturating_sub(*by)),
        (Command::Delete, Some(_)) => (Outcome::Done, None),
        (Command::Touch, Some(_)) => (Outcome::Done, state.clone()),
        (Command::Get | Command::Gets | Command::Gat, Some(stored)) => {
            (Outcome::Value { item: stored.item.clone(), cas: stored.cas }, state.clone())
        }
        (_, None) => (Outcome::Absent, None),
    }
}

fn count(stored: &Stored, change: impl Fn(u64) -> u64) -> (Outcome, State) {
    let text = std::str::from_utf8(&stored.item.value).ok();
    let Some(number) = text.and_then(|text| text.trim_end().parse().ok()).map(change) else {
        return (Outcome::NotANumber, Some(stored.clone()));
    };
    let item = Item::new(stored.item.flags, number.to_string());
    (Outcome::Number(number), Some(Stored { item, cas: None }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linearizability::{Interval, Verdict, search};

    fn value(text: &str, cas: Option<u64>) -> Outcome {
        Outcome::Value { item: Item::new(0, text), cas }
    }

    fn set(text: &str) -> Command {
        Command::Set(Item::new(0, text))
    }

    /// Operations one after another.
    fn sequential(steps: Vec<(Command, Outcome)>) -> Verdict {
        let history: Vec<_> = steps
            .into_iter()
            .enumerate()
            .map(|(index, (command, outcome))| Interval {
                operation: Step { command, outcome: Some(outcome) },
                called: 10 * index as u64,
                returned: Some(10 * index as u64 + 5),
            })
            .collect();
        search(&Register, &history, 10_000)
    }

    #[test]
    fn what_a_server_would_answer_is_accepted() {
        let verdict = sequential(vec![
            (Command::Get, Outcome::Absent),
            (Command::Replace(Item::new(0, "x")), Outcome::NotStored),
            (Command::Add(Item::new(0, "b")), Outcome::Done),
            (Command::Add(Item::new(0, "x")), Outcome::NotStored),
            (Command::Append(b"c".to_vec()), Outcome::Done),
            (Command::Prepend(b"a".to_vec()), Outcome::Done),
            (Command::Gets, value("abc", Some(7))),
            (Command::Gets, value("abc", Some(7))),
            (Command::Touch, Outcome::Done),
            (Command::Cas(Item::new(0, "9"), 7), Outcome::Done),
            (Command::Cas(Item::new(0, "x"), 7), Outcome::Exists),
            (Command::Increment(1), Outcome::Number(10)),
            (Command::Decrement(1), Outcome::Number(9)),
            (Command::Gat, value("9 ", None)),
            (Command::Delete, Outcome::Done),
            (Command::Delete, Outcome::Absent),
            (set("text"), Outcome::Done),
            (Command::Increment(1), Outcome::NotANumber),
        ]);
        assert_eq!(verdict, Verdict::Linearizable);
    }

    #[test]
    fn stale_and_impossible_outcomes_are_not() {
        let stale: Vec<Vec<(Command, Outcome)>> = vec![
            vec![(set("1"), Outcome::Done), (set("2"), Outcome::Done), (Command::Get, value("1", None))],
            vec![
                (set("1"), Outcome::Done),
                (Command::Delete, Outcome::Done),
                (Command::Get, value("1", None)),
            ],
            vec![
                (set("1"), Outcome::Done),
                (Command::Increment(1), Outcome::Number(2)),
                (Command::Get, value("1", None)),
            ],
            vec![
                (set("1"), Outcome::Done),
                (Command::Append(b"1".to_vec()), Outcome::Done),
                (Command::Get, value("1", None)),
            ],
            // The CAS unique of an older value.
            vec![
                (set("1"), Outcome::Done),
                (Command::Gets, value("1", Some(3))),
                (set("1"), Outcome::Done),
                (Command::Gets, value("1", Some(4))),
                (Command::Gets, value("1", Some(3))),
            ],
            vec![
                (set("1"), Outcome::Done),
                (Command::Gets, value("1", Some(3))),
                (set("2"), Outcome::Done),
                (Command::Cas(Item::new(0, "3"), 3), Outcome::Done),
            ],
            vec![(set("1"), Outcome::Done), (Command::Add(Item::new(0, "2")), Outcome::Done)],
            vec![(set("1"), Outcome::Done), (Command::Get, Outcome::Error("SERVER_ERROR".to_owned()))],
            vec![
                (set("1"), Outcome::Done),
                (Command::Get, Outcome::Value { item: Item::new(5, "1"), cas: None }),
            ],
        ];
        for history in stale {
            let shown = format!("{history:?}");
            assert!(matches!(sequential(history), Verdict::Violation { .. }), "{shown}");
        }
    }
}
