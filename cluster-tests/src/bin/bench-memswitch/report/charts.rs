//! Which plots are drawn of a report.

use cluster_tests::bench::plot::{Bar, BarChart, Group};

use crate::capacity::Capacity;
use crate::rack::{LatencyRow, RackResults, VALUE_BYTES};

use super::Report;

/// All that the report has numbers for, each with a short name.
pub(crate) fn of(report: &Report) -> Vec<(&'static str, BarChart)> {
    let mut charts = Vec::new();
    charts.extend(report.capacity.as_ref().map(|capacity| ("capacity", capacity_chart(capacity))));
    if let Some(rack) = &report.rack {
        charts.push(("throughput", throughput_chart(rack)));
        charts.push(("latency-light", normalized_chart(&rack.light)));
        charts.push(("latency-load", latency_chart(&rack.load)));
    }
    charts.retain(|(_, chart)| chart.groups.iter().any(|group| !group.bars.is_empty()));
    charts
}

fn capacity_chart(capacity: &Capacity) -> BarChart {
    BarChart {
        title: "Capacity of one core".to_owned(),
        unit: "M packets/s".to_owned(),
        series: capacity.all.iter().map(|line| line.name.clone()).collect(),
        groups: vec![Group {
            label: "net_pcap, 4096 gets, Zipf 0.99".to_owned(),
            bars: capacity.all.iter().map(|line| Some(Bar::from(&line.mpps))).collect(),
        }],
        logarithmic: false,
    }
}

fn throughput_chart(rack: &RackResults) -> BarChart {
    let arms = rack.arms();
    let group = |bytes: &usize| Group {
        label: format!("{bytes} B"),
        bars: arms.iter().map(|arm| rack.rate(*arm, *bytes).map(Bar::from)).collect(),
    };
    BarChart {
        title: "Throughput of the rack by value size, closed loop".to_owned(),
        unit: "requests/s".to_owned(),
        series: arms.iter().map(ToString::to_string).collect(),
        groups: VALUE_BYTES.iter().map(group).collect(),
        logarithmic: false,
    }
}

fn normalized_chart(rows: &[LatencyRow]) -> BarChart {
    let group = |row: &LatencyRow| Group {
        label: row.arm.to_string(),
        bars: vec![row.of_direct.as_ref().map(Bar::from), row.paper_of_direct.map(Bar::plain)],
    };
    BarChart {
        title: "Median latency at light load, relative to direct".to_owned(),
        unit: "of direct".to_owned(),
        series: vec!["measured".to_owned(), "the paper".to_owned()],
        groups: rows.iter().map(group).collect(),
        logarithmic: false,
    }
}

fn latency_chart(rows: &[LatencyRow]) -> BarChart {
    let group = |row: &LatencyRow| Group {
        label: row.arm.to_string(),
        bars: [&row.p50_us, &row.p90_us, &row.p99_us, &row.p999_us]
            .map(|spread| Some(Bar::from(spread)))
            .into(),
    };
    BarChart {
        title: "Latency at 20000 requests/s".to_owned(),
        unit: "us".to_owned(),
        series: ["50 %", "90 %", "99 %", "99.9 %"].map(str::to_owned).into(),
        groups: rows.iter().map(group).collect(),
        logarithmic: true,
    }
}
