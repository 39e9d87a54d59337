//! What pools over TCP say of themselves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use memcached_bridge::packet::SHOWN_HOT_KEYS;
use memcached_bridge::proxy::{DoorId, LATENCY_BUCKETS_US, Latency};

use super::{OpenDoor, OpenPool, OpenRoute, Served, Serving};
use crate::config::Destination;
use crate::status::{
    CacheStatus, HotKey, LeadStatus, Metrics, PoolStatus, RouteStatus, ServerStatus, Source, Status,
    escape_key,
};

/// What only the shell counts, of a door.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Connections from addresses off the allowlist.
    pub(super) refused_clients: AtomicU64,
    /// Connections beyond the limit.
    pub(super) rejected_connections: AtomicU64,
    /// Connections beyond what one client may have.
    pub(super) crowded_clients: AtomicU64,
    /// TLS handshakes with clients that succeeded.
    pub(super) handshakes: AtomicU64,
    /// Those that resumed an earlier session.
    pub(super) handshakes_resumed: AtomicU64,
    /// TLS handshakes with clients that failed, or were not done in time.
    pub(super) handshakes_failed: AtomicU64,
}

/// The pools as seen from outside.
pub(super) struct View {
    pub(super) served: Arc<Served>,
}

impl Source for View {
    fn describe(&self, status: &mut Status) {
        let serving = self.served.now();
        let pools = (0u16..).zip(&serving.pools);
        status.pools.extend(pools.map(|(index, pool)| describe(pool, door(&serving, DoorId::Pool(index)))));
        let routes = (0u16..).zip(&serving.routes);
        status
            .routes
            .extend(routes.map(|(index, route)| describe_route(route, door(&serving, DoorId::Route(index)))));
    }

    fn collect(&self, metrics: &mut Metrics) {
        let serving = self.served.now();
        for door in &serving.doors {
            collect_clients(&serving, door, metrics);
        }
        for route in &serving.routes {
            collect_route(route, metrics);
        }
        for pool in &serving.pools {
            collect_requests(pool, metrics);
            collect_servers(pool, metrics);
        }
    }
}

fn door(serving: &Serving, id: DoorId) -> Option<&OpenDoor> {
    serving.door(id).map(|index| &*serving.doors[usize::from(index)])
}

fn connections(door: Option<&OpenDoor>) -> u64 {
    door.map_or(0, |door| door.connections.load(Ordering::Relaxed) as u64)
}

fn describe_route(route: &OpenRoute, door: Option<&OpenDoor>) -> RouteStatus {
    let config = &route.config;
    let leads = |(prefix, to): (&str, &Destination)| LeadStatus {
        prefix: prefix.to_owned(),
        pool: to.pool.clone(),
        replicas: to.replicas.clone(),
        warm_from: to.warm_from.clone(),
        shadow: to.shadow.as_ref().map(|(pool, _)| pool.clone()),
        shadow_share: to.shadow.as_ref().map_or(0.0, |(_, share)| *share),
        failover: to.failover.clone(),
    };
    let mut counters = BTreeMap::new();
    for (name, _, value) in route.shared.threads().iter().flat_map(|thread| thread.read()) {
        *counters.entry(name.to_owned()).or_default() += value;
    }
    let prefixes = config.prefixes.iter().map(|(prefix, to)| (prefix.as_str(), to));
    RouteStatus {
        name: config.name.clone(),
        listen: door.map(|door| door.listen.to_string()).unwrap_or_default(),
        connections: connections(door),
        leads: std::iter::once(("", &config.default)).chain(prefixes).map(leads).collect(),
        counters,
    }
}

fn describe(pool: &OpenPool, door: Option<&OpenDoor>) -> PoolStatus {
    let shared = &pool.shared;
    let mut counters = BTreeMap::new();
    let mut requests = vec![0; pool.config.servers.len()];
    let mut cache = CacheStatus::default();
    let mut hot_keys = Vec::new();
    for thread in shared.threads() {
        for (name, _, value) in thread.counters.read() {
            *counters.entry(name.to_owned()).or_default() += value;
        }
        for (verb, outcome, count) in thread.requests.read() {
            *counters.entry(format!("{}_{}", verb.name(), outcome.name())).or_default() += count;
        }
        requests.iter_mut().zip(thread.status.server_requests()).for_each(|(sum, count)| *sum += count);
        let (entries, bytes) = thread.status.cache();
        cache.entries += entries;
        cache.bytes += bytes;
        cache.capacity += pool.config.cache.map_or(0, |capacity| capacity.0);
        let shown = thread.status.hot_keys().into_iter();
        hot_keys.extend(shown.map(|hot| HotKey { key: escape_key(&hot.key), hits: u64::from(hot.hits) }));
    }
    hot_keys.sort_by_key(|hot| std::cmp::Reverse(hot.hits));
    hot_keys.truncate(SHOWN_HOT_KEYS);
    let server = |(index, requests): (usize, u64)| {
        let server = &pool.config.servers[index];
        ServerStatus {
            name: server.name.clone(),
            mac: String::new(),
            address: server.address.clone().unwrap_or_default(),
            alive: shared.members().is_alive(index),
            requests,
        }
    };
    PoolStatus {
        name: pool.config.name.clone(),
        vip: door.map(|door| door.listen.to_string()).unwrap_or_default(),
        connections: connections(door),
        servers: requests.into_iter().enumerate().map(server).collect(),
        counters,
        cache,
        hot_keys,
    }
}

