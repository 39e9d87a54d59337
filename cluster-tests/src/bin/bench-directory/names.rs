//! What many names take: memory, disk, and the time until a cluster or a member has them again.

use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use crate::Failure;
use crate::client::{Aim, Freshness};
use crate::cluster::{Cluster, FOUNDERS};
use crate::entry::{CLUSTER, Entry};
use crate::fill::fill;
use crate::member::Footprint;
use crate::until::until;

/// Clients that publish.
const CLIENTS: usize = 16;
/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(600);

/// What so many names take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Publishing them.
    pub(crate) load: Duration,
    /// Each member, on average.
    pub(crate) member: Footprint,
    /// Writing what a member has to a file, and the bytes of that.
    pub(crate) snapshot: (Duration, u64),
    /// From the start of all members, which were killed, to the first linearizable answer.
    pub(crate) recovery: Duration,
    /// From the start of a member with an empty disk, in the place of a dead one, until it has everything.
    pub(crate) catch_up: Duration,
}

/// Publishes `names` names in an empty directory, and looks what they take.
///
/// # Errors
/// The first failure.
pub(crate) async fn run(
    cluster: &mut Cluster,
    names: u64,
    scratch: &Path,
    bar: &ProgressBar,
) -> Result<Size, Failure> {
    let clients = cluster.connect(CLIENTS, Aim::Leader).await?;
    let (began, told) = (Instant::now(), bar.clone());
    fill(&clients, names, cluster.largest_batch(), move |count| told.inc(count)).await?;
    let load = began.elapsed();
    let footprints = cluster.footprints();
    let mean = |of: fn(&Footprint) -> u64| footprints.iter().map(of).sum::<u64>() / FOUNDERS as u64;
    let member =
        Footprint { memory: mean(|it| it.memory), mapped: mean(|it| it.mapped), disk: mean(|it| it.disk) };

    bar.set_message("snapshot");
    let began = Instant::now();
    let file = cluster.snapshot(0, scratch).await?;
    let snapshot = (began.elapsed(), std::fs::metadata(&file)?.len());
    std::fs::remove_file(&file)?;

    bar.set_message("recovery");
    cluster.members_mut().iter_mut().for_each(|member| member.kill());
    let began = Instant::now();
    for member in cluster.members_mut() {
        member.start()?;
    }
    let clients = cluster.connect(1, Aim::All).await?;
    let last = Entry::of(CLUSTER, names - 1);
    let answers = async || match clients[0].resolve(&last.name, Freshness::Linearizable).await {
        Ok(digest) => Some(digest == Some(last.digest)),
        Err(_) => None,
    };
    let found = until("an answer after a restart", PATIENCE, answers).await?;
    let recovery = began.elapsed();
    if !found {
        return Err(format!("{} is lost after a restart", last.name).into());
    }

    bar.set_message("catching up");
    let leader = until("a leader", PATIENCE, async || cluster.leader().await).await?;
    let dead = (leader + 1) % FOUNDERS;
    cluster.members_mut()[dead].kill();
    let catch_up = cluster.replace(dead, PATIENCE).await?;
    Ok(Size { load, member, snapshot, recovery, catch_up })
}
