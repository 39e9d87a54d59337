//! `touch`.

use super::{Arguments, Parsed, Refusal, i32_of, key, request};
use crate::protocol::{Keys, ProtocolError, Verb};

/// `touch <key> <exptime> [noreply]`
pub(super) fn touch(rest: &[u8]) -> Parsed<'_> {
    let arguments = Arguments::of(rest);
    let &([name, exptime] | [name, exptime, _]) = arguments.as_slice() else {
        return Err(ProtocolError::UnknownCommand.into());
    };
    let quiet = arguments.noreply();
    let mut request = request(Verb::Touch);
    request.keys = Keys::Wire(key(name, quiet)?);
    request.exptime = i32_of(exptime).ok_or(Refusal::unless(quiet, ProtocolError::BadExptime))?.into();
    request.quiet = quiet;
    Ok((request, None))
}
