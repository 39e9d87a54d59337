//! What can be wrong with a request.

use super::binary::Status;

/// What is wrong with a request, or why it is refused. Displays as memcached's reply line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProtocolError {
    /// No such command, or the wrong number of arguments.
    UnknownCommand,
    /// A key that is too long, or a number that is none.
    BadFormat,
    /// The value is not followed by `\r\n`.
    BadDataChunk,
    /// `incr` or `decr` by something that is no unsigned number.
    BadDelta,
    /// `touch`, `gat`, `gats` or `flush_all` with an expiry that is no number.
    BadExptime,
    /// `delete` with arguments other than `0` and `noreply`.
    DeleteUsage,
    /// More than 18 arguments to `mg`.
    MetaGetFlagsTooLong,
    /// More than 18 arguments to `ms`, `md` or `ma`.
    MetaFlagsTooLong,
    /// A meta flag that stands twice, or is no ASCII character.
    DuplicateFlag,
    /// A meta flag that memcached does not know.
    InvalidFlag,
    /// Any wrong flag of `md` and `ma`.
    InvalidOrDuplicateFlag,
    /// A base64 key that does not decode.
    KeyEncoding,
    /// A meta flag whose number is none.
    BadToken,
    /// A mode of more or less than one character.
    ModeLength,
    /// A mode that `ms` does not have.
    BadSetMode,
    /// A mode that `ma` does not have.
    BadArithmeticMode,
    /// The `J` flag with something that is no number.
    BadInitial,
    /// The `D` flag with something that is no number.
    BadMetaDelta,
    /// An opaque of more than 31 bytes.
    OpaqueTooLong,
    /// A value larger than the store takes; the parser never says so, a store does.
    TooLarge,
    /// No memory for a value; the parser never says so, a store does.
    OutOfMemory,
    /// A line that does not end where it must; the connection is closed without a reply.
    LineTooLong,
    /// A binary request that does not begin with the magic byte; the connection is closed without a reply.
    BinaryMagic,
    /// A binary opcode that memcached does not know.
    BinaryUnknown,
    /// A binary request whose extras and key are longer than its body; the connection is closed after the reply.
    BinaryLengths,
    /// A binary request whose extras, key or value have the wrong length for its opcode; the connection is closed after
    /// the reply.
    BinaryArguments,
}

impl std::error::Error for ProtocolError {}

impl std::fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

impl ProtocolError {
    /// The reply line without `\r\n` for a text client; `None` if the connection is to be closed without one, or if
    /// the error belongs to the binary protocol.
    pub fn reply(self) -> Option<&'static str> {
        use ProtocolError::*;
        let replies =
            !matches!(self, LineTooLong | BinaryMagic | BinaryUnknown | BinaryLengths | BinaryArguments);
        replies.then(|| self.text())
    }

    fn text(self) -> &'static str {
        use ProtocolError::*;
        match self {
            UnknownCommand => "ERROR",
            BadFormat => "CLIENT_ERROR bad command line format",
            BadDataChunk => "CLIENT_ERROR bad data chunk",
            BadDelta => "CLIENT_ERROR invalid numeric delta argument",
            BadExptime => "CLIENT_ERROR invalid exptime argument",
            DeleteUsage => "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]",
            MetaGetFlagsTooLong => "CLIENT_ERROR options flags are too long",
            MetaFlagsTooLong => "CLIENT_ERROR options flags too long",
            DuplicateFlag => "CLIENT_ERROR duplicate flag",
            InvalidFlag => "CLIENT_ERROR invalid flag",
            InvalidOrDuplicateFlag => "CLIENT_ERROR invalid or duplicate flag",
            KeyEncoding => "CLIENT_ERROR error decoding key",
            BadToken => "CLIENT_ERROR bad token in command line format",
            ModeLength => "CLIENT_ERROR incorrect length for M token",
            BadSetMode => "CLIENT_ERROR invalid mode for ms M token",
            BadArithmeticMode => "CLIENT_ERROR invalid mode for ma M token",
            BadInitial => "CLIENT_ERROR invalid numeric initial value",
            BadMetaDelta => "CLIENT_ERROR invalid numeric delta value",
            OpaqueTooLong => "CLIENT_ERROR opaque token too long",
            TooLarge => "SERVER_ERROR object too large for cache",
            OutOfMemory => "SERVER_ERROR out of memory storing object",
            LineTooLong => "the command line is longer than the protocol allows",
            BinaryMagic => "a binary request began with another byte than 0x80",
            BinaryUnknown => "a binary opcode that memcached does not know",
            BinaryLengths => "a binary request whose extras and key are longer than its body",
            BinaryArguments => "a binary request whose lengths do not fit its opcode",
        }
    }

    /// The status of the binary reply (`doc/protocol-binary.txt`), if there is one.
    pub fn status(self) -> Option<u16> {
        Status::of(self).map(Status::code)
    }

    /// Whether the rest of the stream cannot be told apart any more.
    pub fn is_fatal(self) -> bool {
        use ProtocolError::*;
        matches!(self, LineTooLong | BinaryMagic | BinaryLengths | BinaryArguments)
    }
}
