//! What a person sees while it takes long.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Progress bars on standard error; none if it is not a terminal.
pub struct Progress;

impl Progress {
    /// A bar of so many steps.
    pub fn bar(&self, name: &'static str, steps: u64) -> ProgressBar {
        let style =
            ProgressStyle::with_template("{prefix:>10} [{bar:30}] {pos}/{len} {elapsed} (left {eta}) {msg}");
        let bar = ProgressBar::new(steps).with_prefix(name);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}
