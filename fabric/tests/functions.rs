//! What functions decide, emit and hand over, and when they are called.

mod rig;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fabric::function::{Burst, Context, NetworkFunction, Verdict, WorkerId};
use fabric::io::{PacketBuf, PortId};
use fabric::memory::MemoryPacket;
use fabric::packet::ethernet;
use fabric::worker::{MAX_EMITTED, Mailboxes};
use rig::{A, B, C, Function, Rig, frame};

/// Does what the first byte behind the Ethernet header says.
#[derive(Default)]
struct Obedient {
    ticks: Arc<AtomicU64>,
    published: Arc<AtomicU64>,
    kept: Vec<MemoryPacket>,
}

impl NetworkFunction<MemoryPacket> for Obedient {
    fn name(&self) -> &'static str {
        "obedient"
    }

    fn process(&mut self, burst: &mut Burst<MemoryPacket>, context: &mut dyn Context<MemoryPacket>) {
        for index in 0..burst.len() {
            let Some(packet) = burst.undecided(index) else { continue };
            match packet.bytes().get(14) {
                Some(b'd') => burst.decide(index, Verdict::Drop),
                Some(b'r') => burst.decide(index, Verdict::Reply),
                Some(b'c') => {
                    ethernet::set_destination(packet.bytes_mut(), C);
                    burst.decide(index, Verdict::Deliver);
                }
                Some(b'k') => self.kept.extend(burst.take(index)),
                Some(b'h') => {
                    packet.bytes_mut()[14] = b'H';
                    if let Some(packet) = burst.take(index) {
                        context.hand_over(WorkerId(1), packet);
                    }
                }
                Some(b'x') => {
                    if let Some(packet) = burst.take(index) {
                        context.hand_over(WorkerId(9), packet);
                    }
                }
                Some(b'n') => emit_new(packet.bytes()[15], context),
                Some(b'm') => (0..2000).for_each(|_| emit_new(0, context)),
                _ => {}
            }
        }
    }

    fn tick(&mut self, context: &mut dyn Context<MemoryPacket>) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
        for packet in self.kept.drain(..) {
            context.emit(packet);
        }
    }

    fn publish(&mut self) {
        self.published.fetch_add(1, Ordering::Relaxed);
    }
}

/// Emits a packet that was made here, to B; with `1` as an answer, which has nowhere to go.
fn emit_new(how: u8, context: &mut dyn Context<MemoryPacket>) {
    let Some(mut packet) = context.allocate() else { return };
    let bytes = frame(A, B, b"new");
    packet.set_len(bytes.len()).expect("the pool's buffers have room");
    packet.bytes_mut().copy_from_slice(&bytes);
    match how {
        1 => context.emit_reply(packet),
        2 => {
            packet.set_ingress(PortId(2));
            context.emit_reply(packet);
        }
        _ => context.emit(packet),
    }
}

fn obedient() -> Function {
    Box::new(Obedient::default())
}

fn rig() -> Rig {
    let mut rig = Rig::with_functions(3, vec![rig::claims_nothing(), obedient()]);
    for (port, mac) in [(0, A), (1, B), (2, C)] {
        rig.pass(port, &frame(mac, mac, b""));
    }
    rig
}

#[test]
fn verdicts() {
    let mut rig = rig();
    let passed = frame(A, B, b"pass");
    assert_eq!(rig.pass(0, &passed), [(1, passed)]);
    assert_eq!(rig.pass(0, &frame(A, B, b"drop")), []);
    let reply = frame(A, B, b"reply");
    assert_eq!(rig.pass(0, &reply), [(0, reply)]);
    assert_eq!(rig.pass(0, &frame(A, B, b"c")), [(2, frame(A, C, b"c"))]);
    let counters = rig.worker.counters();
    assert_eq!((counters.ended_by_function, counters.replied), (1, 1));
    rig.check_pool();
}

#[test]
fn the_first_function_to_decide_owns_the_packet() {
    let mut rig = Rig::with_functions(2, vec![obedient(), Box::new(OnlyUndecided), obedient()]);
    rig.pass(0, &frame(A, B, b"drop"));
    rig.pass(0, &frame(A, B, b"keep"));
    assert_eq!(rig.pass(0, &frame(A, B, b"pass")).len(), 1);
}

/// Must see nothing that was decided or taken.
struct OnlyUndecided;

