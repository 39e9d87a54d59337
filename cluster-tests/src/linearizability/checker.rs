//! The search for a linearization.
//!
//! Wing and Gong's algorithm ("Testing and verifying concurrent objects", 1993) with Lowe's memoization of
//! configurations ("Testing for linearizability", 2017): calls and returns stand in one doubly linked list in the
//! order of their times; a call that the model accepts is tentatively linearized and lifted out; a return that is
//! met first means that the last tentative choice was wrong. A configuration (the set of linearized operations
//! and the state they lead to) is never explored twice.
//!
//! An operation without a return is *pending*: it may take effect at any time after its call, or never. The
//! search ends well once every operation that did return is linearized.

use std::collections::HashSet;
use std::hash::Hash;

/// A sequential object. Steps are deterministic.
pub trait Model {
    /// Its state.
    type State: Clone + Eq + Hash;
    /// An operation with what is known of its outcome.
    type Operation;

    /// The state before the first operation.
    fn initial(&self) -> Self::State;

    /// The state after `operation`, or `None` if its outcome contradicts `state`.
    fn step(&self, state: &Self::State, operation: &Self::Operation) -> Option<Self::State>;
}

/// An operation and when it ran, by any clock that all of a history share.
#[derive(Clone, Debug)]
pub struct Interval<O> {
    /// What ran.
    pub operation: O,
    /// When it was called.
    pub called: u64,
    /// When it returned; `None` if it never did.
    pub returned: Option<u64>,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is a linearization.
    Linearizable,
    /// There is none.
    Violation {
        /// The longest partial linearization found: indices of operations, in order.
        longest: Vec<usize>,
        /// The operation that returned without a place after it.
        stuck: usize,
    },
    /// The budget of steps was spent first.
    Undecided,
}

/// An end of the list, and "none".
const NIL: usize = usize::MAX;

/// Searches for a linearization of `history` (in any order), trying at most `budget` steps of the model.
pub fn search<M: Model>(model: &M, history: &[Interval<M::Operation>], budget: u64) -> Verdict {
    let mut list = EventList::new(history);
    let mut waiting = history.iter().filter(|interval| interval.returned.is_some()).count();
    let mut linearized = BitSet::new(history.len());
    let mut seen = HashSet::new();
    let mut state = model.initial();
    let mut chosen: Vec<(usize, M::State)> = Vec::new();
    let mut longest = (Vec::new(), NIL);
    let mut steps = 0;
    let mut event = list.first();
    while waiting > 0 {
        let operation = list.operation(event);
        if list.is_call(event) {
            steps += 1;
            if steps > budget {
                return Verdict::Undecided;
            }
            if let Some(next) = model.step(&state, &history[operation].operation) {
                linearized.insert(operation);
                if seen.insert((linearized.clone(), next.clone())) {
                    chosen.push((operation, std::mem::replace(&mut state, next)));
                    waiting -= usize::from(history[operation].returned.is_some());
                    list.lift(operation);
                    event = list.first();
                    continue;
                }
                linearized.remove(operation);
            }
            event = list.next(event);
            continue;
        }
        if longest.1 == NIL || chosen.len() > longest.0.len() {
            longest = (chosen.iter().map(|choice| choice.0).collect(), operation);
        }
        let Some((undone, before)) = chosen.pop() else {
            return Verdict::Violation { longest: longest.0, stuck: longest.1 };
        };
        state = before;
        linearized.remove(undone);
        waiting += usize::from(history[undone].returned.is_some());
        list.restore(undone);
        event = list.next(list.call(undone));
    }
    Verdict::Linearizable
}

/// Calls and returns in the order of their times. Event `2n` is the call of operation `n`, `2n + 1` its return.
/// The last element of both vectors is the list's head.
struct EventList {
    next: Vec<usize>,
    previous: Vec<usize>,
    returns: Vec<bool>,
}

impl EventList {
    fn new<O>(history: &[Interval<O>]) -> Self {
        let calls = history.iter().enumerate().map(|(n, interval)| (interval.called, 0, 2 * n));
        let returns =
            history.iter().enumerate().filter_map(|(n, interval)| Some((interval.returned?, 1, 2 * n + 1)));
        let mut events: Vec<(u64, u8, usize)> = calls.chain(returns).collect();
        // At the same instant calls come first: such operations count as concurrent.
        events.sort_unstable();
        let head = 2 * history.len();
        let mut list = Self {
            next: vec![NIL; head + 1],
            previous: vec![NIL; head + 1],
            returns: history.iter().map(|interval| interval.returned.is_some()).collect(),
        };
        let mut last = head;
        for (_, _, event) in events {
            list.next[last] = event;
            list.previous[event] = last;
            last = event;
        }
        list
    }

    fn first(&self) -> usize {
        self.next[self.next.len() - 1]
    }

    fn next(&self, event: usize) -> usize {
        self.next[event]
    }

    fn operation(&self, event: usize) -> usize {
        event / 2
    }

    fn is_call(&self, event: usize) -> bool {
        event.is_multiple_of(2)
    }

    fn call(&self, operation: usize) -> usize {
        2 * operation
    }

    fn lift(&mut self, operation: usize) {
        self.unlink(2 * operation);
        if self.returns[operation] {
            self.unlink(2 * operation + 1);
        }
    }

