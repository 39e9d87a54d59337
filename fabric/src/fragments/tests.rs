use super::*;
use crate::memory::{MemoryPacket, MemoryPool};
use crate::packet::ipv4::{self, Fragmentation, Ipv4};
use crate::packet::{EtherType, MacAddr, ethernet::Ethernet};
use crate::time::Nanos;
use proptest::prelude::*;

const LIMITS: FragmentLimits = FragmentLimits { datagrams: 4, packets: 20, timeout: Duration::from_secs(1) };
const SECOND: Nanos = Nanos(1_000_000_000);

/// A frame that carries `payload` at `offset` of datagram `id`.
fn fragment(id: u32, offset: u32, more: bool, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 14 + ipv4::HEADER_LEN];
    let ethernet = Ethernet {
        dst: MacAddr([2, 0, 0, 0, 0, 2]),
        src: MacAddr([2, 0, 0, 0, 0, 1]),
        vlan: None,
        ethertype: EtherType::IPV4,
        l3_offset: 14,
    };
    let ipv4 = Ipv4 {
        src: [10, 0, 0, 1].into(),
        dst: [10, 0, 0, 2].into(),
        // For experiments (RFC 3692): no transport header that could be wrong.
        protocol: 253,
        ttl: 64,
        header_len: ipv4::HEADER_LEN,
        total_len: ipv4::HEADER_LEN + payload.len(),
        dont_fragment: false,
        fragment: Fragmentation { id, offset, more },
    };
    ethernet.write(&mut frame);
    ipv4.write(&mut frame[14..]);
    frame.extend_from_slice(payload);
    frame
}

/// The fragments of a datagram, `unit` bytes in each.
fn split(id: u32, payload: &[u8], unit: usize) -> Vec<Vec<u8>> {
    let count = payload.len().div_ceil(unit);
    let each = payload.chunks(unit).enumerate();
    each.map(|(n, part)| fragment(id, (n * unit) as u32, n + 1 < count, part)).collect()
}

struct Rig {
    pool: MemoryPool,
    fragments: Fragments<MemoryPacket>,
}

#[derive(Debug, PartialEq)]
enum Seen {
    Held,
    /// Payload and frames.
    Complete(Vec<u8>, Vec<Vec<u8>>),
    Refused(FragmentError),
}

impl Rig {
    fn new(limits: FragmentLimits) -> Rig {
        Rig { pool: MemoryPool::new(4096, 2048), fragments: Fragments::new(limits) }
    }

    fn offer(&mut self, frame: &[u8], now: Nanos) -> Seen {
        let headers = Headers::parse(frame).unwrap();
        match self.fragments.offer(self.pool.packet(frame).unwrap(), &headers, now) {
            Offer::Held => Seen::Held,
            Offer::Refused(reason, packet) => {
                assert_eq!(packet.bytes(), frame);
                Seen::Refused(reason)
            }
            Offer::Complete(mut whole) => {
                let mut payload = Vec::new();
                whole.copy_payload(&mut payload);
                let count = whole.frames();
                let frames: Vec<_> = whole.drain().map(|packet| packet.bytes().to_vec()).collect();
                assert_eq!(frames.len(), count);
                Seen::Complete(payload, frames)
            }
        }
    }

    fn dropped(&mut self) -> Vec<FragmentError> {
        self.fragments.dropped().map(|(reason, _)| reason).collect()
    }

    /// Whatever is held is counted, and nothing leaks.
    fn check(&self) {
        assert_eq!(self.pool.in_use(), self.fragments.packets());
    }
}

#[test]
fn a_datagram_in_order() {
    let mut rig = Rig::new(LIMITS);
    let payload: Vec<u8> = (0..100).collect();
    let frames = split(1, &payload, 48);
    assert_eq!(rig.offer(&frames[0], SECOND), Seen::Held);
    assert_eq!(rig.offer(&frames[1], SECOND), Seen::Held);
    assert_eq!((rig.fragments.datagrams(), rig.fragments.packets()), (1, 2));
    assert_eq!(rig.offer(&frames[2], SECOND), Seen::Complete(payload, frames));
    assert_eq!((rig.fragments.datagrams(), rig.fragments.packets()), (0, 0));
    rig.check();
}

#[test]
fn a_whole_datagram_that_nobody_drains_is_freed() {
    let mut rig = Rig::new(LIMITS);
    let frames = split(1, &[7; 16], 8);
    assert_eq!(rig.offer(&frames[1], SECOND), Seen::Held);
    let headers = Headers::parse(&frames[0]).unwrap();
    let offer = rig.fragments.offer(rig.pool.packet(&frames[0]).unwrap(), &headers, SECOND);
    assert!(matches!(offer, Offer::Complete(_)));
    drop(offer);
    assert_eq!((rig.fragments.datagrams(), rig.fragments.packets(), rig.pool.in_use()), (0, 0, 0));
}

