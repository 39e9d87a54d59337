//! When a node with a new store may take part in a directory.
//!
//! A store is new because the node is, or because its disk was lost. In the second case others count on what the node
//! promised: that it has entries it acknowledged, that it votes once in a term. It does not know any more, so it must not
//! vote or acknowledge anything under that id again: entries could be lost that a majority had, the node among it. Nothing on
//! its disk tells the two cases apart. So it asks others before it takes part, and waits until they have said enough. A node
//! whose store has begun asks nobody.
//!
//! # Founders
//!
//! Each store has an id, drawn when it was made. Founders tell one another the ids of their stores.
//!
//! 1. A founder that knows the ids of all of them *writes them down*, durably and once in its store's life. From then on it
//!    tells that.
//! 2. It *founds* once it knows that all founders have written down the same: because each of them says so, or because one
//!    says so that has founded by this rule.
//!
//! So a founder votes with store `s` only after all others have `s` written down for it. With another store `t` it founds
//! only if all of them have `t` written down. Each of them writes down one of the two only, and would have to lose its disk
//! as well. A founder that lost its disk is therefore refused by any other that still has its own; as long as none
//! answers it waits.
//!
//! A founder that is late, since others founded while it was away, has what they wrote down on its disk, and has promised
//! nothing. It founds as they did, or waits to be added if it was removed since.
//!
//! All founders have to run once, at the beginning. A majority is not enough: a vote may be under way for as long as
//! its receiver stands still, and count together with those of founders that had not begun when they were asked.
//!
//! What is written down counts, whatever the configuration says later: to begin with other founders, all of them begin with new
//! stores.
//!
//! A node that founds alone has nobody who writes anything down. It asks its peers, and founds when none of them knows it as a
//! voter, nor has a shard without it, to which it then waits to be added. Those that are silent for [`ALONE_ROUNDS`] rounds of
//! questions it does without: that its disk was lost shows only if somebody answers by then. If it has no peers, it founds at once.
//!
//! # Nodes that wait to be added
//!
//! A node becomes a voter after it has caught up, so it has a shard by then. With a new store it is no voter of any shard; whoever
//! says that it is one knew it before its disk was lost. Until it has a shard,
//!
//! - it goes on asking, also those that others name as members, and is refused once one of them has it as a voter;
//! - it takes messages only of nodes that answered, and do not have it as a voter: nobody else can count it;
//! - it votes for nobody: those who ask for its vote have it as a voter.
//!
//! A founder that finds a directory of other founders in which it is unknown waits to be added to it.
//!
//! What this cannot know: whether a member that does not answer, or is behind, has the node as a voter. Filled by a
//! leader, such a node has all that was acknowledged; what it voted in the leader's term or a later one is lost. A second
//! leader by that vote is ruled out as long as leaders without a majority step down before the node is there again, as they
//! do within an election's time.
//!
//! # Releases
//!
//! A server that does not tell how it began is of a release that asked nobody: it has begun, and has nothing written down. A
//! founder that such a one has as a voter is refused, even if it is only late.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use naming::NodeId;
use naming_directory_client::{ShardId, wire};

use crate::store::{Founders, Identity, StoreId};

#[cfg(test)]
mod tests;

/// Rounds of questions, about a minute of them, after which a node that founds alone does without the answers of peers.
pub const ALONE_ROUNDS: u32 = 90;
/// Nodes that are asked since others name them; more are passed over.
const MAX_NAMED: usize = 512;
/// Nodes that are asked at most, those among them that sent messages; of more, messages are refused.
const MAX_ASKED: usize = 1024;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing: others are to be asked again.
    Wait,
    /// These founders are to be written down.
    WriteDown(Founders),
    /// The directory begins with these.
    Found(Founders),
    /// The node must not take part.
    Refuse(Refused),
}

/// Why a node must not take part in a directory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Refused {
    #[error(
        "this node's store is new, but node {by} has node {node} as a voter of shard {shard}: its disk was lost or emptied, and \
         what it promised with it; {}", Remedy(*.node)
    )]
    Voter { node: NodeId, by: NodeId, shard: ShardId },
    #[error(
        "this node's store is new, but node {by} has a directory that node {node} founded with another one: its disk was lost \
         or emptied, and what it promised with it; {}", Remedy(*.node)
    )]
    Founder { node: NodeId, by: NodeId },
    #[error(
        "node {by} is about to found a directory with a store that node {node} does not have any more: if no founder has a shard \
         yet (`smartswitch directory status`), empty the place for the directory's data at all founders, and start them again; \
         else {}", Remedy(*.node)
    )]
    Founding { node: NodeId, by: NodeId },
}

