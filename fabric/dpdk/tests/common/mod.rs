//! What the tests share: one EAL for each test binary, files of packets, whole-port round trips.

#![allow(dead_code)]

use fabric::io::{PacketBuf, PacketIo, Packets, PortId};
use fabric_dpdk::{
    Eal, EalOptions, HugePages, Mbuf, Mempool, PoolConfig, PortError, Ports, PortsConfig, WorkerIo,
};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::{env, fs, process};

/// The cores that the calling thread may run on.
pub(crate) fn cores() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
    (0..CpuSet::count()).filter(|&core| set.is_set(core).unwrap()).collect()
}

/// DPDK and a pool, for one test at a time: what is left of the pool is then that test's doing.
pub(crate) struct Bench {
    pub(crate) eal: Eal,
    pub(crate) pool: Mempool,
    /// Packets that were free when the test began. `net_af_xdp` keeps those of its rings when a port is closed, so after a
    /// test of it there are fewer.
    free: u32,
    _turn: MutexGuard<'static, ()>,
}

pub(crate) const POOL: PoolConfig = PoolConfig { packets: 8191, data_room_bytes: 2048 };

pub(crate) fn bench(huge_pages: HugePages) -> Bench {
    static TURN: Mutex<()> = Mutex::new(());
    static STARTED: OnceLock<(Eal, Mempool)> = OnceLock::new();
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (eal, pool) = *STARTED.get_or_init(|| {
        let before = cores();
        let memory_mib = POOL.memory_mib() + 64;
        // One core, so that a thread that DPDK moved would show.
        let control_cores = vec![before[0]];
        let options = EalOptions { huge_pages, memory_mib, control_cores, ..EalOptions::default() };
        let eal = Eal::init(&options).unwrap();
        assert_eq!(cores(), before, "starting DPDK moved the calling thread");
        (eal, Mempool::create(eal, &POOL).unwrap())
    });
    Bench { eal, pool, free: pool.available(), _turn: turn }
}

impl Bench {
    pub(crate) fn config(&self, devices: &[&str], workers: u16) -> PortsConfig {
        PortsConfig::new(devices.iter().map(|device| device.parse().unwrap()).collect(), workers, self.pool)
    }

    pub(crate) fn open(&self, devices: &[&str], workers: u16) -> (Ports, Vec<WorkerIo>) {
        Ports::open(self.eal, &self.config(devices, workers)).unwrap()
    }

    pub(crate) fn refusal(&self, devices: &[&str], workers: u16) -> PortError {
        Ports::open(self.eal, &self.config(devices, workers)).unwrap_err()
    }

    /// One worker, its ports.
    pub(crate) fn open_one(&self, devices: &[&str]) -> (Ports, WorkerIo) {
        let (ports, mut workers) = self.open(devices, 1);
        (ports, workers.remove(0))
    }

    pub(crate) fn packet(&self, bytes: &[u8]) -> Mbuf {
        let mut packet = self.pool.allocate().unwrap();
        packet.set_len(bytes.len()).unwrap();
        packet.bytes_mut().copy_from_slice(bytes);
        packet
    }

    #[track_caller]
    pub(crate) fn assert_all_returned(&self) {
        assert_eq!(self.pool.available(), self.free);
    }
}

/// Frame number `number`: a fixed pattern of `len` bytes from an experimental EtherType.
pub(crate) fn frame(number: usize, len: usize) -> Vec<u8> {
    let mut frame = vec![0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1, 0x88, 0xb5];
    frame.extend((frame.len()..len).map(|index| (number * 31 + index * 7) as u8));
    frame
}

pub(crate) fn receive(io: &mut WorkerIo, port: PortId) -> Packets<Mbuf> {
    let mut packets = Packets::new();
    io.receive(port, &mut packets);
    packets
}

/// A file that is removed when dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        Self(env::temp_dir().join(format!("fabric-dpdk-{}-{name}", process::id())))
    }

    /// A pcap file of `frames`.
    pub(crate) fn pcap(name: &str, frames: &[Vec<u8>]) -> Self {
        let mut file: Vec<u8> = [0xa1b2_c3d4_u32, 4 << 16 | 2, 0, 0, 65535, 1].map(u32::to_le_bytes).concat();
        for frame in frames {
            let len = frame.len() as u32;
            file.extend([0, 0, len, len].map(u32::to_le_bytes).concat());
            file.extend(frame);
        }
        let scratch = Self::new(name);
        fs::write(&scratch.0, file).unwrap();
        scratch
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The frames of a pcap file of this machine's byte order.
    pub(crate) fn frames(&self) -> Vec<Vec<u8>> {
        let file = fs::read(&self.0).unwrap();
        let mut rest = &file[24..];
        let mut frames = Vec::new();
        while let Some((header, body)) = rest.split_at_checked(16) {
            let len = u32::from_ne_bytes(header[8..12].try_into().unwrap()) as usize;
            frames.push(body[..len].to_vec());
            rest = &body[len..];
        }
        frames
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
