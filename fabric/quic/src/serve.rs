//! What peers send: streams, each to the channel that it names.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use naming::NodeId;
use quinn::{ConnectionError, RecvStream, SendStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::channel::CONTROL;
use crate::chunks::{Bounds, ChunkReceiver, ChunkSender};
use crate::connection::{self, Connection, Control};
use crate::counters::{add, one};
use crate::error::{Refusal, StreamError};
use crate::frame::Decoder;
use crate::inbox::{Abandoned, Message, MessageSink};
use crate::incoming::{Takers, Unserved};
use crate::shared::Shared;

/// Messages may stand still for so long within a frame, and any stream before it names its channel.
const STALL: Duration = Duration::from_secs(10);
/// The first frame of a call or stream is whole after so long.
const OPENING: Duration = Duration::from_secs(30);

/// Who takes what comes on a channel.
#[derive(Debug)]
pub(crate) enum Service {
    Messages(MessageSink),
    BothWays(BothWays),
}

/// Calls or streams.
#[derive(Debug)]
pub(crate) struct BothWays {
    /// How many are served at a time.
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) inbound: Bounds,
    pub(crate) outbound: Bounds,
    pub(crate) takers: Takers,
}

/// All channels that are served, by number.
pub(crate) type Served = HashMap<u8, Service>;

/// Serves the streams of a connection until it is lost.
pub(crate) async fn connection(shared: &Arc<Shared>, connection: &Arc<Connection>) -> ConnectionError {
    let quic = &connection.quic;
    loop {
        let (shared, connection) = (Arc::clone(shared), Arc::clone(connection));
        tokio::select! {
            stream = quic.accept_uni() => match stream {
                Ok(stream) => drop(tokio::spawn(async move { one_way(&shared, &connection, stream).await })),
                Err(lost) => return lost,
            },
            stream = quic.accept_bi() => match stream {
                Ok(stream) => drop(tokio::spawn(async move { both_ways(&shared, &connection, stream).await })),
                Err(lost) => return lost,
            },
        }
    }
}

/// The number of a stream's channel.
async fn channel(stream: &mut RecvStream) -> Result<u8, Refusal> {
    let mut number = [0];
    match timeout(STALL, stream.read_exact(&mut number)).await {
        Ok(Ok(())) => Ok(number[0]),
        Ok(Err(_)) => Err(Refusal::Cancelled),
        Err(_) => Err(Refusal::Stalled),
    }
}

fn count(shared: &Shared, refusal: Refusal) {
    let counters = &shared.counters;
    match refusal {
        Refusal::Channel => one(&counters.refused_channel),
        Refusal::Malformed => one(&counters.refused_malformed),
        Refusal::Stalled => one(&counters.refused_stalled),
        // Busy services count for themselves.
        Refusal::Busy | Refusal::Cancelled | Refusal::Other(_) => {}
    }
}

async fn one_way(shared: &Arc<Shared>, connection: &Connection, mut stream: RecvStream) {
    let outcome = match channel(&mut stream).await {
        Ok(CONTROL) => control(shared, connection, &mut stream).await,
        Ok(number) => match shared.served().get(&number) {
            Some(Service::Messages(sink)) => messages(shared, connection, sink, &mut stream).await,
            Some(_) => Err(Refusal::Malformed),
            None => Err(Refusal::Channel),
        },
        Err(refusal) => Err(refusal),
    };
    if let Err(refusal) = outcome {
        count(shared, refusal);
        let _ = stream.stop(refusal.code());
    }
}

async fn control(shared: &Shared, connection: &Connection, stream: &mut RecvStream) -> Result<(), Refusal> {
    let said = timeout(STALL, connection::said(stream)).await.map_err(|_| Refusal::Stalled)??;
    // What is unknown is of a later version, and may be left.
    if said == Some(Control::Retired)
        && let Some(peer) = shared.peer(connection.peer)
    {
        peer.change(|link| link.retired(connection.id));
    }
    Ok(())
}

