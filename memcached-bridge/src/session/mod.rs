//! The server's side of memcached connections and datagrams, without sockets: bytes in, bytes out, against the
//! embedded [`Store`].
//!
//! ```text
//! shell: read ──► Session::receive(input) ──► write `out` ──► Needs::Input: read more
//!                     ▲                                   ├─► Needs::Output: call again with the rest
//!                     └───────────────────────────────────┤
//!                                                         ├─► Needs::Store: call again later with the rest
//!                                                         └─► Needs::Close
//! ```
//! The shell keeps what was not consumed and hands it in again with what follows it. So a session holds nothing
//! but a few numbers, and an idle connection needs no buffers at all.
//!
//! **Bounds.** Unconsumed input: one command line (1 MiB for a multiget, 2 KiB for anything else), one binary header with
//! its extras and key (64 KiB, though only 250 bytes of key are taken) or one storage command with its value, which the
//! store's item limit bounds. Output of one call: [`OUTPUT_BYTES`] and one value, or one reply to `stats`. A larger reply
//! to a multiget comes in several calls.
//!
//! The replies are those of memcached 1.6.18, errors included: text and binary, told apart by a connection's first byte.
//! Where [`Server::credentials`] are set, a connection speaks binary only, and nothing but `version` before it has
//! authenticated itself by SASL PLAIN (as `memcached -S`).
//!
//! An [impatient](Session::impatient) session never waits for the store: it stops before the request, or the key of a
//! request, whose part of the store another thread holds, and goes on there when it is called again.
//!
//! | module | what it is |
//! |---|---|
//! | `text` | lines: parsed, answered, refused |
//! | `ascii` | the classic text commands |
//! | `meta` | the meta commands |
//! | `admin` | text commands for mechanisms that memcached has and this store has not |
//! | `binary` | the binary protocol, one file per family |
//! | [`stats`] | `stats` of both protocols, and what a shell counts for it |
//! | [`credentials`] | who may authenticate |
//! | [`datagram`] | requests and replies over UDP |

mod admin;
mod ascii;
pub(crate) mod binary;
pub mod credentials;
pub mod datagram;
mod meta;
pub mod stats;
mod text;

#[cfg(test)]
mod tests;

pub(crate) use admin::is_http;

use crate::protocol::{DataBlock, Key, Protocol, Request, Verb};
use crate::store::{Busy, Entry, Now, Patience, Store};
use credentials::Credentials;
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
    /// Who may use the server, if not everybody.
    pub credentials: Option<Credentials>,
}

/// What has to happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// More input.
    Input,
    /// Room for output: write what there is and call again with the unconsumed input.
    Output,
    /// A part of the store that another thread holds: call again later with the unconsumed input. Only an
    /// [impatient](Session::impatient) session needs this.
    Store,
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
    sasl: binary::SaslState,
    patience: Patience,
}

impl Session {
    /// A new connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// A new connection that is never held up by the store: for workers of the packet path.
    pub fn impatient() -> Self {
        Self { patience: Patience::Look, ..Self::default() }
    }

    /// Whether the connection stands between two requests: a shell that drains may close it now.
    pub fn is_between_requests(&self) -> bool {
        self.swallow == 0 && self.unanswered.is_none()
    }

    /// Bytes that the unconsumed input must have before it can be a whole request, 0 if unknown.
    pub fn awaited_input(&self) -> usize {
        self.await_len
    }

    /// What to say before a connection is closed whose unconsumed `input` cannot be held.
    pub fn out_of_memory(&self, input: &[u8], out: &mut Vec<u8>) {
        match self.protocol {
            Some(Protocol::Binary) => binary::out_of_memory(input, out),
            _ => out.extend_from_slice(b"SERVER_ERROR out of memory reading request\r\n"),
        }
    }

    /// Carries out the requests at the front of `input` and appends their replies to `out`.
    pub fn receive(&mut self, input: &[u8], server: &Server, now: Now, out: &mut Vec<u8>) -> Progress {
        let mut consumed = 0;
        let scene = Scene { server, now, patience: self.patience, enough: out.len() + OUTPUT_BYTES };
        let needs = loop {
            consumed += self.swallow_from(&input[consumed..]);
            let rest = &input[consumed..];
            if out.len() >= scene.enough {
                break Needs::Output;
            }
            if self.swallow > 0 || rest.is_empty() || !self.may_be_whole(rest) {
                break Needs::Input;
            }
            match self.step(rest, scene, out) {
                Ok(Step::Done { len }) => consumed += len,
                Ok(Step::Incomplete) => break Needs::Input,
                Ok(Step::Yield) => break Needs::Output,
                Ok(Step::Close) => break Needs::Close,
                Err(Busy) => break Needs::Store,
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

    fn step(&mut self, input: &[u8], scene: Scene<'_>, out: &mut Vec<u8>) -> Result<Step, Busy> {
        let detect = || match scene.server.credentials {
            Some(_) => Protocol::Binary,
            None => Protocol::detect(input[0]),
        };
        let protocol = *self.protocol.get_or_insert_with(detect);
        (self.await_len, self.searched) = (0, 0);
        match protocol {
            Protocol::Text => self.step_text(input, scene, out),
            Protocol::Binary => self.step_binary(input, scene, out),
        }
    }

    /// The data block behind a head of `head_len` bytes, if all of it is there.
    fn data_block<'a>(&mut self, input: &'a [u8], head_len: usize, block: DataBlock) -> Option<&'a [u8]> {
        let wire = input[head_len..].get(..block.wire_len());
        if wire.is_none() {
            self.await_len = head_len + block.wire_len();
        }
        wire
    }
}

/// Where, when and how the requests of one call are carried out.
#[derive(Clone, Copy)]
struct Scene<'a> {
    server: &'a Server,
    now: Now,
    patience: Patience,
    /// No further value is begun once the output is so long.
    enough: usize,
}

impl<'a> Scene<'a> {
    fn store(&self) -> &'a Store {
        &self.server.store
    }

    fn entry<'k>(&self, key: &'k [u8]) -> Result<Entry<'k>, Busy>
    where
        'a: 'k,
    {
        self.store().entry_if(key, self.now, self.patience)
    }
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

/// Whether a value is too large to be taken in. What it was to replace is then gone.
fn is_too_large(request: &Request<'_>, value_len: usize, scene: Scene<'_>) -> Result<bool, Busy> {
    let key = key_of(request);
    let too_large = scene.store().is_too_large(&key, value_len, request.flags);
    if too_large {
        scene.entry(&key)?.refuse_too_large(matches!(request.verb, Verb::Set | Verb::MetaSet));
    }
    Ok(too_large)
}

/// The key of a request that has one.
fn key_of<'a>(request: &Request<'a>) -> Key<'a> {
    request.key().unwrap_or(Key::Wire(b""))
}
