//! etcd: three members of Debian's `etcd-server`.

mod client;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cluster_tests::RackError;
use cluster_tests::loopback::free_address;
use cluster_tests::rack::find_program;
use etcd_client::{ConnectOptions, StatusResponse};
use tokio::time::timeout;

pub(crate) use client::Client;

use crate::Failure;
use crate::client::Aim;
use crate::cluster::{FOUNDERS, REQUEST, SPARE, TRY};
use crate::member::Member;
use crate::until::until;

/// Beyond etcd's own 2 GiB, at which it takes no more writes.
const QUOTA_BYTES: u64 = 32 << 30;
/// How long a member may take to say how it is.
const LOOK: Duration = Duration::from_millis(500);

/// Times of elections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Elections {
    /// etcd's own: a heartbeat every 100 ms, an election after 1 to 2 s of silence.
    AsItComes,
    /// A heartbeat every 50 ms, an election after 250 to 500 ms of silence.
    Brisk,
}

/// Members, and one that may take another one's place.
pub(crate) struct Cluster {
    places: Vec<Place>,
    pub(crate) members: Vec<Member>,
    program: PathBuf,
    elections: Elections,
}

/// Where a member is.
#[derive(Clone)]
struct Place {
    name: String,
    data: PathBuf,
    client_url: String,
    peer_url: String,
    /// Asks it, and no other one.
    probe: etcd_client::Client,
}

impl Place {
    async fn new(number: usize, directory: &Path) -> Result<Self, Failure> {
        let name = format!("etcd{}", number + 1);
        let url = || Ok::<_, RackError>(format!("http://{}", free_address()?));
        let (client_url, peer_url) = (url()?, url()?);
        let probe = etcd_client::Client::connect([&client_url], None).await?;
        Ok(Self { data: directory.join(&name), name, client_url, peer_url, probe })
    }

    async fn look(&self) -> Option<StatusResponse> {
        timeout(LOOK, self.probe.maintenance_client().status()).await.ok()?.ok()
    }
}

impl Cluster {
    /// Starts three members of a new cluster, with their data under `directory`.
    ///
    /// # Errors
    /// If etcd is not installed, or does not start.
    pub(crate) async fn found(directory: &Path, elections: Elections) -> Result<Self, Failure> {
        let program = find_program("etcd")?;
        let mut places = Vec::new();
        for number in 0..=SPARE {
            places.push(Place::new(number, directory).await?);
        }
        let mut cluster = Self { places, members: Vec::new(), program, elections };
        for number in 0..FOUNDERS {
            let mut member = cluster.member(number, "new", &[0, 1, 2]);
            member.start()?;
            cluster.members.push(member);
        }
        Ok(cluster)
    }

    /// A member that does not run yet, of a cluster of these.
    fn member(&self, number: usize, state: &str, cluster: &[usize]) -> Member {
        let place = &self.places[number];
        let peers: Vec<String> = cluster
            .iter()
            .map(|other| format!("{}={}", self.places[*other].name, self.places[*other].peer_url))
            .collect();
        let mut arguments = vec![
            format!("--name={}", place.name),
            format!("--data-dir={}", place.data.display()),
            format!("--listen-client-urls={}", place.client_url),
            format!("--advertise-client-urls={}", place.client_url),
            format!("--listen-peer-urls={}", place.peer_url),
            format!("--initial-advertise-peer-urls={}", place.peer_url),
            format!("--initial-cluster={}", peers.join(",")),
            format!("--initial-cluster-state={state}"),
            format!("--quota-backend-bytes={QUOTA_BYTES}"),
            "--log-level=error".to_owned(),
        ];
        if self.elections == Elections::Brisk {
            arguments.extend(["--heartbeat-interval=50", "--election-timeout=250"].map(str::to_owned));
        }
        Member::new(&place.name, &place.data, &self.program, arguments)
    }

    /// Which member says that it leads.
    pub(crate) async fn leader(&self) -> Option<usize> {
        for (number, place) in self.places.iter().enumerate() {
            if let Some(status) = place.look().await
                && status.header().is_some_and(|header| header.member_id() == status.leader())
            {
                return Some(number);
            }
        }
        None
    }

    /// Up to which entry a member has applied the log, if it answers.
    pub(crate) async fn applied(&self, number: usize) -> Option<u64> {
        Some(self.places.get(number)?.look().await?.raft_applied_index())
    }

    /// So many clients, each with a connection of its own.
    ///
    /// # Errors
    /// If there is no leader to aim at.
    pub(crate) async fn connect(&self, count: usize, aim: Aim) -> Result<Vec<Client>, Failure> {
        let urls: Vec<&String> = self.places[..FOUNDERS].iter().map(|place| &place.client_url).collect();
        let leader = self.leader().await;
        let mut clients = Vec::new();
        for number in 0..count {
            let (urls, patience) = match (aim, leader) {
                (Aim::Leader, None) => return Err("etcd has no leader".into()),
                (Aim::Leader, Some(leader)) => (&urls[leader..=leader], REQUEST),
                (Aim::Spread, _) => (&urls[number % FOUNDERS..][..1], REQUEST),
                (Aim::All, _) => (&urls[..], TRY),
            };
            let options = ConnectOptions::new().with_timeout(patience);
            clients.push(Client::new(&etcd_client::Client::connect(urls, Some(options)).await?));
        }
        Ok(clients)
    }

    /// Writes a member's snapshot to a file of `directory`, and syncs that.
    ///
    /// # Errors
    /// If it does not come.
    pub(crate) async fn snapshot(&self, number: usize, directory: &Path) -> Result<PathBuf, Failure> {
        let path = directory.join("snapshot");
        let mut file = File::create(&path)?;
        let mut snapshot = self.places[number].probe.maintenance_client().snapshot().await?;
        while let Some(chunk) = snapshot.message().await? {
            file.write_all(chunk.blob())?;
        }
        file.sync_all()?;
        Ok(path)
    }

    /// Puts the spare member, whose disk is empty, in the place of another one, which is dead. When it was started.
    ///
    /// # Errors
    /// If the others do not agree within `patience`.
    pub(crate) async fn replace(&mut self, old: usize, patience: Duration) -> Result<Instant, Failure> {
        let others: Vec<usize> = (0..FOUNDERS).filter(|number| *number != old).collect();
        let mut members = self.places[others[0]].probe.cluster_client();
        let listed = members.member_list().await?;
        let gone = listed.members().iter().find(|member| member.name() == self.places[old].name);
        members.member_remove(gone.ok_or("the member is none")?.id()).await?;
        // Refused while the others have not been connected for five seconds.
        let url = &self.places[SPARE].peer_url;
        let add = async || members.member_add([url.clone()], None).await.ok();
        until("etcd to take a new member", patience, add).await?;
        let mut spare = self.member(SPARE, "existing", &[others, vec![SPARE]].concat());
        let began = Instant::now();
        spare.start()?;
        self.members.push(spare);
        Ok(began)
    }
}
