//! `bench-memcached`: what memcached clients over TCP pay for a middle box on one core: twemproxy, or SmartSwitch with
//! and without its cache, in front of two memcached servers; no middle box at all; and a server in its place that does
//! nothing but use its sockets.
//!
//! Load comes over the loopback interface. Middle boxes share one core, everything else the others. Rounds run through
//! all points, and at each point through all arms, so that what disturbs the machine disturbs all alike.

mod arms;
mod bare;
mod charts;
mod cores;
mod ground;
mod measure;
mod point;
mod report;
mod results;

use std::error::Error;
use std::net::SocketAddrV4;
use std::time::Duration;

use clap::Parser;
use cluster_tests::bench::progress::Progress;
use cluster_tests::bench::report::Output;
use cluster_tests::bench::selection::Selection;
use cluster_tests::load::Order;
use cluster_tests::open_files;
use indicatif::ProgressBar;

use arms::Arm;
use cores::Cores;
use ground::Ground;
use point::Point;
use report::Report;
use results::Samples;

#[derive(Debug, Parser)]
#[command(about = "Measures SmartSwitch's memcached proxy beside twemproxy and no middle box")]
struct Arguments {
    #[command(flatten)]
    output: Output,
    /// One round, short runs: to see that all works.
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Every combination of keys, values, connections and depth, not only chosen ones: about 20 minutes.
    #[arg(long)]
    full: bool,
    /// Only this arm; may be repeated. Ratios need `twemproxy`, too.
    #[arg(long, value_enum)]
    only: Vec<Arm>,
    /// Be the server of the arm `bare` on this address.
    #[arg(long, hide = true)]
    serve_bare: Option<SocketAddrV4>,
    #[command(flatten)]
    selection: Selection,
}

/// How much is measured.
#[derive(Debug)]
struct Plan {
    rounds: usize,
    points: Vec<Point>,
    arms: Vec<Arm>,
    warm_up: Duration,
    measure: Duration,
}

impl Plan {
    fn of(arguments: &Arguments) -> Self {
        let (rounds, warm_up_ms, measure_ms) = if arguments.quick { (1, 100, 200) } else { (3, 250, 1000) };
        let wanted = |arm: &Arm| arguments.only.is_empty() || arguments.only.contains(arm);
        let points = if arguments.full { point::all() } else { point::chosen() };
        let selection = &arguments.selection;
        Self {
            rounds: selection.rounds(rounds),
            points: points.into_iter().filter(|point| selection.chooses(&point.to_string())).collect(),
            arms: Arm::ALL.into_iter().filter(wanted).collect(),
            warm_up: Duration::from_millis(warm_up_ms),
            measure: selection.measure(Duration::from_millis(measure_ms)),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    if let Some(listen) = arguments.serve_bare {
        open_files::allow(point::MOST_CONNECTIONS as u64 + 100)?;
        match bare::serve(listen, point::key_sets())? {}
    }
    let plan = Plan::of(&arguments);
    let mut report = Report::begin(plan.rounds);
    // Two sides of each connection.
    open_files::allow(2 * point::MOST_CONNECTIONS as u64 + 100)?;
    let cores = Cores::of_this_process()?;
    report.results = measure(&plan, &cores)?;
    arguments.output.publish(&report, if arguments.full { "memcached-full" } else { "memcached" })?;
    Ok(())
}

/// Measures every arm at every point in every round. What fails is named in the results and left out.
fn measure(plan: &Plan, cores: &Cores) -> Result<results::Results, Box<dyn Error>> {
    let steps = plan.rounds * plan.points.len() * plan.arms.len();
    let bar = Progress.bar("memcached", steps as u64);
    let mut samples = Samples::default();
    for round in 0..plan.rounds {
        bar.set_message("starting servers and middle boxes");
        let ground = Ground::build(&plan.arms, cores, |arm, error| samples.fail(arm, error))?;
        for point in &plan.points {
            measure_point(round, *point, plan, &ground, &bar, &mut samples);
        }
    }
    bar.finish_and_clear();
    Ok(samples.summarize())
}

fn measure_point(
    round: usize,
    point: Point,
    plan: &Plan,
    ground: &Ground,
    bar: &ProgressBar,
    samples: &mut Samples,
) {
    let order = Order::zipf_of_several(point.keys(), point.keys_per_get, point::EXPONENT, round as u64);
    for arm in &plan.arms {
        bar.set_message(format!("{point}: {arm}"));
        if let Some(subject) = ground.subject(*arm) {
            match measure::measure(point, &order, &subject, plan) {
                Ok(sample) => samples.add(point, *arm, round, sample),
                Err(error) => samples.fail(format!("{point}: {arm}"), error),
            }
        }
        bar.inc(1);
    }
}
