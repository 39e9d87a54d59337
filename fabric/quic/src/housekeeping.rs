//! What is looked after from time to time: connections that nobody uses, and certificates that end.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::counters::one;
use crate::error::Farewell;
use crate::shared::Shared;

/// Between two looks, at most.
const ROUND: Duration = Duration::from_secs(1);

/// The last second of a certificate is part of its life.
const LAST: Duration = Duration::from_secs(1);

/// Looks after the endpoint until it is closed.
pub(crate) async fn keep(shared: Arc<Shared>) {
    let mut rounds =
        tokio::time::interval(ROUND.min(shared.config.unused() / 4).max(Duration::from_millis(1)));
    while !shared.is_closed() {
        rounds.tick().await;
        let (now, date) = (Instant::now(), SystemTime::now());
        for connection in shared.connections() {
            if connection.expires + LAST <= date {
                one(&shared.counters.connections_expired);
                connection.close(Farewell::Expired);
            } else if connection.unused_ms(now) >= shared.config.unused_ms {
                one(&shared.counters.connections_unused);
                connection.close(Farewell::Unused);
            }
        }
    }
}
