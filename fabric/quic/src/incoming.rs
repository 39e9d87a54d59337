//! Calls and streams of peers, as who serves them sees them.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use naming::NodeId;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::chunks::{ChunkReceiver, ChunkSender};
use crate::counters::{Counters, one};
use crate::error::{Refusal, StreamError};
use crate::shared::Shared;

/// A peer has so long to take a reply.
const REPLY: Duration = Duration::from_secs(30);

/// A request that waits for its reply. Dropped, it tells the caller that it was given up.
#[derive(Debug)]
pub struct IncomingCall {
    from: NodeId,
    request: Bytes,
    sender: ChunkSender,
    runtime: Handle,
}

impl IncomingCall {
    /// Who calls: the node that the peer's certificate names.
    pub fn from(&self) -> NodeId {
        self.from
    }

    /// What is asked.
    pub fn request(&self) -> &Bytes {
        &self.request
    }

    /// Replies. Does not wait, and may be called on any thread; the reply goes out beside whatever else is done.
    ///
    /// # Errors
    /// If the reply is larger than the channel allows; the caller is told so.
    pub fn reply(self, reply: Bytes) -> Result<(), StreamError> {
        let mut sender = self.sender;
        if let Err(too_long) = sender.admits(&reply) {
            sender.refuse(Refusal::Malformed);
            return Err(too_long);
        }
        self.runtime.spawn(async move {
            // A caller that has gone away does not need it.
            if let Ok(Ok(())) = tokio::time::timeout(REPLY, sender.send(reply)).await {
                let _ = sender.finish();
            }
        });
        Ok(())
    }

    /// Ends when the caller does not want the reply any more, or its connection is lost.
    pub async fn cancelled(&self) {
        self.sender.closed().await;
    }
}

/// A stream that a peer opened.
#[derive(Debug)]
pub struct IncomingStream {
    /// Who opened it: the node that the peer's certificate names.
    pub from: NodeId,
    /// The chunk it was opened with.
    pub opening: Bytes,
    /// Toward the peer.
    pub sender: ChunkSender,
    /// What comes after the opening.
    pub receiver: ChunkReceiver,
}

/// The sender of what nobody takes.
pub(crate) struct Unserved(pub(crate) ChunkSender);

/// Where calls, or streams, are handed on. There are as many places as may be served at a time.
#[derive(Debug)]
pub(crate) enum Takers {
    Calls(mpsc::Sender<IncomingCall>),
    Streams(mpsc::Sender<IncomingStream>),
}

impl Takers {
    pub(crate) fn take(
        &self,
        shared: &Shared,
        from: NodeId,
        opening: Bytes,
        sender: ChunkSender,
        receiver: ChunkReceiver,
    ) -> Result<(), Unserved> {
        match self {
            Takers::Calls(queue) => {
                let call = IncomingCall { from, request: opening, sender, runtime: shared.runtime.clone() };
                queue.try_send(call).map_err(|back| Unserved(back.into_inner().sender))?;
                one(&shared.counters.calls_taken);
            }
            Takers::Streams(queue) => {
                let stream = IncomingStream { from, opening, sender, receiver };
                queue.try_send(stream).map_err(|back| Unserved(back.into_inner().sender))?;
                one(&shared.counters.streams_taken);
            }
        }
        Ok(())
    }

    /// The counter of what is refused because all places are taken.
    pub(crate) fn busy<'a>(&self, counters: &'a Counters) -> &'a AtomicU64 {
        match self {
            Takers::Calls(_) => &counters.calls_refused_busy,
            Takers::Streams(_) => &counters.streams_refused_busy,
        }
    }
}
