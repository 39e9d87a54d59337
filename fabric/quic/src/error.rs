//! What can go wrong, and the codes by which ends tell each other.

use std::sync::Arc;
use std::time::Duration;

use naming::NodeId;
use quinn::VarInt;

/// Why a peer refused a stream. The numbers go over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The other end gave up: a call was dropped, or a stream.
    #[error("it was given up at the other end")]
    Cancelled,
    /// Nobody there serves the channel.
    #[error("nobody there serves this channel; is the peer of another version?")]
    Channel,
    /// As many as allowed are being served.
    #[error("the peer is busy; try again later, or another")]
    Busy,
    /// A message was too large, or no message at all.
    #[error("the peer does not take what was sent; is it too large, or the peer of another version?")]
    Malformed,
    /// It stood still for too long.
    #[error("the peer waited too long for the rest")]
    Stalled,
    /// A code of a later version.
    #[error("for a reason unknown here (code {0})")]
    Other(u64),
}

impl Refusal {
    pub(crate) fn code(self) -> VarInt {
        match self {
            Refusal::Cancelled => VarInt::from_u32(0),
            Refusal::Channel => VarInt::from_u32(1),
            Refusal::Busy => VarInt::from_u32(2),
            Refusal::Malformed => VarInt::from_u32(3),
            Refusal::Stalled => VarInt::from_u32(4),
            Refusal::Other(code) => VarInt::from_u64(code).unwrap_or(VarInt::MAX),
        }
    }

    pub(crate) fn of(code: VarInt) -> Self {
        match code.into_inner() {
            0 => Refusal::Cancelled,
            1 => Refusal::Channel,
            2 => Refusal::Busy,
            3 => Refusal::Malformed,
            4 => Refusal::Stalled,
            code => Refusal::Other(code),
        }
    }
}

/// Why a connection was closed. The numbers go over the wire, the words with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    Shutdown,
    Full,
    Misnamed,
    Retired,
    Unused,
    Expired,
    Forgotten,
}

impl Farewell {
    pub(crate) fn say(self, connection: &quinn::Connection) {
        let (code, words) = match self {
            Farewell::Shutdown => (0u32, "the node shuts down"),
            Farewell::Full => (1, "the node has as many connections as it may"),
            Farewell::Misnamed => (2, "the certificate names no other node"),
            Farewell::Retired => (3, "a newer connection took its place"),
            Farewell::Unused => (4, "nobody used the connection"),
            Farewell::Expired => (5, "the certificate has ended or is not believed any more"),
            Farewell::Forgotten => (6, "the node is no peer any more"),
        };
        connection.close(code.into(), words.as_bytes());
    }
}

/// There is no connection to a peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// Neither an address nor a connection.
    #[error("nothing is known of node {0}; set its addresses first")]
    UnknownPeer(NodeId),
    /// The last dial failed, and the next is not due yet.
    #[error("node {node} cannot be reached: {why}; the next try is due in {} ms", left.as_millis())]
    Resting {
        /// The peer.
        node: NodeId,
        /// What went wrong, for each address.
        why: Arc<str>,
        /// Until the next try.
        left: Duration,
    },
    /// The endpoint was closed.
    #[error("the endpoint is closed")]
    Closed,
}

/// A message was dropped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There is no way to the peer.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// The peer takes messages more slowly than they come.
    #[error("the queue of channel {channel} to node {node} is full")]
    Full {
        /// The channel's name.
        channel: &'static str,
        /// The peer.
        node: NodeId,
    },
    /// The peer serves no such channel; it is asked again after a while.
    #[error("node {node} does not take channel {channel}")]
    Refused {
        /// The channel's name.
        channel: &'static str,
        /// The peer.
        node: NodeId,
    },
    /// The message is larger than the channel allows.
    #[error("a message of {len} bytes; channel {channel} takes {max} at most")]
    TooLong {
        /// The channel's name.
        channel: &'static str,
        /// Bytes of the message.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
}

/// A stream of chunks broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// There is no way to the peer.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// The other end refused it or gave up.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The connection is gone.
    #[error("the connection was lost: {0}")]
    Lost(Arc<str>),
    /// What was to be sent, or what came, is larger than the channel allows.
    #[error("{len} bytes at once; channel {channel} takes {max} at most")]
    TooLong {
        /// The channel's name.
        channel: &'static str,
        /// Bytes.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The stream ended within a chunk.
    #[error("the stream was cut off")]
    CutOff,
    /// An earlier operation failed, or was dropped while it went on.
    #[error("the stream is broken since an earlier failure")]
    Broken,
}

/// A call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("call {channel} to node {node}: {reason}")]
pub struct CallError {
    /// The channel's name.
    pub channel: &'static str,
    /// The peer.
    pub node: NodeId,
    /// What went wrong.
    pub reason: CallFailure,
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallFailure {
    /// No reply came in time.
    #[error("no reply within {} ms", .0.as_millis())]
    Deadline(Duration),
    /// The stream of the call broke.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

impl CallError {
    /// Whether the peer's handler has certainly not seen the request, so that it may be sent again elsewhere even if
    /// carrying it out twice did harm.
    pub fn was_never_taken(&self) -> bool {
        use StreamError::{Refused, Unreachable};
        matches!(self.reason, CallFailure::Stream(Unreachable(_) | Refused(Refusal::Channel | Refusal::Busy)))
    }
}

impl StreamError {
    pub(crate) fn of_write(error: quinn::WriteError) -> Self {
        match error {
            quinn::WriteError::Stopped(code) => StreamError::Refused(Refusal::of(code)),
            quinn::WriteError::ConnectionLost(error) => StreamError::lost(&error),
            quinn::WriteError::ClosedStream | quinn::WriteError::ZeroRttRejected => StreamError::Broken,
        }
    }

    pub(crate) fn of_read(error: quinn::ReadError) -> Self {
        match error {
            quinn::ReadError::Reset(code) => StreamError::Refused(Refusal::of(code)),
            quinn::ReadError::ConnectionLost(error) => StreamError::lost(&error),
            quinn::ReadError::ClosedStream
            | quinn::ReadError::IllegalOrderedRead
            | quinn::ReadError::ZeroRttRejected => StreamError::Broken,
        }
    }

    pub(crate) fn lost(error: &quinn::ConnectionError) -> Self {
        StreamError::Lost(error.to_string().into())
    }
}
