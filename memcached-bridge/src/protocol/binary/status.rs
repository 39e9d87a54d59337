//! What a reply says of its request.

use crate::protocol::ProtocolError;

/// The status of a reply (`doc/protocol-binary.txt`, "Response Status").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// It was carried out.
    Success = 0x00,
    /// The key is not there; or there are no such statistics.
    KeyNotFound = 0x01,
    /// The key is there, or has another CAS.
    KeyExists = 0x02,
    /// The value is larger than the server takes.
    TooLarge = 0x03,
    /// The lengths do not fit the opcode.
    InvalidArguments = 0x04,
    /// There was nothing to append to, or it would have become too large.
    NotStored = 0x05,
    /// The value to be counted is no number.
    NonNumeric = 0x06,
    /// The client is not who it says, or has not said.
    AuthFailure = 0x20,
    /// The server waits for the next step of the authentication.
    AuthContinue = 0x21,
    /// No such opcode.
    UnknownCommand = 0x81,
    /// There is no memory for it.
    OutOfMemory = 0x82,
}

impl Status {
    /// The number on the wire.
    pub fn code(self) -> u16 {
        self as u16
    }

    /// memcached's text for it, which is the value of an error's reply.
    pub fn text(self) -> &'static str {
        match self {
            Status::Success | Status::AuthContinue => "",
            Status::KeyNotFound => "Not found",
            Status::KeyExists => "Data exists for key.",
            Status::TooLarge => "Too large.",
            Status::InvalidArguments => "Invalid arguments",
            Status::NotStored => "Not stored.",
            Status::NonNumeric => "Non-numeric server-side value for incr or decr",
            Status::AuthFailure => "Auth failure.",
            Status::UnknownCommand => "Unknown command",
            Status::OutOfMemory => "Out of memory",
        }
    }

    /// How `error` is told to a binary client, if it is.
    pub fn of(error: ProtocolError) -> Option<Self> {
        match error {
            ProtocolError::BinaryUnknown | ProtocolError::BinaryLengths => Some(Status::UnknownCommand),
            ProtocolError::BinaryArguments => Some(Status::InvalidArguments),
            ProtocolError::TooLarge => Some(Status::TooLarge),
            ProtocolError::OutOfMemory => Some(Status::OutOfMemory),
            _ => None,
        }
    }
}
