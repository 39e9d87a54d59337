//! The rounds put together.

use std::collections::BTreeMap;
use std::time::Duration;

use cluster_tests::bench::spread::Spread;
use cluster_tests::bench::table::Table;
use serde::Serialize;

use crate::arms::Arm;
use crate::failover::Outage;
use crate::load::Loaded;
use crate::names::Size;
use crate::point::Point;

const MIB: f64 = 1024.0 * 1024.0;

/// One run of one arm at one point.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Names each second.
    names: f64,
    p50_us: f64,
    p99_us: f64,
    /// Processor time of all members, in microseconds for each name.
    cpu_us: f64,
}

impl Sample {
    /// What was measured at `point`.
    pub(crate) fn of(point: Point, loaded: &Loaded) -> Self {
        let (measured, names) = (&loaded.measured, point.names_per_answer() as f64);
        Self {
            names: measured.rate() * names,
            p50_us: measured.latency_us(0.5),
            p99_us: measured.latency_us(0.99),
            cpu_us: loaded.rise.as_secs_f64() * 1e6 / (measured.replies as f64 * names),
        }
    }
}

/// All rounds of everything.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    /// By point and arm, then by round.
    samples: BTreeMap<(Point, Arm), BTreeMap<usize, Sample>>,
    outages: BTreeMap<Arm, Vec<Outage>>,
    sizes: BTreeMap<Arm, (u64, Size)>,
    /// What failed, and how often.
    failures: BTreeMap<String, usize>,
}

/// What was measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Results {
    /// SmartSwitch's rates relative to etcd's, each the median over the rounds.
    pub(crate) ratio_to_etcd: Ratios,
    /// Milliseconds from the kill of SmartSwitch's leader to the first new write.
    pub(crate) failover_ms: Option<Spread>,
    /// While all is well.
    pub(crate) rows: Vec<Row>,
    /// When the leader is killed.
    pub(crate) outages: Vec<OutageRow>,
    /// Many names.
    pub(crate) sizes: Vec<SizeRow>,
    /// What could not be measured, and why.
    pub(crate) failures: Vec<String>,
}

/// SmartSwitch's rates relative to etcd's.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Ratios {
    /// Names published one at a time.
    pub(crate) write: Option<f64>,
    /// Names published in batches.
    pub(crate) batch: Option<f64>,
    /// Linearizable reads.
    pub(crate) read: Option<f64>,
    /// Names published one at a time, each client over a connection of its own.
    pub(crate) write_alone: Option<f64>,
    /// Linearizable reads, each client over a connection of its own.
    pub(crate) read_alone: Option<f64>,
}

/// One arm at one point.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// The point.
    pub(crate) point: Point,
    /// The arm.
    pub(crate) arm: Arm,
    /// Names each second; for watches, names seen by watchers.
    pub(crate) names: Spread,
    /// The same relative to etcd in the same round.
    pub(crate) of_etcd: Option<Spread>,
    /// Median latency of a request in microseconds; for watches, until the last watcher saw it.
    pub(crate) p50_us: Spread,
    /// 99th percentile.
    pub(crate) p99_us: Spread,
    /// Processor time of all members, in microseconds for each name.
    pub(crate) cpu_us: Spread,
}

/// One arm whose leader was killed.
#[derive(Debug, Serialize)]
pub(crate) struct OutageRow {
    /// The arm.
    pub(crate) arm: Arm,
    /// Milliseconds until a write was acknowledged that was begun after the kill.
    pub(crate) first_ms: Spread,
    /// Until every client had such a write.
    pub(crate) all_ms: Spread,
}

/// One arm with many names.
#[derive(Debug, Serialize)]
pub(crate) struct SizeRow {
    /// The arm.
    pub(crate) arm: Arm,
    /// How many.
    pub(crate) names: u64,
    /// Publishing them.
    pub(crate) load_seconds: f64,
    /// Memory of a member.
    pub(crate) memory_mib: f64,
    /// Memory of a member that files are mapped to.
    pub(crate) mapped_mib: f64,
    /// Disk of a member.
    pub(crate) disk_mib: f64,
    /// Writing what a member has to a file.
    pub(crate) snapshot_seconds: f64,
    /// That file.
    pub(crate) snapshot_mib: f64,
    /// From the start of all members, which were killed, to the first linearizable answer.
    pub(crate) recovery_seconds: f64,
    /// Until a member that began with an empty disk has everything.
    pub(crate) catch_up_seconds: f64,
}

