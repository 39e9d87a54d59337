//! A network between nodes: messages are lost, doubled, delayed and so reordered; links are cut, one way or
//! both.

use std::collections::BTreeSet;

use cluster_tests::random::Random;
use naming::NodeId;

/// Microseconds.
pub(crate) type Micros = u64;

#[derive(Clone, Debug)]
pub(crate) struct Network {
    /// From whom to whom nothing passes.
    cut: BTreeSet<(NodeId, NodeId)>,
    /// Of a thousand messages.
    lost: usize,
    doubled: usize,
    late: usize,
}

impl Network {
    pub(crate) fn new() -> Self {
        Self { cut: BTreeSet::new(), lost: 0, doubled: 0, late: 0 }
    }

    /// When each copy of a message arrives: none if it is lost.
    pub(crate) fn pass(&self, from: NodeId, to: NodeId, random: &mut Random) -> Vec<Micros> {
        if self.cut.contains(&(from, to)) {
            return Vec::new();
        }
        self.pass_client(random)
    }

    /// The same between a client and a node: links to clients are not cut.
    pub(crate) fn pass_client(&self, random: &mut Random) -> Vec<Micros> {
        if random.below(1000) < self.lost {
            return Vec::new();
        }
        let copies = 1 + usize::from(random.below(1000) < self.doubled);
        (0..copies).map(|_| self.delay(random)).collect()
    }

    fn delay(&self, random: &mut Random) -> Micros {
        let most = if random.below(1000) < self.late { 400_000 } else { 4_000 };
        100 + random.below(most) as Micros
    }

    pub(crate) fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cut.insert((from, to));
    }

    pub(crate) fn heal_links(&mut self) {
        self.cut.clear();
    }

    pub(crate) fn set_weather(&mut self, lost: usize, doubled: usize, late: usize) {
        (self.lost, self.doubled, self.late) = (lost, doubled, late);
    }
}
