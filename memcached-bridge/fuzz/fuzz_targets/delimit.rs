//! Replies are cut where they end however they arrive. The first byte chooses their shapes, the second is the length of
//! the pieces that they come in.
#![no_main]

use libfuzzer_sys::fuzz_target;
use memcached_bridge::protocol::delimit::{Delimiter, Shape};

const SHAPES: [Shape; 7] = [
    Shape::Line,
    Shape::Items,
    Shape::Meta,
    Shape::MetaThenNoop,
    Shape::Listing,
    Shape::Binary,
    Shape::BinaryListing,
];

/// The lengths of the replies in `stream`, and whether what follows is none.
fn cut(stream: &[u8], first: u8, piece: usize) -> (Vec<usize>, bool) {
    let (mut replies, mut start, mut reply) = (Vec::new(), 0, 0);
    let mut delimiter = Delimiter::default();
    for end in (piece..stream.len()).step_by(piece).chain([stream.len()]) {
        while start < end {
            let shape = SHAPES[(usize::from(first) + replies.len()) % SHAPES.len()];
            let Ok(cut) = delimiter.next(shape, &stream[start..end]) else { return (replies, true) };
            let Some(cut) = cut else { break };
            assert!(cut.len > 0 && cut.len <= end - start && !(cut.last && cut.within_item));
            start += cut.len;
            reply += cut.len;
            if cut.last {
                replies.push(std::mem::take(&mut reply));
            }
        }
    }
    (replies, false)
}

fuzz_target!(|data: &[u8]| {
    let &[first, piece, ref stream @ ..] = data else { return };
    assert_eq!(cut(stream, first, piece.max(1).into()), cut(stream, first, stream.len().max(1)));
});
