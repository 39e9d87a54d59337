//! Ports on virtual devices that need neither hardware nor privileges nor huge pages.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Bench, Scratch, frame, receive};
use fabric::io::{NoRoom, PacketBuf, PacketIo, Packets, PortId};
use fabric_dpdk::{HugePages, Mbuf, Mempool, PoolConfig, PoolError, PortProblem, Ports};

const FIRST: PortId = PortId(0);
const SECOND: PortId = PortId(1);

fn bench() -> Bench {
    common::bench(HugePages::Never)
}

fn pcap_device(input: &Scratch, output: &Scratch) -> String {
    format!("net_pcap0,rx_pcap={},tx_pcap={}", input.path().display(), output.path().display())
}

#[test]
fn frames_of_a_file_come_out_byte_for_byte() {
    let bench = bench();
    let frames: Vec<_> = (0..500).map(|number| frame(number, 60 + number * 2)).collect();
    let (input, output) = (Scratch::pcap("in", &frames), Scratch::new("out"));
    // So that DPDK's numbers of the ports are not ours.
    let _other = bench.open_one(&["net_null1"]);
    let (ports, mut io) = bench.open_one(&["net_null0", &pcap_device(&input, &output)]);
    assert_eq!(io.ports(), 2);

    let mut forwarded = 0;
    while forwarded < frames.len() {
        let mut packets = receive(&mut io, SECOND);
        assert!(!packets.is_empty(), "{forwarded} of {} frames came", frames.len());
        for packet in &packets {
            assert_eq!(packet.ingress(), SECOND);
            assert_eq!(packet.bytes(), frames[forwarded]);
            forwarded += 1;
        }
        assert_eq!(io.transmit(SECOND, &mut packets), 0);
        assert!(packets.is_empty());
    }
    assert!(receive(&mut io, SECOND).is_empty());

    let statistics = ports.statistics(SECOND).unwrap();
    let bytes = frames.iter().map(Vec::len).sum::<usize>() as u64;
    assert_eq!((statistics.rx_packets, statistics.rx_bytes), (500, bytes));
    assert_eq!((statistics.tx_packets, statistics.tx_bytes), (500, bytes));
    assert_eq!((statistics.tx_refused, statistics.rx_too_long), (0, 0));
    drop((ports, io));
    assert_eq!(output.frames(), frames);
    bench.assert_all_returned();
}

#[test]
fn packets_in_several_buffers_are_dropped_and_counted() {
    let bench = bench();
    let frames = [frame(0, 100), frame(1, 5000), frame(2, 2048), frame(3, 2049), frame(4, 60)];
    let (input, output) = (Scratch::pcap("jumbo", &frames), Scratch::new("jumbo-out"));
    let (ports, mut io) = bench.open_one(&[&pcap_device(&input, &output)]);
    let packets = receive(&mut io, FIRST);
    let received: Vec<_> = packets.iter().map(PacketBuf::bytes).collect();
    assert_eq!(received, [&frames[0], &frames[2], &frames[4]]);
    assert_eq!(ports.statistics(FIRST).unwrap().rx_too_long, 2);
    drop((packets, io, ports));
    bench.assert_all_returned();
}

#[test]
fn what_a_full_queue_refuses_is_freed_and_counted() {
    let bench = bench();
    let (ports, mut io) = bench.open_one(&["net_ring0"]);
    let mut refused = 0;
    let sent: Vec<_> = (0..1600).map(|number| frame(number, 60 + number % 1000)).collect();
    for burst in sent.chunks(64) {
        let mut packets: Packets<Mbuf> = burst.iter().map(|frame| bench.packet(frame)).collect();
        refused += io.transmit(FIRST, &mut packets);
        assert!(packets.is_empty());
    }
    // What one sends to the ring one receives from it, in order.
    let mut received = 0;
    loop {
        let packets = receive(&mut io, FIRST);
        if packets.is_empty() {
            break;
        }
        for packet in packets {
            assert_eq!(packet.bytes(), sent[received]);
            received += 1;
        }
    }
    assert!(refused > 0);
    assert_eq!(received + refused, sent.len());
    assert_eq!(ports.statistics(FIRST).unwrap().tx_refused, refused as u64);
    bench.assert_all_returned();
}

