//! One shard becomes two.

use naming::NameRef;

use super::changes::History;
use super::nodes::Nodes;
use super::refusal::{self, Reason};
use super::{Catalog, Counters};

impl Catalog {
    /// Keeps the names before `at` and gives those from it on. Both halves know all clients, so that a
    /// command that was executed before is not executed again by either.
    pub(super) fn split(&mut self, at: NameRef<'_>) -> Result<Self, Reason> {
        let (left, right) = self.range.split(at).ok_or_else(|| refusal::wrong_shard(&self.range))?;
        let name = at.to_name();
        let nodes = self.nodes.table.split_off(&name);
        let right = Self {
            version: self.version,
            range: right,
            position: self.position,
            time: self.time,
            nodes: Nodes::of(nodes, self.time),
            authorities: self.authorities.split_off(&name),
            records: self.records.each_mut().map(|table| table.split_off(&name)),
            copies: self.copies.split_off(at),
            sessions: self.sessions.clone(),
            history: History::new(self.history_bytes, self.position),
            history_bytes: self.history_bytes,
            counters: Counters::default(),
        };
        self.nodes = Nodes::of(self.nodes.table.clone(), self.time);
        self.range = left;
        Ok(right)
    }
}
