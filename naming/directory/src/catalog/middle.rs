//! Where a shard is to be split.
//!
//! Each half should have about as many names as the other, and what belongs together should stay together: the chunks of
//! a block, the segments of a stream, all that is under a prefix. So a shard is not split at its middle name, but at the
//! shortest prefix of that name that leaves at least a quarter of all names before it: no more is divided than the
//! halves' sizes ask for, and where the two meet is easily said. Names of nodes are never divided from one another.

use naming::{Component, Name, NameRef};

use super::Catalog;

/// One of so many parts has to stand before a cut.
const LEAST_PART: usize = 4;

/// Names in order, counted.
struct Counted {
    /// In order, with how many names stand before each; of a run the first one.
    names: Vec<(Name, usize)>,
    all: usize,
}

impl Catalog {
    /// A name to split the shard at: about half of its names are before it. `None` if they cannot be divided. About as much
    /// work as a thousandth of the copies and all other items ask for.
    pub fn middle(&self) -> Option<Name> {
        let counted = Counted::of(self);
        let middle = counted.middle()?;
        let least = counted.all.div_ceil(LEAST_PART).max(1);
        let mut prefixes = (1..=middle.len()).map(|len| middle.prefix(len));
        let found = prefixes.find(|at| counted.before(*at) >= least && !divides_nodes(*at));
        // All nodes may be more than a quarter: then what is behind them.
        let behind = || {
            let name = counted
                .names
                .iter()
                .map(|(name, _)| name.as_name())
                .find(|name| *name > middle && !divides_nodes(*name))?;
            (1..=name.len()).map(|len| name.prefix(len)).find(|at| *at > middle && !divides_nodes(*at))
        };
        found.or_else(behind).map(NameRef::to_name)
    }
}

/// Whether a split there would divide the names of nodes, which are renewed and listed together.
pub fn divides_nodes(at: NameRef<'_>) -> bool {
    let mut components = at.components();
    components.next() == Some(Component::generic(b"node")) && components.next().is_some()
}

impl Counted {
    fn of(catalog: &Catalog) -> Self {
        let mut runs = catalog.copies.runs();
        runs.extend(catalog.nodes.table.iter().map(|(name, _)| (name.clone(), 1)));
        runs.extend(catalog.authorities.iter().map(|(name, _)| (name.clone(), 1)));
        runs.extend(catalog.records.iter().flat_map(|table| table.iter().map(|(name, _)| (name.clone(), 1))));
        // Of runs that stand in order a stable sort makes one pass each.
        runs.sort_by(|one, other| one.0.cmp(&other.0));
        let mut all = 0;
        let names = runs.into_iter().map(|(name, len)| {
            let before = all;
            all += len;
            (name, before)
        });
        Self { names: names.collect(), all }
    }

    /// How many names stand before `at`, about.
    fn before(&self, at: NameRef<'_>) -> usize {
        let place = self.names.partition_point(|(name, _)| name.as_name() < at);
        self.names.get(place).map_or(self.all, |(_, before)| *before)
    }

    /// The first name with at least half of all before it; the last one, if there is none.
    fn middle(&self) -> Option<NameRef<'_>> {
        let place = self.names.partition_point(|(_, before)| before * 2 < self.all);
        let (name, _) = self.names.get(place).or(self.names.last())?;
        Some(name.as_name())
    }
}
