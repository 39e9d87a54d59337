//! Memory of the node.

use std::error::Error;

use cluster_tests::bench::table::Table;
use cluster_tests::load::{Closed, Order};
use cluster_tests::rack::Rack;
use serde::Serialize;

use crate::Plan;
use crate::rack::{Arm, Ground, VALUE_BYTES, fill, keys};

/// What the kernel says of the node's memory (`/proc/<pid>/status`), in MiB.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Resident {
    /// Resident, huge pages not counted.
    pub(crate) rss_mib: f64,
    /// Huge pages: DPDK's memory, the packet buffers above all.
    pub(crate) huge_pages_mib: f64,
}

/// A node of one worker with a cache of 16 MiB and 16384 packet buffers.
#[derive(Debug, Serialize)]
pub(crate) struct Memory {
    /// Ready, nothing asked yet.
    pub(crate) at_rest: Resident,
    /// After closed loops over values of all sizes.
    pub(crate) at_load: Resident,
}

/// Builds a rack and loads it.
///
/// # Errors
/// If the rack cannot be built or nothing is answered.
pub(crate) fn measure(plan: &Plan) -> Result<Memory, Box<dyn Error>> {
    let rack = Ground::Switch { cached: true, polling: false }.build()?;
    let at_rest = resident(&rack)?;
    fill(&rack)?;
    let target = Arm::SwitchCached.target(&rack);
    for bytes in VALUE_BYTES {
        let order = Order::zipf(keys(bytes), 0.99, 3);
        rack.client(0).run(|| Closed::open(&target, &order, 64))?.run(plan.times.throughput)?;
    }
    Ok(Memory { at_rest, at_load: resident(&rack)? })
}

fn resident(rack: &Rack) -> Result<Resident, Box<dyn Error>> {
    let id = rack.switch_process_id().ok_or("the switch has no process")?;
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let mib = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    };
    Ok(Resident { rss_mib: mib("VmRSS:"), huge_pages_mib: mib("HugetlbPages:") })
}

impl Memory {
    /// The table a person reads.
    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new(
            "Memory of the node, in MiB (one worker, 16 MiB cache, 16384 packet buffers)",
            &["when", "resident", "huge pages"],
        );
        for (when, resident) in [("at rest", self.at_rest), ("after load", self.at_load)] {
            table.row([
                when.to_owned(),
                format!("{:.1}", resident.rss_mib),
                format!("{:.1}", resident.huge_pages_mib),
            ]);
        }
        table
    }
}
