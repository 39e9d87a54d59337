//! Streams of any bytes in chunks of any size: no panic, and what is read is what was written.
#![no_main]

use bytes::Bytes;
use fabric_quic::frame::{Decoder, Encoder};
use libfuzzer_sys::fuzz_target;

const MAX: usize = 4096;

fuzz_target!(|data: &[u8]| {
    let Some((&size, mut stream)) = data.split_first() else { return };
    let stream_bytes = stream;
    let mut decoder = Decoder::new(MAX);
    let mut again = Encoder::default();
    let mut whole = 0;
    let mut refused = false;
    while !stream.is_empty() && !refused {
        let (chunk, rest) = stream.split_at(usize::from(size).clamp(1, stream.len()));
        stream = rest;
        decoder.push(Bytes::copy_from_slice(chunk));
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => {
                    whole += 4 + frame.len();
                    again.frame(frame);
                }
                Ok(None) => break,
                Err(too_long) => {
                    assert!(too_long.len > MAX);
                    refused = true;
                    break;
                }
            }
        }
    }
    assert_eq!(again.finish().concat(), stream_bytes[..whole]);
    assert!(refused || decoder.is_between_frames() == (whole == stream_bytes.len()));
});
