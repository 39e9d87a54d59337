//! What is printed and saved.

use std::io;
use std::path::PathBuf;

use cluster_tests::bench::results::Run;
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

    /// Everything as Markdown.
    pub(crate) fn to_markdown(&self) -> String {
        let mut text = self.run.to_markdown();
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
    pub(crate) fn save(&self, kept: bool, name: &str) -> io::Result<PathBuf> {
        self.run.save(kept, name, &self.to_json(), &self.to_markdown(), &charts::of(&self.results))
    }
}
