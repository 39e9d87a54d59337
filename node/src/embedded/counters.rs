//! What the shell counts, and what it and the store say of themselves.

use std::sync::atomic::{AtomicU64, Ordering};

use fabric::counters::Counters as _;
use memcached_bridge::store::StoreCounters;

use super::Shared;
use crate::status::{EmbeddedStatus, Metrics, Source, Status};

/// Counters of the sockets. Those that memcached's `stats` shows, too, are in `ServerFacts`.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// TCP connections from addresses off the allowlist.
    pub(super) refused_clients: AtomicU64,
    /// TCP connections beyond what one client may have.
    pub(super) crowded_clients: AtomicU64,
    /// TLS handshakes that succeeded.
    pub(super) handshakes: AtomicU64,
    /// Those that resumed an earlier session.
    pub(super) handshakes_resumed: AtomicU64,
    /// TLS handshakes that failed, or were not done in time.
    pub(super) handshakes_failed: AtomicU64,
    /// TCP connections cut because the client neither read its replies nor finished its command.
    pub(super) stalled_clients: AtomicU64,
    /// TCP connections cut because too much unfinished input was held for all of them.
    pub(super) input_full: AtomicU64,
    /// Datagrams received.
    pub(super) datagrams_received: AtomicU64,
    /// Datagrams sent.
    pub(super) datagrams_sent: AtomicU64,
    /// Replies not sent because they were beyond the amplification limit.
    pub(super) amplification_limited: AtomicU64,
    /// Datagrams that held no request.
    pub(super) datagrams_invalid: AtomicU64,
    /// Datagrams that the system did not take.
    pub(super) send_failed: AtomicU64,
}

pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

pub(super) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Source for Shared {
    fn describe(&self, status: &mut Status) {
        let usage = self.server.store.usage();
        let mut commands = std::collections::BTreeMap::new();
        usage.counters.values(|index, value| {
            let name = StoreCounters::NAMES[index];
            if name.starts_with("cmd_") {
                commands.insert(name.to_owned(), value);
            }
        });
        status.embedded = Some(EmbeddedStatus {
            listen: self.listen.to_string(),
            curr_items: usage.curr_items as u64,
            bytes: usage.bytes as u64,
            limit_bytes: usage.limit_bytes as u64,
            hits: usage.counters.get_hits,
            misses: usage.counters.get_misses,
            evictions: usage.counters.evictions,
            connections: read(&self.server.facts.curr_connections),
            commands,
        });
    }

    fn collect(&self, metrics: &mut Metrics) {
        let usage = self.server.store.usage();
        let mut gauge = |name: &str, help: &str, value: f64| {
            metrics.gauge(&format!("smartswitch_embedded_{name}"), help, &[], value);
        };
        gauge("items", "Items held.", usage.curr_items as f64);
        gauge("bytes", "Bytes in use.", usage.bytes as f64);
        gauge("limit_bytes", "Bytes that can be in use.", usage.limit_bytes as f64);
        let facts = &self.server.facts;
        gauge("connections", "TCP connections now.", read(&facts.curr_connections) as f64);

        let mut counter = |name: &str, help: &str, value: u64| {
            metrics.counter(&format!("smartswitch_embedded_{name}_total"), help, &[], value);
        };
        usage
            .counters
            .values(|index, value| counter(StoreCounters::NAMES[index], StoreCounters::HELP[index], value));
        let Counters {
            refused_clients,
            crowded_clients,
            handshakes,
            handshakes_resumed,
            handshakes_failed,
            stalled_clients,
            input_full,
            datagrams_received,
            datagrams_sent,
            amplification_limited,
            datagrams_invalid,
            send_failed,
        } = &self.counters;
        let nobody = AtomicU64::new(0);
        let credentials = self.server.credentials.as_ref();
        let auth_cmds = credentials.map_or(&nobody, |credentials| &credentials.auth_cmds);
        let auth_errors = credentials.map_or(&nobody, |credentials| &credentials.auth_errors);
        for (name, help, value) in [
            ("auth_cmds", "Attempts to authenticate.", auth_cmds),
            ("auth_errors", "Attempts to authenticate that failed.", auth_errors),
            ("connections_accepted", "TCP connections accepted.", &facts.total_connections),
            ("connections_rejected", "TCP connections beyond the limit.", &facts.rejected_connections),
            ("bytes_read", "Bytes received over TCP and UDP.", &facts.bytes_read),
            ("bytes_written", "Bytes sent over TCP and UDP.", &facts.bytes_written),
            ("refused_clients", "TCP connections from addresses off the allowlist.", refused_clients),
            ("crowded_clients", "TCP connections beyond what one client may have.", crowded_clients),
            ("handshakes", "TLS handshakes that succeeded.", handshakes),
            ("handshakes_resumed", "TLS handshakes that resumed an earlier session.", handshakes_resumed),
            ("handshakes_failed", "TLS handshakes that failed, or were not done in time.", handshakes_failed),
            (
                "stalled_clients",
                "TCP connections cut because the client neither read nor finished its command.",
                stalled_clients,
            ),
            ("input_full", "TCP connections cut because too much input was held.", input_full),
            ("datagrams_received", "Datagrams received.", datagrams_received),
            ("datagrams_sent", "Datagrams sent.", datagrams_sent),
            (
                "amplification_limited",
                "Replies beyond the amplification limit, not sent.",
                amplification_limited,
            ),
            ("datagrams_invalid", "Datagrams that held no request.", datagrams_invalid),
            ("send_failed", "Datagrams that the system did not take.", send_failed),
        ] {
            counter(name, help, read(value));
        }
    }
}
