//! Whole datagrams: the frame, then commands to the end; the fast path must agree with the parser.
#![no_main]

use libfuzzer_sys::fuzz_target;
use memcached_bridge::protocol::udp::Frame;
use memcached_bridge::protocol::{Protocol, Step, render, single_get};

fuzz_target!(|data: &[u8]| {
    let Some((frame, payload)) = Frame::parse(data) else { return };
    assert_eq!(frame.to_bytes()[..6], data[..6]);
    let Some(&first) = payload.first() else { return };
    let protocol = Protocol::detect(first);
    if let Some(single) = single_get(payload) {
        let Step::Complete { request, consumed } = protocol.parse(payload) else { panic!("refused") };
        let keys: Vec<_> = request.keys().collect();
        assert_eq!((consumed, keys.len()), (payload.len(), 1));
        assert_eq!((&*keys[0], request.with_cas()), (single.key, single.with_cas));
    }
    let mut rest = payload;
    while !rest.is_empty() {
        match protocol.parse(rest) {
            Step::Complete { request, consumed } => {
                let mut bytes = Vec::new();
                if render::request(&mut bytes, &request) {
                    let Step::Complete { request: again, .. } = protocol.parse(&bytes) else {
                        panic!("{bytes:?}")
                    };
                    assert_eq!(
                        (again.verb, again.class(), again.value),
                        (request.verb, request.class(), request.value)
                    );
                    assert!(again.keys().eq(request.keys()));
                }
                rest = &rest[consumed..];
            }
            Step::Invalid(invalid) => {
                rest = &rest[invalid.consumed..];
                rest = &rest[invalid.swallow.min(rest.len())..];
            }
            Step::Incomplete => return,
        }
    }
});