#[test]
fn a_burst_receives_no_more_than_it_has_room_for() {
    let bench = bench();
    let (_ports, mut io) = bench.open_one(&["net_null0,size=80"]);
    let mut packets = Packets::new();
    packets.push(bench.packet(&frame(7, 70)));
    io.receive(FIRST, &mut packets);
    assert_eq!(packets.len(), fabric::io::BURST);
    assert_eq!((packets[0].bytes(), packets[0].ingress()), (&frame(7, 70)[..], PortId::NONE));
    assert!(packets[1..].iter().all(|packet| packet.bytes().len() == 80 && packet.ingress() == FIRST));
    io.receive(FIRST, &mut packets);
    assert_eq!(packets.len(), fabric::io::BURST);
    packets.clear();
    bench.assert_all_returned();
}

#[test]
fn each_worker_has_queues_of_its_own() {
    let bench = bench();
    let (ports, mut workers) = bench.open(&["net_ring0"], 3);
    assert_eq!(ports.info(FIRST).unwrap().queues, 3);
    for (number, io) in workers.iter_mut().enumerate() {
        let mut packets: Packets<Mbuf> = [bench.packet(&frame(number, 64))].into_iter().collect();
        assert_eq!(io.transmit(FIRST, &mut packets), 0);
    }
    for (number, io) in workers.iter_mut().enumerate() {
        let packets = receive(io, FIRST);
        assert_eq!(packets.len(), 1);
        assert_eq!(packets[0].bytes(), frame(number, 64));
    }
    bench.assert_all_returned();
}

#[test]
fn ports_close_when_nobody_can_use_them() {
    let bench = bench();
    let (ports, mut io) = bench.open_one(&["net_null0"]);
    drop(ports);
    assert_eq!(receive(&mut io, FIRST).len(), fabric::io::BURST);
    assert_eq!(bench.refusal(&["net_null0"], 1).problem, PortProblem::InUse);
    drop(io);
    let (ports, io) = bench.open_one(&["net_null0"]);
    drop(io);
    assert_eq!(ports.info(FIRST).unwrap().driver, "net_null");
    assert!(ports.link(FIRST).is_some());
    drop(ports);
    bench.assert_all_returned();
}

#[test]
fn a_port_that_is_not_there_takes_and_gives_nothing() {
    let bench = bench();
    let (ports, mut io) = bench.open_one(&["net_null0"]);
    assert!(receive(&mut io, SECOND).is_empty());
    let mut packets = receive(&mut io, FIRST);
    assert_eq!(io.transmit(SECOND, &mut packets), fabric::io::BURST);
    assert!(packets.is_empty());
    assert!(
        ports.info(SECOND).is_none() && ports.statistics(SECOND).is_none() && ports.link(SECOND).is_none()
    );
    bench.assert_all_returned();
}

#[test]
fn a_packet_grows_and_shrinks_within_its_buffer() {
    let bench = bench();
    assert_eq!(size_of::<Option<Mbuf>>(), size_of::<usize>());
    let mut packet = bench.pool.allocate().unwrap();
    assert_eq!((packet.bytes(), packet.ingress()), (&[][..], PortId::NONE));
    packet.set_len(2048).unwrap();
    packet.bytes_mut().fill(0xab);
    assert_eq!(packet.set_len(2049), Err(NoRoom { asked: 2049, capacity: 2048 }));
    assert_eq!(packet.set_len(usize::MAX), Err(NoRoom { asked: usize::MAX, capacity: 2048 }));
    assert_eq!(packet.bytes(), [0xab; 2048]);
    packet.set_len(10).unwrap();
    assert_eq!(packet.bytes(), [0xab; 10]);
    packet.set_len(20).unwrap();
    assert_eq!(packet.bytes(), [0xab; 20]);
    packet.set_ingress(SECOND);
    assert_eq!(packet.ingress(), SECOND);
    packet.prefetch();
    drop(packet);
    bench.assert_all_returned();
}

