//! Loads while all members live.

use std::path::PathBuf;
use std::sync::Arc;

use cluster_tests::bench::progress::Progress;
use cluster_tests::scratch::Scratch;

use crate::arms::Arm;
use crate::client::{Aim, Client, Freshness};
use crate::cluster::Cluster;
use crate::fill::fill;
use crate::load::{self, Published, Task};
use crate::point::{Point, WATCHERS};
use crate::results::{Sample, Samples};
use crate::{Failure, Plan, make_room, watch};

/// Names that are there before anything is measured, and are asked for.
const KNOWN: u64 = 20_000;

/// One directory, with clients.
struct Ground {
    arm: Arm,
    cluster: Cluster,
    published: Arc<Published>,
    /// Clients of the leader, where it matters to whom one talks. They share some connections.
    clients: Vec<Client>,
    /// The same, each with a connection of its own.
    alone: Vec<Client>,
    /// Clients of all members in turn, at least as many as watch.
    spread: Vec<Client>,
}

impl Ground {
    async fn build(arm: Arm, round: usize, plan: &Plan, scratch: &Scratch) -> Result<Self, Failure> {
        let cluster = Cluster::found(arm, &directory(arm, round, scratch)).await?;
        let connections = cluster.connect(plan.connections, Aim::Leader).await?;
        let clients: Vec<Client> = connections.iter().cycle().take(plan.clients).cloned().collect();
        fill(&clients, KNOWN, 1, |_| {}).await?;
        Ok(Self {
            arm,
            alone: cluster.connect(plan.clients, Aim::Leader).await?,
            spread: cluster.connect(plan.clients.max(WATCHERS), Aim::Spread).await?,
            published: Arc::new(Published::after(KNOWN)),
            clients,
            cluster,
        })
    }

    async fn measure(&self, point: Point, round: usize, plan: &Plan) -> Result<Sample, Failure> {
        let cpu_time = || self.cluster.cpu_time();
        let publish = |names| Task::Publish { published: Arc::clone(&self.published), names };
        let resolve = |freshness| Task::Resolve { known: KNOWN, freshness };
        let (clients, task) = match point {
            Point::Publish(names) => (&self.clients[..], publish(names)),
            Point::PublishAlone(names) => (&self.alone[..], publish(names)),
            Point::Resolve => (&self.clients[..], resolve(Freshness::Linearizable)),
            Point::ResolveAlone => (&self.alone[..], resolve(Freshness::Linearizable)),
            Point::ResolveLocal => (&self.spread[..plan.clients], resolve(Freshness::Local)),
            Point::Watch(names) => {
                let title = format!("watched-{names}");
                let run =
                    watch::run(&self.clients[0], &self.spread[..WATCHERS], names, &title, plan, cpu_time);
                return Ok(Sample::of(point, &run.await?));
            }
        };
        Ok(Sample::of(point, &load::run(clients, &task, round as u64, plan, cpu_time).await?))
    }
}

/// Measures every arm at every point in every round. What fails is named in the samples and left out.
pub(crate) async fn measure(plan: &Plan, scratch: &Scratch, samples: &mut Samples) {
    let steps = plan.rounds * plan.points.len() * plan.steady_arms().count();
    let bar = Progress.bar("directory", steps as u64);
    for round in 0..plan.rounds {
        let mut grounds = Vec::new();
        for arm in plan.steady_arms() {
            bar.set_message(format!("starting {arm}"));
            match Ground::build(arm, round, plan, scratch).await {
                Ok(ground) => grounds.push(ground),
                Err(error) => samples.fail(arm, error),
            }
        }
        for point in &plan.points {
            for ground in &grounds {
                bar.set_message(format!("{point}: {}", ground.arm));
                match ground.measure(*point, round, plan).await {
                    Ok(sample) => samples.add(*point, ground.arm, round, sample),
                    Err(error) => samples.fail(format!("{point}: {}", ground.arm), error),
                }
                bar.inc(1);
            }
        }
        for ground in grounds {
            let directory = directory(ground.arm, round, scratch);
            drop(ground);
            make_room(&directory);
        }
    }
    bar.finish_and_clear();
}

/// Where an arm keeps its data in a round.
fn directory(arm: Arm, round: usize, scratch: &Scratch) -> PathBuf {
    scratch.path().join(format!("steady-{round}-{arm}"))
}
