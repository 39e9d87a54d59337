//! What a client is told when a server does not answer.

use super::Outcome;

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
    #[error("too few copies of this key can be written")]
    TooFewCopies,
    #[error("this client sends too many requests")]
    ClientRate,
    #[error("the pool gets too many requests")]
    PoolRate,
    #[error("object too large for cache")]
    TooLarge,
    #[error("too many flags")]
    TooManyFlags,
}

/// The statuses `Temporary failure`, `Busy` and `Too large` of the binary protocol.
const TEMPORARY_FAILURE: u16 = 0x86;
const BUSY: u16 = 0x85;
const TOO_LARGE: u16 = 0x03;

impl Failure {
    /// The line for a text client.
    pub(super) fn line(self) -> Vec<u8> {
        format!("SERVER_ERROR {self}\r\n").into_bytes()
    }

    /// The status for a binary client.
    pub(super) fn status(self) -> u16 {
        match self {
            Failure::ClientRate | Failure::PoolRate => BUSY,
            Failure::TooLarge => TOO_LARGE,
            _ => TEMPORARY_FAILURE,
        }
    }

    /// What it is counted as.
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Failure::ClientRate | Failure::PoolRate | Failure::TooLarge | Failure::TooManyFlags => {
                Outcome::Refused
            }
            _ => Outcome::Unavailable,
        }
    }
}
