//! The control thread: rings over the servers that live.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fabric_dpdk::Clock;
use memcached_bridge::members::Change;
use memcached_bridge::packet::PoolState;

/// How often servers' marks are looked at. Well below a probe's interval.
const PERIOD: Duration = Duration::from_millis(10);

pub(super) fn start(pools: Vec<Arc<PoolState>>, clock: Clock, stop: Arc<AtomicBool>) -> JoinHandle<()> {
    thread::spawn(move || {
        while !stop.load(Ordering::Acquire) {
            for pool in &pools {
                apply(pool, clock);
            }
            thread::sleep(PERIOD);
        }
    })
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
