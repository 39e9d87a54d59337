//! Waiting for what a directory says, with a deadline.

use std::time::{Duration, Instant};

use cluster_tests::RackError;

const PAUSE: Duration = Duration::from_millis(10);

/// Asks until there is an answer.
///
/// # Errors
/// [`RackError::Timeout`] naming `what` after `within`.
pub(crate) async fn until<T>(
    what: &str,
    within: Duration,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> Result<T, RackError> {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return Ok(answer);
        }
        if began.elapsed() >= within {
            return Err(RackError::Timeout { what: what.to_owned(), waited: within, detail: String::new() });
        }
        tokio::time::sleep(PAUSE).await;
    }
}
