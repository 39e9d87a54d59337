//! What the packet path says of itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use fabric::counters::Published;
use fabric::function::WorkerId;
use fabric::stations::Stations;
use fabric_dpdk::{Clock, Ports};
use memcached_bridge::packet::embedded::EmbeddedState;
use memcached_bridge::packet::{PoolState, SHOWN_HOT_KEYS};

use super::Activity;
use crate::status::{
    CacheStatus, HotKey, Metrics, PoolStatus, PortStatus, ServerStatus, Source, Status, WorkerStatus,
    escape_key,
};

/// Counters of a worker that are no drops.
const NO_DROPS: [&str; 12] = [
    "received",
    "received_bytes",
    "transmitted",
    "taken_over",
    "handed_over",
    "emitted",
    "replied",
    "switched",
    "flooded",
    "stations_learned",
    "stations_moved",
    "stations_evicted",
];

/// The packet path as seen from outside. Holding it keeps the ports open, not the workers running.
pub struct View {
    pub(super) clock: Clock,
    /// Name and device of each port, by id.
    pub(super) port_names: Vec<(String, String)>,
    pub(super) ports: Ports,
    pub(super) stations: Arc<Stations>,
    pub(super) pools: Vec<Arc<PoolState>>,
    pub(super) embedded_pools: Vec<Arc<EmbeddedState>>,
    /// Core, counters and activity of each worker, by id.
    pub(super) workers: Vec<(usize, Arc<Published>, Arc<Activity>)>,
}

impl Source for View {
    fn describe(&self, status: &mut Status) {
        status.workers = (0..).zip(&self.workers).map(|(id, worker)| describe_worker(id, worker)).collect();
        status.ports = self.describe_ports();
        status.stations = self.stations.snapshot(self.clock.now()).count() as u64;
        status.pools.extend(self.pools.iter().map(|pool| describe_pool(pool)));
        status.pools.extend(self.embedded_pools.iter().map(|pool| describe_embedded_pool(pool)));
    }

    fn collect(&self, metrics: &mut Metrics) {
        self.collect_workers(metrics);
        self.collect_ports(metrics);
        for pool in &self.pools {
            collect_pool(pool, metrics);
        }
        for pool in &self.embedded_pools {
            collect_embedded_pool(pool, metrics);
        }
        let stations = self.stations.snapshot(self.clock.now()).count() as f64;
        metrics.gauge("smartswitch_stations", "Stations that the switch knows.", &[], stations);
    }
}

impl View {
    fn describe_ports(&self) -> Vec<PortStatus> {
        let describe = |(id, (name, device)): (fabric::io::PortId, &(String, String))| {
            let counted = self.ports.statistics(id).unwrap_or_default();
            let mac = self.ports.info(id).map(|info| fabric::packet::MacAddr(info.mac).to_string());
            PortStatus {
                name: name.clone(),
                device: device.clone(),
                mac: mac.unwrap_or_default(),
                link: self.ports.link(id).is_some_and(|link| link.up),
                rx_packets: counted.rx_packets,
                rx_bytes: counted.rx_bytes,
                tx_packets: counted.tx_packets,
                tx_bytes: counted.tx_bytes,
                drops: counted.rx_missed
                    + counted.rx_errors
                    + counted.rx_no_mbuf
                    + counted.rx_too_long
                    + counted.tx_errors
                    + counted.tx_refused
                    + counted.tx_foreign,
            }
        };
        self.ports.ids().zip(&self.port_names).map(describe).collect()
    }

    fn collect_workers(&self, metrics: &mut Metrics) {
        for (id, (_, published, activity)) in self.workers.iter().enumerate() {
            let worker = id.to_string();
            for (name, help, value) in published.read() {
                metrics.counter(
                    &format!("smartswitch_worker_{name}_total"),
                    help,
                    &[("worker", &worker)],
                    value,
                );
            }
            let (busy, rounds) = activity.read();
            let labels = [("worker", worker.as_str())];
            metrics.counter("smartswitch_worker_rounds_total", "Rounds over all queues.", &labels, rounds);
            metrics.counter("smartswitch_worker_busy_rounds_total", "Rounds that found work.", &labels, busy);
        }
    }

    fn collect_ports(&self, metrics: &mut Metrics) {
        for (id, (name, _)) in self.ports.ids().zip(&self.port_names) {
            let counted = self.ports.statistics(id).unwrap_or_default();
            let counters = [
                ("rx_packets", "Packets received.", counted.rx_packets),
                ("rx_bytes", "Bytes received.", counted.rx_bytes),
                ("rx_missed", "Packets that no worker took in time.", counted.rx_missed),
                ("rx_errors", "Packets received in error.", counted.rx_errors),
                ("rx_no_mbuf", "Packets lost because the pool was empty.", counted.rx_no_mbuf),
                ("rx_too_long", "Packets longer than a buffer.", counted.rx_too_long),
                ("tx_packets", "Packets sent.", counted.tx_packets),
                ("tx_bytes", "Bytes sent.", counted.tx_bytes),
                ("tx_errors", "Packets that the device failed to send.", counted.tx_errors),
                ("tx_refused", "Packets dropped because the queue was full.", counted.tx_refused),
                ("tx_foreign", "Packets dropped because they were of another pool.", counted.tx_foreign),
            ];
            for (counter, help, value) in counters {
                metrics.counter(&format!("smartswitch_port_{counter}_total"), help, &[("port", name)], value);
            }
        }
    }
}

