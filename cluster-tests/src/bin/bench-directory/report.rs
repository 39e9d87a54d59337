//! What is printed and saved.

use std::io;
use std::path::PathBuf;

use cluster_tests::bench::results::Run;
use serde::Serialize;

use crate::charts;
use crate::disk::Disk;
use crate::results::Results;

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
    /// What was measured.
    #[serde(flatten)]
    pub(crate) results: Results,
}

impl Report {
    /// An empty one, for here and now.
    pub(crate) fn begin(rounds: usize, clients: usize, disk: Disk) -> Self {
        Self { run: Run::begin(rounds), disk, clients, results: Results::default() }
    }

    /// Everything as Markdown.
    pub(crate) fn to_markdown(&self) -> String {
        let Disk { file_system, syncs_per_second } = &self.disk;
        let mut text = self.run.to_markdown();
        text += &format!(
            "{} clients; data on {file_system}, where one process alone appends and syncs {syncs_per_second:.0} records of \
             4 KiB a second\n\n",
            self.clients
        );
        for table in self.results.tables() {
            text += &format!("{table}\n");
        }
        for failure in &self.results.failures {
            text += &format!("Not measured: {failure}\n\n");
        }
        text
    }

    /// Everything as JSON.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and strings always have a JSON form")
    }

    /// Writes JSON, Markdown and plots, and gives the directory.
    ///
    /// # Errors
    /// Those of the files.
    pub(crate) fn save(&self, kept: bool) -> io::Result<PathBuf> {
        self.run.save(kept, "directory", &self.to_json(), &self.to_markdown(), &charts::of(&self.results))
    }
}
