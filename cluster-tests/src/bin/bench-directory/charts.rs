//! Which plots are drawn.

use cluster_tests::bench::plot::{Bar, BarChart, Group};
use cluster_tests::bench::spread::Spread;

use crate::arms::Arm;
use crate::point::Point;
use crate::results::{OutageRow, Results};

/// Those that something was measured for, each with a short name.
pub(crate) fn of(results: &Results) -> Vec<(&'static str, BarChart)> {
    let mut charts = vec![("rates", rates(results)), ("failover", failover(results))];
    charts.retain(|(_, chart)| chart.groups.iter().any(|group| group.bars.iter().any(Option::is_some)));
    charts
}

fn rates(results: &Results) -> BarChart {
    let arms = [Arm::Etcd, Arm::Smartswitch];
    let groups = Point::ALL.into_iter().map(|point| Group {
        label: point.to_string(),
        bars: arms.map(|arm| results.row(point, arm).map(|row| Bar::from(&row.names))).into(),
    });
    BarChart {
        title: "Names each second (watch: names seen by watchers)".to_owned(),
        unit: "names/s".to_owned(),
        series: arms.map(|arm| arm.to_string()).into(),
        groups: groups.collect(),
        logarithmic: true,
    }
}

fn failover(results: &Results) -> BarChart {
    let group = |label: &str, of: fn(&OutageRow) -> &Spread| Group {
        label: label.to_owned(),
        bars: Arm::ALL.map(|arm| results.outage(arm).map(|row| Bar::from(of(row)))).into(),
    };
    BarChart {
        title: "From kill -9 of the leader to new writes".to_owned(),
        unit: "ms".to_owned(),
        series: Arm::ALL.map(|arm| arm.to_string()).into(),
        groups: vec![group("the first one", |row| &row.first_ms), group("every client's", |row| &row.all_ms)],
        logarithmic: false,
    }
}
