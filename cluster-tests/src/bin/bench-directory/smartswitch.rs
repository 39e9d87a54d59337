//! SmartSwitch's directory: three members, each a process of this program.

mod client;
pub(crate) mod member;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cluster_tests::loopback::free_address;
use fabric_quic::pki::{Authority, Validity};
use naming::NodeId;
use naming_directory_client::{ShardId, client as library};
use naming_directory_quic::{Place, Remote};
use nix::sys::signal::Signal;

pub(crate) use client::Client;

use crate::Failure;
use crate::cluster::{FOUNDERS, SPARE};
use crate::member::Member;
use crate::until::until;
use member::Settings;

/// Nodes from this one on are clients.
const FIRST_CLIENT: u64 = 1000;

/// How long a member may take to write a snapshot.
const SNAPSHOT: Duration = Duration::from_secs(600);

/// Members, and one that may take another one's place.
pub(crate) struct Cluster {
    pub(crate) members: Vec<Member>,
    program: PathBuf,
    directory: PathBuf,
    authority: Authority,
    /// Of members and the spare one.
    addresses: BTreeMap<NodeId, SocketAddr>,
    /// Asks how members are.
    probe: Remote,
    /// The node of the next client: of two with one id, members would answer the one that came last.
    next_client: AtomicU64,
}

/// The node of a member.
fn node(number: usize) -> NodeId {
    NodeId::new(number as u64 + 1).expect("not 0")
}

impl Cluster {
    /// Starts three members of a new directory, with their data under `directory`.
    ///
    /// # Errors
    /// If they cannot be started.
    pub(crate) fn found(directory: &Path) -> Result<Self, Failure> {
        let program = std::env::current_exe()?;
        let authority = Authority::create(&directory.join("pki"), "bench-directory", Validity::days(1)?)?;
        let mut addresses = BTreeMap::new();
        for number in 0..=SPARE {
            addresses.insert(node(number), SocketAddr::from(free_address()?));
        }
        let mut cluster = Self {
            members: Vec::new(),
            program,
            directory: directory.to_owned(),
            probe: connect(&authority, &addresses, FIRST_CLIENT)?,
            next_client: AtomicU64::new(FIRST_CLIENT + 1),
            authority,
            addresses,
        };
        for number in 0..FOUNDERS {
            let member = cluster.member(number)?;
            cluster.members.push(member);
        }
        Ok(cluster)
    }

    /// Where a member keeps its data.
    fn data(&self, number: usize) -> PathBuf {
        self.directory.join(format!("member{}", number + 1))
    }

    /// Starts a member that has no data yet. The spare one waits to be taken in.
    fn member(&self, number: usize) -> Result<Member, Failure> {
        let (node, data) = (node(number), self.data(number));
        let name = format!("member{}", number + 1);
        let files = self.authority.issue(node, &[], validity(&self.authority)?)?;
        let settings = Settings {
            node: node.get(),
            data,
            founders: (0..FOUNDERS).map(|number| self::node(number).get()).collect(),
            joins: number == SPARE,
            addresses: self.addresses.iter().map(|(node, address)| (node.get(), *address)).collect(),
            ca: files.ca,
            certificate: files.certificate,
            key: files.key,
        };
        let file = self.directory.join(format!("{name}.json"));
        std::fs::write(&file, serde_json::to_string_pretty(&settings)?)?;
        let arguments = vec!["--serve-member".to_owned(), file.display().to_string()];
        let mut member = Member::new(&name, &settings.data, &self.program, arguments);
        member.start()?;
        Ok(member)
    }

    /// Which member says that it leads.
    pub(crate) async fn leader(&self) -> Option<usize> {
        for number in 0..self.addresses.len() {
            let shards = self.probe.client().describe(node(number)).await.unwrap_or_default();
            if shards.iter().any(|shard| shard.leads) {
                return Some(number);
            }
        }
        None
    }

    /// Up to which entry a member has applied the log, if it answers.
    pub(crate) async fn applied(&self, number: usize) -> Option<u64> {
        let shards = self.probe.client().describe(node(number)).await.ok()?;
        shards.first().map(|shard| shard.applied)
    }

    /// So many clients, each a node with a connection of its own to every member that it asks. Whom to ask they know best.
    ///
    /// # Errors
    /// If there is no room for their sockets.
    pub(crate) fn connect(&self, count: usize) -> Result<Vec<Client>, Failure> {
        let first = self.next_client.fetch_add(count as u64, Ordering::Relaxed);
        (first..first + count as u64)
            .map(|node| Ok(Client::new(connect(&self.authority, &self.addresses, node)?)))
            .collect()
    }

    /// Has a member write what it has to a file, and sync that. Which file.
    ///
    /// # Errors
    /// If it is not there in time.
    pub(crate) async fn snapshot(&mut self, number: usize) -> Result<PathBuf, Failure> {
        let file = member::snapshot_file(&self.data(number));
        self.members[number].signal(Signal::SIGUSR1);
        let is_there = async || file.exists().then_some(());
        until("a member's snapshot", SNAPSHOT, is_there).await?;
        Ok(file)
    }

    /// Puts the spare member, whose disk is empty, in the place of another one, which is dead. When it was started.
    ///
    /// # Errors
    /// If the others do not agree within `patience`.
    pub(crate) async fn replace(&mut self, old: usize, patience: Duration) -> Result<Instant, Failure> {
        let began = Instant::now();
        let spare = self.member(SPARE)?;
        self.members.push(spare);
        self.probe.client().members(ShardId::FIRST).replace(Some(node(old)), node(SPARE), patience).await?;
        Ok(began)
    }
}

/// As long as the authority lives: not longer.
fn validity(authority: &Authority) -> Result<Validity, Failure> {
    Ok(Validity { until: authority.facts().not_after, ..Validity::days(1)? })
}

/// A client of the directory at these addresses, as node `number`.
fn connect(
    authority: &Authority,
    addresses: &BTreeMap<NodeId, SocketAddr>,
    number: u64,
) -> Result<Remote, Failure> {
    let node = NodeId::new(number).ok_or("node 0 is none")?;
    let files = authority.issue(node, &[], validity(authority)?)?;
    let place = Place { listen: "127.0.0.1:0".parse()?, files, peers: addresses.clone() };
    Ok(Remote::with(node, &place, library::Settings::new((0..FOUNDERS).map(self::node)))?)
}
