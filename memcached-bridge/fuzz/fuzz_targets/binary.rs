//! The binary protocol: heads, whole requests and headers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use memcached_bridge::protocol::{Head, Protocol, Step, binary::Header};

fuzz_target!(|data: &[u8]| {
    if let Some(header) = Header::parse(data) {
        assert_eq!(header.to_bytes(), data[..24]);
    }
    let mut rest = data;
    while let Step::Complete { request, consumed } = Protocol::Binary.parse(rest) {
        let Head::Complete { consumed: head, block, .. } = Protocol::Binary.parse_head(rest) else {
            panic!("no head")
        };
        assert_eq!(head + block.map_or(0, |block| block.wire_len()), consumed);
        assert!(request.keys().all(|key| (1..=250).contains(&key.len())));
        rest = &rest[consumed..];
    }
});
