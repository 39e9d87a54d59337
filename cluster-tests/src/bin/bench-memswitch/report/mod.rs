//! What is printed and saved.

pub(crate) mod charts;
pub(crate) mod machine;
pub(crate) mod plot;
pub(crate) mod table;

use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;

use crate::capacity::Capacity;
use crate::instructions::{self, Instructions};
use crate::memory::Memory;
use crate::rack::RackResults;
use machine::{Machine, today};

/// The results of one call of the program.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The day, UTC.
    pub(crate) date: String,
    /// The command line.
    pub(crate) command: String,
    /// Where.
    pub(crate) machine: Machine,
    /// Rounds.
    pub(crate) rounds: usize,
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
        let mut words = std::env::args();
        let program = words.next().unwrap_or_default();
        let program = Path::new(&program).file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self {
            date: today(),
            command: std::iter::once(program).chain(words).collect::<Vec<_>>().join(" "),
            machine: Machine::read(),
            rounds,
            capacity: None,
            rack: None,
            memory: None,
            instructions: None,
            failures: Vec::new(),
        }
    }

    /// Everything as Markdown.
    pub(crate) fn to_markdown(&self) -> String {
        let Machine { cpu, cores, kernel, virtual_machine, memory_mib, load_before } = &self.machine;
        let kind = if *virtual_machine { "virtual machine" } else { "machine" };
        let mut text = format!(
            "{date}, `{command}`, {rounds} round(s), median (least..greatest)\n\n{kind}: {cpu}, {cores} cores, \
             {memory_mib} MiB, Linux {kernel}; load of other work before: {load_before:.1}\n\n",
            date = self.date,
            command = self.command,
            rounds = self.rounds,
        );
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

    /// Writes JSON, Markdown and plots to `directory`, each named after the day and `name`.
    ///
    /// # Errors
    /// Those of the files.
    pub(crate) fn save(&self, directory: &Path, name: &str) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        let base = format!("{}-{name}", self.date);
        fs::write(directory.join(format!("{base}.json")), self.to_json())?;
        let mut text = self.to_markdown();
        for (chart, plot) in charts::of(self) {
            let file = format!("{base}-{chart}.svg");
            fs::write(directory.join(&file), plot.to_svg())?;
            text += &format!("![{}]({file})\n", plot.title);
        }
        fs::write(directory.join(format!("{base}.md")), text)
    }
}
