//! `incr`, `decr`.

use super::{Arguments, Parsed, Refusal, key, request, u64_of};
use crate::protocol::{Keys, ProtocolError, Verb};

/// `incr <key> <delta> [noreply]`
pub(super) fn count(verb: Verb, rest: &[u8]) -> Parsed<'_> {
    let arguments = Arguments::of(rest);
    let &([name, delta] | [name, delta, _]) = arguments.as_slice() else {
        return Err(ProtocolError::UnknownCommand.into());
    };
    let quiet = arguments.noreply();
    let mut request = request(verb);
    request.keys = Keys::Wire(key(name, quiet)?);
    request.delta = u64_of(delta).ok_or(Refusal::unless(quiet, ProtocolError::BadDelta))?;
    request.quiet = quiet;
    Ok((request, None))
}
