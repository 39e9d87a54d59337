//! The rounds put together.

use std::collections::BTreeMap;

use cluster_tests::bench::spread::Spread;
use cluster_tests::bench::table::Table;
use serde::Serialize;

use crate::arms::Arm;
use crate::measure::{BoxSample, Sample};
use crate::point::{Point, bytes};

/// All rounds of everything.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    /// By point and arm, then by round.
    samples: BTreeMap<(Point, Arm), BTreeMap<usize, Sample>>,
    /// What failed, and in how many rounds.
    failures: BTreeMap<String, usize>,
}

/// What was measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Results {
    /// Requests per processor second of SmartSwitch, relative to twemproxy.
    pub(crate) ratio_to_twemproxy: Ratios,
    /// Everything.
    pub(crate) rows: Vec<Row>,
    /// What could not be measured, and why.
    pub(crate) failures: Vec<String>,
}

/// Both arms of SmartSwitch.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Ratios {
    /// Without its cache.
    pub(crate) miss: Option<Ratio>,
    /// With its cache.
    pub(crate) hit: Option<Ratio>,
}

/// Over all points, the ratio of each being the median of its rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Ratio {
    /// The least.
    pub(crate) min: f64,
    /// The point at which it is the least.
    pub(crate) min_at: String,
    /// The median.
    pub(crate) median: f64,
    /// How many points.
    pub(crate) points: usize,
}

/// One arm at one point.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// The point.
    #[serde(flatten)]
    pub(crate) point: Point,
    /// The arm.
    pub(crate) arm: Arm,
    /// Replies each second.
    pub(crate) rate: Spread,
    /// Median latency in microseconds.
    pub(crate) p50_us: Spread,
    /// 99th percentile.
    pub(crate) p99_us: Spread,
    /// 99.9th percentile.
    pub(crate) p999_us: Spread,
    /// The share of keys that no server was asked for.
    pub(crate) hit_share: Spread,
    /// Replies for each second of the middle box's processor time.
    pub(crate) per_cpu_second: Option<Spread>,
    /// The same relative to twemproxy in the same round.
    pub(crate) of_twemproxy: Option<Spread>,
    /// The same relative to a server that does nothing but use its sockets.
    pub(crate) of_bare: Option<Spread>,
    /// The share of its core that the middle box used.
    pub(crate) core_share: Option<Spread>,
}

impl Samples {
    /// Adds a run.
    pub(crate) fn add(&mut self, point: Point, arm: Arm, round: usize, sample: Sample) {
        self.samples.entry((point, arm)).or_default().insert(round, sample);
    }

    /// Notes that something could not be measured in a round.
    pub(crate) fn fail(&mut self, what: impl std::fmt::Display, error: impl std::fmt::Display) {
        *self.failures.entry(format!("{what}: {error}")).or_default() += 1;
    }

    /// Medians and extremes.
    pub(crate) fn summarize(self) -> Results {
        let rows: Vec<Row> = self.samples.iter().filter_map(|entry| self.row(entry)).collect();
        let ratio = |arm| Ratio::of(rows.iter().filter(|row| row.arm == arm));
        let ratio_to_twemproxy = Ratios { miss: ratio(Arm::Miss), hit: ratio(Arm::Hit) };
        let failures = self.failures.iter().map(|(what, rounds)| format!("{what} ({rounds} rounds)"));
        Results { ratio_to_twemproxy, failures: failures.collect(), rows }
    }

    fn row(&self, ((point, arm), rounds): (&(Point, Arm), &BTreeMap<usize, Sample>)) -> Option<Row> {
        let spread = |of: fn(&Sample) -> f64| Spread::of(rounds.values().map(of));
        let of_box = |of: fn(BoxSample) -> f64| {
            Spread::of(rounds.values().filter_map(|sample| sample.middle_box.map(of)))
        };
        Some(Row {
            point: *point,
            arm: *arm,
            rate: spread(|sample| sample.rate)?,
            p50_us: spread(|sample| sample.p50_us)?,
            p99_us: spread(|sample| sample.p99_us)?,
            p999_us: spread(|sample| sample.p999_us)?,
            hit_share: spread(|sample| sample.hit_share)?,
            per_cpu_second: of_box(|middle_box| middle_box.per_cpu_second),
            of_twemproxy: self.relative(*point, rounds, Arm::Twemproxy),
            of_bare: self.relative(*point, rounds, Arm::Bare),
            core_share: of_box(|middle_box| middle_box.core_share),
        })
    }

    /// Requests per processor second relative to another arm's, of the rounds in which both were measured.
    fn relative(&self, point: Point, rounds: &BTreeMap<usize, Sample>, to: Arm) -> Option<Spread> {
        let other = self.samples.get(&(point, to))?;
        let per_cpu_second = |sample: &Sample| Some(sample.middle_box?.per_cpu_second);
        Spread::of(
            rounds.iter().filter_map(|(round, sample)| {
                Some(per_cpu_second(sample)? / per_cpu_second(other.get(round)?)?)
            }),
        )
    }
}

impl Ratio {
    fn of<'a>(rows: impl Iterator<Item = &'a Row>) -> Option<Self> {
        let ratios: Vec<(f64, Point)> =
            rows.filter_map(|row| Some((row.of_twemproxy.as_ref()?.median, row.point))).collect();
        let (min, point) = ratios.iter().min_by(|one, other| one.0.total_cmp(&other.0))?;
        let median = Spread::of(ratios.iter().map(|(ratio, _)| *ratio))?.median;
        Some(Self { min: *min, min_at: point.to_string(), median, points: ratios.len() })
    }
}