    /// Undoes the last `lift`, which must have been of `operation`.
    fn restore(&mut self, operation: usize) {
        if self.returns[operation] {
            self.link(2 * operation + 1);
        }
        self.link(2 * operation);
    }

    fn unlink(&mut self, event: usize) {
        let (previous, next) = (self.previous[event], self.next[event]);
        self.next[previous] = next;
        if next != NIL {
            self.previous[next] = previous;
        }
    }

    /// The event still knows its neighbours.
    fn link(&mut self, event: usize) {
        let (previous, next) = (self.previous[event], self.next[event]);
        self.next[previous] = event;
        if next != NIL {
            self.previous[next] = event;
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct BitSet(Vec<u64>);

impl BitSet {
    fn new(len: usize) -> Self {
        Self(vec![0; len.div_ceil(64)])
    }

    fn insert(&mut self, index: usize) {
        self.0[index / 64] |= 1 << (index % 64);
    }

    fn remove(&mut self, index: usize) {
        self.0[index / 64] &= !(1 << (index % 64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A plain read-write register over small numbers.
    struct Plain;

    #[derive(Clone, Debug)]
    enum Access {
        Read(u8),
        Write(u8),
    }

    impl Model for Plain {
        type State = u8;
        type Operation = Access;

        fn initial(&self) -> u8 {
            0
        }

        fn step(&self, state: &u8, operation: &Access) -> Option<u8> {
            match operation {
                Access::Read(seen) => (seen == state).then_some(*state),
                Access::Write(value) => Some(*value),
            }
        }
    }

    fn at(called: u64, returned: impl Into<Option<u64>>, operation: Access) -> Interval<Access> {
        Interval { operation, called, returned: returned.into() }
    }

    use Access::{Read, Write};

    #[test]
    fn a_read_between_sees_either_value() {
        for seen in [0, 1] {
            let history = [at(0, 10, Write(1)), at(2, 5, Read(seen))];
            assert_eq!(search(&Plain, &history, 1000), Verdict::Linearizable);
        }
    }

    #[test]
    fn a_read_after_a_write_must_see_it() {
        let history = [at(0, 1, Write(1)), at(2, 3, Read(0))];
        assert_eq!(search(&Plain, &history, 1000), Verdict::Violation { longest: vec![0], stuck: 1 });
    }

    #[test]
    fn reads_must_not_go_back() {
        let history = [at(0, 10, Write(1)), at(2, 3, Read(1)), at(4, 5, Read(0))];
        assert!(matches!(search(&Plain, &history, 1000), Verdict::Violation { .. }));
    }

    #[test]
    fn a_pending_write_may_take_effect_late_or_never() {
        for seen in [[0, 1], [1, 1], [0, 0]] {
            let history = [at(0, None, Write(1)), at(100, 101, Read(seen[0])), at(200, 201, Read(seen[1]))];
            assert_eq!(search(&Plain, &history, 1000), Verdict::Linearizable);
        }
        let back = [at(0, None, Write(1)), at(100, 101, Read(1)), at(200, 201, Read(0))];
        assert!(matches!(search(&Plain, &back, 1000), Verdict::Violation { .. }));
    }

    #[test]
    fn a_pending_write_takes_effect_once() {
        let history = [at(0, None, Write(1)), at(10, 11, Read(1)), at(20, 21, Write(2)), at(30, 31, Read(1))];
        assert!(matches!(search(&Plain, &history, 1000), Verdict::Violation { .. }));
    }

    #[test]
    fn a_pending_write_takes_no_effect_before_its_call() {
        let history = [at(0, 1, Read(1)), at(2, None, Write(1))];
        assert!(matches!(search(&Plain, &history, 1000), Verdict::Violation { .. }));
    }

    #[test]
    fn the_budget_ends_the_search() {
        let history: Vec<_> =
            (0..20).map(|n| at(n, 100, Write(n as u8))).chain([at(200, 201, Read(99))]).collect();
        assert_eq!(search(&Plain, &history, 1000), Verdict::Undecided);
    }

    /// Tries every order of every subset that holds all completed operations.
    fn brute_force(history: &[Interval<Access>], done: &mut Vec<usize>, state: u8) -> bool {
        let left = |n: &usize| !done.contains(n);
        let open: Vec<usize> = (0..history.len()).filter(left).collect();
        if open.iter().all(|n| history[*n].returned.is_none()) {
            return true;
        }
        let earliest = open.iter().filter_map(|n| history[*n].returned).min().unwrap_or(u64::MAX);
        for n in open.into_iter().filter(|n| history[*n].called <= earliest) {
            let Some(next) = Plain.step(&state, &history[n].operation) else { continue };
            done.push(n);
            if brute_force(history, done, next) {
                return true;
            }
            done.pop();
        }
        false
    }

    fn access() -> impl Strategy<Value = Interval<Access>> {
        let operation = prop_oneof![(0..3u8).prop_map(Read), (0..3u8).prop_map(Write)];
        (operation, 0..12u64, prop::option::weighted(0.8, 0..8u64))
            .prop_map(|(operation, called, len)| at(called, len.map(|len| called + len), operation))
    }

    proptest! {
        #[test]
        fn agrees_with_brute_force(history in prop::collection::vec(access(), 0..7)) {
            let expected = brute_force(&history, &mut Vec::new(), 0);
            let found = search(&Plain, &history, u64::MAX) == Verdict::Linearizable;
            prop_assert_eq!(found, expected);
        }
    }
}
