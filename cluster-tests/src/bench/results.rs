//! The head of a report, and the files that results are kept in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::machine::{Machine, today};
use super::plot::BarChart;

/// One call of a benchmark.
#[derive(Debug, Serialize)]
pub struct Run {
    /// The day, UTC.
    pub date: String,
    /// The command line.
    pub command: String,
    /// Where.
    pub machine: Machine,
    /// Rounds.
    pub rounds: usize,
}

impl Run {
    /// This one, here and now.
    pub fn begin(rounds: usize) -> Self {
        let mut words = std::env::args();
        let program = words.next().unwrap_or_default();
        let program = Path::new(&program).file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self {
            date: today(),
            command: std::iter::once(program).chain(words).collect::<Vec<_>>().join(" "),
            machine: Machine::read(),
            rounds,
        }
    }

    /// The first lines of a report.
    pub fn to_markdown(&self) -> String {
        let Machine { cpu, cores, kernel, virtual_machine, memory_mib, load_before } = &self.machine;
        let kind = if *virtual_machine { "virtual machine" } else { "machine" };
        format!(
            "{date}, `{command}`, {rounds} round(s), median (least..greatest)\n\n{kind}: {cpu}, {cores} cores, \
             {memory_mib} MiB, Linux {kernel}; load of other work before: {load_before:.1}\n\n",
            date = self.date,
            command = self.command,
            rounds = self.rounds,
        )
    }

    /// Writes JSON, Markdown and plots, each named after the day and `name`, and gives the directory: `results` in
    /// this crate if they are to be `kept`, otherwise its directory `local`, which git ignores.
    ///
    /// # Errors
    /// Those of the files.
    pub fn save(
        &self,
        kept: bool,
        name: &str,
        json: &str,
        markdown: &str,
        charts: &[(&str, BarChart)],
    ) -> io::Result<PathBuf> {
        let directory = directory(kept);
        fs::create_dir_all(&directory)?;
        let base = format!("{}-{name}", self.date);
        fs::write(directory.join(format!("{base}.json")), json)?;
        let mut text = markdown.to_owned();
        for (chart, plot) in charts {
            let file = format!("{base}-{chart}.svg");
            fs::write(directory.join(&file), plot.to_svg())?;
            text += &format!("![{}]({file})\n", plot.title);
        }
        fs::write(directory.join(format!("{base}.md")), text)?;
        Ok(directory)
    }
}

/// Where results go, seen from the top of the source tree.
fn directory(kept: bool) -> PathBuf {
    let crate_directory = Path::new("cluster-tests");
    let here = if crate_directory.is_dir() { crate_directory } else { Path::new(".") };
    here.join(if kept { "results" } else { "results/local" })
}