fn collect_clients(serving: &Serving, door: &OpenDoor, metrics: &mut Metrics) {
    let (owner, credentials) = match door.id {
        DoorId::Pool(pool) => ("pool", serving.pools[usize::from(pool)].shared.pool().credentials.as_ref()),
        DoorId::Route(route) => ("route", serving.routes[usize::from(route)].shared.credentials()),
    };
    let labels = [(owner, door.name.as_str())];
    let connections = door.connections.load(Ordering::Relaxed) as f64;
    let help = "Connections of clients now.";
    metrics.gauge("smartswitch_proxy_connections", help, &labels, connections);
    let Counters {
        refused_clients,
        rejected_connections,
        crowded_clients,
        handshakes,
        handshakes_resumed,
        handshakes_failed,
    } = &door.counters;
    let nobody = AtomicU64::new(0);
    for (name, help, value) in [
        (
            "auth_cmds",
            "Attempts of clients to authenticate.",
            credentials.map_or(&nobody, |credentials| &credentials.auth_cmds),
        ),
        (
            "auth_errors",
            "Attempts of clients to authenticate that failed.",
            credentials.map_or(&nobody, |credentials| &credentials.auth_errors),
        ),
        ("crowded_clients", "Connections beyond what one client may have.", crowded_clients),
        ("handshakes", "TLS handshakes with clients that succeeded.", handshakes),
        (
            "handshakes_resumed",
            "TLS handshakes with clients that resumed an earlier session.",
            handshakes_resumed,
        ),
        (
            "handshakes_failed",
            "TLS handshakes with clients that failed, or were not done in time.",
            handshakes_failed,
        ),
        ("refused_clients", "Connections from addresses off the allowlist.", refused_clients),
        ("rejected_connections", "Connections beyond the limit.", rejected_connections),
    ] {
        let name = format!("smartswitch_proxy_{name}_total");
        metrics.counter(&name, help, &labels, value.load(Ordering::Relaxed));
    }
}

fn collect_route(route: &OpenRoute, metrics: &mut Metrics) {
    for (index, thread) in route.shared.threads().iter().enumerate() {
        let index = index.to_string();
        let labels = [("route", route.config.name.as_str()), ("thread", index.as_str())];
        for (name, help, value) in thread.read() {
            metrics.counter(&format!("smartswitch_route_{name}_total"), help, &labels, value);
        }
    }
}

fn collect_requests(pool: &OpenPool, metrics: &mut Metrics) {
    let pool_label = ("pool", pool.config.name.as_str());
    let mut requests = BTreeMap::new();
    let mut latency = Latency::default();
    for (index, thread) in pool.shared.threads().iter().enumerate() {
        let index = index.to_string();
        let labels = [pool_label, ("thread", index.as_str())];
        for (name, help, value) in thread.counters.read() {
            metrics.counter(&format!("smartswitch_proxy_{name}_total"), help, &labels, value);
        }
        for (verb, outcome, count) in thread.requests.read() {
            *requests.entry((verb.name(), outcome.name())).or_default() += count;
        }
        let (entries, bytes) = thread.status.cache();
        let help = "Values in the hot-key cache.";
        metrics.gauge("smartswitch_proxy_cache_entries", help, &labels, entries as f64);
        let help = "Bytes in use in the hot-key cache.";
        metrics.gauge("smartswitch_proxy_cache_bytes", help, &labels, bytes as f64);
        let seen = thread.requests.latency();
        latency.sum_us += seen.sum_us;
        latency.buckets.iter_mut().zip(seen.buckets).for_each(|(sum, count)| *sum += count);
    }
    for ((verb, outcome), count) in requests {
        let labels = [pool_label, ("verb", verb), ("outcome", outcome)];
        let help = "Requests of clients, by what became of them; a get of several keys once for each server and cached key.";
        metrics.counter("smartswitch_proxy_requests_total", help, &labels, count);
    }
    let seconds = |us: u64| us as f64 / 1e6;
    let ends: Vec<f64> = LATENCY_BUCKETS_US.iter().map(|end| seconds(*end)).collect();
    let help = "How long servers took to answer.";
    let name = "smartswitch_proxy_server_seconds";
    metrics.histogram(name, help, &[pool_label], &ends, &latency.buckets, seconds(latency.sum_us));
}

fn collect_servers(pool: &OpenPool, metrics: &mut Metrics) {
    let shared = &pool.shared;
    let failed = pool.server_handshakes_failed.load(Ordering::Relaxed);
    let help = "TLS handshakes with servers that failed.";
    let labels = [("pool", pool.config.name.as_str())];
    metrics.counter("smartswitch_proxy_server_handshakes_failed_total", help, &labels, failed);
    for (index, server) in pool.config.servers.iter().enumerate() {
        let labels = [("pool", pool.config.name.as_str()), ("server", server.name.as_str())];
        let alive = f64::from(u8::from(shared.members().is_alive(index)));
        metrics.gauge("smartswitch_proxy_server_alive", "1 unless the server is ejected.", &labels, alive);
        let requests =
            shared.threads().iter().filter_map(|thread| thread.status.server_requests().nth(index));
        let help = "Requests sent to the server.";
        metrics.counter("smartswitch_proxy_server_requests_total", help, &labels, requests.sum());
    }
    let coherence = shared.coherence().statistics();
    let labels = [("pool", pool.config.name.as_str())];
    let help = "Writes whose reply is awaited.";
    metrics.gauge("smartswitch_proxy_writes_in_flight", help, &labels, coherence.in_flight as f64);
    let help = "Times everything cached was voided.";
    metrics.counter("smartswitch_proxy_voided_total", help, &labels, coherence.pool_bumps);
}
