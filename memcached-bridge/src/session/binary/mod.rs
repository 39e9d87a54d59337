//! The binary protocol (`doc/protocol-binary.txt`), as memcached 1.6.18 speaks it (`proto_bin.c`).
//!
//! A quiet request whose outcome is the usual one has no reply: a miss of a get, the success of a write. Errors are
//! always told. Requests that are not told apart any more end the connection, after the error.
//!
//! | module | what it is |
//! |---|---|
//! | `retrieval` | get, gat, touch |
//! | `storage` | set, add, replace, append, prepend |
//! | `arithmetic` | increment, decrement |
//! | `removal` | delete, flush |
//! | `stat` | stat |
//! | `sasl` | list mechanisms, authenticate, step |

mod arithmetic;
mod removal;
mod retrieval;
pub(crate) mod sasl;
mod stat;
mod storage;

pub(crate) use sasl::SaslState;

use super::{COMPATIBLE_VERSION, Scene, Session, Step, is_too_large, key_of};
use crate::protocol::binary::{HEADER_LEN, Header, MAGIC_REQUEST, Reply, Status};
use crate::protocol::{Head, Invalid, Protocol, Request, Verb};
use crate::store::Busy;

/// A request and what it takes to answer it.
struct Call<'a> {
    request: Request<'a>,
    /// Success, and nothing else to say.
    reply: Reply<'static>,
    scene: Scene<'a>,
}

impl Session {
    /// Carries out the binary request at the front of `input`.
    pub(super) fn step_binary(
        &mut self,
        input: &[u8],
        scene: Scene<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Step, Busy> {
        let credentials = scene.server.credentials.as_ref();
        if input[0] != MAGIC_REQUEST {
            return Ok(Step::Close);
        }
        let Some(header) = Header::parse(input) else {
            self.await_len = HEADER_LEN;
            return Ok(Step::Incomplete);
        };
        let head_len = HEADER_LEN + header.prefix_len();
        if input.len() < head_len {
            self.await_len = head_len;
            return Ok(Step::Incomplete);
        }
        let reply = Reply::to(header.opcode, header.opaque);
        if !self.sasl.admits(&header, credentials) {
            reply.failed(Status::AuthFailure).render(out);
            return Ok(Step::Close);
        }
        let (mut request, mut len, block) = match Protocol::Binary.parse_head(input) {
            Head::Complete { request, consumed, block } => (request, consumed, block),
            Head::Incomplete => return Ok(Step::Incomplete),
            Head::Invalid(invalid) => return Ok(self.refuse_binary(invalid, reply, out)),
        };
        if let Some(block) = block {
            let refused = match request.verb {
                Verb::Sasl => sasl::refuse(&header, block.value_len, credentials),
                _ => is_too_large(&request, block.value_len, scene)?.then_some(Status::TooLarge),
            };
            if let Some(status) = refused {
                reply.failed(status).render(out);
                self.swallow = block.wire_len();
                return Ok(Step::Done { len });
            }
            let Some(value) = self.data_block(input, len, block) else { return Ok(Step::Incomplete) };
            len += value.len();
            request.value = value;
        }
        let call = Call { request, reply, scene };
        match request.verb {
            Verb::Quit => {
                call.done(0, out);
                return Ok(Step::Close);
            }
            Verb::Sasl => {
                let mechanism = &input[HEADER_LEN..head_len];
                self.sasl.answer(reply, mechanism, call.request.value, credentials, out);
            }
            _ => call.answer(out)?,
        }
        Ok(Step::Done { len })
    }

    fn refuse_binary(&mut self, invalid: Invalid, reply: Reply<'static>, out: &mut Vec<u8>) -> Step {
        if let Some(status) = Status::of(invalid.error) {
            reply.failed(status).render(out);
        }
        if invalid.is_fatal() {
            return Step::Close;
        }
        self.swallow = invalid.swallow;
        Step::Done { len: invalid.consumed }
    }
}

/// What can be said to a client whose unfinished request in `input` cannot be held.
pub(super) fn out_of_memory(input: &[u8], out: &mut Vec<u8>) {
    if let Some(header) = Header::parse(input) {
        Reply::to(header.opcode, header.opaque).failed(Status::OutOfMemory).render(out);
    }
}

impl Call<'_> {
    fn answer(&self, out: &mut Vec<u8>) -> Result<(), Busy> {
        let key = key_of(&self.request);
        let entry = || self.scene.entry(&key);
        match self.request.verb {
            Verb::Get | Verb::Gat | Verb::Touch => self.retrieve(entry()?, &key, out),
            Verb::Set | Verb::Add | Verb::Replace | Verb::Append | Verb::Prepend => self.store(entry()?, out),
            Verb::Incr | Verb::Decr => self.count(entry()?, out),
            Verb::Delete => self.delete(entry()?, out),
            Verb::FlushAll => self.flush(out),
            Verb::Stats => self.stat(out)?,
            Verb::Version => Reply { value: COMPATIBLE_VERSION.as_bytes(), ..self.reply }.render(out),
            // Only the no-op is left: no opcode stands for any other verb.
            _ => self.reply.render(out),
        }
        Ok(())
    }

    /// Says that it was done, and that the item has `cas` now (0 for none), unless that goes without saying.
    fn done(&self, cas: u64, out: &mut Vec<u8>) {
        if !self.request.quiet {
            Reply { cas, ..self.reply }.render(out);
        }
    }

    fn fail(&self, status: Status, out: &mut Vec<u8>) {
        self.reply.failed(status).render(out);
    }
}
