//! The model: one memcached key.

use super::checker::Model;
use crate::memcached::{Command, Item, Outcome};

/// One key of a server that never evicts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Register {
    /// Whether the server may have begun to count CAS uniques anew: then one that was told before may be that of an item
    /// whose own nobody has seen.
    pub uniques_recur: bool,
}

/// What happened, and when.
#[derive(Clone, Debug)]
pub struct Step {
    /// What happened.
    pub action: Action,
    /// The outcome of a command; `None` if the client never saw one.
    pub outcome: Option<Outcome>,
    /// When it began, in nanoseconds.
    pub called: u64,
    /// When it had ended; `u64::MAX` if that is not known.
    pub returned: u64,
}

/// What can happen to a key.
#[derive(Clone, Debug)]
pub enum Action {
    /// A client's command.
    Command(Command),
    /// All items are flushed.
    Flush,
    /// The server loses its items.
    Loss,
}

impl Step {
    /// A command at some time.
    pub fn command(command: Command, outcome: Option<Outcome>) -> Self {
        Self { action: Action::Command(command), outcome, called: 0, returned: u64::MAX }
    }
}

/// The item, if there is one.
pub type State = Option<Stored>;

/// An item as stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stored {
    item: Item,
    /// The CAS unique once a client has seen it. Until then no client can name it, unless uniques recur.
    cas: Option<u64>,
    expires: Option<Expiry>,
}

/// When an item expires: not before `from` and not after `until`, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Expiry {
    from: u64,
    until: u64,
}

/// memcached counts whole seconds, by a clock that ticks once a second and is late after a pause.
const TOLERANCE: u64 = 2_000_000_000;

impl Expiry {
    /// Of an item that was stored for so many seconds by `step`.
    fn of(seconds: u32, step: &Step) -> Self {
        let life = u64::from(seconds) * 1_000_000_000;
        let from = (step.called + life).saturating_sub(TOLERANCE);
        Self { from, until: step.returned.saturating_add(life + TOLERANCE) }
    }
}

impl Model for Register {
    type State = State;
    type Operation = Step;

    fn initial(&self) -> State {
        None
    }

    fn step(&self, state: &State, step: &Step) -> Option<State> {
        let Action::Command(command) = &step.action else { return Some(None) };
        let expiry = state.as_ref().and_then(|stored| stored.expires);
        let may_be_there = expiry.is_none_or(|expiry| step.called <= expiry.until);
        let may_be_gone = expiry.is_some_and(|expiry| step.returned >= expiry.from);
        let run = |state: &State| self.run(state, command, step);
        // What nobody has seen the outcome of may also never have been carried out: it is told by what it changes.
        let useful = |next: &State| step.outcome.is_some() || next != state;
        let there = may_be_there.then(|| run(state)).flatten();
        let gone = may_be_gone.then(|| run(&None)).flatten();
        match (there, gone) {
            (Some(there), gone) if useful(&there) || gone.is_none() => Some(there),
            (_, gone @ Some(_)) => gone,
            (there, None) => there,
        }
    }
}

