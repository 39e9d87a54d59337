//! Which plots are drawn.

use cluster_tests::bench::plot::{Bar, BarChart, Group};

use crate::arms::Arm;
use crate::point::{Line, lines};
use crate::results::Results;

/// One for each line of points, each with a short name.
pub(crate) fn of(results: &Results) -> Vec<(&'static str, BarChart)> {
    let mut charts: Vec<_> = lines().iter().map(|line| (line.name, chart(results, line))).collect();
    charts.retain(|(_, chart)| chart.groups.iter().any(|group| group.bars.iter().any(Option::is_some)));
    charts
}

fn chart(results: &Results, line: &Line) -> BarChart {
    let arms = [Arm::Twemproxy, Arm::Miss, Arm::Hit];
    let groups = line.points.iter().map(|(label, point)| Group {
        label: label.clone(),
        bars: arms.map(|arm| results.row(*point, arm)?.per_cpu_second.as_ref().map(Bar::from)).into(),
    });
    BarChart {
        title: format!("Requests per CPU-second of the middle box {}", line.title),
        unit: "requests".to_owned(),
        series: arms.map(|arm| arm.to_string()).into(),
        groups: groups.collect(),
        logarithmic: true,
    }
}
