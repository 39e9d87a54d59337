//! The rounds put together.

use std::collections::BTreeMap;

use cluster_tests::bench::spread::Spread;
use cluster_tests::bench::table::Table;
use serde::Serialize;

use super::{Arm, LOAD_RATE, OUTSTANDING, VALUE_BYTES};

/// One closed loop.
#[derive(Clone, Debug)]
pub(crate) struct Throughput {
    pub(crate) rate: f64,
    pub(crate) lost: u64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) box_seconds_per_million: Option<f64>,
    pub(crate) hit_share: Option<f64>,
}

/// One open loop.
#[derive(Clone, Debug)]
pub(crate) struct Latency {
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) replies: u64,
    pub(crate) lost: u64,
    pub(crate) late: u64,
}

/// All rounds of everything.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    pub(crate) throughput: BTreeMap<(Arm, usize), Vec<Throughput>>,
    pub(crate) light: BTreeMap<Arm, Vec<Latency>>,
    pub(crate) load: BTreeMap<Arm, Vec<Latency>>,
    /// What failed, and in how many rounds.
    pub(crate) failures: BTreeMap<String, usize>,
}

/// What was measured in racks.
#[derive(Debug, Serialize)]
pub(crate) struct RackResults {
    /// Closed loop, by arm and value size.
    pub(crate) throughput: Vec<ThroughputRow>,
    /// At light load.
    pub(crate) light: Vec<LatencyRow>,
    /// At load.
    pub(crate) load: Vec<LatencyRow>,
    /// What could not be measured, and why.
    pub(crate) failures: Vec<String>,
}

/// Closed loop of one arm with one value size.
#[derive(Debug, Serialize)]
pub(crate) struct ThroughputRow {
    /// The arm.
    pub(crate) arm: Arm,
    /// Bytes of each value.
    pub(crate) value_bytes: usize,
    /// Replies each second.
    pub(crate) rate: Spread,
    /// Requests without a reply, all rounds together.
    pub(crate) lost: u64,
    /// Median latency in microseconds.
    pub(crate) p50_us: Spread,
    /// 99th percentile.
    pub(crate) p99_us: Spread,
    /// Processor seconds of the middle box for a million replies.
    pub(crate) box_seconds_per_million: Option<Spread>,
    /// The share of requests that the switch answered itself.
    pub(crate) hit_share: Option<Spread>,
    /// The paper's rate.
    pub(crate) paper_rate: Option<f64>,
}

/// Open loop of one arm.
#[derive(Debug, Serialize)]
pub(crate) struct LatencyRow {
    /// The arm.
    pub(crate) arm: Arm,
    /// Median latency in microseconds.
    pub(crate) p50_us: Spread,
    /// 90th percentile.
    pub(crate) p90_us: Spread,
    /// 99th percentile.
    pub(crate) p99_us: Spread,
    /// 99.9th percentile.
    pub(crate) p999_us: Spread,
    /// The median relative to the direct way over the same transport in the same round.
    pub(crate) of_direct: Option<Spread>,
    /// The paper's figure for the same.
    pub(crate) paper_of_direct: Option<f64>,
    /// Replies, all rounds together.
    pub(crate) replies: u64,
    /// Requests without a reply, all rounds together.
    pub(crate) lost: u64,
    /// Requests that the generator sent more than a millisecond late.
    pub(crate) late: u64,
}

impl Samples {
    /// Notes that something could not be measured in a round.
    pub(crate) fn fail(&mut self, what: impl std::fmt::Display, error: impl std::fmt::Display) {
        *self.failures.entry(format!("{what}: {error}")).or_default() += 1;
    }

    /// Medians and extremes.
    pub(crate) fn summarize(self) -> RackResults {
        let rows =
            self.throughput.iter().filter_map(|((arm, bytes), rounds)| throughput_row(*arm, *bytes, rounds));
        RackResults {
            throughput: rows.collect(),
            light: latency_rows(&self.light, true),
            load: latency_rows(&self.load, false),
            failures: self
                .failures
                .iter()
                .map(|(what, rounds)| format!("{what} ({rounds} rounds)"))
                .collect(),
        }
    }
}

fn throughput_row(arm: Arm, value_bytes: usize, rounds: &[Throughput]) -> Option<ThroughputRow> {
    let spread = |of: fn(&Throughput) -> f64| Spread::of(rounds.iter().map(of));
    Some(ThroughputRow {
        arm,
        value_bytes,
        rate: spread(|round| round.rate)?,
        lost: rounds.iter().map(|round| round.lost).sum(),
        p50_us: spread(|round| round.p50_us)?,
        p99_us: spread(|round| round.p99_us)?,
        box_seconds_per_million: Spread::of(rounds.iter().filter_map(|round| round.box_seconds_per_million)),
        hit_share: Spread::of(rounds.iter().filter_map(|round| round.hit_share)),
        paper_rate: arm.paper_rate().filter(|_| value_bytes == VALUE_BYTES[0]),
    })
}

