//! Streams of chunks, from the first to the last byte.
//!
//! Quinn finishes a stream whose writer is dropped, as if all had been said. Here a writer that is dropped before it
//! [finished](ChunkSender::finish) resets the stream, so that what a cancelled task wrote is never taken for whole.

use std::sync::Arc;

use bytes::Bytes;
use quinn::{RecvStream, SendStream};
use tokio::sync::OwnedSemaphorePermit;

use crate::channel::Streams;
use crate::connection::Use;
use crate::error::{Refusal, StreamError};
use crate::frame::{Decoder, Encoder};

/// Bounds of one direction of a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) channel: &'static str,
    pub(crate) max: usize,
}

/// Kept by both halves of a stream: as long as one lives its connection is in use, and its place among those that are
/// served is taken.
pub(crate) type Hold = Arc<(Use, Option<OwnedSemaphorePermit>)>;

impl From<&Streams> for Bounds {
    fn from(channel: &Streams) -> Self {
        Bounds { channel: channel.name, max: channel.max_chunk_bytes }
    }
}

/// The sending half of a stream.
#[derive(Debug)]
pub struct ChunkSender {
    stream: SendStream,
    bounds: Bounds,
    /// The channel's number, until it is said.
    announce: Option<u8>,
    state: State,
    _hold: Hold,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Whole,
    /// A write failed, or was dropped while it went on: the bytes after it would be no frames.
    Broken,
    Finished,
}

impl ChunkSender {
    /// Of a stream that this node opened on channel `number`.
    pub(crate) fn opened(stream: SendStream, number: u8, bounds: Bounds, hold: Hold) -> Self {
        Self { stream, bounds, announce: Some(number), state: State::Whole, _hold: hold }
    }

    /// Of a stream that the peer opened.
    pub(crate) fn accepted(stream: SendStream, bounds: Bounds, hold: Hold) -> Self {
        Self { stream, bounds, announce: None, state: State::Whole, _hold: hold }
    }

    /// Sends a chunk; waits while the other end is slow. If the future is dropped before it is done, the stream is
    /// broken.
    ///
    /// # Errors
    /// If the chunk is too large, which leaves the stream as it was, or the stream is no more.
    pub async fn send(&mut self, chunk: Bytes) -> Result<(), StreamError> {
        self.admits(&chunk)?;
        let mut encoder = Encoder::default();
        if let Some(number) = self.announce {
            encoder.channel(number);
        }
        encoder.frame(chunk);
        if std::mem::replace(&mut self.state, State::Broken) != State::Whole {
            return Err(StreamError::Broken);
        }
        self.stream.write_all_chunks(&mut encoder.finish()).await.map_err(StreamError::of_write)?;
        self.announce = None;
        self.state = State::Whole;
        Ok(())
    }

    /// Says that this was all. The chunks go on their way; that they arrived is for the other end to say.
    ///
    /// # Errors
    /// If the stream is broken.
    pub fn finish(mut self) -> Result<(), StreamError> {
        if self.state != State::Whole {
            return Err(StreamError::Broken);
        }
        self.state = State::Finished;
        self.stream.finish().map_err(|_| StreamError::Broken)
    }

    /// Ends when the other end does not want more, or has all of a finished stream, or the connection is lost.
    pub async fn closed(&self) {
        let _ = self.stream.stopped().await;
    }

    pub(crate) fn admits(&self, chunk: &Bytes) -> Result<(), StreamError> {
        let (Bounds { channel, max }, len) = (self.bounds, chunk.len());
        if len <= max { Ok(()) } else { Err(StreamError::TooLong { channel, len, max }) }
    }

    pub(crate) fn refuse(mut self, refusal: Refusal) {
        self.state = State::Finished;
        let _ = self.stream.reset(refusal.code());
    }

    pub(crate) fn set_priority(&self, priority: i32) {
        let _ = self.stream.set_priority(priority);
    }
}

impl Drop for ChunkSender {
    fn drop(&mut self) {
        if self.state != State::Finished {
            let _ = self.stream.reset(Refusal::Cancelled.code());
        }
    }
}

/// The receiving half of a stream.
#[derive(Debug)]
pub struct ChunkReceiver {
    stream: RecvStream,
    bounds: Bounds,
    decoder: Decoder,
    _hold: Hold,
}

impl ChunkReceiver {
    pub(crate) fn new(stream: RecvStream, bounds: Bounds, hold: Hold) -> Self {
        Self { stream, bounds, decoder: Decoder::new(bounds.max), _hold: hold }
    }

    /// The next chunk; none after the last. May be dropped and called again without loss.
    ///
    /// # Errors
    /// If the stream breaks before its end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StreamError> {
        loop {
            match self.decoder.next_frame() {
                Ok(Some(chunk)) => return Ok(Some(chunk)),
                Ok(None) => {}
                Err(too_long) => {
                    self.refuse(Refusal::Malformed);
                    let (channel, len, max) = (self.bounds.channel, too_long.len, too_long.max);
                    return Err(StreamError::TooLong { channel, len, max });
                }
            }
            match self.stream.read_chunk(usize::MAX, true).await.map_err(StreamError::of_read)? {
                Some(chunk) => self.decoder.push(chunk.bytes),
                None if self.decoder.is_between_frames() => return Ok(None),
                None => return Err(StreamError::CutOff),
            }
        }
    }

    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        let _ = self.stream.stop(refusal.code());
    }
}
