//! A worker between ports in memory, and a clock that the test moves.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of this module")]

use std::sync::Arc;
use std::time::Duration;

use fabric::function::{Burst, Context, NetworkFunction, WorkerId};
use fabric::io::{PacketBuf, PacketIo, PortId};
use fabric::memory::{MemoryIo, MemoryPacket, MemoryPool};
use fabric::packet::MacAddr;
use fabric::stations::{Stations, StationsConfig};
use fabric::time::Nanos;
use fabric::worker::{Mailboxes, Work, Worker, WorkerCounters};

pub const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x0a]);
pub const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x0b]);
pub const C: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x0c]);

pub type Function = Box<dyn NetworkFunction<MemoryPacket>>;

pub struct Rig {
    pub worker: Worker<MemoryIo>,
    pub stations: Arc<Stations>,
    pub now: Nanos,
    pool: MemoryPool,
}

impl Rig {
    pub fn new(ports: u16) -> Rig {
        Rig::with_functions(ports, Vec::new())
    }

    pub fn with_functions(ports: u16, functions: Vec<Function>) -> Rig {
        Rig::build(ports, MemoryPool::default(), StationsConfig::default(), functions)
    }

    pub fn with_stations(ports: u16, stations: StationsConfig) -> Rig {
        Rig::build(ports, MemoryPool::default(), stations, Vec::new())
    }

    pub fn with_pool(ports: u16, packets: usize) -> Rig {
        Rig::build(ports, MemoryPool::new(packets, 2048), StationsConfig::default(), Vec::new())
    }

    fn build(ports: u16, pool: MemoryPool, stations: StationsConfig, functions: Vec<Function>) -> Rig {
        let stations = Arc::new(Stations::new(stations));
        Rig::assemble(ports, pool, stations, Mailboxes::new(1, 8), WorkerId(0), functions)
    }

    /// Another worker with the same stations.
    pub fn beside(other: &Rig, mailboxes: Mailboxes<MemoryPacket>, id: u16) -> Rig {
        Rig::working(other, mailboxes, id, Vec::new())
    }

    /// Another worker with the same stations and with functions.
    pub fn working(
        other: &Rig,
        mailboxes: Mailboxes<MemoryPacket>,
        id: u16,
        functions: Vec<Function>,
    ) -> Rig {
        let stations = Arc::clone(&other.stations);
        Rig::assemble(3, other.pool.clone(), stations, mailboxes, WorkerId(id), functions)
    }

    pub fn assemble(
        ports: u16,
        pool: MemoryPool,
        stations: Arc<Stations>,
        mailboxes: Mailboxes<MemoryPacket>,
        id: WorkerId,
        functions: Vec<Function>,
    ) -> Rig {
        let io = MemoryIo::with_pool(ports, pool.clone());
        let worker = Worker::new(id, io, Arc::clone(&stations), mailboxes, functions);
        Rig { worker, stations, now: Nanos(0), pool }
    }

    pub fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    pub fn step(&mut self) -> Work {
        self.worker.step(self.now)
    }

    /// Lets `frame` arrive, and returns what was sent, and by which port.
    pub fn pass(&mut self, port: u16, frame: &[u8]) -> Vec<(u16, Vec<u8>)> {
        assert!(self.worker.io().arrive(PortId(port), frame));
        self.step();
        self.sent()
    }

    pub fn sent(&mut self) -> Vec<(u16, Vec<u8>)> {
        let io = self.worker.io();
        let mut sent = Vec::new();
        for port in 0..io.ports() {
            while let Some(packet) = io.take_sent(PortId(port)) {
                sent.push((port, packet.bytes().to_vec()));
            }
        }
        sent
    }

    /// No packet is left in anybody's hands.
    pub fn check_pool(&self) {
        assert_eq!(self.pool.in_use(), 0, "packets leaked");
    }
}

pub fn frame(src: MacAddr, dst: MacAddr, body: &[u8]) -> Vec<u8> {
    [&dst.0[..], &src.0[..], &[0x88, 0xb5], body].concat()
}

pub fn tagged(vlan: u16, src: MacAddr, dst: MacAddr, body: &[u8]) -> Vec<u8> {
    let [high, low] = vlan.to_be_bytes();
    [&dst.0[..], &src.0[..], &[0x81, 0x00, 0x60 | high, low, 0x88, 0xb5], body].concat()
}

/// How many received packets were dropped, whatever the reason.
pub fn dropped(counters: &WorkerCounters) -> u64 {
    counters.ended_by_function
        + counters.runt
        + counters.spoofed_station
        + counters.link_local_group
        + counters.same_port
        + counters.unclaimed
        + counters.no_other_port
        + counters.no_ingress
        + counters.port_refused
        + counters.mailbox_full
        + counters.mailbox_unknown
}

struct ClaimsNothing;

impl NetworkFunction<MemoryPacket> for ClaimsNothing {
    fn name(&self) -> &'static str {
        "claims_nothing"
    }

    fn process(&mut self, burst: &mut Burst<MemoryPacket>, _: &mut dyn Context<MemoryPacket>) {
        for index in 0..burst.len() {
            assert!(burst.undecided(index).is_some());
        }
    }

    fn tick(&mut self, _: &mut dyn Context<MemoryPacket>) {}
}

/// A function that looks at everything and claims nothing.
pub fn claims_nothing() -> Function {
    Box::new(ClaimsNothing)
}
