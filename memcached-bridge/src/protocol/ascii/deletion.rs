//! `delete`.

use super::{Arguments, Parsed, Refusal, key, request};
use crate::protocol::{Keys, ProtocolError, Verb};

/// `delete <key> [0] [noreply]`; the `0` is what is left of a delay that memcached once had.
pub(super) fn delete(rest: &[u8]) -> Parsed<'_> {
    let arguments = Arguments::of(rest);
    let quiet = arguments.len() > 1 && arguments.noreply();
    let name = match arguments.as_slice() {
        [name] | [name, b"0"] | [name, b"noreply"] | [name, b"0", b"noreply"] => name,
        [_, ..] if arguments.len() <= 3 => {
            return Err(Refusal::unless(quiet, ProtocolError::DeleteUsage));
        }
        _ => return Err(ProtocolError::UnknownCommand.into()),
    };
    let mut request = request(Verb::Delete);
    request.keys = Keys::Wire(key(name, quiet)?);
    request.quiet = quiet;
    Ok((request, None))
}