#[test]
fn wrong_fragments_condemn_their_datagram() {
    use FragmentError::*;
    let table: [(FragmentError, u32, bool, usize); 10] = [
        (Overlap, 16, true, 16), // the same place, other bytes
        (Overlap, 16, true, 8),  // inside
        (Overlap, 8, true, 16),  // into it from before
        (Overlap, 24, true, 16), // into it from behind
        (Overlap, 8, true, 64),  // around it
        (Empty, 64, true, 0),
        (BadLength, 64, true, 12),
        (TooLong, 65_512, false, 8),
        (ConflictingEnd, 8, false, 8),
        (ConflictingEnd, 8, false, 1),
    ];
    for (reason, offset, more, len) in table {
        let mut rig = Rig::new(LIMITS);
        rig.offer(&fragment(2, 0, true, &[0; 8]), SECOND);
        rig.offer(&fragment(1, 16, true, &[1; 16]), SECOND);
        assert_eq!(rig.offer(&fragment(1, offset, more, &vec![0xff; len]), SECOND), Seen::Refused(reason));
        assert_eq!(rig.dropped(), [reason]);
        assert_eq!(rig.fragments.datagrams(), 1, "the other datagram stays");
        rig.check();
    }
}

#[test]
fn the_end_is_where_the_last_fragment_says() {
    for (offset, more) in [(32, true), (32, false), (8, false)] {
        let mut rig = Rig::new(LIMITS);
        rig.offer(&fragment(1, 16, false, &[1; 8]), SECOND);
        let seen = rig.offer(&fragment(1, offset, more, &[2; 8]), SECOND);
        assert_eq!(seen, Seen::Refused(FragmentError::ConflictingEnd), "{offset}");
    }
}

#[test]
fn a_duplicate_is_refused_alone() {
    let mut rig = Rig::new(LIMITS);
    let frames = split(1, &[5; 24], 16);
    rig.offer(&frames[0], SECOND);
    assert_eq!(rig.offer(&frames[0], SECOND), Seen::Refused(FragmentError::Duplicate));
    assert!(rig.dropped().is_empty());
    assert!(matches!(rig.offer(&frames[1], SECOND), Seen::Complete(..)));
}

#[test]
fn what_is_not_a_fragment() {
    let mut rig = Rig::new(LIMITS);
    let mut whole = fragment(1, 0, false, &[0; 16]);
    assert_eq!(rig.offer(&whole, SECOND), Seen::Refused(FragmentError::NotAFragment));
    whole[12..14].copy_from_slice(&[0x88, 0xcc]);
    assert_eq!(rig.offer(&whole, SECOND), Seen::Refused(FragmentError::NotAFragment));
    assert_eq!(rig.fragments.datagrams(), 0);
}

#[test]
fn a_full_table_forgets_the_oldest_datagram() {
    let mut rig = Rig::new(LIMITS);
    for id in 0..4 {
        rig.offer(&fragment(id, 0, true, &[0; 8]), SECOND);
    }
    rig.offer(&fragment(0, 8, true, &[0; 8]), SECOND);
    assert_eq!(rig.offer(&fragment(4, 0, true, &[0; 8]), SECOND), Seen::Held);
    assert_eq!(rig.dropped(), [FragmentError::Evicted; 2]);
    assert_eq!(
        rig.offer(&fragment(1, 8, false, &[0; 8]), SECOND),
        Seen::Complete(vec![0; 16], split(1, &[0; 16], 8))
    );
    assert_eq!(rig.offer(&fragment(5, 0, true, &[0; 8]), SECOND), Seen::Held);
    assert!(rig.dropped().is_empty());
    rig.check();
}

#[test]
fn held_packets_are_bounded() {
    let mut rig = Rig::new(LIMITS);
    for n in 0..10 {
        rig.offer(&fragment(1, n * 8, true, &[0; 8]), SECOND);
        rig.offer(&fragment(2, n * 8, true, &[0; 8]), SECOND);
    }
    assert_eq!(rig.fragments.packets(), LIMITS.packets);
    assert_eq!(rig.offer(&fragment(2, 80, true, &[0; 8]), SECOND), Seen::Held);
    assert_eq!(rig.dropped(), [FragmentError::Evicted; 10]);
    assert_eq!((rig.fragments.packets(), rig.fragments.datagrams()), (11, 1));
    rig.check();
}