impl Register {
    /// The state after `command`, if it ends as `step` says.
    fn run(self, state: &State, command: &Command, step: &Step) -> Option<State> {
        if let (true, Command::Cas(item, _), Some(Stored { cas: None, .. })) =
            (self.uniques_recur, command, state)
            && step.outcome != Some(Outcome::Exists)
        {
            return matches!(step.outcome, None | Some(Outcome::Done)).then(|| fresh(item, None));
        }
        let (expected, mut next) = execute(state, command);
        if let (Command::SetFor(_, seconds), Some(stored)) = (command, &mut next) {
            stored.expires = Some(Expiry::of(*seconds, step));
        }
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

fn fresh(item: &Item, expires: Option<Expiry>) -> State {
    Some(Stored { item: item.clone(), cas: None, expires })
}

/// Whether both are the same; `decr` may leave spaces behind a number that became shorter.
fn number_of(stored: &[u8], seen: &[u8]) -> bool {
    seen.trim_ascii_end() == stored.trim_ascii_end()
}

/// What a server answers, and what it holds then.
fn execute(state: &State, command: &Command) -> (Outcome, State) {
    let changed = |stored: &Stored, value: Vec<u8>| {
        (Outcome::Done, fresh(&Item::new(stored.item.flags, value), stored.expires))
    };
    match (command, state) {
        (Command::Set(item) | Command::SetFor(item, _), _)
        | (Command::Add(item), None)
        | (Command::Replace(item), Some(_)) => (Outcome::Done, fresh(item, None)),
        (Command::Add(_), Some(_))
        | (Command::Replace(_) | Command::Append(_) | Command::Prepend(_), None) => {
            (Outcome::NotStored, state.clone())
        }
        (Command::Append(value), Some(stored)) => changed(stored, [&stored.item.value[..], value].concat()),
        (Command::Prepend(value), Some(stored)) => changed(stored, [&value[..], &stored.item.value].concat()),
        (Command::Cas(item, unique), Some(stored)) if stored.cas == Some(*unique) => {
            (Outcome::Done, fresh(item, None))
        }
        (Command::Cas(..), Some(_)) => (Outcome::Exists, state.clone()),
        (Command::Increment(by), Some(stored)) => count(stored, |number| number.wrapping_add(*by)),
        (Command::Decrement(by), Some(stored)) => count(stored, |number| number.saturating_sub(*by)),
        (Command::Delete, Some(_)) => (Outcome::Done, None),
        (Command::Touch, Some(stored)) => (Outcome::Done, Some(kept(stored))),
        (Command::Get | Command::Gets, Some(stored)) => (value_of(stored), state.clone()),
        (Command::Gat, Some(stored)) => (value_of(stored), Some(kept(stored))),
        (_, None) => (Outcome::Absent, None),
    }
}

fn value_of(stored: &Stored) -> Outcome {
    Outcome::Value { item: stored.item.clone(), cas: stored.cas }
}

/// The item, which is not to expire any more.
fn kept(stored: &Stored) -> Stored {
    Stored { expires: None, ..stored.clone() }
}

fn count(stored: &Stored, change: impl Fn(u64) -> u64) -> (Outcome, State) {
    let text = std::str::from_utf8(&stored.item.value).ok();
    let Some(number) = text.and_then(|text| text.trim_end().parse().ok()).map(change) else {
        return (Outcome::NotANumber, Some(stored.clone()));
    };
    let item = Item::new(stored.item.flags, number.to_string());
    (Outcome::Number(number), fresh(&item, stored.expires))
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
                operation: Step::command(command, Some(outcome)),
                called: 10 * index as u64,
                returned: Some(10 * index as u64 + 5),
            })
            .collect();
        search(&Register::default(), &history, 10_000)
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

    const REGISTER: Register = Register { uniques_recur: false };
    const SECOND: u64 = 1_000_000_000;

    /// A value that was stored for a second, and then a command after so many seconds.
    fn then(seconds: u64, command: Command, outcome: Outcome) -> Option<State> {
        let step = |command, outcome, called| Step {
            called,
            returned: called + SECOND / 100,
            ..Step::command(command, Some(outcome))
        };
        let stored = REGISTER.step(&None, &step(Command::SetFor(Item::new(0, "1"), 1), Outcome::Done, 0));
        REGISTER.step(&stored.unwrap(), &step(command, outcome, seconds * SECOND))
    }

    #[test]
    fn what_expires_is_gone_in_time_and_stays_so() {
        assert!(then(1, Command::Get, value("1", None)).unwrap().is_some());
        assert_eq!(then(1, Command::Get, Outcome::Absent), Some(None));
        assert_eq!(then(4, Command::Get, value("1", None)), None);
        assert_eq!(then(4, Command::Get, Outcome::Absent), Some(None));
        assert!(then(1, Command::Add(Item::new(0, "2")), Outcome::Done).unwrap().is_some());
        let touched = then(1, Command::Touch, Outcome::Done).unwrap();
        let late = Step { called: 9 * SECOND, ..Step::command(Command::Get, Some(value("1", None))) };
        assert_eq!(REGISTER.step(&touched, &late), Some(touched));
    }

    #[test]
    fn what_was_lost_is_gone_and_uniques_may_recur() {
        let loss = Step { action: Action::Loss, ..Step::command(Command::Get, None) };
        let stored = REGISTER.step(&None, &Step::command(set("1"), Some(Outcome::Done))).unwrap();
        assert_eq!(REGISTER.step(&stored, &loss), Some(None));
        let cas = Step::command(Command::Cas(Item::new(0, "2"), 7), Some(Outcome::Done));
        assert_eq!(REGISTER.step(&stored, &cas), None);
        assert!(Register { uniques_recur: true }.step(&stored, &cas).unwrap().is_some());
    }
}