impl Results {
    /// One arm at one point, if it was measured.
    pub(crate) fn row(&self, point: Point, arm: Arm) -> Option<&Row> {
        self.rows.iter().find(|row| row.point == point && row.arm == arm)
    }

    /// The tables a person reads.
    pub(crate) fn tables(&self) -> Vec<Table> {
        let mut tables = Vec::from_iter(self.ratio_table());
        if !self.rows.is_empty() {
            tables.extend([self.cost_table(), self.whole_table()]);
        }
        tables
    }

    fn ratio_table(&self) -> Option<Table> {
        let title = "Requests per CPU-second, relative to twemproxy, over all points";
        let mut table = Table::new(title, &["arm", "least", "at", "median", "points"]);
        let Ratios { miss, hit } = &self.ratio_to_twemproxy;
        let arms = [(Arm::Miss, miss), (Arm::Hit, hit)];
        if arms.iter().all(|(_, ratio)| ratio.is_none()) {
            return None;
        }
        for (arm, ratio) in arms {
            let Some(Ratio { min, min_at, median, points }) = ratio else { continue };
            table.row([
                arm.to_string(),
                format!("{min:.2}"),
                min_at.clone(),
                format!("{median:.2}"),
                points.to_string(),
            ]);
        }
        Some(table)
    }

    fn cost_table(&self) -> Table {
        let title = "Requests per CPU-second of the middle box (median, least..greatest)";
        let heads = [
            "keys",
            "value",
            "conn",
            "depth",
            "twemproxy",
            "miss",
            "ratio",
            "hit",
            "ratio",
            "bare",
            "hit/bare",
        ];
        let mut table = Table::new(title, &heads);
        let mut points: Vec<Point> = self.rows.iter().map(|row| row.point).collect();
        points.dedup();
        for point in points {
            let cost = |arm| show(self.row(point, arm).and_then(|row| row.per_cpu_second.as_ref()), 0);
            let ratio = |arm| show(self.row(point, arm).and_then(|row| row.of_twemproxy.as_ref()), 2);
            let of_bare = show(self.row(point, Arm::Hit).and_then(|row| row.of_bare.as_ref()), 2);
            let costs = [
                cost(Arm::Twemproxy),
                cost(Arm::Miss),
                ratio(Arm::Miss),
                cost(Arm::Hit),
                ratio(Arm::Hit),
                cost(Arm::Bare),
                of_bare,
            ];
            table.row(cells(point).into_iter().chain(costs));
        }
        table
    }

    fn whole_table(&self) -> Table {
        let title = "Requests per second, latency in microseconds, the share of its core that the middle box used, \
                     and of keys that it did not ask a server for";
        let heads =
            ["keys", "value", "conn", "depth", "arm", "requests/s", "p50", "p99", "p99.9", "core", "hits"];
        let mut table = Table::new(title, &heads);
        for row in &self.rows {
            table.row(cells(row.point).into_iter().chain([
                row.arm.to_string(),
                row.rate.show(0),
                row.p50_us.show(0),
                row.p99_us.show(0),
                row.p999_us.show(0),
                show(row.core_share.as_ref(), 2),
                if row.core_share.is_some() {
                    format!("{:.0} %", row.hit_share.median * 100.0)
                } else {
                    "-".to_owned()
                },
            ]));
        }
        table
    }
}

fn cells(point: Point) -> [String; 4] {
    [
        point.keys_per_get.to_string(),
        bytes(point.value_bytes),
        point.connections.to_string(),
        point.depth.to_string(),
    ]
}

fn show(spread: Option<&Spread>, digits: usize) -> String {
    spread.map_or("-".to_owned(), |spread| spread.show(digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(per_cpu_second: f64) -> Sample {
        let middle_box = Some(BoxSample { per_cpu_second, core_share: 1.0 });
        Sample { rate: 1.0, p50_us: 1.0, p99_us: 1.0, p999_us: 1.0, hit_share: 0.0, middle_box }
    }

    #[test]
    fn ratios_are_of_the_same_round_and_the_least_names_its_point() {
        let [one, other] = [crate::point::all()[0], crate::point::all()[1]];
        let mut samples = Samples::default();
        for (round, twemproxy, miss) in [(0, 10.0, 20.0), (1, 100.0, 300.0), (2, 10.0, 40.0)] {
            samples.add(one, Arm::Twemproxy, round, sample(twemproxy));
            samples.add(one, Arm::Miss, round, sample(miss));
        }
        samples.add(other, Arm::Twemproxy, 1, sample(10.0));
        samples.add(other, Arm::Miss, 0, sample(1.0));
        samples.add(other, Arm::Miss, 1, sample(15.0));
        samples.fail("hit", "no such thing");
        let results = samples.summarize();
        let miss = results.ratio_to_twemproxy.miss.as_ref().unwrap();
        assert_eq!((miss.min, miss.median, miss.points), (1.5, 2.25, 2));
        assert_eq!(miss.min_at, other.to_string());
        assert!(results.ratio_to_twemproxy.hit.is_none());
        assert_eq!(results.failures, ["hit: no such thing (1 rounds)"]);
    }
}
