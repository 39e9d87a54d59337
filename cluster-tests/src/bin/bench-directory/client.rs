//! One client of a directory, whichever it is.

use std::sync::Arc;

use naming::{Digest, Name};

use crate::entry::Entry;
use crate::watch::FanOut;
use crate::{Failure, etcd, smartswitch};

/// How fresh an answer has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// Not older than what was acknowledged before it was asked for.
    Linearizable,
    /// Whatever the member has.
    Local,
}

/// Which members a client talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aim {
    /// The leader alone: writes need not be passed on, nor does it have to be asked for what linearizable reads need.
    Leader,
    /// One member each, in turn, for local reads and watches.
    Spread,
    /// All, so that one may fail.
    All,
}

/// Clones share a connection.
#[derive(Clone)]
pub(crate) enum Client {
    Etcd(etcd::Client),
    Smartswitch(smartswitch::Client),
}

impl Client {
    /// Makes names known. When it returns they are on the disks of a majority.
    ///
    /// # Errors
    /// If the directory fails, or does not answer in time.
    pub(crate) async fn publish(&self, entries: &[Entry]) -> Result<(), Failure> {
        match self {
            Self::Etcd(client) => client.publish(entries).await,
            Self::Smartswitch(client) => client.publish(entries).await,
        }
    }

    /// What a name stands for, if it is known.
    ///
    /// # Errors
    /// As of [`publish`](Self::publish).
    pub(crate) async fn resolve(&self, name: &Name, freshness: Freshness) -> Result<Option<Digest>, Failure> {
        match self {
            Self::Etcd(client) => client.resolve(name, freshness).await,
            Self::Smartswitch(client) => client.resolve(name, freshness).await,
        }
    }

    /// Tells `fan_out` of each name that is published under `prefix` from now on, for as long as it wants to know.
    ///
    /// # Errors
    /// As of [`publish`](Self::publish).
    pub(crate) async fn watch(&self, prefix: &Name, fan_out: &Arc<FanOut>) -> Result<(), Failure> {
        match self {
            Self::Etcd(client) => client.watch(prefix, fan_out).await,
            Self::Smartswitch(client) => client.watch(prefix, fan_out).await,
        }
    }
}
