//! Nodes in one process: of tests, and of a directory whose only member is its client's own node.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use naming::NodeId;
use prost::bytes::Bytes;

use super::{Channel, Receive, Transport};

/// A network in memory. A message is received in the call that sends it.
#[derive(Clone, Default)]
pub struct Network(Arc<RwLock<State>>);

#[derive(Default)]
struct State {
    nodes: HashMap<NodeId, Arc<dyn Receive>>,
    /// From whom nothing reaches whom.
    cuts: HashSet<(NodeId, NodeId)>,
}

struct Port {
    id: NodeId,
    network: Network,
}

impl Network {
    /// What `id` sends with. It receives nothing until it is [attached](Self::attach).
    pub fn transport(&self, id: NodeId) -> Arc<dyn Transport> {
        Arc::new(Port { id, network: self.clone() })
    }

    /// From now on `id` receives by `receiver`, and nothing else does for it.
    pub fn attach(&self, id: NodeId, receiver: Arc<dyn Receive>) {
        self.write(|state| drop(state.nodes.insert(id, receiver)));
    }

    /// `id` receives nothing any more.
    pub fn detach(&self, id: NodeId) {
        self.write(|state| drop(state.nodes.remove(&id)));
    }

    /// Nothing gets from `from` to `to` any more.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.write(|state| state.cuts.extend([(from, to)]));
    }

    /// Everything gets everywhere again.
    pub fn heal(&self) {
        self.write(|state| state.cuts.clear());
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Transport for Port {
    fn send(&self, to: NodeId, channel: Channel, message: Bytes) -> bool {
        let receiver = {
            let state = self.network.read();
            if state.cuts.contains(&(self.id, to)) { None } else { state.nodes.get(&to).cloned() }
        };
        // Whoever receives may send in turn: not under the lock.
        let Some(receiver) = receiver else { return false };
        receiver.receive(self.id, channel, message);
        true
    }
}