struct Remedy(NodeId);

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "do not start it under this id again: give it an `id` in [node] that no node had, with the files that `smartswitch \
             pki node DIR --id NEW` makes, start it, and at a member say `smartswitch directory add-node NEW --replace {}`",
            self.0
        )
    }
}

/// What a node waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Whom to ask next.
    pub ask: BTreeSet<NodeId>,
    /// Whether it may be added to a directory: others are to know then where it is.
    pub joins: bool,
    /// In words.
    pub text: String,
}

/// What another node said last.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    store: Option<StoreId>,
    begun: bool,
    written: Founders,
    /// A shard of which the asking node is a voter there.
    votes_in: Option<ShardId>,
    /// Whether it has a shard.
    has_shards: bool,
}

/// A node with a new store, before it takes part.
#[derive(Debug)]
pub(crate) struct Beginning {
    node: NodeId,
    store: StoreId,
    /// With this node; empty, if it waits to be added.
    founders: BTreeSet<NodeId>,
    written: Founders,
    /// Whether others are said to be the founders since they were written down.
    differs: bool,
    /// Without this node.
    ask: BTreeSet<NodeId>,
    told: BTreeMap<NodeId, Told>,
    rounds: u32,
}

impl Beginning {
    /// Of a store that has not begun. What is written down counts, whatever the founders are said to be since.
    pub(crate) fn new(identity: Identity, founders: &BTreeSet<NodeId>, peers: &BTreeSet<NodeId>) -> Self {
        let Identity { node, store, founders: written, .. } = identity;
        let differs = !written.is_empty() && !founders.iter().eq(written.keys());
        let founders = if written.is_empty() { founders.clone() } else { written.keys().copied().collect() };
        let ask = founders.union(peers).copied().filter(|other| *other != node).collect();
        Self { node, store, founders, written, differs, ask, told: BTreeMap::new(), rounds: 0 }
    }

    /// Takes the answers to a round of questions.
    pub(crate) fn round(&mut self, answers: &[(NodeId, wire::Description)]) -> Step {
        self.rounds = self.rounds.saturating_add(1);
        for (from, description) in answers {
            if self.ask.contains(from) {
                self.told.insert(*from, self.told_by(description));
                let shards = description.shards.iter().chain(&description.elsewhere);
                shards.flat_map(wire::Shard::members).for_each(|member| self.meet(member, MAX_NAMED));
            }
        }
        self.step()
    }

    /// Notes that these founders are on the disk.
    pub(crate) fn written_down(&mut self, founders: Founders) -> Step {
        self.written = founders;
        self.step()
    }

    /// Whether messages of a node's groups may be taken. One that has not answered is asked.
    pub(crate) fn hears(&mut self, from: NodeId) -> bool {
        self.meet(from, MAX_ASKED);
        self.joins() && self.told.contains_key(&from)
    }

    /// What is waited for.
    pub(crate) fn waiting(&self) -> Waiting {
        let joins = self.joins() && !self.told.is_empty();
        Waiting { ask: self.ask.clone(), joins, text: self.text(joins) }
    }

    fn meet(&mut self, node: NodeId, max: usize) {
        if node != self.node && self.ask.len() < max {
            self.ask.insert(node);
        }
    }

    fn told_by(&self, description: &wire::Description) -> Told {
        let votes = |shard: &&wire::Shard| {
            shard.voters.iter().chain(&shard.outgoing).any(|voter| *voter == self.node.get())
        };
        let votes_in = description.shards.iter().find(votes).map(|shard| ShardId(shard.shard));
        let beginning = description.beginning.as_ref();
        let founder =
            |founder: &wire::Founder| Some((NodeId::new(founder.node)?, StoreId::new(founder.store)?));
        let written = beginning.into_iter().flat_map(|beginning| &beginning.founders).filter_map(founder);
        Told {
            store: beginning.and_then(|beginning| StoreId::new(beginning.store)),
            begun: beginning.is_none_or(|beginning| beginning.begun),
            written: written.collect(),
            votes_in,
            // One that waits for its first snapshot has no members.
            has_shards: description.shards.iter().any(|shard| !shard.voters.is_empty()),
        }
    }

    /// Whether it waits to be added: nobody ever named it a founder, or there is a directory without it.
    fn joins(&self) -> bool {
        let begun = |node: &NodeId| self.told.get(node).is_some_and(|told| told.begun);
        match () {
            () if self.founders.is_empty() => true,
            // Whoever founds alone founds no second one.
            () if self.is_alone() => self.told.values().any(|told| told.has_shards),
            () => self.founders.iter().any(begun),
        }
    }

