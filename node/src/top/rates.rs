//! Rates: differences of counters over time.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::status::{PoolStatus, Status};

/// Per second, between two looks at a node.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Rates {
    /// Seconds between the looks.
    pub(super) seconds: f64,
    /// Requests of all pools and of the embedded server.
    pub(super) requests: f64,
    /// Packets received by port.
    pub(super) received: BTreeMap<String, f64>,
    /// Packets sent by port.
    pub(super) transmitted: BTreeMap<String, f64>,
    /// Counters of each pool.
    pub(super) pools: BTreeMap<String, BTreeMap<String, f64>>,
    /// Requests by pool and server, as `pool/server`.
    pub(super) servers: BTreeMap<String, f64>,
    /// Commands of the embedded server.
    pub(super) commands: BTreeMap<String, f64>,
}

impl Rates {
    /// From `before` to `after`. A node that was restarted in between counts from 0.
    pub(super) fn between(before: &Status, after: &Status) -> Self {
        let seconds = after.node.uptime_seconds - before.node.uptime_seconds;
        let fresh = Status::default();
        let (before, seconds) =
            if seconds > 0.0 { (before, seconds) } else { (&fresh, after.node.uptime_seconds) };
        let rate =
            |old: Option<u64>, new: u64| new.saturating_sub(old.unwrap_or(0)) as f64 / seconds.max(1e-3);
        let mut rates = Rates { seconds, ..Rates::default() };
        for port in &after.ports {
            let old = before.ports.iter().find(|old| old.name == port.name);
            rates.received.insert(port.name.clone(), rate(old.map(|old| old.rx_packets), port.rx_packets));
            rates.transmitted.insert(port.name.clone(), rate(old.map(|old| old.tx_packets), port.tx_packets));
        }
        for pool in &after.pools {
            let old = before.pools.iter().find(|old| old.name == pool.name);
            rates.add_pool(pool, old, rate);
        }
        if let Some(embedded) = &after.embedded {
            let old = before.embedded.as_ref();
            for (name, count) in &embedded.commands {
                let per_second = rate(old.and_then(|old| old.commands.get(name).copied()), *count);
                rates.requests += per_second;
                rates.commands.insert(name.clone(), per_second);
            }
        }
        rates
    }

    fn add_pool(
        &mut self,
        pool: &PoolStatus,
        old: Option<&PoolStatus>,
        rate: impl Fn(Option<u64>, u64) -> f64,
    ) {
        let counters = pool.counters.iter().map(|(name, count)| {
            (name.clone(), rate(old.and_then(|old| old.counters.get(name).copied()), *count))
        });
        let counters: BTreeMap<String, f64> = counters.collect();
        self.requests += counters.get("hits").copied().unwrap_or(0.0);
        for server in &pool.servers {
            let old = old.and_then(|old| old.servers.iter().find(|old| old.name == server.name));
            let per_second = rate(old.map(|old| old.requests), server.requests);
            self.requests += per_second;
            self.servers.insert(format!("{}/{}", pool.name, server.name), per_second);
        }
        self.pools.insert(pool.name.clone(), counters);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{EmbeddedStatus, NodeStatus};

    fn status(uptime_seconds: f64, gets: u64) -> Status {
        let commands = BTreeMap::from([("cmd_get".to_owned(), gets)]);
        Status {
            node: NodeStatus { uptime_seconds, ..NodeStatus::default() },
            embedded: Some(EmbeddedStatus { commands, ..EmbeddedStatus::default() }),
            ..Status::default()
        }
    }

    #[test]
    fn rates_are_differences_and_a_restart_begins_anew() {
        assert_eq!(Rates::between(&status(10.0, 100), &status(12.0, 300)).requests, 100.0);
        assert_eq!(Rates::between(&status(10.0, 100), &status(2.0, 50)).requests, 25.0);
    }
}
