//! Calls and streams that this node makes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use naming::NodeId;

use crate::channel::{Calls, Streams};
use crate::chunks::{Bounds, ChunkReceiver, ChunkSender};
use crate::counters::one;
use crate::error::{CallError, CallFailure, Refusal, StreamError, Unreachable};
use crate::shared::Shared;

/// Calls go before streams, and after messages.
const CALLS: i32 = 1;
const STREAMS: i32 = 0;

/// A call: one request, one reply.
pub(crate) async fn call(
    shared: &Arc<Shared>,
    node: NodeId,
    channel: &Calls,
    request: Bytes,
    within: Duration,
) -> Result<Bytes, CallError> {
    one(&shared.counters.calls_made);
    let outcome = match tokio::time::timeout(within, exchange(shared, node, channel, request)).await {
        Ok(outcome) => outcome.map_err(CallFailure::Stream),
        Err(_) => Err(CallFailure::Deadline(within)),
    };
    outcome.map_err(|reason| {
        one(&shared.counters.calls_failed);
        CallError { channel: channel.name, node, reason }
    })
}

async fn exchange(
    shared: &Arc<Shared>,
    node: NodeId,
    channel: &Calls,
    request: Bytes,
) -> Result<Bytes, StreamError> {
    let bounds = [channel.max_request_bytes, channel.max_reply_bytes];
    let bounds = bounds.map(|max| Bounds { channel: channel.name, max });
    let (mut sender, mut receiver) = open(shared, node, channel.number, bounds, CALLS).await?;
    sender.send(request).await?;
    sender.finish()?;
    receiver.next().await?.ok_or(StreamError::Refused(Refusal::Cancelled))
}

/// A stream, opened with a first chunk.
pub(crate) async fn stream(
    shared: &Arc<Shared>,
    node: NodeId,
    channel: &Streams,
    opening: Bytes,
) -> Result<(ChunkSender, ChunkReceiver), StreamError> {
    let bounds = [Bounds::from(channel); 2];
    let (mut sender, receiver) = open(shared, node, channel.number, bounds, STREAMS).await?;
    sender.send(opening).await?;
    one(&shared.counters.streams_opened);
    Ok((sender, receiver))
}

async fn open(
    shared: &Arc<Shared>,
    node: NodeId,
    number: u8,
    [outbound, inbound]: [Bounds; 2],
    priority: i32,
) -> Result<(ChunkSender, ChunkReceiver), StreamError> {
    let peer = shared.peer(node).ok_or(Unreachable::UnknownPeer(node))?;
    let connection = shared.connection(&peer).await?;
    let (send, recv) = connection.quic.open_bi().await.map_err(|error| StreamError::lost(&error))?;
    let hold = connection.hold(None);
    let sender = ChunkSender::opened(send, number, outbound, Arc::clone(&hold));
    sender.set_priority(priority);
    Ok((sender, ChunkReceiver::new(recv, inbound, hold)))
}
