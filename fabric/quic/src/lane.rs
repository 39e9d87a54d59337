//! A lane: the messages of one channel on their way to one peer.
//!
//! [`Lane::push`] never waits. One task per lane takes what has gathered, a batch at a time, and writes it to a stream of
//! the connection in use; a lane whose stream stands still fills up, and drops, without holding up any other.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::{SendStream, WriteError};
use tokio::sync::Notify;

use crate::channel::Messages;
use crate::connection::Connection;
use crate::counters::add;
use crate::error::{Refusal, Unreachable};
use crate::frame::Encoder;
use crate::peer::Peer;
use crate::shared::Shared;

/// Messages taken from the queue at once have together this many bytes at most, or there is one of them.
const BATCH_BYTES: usize = 256 << 10;
/// A peer that refused the channel is not asked again for so long.
const REFUSED: Duration = Duration::from_secs(1);
/// Messages go before calls (1) and streams (0) where they compete for a connection.
const PRIORITY: i32 = 2;

/// Why a message did not enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejected {
    Full,
    Refused,
}

/// A queue to one peer.
#[derive(Debug)]
pub(crate) struct Lane {
    channel: Messages,
    queue: Mutex<Queue>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Bytes>,
    bytes: usize,
    refused: Option<Instant>,
}

impl Lane {
    pub(crate) fn new(channel: Messages) -> Self {
        Self { channel, queue: Mutex::default(), filled: Notify::new() }
    }

    /// Appends a message. Whether it is the only one, and the lane has to be [woken](Self::wake).
    pub(crate) fn push(&self, message: Bytes, now: Instant) -> Result<bool, Rejected> {
        let mut queue = self.lock();
        if queue.refused.is_some_and(|until| now < until) {
            return Err(Rejected::Refused);
        }
        let fits = queue.messages.len() < self.channel.queue_messages
            && queue.bytes + message.len() <= self.channel.queue_bytes;
        if !fits {
            return Err(Rejected::Full);
        }
        queue.bytes += message.len();
        queue.messages.push_back(message);
        Ok(queue.messages.len() == 1)
    }

    /// Has its task look.
    pub(crate) fn wake(&self) {
        self.filled.notify_one();
    }

    /// Messages and bytes that wait.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        let queue = self.lock();
        (queue.messages.len(), queue.bytes)
    }

    /// Removes a batch from the front.
    fn take(&self) -> Vec<Bytes> {
        let mut queue = self.lock();
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(message) = queue.messages.front() {
            if !batch.is_empty() && bytes + message.len() > BATCH_BYTES {
                break;
            }
            bytes += message.len();
            batch.extend(queue.messages.pop_front());
        }
        queue.bytes -= bytes;
        batch
    }

    /// Removes all, and says how many they were.
    fn clear(&self) -> usize {
        let mut queue = self.lock();
        queue.bytes = 0;
        queue.messages.drain(..).count()
    }

    async fn filled(&self) {
        while self.lock().messages.is_empty() {
            self.filled.notified().await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what enters `lane`, until the task is aborted.
pub(crate) async fn write(shared: Arc<Shared>, peer: Arc<Peer>, lane: Arc<Lane>) {
    let counters = &shared.counters;
    let mut open: Option<(Arc<Connection>, SendStream)> = None;
    loop {
        lane.filled().await;
        let connection = match shared.connection(&peer).await {
            Ok(connection) => connection,
            Err(why) => {
                open = None;
                add(&counters.messages_dropped_unreachable, lane.clear() as u64);
                if why == Unreachable::Closed {
                    return;
                }
                continue;
            }
        };
        // The stream of a connection that is not in use any more ends here, whole.
        open.take_if(|(opened, _)| opened.id != connection.id);
        let batch = lane.take();
        let count = batch.len() as u64;
        let bytes: usize = batch.iter().map(Bytes::len).sum();
        match write_batch(&mut open, connection, lane.channel.number, batch).await {
            Ok(()) => {
                add(&counters.messages_sent, count);
                add(&counters.messages_sent_bytes, bytes as u64);
            }
            Err(error) => {
                open = None;
                add(&counters.messages_dropped_lost, count);
                if let WriteError::Stopped(code) = error {
                    lane.lock().refused = Some(Instant::now() + REFUSED);
                    add(&counters.messages_dropped_lost, lane.clear() as u64);
                    let reason = Refusal::of(code);
                    tracing::warn!(node = %peer.node, channel = lane.channel.name, "messages are refused: {reason}");
                }
            }
        }
    }
}

async fn write_batch(
    open: &mut Option<(Arc<Connection>, SendStream)>,
    connection: Arc<Connection>,
    number: u8,
    batch: Vec<Bytes>,
) -> Result<(), WriteError> {
    let mut encoder = Encoder::default();
    if open.is_none() {
        let stream = connection.quic.open_uni().await?;
        let _ = stream.set_priority(PRIORITY);
        encoder.channel(number);
        *open = Some((connection, stream));
    }
    let Some((_, stream)) = open else { return Ok(()) };
    batch.into_iter().for_each(|message| encoder.frame(message));
    let written = stream.write_all_chunks(&mut encoder.finish()).await;
    if written.is_err() {
        // Else it would be finished as if it were whole.
        let _ = stream.reset(Refusal::Cancelled.code());
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNEL: Messages = Messages::new(1, "test").max_bytes(1000).queue(3, 1500);

    #[test]
    fn a_lane_is_bounded_in_messages_and_bytes() {
        let now = Instant::now();
        let lane = Lane::new(CHANNEL);
        let message = |len: usize| Bytes::from(vec![0; len]);
        assert_eq!(lane.push(message(1000), now), Ok(true));
        assert_eq!(lane.push(message(501), now), Err(Rejected::Full));
        assert_eq!(lane.push(message(500), now), Ok(false));
        assert_eq!(lane.push(message(0), now), Ok(false));
        assert_eq!(lane.push(message(0), now), Err(Rejected::Full));
        assert_eq!(lane.waiting(), (3, 1500));
        assert_eq!(lane.take().len(), 3);
        assert_eq!(lane.waiting(), (0, 0));
        assert_eq!(lane.push(message(1000), now), Ok(true));
        assert_eq!(lane.clear(), 1);
        assert_eq!(lane.waiting(), (0, 0));
    }

    #[test]
    fn a_batch_is_bounded_unless_it_is_one_message() {
        let now = Instant::now();
        let lane = Lane::new(Messages::new(1, "test"));
        for len in [BATCH_BYTES - 1, 1, 1, BATCH_BYTES + 1] {
            lane.push(Bytes::from(vec![0; len]), now).unwrap();
        }
        let batches: Vec<usize> = (0..3).map(|_| lane.take().len()).collect();
        assert_eq!(batches, [2, 1, 1]);
    }

    #[test]
    fn a_refused_channel_rests() {
        let now = Instant::now();
        let lane = Lane::new(CHANNEL);
        lane.lock().refused = Some(now + REFUSED);
        assert_eq!(lane.push(Bytes::new(), now), Err(Rejected::Refused));
        assert_eq!(lane.push(Bytes::new(), now + REFUSED), Ok(true));
    }
}
