//! Commands without a key: `flush_all`, `verbosity`, `stats`, `version`, `quit`.

use super::{Arguments, Parsed, Refusal, i32_of, request, u32_of};
use crate::protocol::{ProtocolError, Verb};

/// A command whose arguments, if any, memcached ignores or that a node does not read.
pub(super) fn bare(verb: Verb) -> Parsed<'static> {
    Ok((request(verb), None))
}

/// `flush_all [delay] [noreply]`
pub(super) fn flush_all(rest: &[u8]) -> Parsed<'static> {
    let arguments = Arguments::of(rest);
    let quiet = arguments.noreply();
    let mut request = request(Verb::FlushAll);
    request.quiet = quiet;
    let delay = match arguments.as_slice() {
        [] => None,
        [_] if quiet => None,
        &([delay] | [delay, _]) => Some(delay),
        _ => return Err(ProtocolError::UnknownCommand.into()),
    };
    if let Some(delay) = delay {
        request.exptime = i32_of(delay).ok_or(Refusal::unless(quiet, ProtocolError::BadExptime))?.into();
    }
    Ok((request, None))
}

/// `verbosity <level> [noreply]`
pub(super) fn verbosity(rest: &[u8]) -> Parsed<'static> {
    let arguments = Arguments::of(rest);
    let &([level] | [level, _]) = arguments.as_slice() else {
        return Err(ProtocolError::UnknownCommand.into());
    };
    let quiet = arguments.noreply();
    let mut request = request(Verb::Verbosity);
    request.delta = u32_of(level).ok_or(Refusal::unless(quiet, ProtocolError::BadFormat))?.into();
    request.quiet = quiet;
    Ok((request, None))
}