fn describe_worker(
    id: u16,
    (core, published, activity): &(usize, Arc<Published>, Arc<Activity>),
) -> WorkerStatus {
    let counters: BTreeMap<&str, u64> = published.read().map(|(name, _, value)| (name, value)).collect();
    let drops = counters.iter().filter(|(name, value)| **value > 0 && !NO_DROPS.contains(name));
    WorkerStatus {
        id,
        core: *core as u32,
        received: counters.get("received").copied().unwrap_or_default(),
        transmitted: counters.get("transmitted").copied().unwrap_or_default(),
        busy_percent: activity.busy_percent(),
        drops: drops.map(|(name, value)| ((*name).to_owned(), *value)).collect(),
    }
}

fn describe_pool(state: &PoolState) -> PoolStatus {
    let pool = state.pool();
    let workers: Vec<_> = (0..state.workers()).map(|worker| state.of_worker(WorkerId(worker))).collect();
    let mut counters = BTreeMap::new();
    let mut requests = vec![0; pool.servers.len()];
    let mut cache = CacheStatus::default();
    let mut hot_keys = Vec::new();
    for (published, worker) in &workers {
        for (name, _, value) in published.read() {
            *counters.entry(name.to_owned()).or_default() += value;
        }
        requests.iter_mut().zip(worker.server_requests()).for_each(|(sum, requests)| *sum += requests);
        let (entries, bytes) = worker.cache();
        cache.entries += entries;
        cache.bytes += bytes;
        cache.capacity += pool.cache.map_or(0, |limits| limits.capacity_bytes as u64);
        let shown = worker.hot_keys().into_iter();
        hot_keys.extend(shown.map(|hot| HotKey { key: escape_key(&hot.key), hits: u64::from(hot.hits) }));
    }
    hot_keys.sort_by_key(|hot| std::cmp::Reverse(hot.hits));
    hot_keys.truncate(SHOWN_HOT_KEYS);
    let server = |(index, requests): (usize, u64)| ServerStatus {
        name: pool.servers[index].name.clone(),
        mac: pool.servers[index].mac.to_string(),
        address: String::new(),
        alive: state.members().is_alive(index),
        requests,
    };
    PoolStatus {
        name: pool.name.clone(),
        vip: format!("{}:{}", pool.vip, pool.service_port),
        connections: 0,
        servers: requests.into_iter().enumerate().map(server).collect(),
        counters,
        cache,
        hot_keys,
    }
}

fn describe_embedded_pool(state: &EmbeddedState) -> PoolStatus {
    let pool = state.pool();
    let mut counters = BTreeMap::new();
    for worker in 0..state.workers() {
        for (name, _, value) in state.of_worker(WorkerId(worker)).read() {
            *counters.entry(name.to_owned()).or_default() += value;
        }
    }
    let vip = format!("{}:{}", pool.vip, pool.service_port);
    PoolStatus { name: pool.name.clone(), vip, counters, ..PoolStatus::default() }
}

fn collect_embedded_pool(state: &EmbeddedState, metrics: &mut Metrics) {
    for worker in 0..state.workers() {
        let published = state.of_worker(WorkerId(worker));
        let worker = worker.to_string();
        let labels = [("pool", state.pool().name.as_str()), ("worker", worker.as_str())];
        for (name, help, value) in published.read() {
            metrics.counter(&format!("smartswitch_pool_{name}_total"), help, &labels, value);
        }
    }
}

fn collect_pool(state: &PoolState, metrics: &mut Metrics) {
    let pool = state.pool();
    for worker in 0..state.workers() {
        let (published, status) = state.of_worker(WorkerId(worker));
        let worker = worker.to_string();
        let labels = [("pool", pool.name.as_str()), ("worker", worker.as_str())];
        for (name, help, value) in published.read() {
            metrics.counter(&format!("smartswitch_pool_{name}_total"), help, &labels, value);
        }
        let (entries, bytes) = status.cache();
        metrics.gauge(
            "smartswitch_pool_cache_entries",
            "Values in the hot-key cache.",
            &labels,
            entries as f64,
        );
        metrics.gauge(
            "smartswitch_pool_cache_bytes",
            "Bytes in use in the hot-key cache.",
            &labels,
            bytes as f64,
        );
        for (server, requests) in pool.servers.iter().zip(status.server_requests()) {
            let labels = [labels[0], labels[1], ("server", server.name.as_str())];
            let help = "Requests sent to the server.";
            metrics.counter("smartswitch_pool_server_requests_total", help, &labels, requests);
        }
    }
    for (index, server) in pool.servers.iter().enumerate() {
        let labels = [("pool", pool.name.as_str()), ("server", server.name.as_str())];
        let alive = f64::from(u8::from(state.members().is_alive(index)));
        metrics.gauge("smartswitch_pool_server_alive", "1 if the server answers probes.", &labels, alive);
    }
    let coherence = state.coherence().statistics();
    let labels = [("pool", pool.name.as_str())];
    let help = "Writes whose reply is awaited.";
    metrics.gauge("smartswitch_pool_writes_in_flight", help, &labels, coherence.in_flight as f64);
    let help = "Times everything cached was voided.";
    metrics.counter("smartswitch_pool_voided_total", help, &labels, coherence.pool_bumps);
}
