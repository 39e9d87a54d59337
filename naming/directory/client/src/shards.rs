//! Which shard answers for a name, and who replicates it: as far as this client knows.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use naming::{Name, NameRef, NodeId};
use naming_directory::ShardId;

use crate::wire;

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
        let members: BTreeSet<NodeId> = message.members().collect();
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
    shards: BTreeMap<ShardId, Arc<Shard>>,
    /// Of those, by their first names.
    by_name: BTreeMap<Name, ShardId>,
    /// Whom to ask when nothing is known.
    seeds: BTreeSet<NodeId>,
    /// By which entries shards were said to have members that they have no more.
    wrong: BTreeMap<ShardId, u64>,
}

impl ShardMap {
    pub(crate) fn new(seeds: impl IntoIterator<Item = NodeId>) -> Self {
        Self { seeds: seeds.into_iter().collect(), ..Self::default() }
    }

    /// The shard of a name. While a split gets around, two claim it: the one that was split off is right.
    pub(crate) fn find(&self, name: NameRef<'_>) -> Option<&Arc<Shard>> {
        let upto = (Bound::Unbounded, Bound::Included(name.as_bytes()));
        let mut before = self.by_name.range::<[u8], _>(upto).rev().filter_map(|(_, id)| self.shards.get(id));
        before.find(|shard| shard.contains(name))
    }

    pub(crate) fn shard(&self, id: ShardId) -> Option<&Arc<Shard>> {
        self.shards.get(&id)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Shard> {
        self.shards.values().map(|shard| &**shard)
    }

    /// Everybody who may know more.
    pub(crate) fn contacts(&self) -> BTreeSet<NodeId> {
        let members = self.shards.values().flat_map(|shard| shard.members.iter().copied());
        self.seeds.iter().copied().chain(members).collect()
    }

    /// What this knows of a shard, for whoever looks for it: its names, its members (as voters), and who leads.
    pub(crate) fn hearsay(&self, id: ShardId) -> Option<wire::Shard> {
        let shard = self.shards.get(&id)?;
        let bytes = |name: &Name| name.as_bytes().to_vec().into();
        Some(wire::Shard {
            shard: id.0,
            from: bytes(&shard.from),
            until: shard.until.as_ref().map(bytes),
            voters: shard.members.iter().map(|member| member.get()).collect(),
            leader: shard.leader.map_or(0, NodeId::get),
            applied: shard.applied,
            ..wire::Shard::default()
        })
    }

    /// Takes what a server has heard of a shard, unless that is what was found to be wrong.
    pub(crate) fn hear(&mut self, message: &wire::Shard) {
        if self.wrong.get(&ShardId(message.shard)).is_none_or(|wrong| *wrong < message.applied) {
            self.learn(message);
        }
    }

    /// Takes what a server says.
    pub(crate) fn learn(&mut self, message: &wire::Shard) {
        let Some(mut shard) = Shard::of_wire(message) else { return };
        let known = self.shards.get(&shard.id);
        if known.is_some_and(|known| known.applied > shard.applied) {
            return;
        }
        shard.leader = shard.leader.or(known.and_then(|known| known.leader));
        self.wrong.remove(&shard.id);
        self.forget(shard.id);
        self.by_name.insert(shard.from.clone(), shard.id);
        self.shards.insert(shard.id, Arc::new(shard));
    }

    pub(crate) fn note_leader(&mut self, id: ShardId, leader: Option<NodeId>) {
        if let Some(shard) = self.shards.get_mut(&id) {
            Arc::make_mut(shard).leader = leader;
        }
    }

    pub(crate) fn forget(&mut self, id: ShardId) -> Option<Arc<Shard>> {
        let shard = self.shards.remove(&id)?;
        if self.by_name.get(&shard.from) == Some(&id) {
            self.by_name.remove(&shard.from);
        }
        Some(shard)
    }

    /// Forgets it, since a member that it is said to have is none. Who says so once more is as wrong.
    pub(crate) fn disbelieve(&mut self, id: ShardId) {
        if let Some(shard) = self.forget(id) {
            self.wrong.insert(id, shard.applied);
        }
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
    fn what_was_wrong_is_not_heard_again() {
        let mut map = ShardMap::new(NodeId::new(9));
        map.learn(&shard(5, "/m", None, 10));
        let heard = map.hearsay(ShardId(5)).unwrap();
        assert_eq!((&heard.voters[..], heard.applied), (&[5, 6][..], 10));
        map.disbelieve(ShardId(5));
        map.hear(&heard);
        assert_eq!(map.shard(ShardId(5)), None);
        map.hear(&wire::Shard { applied: 11, ..heard.clone() });
        assert!(map.shard(ShardId(5)).is_some());
        map.disbelieve(ShardId(5));
        map.learn(&heard);
        assert!(map.shard(ShardId(5)).is_some(), "whoever has a replica knows");
    }
}