impl NetworkFunction<MemoryPacket> for OnlyUndecided {
    fn name(&self) -> &'static str {
        "only_undecided"
    }

    fn process(&mut self, burst: &mut Burst<MemoryPacket>, _: &mut dyn Context<MemoryPacket>) {
        for index in 0..burst.len() {
            if let Some(packet) = burst.undecided(index) {
                assert_eq!(&packet.bytes()[14..], b"pass");
            }
        }
    }

    fn tick(&mut self, _: &mut dyn Context<MemoryPacket>) {}
}

#[test]
fn what_is_kept_is_emitted_later_unharmed() {
    let mut rig = rig();
    let kept = frame(A, B, b"keep");
    assert_eq!(rig.pass(0, &kept), []);
    rig.wait(Duration::from_millis(1));
    rig.step();
    assert_eq!(rig.sent(), [(1, kept)]);
    assert_eq!(rig.worker.counters().emitted, 1);
    rig.check_pool();
}

#[test]
fn emitted_packets_follow_the_burst() {
    let mut rig = rig();
    let new = frame(A, B, b"new");
    let asks = frame(A, B, b"n\0");
    rig.worker.io().arrive(PortId(0), &asks);
    rig.worker.io().arrive(PortId(0), &frame(A, B, b""));
    rig.step();
    assert_eq!(rig.sent(), [(1, asks), (1, frame(A, B, b"")), (1, new.clone())]);

    let to_c = rig.pass(1, &frame(B, A, b"n\x02"));
    assert_eq!(to_c[1], (2, new), "an emitted answer leaves by its ingress");
    rig.pass(0, &frame(A, B, b"n\x01"));
    assert_eq!(rig.worker.counters().no_ingress, 1);
    rig.check_pool();
}

#[test]
fn more_emitted_packets_than_wait_are_not_lost() {
    let mut rig = rig();
    const { assert!(MAX_EMITTED < 2000) };
    assert_eq!(rig.pass(0, &frame(A, B, b"many")).len(), 2001);
    rig.check_pool();
}

#[test]
fn packets_are_handed_over() {
    let mailboxes = Mailboxes::new(2, 4);
    let base = rig();
    let mut one = Rig::working(&base, mailboxes.clone(), 0, vec![obedient()]);
    let mut other = Rig::working(&base, mailboxes, 1, vec![obedient()]);
    for _ in 0..6 {
        assert_eq!(one.pass(0, &frame(A, B, b"h")), []);
    }
    let counters = one.worker.counters();
    assert_eq!((counters.handed_over, counters.mailbox_full), (4, 2));
    let work = other.step();
    assert_eq!((work.received, work.taken_over), (0, 4));
    assert!(work.found_any());
    assert_eq!(other.sent(), vec![(1, frame(A, B, b"H")); 4]);
    assert_eq!(other.worker.counters().taken_over, 4);
    one.pass(0, &frame(A, B, b"x"));
    assert_eq!(one.worker.counters().mailbox_unknown, 1);
    one.check_pool();
}

#[test]
fn functions_tick_every_millisecond_and_publish_every_ten() {
    let function = Obedient::default();
    let (ticks, published) = (Arc::clone(&function.ticks), Arc::clone(&function.published));
    let mut rig = Rig::with_functions(2, vec![Box::new(function)]);
    for _ in 0..1000 {
        rig.step();
        rig.wait(Duration::from_micros(100));
    }
    assert_eq!(ticks.load(Ordering::Relaxed), 100);
    assert_eq!(published.load(Ordering::Relaxed), 10);
    // After a pause there is one tick, not one for each millisecond missed.
    rig.wait(Duration::from_secs(1));
    rig.step();
    rig.step();
    assert_eq!(ticks.load(Ordering::Relaxed), 101);
}

#[test]
fn counters_are_published() {
    let mut rig = rig();
    let published = rig.worker.published();
    let read = |name: &str| published.read().find(|(known, ..)| *known == name).unwrap().2;
    rig.wait(Duration::from_millis(10));
    rig.step();
    assert_eq!(read("received"), 3);
    rig.pass(0, &frame(A, B, b""));
    assert_eq!(read("received"), 3, "not yet");
    rig.wait(Duration::from_millis(10));
    assert!(!rig.step().found_any());
    assert_eq!(read("received"), 4);
}
