//! What is printed and saved.

mod charts;

use std::io;
use std::path::PathBuf;

use cluster_tests::bench::results::Run;
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

    /// Everything as Markdown.
    pub(crate) fn to_markdown(&self) -> String {
        let mut text = self.run.to_markdown();
        let mut tables = Vec::new();
        tables.extend(self.capacity.as_ref().map(Capacity::table));
        tables.extend(self.rack.iter().flat_map(RackResults::tables));
        tables.extend(self.memory.as_ref().map(Memory::table));
        tables.extend(self.instructions.as_deref().map(instructions::table));
        for table in tables {
            text += &format!("{table}\n");
        }
        let failures = self.failures.iter().chain(self.rack.iter().flat_map(|rack| &rack.failures));
        for failure in failures {
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
        self.run.save(kept, name, &self.to_json(), &self.to_markdown(), &charts::of(self))
    }
}
