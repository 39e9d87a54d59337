//! Which points are measured, and for how long.

use std::time::Duration;

use clap::Args;

/// What the command line says of it.
#[derive(Args, Debug)]
pub struct Selection {
    /// Only points whose name has this in it; may be repeated.
    #[arg(long)]
    point: Vec<String>,
    /// Seconds of each measurement.
    #[arg(long)]
    seconds: Option<u64>,
    /// Rounds.
    #[arg(long)]
    rounds: Option<usize>,
}

impl Selection {
    /// Whether the point of this name is measured.
    pub fn chooses(&self, name: &str) -> bool {
        self.point.is_empty() || self.point.iter().any(|part| name.contains(part.as_str()))
    }

    /// How long each measurement takes, `otherwise` if nothing is said.
    pub fn measure(&self, otherwise: Duration) -> Duration {
        self.seconds.map_or(otherwise, Duration::from_secs)
    }

    /// How many rounds there are, `otherwise` if nothing is said.
    pub fn rounds(&self, otherwise: usize) -> usize {
        self.rounds.unwrap_or(otherwise)
    }
}
