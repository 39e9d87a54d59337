//! Frames: how the bytes of a stream fall into messages.
//!
//! A stream begins with one byte, the number of its channel. What follows are frames: a length, 32 bits, big-endian,
//! and as many bytes. A stream that ends within a frame was cut off.
//!
//! [`Decoder`] is fed the stream in chunks of any size. A frame that lies within a chunk is a slice of it; one that
//! spans several is put together, in memory that grows with what came, never with what was announced.

use bytes::{Buf, Bytes};

/// Bytes of a frame's length.
pub const HEADER_LEN: usize = 4;
/// From this size on a message is handed to the transport as it is, not copied beside its header.
const COPIED_BELOW: usize = 2048;

/// A frame that breaks its channel's rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {len} bytes, where at most {max} are allowed")]
pub struct TooLong {
    /// What its header announces, in bytes.
    pub len: usize,
    /// What is allowed, in bytes.
    pub max: usize,
}

/// Finds the frames of one stream.
///
/// [`push`](Self::push) a chunk, call [`next_frame`](Self::next_frame) until it has none, push the next chunk.
#[derive(Debug)]
pub struct Decoder {
    max: usize,
    /// Of the last chunk, what is not looked at.
    rest: Bytes,
    header: [u8; HEADER_LEN],
    header_len: usize,
    /// What came so far of a frame that spans chunks.
    partial: Vec<u8>,
}

impl Decoder {
    /// At the start of a stream whose frames have `max` bytes at most.
    pub fn new(max: usize) -> Self {
        Self { max, rest: Bytes::new(), header: [0; HEADER_LEN], header_len: 0, partial: Vec::new() }
    }

    /// Takes what came next. All frames of the chunk before have to be taken out.
    pub fn push(&mut self, chunk: Bytes) {
        debug_assert!(self.rest.is_empty(), "frames of the chunk before are left");
        self.rest = chunk;
    }

    /// The next whole frame; none if more has to come first.
    ///
    /// # Errors
    /// If a frame is announced that is longer than allowed; the stream is of no more use.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, TooLong> {
        while self.header_len < HEADER_LEN {
            let Some(&byte) = self.rest.first() else { return Ok(None) };
            self.header[self.header_len] = byte;
            self.header_len += 1;
            self.rest.advance(1);
        }
        let len = self.announced();
        if len > self.max {
            return Err(TooLong { len, max: self.max });
        }
        let missing = len - self.partial.len();
        if self.rest.len() < missing {
            self.partial.extend_from_slice(&self.rest);
            self.rest = Bytes::new();
            return Ok(None);
        }
        self.header_len = 0;
        let end = self.rest.split_to(missing);
        if self.partial.is_empty() {
            return Ok(Some(end));
        }
        let mut whole = std::mem::take(&mut self.partial);
        whole.extend_from_slice(&end);
        Ok(Some(whole.into()))
    }

    /// Of a frame that has begun and is not whole: how many bytes it announces.
    pub fn begun(&self) -> Option<usize> {
        (self.header_len == HEADER_LEN).then(|| self.announced())
    }

    /// Whether the stream may end here.
    pub fn is_between_frames(&self) -> bool {
        self.header_len == 0 && self.rest.is_empty()
    }

    fn announced(&self) -> usize {
        u32::from_be_bytes(self.header) as usize
    }
}

/// Frames on their way out: small messages are copied together, large ones stand as they are.
#[derive(Debug, Default)]
pub struct Encoder {
    small: Vec<u8>,
    chunks: Vec<Bytes>,
}

impl Encoder {
    /// Puts a channel's number, the first byte of a stream.
    pub fn channel(&mut self, number: u8) {
        self.small.push(number);
    }

    /// Puts a frame. `message` must not be longer than 32 bits can say, which channels see to.
    pub fn frame(&mut self, message: Bytes) {
        debug_assert!(u32::try_from(message.len()).is_ok(), "longer than a frame can be");
        self.small.extend_from_slice(&(message.len() as u32).to_be_bytes());
        if message.len() < COPIED_BELOW {
            self.small.extend_from_slice(&message);
        } else {
            self.seal();
            self.chunks.push(message);
        }
    }

    /// What was put, in order.
    pub fn finish(mut self) -> Vec<Bytes> {
        self.seal();
        self.chunks
    }

    fn seal(&mut self) {
        if !self.small.is_empty() {
            self.chunks.push(std::mem::take(&mut self.small).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 10_000;

    fn encode(messages: &[Vec<u8>]) -> Vec<u8> {
        let mut encoder = Encoder::default();
        messages.iter().for_each(|message| encoder.frame(message.clone().into()));
        encoder.finish().concat()
    }

    fn decode(mut bytes: &[u8], cuts: &[usize]) -> (Vec<Vec<u8>>, Decoder) {
        let mut decoder = Decoder::new(MAX);
        let mut messages = Vec::new();
        for &cut in cuts.iter().cycle().take(bytes.len() + 1) {
            let (chunk, rest) = bytes.split_at(cut.clamp(1, bytes.len().max(1)).min(bytes.len()));
            bytes = rest;
            decoder.push(Bytes::copy_from_slice(chunk));
            while let Some(message) = decoder.next_frame().unwrap() {
                messages.push(message.to_vec());
            }
        }
        (messages, decoder)
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..6000), 0..8),
            cuts in prop::collection::vec(1usize..4000, 1..5),
        ) {
            let (read, decoder) = decode(&encode(&messages), &cuts);
            prop_assert_eq!(read, messages);
            prop_assert!(decoder.is_between_frames());
        }

        #[test]
        fn a_stream_cut_short_is_noticed(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..8),
            cuts in prop::collection::vec(1usize..40, 1..5),
            missing in any::<prop::sample::Index>(),
        ) {
            let bytes = encode(&messages);
            let kept = missing.index(bytes.len());
            let (read, decoder) = decode(&bytes[..kept], &cuts);
            let whole = encode(&read).len();
            prop_assert_eq!(&messages[..read.len()], &read[..]);
            prop_assert_eq!(decoder.is_between_frames(), whole == kept);
        }

        #[test]
        fn memory_grows_with_what_came(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = Decoder::new(u32::MAX as usize);
            decoder.push(bytes.clone().into());
            while let Ok(Some(_)) = decoder.next_frame() {}
            prop_assert!(decoder.partial.capacity() <= 2 * bytes.len().max(8));
        }
    }

    #[test]
    fn a_frame_beyond_the_limit_is_refused_by_its_header() {
        let mut decoder = Decoder::new(MAX);
        decoder.push(Bytes::copy_from_slice(&(MAX as u32 + 1).to_be_bytes()));
        assert_eq!(decoder.next_frame(), Err(TooLong { len: MAX + 1, max: MAX }));
    }

    #[test]
    fn a_large_message_is_not_copied() {
        let message = Bytes::from(vec![7; COPIED_BELOW]);
        let mut encoder = Encoder::default();
        encoder.channel(9);
        encoder.frame(Bytes::from_static(b"small"));
        encoder.frame(message.clone());
        let chunks = encoder.finish();
        assert_eq!(chunks.len(), 2);
        assert_eq!(chunks[1].as_ptr(), message.as_ptr());
        assert_eq!(chunks[0][..10], [9, 0, 0, 0, 5, b's', b'm', b'a', b'l', b'l']);
    }
}
