//! Lines: parsed, answered, refused.

use super::admin::{self, Answer};
use super::{Server, Session, Step, ascii, is_too_large, meta, stats};
use crate::protocol::{
    Dialect, Head, Invalid, Keys, Protocol, ProtocolError, Request, Verb, ascii::line_of, render,
};
use crate::store::Now;

impl Session {
    /// Carries out the text command at the front of `input`.
    pub(super) fn step_text(&mut self, input: &[u8], server: &Server, now: Now, out: &mut Vec<u8>) -> Step {
        let (mut request, mut len, block) = match Protocol::Text.parse_head(input) {
            Head::Complete { request, consumed, block } => (request, consumed, block),
            Head::Incomplete => {
                self.searched = input.len();
                return Step::Incomplete;
            }
            Head::Invalid(invalid) => return self.refuse_text(invalid, input, out),
        };
        let quiet = request.quiet && request.dialect == Dialect::Ascii;
        if let Some(block) = block {
            if is_too_large(&request, block.value_len, &server.store, now) {
                let (error, swallow) = (ProtocolError::TooLarge, block.wire_len());
                return self.refuse_text(Invalid { error, quiet, consumed: len, swallow }, input, out);
            }
            let Some(wire) = self.data_block(input, len, block) else { return Step::Incomplete };
            len += wire.len();
            let (value, end) = wire.split_at(block.value_len);
            if end != b"\r\n" {
                let (error, swallow) = (ProtocolError::BadDataChunk, 0);
                return self.refuse_text(Invalid { error, quiet, consumed: len, swallow }, input, out);
            }
            request.value = value;
        }
        if request.verb == Verb::Stats {
            stats::text::answer(line_of(input), server, now, out);
            return Step::Done { len };
        }
        self.answer_text(request, len, server, now, out)
    }

    fn refuse_text(&mut self, invalid: Invalid, input: &[u8], out: &mut Vec<u8>) -> Step {
        if invalid.error == ProtocolError::UnknownCommand {
            match admin::answer(line_of(input)) {
                Answer::Unknown => {}
                Answer::Close => return Step::Close,
                Answer::Silent => return Step::Done { len: invalid.consumed },
                Answer::Line(line) => {
                    out.extend_from_slice(line.as_bytes());
                    out.extend_from_slice(b"\r\n");
                    return Step::Done { len: invalid.consumed };
                }
            }
        }
        if !invalid.quiet {
            render::error(out, invalid.error);
        }
        if invalid.is_fatal() {
            return Step::Close;
        }
        self.swallow = invalid.swallow;
        Step::Done { len: invalid.consumed }
    }

    fn answer_text(
        &mut self,
        mut request: Request<'_>,
        len: usize,
        server: &Server,
        now: Now,
        out: &mut Vec<u8>,
    ) -> Step {
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
            (Dialect::Meta(flags), _) => meta::answer(&request, flags, &server.store, now, out),
            _ if request.quiet => ascii::answer(&request, &server.store, now, &mut Vec::new()),
            _ => ascii::answer(&request, &server.store, now, out),
        }
        Step::Done { len }
    }
}
