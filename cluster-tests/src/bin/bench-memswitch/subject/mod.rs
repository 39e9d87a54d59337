//! What is measured without a rack: the worker and the function of the product, as a node wires them, with the
//! servers' side reduced to what the node itself needs of it.
//!
//! Port 0 receives what clients send, port 1 leads to all servers.

mod scenario;
mod servers;
mod traffic;

pub(crate) use scenario::{Mode, Scenario};
pub(crate) use servers::WithServers;
pub(crate) use traffic::frames;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use fabric::counters::Published;
use fabric::function::{NetworkFunction, WorkerId};
use fabric::io::{PacketIo, PortId};
use fabric::packet::MacAddr;
use fabric::stations::{Stations, StationsConfig};
use fabric::time::Nanos;
use fabric::worker::{Mailboxes, Work, Worker};
use memcached_bridge::hashing::{Distribution, KeyHash};
use memcached_bridge::packet::pool::{CacheLimits, NodeAddress, Pool, Probing, Server};
use memcached_bridge::packet::{MemcachedSwitch, PoolState};

/// Where requests come from.
pub(crate) const CLIENTS: PortId = PortId(0);
/// Where the servers are.
pub(crate) const SERVERS: PortId = PortId(1);

const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
const NODE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);
const NODE_MAC: MacAddr = MacAddr([0x02, 0, 0, 0x77, 0, 0xfe]);
/// A station that is no server, behind the servers' port.
const BYSTANDER_MAC: MacAddr = MacAddr([0x02, 0, 0, 0x77, 2, 1]);
const MEMCACHED: u16 = 11211;
const UPSTREAM: u16 = 40_000;
/// Packets of a worker's mailbox, as in the node.
const MAILBOX: usize = 1024;

/// The node's worker over `io`, which has two ports.
pub(crate) struct Subject<I: PacketIo> {
    worker: Worker<WithServers<I>>,
    counters: Arc<Published>,
}

/// Packets of clients dealt with since the start, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Answered in place.
    pub(crate) hits: u64,
    /// Sent on to a server.
    pub(crate) redirected: u64,
    /// Passed on by the learning switch.
    pub(crate) passed: u64,
}

impl Outcome {
    /// All of them.
    pub(crate) fn sum(&self) -> u64 {
        self.hits + self.redirected + self.passed
    }

    /// What came since `earlier`.
    pub(crate) fn since(&self, earlier: &Outcome) -> Outcome {
        Outcome {
            hits: self.hits - earlier.hits,
            redirected: self.redirected - earlier.redirected,
            passed: self.passed - earlier.passed,
        }
    }
}

impl<I: PacketIo> Subject<I>
where
    I::Packet: 'static,
{
    /// The worker for `scenario`, with `functions` of the product or, for [`Mode::Bare`], none.
    ///
    /// # Errors
    /// What the product says about the pool.
    pub(crate) fn new(io: I, scenario: &Scenario) -> Result<Self, Box<dyn std::error::Error>> {
        let stations = Arc::new(Stations::new(StationsConfig::default()));
        stations.pin(0, NODE_MAC, PortId::NONE)?;
        stations.pin(0, BYSTANDER_MAC, SERVERS)?;
        for server in 0..scenario.servers {
            stations.pin(0, server_mac(server), SERVERS)?;
        }
        let state = PoolState::new(pool(scenario), 1, 0x5eed)?;
        let (counters, _) = state.of_worker(WorkerId(0));
        let mut functions: Vec<Box<dyn NetworkFunction<I::Packet>>> = Vec::new();
        if scenario.mode != Mode::Bare {
            functions.push(Box::new(MemcachedSwitch::new(state, WorkerId(0))));
        }
        let io = WithServers::new(io, scenario.value_bytes);
        let worker = Worker::new(WorkerId(0), io, stations, Mailboxes::new(1, MAILBOX), functions);
        Ok(Self { worker, counters })
    }

    /// One round.
    #[inline]
    pub(crate) fn step(&mut self, now: Nanos) -> Work {
        self.worker.step(now)
    }

    /// The ports.
    pub(crate) fn io(&mut self) -> &mut I {
        self.worker.io().inner()
    }

    /// What became of the packets so far.
    pub(crate) fn outcome(&mut self) -> Outcome {
        self.worker.publish();
        let (hits, redirected) = (self.counter("hits"), self.counter("redirected"));
        let counters = self.worker.counters();
        // What the function sent or answered was switched or replied to, too.
        let switched = counters.switched - redirected.min(counters.switched);
        let own = self.counter("fills_sent") + self.counter("probes_sent");
        Outcome { hits, redirected, passed: switched.saturating_sub(own) }
    }

    /// All counters that are not zero, the worker's and the pool's.
    pub(crate) fn counters(&mut self) -> Vec<(String, u64)> {
        self.worker.publish();
        let worker = self.worker.published();
        let all = worker.read().chain(self.counters.read());
        all.filter(|(_, _, value)| *value > 0).map(|(name, _, value)| (name.to_owned(), value)).collect()
    }

    fn counter(&self, name: &str) -> u64 {
        self.counters.read().find(|(other, ..)| *other == name).map_or(0, |(_, _, value)| value)
    }
}

fn server_mac(server: u16) -> MacAddr {
    MacAddr([0x02, 0, 0, 0x77, 1, server as u8])
}

fn pool(scenario: &Scenario) -> Pool {
    let server = |index| Server {
        name: format!("mc{}", index + 1),
        mac: server_mac(index),
        port: Some(SERVERS),
        weight: 1,
    };
    Pool {
        name: "web".to_owned(),
        vip: VIP,
        service_port: MEMCACHED,
        vlan: None,
        servers: (0..scenario.servers).map(server).collect(),
        distribution: Distribution::Ketama,
        key_hash: KeyHash::Fnv1a64,
        hash_tag: None,
        clients: vec!["10.77.0.0/24".parse().expect("a network")],
        tracks_tcp: false,
        amplification_limit: 3.0,
        cache: scenario.mode.hot_threshold().map(|hot_threshold| CacheLimits {
            capacity_bytes: 16 << 20,
            lease: Duration::from_secs(1),
            hot_threshold,
        }),
        probing: Probing { interval: Duration::from_millis(200), failures: 3, auto_eject: true },
        node: NodeAddress { mac: NODE_MAC, ip: NODE, kernel_answers_arp: false },
        upstream_port: UPSTREAM,
    }
}
