//! How the directory looks from here: what the admin server tells, the command line shows and the page draws.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use naming::{NameRef, NodeId};
use naming_directory::catalog::{Change, Event, Record, RecordKind};
use naming_directory_client::watch::Seen;
use naming_directory_client::wire::{self, Freshness};
use naming_directory_client::{Client, Resolution, ShardId};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

/// How long the list of nodes may take. Without it the rest is shown.
const NODES_TIMEOUT: Duration = Duration::from_secs(1);

/// All shards and nodes, as this node hears of them now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// Who was asked.
    pub node: String,
    /// The shards, in the order of their names.
    pub shards: Vec<Shard>,
    /// The nodes that are registered and live, in the order of their ids.
    pub nodes: Vec<Node>,
    /// Members and peers that do not answer.
    pub silent: Vec<String>,
    /// What the node waits for before it takes part in a directory, if it does.
    #[serde(default)]
    pub waits: Option<String>,
}

/// A shard.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shard {
    /// Its id.
    pub id: String,
    /// Its first name.
    pub from: String,
    /// The first name behind it, if there is one.
    pub until: Option<String>,
    /// Who leads it, if anybody does who answers.
    pub leader: Option<String>,
    /// The leader's term.
    pub term: u64,
    /// The last entry that is committed.
    pub committed: u64,
    /// Bytes of the log.
    pub log_bytes: u64,
    /// Who replicates it.
    pub members: Vec<Member>,
    /// What it knows: items by table.
    pub items: BTreeMap<String, u64>,
    /// Names of which it knows something, one for each kind of that: by their number it is split.
    #[serde(default)]
    pub names: u64,
    /// Whether its members change.
    #[serde(default)]
    pub moving: bool,
}

/// A member of a shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Which node.
    pub node: String,
    /// As what.
    pub role: Role,
    /// Up to which entry its state is; `None`: it does not answer.
    pub applied: Option<u64>,
    /// Of its state; equal at all members that are at the same entry.
    pub checksum: Option<String>,
}

/// What a member of a shard is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It leads.
    Leader,
    /// It votes.
    Voter,
    /// It catches up, and does not vote.
    Learner,
    /// It votes until the change of members that is under way has ended.
    Leaving,
}

/// A registered node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its id.
    pub id: String,
    /// What fails with it.
    pub rack: String,
    /// Where others reach it; nowhere, if it is alone.
    pub addresses: Vec<String>,
    /// Its life: rises with each start.
    pub epoch: u64,
}

/// How something under a name is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// How it is.
    #[serde(flatten)]
    pub what: What,
}

/// What there is under a name, or became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[allow(missing_docs, reason = "as the directory has it")]
pub enum What {
    Node(Node),
    NodeDown { id: String, epoch: u64 },
    Record { record: String, revision: u64, value: String },
    RecordGone { record: String },
    Authority { node: Option<String>, term: u64 },
    Copy { node: String, digest: String, length: u64 },
    CopyGone { node: String },
    HolderRetired { node: String },
    Split,
}

/// What a watch tells, one line each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// How everything is, of names from `from` on and before `until`: what was told of them before is void.
    Listing {
        /// The first name.
        from: String,
        /// The first name behind the last; `None`: to the end of the prefix.
        until: Option<String>,
        /// How things are.
        entries: Vec<Entry>,
    },
    /// How things are now that changed.
    Changes(Vec<Entry>),
}

/// What is known of a name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Resolved {
    /// The name.
    pub name: String,
    /// Of an immutable name: its content, and who holds copies.
    pub copies: Option<Copies>,
    /// Who answers for it.
    pub authority: Option<Authority>,
    /// Where requests for it go.
    pub route: Option<Route>,
}

/// Copies of immutable content.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Copies {
    /// BLAKE3 of the content.
    pub digest: String,
    /// Bytes of it.
    pub length: u64,
    /// Who holds it.
    pub holders: Vec<String>,
}

/// Who answers for names under a prefix.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Authority {
    /// The prefix.
    pub prefix: String,
    /// Who; nobody, if it was given back.
    pub node: Option<String>,
    /// Rises with each change of the holder.
    pub term: u64,
    /// What is left of its lease.
    pub remaining_ms: u64,
}

