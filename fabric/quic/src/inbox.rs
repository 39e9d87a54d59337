//! Where what arrived waits for who takes it, or who takes it at once. An inbox is bounded; peers wait when it is full.

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

/// Where the messages of a channel come in.
pub(crate) struct MessageSink {
    taker: Taker,
    pub(crate) max_bytes: usize,
}

enum Taker {
    Inbox { queue: mpsc::Sender<(Message, OwnedSemaphorePermit)>, room: Arc<Semaphore> },
    Function(Box<dyn Fn(Message) + Send + Sync>),
}

impl std::fmt::Debug for MessageSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MessageSink").field("max_bytes", &self.max_bytes).finish_non_exhaustive()
    }
}

/// Room for a message.
pub(crate) enum Room<'a> {
    Inbox(&'a mpsc::Sender<(Message, OwnedSemaphorePermit)>, OwnedSemaphorePermit),
    Function(&'a (dyn Fn(Message) + Send + Sync)),
}

/// Nobody takes from the inbox any more.
#[derive(Debug)]
pub(crate) struct Abandoned;

pub(crate) fn messages(channel: &Messages) -> (MessageSink, MessageInbox) {
    let (queue, inbox) = mpsc::channel(channel.inbox_messages);
    let room = Arc::new(Semaphore::new(channel.inbox_bytes));
    let taker = Taker::Inbox { queue, room };
    (MessageSink { taker, max_bytes: channel.max_bytes }, MessageInbox { queue: inbox })
}

pub(crate) fn messages_to(
    channel: &Messages,
    taker: impl Fn(Message) + Send + Sync + 'static,
) -> MessageSink {
    MessageSink { taker: Taker::Function(Box::new(taker)), max_bytes: channel.max_bytes }
}

impl MessageSink {
    /// Waits for room for `len` bytes.
    pub(crate) async fn room(&self, len: usize) -> Result<Room<'_>, Abandoned> {
        let (queue, room) = match &self.taker {
            Taker::Inbox { queue, room } => (queue, room),
            Taker::Function(take) => return Ok(Room::Function(take)),
        };
        // Channels are bounded below 32 bits.
        let len = u32::try_from(len).map_err(|_| Abandoned)?;
        tokio::select! {
            biased;
            room = Arc::clone(room).acquire_many_owned(len) => match room {
                Ok(room) => Ok(Room::Inbox(queue, room)),
                Err(_) => Err(Abandoned),
            },
            () = queue.closed() => Err(Abandoned),
        }
    }
}

impl Room<'_> {
    /// Waits for a place for `message`, for which there is room.
    pub(crate) async fn put(self, message: Message) -> Result<(), Abandoned> {
        match self {
            Room::Inbox(queue, room) => queue.send((message, room)).await.map_err(|_| Abandoned),
            Room::Function(take) => {
                take(message);
                Ok(())
            }
        }
    }
}