/// Reads on; false at the end. Waits as long as it takes between frames, not within one.
async fn next_chunk(stream: &mut RecvStream, decoder: &mut Decoder) -> Result<bool, Refusal> {
    let between = decoder.is_between_frames();
    let read = stream.read_chunk(usize::MAX, true);
    let chunk = match between {
        true => read.await,
        false => timeout(STALL, read).await.map_err(|_| Refusal::Stalled)?,
    };
    match chunk.map_err(|_| Refusal::Cancelled)? {
        Some(chunk) => {
            decoder.push(chunk.bytes);
            Ok(true)
        }
        None if between => Ok(false),
        None => Err(Refusal::Malformed),
    }
}

/// Room in the inbox is taken before the rest of a message is read, so that what is read of all peers together stays
/// within it.
async fn messages(
    shared: &Shared,
    connection: &Connection,
    sink: &MessageSink,
    stream: &mut RecvStream,
) -> Result<(), Refusal> {
    let mut decoder = Decoder::new(sink.max_bytes);
    let mut reserved = None;
    let abandoned = |Abandoned| Refusal::Channel;
    loop {
        while let Some(bytes) = decoder.next_frame().map_err(|_| Refusal::Malformed)? {
            let room = match reserved.take() {
                Some(room) => room,
                None => sink.room(bytes.len()).await.map_err(abandoned)?,
            };
            one(&shared.counters.messages_received);
            add(&shared.counters.messages_received_bytes, bytes.len() as u64);
            room.put(Message { from: connection.peer, bytes }).await.map_err(abandoned)?;
        }
        if reserved.is_none()
            && let Some(len) = decoder.begun()
        {
            reserved = Some(sink.room(len).await.map_err(abandoned)?);
        }
        if !next_chunk(stream, &mut decoder).await? {
            return Ok(());
        }
    }
}

async fn both_ways(
    shared: &Arc<Shared>,
    connection: &Connection,
    (mut send, mut recv): (SendStream, RecvStream),
) {
    let mut refuse = |refusal: Refusal, recv: &mut RecvStream| {
        count(shared, refusal);
        let _ = send.reset(refusal.code());
        let _ = recv.stop(refusal.code());
    };
    let number = match channel(&mut recv).await {
        Ok(number) => number,
        Err(refusal) => return refuse(refusal, &mut recv),
    };
    let served = shared.served();
    let service = match served.get(&number) {
        Some(Service::BothWays(service)) => service,
        Some(Service::Messages(_)) => return refuse(Refusal::Malformed, &mut recv),
        None => return refuse(Refusal::Channel, &mut recv),
    };
    let Ok(slot) = Arc::clone(&service.slots).try_acquire_owned() else {
        one(service.takers.busy(&shared.counters));
        return refuse(Refusal::Busy, &mut recv);
    };
    let hold = connection.hold(Some(slot));
    let sender = ChunkSender::accepted(send, service.outbound, Arc::clone(&hold));
    let receiver = ChunkReceiver::new(recv, service.inbound, hold);
    serve(shared, connection.peer, service, sender, receiver).await;
}

async fn serve(
    shared: &Shared,
    from: NodeId,
    service: &BothWays,
    sender: ChunkSender,
    mut receiver: ChunkReceiver,
) {
    let refusal = match timeout(OPENING, receiver.next()).await {
        Ok(Ok(Some(opening))) => match service.takers.take(shared, from, opening, sender, receiver) {
            Ok(()) => return,
            Err(Unserved(sender)) => {
                count(shared, Refusal::Channel);
                return sender.refuse(Refusal::Channel);
            }
        },
        Ok(Ok(None) | Err(StreamError::TooLong { .. } | StreamError::CutOff)) => Refusal::Malformed,
        Ok(Err(_)) => Refusal::Cancelled,
        Err(_) => Refusal::Stalled,
    };
    count(shared, refusal);
    receiver.refuse(refusal);
    sender.refuse(refusal);
}
