//! Lines: parsed, answered, refused.

use super::admin::{self, Answer};
use super::ascii::{Stop, Stopped};
use super::{Scene, Session, Step, ascii, is_too_large, meta, stats};
use crate::protocol::{
    Dialect, Head, Invalid, Keys, Protocol, ProtocolError, Request, Verb, ascii::line_of, render,
};
use crate::store::Busy;

impl Session {
    /// Carries out the text command at the front of `input`.
    pub(super) fn step_text(
        &mut self,
        input: &[u8],
        scene: Scene<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Step, Busy> {
        let (mut request, mut len, block) = match Protocol::Text.parse_head(input) {
            Head::Complete { request, consumed, block } => (request, consumed, block),
            Head::Incomplete => {
                self.searched = input.len();
                return Ok(Step::Incomplete);
            }
            Head::Invalid(invalid) => return Ok(self.refuse_text(invalid, input, out)),
        };
        let quiet = request.quiet && request.dialect == Dialect::Ascii;
        if let Some(block) = block {
            if is_too_large(&request, block.value_len, scene)? {
                let (error, swallow) = (ProtocolError::TooLarge, block.wire_len());
                return Ok(self.refuse_text(Invalid { error, quiet, consumed: len, swallow }, input, out));
            }
            let Some(wire) = self.data_block(input, len, block) else { return Ok(Step::Incomplete) };
            len += wire.len();
            let (value, end) = wire.split_at(block.value_len);
            if end != b"\r\n" {
                let (error, swallow) = (ProtocolError::BadDataChunk, 0);
                return Ok(self.refuse_text(Invalid { error, quiet, consumed: len, swallow }, input, out));
            }
            request.value = value;
        }
        if request.verb == Verb::Stats {
            stats::text::answer(line_of(input), scene, out)?;
            return Ok(Step::Done { len });
        }
        self.answer_text(request, len, scene, out)
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
        scene: Scene<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Step, Busy> {
        match (request.dialect, request.verb) {
            (_, Verb::Quit) => return Ok(Step::Close),
            (_, Verb::Get | Verb::Gets | Verb::Gat | Verb::Gats) => {
                if let (Some(left), Keys::List(list)) = (self.unanswered, request.keys) {
                    request.keys = Keys::List(&list[list.len().saturating_sub(left)..]);
                }
                let retrieved = ascii::retrieve(&request, scene, out);
                self.unanswered = retrieved.as_ref().err().map(|stopped| stopped.left);
                match retrieved {
                    Ok(()) => {}
                    Err(Stopped { why: Stop::Enough, .. }) => return Ok(Step::Yield),
                    Err(Stopped { why: Stop::Busy, .. }) => return Err(Busy),
                }
            }
            (Dialect::Meta(flags), _) => meta::answer(&request, flags, scene, out)?,
            _ if request.quiet => ascii::answer(&request, scene, &mut Vec::new())?,
            _ => ascii::answer(&request, scene, out)?,
        }
        Ok(Step::Done { len })
    }
}