fn latency_rows(samples: &BTreeMap<Arm, Vec<Latency>>, light: bool) -> Vec<LatencyRow> {
    let medians = |arm: Arm| -> Vec<f64> {
        samples.get(&arm).into_iter().flatten().map(|round| round.p50_us).collect()
    };
    let row = |(arm, rounds): (&Arm, &Vec<Latency>)| {
        let spread = |of: fn(&Latency) -> f64| Spread::of(rounds.iter().map(of));
        Some(LatencyRow {
            arm: *arm,
            p50_us: spread(|round| round.p50_us)?,
            p90_us: spread(|round| round.p90_us)?,
            p99_us: spread(|round| round.p99_us)?,
            p999_us: spread(|round| round.p999_us)?,
            of_direct: Spread::of_ratios(&medians(*arm), &medians(arm.direct())),
            paper_of_direct: arm.paper_latency().filter(|_| light),
            replies: rounds.iter().map(|round| round.replies).sum(),
            lost: rounds.iter().map(|round| round.lost).sum(),
            late: rounds.iter().map(|round| round.late).sum(),
        })
    };
    samples.iter().filter_map(row).collect()
}

impl RackResults {
    /// The tables a person reads.
    pub(crate) fn tables(&self) -> Vec<Table> {
        let mut tables = Vec::new();
        if !self.throughput.is_empty() {
            tables.push(self.throughput_table());
            tables.push(self.size_table());
        }
        let light = "Latency at light load, in microseconds (100 requests/s, Poisson, 2 keys of 32 B values)";
        let load =
            format!("Latency at {LOAD_RATE} requests/s, in microseconds (Poisson, Zipf 0.99, 32 B values)");
        for (title, rows) in [(light, &self.light), (load.as_str(), &self.load)] {
            if !rows.is_empty() {
                tables.push(latency_table(title, rows));
            }
        }
        tables
    }

    fn throughput_table(&self) -> Table {
        let title = format!(
            "Throughput of the whole rack (closed loop, {OUTSTANDING} under way, Zipf 0.99, 32 B values)"
        );
        let heads =
            ["arm", "requests/s", "of twemproxy", "p50 us", "p99 us", "box CPU s/M", "hits", "lost", "paper"];
        let mut table = Table::new(&title, &heads);
        let of_size = |row: &&ThroughputRow| row.value_bytes == VALUE_BYTES[0];
        let twemproxy = self.throughput.iter().filter(of_size).find(|row| row.arm == Arm::Twemproxy);
        for row in self.throughput.iter().filter(of_size) {
            let relative = twemproxy.and_then(|base| Spread::of_ratios(&row.rate.rounds, &base.rate.rounds));
            table.row([
                row.arm.to_string(),
                row.rate.show(0),
                show(relative.as_ref(), 2),
                row.p50_us.show(0),
                row.p99_us.show(0),
                show(row.box_seconds_per_million.as_ref(), 2),
                row.hit_share
                    .as_ref()
                    .map_or("-".to_owned(), |share| format!("{:.0} %", share.median * 100.0)),
                row.lost.to_string(),
                row.paper_rate.map_or("-".to_owned(), |rate| format!("{rate:.0}")),
            ]);
        }
        table
    }

    fn size_table(&self) -> Table {
        let heads: Vec<String> = VALUE_BYTES.iter().map(|bytes| format!("{bytes} B")).collect();
        let heads: Vec<&str> = std::iter::once("arm").chain(heads.iter().map(String::as_str)).collect();
        let mut table =
            Table::new("Throughput by value size, in 1000 requests/s (the same closed loop)", &heads);
        for arm in self.arms() {
            let cell = |bytes: &usize| show(self.rate(arm, *bytes).map(scale_thousand).as_ref(), 1);
            table.row(std::iter::once(arm.to_string()).chain(VALUE_BYTES.iter().map(cell)));
        }
        table
    }

    /// The arms under load.
    pub(crate) fn arms(&self) -> Vec<Arm> {
        let mut arms: Vec<Arm> = self.throughput.iter().map(|row| row.arm).collect();
        arms.dedup();
        arms
    }

    /// Throughput of `arm` with values of `bytes`.
    pub(crate) fn rate(&self, arm: Arm, bytes: usize) -> Option<&Spread> {
        let row = self.throughput.iter().find(|row| row.arm == arm && row.value_bytes == bytes)?;
        Some(&row.rate)
    }
}

fn latency_table(title: &str, rows: &[LatencyRow]) -> Table {
    let heads = ["arm", "p50", "p90", "p99", "p99.9", "p50 of direct", "paper", "replies", "lost", "late"];
    let mut table = Table::new(title, &heads);
    for row in rows {
        table.row([
            row.arm.to_string(),
            row.p50_us.show(0),
            row.p90_us.show(0),
            row.p99_us.show(0),
            row.p999_us.show(0),
            show(row.of_direct.as_ref(), 2),
            row.paper_of_direct.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
            row.replies.to_string(),
            row.lost.to_string(),
            row.late.to_string(),
        ]);
    }
    table
}

fn scale_thousand(spread: &Spread) -> Spread {
    let rounds: Vec<f64> = spread.rounds.iter().map(|rate| rate / 1000.0).collect();
    Spread { median: spread.median / 1000.0, min: spread.min / 1000.0, max: spread.max / 1000.0, rounds }
}

fn show(spread: Option<&Spread>, digits: usize) -> String {
    spread.map_or("-".to_owned(), |spread| spread.show(digits))
}
