//! Waiting for a condition, with a deadline.

use crate::RackError;
use std::thread;
use std::time::{Duration, Instant};

/// Polls `condition` until it gives a value, at first every millisecond, then every 20.
///
/// # Errors
/// [`RackError::Timeout`] naming `what` after `within`.
pub fn until<T>(
    what: impl Into<String>,
    within: Duration,
    mut condition: impl FnMut() -> Option<T>,
) -> Result<T, RackError> {
    let started = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(value) = condition() {
            return Ok(value);
        }
        if started.elapsed() >= within {
            return Err(RackError::Timeout { what: what.into(), waited: within, detail: String::new() });
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Polls until `condition` is true.
///
/// # Errors
/// [`RackError::Timeout`] naming `what` after `within`.
pub fn until_true(
    what: impl Into<String>,
    within: Duration,
    mut condition: impl FnMut() -> bool,
) -> Result<(), RackError> {
    until(what, within, || condition().then_some(()))
}
