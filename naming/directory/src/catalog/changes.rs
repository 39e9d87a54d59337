//! What commands changed, for those who watch.
//!
//! Each change says how things are now, not how they differ: whoever sees one twice, or after a newer
//! listing, comes to the same result. A bounded history lets a watcher that lost its connection go on where
//! it was; if that is too long ago, it is told so, lists its prefix, and watches from there.

use std::collections::VecDeque;
use std::sync::Arc;

use naming::{Digest, Location, Name, NameRef, NodeId};

use super::records::{Record, RecordKind};
use crate::Position;

/// What one entry of the log changed.
#[derive(Debug, PartialEq, Eq)]
pub struct Changes {
    /// The entry.
    pub position: Position,
    /// In the order in which they took place.
    pub events: Vec<Event>,
}

/// A change under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What changed.
    pub name: Name,
    /// How it is now.
    pub change: Change,
}

/// How something is after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants' docs say it")]
pub enum Change {
    /// A node lives, at these addresses, in this epoch. The name is the node's.
    NodeUp { location: Location, epoch: u64 },
    /// A node's lease ended, or it was removed. The name is the node's.
    NodeDown { node: NodeId, epoch: u64 },
    /// The record of a kind under the name; `None`: there is none any more.
    Record { kind: RecordKind, record: Option<Record> },
    /// Who answers for the names under the prefix; `None`: the holder gave it back.
    Authority { node: Option<NodeId>, term: u64 },
    /// A node holds a copy.
    Copy { node: NodeId, digest: Digest, length: u64 },
    /// A node holds its copy no more.
    CopyGone { node: NodeId },
    /// A node holds no copies any more, of any name of the shard. The name is the shard's first.
    HolderRetired { node: NodeId },
    /// The names from this one on are another shard's now.
    Split,
}

impl Event {
    pub(super) fn new(name: &Name, change: Change) -> Self {
        Self { name: name.clone(), change }
    }

    /// Whether it is of interest to whoever watches `prefix`.
    pub fn concerns(&self, prefix: NameRef<'_>) -> bool {
        match self.change {
            Change::HolderRetired { .. } => true,
            // Some names under the prefix may stand behind it.
            Change::Split => {
                prefix.starts_with(self.name.as_name()) || self.name.as_name() <= prefix || {
                    self.name.as_name().starts_with(prefix)
                }
            }
            _ => self.name.as_name().starts_with(prefix),
        }
    }

    /// Bytes of memory, about.
    fn weight(&self) -> usize {
        let value = match &self.change {
            Change::Record { record: Some(record), .. } => record.value.len(),
            _ => 0,
        };
        size_of::<Self>() + self.name.as_bytes().len() + value
    }
}

/// What was asked for is older than what is remembered: list the prefix, and watch from where the listing
/// stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "changes after entry {asked} are not known any more, only those after {oldest}: list the prefix and watch from there"
)]
pub struct Gap {
    /// After which changes were asked for.
    pub asked: Position,
    /// After which they are known.
    pub oldest: Position,
}

/// Recent changes. Not part of the replicated state: replicas may remember more or less.
#[derive(Clone, Debug)]
pub(super) struct History {
    changes: VecDeque<Arc<Changes>>,
    weight: usize,
    capacity: usize,
    /// All changes after this entry are here.
    oldest: Position,
}

impl History {
    /// Remembers up to `capacity` bytes of changes after `oldest`.
    pub(super) fn new(capacity: usize, oldest: Position) -> Self {
        Self { changes: VecDeque::new(), weight: 0, capacity, oldest }
    }

    pub(super) fn push(&mut self, changes: Arc<Changes>) {
        self.weight += weight(&changes);
        self.changes.push_back(changes);
        while self.weight > self.capacity
            && let Some(forgotten) = self.changes.pop_front()
        {
            self.weight -= weight(&forgotten);
            self.oldest = forgotten.position;
        }
    }

    /// The changes after `asked`, oldest first.
    pub(super) fn since(&self, asked: Position) -> Result<impl Iterator<Item = &Arc<Changes>>, Gap> {
        let first = self.changes.partition_point(|changes| changes.position.index <= asked.index);
        // A watcher may come from another log: a restored backup, say.
        let known = first.checked_sub(1).map_or(self.oldest, |last| self.changes[last].position);
        let other = known.index == asked.index && known.term != asked.term;
        if asked.index < self.oldest.index || other {
            return Err(Gap { asked, oldest: self.oldest });
        }
        Ok(self.changes.range(first..))
    }
}

fn weight(changes: &Changes) -> usize {
    size_of::<Changes>() + changes.events.iter().map(Event::weight).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn changes(term: u64, index: u64) -> Arc<Changes> {
        let event = Event::new(&name("/a/b"), Change::CopyGone { node: NodeId::new(1).unwrap() });
        Arc::new(Changes { position: Position::new(term, index), events: vec![event] })
    }

    fn indices(history: &History, term: u64, index: u64) -> Result<Vec<u64>, Gap> {
        let since = history.since(Position::new(term, index))?;
        Ok(since.map(|changes| changes.position.index).collect())
    }

    #[test]
    fn a_watcher_goes_on_or_is_told_of_the_gap() {
        let mut history = History::new(4 * weight(&changes(1, 1)), Position::new(1, 10));
        for index in [12, 13, 20, 21] {
            history.push(changes(1, index));
        }
        assert_eq!(indices(&history, 1, 10), Ok(vec![12, 13, 20, 21]));
        assert_eq!(indices(&history, 1, 13), Ok(vec![20, 21]));
        assert_eq!(indices(&history, 1, 15), Ok(vec![20, 21]));
        assert_eq!(indices(&history, 1, 21), Ok(vec![]));
        // Ahead of this replica.
        assert_eq!(indices(&history, 1, 30), Ok(vec![]));
        assert_eq!(indices(&history, 1, 9).unwrap_err().oldest, Position::new(1, 10));
        history.push(changes(2, 22));
        assert_eq!(indices(&history, 1, 11).unwrap_err().oldest, Position::new(1, 12));
        assert_eq!(indices(&history, 1, 12), Ok(vec![13, 20, 21, 22]));
        // The same place in another log.
        assert!(indices(&history, 7, 20).is_err() && indices(&history, 7, 12).is_err());
    }

    #[test]
    fn events_concern_prefixes() {
        let concerns = |event: &Event, prefix: &str| event.concerns(name(prefix).as_name());
        let gone = Event::new(&name("/a/b"), Change::CopyGone { node: NodeId::new(1).unwrap() });
        assert!(concerns(&gone, "/") && concerns(&gone, "/a") && concerns(&gone, "/a/b"));
        assert!(!concerns(&gone, "/a/b/c") && !concerns(&gone, "/b"));
        let retired = Event::new(&Name::root(), Change::HolderRetired { node: NodeId::new(1).unwrap() });
        assert!(concerns(&retired, "/x"));
        let split = Event::new(&name("/m/k"), Change::Split);
        for (prefix, concerned) in
            [("/", true), ("/m", true), ("/m/a", false), ("/m/k/x", true), ("/z", true)]
        {
            assert_eq!(concerns(&split, prefix), concerned, "{prefix}");
        }
    }
}
