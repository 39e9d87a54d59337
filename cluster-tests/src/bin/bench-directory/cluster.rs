//! A directory of three members on this machine, whichever it is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use naming_directory::catalog::capacity::MAX_BATCH;

use crate::Failure;
use crate::arms::Arm;
use crate::client::{Aim, Client};
use crate::etcd::{self, Elections};
use crate::member::{Footprint, Member};
use crate::point::BATCH;
use crate::smartswitch;
use crate::until::until;

/// Members that found a directory.
pub(crate) const FOUNDERS: usize = 3;
/// The place of a member that may join later.
pub(crate) const SPARE: usize = FOUNDERS;
/// How long one try of a request may take, where a client tries again: as of SmartSwitch's client.
pub(crate) const TRY: Duration = Duration::from_secs(1);
/// How long a request may take in all.
pub(crate) const REQUEST: Duration = Duration::from_secs(30);
/// How long a cluster may take to come up.
const START: Duration = Duration::from_secs(60);

/// A directory of three members. All are killed when it is dropped.
pub(crate) enum Cluster {
    Etcd(etcd::Cluster),
    Smartswitch(Box<smartswitch::Cluster>),
}

impl Cluster {
    /// Starts members of an empty directory, with their data under `directory`, and waits until they serve.
    ///
    /// # Errors
    /// That they do not, with their logs.
    pub(crate) async fn found(arm: Arm, directory: &Path) -> Result<Self, Failure> {
        std::fs::create_dir_all(directory)?;
        let cluster = match arm {
            Arm::Etcd => Self::Etcd(etcd::Cluster::found(directory, Elections::AsItComes).await?),
            Arm::EtcdBrisk => Self::Etcd(etcd::Cluster::found(directory, Elections::Brisk).await?),
            Arm::Smartswitch => Self::Smartswitch(smartswitch::Cluster::found(directory)?.into()),
        };
        cluster.serves().await?;
        Ok(cluster)
    }

    /// Waits until all members are there and one leads.
    ///
    /// # Errors
    /// That it does not come to it, with their logs.
    pub(crate) async fn serves(&self) -> Result<(), Failure> {
        let all_there = until("three members and a leader", START, async || {
            for number in 0..self.members().len() {
                self.applied(number).await?;
            }
            self.leader().await
        });
        all_there.await.map(drop).map_err(|error| {
            let logs: Vec<String> = self.members().iter().map(Member::log_tail).collect();
            format!("{error}; the members' logs end:\n{}", logs.join("\n")).into()
        })
    }

    /// Waits until a member has applied what the leader has by now.
    ///
    /// # Errors
    /// If it has not `within` that time.
    pub(crate) async fn caught_up(&self, number: usize, within: Duration) -> Result<(), Failure> {
        let end = until("a leader", within, async || self.applied(self.leader().await?).await).await?;
        let there = async || self.applied(number).await.filter(|applied| *applied >= end);
        Ok(until("a member to catch up", within, there).await.map(drop)?)
    }

    pub(crate) fn members(&self) -> &[Member] {
        match self {
            Self::Etcd(cluster) => &cluster.members,
            Self::Smartswitch(cluster) => &cluster.members,
        }
    }

    pub(crate) fn members_mut(&mut self) -> &mut [Member] {
        match self {
            Self::Etcd(cluster) => &mut cluster.members,
            Self::Smartswitch(cluster) => &mut cluster.members,
        }
    }

    /// Which member leads, if one says so.
    pub(crate) async fn leader(&self) -> Option<usize> {
        match self {
            Self::Etcd(cluster) => cluster.leader().await,
            Self::Smartswitch(cluster) => cluster.leader().await,
        }
    }

    /// Up to which entry a member has applied the log, if it answers.
    pub(crate) async fn applied(&self, number: usize) -> Option<u64> {
        match self {
            Self::Etcd(cluster) => cluster.applied(number).await,
            Self::Smartswitch(cluster) => cluster.applied(number).await,
        }
    }

    /// So many clients, each with a connection of its own.
    ///
    /// # Errors
    /// If they cannot connect.
    pub(crate) async fn connect(&self, count: usize, aim: Aim) -> Result<Vec<Client>, Failure> {
        match self {
            Self::Etcd(cluster) => {
                Ok(cluster.connect(count, aim).await?.into_iter().map(Client::Etcd).collect())
            }
            Self::Smartswitch(cluster) => {
                Ok(cluster.connect(count)?.into_iter().map(Client::Smartswitch).collect())
            }
        }
    }

    /// Names that one batch takes at most.
    pub(crate) fn largest_batch(&self) -> usize {
        match self {
            Self::Etcd(_) => BATCH,
            Self::Smartswitch(_) => MAX_BATCH,
        }
    }

    /// Has what a member has written to a file of `directory`, and synced. Which file.
    ///
    /// # Errors
    /// If that fails.
    pub(crate) async fn snapshot(&mut self, number: usize, directory: &Path) -> Result<PathBuf, Failure> {
        match self {
            Self::Etcd(cluster) => cluster.snapshot(number, directory).await,
            Self::Smartswitch(cluster) => cluster.snapshot(number).await,
        }
    }

    /// Puts a new member, whose disk is empty, in the place of a dead one. How long it took from its start until it had
    /// everything.
    ///
    /// # Errors
    /// If the others do not agree, or it does not catch up.
    pub(crate) async fn replace(&mut self, dead: usize, patience: Duration) -> Result<Duration, Failure> {
        let began = match self {
            Self::Etcd(cluster) => cluster.replace(dead, patience).await?,
            Self::Smartswitch(cluster) => cluster.replace(dead, patience).await?,
        };
        self.caught_up(SPARE, patience).await?;
        Ok(began.elapsed())
    }

    /// Time that all members have spent on processors.
    pub(crate) fn cpu_time(&self) -> Duration {
        self.members().iter().map(Member::cpu_time).sum()
    }

    /// What each member takes.
    pub(crate) fn footprints(&self) -> Vec<Footprint> {
        self.members().iter().map(Member::footprint).collect()
    }
}
