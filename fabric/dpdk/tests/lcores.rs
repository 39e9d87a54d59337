//! Starting DPDK, and threads that it knows.

#![allow(clippy::unwrap_used)]

mod common;

use common::{bench, cores};
use fabric::io::{PacketIo, Packets, PortId};
use fabric_dpdk::lcore::{self, Lcore, LcoreError};
use fabric_dpdk::{Eal, EalError, EalOptions, HugePages};
use std::sync::{Arc, mpsc};
use std::thread;

#[test]
fn dpdk_starts_once() {
    let _bench = bench(HugePages::Auto);
    assert_eq!(Eal::init(&EalOptions::default()).unwrap_err(), EalError::AlreadyStarted);
}

#[test]
fn a_spawned_thread_is_an_lcore_on_its_core() {
    let bench = bench(HugePages::Auto);
    let core = *cores().last().unwrap();
    let (_ports, mut io) = bench.open_one(&["net_null0"]);
    let eal = bench.eal;
    let body = move || {
        let second = Lcore::register(eal, None);
        assert!(matches!(second, Err(LcoreError::Register(_))), "{second:?}");
        let mut packets = Packets::new();
        for _ in 0..1000 {
            io.receive(PortId(0), &mut packets);
            io.transmit(PortId(0), &mut packets);
        }
        (cores(), thread::current().name().map(str::to_owned))
    };
    let worker = lcore::spawn(eal, "worker-7", Some(core), body).unwrap();
    assert_eq!(worker.join().unwrap(), (vec![core], Some("worker-7".into())));
    bench.assert_all_returned();
}

#[test]
fn lcore_ids_are_given_back() {
    let bench = bench(HugePages::Auto);
    let eal = bench.eal;
    let register = move || Lcore::register(eal, None).map(|lcore| lcore.id()).unwrap();
    let first = thread::spawn(register).join().unwrap();
    // More than there are lcores.
    for _ in 0..200 {
        assert_eq!(thread::spawn(register).join().unwrap(), first);
    }
}

#[test]
fn a_core_that_is_not_there_is_named_and_the_body_dropped() {
    let bench = bench(HugePages::Auto);
    for core in [1000, 1 << 40] {
        let owned = Arc::new(());
        let body_owns = Arc::clone(&owned);
        let error = lcore::spawn(bench.eal, "nowhere", Some(core), move || drop(body_owns)).unwrap_err();
        assert!(error.to_string().starts_with(&format!("cannot run on core {core} only: ")), "{error}");
        assert_eq!(Arc::strong_count(&owned), 1);
    }
}

#[test]
fn packets_return_from_whatever_thread_frees_them() {
    let bench = bench(HugePages::Auto);
    let (sender, receiver) = mpsc::channel();
    let pool = bench.pool;
    let make = move || (0..2000).for_each(|_| sender.send(pool.allocate().unwrap()).unwrap());
    let free = move || receiver.into_iter().count();
    let maker = lcore::spawn(bench.eal, "maker", None, make).unwrap();
    let freer = lcore::spawn(bench.eal, "freer", None, free).unwrap();
    maker.join().unwrap();
    assert_eq!(freer.join().unwrap(), 2000);
    bench.assert_all_returned();
}
