//! `bench-directory`: SmartSwitch's name directory beside etcd. Both have three members on this machine, each a process of
//! its own, and acknowledge a write when it is synced to the disks of two of them. One generator, this process, drives
//! both, with as many clients and connections, on the same cores.
//!
//! First its core is simulated, over many seeds: what is wrong is not measured.
//!
//! Rounds run through all points, and at each point through all arms, so that what disturbs the machine disturbs all alike.
//! Kills of leaders and large directories have clusters of their own, one arm after the other.

mod arms;
mod charts;
mod client;
mod cluster;
mod disk;
mod entry;
mod etcd;
mod failover;
mod fill;
mod load;
mod member;
mod names;
mod point;
mod report;
mod results;
mod simulation;
mod smartswitch;
mod steady;
mod until;
mod watch;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use cluster_tests::bench::progress::Progress;
use cluster_tests::bench::report::Output;
use cluster_tests::bench::selection::Selection;
use cluster_tests::open_files;
use cluster_tests::scratch::Scratch;
use tikv_jemallocator::Jemalloc;

use arms::Arm;
use client::Aim;
use cluster::Cluster;
use disk::Disk;
use point::{Point, WATCHERS};
use report::Report;
use results::Samples;

/// Why something could not be measured.
type Failure = Box<dyn Error + Send + Sync>;

#[derive(Debug, Parser)]
#[command(about = "Measures SmartSwitch's name directory beside etcd")]
struct Arguments {
    #[command(flatten)]
    output: Output,
    /// One round, short runs, few names and seeds: to see that all works.
    #[arg(long)]
    quick: bool,
    /// Only this arm; may be repeated. Ratios need `etcd`, too.
    #[arg(long, value_enum)]
    only: Vec<Arm>,
    #[command(flatten)]
    selection: Selection,
    /// Clients at a time.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1000))]
    clients: u16,
    /// Connections that they share, as all callers in a node share its connection: at all points but those where each client
    /// is alone on one.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000))]
    connections: u16,
    /// Kills of each arm's leader.
    #[arg(long)]
    kills: Option<usize>,
    /// Names of the large directory: etcd's members want about 1 KiB each for one, of memory and of disk.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    names: Option<u64>,
    /// Seeds of the simulation that comes first; 0: none.
    #[arg(long)]
    seeds: Option<u64>,
    /// Be a member of SmartSwitch's directory, as this file says.
    #[arg(long, hide = true)]
    serve_member: Option<PathBuf>,
    /// Where members keep their data: on a disk.
    #[arg(long, default_value = "/var/tmp")]
    directory: PathBuf,
}

/// How much is measured.
#[derive(Debug)]
struct Plan {
    rounds: usize,
    points: Vec<Point>,
    arms: Vec<Arm>,
    clients: usize,
    /// Of all clients together, where they share some.
    connections: usize,
    warm_up: Duration,
    measure: Duration,
    /// Of each leader; 0: none is killed.
    kills: usize,
    /// Of the large directory; 0: there is none.
    names: u64,
    /// Of the simulation; 0: there is none.
    seeds: u64,
}

impl Plan {
    fn of(arguments: &Arguments) -> Self {
        let (rounds, warm_up_ms, measure_ms) = if arguments.quick { (1, 300, 1000) } else { (3, 500, 3000) };
        let (kills, names, seeds) = if arguments.quick { (2, 50_000, 400) } else { (7, 1_000_000, 10_000) };
        let selection = &arguments.selection;
        let wanted = |arm: &Arm| arguments.only.is_empty() || arguments.only.contains(arm);
        Self {
            rounds: selection.rounds(rounds),
            points: Point::ALL.into_iter().filter(|point| selection.chooses(&point.to_string())).collect(),
            arms: Arm::ALL.into_iter().filter(wanted).collect(),
            clients: arguments.clients.into(),
            connections: arguments.connections.min(arguments.clients).into(),
            warm_up: Duration::from_millis(warm_up_ms),
            measure: selection.measure(Duration::from_millis(measure_ms)),
            kills: if selection.chooses("failover") { arguments.kills.unwrap_or(kills) } else { 0 },
            names: if selection.chooses("names") { arguments.names.unwrap_or(names) } else { 0 },
            seeds: if selection.chooses("simulation") { arguments.seeds.unwrap_or(seeds) } else { 0 },
        }
    }

    /// Arms that are measured while all is well.
    fn steady_arms(&self) -> impl Iterator<Item = Arm> {
        self.arms.iter().copied().filter(|arm| arm.differs_while_all_is_well())
    }
}

/// As in the product.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    if let Some(file) = &arguments.serve_member {
        match smartswitch::member::serve(file)? {}
    }
    let plan = Plan::of(&arguments);
    // A few for each connection of each arm, here and in a member; etcd's own needs are far more.
    open_files::allow(8 * (plan.clients + WATCHERS) as u64 + 4096)?;
    let scratch = Scratch::within(&arguments.directory, "bench-directory")?;
    let mut report = Report::begin(plan.rounds, plan.clients, plan.connections, Disk::probe(scratch.path())?);
    if plan.seeds > 0 {
        report.simulation = Some(simulation::run(plan.seeds)?);
    }
    // This thread starts all members: they are killed when it ends.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    report.results = runtime.block_on(measure(&plan, &scratch));
    Ok(arguments.output.publish(&report, "directory")?)
}

/// Measures everything. What fails is named in the results and left out.
async fn measure(plan: &Plan, scratch: &Scratch) -> results::Results {
    let mut samples = Samples::default();
    if !plan.points.is_empty() {
        steady::measure(plan, scratch, &mut samples).await;
    }
    if plan.kills > 0 {
        kill_leaders(plan, scratch, &mut samples).await;
    }
    if plan.names > 0 {
        fill_large_directories(plan, scratch, &mut samples).await;
    }
    samples.summarize()
}

async fn kill_leaders(plan: &Plan, scratch: &Scratch, samples: &mut Samples) {
    let bar = Progress.bar("failover", (plan.kills * plan.arms.len()) as u64);
    for arm in &plan.arms {
        bar.set_message(arm.to_string());
        let directory = scratch.path().join(format!("failover-{arm}"));
        let outages = async {
            let mut cluster = Cluster::found(*arm, &directory).await?;
            let clients = cluster.connect(plan.clients, Aim::All).await?;
            failover::run(&mut cluster, &clients, plan.kills, || bar.inc(1)).await
        };
        match outages.await {
            Ok(outages) => samples.add_outages(*arm, outages),
            Err(error) => samples.fail(format!("failover: {arm}"), error),
        }
        make_room(&directory);
    }
    bar.finish_and_clear();
}

async fn fill_large_directories(plan: &Plan, scratch: &Scratch, samples: &mut Samples) {
    let bar = Progress.bar("names", plan.names * plan.steady_arms().count() as u64);
    for arm in plan.steady_arms() {
        bar.set_message(arm.to_string());
        let directory = scratch.path().join(format!("names-{arm}"));
        let size = async {
            let mut cluster = Cluster::found(arm, &directory).await?;
            names::run(&mut cluster, plan.names, &directory, &bar).await
        };
        match size.await {
            Ok(size) => samples.add_size(arm, plan.names, size),
            Err(error) => samples.fail(format!("names: {arm}"), error),
        }
        make_room(&directory);
    }
    bar.finish_and_clear();
}

/// Removes the data of members that are gone: others may need the room. What stays goes with the rest at the end.
fn make_room(directory: &Path) {
    let _ = std::fs::remove_dir_all(directory);
}
