//! What is printed and saved.

mod charts;

use cluster_tests::bench::plot::BarChart;
use cluster_tests::bench::report;
use cluster_tests::bench::results::Run;
use cluster_tests::bench::table::Table;
use serde::Serialize;

use crate::capacity::Capacity;
use crate::instructions::{self, Instructions};
use crate::memory::Memory;
use crate::rack::RackResults;

/// The results of one call of the program.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// When, where and how.
    #[serde(flatten)]
    pub(crate) run: Run,
    /// Section `capacity`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) capacity: Option<Capacity>,
    /// Section `rack`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rack: Option<RackResults>,
    /// Section `memory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<Memory>,
    /// Section `memory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) instructions: Option<Vec<Instructions>>,
    /// Sections that could not be measured, and why.
    pub(crate) failures: Vec<String>,
}

impl Report {
    /// An empty one, for here and now.
    pub(crate) fn begin(rounds: usize) -> Self {
        Self {
            run: Run::begin(rounds),
            capacity: None,
            rack: None,
            memory: None,
            instructions: None,
            failures: Vec::new(),
        }
    }
}

impl report::Report for Report {
    fn run(&self) -> &Run {
        &self.run
    }

    fn tables(&self) -> Vec<Table> {
        let mut tables = Vec::new();
        tables.extend(self.capacity.as_ref().map(Capacity::table));
        tables.extend(self.rack.iter().flat_map(RackResults::tables));
        tables.extend(self.memory.as_ref().map(Memory::table));
        tables.extend(self.instructions.as_deref().map(instructions::table));
        tables
    }

    fn charts(&self) -> Vec<(&'static str, BarChart)> {
        charts::of(self)
    }

    fn failures(&self) -> Vec<&str> {
        let failures = self.failures.iter().chain(self.rack.iter().flat_map(|rack| &rack.failures));
        failures.map(String::as_str).collect()
    }
}
