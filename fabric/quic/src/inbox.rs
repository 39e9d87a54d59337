//! Where what arrived waits for who takes it. An inbox is bounded; peers wait when it is full.

use std::sync::Arc;

use bytes::Bytes;
use naming::NodeId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::channel::Messages;

/// A message from a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who sent it: the node that the peer's certificate names.
    pub from: NodeId,
    /// The message. A small one may be a slice of a received packet and keeps its memory, up to 64 KiB, as long as it
    /// lives: copy what is kept.
    pub bytes: Bytes,
}

/// The messages of one channel, from all peers: those of each peer in order.
#[derive(Debug)]
pub struct MessageInbox {
    queue: mpsc::Receiver<(Message, OwnedSemaphorePermit)>,
}

impl MessageInbox {
    /// The next message; none once the endpoint is closed.
    pub async fn recv(&mut self) -> Option<Message> {
        self.queue.recv().await.map(|(message, _)| message)
    }

    /// The next message, if one is here.
    pub fn try_recv(&mut self) -> Option<Message> {
        self.queue.try_recv().ok().map(|(message, _)| message)
    }

    /// The next message, waited for on a thread that is none of tokio's; none once the endpoint is closed.
    pub fn blocking_recv(&mut self) -> Option<Message> {
        self.queue.blocking_recv().map(|(message, _)| message)
    }
}

/// The side of an inbox where messages come in.
#[derive(Clone, Debug)]
pub(crate) struct MessageSink {
    queue: mpsc::Sender<(Message, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
    pub(crate) max_bytes: usize,
}

/// Nobody takes from the inbox any more.
#[derive(Debug)]
pub(crate) struct Abandoned;

pub(crate) fn messages(channel: &Messages) -> (MessageSink, MessageInbox) {
    let (sender, receiver) = mpsc::channel(channel.inbox_messages);
    let room = Arc::new(Semaphore::new(channel.inbox_bytes));
    (MessageSink { queue: sender, room, max_bytes: channel.max_bytes }, MessageInbox { queue: receiver })
}

impl MessageSink {
    /// Waits for room for `len` bytes.
    pub(crate) async fn room(&self, len: usize) -> Result<OwnedSemaphorePermit, Abandoned> {
        // Channels are bounded below 32 bits.
        let len = u32::try_from(len).map_err(|_| Abandoned)?;
        tokio::select! {
            biased;
            room = Arc::clone(&self.room).acquire_many_owned(len) => room.map_err(|_| Abandoned),
            () = self.queue.closed() => Err(Abandoned),
        }
    }

    /// Waits for a place for `message`, for which there is room.
    pub(crate) async fn put(&self, message: Message, room: OwnedSemaphorePermit) -> Result<(), Abandoned> {
        self.queue.send((message, room)).await.map_err(|_| Abandoned)
    }
}