#[test]
fn an_empty_pool_gives_nothing_until_packets_return() {
    let bench = bench();
    let all: Vec<_> = std::iter::from_fn(|| bench.pool.allocate()).collect();
    // The thread that started DPDK keeps its cache to itself.
    assert!(bench.pool.available() <= 384);
    assert_eq!(all.len(), (common::POOL.packets - bench.pool.available()) as usize);
    let (_ports, mut io) = bench.open_one(&["net_null0"]);
    assert!(io.allocate().is_none());
    assert!(receive(&mut io, FIRST).is_empty());
    drop(all);
    assert!(io.allocate().is_some());
    assert_eq!(receive(&mut io, FIRST).len(), fabric::io::BURST);
    bench.assert_all_returned();
}

#[test]
fn a_copy_says_what_the_packet_says() {
    let bench = bench();
    let (_ports, mut io) = bench.open_one(&["net_null0"]);
    let mut packet = bench.packet(&frame(3, 333));
    packet.set_ingress(SECOND);
    let mut copy = io.duplicate(&packet).unwrap();
    packet.bytes_mut().fill(0);
    assert_eq!((copy.bytes(), copy.ingress()), (&frame(3, 333)[..], SECOND));
    copy.bytes_mut().fill(1);
    assert_eq!(packet.bytes(), [0; 333]);
}

#[test]
fn too_few_queues_are_named_with_a_hint() {
    let bench = bench();
    let (input, output) = (Scratch::pcap("one-queue", &[frame(0, 60)]), Scratch::new("one-queue-out"));
    let error = bench.refusal(&[&pcap_device(&input, &output)], 2);
    assert!(matches!(error.problem, PortProblem::TooFewQueues { offered: 1, workers: 2, .. }), "{error}");
    let message = error.to_string();
    assert!(message.starts_with("port net_pcap0,"), "{message}");
    assert!(message.contains("2 workers need one each: give one rx_pcap="), "{message}");
}

#[test]
fn a_device_named_twice_is_refused_and_all_are_closed_again() {
    let bench = bench();
    let error = bench.refusal(&["net_null0", "net_null1", "net_null0"], 1);
    assert_eq!(error.problem, PortProblem::InUse);
    drop(bench.open(&["net_null0", "net_null1"], 1));
    assert_eq!(bench.refusal(&["net_null0"], 0).problem, PortProblem::NoWorkers);
    bench.assert_all_returned();
}

#[test]
fn a_device_without_driver_is_refused() {
    let bench = bench();
    for device in ["net_nonsense0", "net_pcap0,nonsense=1", "0000:03:00.0"] {
        let error = bench.refusal(&[device], 1);
        assert!(matches!(error.problem, PortProblem::NoDevice(_)), "{error}");
        assert!(error.to_string().starts_with(&format!("port {device}: DPDK has no such device")), "{error}");
    }
}

#[test]
fn frames_must_fit_in_packet_buffers() {
    let bench = bench();
    let mut config = bench.config(&["net_null0"], 1);
    config.mtu = Some(9000);
    let error = Ports::open(bench.eal, &config).unwrap_err();
    assert_eq!(error.problem, PortProblem::SmallBuffers { frame_bytes: 9026, data_room_bytes: 2048 });
    config.mtu = Some(1);
    let error = Ports::open(bench.eal, &config).unwrap_err();
    assert!(matches!(error.problem, PortProblem::Mtu { wanted: 1, .. }), "{error}");
    config.mtu = Some(2000);
    let (ports, _io) = Ports::open(bench.eal, &config).unwrap();
    assert_eq!(ports.info(FIRST).unwrap().mtu, 2000);
}

#[test]
fn a_pool_that_cannot_be_is_refused() {
    let bench = bench();
    let refused = |packets, data_room_bytes| {
        Mempool::create(bench.eal, &PoolConfig { packets, data_room_bytes }).unwrap_err()
    };
    assert_eq!(refused(1024, u16::MAX), PoolError::DataRoom { asked: u16::MAX, most: u16::MAX - 128 });
    assert!(matches!(refused(4 << 20, 2048), PoolError::Create { packets: 4194304, mib: 10000.., .. }));
    assert!(matches!(refused(0, 2048), PoolError::Create { packets: 0, .. }));
}
