//! What is known of one peer: its addresses, its link, its lanes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use naming::NodeId;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::channel::Messages;
use crate::connection::Connection;
use crate::lane::{self, Lane};
use crate::link::{Backoff, Link};
use crate::shared::Shared;

/// Addresses of a peer that are tried at most, the first ones.
pub(crate) const MAX_ADDRESSES: usize = 8;

#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) node: NodeId,
    pub(crate) addresses: Mutex<Vec<SocketAddr>>,
    link: Mutex<Link<Arc<Connection>>>,
    /// Told after each change of the link.
    pub(crate) changed: watch::Sender<()>,
    lanes: Mutex<BTreeMap<u8, (Arc<Lane>, AbortHandle)>>,
}

impl Peer {
    pub(crate) fn new(own: NodeId, node: NodeId, backoff: Backoff) -> Self {
        Self {
            node,
            addresses: Mutex::default(),
            link: Mutex::new(Link::new(own < node, backoff)),
            changed: watch::Sender::new(()),
            lanes: Mutex::default(),
        }
    }

    /// Changes the link, and tells those who wait for it.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Link<Arc<Connection>>) -> T) -> T {
        let changed = change(&mut self.link());
        self.changed.send_replace(());
        changed
    }

    pub(crate) fn link(&self) -> MutexGuard<'_, Link<Arc<Connection>>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The lane of a channel, with a task that writes it.
    pub(crate) fn lane(self: &Arc<Self>, shared: &Arc<Shared>, channel: &Messages) -> Arc<Lane> {
        let mut lanes = self.lanes();
        let (lane, _) = lanes.entry(channel.number).or_insert_with(|| {
            let lane = Arc::new(Lane::new(*channel));
            let writer = lane::write(Arc::clone(shared), Arc::clone(self), Arc::clone(&lane));
            (lane, shared.runtime.spawn(writer).abort_handle())
        });
        Arc::clone(lane)
    }

    /// Messages and bytes that wait in all lanes.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        let lanes = self.lanes();
        lanes.values().map(|(lane, _)| lane.waiting()).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    }

    /// Ends the tasks of all lanes.
    pub(crate) fn stop(&self) {
        for (_, (_, writer)) in std::mem::take(&mut *self.lanes()) {
            writer.abort();
        }
    }

    fn lanes(&self) -> MutexGuard<'_, BTreeMap<u8, (Arc<Lane>, AbortHandle)>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