/// The route of a prefix.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// The prefix.
    pub prefix: String,
    /// The entry of the log that wrote it.
    pub revision: u64,
    /// What it says; bytes that are no printable ASCII as `\x..`.
    pub value: String,
}

/// Asks this node, its `peers`, and every member they name how their replicas are.
pub async fn overview(client: &Client, node: NodeId, peers: impl IntoIterator<Item = NodeId>) -> Overview {
    let mut wanted: BTreeSet<NodeId> = peers.into_iter().chain([node]).collect();
    let (mut told, mut silent) = (BTreeMap::new(), BTreeSet::new());
    while !wanted.is_empty() {
        let mut asked = JoinSet::new();
        for node in std::mem::take(&mut wanted) {
            let client = client.clone();
            asked.spawn(async move { (node, client.describe(node).await.ok()) });
        }
        for (node, shards) in asked.join_all().await {
            match shards {
                Some(shards) => _ = told.insert(node, shards),
                None => _ = silent.insert(node),
            }
        }
        let members =
            told.values().flatten().flat_map(members_of).filter_map(|(member, _)| NodeId::new(member));
        wanted.extend(members.filter(|member| !told.contains_key(member) && !silent.contains(member)));
    }
    let prefix: naming::Name = "/node".parse().unwrap_or_default();
    let nodes = client.list(prefix.as_name(), Freshness::Local);
    let nodes = tokio::time::timeout(NODES_TIMEOUT, nodes).await;
    let nodes = nodes.ok().and_then(Result::ok).map(|(events, _)| events).unwrap_or_default();
    Overview {
        node: node.to_string(),
        shards: shards(&told),
        nodes: nodes.iter().filter_map(node_of).collect(),
        silent: silent.iter().map(NodeId::to_string).collect(),
        waits: None,
    }
}

impl Overview {
    /// What is wrong with it, if anything is.
    pub fn trouble(&self) -> Option<String> {
        let headless = self.shards.iter().find(|shard| shard.leader.is_none());
        match headless {
            _ if self.shards.is_empty() && self.waits.is_some() => {
                let waits = self.waits.as_deref().unwrap_or_default();
                Some(format!("no shard is known; of node {}: {waits}", self.node))
            }
            _ if self.shards.is_empty() => Some(format!(
                "no shard is known: node {} waits to be added (`smartswitch directory add-node {}` at a member), or \
                 reaches none of its peers",
                self.node, self.node
            )),
            Some(shard) => Some(format!(
                "shard {} has no leader: see that a majority of its members runs and that they reach one another",
                shard.id
            )),
            None => None,
        }
    }
}

/// The shards as whoever knows most of each says.
fn shards(told: &BTreeMap<NodeId, Vec<wire::Shard>>) -> Vec<Shard> {
    let mut best: BTreeMap<u64, &wire::Shard> = BTreeMap::new();
    for shard in told.values().flatten() {
        let rank = |shard: &wire::Shard| (shard.leads, shard.term, shard.applied);
        let known = best.entry(shard.shard).or_insert(shard);
        if rank(shard) > rank(known) {
            *known = shard;
        }
    }
    let mut shards: Vec<_> = best.values().map(|shard| (shard.from.clone(), shard_of(shard, told))).collect();
    shards.retain(|(_, shard)| !shard.members.is_empty());
    shards.sort_by(|one, other| one.0.cmp(&other.0));
    shards.into_iter().map(|(_, shard)| shard).collect()
}

fn shard_of(shard: &wire::Shard, told: &BTreeMap<NodeId, Vec<wire::Shard>>) -> Shard {
    let own = |node: u64| {
        let shards = told.get(&NodeId::new(node)?)?;
        shards.iter().find(|own| own.shard == shard.shard)
    };
    // A follower goes on naming a leader that is gone until it stands for election.
    let leader = own(shard.leader).filter(|leader| leader.leads);
    let member = |(node, role): (u64, Role)| Member {
        node: id(node),
        role: if leader.is_some() && node == shard.leader { Role::Leader } else { role },
        applied: own(node).map(|own| own.applied),
        checksum: own(node).map(|own| own.checksum.clone()),
    };
    Shard {
        id: ShardId(shard.shard).to_string(),
        from: name(&shard.from),
        until: shard.until.as_ref().map(|until| name(until)),
        leader: leader.map(|_| id(shard.leader)),
        term: shard.term,
        committed: shard.committed,
        log_bytes: shard.log_bytes,
        members: members_of(shard).into_iter().map(member).collect(),
        items: shard.tables.iter().map(|fill| (fill.table.clone(), fill.items)).collect(),
        names: shard.names,
        moving: !shard.learners.is_empty() || !shard.outgoing.is_empty(),
    }
}

