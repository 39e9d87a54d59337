//! What is printed and saved.

use cluster_tests::bench::plot::BarChart;
use cluster_tests::bench::report;
use cluster_tests::bench::results::Run;
use cluster_tests::bench::table::Table;
use serde::Serialize;

use crate::charts;
use crate::results::Results;

/// The results of one call of the program.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// When, where and how.
    #[serde(flatten)]
    run: Run,
    /// What was measured.
    #[serde(flatten)]
    pub(crate) results: Results,
}

impl Report {
    /// An empty one, for here and now.
    pub(crate) fn begin(rounds: usize) -> Self {
        Self { run: Run::begin(rounds), results: Results::default() }
    }
}

impl report::Report for Report {
    fn run(&self) -> &Run {
        &self.run
    }

    fn tables(&self) -> Vec<Table> {
        self.results.tables()
    }

    fn charts(&self) -> Vec<(&'static str, BarChart)> {
        charts::of(&self.results)
    }

    fn failures(&self) -> Vec<&str> {
        self.results.failures.iter().map(String::as_str).collect()
    }
}
