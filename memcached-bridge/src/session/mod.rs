//! The server's side of memcached connections and datagrams, without sockets: bytes in, bytes out, against the
//! embedded [`Store`].
//!
//! ```text
//! shell: read ──► Session::receive(input) ──► write `out` ──► Needs::Input: read more
//!                     ▲                                   ├─► Needs::Output: call again with the rest
//!                     └───────────────────────────────────┤
//!                                                         └─► Needs::Close
//! ```
//! The shell keeps what was not consumed and hands it in again with what follows it. So a session holds nothing
//! but a few numbers, and an idle connection needs no buffers at all.
//!
//! **Bounds.** Unconsumed input: one command line (1 MiB for a multiget, 2 KiB for anything else) or one storage command
//! with its value, which the store's item limit bounds. Output of one call: [`OUTPUT_BYTES`] and one value. A larger
//! reply to a multiget comes in several calls.
//!
//! The replies are those of memcached 1.6.18, errors included. The binary protocol is not served: its
//! connections are closed.
//!
//! | module | what it is |
//! |---|---|
//! | `ascii` | the classic text commands |
//! | `meta` | the meta commands |
//! | [`stats`] | `stats`, and what a shell counts for it |
//! | [`datagram`] | requests and replies over UDP |

mod ascii;
pub mod datagram;
mod meta;
pub mod stats;

#[cfg(test)]
mod tests;

use crate::protocol::{Dialect, Head, Invalid, Key, Keys, Protocol, ProtocolError, Request, Verb, render};
use crate::store::{Now, Store};
use stats::ServerFacts;

/// A call to [`Session::receive`] begins no further value once it has written so many bytes.
pub const OUTPUT_BYTES: usize = 256 * 1024;

/// The version of memcached whose behaviour this is; the reply to `version`.
pub const COMPATIBLE_VERSION: &str = "1.6.18";

/// What the sessions of one server share.
#[derive(Debug)]
pub struct Server {
    /// The items.
    pub store: Store,
    /// What only the shell knows, for `stats`.
    pub facts: ServerFacts,
}

/// What has to happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// More input.
    Input,
    /// Room for output: write what there is and call again with the unconsumed input.
    Output,
    /// The end: write what there is and close.
    Close,
}

/// What one call did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input that are done with.
    pub consumed: usize,
    /// What has to happen next.
    pub needs: Needs,
}

/// One connection.
#[derive(Debug, Default)]
pub struct Session {
    protocol: Option<Protocol>,
    /// Bytes still to be dropped: the value of a refused request.
    swallow: usize,
    /// The unconsumed input is known to be no whole request until it is so long.
    await_len: usize,
    /// The unconsumed input holds no end of line before this index.
    searched: usize,
    /// Bytes of the first request's key list that are still to be answered.
    unanswered: Option<usize>,
}

impl Session {
    /// A new connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the connection stands between two requests: a shell that drains may close it now.
    pub fn is_between_requests(&self) -> bool {
        self.swallow == 0 && self.unanswered.is_none()
    }

    /// Bytes that the unconsumed input must have before it can be a whole request, 0 if unknown.
    pub fn awaited_input(&self) -> usize {
        self.await_len
    }

    /// Carries out the requests at the front of `input` and appends their replies to `out`.
    pub fn receive(&mut self, input: &[u8], server: &Server, now: Now, out: &mut Vec<u8>) -> Progress {
        let mut consumed = 0;
        let needs = loop {
            consumed += self.swallow_from(&input[consumed..]);
            let rest = &input[consumed..];
            if out.len() >= OUTPUT_BYTES {
                break Needs::Output;
            }
            if self.swallow > 0 || rest.is_empty() || !self.may_be_whole(rest) {
                break Needs::Input;
            }
            match self.step(rest, server, now, out) {
                Step::Done { len } => consumed += len,
                Step::Incomplete => break Needs::Input,
                Step::Yield => break Needs::Output,
                Step::Close => break Needs::Close,
            }
        };
        Progress { consumed, needs }
    }

    fn swallow_from(&mut self, input: &[u8]) -> usize {
        let len = self.swallow.min(input.len());
        self.swallow -= len;
        len
    }