#[test]
fn a_datagram_has_so_many_pieces() {
    let mut rig = Rig::new(FragmentLimits { packets: 1000, ..LIMITS });
    for n in 0..MAX_PIECES as u32 {
        assert_eq!(rig.offer(&fragment(1, n * 8, true, &[0; 8]), SECOND), Seen::Held);
    }
    let one_more = fragment(1, MAX_PIECES as u32 * 8, true, &[0; 8]);
    assert_eq!(rig.offer(&one_more, SECOND), Seen::Refused(FragmentError::TooManyPieces));
    assert_eq!(rig.dropped().len(), MAX_PIECES);
    rig.check();
}

#[test]
fn what_does_not_become_whole_in_time_is_given_up() {
    let mut rig = Rig::new(LIMITS);
    rig.offer(&fragment(1, 0, true, &[0; 8]), SECOND);
    rig.offer(&fragment(2, 0, true, &[0; 8]), SECOND + Duration::from_millis(500));
    rig.offer(&fragment(1, 8, true, &[0; 8]), SECOND + Duration::from_millis(900));
    let mut given_up = 0;
    rig.fragments.expire(SECOND + Duration::from_millis(999), |_| given_up += 1);
    assert_eq!(given_up, 0);
    rig.fragments.expire(SECOND + Duration::from_millis(1000), |_| given_up += 1);
    assert_eq!((given_up, rig.fragments.datagrams()), (2, 1));
    rig.fragments.expire(SECOND + Duration::from_secs(9), |_| given_up += 1);
    assert_eq!((given_up, rig.fragments.datagrams()), (3, 0));
    rig.check();
}

#[test]
fn the_longest_datagram() {
    let mut rig = Rig::new(FragmentLimits { packets: 64, ..LIMITS });
    let payload: Vec<u8> = (0..65_515_u32).map(|n| n as u8).collect();
    let mut frames = split(1, &payload, 1480);
    assert_eq!(frames.len(), 45);
    let last = frames.pop().unwrap();
    for frame in &frames {
        assert_eq!(rig.offer(frame, SECOND), Seen::Held);
    }
    frames.push(last.clone());
    assert_eq!(rig.offer(&last, SECOND), Seen::Complete(payload, frames));
}

#[test]
fn reasons_have_names_and_places() {
    let names: std::collections::HashSet<_> = FragmentError::ALL.iter().map(|reason| reason.name()).collect();
    assert_eq!(names.len(), FragmentError::ALL.len());
    for (place, reason) in FragmentError::ALL.iter().enumerate() {
        assert_eq!(reason.index(), place);
    }
}

proptest! {
    #[test]
    fn any_order_makes_the_same_datagram(
        (payload, unit) in (prop::collection::vec(any::<u8>(), 9..2000), 1_usize..40).prop_map(|(p, u)| { let least = p.len().div_ceil(MAX_PIECES).div_ceil(8); (p, u.max(least) * 8) }),
        order in any::<prop::sample::Index>().prop_flat_map(|_| prop::collection::vec(any::<u32>(), MAX_PIECES)),
    ) {
        let frames = split(9, &payload, unit);
        prop_assume!(frames.len() > 1);
        let mut shuffled: Vec<_> = frames.iter().zip(order).collect();
        shuffled.sort_by_key(|(_, order)| *order);
        let mut rig = Rig::new(FragmentLimits { packets: 64, ..LIMITS });
        let (last, others) = shuffled.split_last().unwrap();
        for (frame, _) in others {
            prop_assert_eq!(rig.offer(frame, SECOND), Seen::Held);
            prop_assert_eq!(rig.offer(frame, SECOND), Seen::Refused(FragmentError::Duplicate));
        }
        prop_assert_eq!(rig.offer(last.0, SECOND), Seen::Complete(payload, frames));
        rig.check();
    }

    #[test]
    fn whatever_comes_the_bounds_hold(
        pieces in prop::collection::vec((0_u32..8, 0_u32..8192, any::<bool>(), 0_usize..64, 0_u64..300), 0..300),
    ) {
        let mut rig = Rig::new(LIMITS);
        let mut now = SECOND;
        for (id, offset, more, len, pause) in pieces {
            // Half of the offsets are small, so that pieces meet.
            let offset = if offset % 2 == 0 { offset % 16 } else { offset };
            now = now + Duration::from_millis(pause);
            rig.offer(&fragment(id, offset * 8, more, &vec![offset as u8; len]), now);
            rig.dropped();
            prop_assert!(rig.fragments.packets() <= LIMITS.packets);
            prop_assert!(rig.fragments.datagrams() <= LIMITS.datagrams);
            rig.check();
            if pause < 20 {
                rig.fragments.expire(now, drop);
                rig.check();
            }
        }
        rig.fragments.expire(now + Duration::from_secs(2), drop);
        prop_assert_eq!((rig.fragments.packets(), rig.fragments.datagrams()), (0, 0));
        rig.check();
    }
}