/// Members by their ids, each once.
pub(super) fn members_of(shard: &wire::Shard) -> Vec<(u64, Role)> {
    let roles =
        [(&shard.outgoing, Role::Leaving), (&shard.learners, Role::Learner), (&shard.voters, Role::Voter)];
    let all = roles.into_iter().flat_map(|(nodes, role)| nodes.iter().map(move |node| (*node, role)));
    all.collect::<BTreeMap<_, _>>().into_iter().collect()
}

/// What a watch tells, as it is shown.
pub fn told(seen: Seen) -> Told {
    let entries = |events: Vec<Event>| events.iter().map(entry).collect();
    match seen {
        Seen::Listing { from, until, events, .. } => Told::Listing {
            from: from.to_string(),
            until: until.map(|until| until.to_string()),
            entries: entries(events),
        },
        Seen::Changes { events, .. } => Told::Changes(entries(events)),
    }
}

/// An event as it is shown.
pub fn entry(event: &Event) -> Entry {
    let what = match &event.change {
        Change::NodeUp { location, epoch } => What::Node(Node {
            id: location.node.to_string(),
            rack: location.rack.to_string(),
            addresses: location.addresses.iter().map(ToString::to_string).collect(),
            epoch: *epoch,
        }),
        Change::NodeDown { node, epoch } => What::NodeDown { id: node.to_string(), epoch: *epoch },
        Change::Record { kind, record: Some(Record { revision, value }) } => {
            What::Record { record: kind_of(*kind), revision: *revision, value: text(value) }
        }
        Change::Record { kind, record: None } => What::RecordGone { record: kind_of(*kind) },
        Change::Authority { node, term } => {
            What::Authority { node: node.map(|node| node.to_string()), term: *term }
        }
        Change::Copy { node, digest, length } => {
            What::Copy { node: node.to_string(), digest: digest.to_string(), length: *length }
        }
        Change::CopyGone { node } => What::CopyGone { node: node.to_string() },
        Change::HolderRetired { node } => What::HolderRetired { node: node.to_string() },
        Change::Split => What::Split,
    };
    Entry { name: event.name.to_string(), what }
}

/// What is known of a name, as it is shown.
pub fn resolved(name: NameRef<'_>, resolution: &Resolution) -> Resolved {
    let text_of = |node: &NodeId| node.to_string();
    Resolved {
        name: name.to_string(),
        copies: resolution.copies.as_ref().map(|copies| Copies {
            digest: copies.digest.to_string(),
            length: copies.length,
            holders: copies.holders.iter().map(text_of).collect(),
        }),
        authority: resolution.authority.as_ref().map(|held| Authority {
            prefix: held.prefix.to_string(),
            node: held.node.as_ref().map(text_of),
            term: held.term,
            remaining_ms: held.remaining.as_millis() as u64,
        }),
        route: resolution.route.as_ref().map(|route| Route {
            prefix: route.prefix.to_string(),
            revision: route.record.revision,
            value: text(&route.record.value),
        }),
    }
}

fn node_of(event: &Event) -> Option<Node> {
    match entry(event).what {
        What::Node(node) => Some(node),
        _ => None,
    }
}

fn kind_of(kind: RecordKind) -> String {
    match kind {
        RecordKind::Pool => "pool",
        RecordKind::Route => "route",
        RecordKind::Program => "program",
        RecordKind::Limits => "limits",
    }
    .to_owned()
}

/// Bytes as text: what is no printable ASCII as `\x..`.
fn text(value: &[u8]) -> String {
    value.escape_ascii().to_string()
}

pub(super) fn name(bytes: &[u8]) -> String {
    NameRef::from_bytes(bytes).map_or_else(|_| text(bytes), |name| name.to_string())
}

pub(super) fn id(node: u64) -> String {
    format!("{node:016x}")
}
