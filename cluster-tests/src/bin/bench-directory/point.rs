//! What the directories are asked to do.

use std::fmt;

use serde::{Serialize, Serializer};

/// Names of a batch: the operations that etcd takes in one transaction, unless it is told to take more.
pub(crate) const BATCH: usize = 128;
/// Watchers of a prefix.
pub(crate) const WATCHERS: usize = 100;

/// One kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Point {
    /// Every client publishes so many new names at a time, and waits for each time.
    Publish(usize),
    /// The same, each over a connection of its own.
    PublishAlone(usize),
    /// Every client asks for one name at a time; an answer is not older than what was acknowledged before.
    Resolve,
    /// The same, each over a connection of its own.
    ResolveAlone,
    /// The same, of whatever the member that is asked has.
    ResolveLocal,
    /// One client publishes so many new names at a time; the next ones when all watchers have seen them.
    Watch(usize),
}

impl Point {
    /// All, in the order in which they are measured. Batches come last: for every read etcd 3.4 copies a buffer that has
    /// the size of the most that it ever wrote within 100 ms, so that reads after a bulk load cost it three times as much.
    pub(crate) const ALL: [Point; 8] = [
        Point::Resolve,
        Point::ResolveAlone,
        Point::ResolveLocal,
        Point::Publish(1),
        Point::PublishAlone(1),
        Point::Watch(1),
        Point::Publish(BATCH),
        Point::Watch(BATCH),
    ];

    /// Names, or names seen by watchers, for each answer.
    pub(crate) fn names_per_answer(self) -> usize {
        match self {
            Point::Publish(names) | Point::PublishAlone(names) => names,
            Point::Resolve | Point::ResolveAlone | Point::ResolveLocal => 1,
            Point::Watch(names) => names * WATCHERS,
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Point::Publish(1) => f.pad("publish"),
            Point::Publish(names) => f.pad(&format!("publish x {names}")),
            Point::PublishAlone(1) => f.pad("publish, alone"),
            Point::PublishAlone(names) => f.pad(&format!("publish x {names}, alone")),
            Point::Resolve => f.pad("resolve"),
            Point::ResolveAlone => f.pad("resolve, alone"),
            Point::ResolveLocal => f.pad("resolve, local"),
            Point::Watch(1) => f.pad("watch"),
            Point::Watch(names) => f.pad(&format!("watch x {names}")),
        }
    }
}

impl Serialize for Point {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
