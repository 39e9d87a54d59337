//! A server of a pool as one thread sees it: its connections, and whether it is worth asking.

use fabric::time::Nanos;

use super::backend::BackendId;
use super::client::ClientId;
use crate::protocol::Protocol;

#[derive(Debug, Default)]
pub(super) struct Server {
    text: Vec<Option<BackendId>>,
    binary: Vec<Option<BackendId>>,
    /// Connections for large values that have none under way.
    pub(super) idle_uploads: Vec<BackendId>,
    /// Connections for large values, those that have one included.
    pub(super) uploads: usize,
    /// Clients that wait for one.
    pub(super) upload_waiters: Vec<ClientId>,
    /// Connections that were given up, the oldest first.
    pub(super) lingering: Vec<BackendId>,
    pub(super) probe: Option<BackendId>,
    /// It ended a connection, and there has been no new one: it may have lost what it held.
    pub(super) lost: bool,
    /// Failures since it last answered.
    pub(super) failures: u32,
    /// Before this no connection to it is tried.
    pub(super) retry_at: Nanos,
    /// The connection that the request being read writes to, and its place in the request's parts.
    pub(super) part: Option<u16>,
}

impl Server {
    pub(super) fn new(lanes: usize) -> Self {
        Self { text: vec![None; lanes], binary: vec![None; lanes], ..Self::default() }
    }

    /// The shared connection of a lane, if there is one.
    pub(super) fn lane(&mut self, protocol: Protocol, lane: u8) -> &mut Option<BackendId> {
        match protocol {
            Protocol::Text => &mut self.text[usize::from(lane)],
            Protocol::Binary => &mut self.binary[usize::from(lane)],
        }
    }

    /// Forgets a connection, whatever it was used for.
    pub(super) fn forget(&mut self, backend: BackendId) {
        for lane in self.text.iter_mut().chain(&mut self.binary) {
            if *lane == Some(backend) {
                *lane = None;
            }
        }
        if self.probe == Some(backend) {
            self.probe = None;
        }
        self.idle_uploads.retain(|other| *other != backend);
        self.lingering.retain(|other| *other != backend);
    }
}
