//! memcached's protocols without I/O: one request out of the front of a buffer, and the bytes of replies.
//!
//! ASCII and meta share a connection ("text"); the binary protocol is told by its first byte. Everything borrows
//! from the input and nothing allocates. The behaviour is that of memcached 1.6.18 (`doc/protocol.txt` and
//! `proto_text.c`), down to its error strings, with these differences:
//!
//! - A line longer than [`MAX_LINE_LEN`] closes the connection however its bytes arrive; memcached lets it pass if it
//!   arrives in one read. Only `get`, `gets`, `gat` and `gats` may be longer, up to [`MAX_MULTIGET_LINE_LEN`].
//! - `ma` and `mg` with an opaque of more than 32 bytes are refused before they act, not after.
//! - Administrative commands (`slabs`, `lru`, `lru_crawler`, `watch`, `cache_memlimit`, `shutdown`) are unknown, so that
//!   nobody forwards them; a [session](crate::session) has replies to them.
//!
//! An input that is [`Step::Invalid`] must not be forwarded: the server might read it otherwise and act. A datagram
//! may hold several commands, so whoever forwards a datagram unread has to parse it to its end.
//!
//! | module | what it is |
//! |---|---|
//! | [`request`] | the request model that all protocols share |
//! | [`error`] | what can be wrong, and the reply that memcached gives |
//! | [`ascii`] | the text commands, one file per family; [`ascii::single_get`] is the fast path |
//! | [`meta`] | the meta commands, which share the text commands' lines |
//! | [`binary`] | the 24-byte header, opcodes and keys, and replies |
//! | [`udp`] | the 8-byte frame before every datagram |
//! | [`reply`] | replies that the node itself asks for |
//! | [`delimit`] | where replies end in a stream of them |
//! | [`render`] | requests and replies to bytes |

pub mod ascii;
pub(crate) mod base64;
pub mod binary;
pub mod delimit;
pub mod error;
pub mod meta;
pub mod render;
pub mod reply;
pub mod request;
pub mod udp;

#[cfg(test)]
mod tests;

pub use ascii::{SingleGet, single_get};
pub use error::ProtocolError;
pub use request::{Class, Dialect, Key, Keys, MetaFlags, Replies, Request, Verb};

/// The longest key in bytes. A base64 key is measured both before and after decoding.
pub const MAX_KEY_LEN: usize = 250;
/// The longest text command line in bytes, without its `\n`; memcached closes the connection past it.
pub const MAX_LINE_LEN: usize = 2048;
/// The longest line of `get`, `gets`, `gat`, `gats` in bytes: 4000 of the longest keys. memcached has no limit
/// here; a node needs one.
pub const MAX_MULTIGET_LINE_LEN: usize = 1 << 20;
/// The longest value that a command line can announce, in bytes (memcached keeps room for `\r\n` in an `int`).
pub const MAX_VALUE_LEN: usize = i32::MAX as usize - 2;

/// What the front of a buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A whole request, value included.
    Complete {
        /// The request.
        request: Request<'a>,
        /// Its length: drop so many bytes before the next call.
        consumed: usize,
    },
    /// The beginning of a request. On a stream: call again with more bytes. In a datagram: memcached ignores it.
    Incomplete,
    /// Not a request.
    Invalid(Invalid),
}

/// A request whose value may not have arrived yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head<'a> {
    /// A whole command line (text) or header, extras and key (binary).
    Complete {
        /// The request; its value is empty.
        request: Request<'a>,
        /// The length of the head: drop so many bytes to get to the data block.
        consumed: usize,
        /// What follows the head, if the verb carries a value.
        block: Option<DataBlock>,
    },
    /// More bytes are needed.
    Incomplete,
    /// Not a request.
    Invalid(Invalid),
}

/// The value that follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataBlock {
    /// The value's length in bytes.
    pub value_len: usize,
    /// Whether `\r\n` follows the value (text). If other bytes stand there, the reply is
    /// [`ProtocolError::BadDataChunk`] and the block is consumed all the same.
    pub terminated: bool,
}

impl DataBlock {
    /// Bytes that the block takes on the wire.
    pub fn wire_len(self) -> usize {
        self.value_len + if self.terminated { 2 } else { 0 }
    }
}

/// What to do about bytes that are not a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// What was wrong; [`ProtocolError::reply`] is what a text client gets to read.
    pub error: ProtocolError,
    /// The client asked for no reply, so the error is not sent (memcached's `noreply` swallows errors, too).
    pub quiet: bool,
    /// Drop so many bytes.
    pub consumed: usize,
    /// Then drop so many more, which may not have arrived yet: the value of a refused `ms` or binary request.
    pub swallow: usize,
}

impl Invalid {
    /// Whether the connection has to be closed (after the reply, if there is one).
    pub fn is_fatal(self) -> bool {
        self.error.is_fatal()
    }
}

/// Which parser a connection or datagram needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// ASCII and meta.
    Text,
    /// The binary protocol.
    Binary,
}

impl Protocol {
    /// Told by the first byte of a connection or datagram, as memcached does (`-B auto`).
    pub fn detect(first: u8) -> Self {
        if first == binary::MAGIC_REQUEST { Protocol::Binary } else { Protocol::Text }
    }

    /// Reads one request, value included, from the front of `input`.
    pub fn parse(self, input: &[u8]) -> Step<'_> {
        complete(self.parse_head(input), input)
    }

    /// Reads one request without waiting for its value: for shells that do not want to hold large values.
    pub fn parse_head(self, input: &[u8]) -> Head<'_> {
        match self {
            Protocol::Text => ascii::parse_head(input),
            Protocol::Binary => binary::parse_head(input),
        }
    }
}

/// Reads one request from the front of `input`, whose first byte tells the protocol.
///
/// A connection keeps the protocol of its first byte: detect once and call [`Protocol::parse`] there. The same
/// holds for the commands of one datagram.
pub fn parse(input: &[u8]) -> Step<'_> {
    match input.first() {
        Some(&first) => Protocol::detect(first).parse(input),
        None => Step::Incomplete,
    }
}

/// Like [`parse`], but does not wait for the value.
pub fn parse_head(input: &[u8]) -> Head<'_> {
    match input.first() {
        Some(&first) => Protocol::detect(first).parse_head(input),
        None => Head::Incomplete,
    }
}

/// Adds the value to a head, if it is there.
fn complete<'a>(head: Head<'a>, input: &'a [u8]) -> Step<'a> {
    let (mut request, consumed, block) = match head {
        Head::Complete { request, consumed, block } => (request, consumed, block),
        Head::Incomplete => return Step::Incomplete,
        Head::Invalid(invalid) => return Step::Invalid(invalid),
    };
    let Some(block) = block else { return Step::Complete { request, consumed } };
    let rest = &input[consumed..];
    let Some(wire) = rest.get(..block.wire_len()) else { return Step::Incomplete };
    let consumed = consumed + wire.len();
    let (value, terminator) = wire.split_at(block.value_len);
    if block.terminated && terminator != b"\r\n" {
        let quiet = request.quiet && matches!(request.dialect, Dialect::Ascii);
        let error = ProtocolError::BadDataChunk;
        return Step::Invalid(Invalid { error, quiet, consumed, swallow: 0 });
    }
    request.value = value;
    Step::Complete { request, consumed }
}
