//! What is printed and saved.

use cluster_tests::bench::plot::BarChart;
use cluster_tests::bench::report;
use cluster_tests::bench::results::Run;
use cluster_tests::bench::table::Table;
use serde::Serialize;

use crate::charts;
use crate::disk::Disk;
use crate::results::Results;
use crate::simulation::Simulated;

/// The results of one call of the program.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// When, where and how.
    #[serde(flatten)]
    run: Run,
    /// Where members kept their data.
    disk: Disk,
    /// Clients at a time.
    clients: usize,
    connections: usize,
    /// Runs of the simulation, if there were some.
    pub(crate) simulation: Option<Simulated>,
    /// What was measured.
    #[serde(flatten)]
    pub(crate) results: Results,
}

impl Report {
    /// An empty one, for here and now.
    pub(crate) fn begin(rounds: usize, clients: usize, connections: usize, disk: Disk) -> Self {
        Self {
            run: Run::begin(rounds),
            disk,
            clients,
            connections,
            simulation: None,
            results: Results::default(),
        }
    }
}

impl report::Report for Report {
    fn run(&self) -> &Run {
        &self.run
    }

    fn preface(&self) -> String {
        let Disk { file_system, syncs_per_second } = &self.disk;
        format!(
            "{} clients over {} connections, or each alone on one; data on {file_system}, where one process alone appends and syncs {syncs_per_second:.0} records of \
             4 KiB a second\n\n",
            self.clients, self.connections
        )
    }

    fn tables(&self) -> Vec<Table> {
        self.results.tables().into_iter().chain(self.simulation.as_ref().map(Simulated::table)).collect()
    }

    fn charts(&self) -> Vec<(&'static str, BarChart)> {
        charts::of(&self.results)
    }

    fn failures(&self) -> Vec<&str> {
        self.results.failures.iter().map(String::as_str).collect()
    }
}
