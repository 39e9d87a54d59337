//! What a client is told when a server does not answer.

/// Why a request has no reply of a server. Displays as the text behind `SERVER_ERROR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub(super) enum Failure {
    #[error("the server of this key cannot be reached")]
    Unreachable,
    #[error("the server of this key did not answer in time")]
    TimedOut,
    #[error("the server of this key closed the connection")]
    Closed,
    #[error("the server of this key sent what is no reply")]
    Garbled,
    #[error("too many writes in flight")]
    TooManyWrites,
    #[error("the servers' statistics are too long")]
    StatsTooLong,
}

impl Failure {
    /// The line for a text client.
    pub(super) fn line(self) -> Vec<u8> {
        format!("SERVER_ERROR {self}\r\n").into_bytes()
    }
}
