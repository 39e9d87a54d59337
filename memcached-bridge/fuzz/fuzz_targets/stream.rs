//! A text stream says the same however it is cut. The first byte of the input is the length of the pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use memcached_bridge::protocol::{Protocol, Step};

fn read(input: &[u8], piece: usize) -> Vec<String> {
    let (mut said, mut start, mut swallow) = (Vec::new(), 0usize, 0usize);
    for end in (piece..input.len()).step_by(piece).chain([input.len()]) {
        while start < end {
            let swallowed = swallow.min(end - start);
            start += swallowed;
            swallow -= swallowed;
            if swallow > 0 {
                break;
            }
            match Protocol::Text.parse(&input[start..end]) {
                Step::Incomplete => break,
                Step::Complete { request, consumed } => {
                    let keys: Vec<_> = request.keys().collect();
                    said.push(format!("{request:?} {keys:?} {:?}", request.class()));
                    start += consumed;
                }
                Step::Invalid(invalid) => {
                    said.push(format!("{:?}", invalid.error));
                    if invalid.is_fatal() {
                        return said;
                    }
                    start += invalid.consumed;
                    swallow = invalid.swallow;
                }
            }
            assert!(start <= end);
        }
    }
    said
}

fuzz_target!(|data: &[u8]| {
    let Some((&piece, input)) = data.split_first() else { return };
    assert_eq!(read(input, piece.max(1).into()), read(input, input.len().max(1)));
});
