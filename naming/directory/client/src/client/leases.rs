//! Leases: that a node lives, and that it answers for a prefix. Whoever has one counts it from before it asked, by its own
//! clock, and gives it up when it ends; the directory counts from when it granted, so it never gives it to another one
//! earlier, as long as the rates of clocks differ by little.

use std::time::{Duration, Instant};

use naming::{Location, NameRef, NodeId, space};
use naming_directory::catalog::Event;
use naming_directory::proto;
use naming_directory::proto::command::Action;
use naming_directory::proto::reply::Outcome;

use super::{Client, Target, bytes_of, unexpected};
use crate::Error;
use crate::wire::Freshness;

/// An authority that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Rises with each change of the holder: what an earlier holder says is void.
    pub term: u64,
    /// When it ends, unless it is acquired again before.
    pub until: Instant,
}

/// A node's registration, to be kept alive.
#[derive(Debug)]
pub struct Liveness {
    node: NodeId,
    epoch: u64,
    until: Instant,
    lease: Duration,
}

impl Client {
    /// Says where a node is, and takes its lease of life. `incarnation` is a number of this start of the node: another one
    /// begins another epoch.
    ///
    /// # Errors
    /// If the directory refuses, or does not answer.
    pub async fn register(
        &self,
        location: &Location,
        incarnation: u64,
        lease: Duration,
    ) -> Result<Liveness, Error> {
        let (node, asked) = (location.node, Instant::now());
        let register = proto::RegisterNode {
            node: node.get(),
            rack: location.rack.as_str().to_owned(),
            addresses: location.addresses.iter().map(ToString::to_string).collect(),
            incarnation,
            lease_ms: millis(lease),
        };
        let name = name_of(node)?;
        match self.execute(Target::Name(name.as_name()), Action::RegisterNode(register)).await? {
            Outcome::Registered(registered) => {
                Ok(Liveness { node, epoch: registered.epoch, until: asked + lease, lease })
            }
            _ => Err(unexpected()),
        }
    }

    /// Forgets a node that is gone for good.
    ///
    /// # Errors
    /// If there is none, the directory refuses, or does not answer.
    pub async fn remove_node(&self, node: NodeId) -> Result<(), Error> {
        let (name, remove) = (name_of(node)?, proto::RemoveNode { node: node.get() });
        self.execute(Target::Name(name.as_name()), Action::RemoveNode(remove)).await.map(drop)
    }

    /// The nodes that registered, as events.
    ///
    /// # Errors
    /// If the directory does not answer.
    pub async fn nodes(&self) -> Result<Vec<Event>, Error> {
        let prefix = "/node".parse::<naming::Name>().map_err(|_| unexpected())?;
        Ok(self.list(prefix.as_name(), Freshness::Linearizable).await?.0)
    }

    /// Takes or renews the right to answer for the mutable names under `prefix`.
    ///
    /// # Errors
    /// If another node has it ([`Error::Refused`] with `Held`), or the directory does not answer.
    pub async fn acquire(
        &self,
        prefix: NameRef<'_>,
        node: NodeId,
        epoch: u64,
        lease: Duration,
    ) -> Result<Grant, Error> {
        let (asked, lease_ms) = (Instant::now(), millis(lease));
        let acquire = proto::AcquireAuthority { prefix: bytes_of(prefix), node: node.get(), epoch, lease_ms };
        match self.execute(Target::Name(prefix), Action::AcquireAuthority(acquire)).await? {
            Outcome::Granted(granted) => Ok(Grant { term: granted.term, until: asked + lease }),
            _ => Err(unexpected()),
        }
    }

    /// Gives an authority back before its lease ends.
    ///
    /// # Errors
    /// If another node has it, or the directory does not answer.
    pub async fn release(&self, prefix: NameRef<'_>, node: NodeId, epoch: u64) -> Result<(), Error> {
        let release = proto::ReleaseAuthority { prefix: bytes_of(prefix), node: node.get(), epoch };
        self.execute(Target::Name(prefix), Action::ReleaseAuthority(release)).await.map(drop)
    }
}

impl Liveness {
    /// The node's life.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// When it ends unless it is renewed.
    pub fn until(&self) -> Instant {
        self.until
    }

    /// Renews it, also if it had ended. `false`: the node was removed, or began another life, and has to register again.
    ///
    /// # Errors
    /// If the directory refuses, or does not answer: it may be tried until [`Self::until`].
    pub async fn renew(&mut self, client: &Client) -> Result<bool, Error> {
        let asked = Instant::now();
        let renew = proto::RenewNodes {
            nodes: vec![proto::NodeEpoch { node: self.node.get(), epoch: self.epoch }],
            lease_ms: millis(self.lease),
        };
        let name = name_of(self.node)?;
        match client.execute(Target::Name(name.as_name()), Action::RenewNodes(renew)).await? {
            Outcome::Renewed(renewed) if renewed.stale.is_empty() => {
                self.until = asked + self.lease;
                Ok(true)
            }
            Outcome::Renewed(_) => Ok(false),
            _ => Err(unexpected()),
        }
    }

    /// Renews it three times per lease, for as long as that is possible; ends when it is lost.
    pub async fn keep(mut self, client: Client) {
        loop {
            tokio::time::sleep(self.lease / 3).await;
            match self.renew(&client).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) if Instant::now() < self.until => {
                    tracing::warn!(%error, node = %self.node, "the node's lease in the directory is not renewed yet");
                }
                Err(error) => {
                    tracing::warn!(%error, node = %self.node, "the node's lease in the directory ended");
                    return;
                }
            }
        }
    }
}

fn millis(lease: Duration) -> u64 {
    u64::try_from(lease.as_millis()).unwrap_or(u64::MAX)
}

fn name_of(node: NodeId) -> Result<naming::Name, Error> {
    space::node(node).map_err(|_| unexpected())
}