impl Samples {
    /// Adds a run.
    pub(crate) fn add(&mut self, point: Point, arm: Arm, round: usize, sample: Sample) {
        self.samples.entry((point, arm)).or_default().insert(round, sample);
    }

    /// Adds kills of a leader.
    pub(crate) fn add_outages(&mut self, arm: Arm, outages: Vec<Outage>) {
        self.outages.entry(arm).or_default().extend(outages);
    }

    /// Adds what many names take.
    pub(crate) fn add_size(&mut self, arm: Arm, names: u64, size: Size) {
        self.sizes.insert(arm, (names, size));
    }

    /// Notes that something could not be measured.
    pub(crate) fn fail(&mut self, what: impl std::fmt::Display, error: impl std::fmt::Display) {
        *self.failures.entry(format!("{what}: {error}")).or_default() += 1;
    }

    /// Medians and extremes.
    pub(crate) fn summarize(self) -> Results {
        let rows: Vec<Row> = self.samples.iter().filter_map(|entry| self.row(entry)).collect();
        let ratio = |point| {
            let row = rows.iter().find(|row| (row.point, row.arm) == (point, Arm::Smartswitch))?;
            Some(row.of_etcd.as_ref()?.median)
        };
        let ratio_to_etcd = Ratios {
            write: ratio(Point::Publish(1)),
            batch: ratio(Point::Publish(crate::point::BATCH)),
            read: ratio(Point::Resolve),
            write_alone: ratio(Point::PublishAlone(1)),
            read_alone: ratio(Point::ResolveAlone),
        };
        let outages: Vec<OutageRow> = self.outages.iter().filter_map(OutageRow::of).collect();
        let own = outages.iter().find(|outage| outage.arm == Arm::Smartswitch);
        let failures = self.failures.iter().map(|(what, times)| match times {
            1 => what.clone(),
            _ => format!("{what} ({times} times)"),
        });
        Results {
            ratio_to_etcd,
            failover_ms: own.map(|outage| outage.first_ms.clone()),
            sizes: self.sizes.iter().map(|(arm, (names, size))| SizeRow::of(*arm, *names, size)).collect(),
            failures: failures.collect(),
            outages,
            rows,
        }
    }

    fn row(&self, ((point, arm), rounds): (&(Point, Arm), &BTreeMap<usize, Sample>)) -> Option<Row> {
        let spread = |of: fn(&Sample) -> f64| Spread::of(rounds.values().map(of));
        let etcd = self.samples.get(&(*point, Arm::Etcd)).filter(|_| *arm != Arm::Etcd);
        let relative = |(round, sample): (&usize, &Sample)| Some(sample.names / etcd?.get(round)?.names);
        Some(Row {
            point: *point,
            arm: *arm,
            names: spread(|sample| sample.names)?,
            of_etcd: Spread::of(rounds.iter().filter_map(relative)),
            p50_us: spread(|sample| sample.p50_us)?,
            p99_us: spread(|sample| sample.p99_us)?,
            cpu_us: spread(|sample| sample.cpu_us)?,
        })
    }
}

impl OutageRow {
    fn of((arm, outages): (&Arm, &Vec<Outage>)) -> Option<Self> {
        let spread =
            |of: fn(&Outage) -> Duration| Spread::of(outages.iter().map(|it| of(it).as_secs_f64() * 1e3));
        Some(Self { arm: *arm, first_ms: spread(|it| it.first)?, all_ms: spread(|it| it.all)? })
    }
}

impl SizeRow {
    fn of(arm: Arm, names: u64, size: &Size) -> Self {
        Self {
            arm,
            names,
            load_seconds: size.load.as_secs_f64(),
            memory_mib: size.member.memory as f64 / MIB,
            mapped_mib: size.member.mapped as f64 / MIB,
            disk_mib: size.member.disk as f64 / MIB,
            snapshot_seconds: size.snapshot.0.as_secs_f64(),
            snapshot_mib: size.snapshot.1 as f64 / MIB,
            recovery_seconds: size.recovery.as_secs_f64(),
            catch_up_seconds: size.catch_up.as_secs_f64(),
        }
    }
}