    /// Whether it is worth while to look at `input`. Keeps the work linear when a long request comes in small pieces.
    fn may_be_whole(&mut self, input: &[u8]) -> bool {
        if input.len() < self.await_len {
            return false;
        }
        let unseen = &input[self.searched.min(input.len())..];
        if self.searched > crate::protocol::MAX_LINE_LEN
            && input.len() <= crate::protocol::MAX_MULTIGET_LINE_LEN
            && !unseen.contains(&b'\n')
        {
            self.searched = input.len();
            return false;
        }
        true
    }

    fn step(&mut self, input: &[u8], server: &Server, now: Now, out: &mut Vec<u8>) -> Step {
        let protocol = *self.protocol.get_or_insert_with(|| Protocol::detect(input[0]));
        if protocol == Protocol::Binary {
            return Step::Close;
        }
        (self.await_len, self.searched) = (0, 0);
        let (mut request, mut len, block) = match protocol.parse_head(input) {
            Head::Complete { request, consumed, block } => (request, consumed, block),
            Head::Incomplete => {
                self.searched = input.len();
                return Step::Incomplete;
            }
            Head::Invalid(invalid) => return self.refuse(invalid, out),
        };
        if let Some(block) = block {
            if refuse_too_large(&request, block.value_len, server, now, out) {
                self.swallow = block.wire_len();
                return Step::Done { len };
            }
            let Some(wire) = input[len..].get(..block.wire_len()) else {
                self.await_len = len + block.wire_len();
                return Step::Incomplete;
            };
            len += wire.len();
            let (value, end) = wire.split_at(block.value_len);
            if end != b"\r\n" {
                let quiet = request.quiet && request.dialect == Dialect::Ascii;
                return self.refuse(
                    Invalid { error: ProtocolError::BadDataChunk, quiet, consumed: len, swallow: 0 },
                    out,
                );
            }
            request.value = value;
        }
        let line = &input[..len];
        self.carry_out(Received { request, line }, server, now, out)
    }

    fn refuse(&mut self, invalid: Invalid, out: &mut Vec<u8>) -> Step {
        if !invalid.quiet {
            render::error(out, invalid.error);
        }
        if invalid.is_fatal() {
            return Step::Close;
        }
        self.swallow = invalid.swallow;
        Step::Done { len: invalid.consumed }
    }

    fn carry_out(&mut self, received: Received<'_>, server: &Server, now: Now, out: &mut Vec<u8>) -> Step {
        let len = received.line.len();
        let Received { mut request, line } = received;
        match (request.dialect, request.verb) {
            (_, Verb::Quit) => return Step::Close,
            (_, Verb::Get | Verb::Gets | Verb::Gat | Verb::Gats) => {
                if let (Some(left), Keys::List(list)) = (self.unanswered, request.keys) {
                    request.keys = Keys::List(&list[list.len().saturating_sub(left)..]);
                }
                self.unanswered = ascii::retrieve(&request, server, now, out);
                if self.unanswered.is_some() {
                    return Step::Yield;
                }
            }
            (_, Verb::Stats) => stats::answer(line, server, now, out),
            (Dialect::Meta(flags), _) => meta::answer(&request, flags, &server.store, now, out),
            _ if request.quiet => ascii::answer(&request, &server.store, now, &mut Vec::new()),
            _ => ascii::answer(&request, &server.store, now, out),
        }
        Step::Done { len }
    }
}

/// A request and its bytes.
struct Received<'a> {
    request: Request<'a>,
    line: &'a [u8],
}

/// What became of the front of the input.
enum Step {
    /// So many bytes are done with.
    Done { len: usize },
    /// They are no whole request yet.
    Incomplete,
    /// There is enough output.
    Yield,
    /// The connection ends.
    Close,
}

/// Refuses a value that is too large before it is taken in.
fn refuse_too_large(
    request: &Request<'_>,
    value_len: usize,
    server: &Server,
    now: Now,
    out: &mut Vec<u8>,
) -> bool {
    let key = key_of(request);
    if !server.store.is_too_large(&key, value_len, request.flags) {
        return false;
    }
    server.store.refuse_too_large(&key, matches!(request.verb, Verb::Set | Verb::MetaSet), now);
    if !request.quiet || request.dialect != Dialect::Ascii {
        render::error(out, ProtocolError::TooLarge);
    }
    true
}

/// The key of a request that has one.
fn key_of<'a>(request: &Request<'a>) -> Key<'a> {
    request.key().unwrap_or(Key::Wire(b""))
}
