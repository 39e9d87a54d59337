//! Any sequence of fragments: nothing panics, the bounds hold, no packet leaks.
//!
//! The input is a list of records of eight bytes: id, offset (two bytes), more, length, pause in tenths of a
//! second, payload byte, whether to expire.
#![no_main]

use std::time::Duration;

use fabric::fragments::{FragmentLimits, Fragments, Offer};
use fabric::memory::MemoryPool;
use fabric::packet::Headers;
use fabric::packet::ipv4::{Fragmentation, HEADER_LEN, Ipv4};
use fabric::time::Nanos;
use libfuzzer_sys::fuzz_target;

const LIMITS: FragmentLimits = FragmentLimits { datagrams: 3, packets: 12, timeout: Duration::from_secs(1) };

fuzz_target!(|bytes: &[u8]| {
    let pool = MemoryPool::new(64, 512);
    let mut fragments = Fragments::new(LIMITS);
    let mut scratch = Vec::with_capacity(65_535);
    let mut now = Nanos(0);
    for record in bytes.as_chunks::<8>().0 {
        let frame = frame(record);
        let headers = Headers::parse(&frame).expect("the lengths are right");
        let packet = pool.packet(&frame).expect("the bounds leave packets");
        now = now + Duration::from_millis(100 * u64::from(record[5]));
        if let Offer::Complete(mut whole) = fragments.offer(packet, &headers, now) {
            whole.copy_payload(&mut scratch);
            assert!(scratch.len() <= 65_515 && whole.frames() > 1);
            // Sometimes leave frames behind.
            whole.drain().take(usize::from(record[6])).for_each(drop);
        }
        fragments.dropped().for_each(drop);
        if record[7] > 200 {
            fragments.expire(now, drop);
        }
        assert!(fragments.packets() <= LIMITS.packets && fragments.datagrams() <= LIMITS.datagrams);
        assert_eq!(pool.in_use(), fragments.packets());
    }
});

fn frame(record: &[u8; 8]) -> Vec<u8> {
    let [id, high, low, more, len, _, byte, _] = *record;
    let ipv4 = Ipv4 {
        src: [10, 0, 0, 1].into(),
        dst: [10, 0, 0, 2].into(),
        // For experiments (RFC 3692): no transport header that could be wrong.
        protocol: 253,
        ttl: 64,
        header_len: HEADER_LEN,
        total_len: HEADER_LEN + usize::from(len),
        dont_fragment: false,
        fragment: Fragmentation {
            id: u32::from(id % 5),
            offset: u32::from(u16::from_be_bytes([high & 0x1f, low])) * 8,
            more: more % 4 != 0,
        },
    };
    let mut frame = vec![2; 14 + HEADER_LEN];
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    ipv4.write(&mut frame[14..]);
    frame.resize(frame.len() + usize::from(len), byte);
    frame
}
