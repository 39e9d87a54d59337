//! What a benchmark found: printed, and kept in files.

use std::io;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::plot::BarChart;
use super::results::Run;
use super::table::Table;

/// The results of one call of a benchmark. Its JSON form is what scripts read.
pub trait Report: Serialize {
    /// When, where and how.
    fn run(&self) -> &Run;

    /// What is to be known before the tables: paragraphs, each with an empty line behind it.
    fn preface(&self) -> String {
        String::new()
    }

    /// What was measured.
    fn tables(&self) -> Vec<Table>;

    /// Plots of it, each with a short name.
    fn charts(&self) -> Vec<(&'static str, BarChart)>;

    /// What could not be measured, and why.
    fn failures(&self) -> Vec<&str>;

    /// Everything as Markdown.
    fn to_markdown(&self) -> String {
        let mut text = self.run().to_markdown() + &self.preface();
        for table in self.tables() {
            text += &format!("{table}\n");
        }
        for failure in self.failures() {
            text += &format!("Not measured: {failure}\n\n");
        }
        text
    }
}

/// Why results are not kept, or not whole.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Files cannot be written.
    #[error("the results cannot be written: {0}")]
    Io(#[from] io::Error),
    /// The report says what.
    #[error("not everything could be measured")]
    Incomplete,
}

/// Where results go, as the command line says.
#[derive(Args, Debug)]
pub struct Output {
    /// Write the results as JSON to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Keep JSON, tables and plots in cluster-tests/results, not in its directory `local`, which git ignores.
    #[arg(long)]
    save: bool,
}

impl Output {
    /// Prints the report, and keeps it under the day and `name`.
    ///
    /// # Errors
    /// If files cannot be written; and, once they are, if not everything could be measured.
    pub fn publish(&self, report: &impl Report, name: &str) -> Result<(), PublishError> {
        let (text, json) =
            (report.to_markdown(), serde_json::to_string_pretty(report).map_err(io::Error::from)?);
        print!("{text}");
        if let Some(file) = &self.json {
            std::fs::write(file, &json)?;
        }
        let directory = report.run().save(self.save, name, &json, &text, &report.charts())?;
        eprintln!("saved in {}", directory.display());
        if report.failures().is_empty() { Ok(()) } else { Err(PublishError::Incomplete) }
    }
}
