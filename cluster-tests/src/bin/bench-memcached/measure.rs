//! One run of one arm.

use std::error::Error;
use std::time::Duration;

use cluster_tests::RackError;
use cluster_tests::bench::cpu_time;
use cluster_tests::load::{Closed, Order};
use cluster_tests::loopback::Service;

use crate::Plan;
use crate::ground::Subject;
use crate::point::Point;

/// What was measured in one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Replies each second.
    pub(crate) rate: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    /// The share of keys that no server was asked for.
    pub(crate) hit_share: f64,
    /// Of the middle box, if there is one.
    pub(crate) middle_box: Option<BoxSample>,
}

/// What a middle box took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BoxSample {
    /// Replies for each second of processor time.
    pub(crate) per_cpu_second: f64,
    /// The share of its core that it used: near 1, it is what bounds the rate.
    pub(crate) core_share: f64,
}

/// Loads the arm. Requests without a reply, and replies that are not right, are errors.
pub(crate) fn measure(
    point: Point,
    order: &Order,
    subject: &Subject<'_>,
    plan: &Plan,
) -> Result<Sample, Box<dyn Error>> {
    let mut load = Closed::open(&subject.target(point.connections), order, point.outstanding())?;
    load.run(plan.warm_up)?;
    let cpu_time = || subject.middle_box.and_then(|service| cpu_time::of(service.process_id()));
    let (gets_before, cpu_before) = (gets(subject.servers)?, cpu_time());
    let measured = load.run(plan.measure)?;
    let (cpu_after, gets_after) = (cpu_time(), gets(subject.servers)?);
    let without_reply = load.finish()?;
    if measured.replies == 0 || without_reply > 0 {
        return Err(format!("{} replies, {without_reply} requests without one", measured.replies).into());
    }
    let keys = measured.replies as f64 * point.keys_per_get as f64;
    let cpu = cpu_before.zip(cpu_after).map(|(before, after)| after.saturating_sub(before));
    let box_sample = |cpu: Duration| BoxSample {
        per_cpu_second: measured.replies as f64 / cpu.as_secs_f64(),
        core_share: cpu.as_secs_f64() / measured.elapsed.as_secs_f64(),
    };
    Ok(Sample {
        rate: measured.rate(),
        p50_us: measured.latency_us(0.5),
        p99_us: measured.latency_us(0.99),
        p999_us: measured.latency_us(0.999),
        hit_share: (1.0 - (gets_after - gets_before) as f64 / keys).max(0.0),
        middle_box: cpu.filter(|cpu| !cpu.is_zero()).map(box_sample),
    })
}

/// Keys that the servers have been asked for so far.
fn gets(servers: &[Service]) -> Result<u64, RackError> {
    servers.iter().map(|server| Ok(server.stat("cmd_get")?.unwrap_or(0))).sum()
}