impl Results {
    /// One arm at one point, if it was measured.
    pub(crate) fn row(&self, point: Point, arm: Arm) -> Option<&Row> {
        self.rows.iter().find(|row| row.point == point && row.arm == arm)
    }

    /// One arm whose leader was killed.
    pub(crate) fn outage(&self, arm: Arm) -> Option<&OutageRow> {
        self.outages.iter().find(|outage| outage.arm == arm)
    }

    /// The tables a person reads.
    pub(crate) fn tables(&self) -> Vec<Table> {
        let mut tables = Vec::new();
        if !self.rows.is_empty() {
            tables.push(self.rate_table());
        }
        if !self.outages.is_empty() {
            tables.push(self.outage_table());
        }
        if !self.sizes.is_empty() {
            tables.push(self.size_table());
        }
        tables
    }

    fn rate_table(&self) -> Table {
        let title = "Names each second, latency of a request in microseconds, and processor time of all members for each name; \
                     for watches, names seen by watchers, and the time until the last one saw them";
        let heads = ["point", "arm", "names/s", "of etcd", "p50", "p99", "CPU us"];
        let mut table = Table::new(title, &heads);
        for row in &self.rows {
            table.row([
                row.point.to_string(),
                row.arm.to_string(),
                row.names.show(0),
                row.of_etcd.as_ref().map_or("-".to_owned(), |ratio| ratio.show(2)),
                row.p50_us.show(0),
                row.p99_us.show(0),
                row.cpu_us.show(1),
            ]);
        }
        table
    }

    fn outage_table(&self) -> Table {
        let title = "Milliseconds from kill -9 of the leader to new writes, while all clients write";
        let mut table = Table::new(title, &["arm", "kills", "the first one", "every client's"]);
        for row in &self.outages {
            let kills = row.first_ms.rounds.len().to_string();
            table.row([row.arm.to_string(), kills, row.first_ms.show(0), row.all_ms.show(0)]);
        }
        table
    }

    fn size_table(&self) -> Table {
        let title = "Many names: MiB of a member, and seconds";
        let heads = [
            "arm", "names", "load", "memory", "mapped", "disk", "snapshot", "its MiB", "recovery", "catch-up",
        ];
        let mut table = Table::new(title, &heads);
        for row in &self.sizes {
            table.row([
                row.arm.to_string(),
                row.names.to_string(),
                format!("{:.1}", row.load_seconds),
                format!("{:.0}", row.memory_mib),
                format!("{:.0}", row.mapped_mib),
                format!("{:.0}", row.disk_mib),
                format!("{:.2}", row.snapshot_seconds),
                format!("{:.0}", row.snapshot_mib),
                format!("{:.2}", row.recovery_seconds),
                format!("{:.2}", row.catch_up_seconds),
            ]);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(names: f64) -> Sample {
        Sample { names, p50_us: 1.0, p99_us: 1.0, cpu_us: 1.0 }
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let mut samples = Samples::default();
        for (round, etcd, own) in [(0, 10.0, 20.0), (1, 100.0, 300.0), (2, 10.0, 40.0)] {
            samples.add(Point::Publish(1), Arm::Etcd, round, sample(etcd));
            samples.add(Point::Publish(1), Arm::Smartswitch, round, sample(own));
        }
        samples.add(Point::Resolve, Arm::Smartswitch, 0, sample(1.0));
        let outage = |millis| Outage { first: Duration::from_millis(millis), all: Duration::from_secs(1) };
        samples.add_outages(Arm::Etcd, vec![outage(1)]);
        samples.add_outages(Arm::Smartswitch, vec![outage(300), outage(100), outage(200)]);
        samples.fail("etcd", "no such thing");
        let results = samples.summarize();
        assert_eq!(results.ratio_to_etcd.write, Some(3.0));
        assert_eq!((results.ratio_to_etcd.batch, results.ratio_to_etcd.read), (None, None));
        assert_eq!(results.failover_ms.as_ref().unwrap().median, 200.0);
        assert_eq!(results.failures, ["etcd: no such thing"]);
        let json = serde_json::to_value(&results).unwrap();
        assert_eq!(json["failover_ms"]["median"], 200.0);
        assert_eq!(json["ratio_to_etcd"]["write"], 3.0);
    }
}
