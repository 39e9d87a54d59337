//! Nodes: where they are, and whether they live.
//!
//! A node registers when it starts and renews a lease from then on. Each start is an *epoch*, numbered by the
//! place of its registration in the log, so that epochs of a node rise even if it was removed in between.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use naming::{Location, Name, NodeId, Rack, space};
use prost::Message;
use prost::bytes::Bytes;

use super::changes::{Change, Event};
use super::chunk::Chunk;
use super::command::RegisterNode;
use super::refusal::{self, Reason};
use super::table::{Table, Value};
use super::{ReplicatedTime, capacity};
use crate::proto;
use crate::proto::reply::Outcome;
use crate::proto::state;

/// A node as the directory knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it is.
    pub location: Location,
    /// Its life: rises with each start.
    pub epoch: u64,
    /// When its lease ends unless it is renewed.
    pub expires: ReplicatedTime,
    incarnation: u64,
}

impl Node {
    pub(super) fn name(&self) -> Name {
        name_of(self.location.node)
    }
}

impl Value for Node {
    fn to_bytes(&self) -> Vec<u8> {
        let addresses = self.location.addresses.iter().map(SocketAddr::to_string).collect();
        let message = state::Node {
            node: self.location.node.get(),
            rack: self.location.rack.as_str().to_owned(),
            addresses,
            incarnation: self.incarnation,
            epoch: self.epoch,
            expires_ms: self.expires.0,
        };
        message.encode_to_vec()
    }

    fn from_bytes(bytes: Bytes) -> Option<Self> {
        let message = state::Node::decode(bytes).ok()?;
        let addresses: Vec<SocketAddr> =
            message.addresses.iter().map(|text| text.parse().ok()).collect::<Option<_>>()?;
        if addresses.len() > capacity::MAX_ADDRESSES {
            return None;
        }
        let rack: Rack = message.rack.parse().ok()?;
        Some(Self {
            location: Location { node: NodeId::new(message.node)?, rack, addresses },
            epoch: message.epoch,
            expires: ReplicatedTime(message.expires_ms),
            incarnation: message.incarnation,
        })
    }
}

/// The table of nodes, by their names `/node/<id>`.
#[derive(Clone, Debug)]
pub(super) struct Nodes {
    pub(super) table: Table<Name, Node>,
    /// Of all whose lease still runs.
    deadlines: BTreeSet<(ReplicatedTime, NodeId)>,
}

impl Nodes {
    pub(super) fn new() -> Self {
        Self { table: Table::new(Chunk::Nodes), deadlines: BTreeSet::new() }
    }

    /// Knows the deadlines of a table that was restored or divided.
    pub(super) fn of(table: Table<Name, Node>, now: ReplicatedTime) -> Self {
        let running = table.iter().filter(|(_, node)| node.expires > now);
        let deadlines = running.map(|(_, node)| (node.expires, node.location.node)).collect();
        Self { table, deadlines }
    }

    pub(super) fn register(
        &mut self,
        name: Name,
        request: RegisterNode,
        now: ReplicatedTime,
        index: u64,
        events: &mut Vec<Event>,
    ) -> Result<Outcome, Reason> {
        self.table.admit(&name)?;
        let old = self.table.get(&name);
        let epoch = match old {
            Some(old) if old.incarnation == request.incarnation => old.epoch,
            Some(old) => index.max(old.epoch + 1),
            None => index,
        };
        let node = Node {
            location: Location { node: request.node, rack: request.rack, addresses: request.addresses },
            epoch,
            expires: now.after(request.lease_ms),
            incarnation: request.incarnation,
        };
        let news =
            old.is_none_or(|old| old.location != node.location || old.epoch != epoch || old.expires <= now);
        if news {
            events.push(Event::new(&name, Change::NodeUp { location: node.location.clone(), epoch }));
        }
        self.put(name, node, now);
        Ok(Outcome::Registered(proto::Registered { epoch }))
    }

    pub(super) fn renew(
        &mut self,
        nodes: &[(NodeId, u64)],
        lease_ms: u64,
        now: ReplicatedTime,
        events: &mut Vec<Event>,
    ) -> Outcome {
        let mut stale = Vec::new();
        for &(id, epoch) in nodes {
            let name = name_of(id);
            let Some(node) = self.table.get(&name).filter(|node| node.epoch == epoch) else {
                stale.push(id.get());
                continue;
            };
            let node = Node { expires: now.after(lease_ms), ..node.clone() };
            if !self.lives(id, now) {
                events.push(Event::new(&name, Change::NodeUp { location: node.location.clone(), epoch }));
            }
            self.put(name, node, now);
        }
        Outcome::Renewed(proto::Renewed { stale })
    }

    pub(super) fn remove(&mut self, name: &Name, events: &mut Vec<Event>) -> Result<Outcome, Reason> {
        let node = self.table.remove(name).ok_or_else(refusal::not_found)?;
        self.deadlines.remove(&(node.expires, node.location.node));
        events.push(Event::new(name, Change::NodeDown { node: node.location.node, epoch: node.epoch }));
        Ok(Outcome::Done(proto::Done {}))
    }

    /// Tells whose lease ended by `now`.
    pub(super) fn expire(&mut self, now: ReplicatedTime, events: &mut Vec<Event>) {
        while let Some((_, id)) = self.deadlines.first().copied().filter(|(expires, _)| *expires <= now) {
            self.deadlines.pop_first();
            let name = name_of(id);
            let epoch = self.table.get(&name).map_or(0, |node| node.epoch);
            events.push(Event::new(&name, Change::NodeDown { node: id, epoch }));
        }
    }

    fn lives(&self, id: NodeId, now: ReplicatedTime) -> bool {
        self.table.get(&name_of(id)).is_some_and(|node| node.expires > now)
    }

    fn put(&mut self, name: Name, node: Node, now: ReplicatedTime) {
        if let Some(old) = self.table.get(&name) {
            self.deadlines.remove(&(old.expires, old.location.node));
        }
        if node.expires > now {
            self.deadlines.insert((node.expires, node.location.node));
        }
        self.table.put(name, node);
    }
}

/// The name a node is registered under.
pub(super) fn name_of(id: NodeId) -> Name {
    // A node id is short enough for any name.
    space::node(id).unwrap_or_default()
}
