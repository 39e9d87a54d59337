//! The control thread: rings over the servers that live, and the calendar.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fabric_dpdk::Clock;
use memcached_bridge::members::Change;
use memcached_bridge::packet::PoolState;
use memcached_bridge::packet::embedded::EmbeddedState;

/// How often servers' marks are looked at. Well below a probe's interval.
const PERIOD: Duration = Duration::from_millis(10);

pub(super) fn start(
    pools: Vec<Arc<PoolState>>,
    embedded_pools: Vec<Arc<EmbeddedState>>,
    clock: Clock,
    stop: Arc<AtomicBool>,
) -> JoinHandle<()> {
    thread::spawn(move || {
        while !stop.load(Ordering::Acquire) {
            for pool in &pools {
                apply(pool, clock);
            }
            embedded_pools.iter().for_each(|pool| set_calendar(pool, clock));
            thread::sleep(PERIOD);
        }
    })
}

/// Tells the workers of a pool what the calendar shows.
pub(super) fn set_calendar(state: &EmbeddedState, clock: Clock) {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    state.set_calendar(clock.now(), unix);
}

fn apply(state: &PoolState, clock: Clock) {
    let pool = state.pool();
    for change in state.members().apply(pool, state.coherence(), clock.now()) {
        let name = |index: usize| pool.servers[index].name.as_str();
        match change {
            Change::Ejected(index) => {
                tracing::warn!(pool = pool.name, server = name(index), "ejected: it does not answer probes");
            }
            Change::Returned(index) => {
                tracing::info!(pool = pool.name, server = name(index), "back: it answers probes");
            }
        }
    }
}
