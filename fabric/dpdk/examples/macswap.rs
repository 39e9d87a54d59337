//! Receives, swaps the MAC addresses and sends back: what the shell itself costs, next to `dpdk-testpmd --forward-mode=macswap`.
//!
//! ```text
//! macswap SECONDS CORE DEVICE...
//! macswap 5 1 net_pcap0,rx_pcap=requests.pcap,infinite_rx=1
//! ```

use fabric::io::{PacketBuf, PacketIo, Packets, PortId};
use fabric::time::Nanos;
use fabric_dpdk::{
    Clock, Eal, EalOptions, Mempool, PoolConfig, PortSpec, Ports, PortsConfig, WorkerIo, lcore,
};
use std::error::Error;
use std::time::Duration;

const USAGE: &str = "usage: macswap SECONDS CORE DEVICE...";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [seconds, core, devices @ ..] = &arguments[..] else { return Err(USAGE.into()) };
    let (seconds, core): (u64, usize) = (seconds.parse()?, core.parse()?);
    let specs = devices.iter().map(|device| device.parse()).collect::<Result<Vec<PortSpec>, _>>()?;

    // net_pcap keeps a copy of the whole file in packets of the pool.
    let pool = PoolConfig { packets: 65536, ..PoolConfig::default() };
    let options = EalOptions { memory_mib: pool.memory_mib() + 64, ..EalOptions::for_ports(&specs) };
    let eal = Eal::init(&options)?;
    let pool = Mempool::create(eal, &pool)?;
    let (ports, workers) = Ports::open(eal, &PortsConfig::new(specs, 1, pool))?;
    for info in ports.ids().filter_map(|port| ports.info(port)) {
        println!("{info:?}");
    }
    let clock = Clock::start();
    for io in workers {
        let time = Duration::from_secs(seconds);
        let thread = lcore::spawn(eal, "macswap", Some(core), move || forward(io, clock, time))?;
        let (packets, elapsed, on_cpu) = thread.join().map_err(|_| "the worker panicked")?;
        let rate = |time: Duration| packets as f64 / time.as_secs_f64() / 1e6;
        println!("{packets} packets in {elapsed:?}: {:.2} Mpps", rate(elapsed));
        println!("{on_cpu:?} of it on the core: {:.2} M packets per CPU second", rate(on_cpu));
    }
    for statistics in ports.ids().filter_map(|port| ports.statistics(port)) {
        println!("{statistics:?}");
    }
    Ok(())
}

/// Returns how many packets it received, in what time, and how much of that the thread ran.
fn forward(mut io: WorkerIo, clock: Clock, time: Duration) -> (u64, Duration, Duration) {
    let (begin, cpu_begin): (Nanos, Duration) = (clock.now(), on_cpu());
    let mut received = 0;
    let mut burst = Packets::new();
    while clock.now().since(begin) < time {
        for port in (0..io.ports()).map(PortId) {
            io.receive(port, &mut burst);
            received += burst.len() as u64;
            burst.iter_mut().for_each(swap_macs);
            io.transmit(port, &mut burst);
        }
    }
    (received, clock.now().since(begin), on_cpu() - cpu_begin)
}

/// How long the calling thread has had a core: the measure that counts on a machine with other work.
fn on_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

fn swap_macs(packet: &mut impl PacketBuf) {
    if let Some((destination, rest)) = packet.bytes_mut().split_first_chunk_mut::<6>()
        && let Some(source) = rest.first_chunk_mut::<6>()
    {
        std::mem::swap(destination, source);
    }
}