    fn is_alone(&self) -> bool {
        self.founders.len() == 1 && self.founders.contains(&self.node)
    }

    fn step(&self) -> Step {
        let (node, begun) = (self.node, || self.told.values().filter(|told| told.begun));
        let own = |founders: &Founders| founders.get(&node).copied();
        // All of them have written down the same, else none had begun. It may have been removed since.
        let same = |told: &&Told| own(&told.written) == Some(self.store) && told.votes_in.is_some();
        if let Some(told) = begun().find(same) {
            return Step::Found(told.written.clone());
        }
        if let Some(refused) = self.told.iter().find_map(|(by, told)| self.refused(*by, told)) {
            return Step::Refuse(refused);
        }
        match () {
            () if self.joins() => Step::Wait,
            () if self.is_alone() => {
                let answered = self.ask.iter().all(|peer| self.told.contains_key(peer));
                let enough = answered || self.rounds >= ALONE_ROUNDS;
                if enough { Step::Found(Founders::from([(node, self.store)])) } else { Step::Wait }
            }
            () if self.written.is_empty() => self.all_stores().map_or(Step::Wait, Step::WriteDown),
            () if self.others().all(|(_, told)| told.is_some_and(|told| told.written == self.written)) => {
                Step::Found(self.written.clone())
            }
            () => Step::Wait,
        }
    }

    fn refused(&self, by: NodeId, told: &Told) -> Option<Refused> {
        let node = self.node;
        let other =
            told.written.get(&node).is_some_and(|store| *store != self.store) && !self.founders.is_empty();
        // Who came later does not know what the founders wrote down: it may be another of them that has this store.
        let last_word = self.written.is_empty() || other || self.others().all(|(_, told)| told.is_some());
        match told.votes_in.filter(|_| last_word) {
            Some(shard) => Some(Refused::Voter { node, by, shard }),
            None if other && told.begun => Some(Refused::Founder { node, by }),
            None if other => Some(Refused::Founding { node, by }),
            None => None,
        }
    }

    /// The other founders, and what they said.
    fn others(&self) -> impl Iterator<Item = (NodeId, Option<&Told>)> {
        let others = self.founders.iter().filter(|founder| **founder != self.node);
        others.map(|founder| (*founder, self.told.get(founder)))
    }

    /// The stores of all founders, if all are known: as another founder has written them down, or as they say themselves.
    fn all_stores(&self) -> Option<Founders> {
        let written = self.others().filter_map(|(_, told)| Some(&told?.written));
        let fits = |written: &&Founders| written.keys().eq(self.founders.iter());
        if let Some(written) = written.into_iter().find(fits) {
            return Some(written.clone());
        }
        let others = self.others().map(|(founder, told)| Some((founder, told?.store?)));
        others.chain([Some((self.node, self.store))]).collect()
    }

    fn text(&self, joins: bool) -> String {
        let node = self.node;
        if joins {
            return format!("it waits to be added: `smartswitch directory add-node {node}` at a member");
        }
        let silent = self.ask.iter().filter(|other| !self.told.contains_key(other));
        if self.founders.is_empty() {
            let silent = list(silent.copied());
            return format!(
                "it waits to be added, and no peer has answered: {silent}; see that they run, and that this node reaches them"
            );
        }
        if self.is_alone() {
            return format!("it asks its peers whether they know it: {}", list(silent.copied()));
        }
        let silent = list(self.others().filter(|(_, told)| told.is_none()).map(|(founder, _)| founder));
        let differ = |(founder, told): (NodeId, Option<&Told>)| {
            told.is_some_and(|told| told.written != self.written).then_some(founder)
        };
        let differ = list(self.others().filter_map(differ));
        let mut text = match silent.is_empty() {
            false => format!(
                "it waits for founders that have not answered: {silent}; a directory begins once all its founders run"
            ),
            true => format!(
                "it waits for founders that have not agreed: {differ}; see that `founders` in [directory] is the same on all of \
                 them, and that none of their disks was exchanged since they were started first"
            ),
        };
        if !self.written.is_empty() {
            let changed = if self.differs { ", whatever its configuration says by now" } else { "" };
            text += &format!(
                "; on its disk it is written down that the founders are {}{changed}: to begin with others, empty the place for the \
                 directory's data at all of them",
                list(self.written.keys().copied())
            );
        }
        text
    }
}

/// Ids, for people.
fn list(nodes: impl Iterator<Item = NodeId>) -> String {
    nodes.map(|node| node.to_string()).collect::<Vec<_>>().join(", ")
}
