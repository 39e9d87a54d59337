//! Which shard answers for a name, and who replicates it: as far as this client knows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use naming::{Name, NameRef, NodeId};
use naming_directory::Position;

use crate::wire;

/// A shard of the directory. Written as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u64);

impl ShardId {
    /// The shard that a directory begins with.
    pub const FIRST: ShardId = ShardId(1);

    /// The shard that is split off from this one by this entry of its log: the same at all replicas.
    pub fn split_off(self, entry: Position) -> Self {
        // The finalizer of SplitMix64, so that ids of splits of different shards do not meet.
        let mut mixed = self.0.rotate_left(32) ^ entry.index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self((mixed ^ (mixed >> 31)).max(2))
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for ShardId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

/// What is known of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    pub(crate) id: ShardId,
    pub(crate) from: Name,
    pub(crate) until: Option<Name>,
    /// Voters and learners.
    pub(crate) members: Vec<NodeId>,
    pub(crate) leader: Option<NodeId>,
    /// How new this is: the entry by which it was so.
    applied: u64,
}

impl Shard {
    fn of_wire(message: &wire::Shard) -> Option<Self> {
        let name = |bytes: &[u8]| NameRef::from_bytes(bytes).map(NameRef::to_name).ok();
        let members: BTreeSet<NodeId> = [&message.voters, &message.learners, &message.outgoing]
            .into_iter()
            .flatten()
            .filter_map(|node| NodeId::new(*node))
            .collect();
        Some(Self {
            id: ShardId(message.shard),
            from: name(&message.from)?,
            until: message.until.as_ref().map(|until| name(until)).transpose_none()?,
            members: members.into_iter().collect(),
            leader: NodeId::new(message.leader),
            applied: message.applied,
        })
        // A replica that has no snapshot yet knows no members, and nothing of the names.
        .filter(|shard| !shard.members.is_empty())
    }

    fn contains(&self, name: NameRef<'_>) -> bool {
        self.from.as_name() <= name && self.until.as_ref().is_none_or(|until| name < until.as_name())
    }
}

/// `Option<Option<T>>` the other way round: `None` if what is there is wrong.
trait TransposeNone<T> {
    fn transpose_none(self) -> Option<Option<T>>;
}

impl<T> TransposeNone<T> for Option<Option<T>> {
    fn transpose_none(self) -> Option<Option<T>> {
        match self {
            None => Some(None),
            Some(inner) => inner.map(Some),
        }
    }
}

/// The shards this client knows of.
#[derive(Debug, Default)]
pub(crate) struct ShardMap {
    shards: BTreeMap<ShardId, Shard>,
    /// Whom to ask when nothing is known.
    seeds: BTreeSet<NodeId>,
}

impl ShardMap {
    pub(crate) fn new(seeds: impl IntoIterator<Item = NodeId>) -> Self {
        Self { shards: BTreeMap::new(), seeds: seeds.into_iter().collect() }
    }

    /// The shard of a name. While a split gets around, two claim it: the one that was split off is right.
    pub(crate) fn find(&self, name: NameRef<'_>) -> Option<&Shard> {
        self.shards
            .values()
            .filter(|shard| shard.contains(name))
            .max_by(|one, other| one.from.cmp(&other.from))
    }

    pub(crate) fn shard(&self, id: ShardId) -> Option<&Shard> {
        self.shards.get(&id)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Shard> {
        self.shards.values()
    }

    /// Everybody who may know more.
    pub(crate) fn contacts(&self) -> BTreeSet<NodeId> {
        let members = self.shards.values().flat_map(|shard| shard.members.iter().copied());
        self.seeds.iter().copied().chain(members).collect()
    }

    /// Takes what a server says.
    pub(crate) fn learn(&mut self, message: &wire::Shard) {
        let Some(mut shard) = Shard::of_wire(message) else { return };
        let known = self.shards.get(&shard.id);
        if known.is_some_and(|known| known.applied > shard.applied) {
            return;
        }
        shard.leader = shard.leader.or(known.and_then(|known| known.leader));
        self.shards.insert(shard.id, shard);
    }

    pub(crate) fn note_leader(&mut self, id: ShardId, leader: Option<NodeId>) {
        if let Some(shard) = self.shards.get_mut(&id) {
            shard.leader = leader;
        }
    }

    pub(crate) fn forget(&mut self, id: ShardId) {
        self.shards.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn shard(id: u64, from: &str, until: Option<&str>, applied: u64) -> wire::Shard {
        wire::Shard {
            shard: id,
            from: name(from).as_bytes().to_vec().into(),
            until: until.map(|until| name(until).as_bytes().to_vec().into()),
            voters: vec![id, id + 1],
            applied,
            ..wire::Shard::default()
        }
    }

    #[test]
    fn a_shard_that_was_split_off_is_found_before_the_split_is_known_everywhere() {
        let mut map = ShardMap::new(NodeId::new(9));
        let find = |map: &ShardMap, text: &str| map.find(name(text).as_name()).map(|shard| shard.id.0);
        assert_eq!(find(&map, "/a"), None);
        map.learn(&shard(1, "/", None, 10));
        map.learn(&shard(5, "/m", None, 3));
        assert_eq!((find(&map, "/a"), find(&map, "/m/x")), (Some(1), Some(5)));
        map.learn(&shard(1, "/", Some("/m"), 11));
        // Older news change nothing.
        map.learn(&shard(1, "/", None, 10));
        map.forget(ShardId(5));
        assert_eq!((find(&map, "/a"), find(&map, "/m/x")), (Some(1), None));
        assert_eq!(map.contacts().into_iter().map(NodeId::get).collect::<Vec<_>>(), [1, 2, 9]);
    }

    #[test]
    fn splits_have_ids_of_their_own() {
        let split = |shard: u64, index| ShardId(shard).split_off(Position::new(1, index));
        let ids: BTreeSet<ShardId> =
            (1..50).flat_map(|shard| (1..50).map(move |index| split(shard, index))).collect();
        assert_eq!(ids.len(), 49 * 49);
        assert!(
            "00000000000000ff".parse() == Ok(ShardId(255)) && ShardId(255).to_string() == "00000000000000ff"
        );
    }
}
