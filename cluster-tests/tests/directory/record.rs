//! The model: a record of the directory is a register with a revision that rises with each change.

use cluster_tests::linearizability::Model;

/// A record under one name.
pub(crate) struct Register;

/// What was asked. Values differ, each from all others.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    /// With `expected`: only if the record has that revision; 0: if there is none.
    Put {
        value: u64,
        expected: Option<u64>,
    },
    Read,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    Stored {
        revision: u64,
    },
    Conflict {
        revision: u64,
    },
    /// Value and revision.
    Found(Option<(u64, u64)>),
}

/// An operation; without an outcome its client does not know it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) operation: Operation,
    pub(crate) outcome: Option<Outcome>,
}

/// Value, and revision once a client has seen it.
type State = Option<(u64, Option<u64>)>;

impl Model for Register {
    type State = State;
    type Operation = Step;

    fn initial(&self) -> State {
        None
    }

    fn step(&self, state: &State, step: &Step) -> Option<State> {
        let revision = state.map_or(Some(0), |(_, revision)| revision);
        match (step.operation, step.outcome) {
            (Operation::Put { expected, .. }, Some(Outcome::Conflict { revision: seen })) => {
                let conflicts = expected.is_some_and(|expected| expected != seen);
                let fits = revision.is_none_or(|revision| revision == seen);
                (conflicts && fits).then(|| state.map(|(value, _)| (value, Some(seen))))
            }
            (Operation::Put { value, expected }, outcome) => {
                let fits =
                    expected.is_none_or(|expected| revision.is_none_or(|revision| revision == expected));
                match outcome {
                    Some(Outcome::Stored { revision: stored }) => {
                        (fits && revision < Some(stored)).then_some(Some((value, Some(stored))))
                    }
                    None if fits => Some(Some((value, None))),
                    _ => None,
                }
            }
            (Operation::Read, Some(Outcome::Found(found))) => match (*state, found) {
                (None, None) => Some(None),
                (Some((value, revision)), Some((seen, seen_revision))) => {
                    let same = value == seen && revision.is_none_or(|revision| revision == seen_revision);
                    same.then_some(Some((value, Some(seen_revision))))
                }
                _ => None,
            },
            // A read that told nobody anything.
            (Operation::Read, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use cluster_tests::linearizability::{Interval, Verdict, search};

    use super::*;

    fn verdict(steps: &[(Operation, Option<Outcome>)]) -> Verdict {
        let at = |index: usize| index as u64 * 10;
        let interval = |(index, (operation, outcome)): (usize, &(Operation, Option<Outcome>))| Interval {
            operation: Step { operation: *operation, outcome: *outcome },
            called: at(index),
            returned: outcome.map(|_| at(index) + 5),
        };
        let history: Vec<_> = steps.iter().enumerate().map(interval).collect();
        search(&Register, &history, 1000)
    }

    fn put(value: u64, revision: u64) -> (Operation, Option<Outcome>) {
        (Operation::Put { value, expected: None }, Some(Outcome::Stored { revision }))
    }

    fn read(found: Option<(u64, u64)>) -> (Operation, Option<Outcome>) {
        (Operation::Read, Some(Outcome::Found(found)))
    }

    #[test]
    fn lost_writes_and_stale_reads_are_noticed() {
        let lost = (Operation::Put { value: 2, expected: None }, None);
        let conflict =
            (Operation::Put { value: 3, expected: Some(5) }, Some(Outcome::Conflict { revision: 7 }));
        assert_eq!(verdict(&[put(1, 5), read(Some((1, 5))), put(2, 7), conflict]), Verdict::Linearizable);
        assert_eq!(
            verdict(&[put(1, 5), lost, read(Some((1, 5))), read(Some((2, 6)))]),
            Verdict::Linearizable
        );
        assert!(matches!(verdict(&[put(1, 5), read(None)]), Verdict::Violation { .. }), "lost");
        assert!(
            matches!(verdict(&[put(1, 5), put(2, 7), read(Some((1, 5)))]), Verdict::Violation { .. }),
            "stale"
        );
        assert!(matches!(verdict(&[put(1, 5), put(2, 4)]), Verdict::Violation { .. }), "revisions rise");
    }
}
