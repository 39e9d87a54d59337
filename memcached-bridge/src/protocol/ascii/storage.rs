//! `set`, `add`, `replace`, `append`, `prepend`, `cas`.

use super::{Arguments, Parsed, Refusal, i32_of, key, request, u32_of, u64_of};
use crate::protocol::{DataBlock, Keys, MAX_VALUE_LEN, ProtocolError, Verb};

/// `set <key> <flags> <exptime> <bytes> [noreply]`, `cas <key> <flags> <exptime> <bytes> <cas> [noreply]`. Another
/// word in place of `noreply` is ignored.
pub(super) fn store(verb: Verb, rest: &[u8]) -> Parsed<'_> {
    let arguments = Arguments::of(rest);
    let quiet = arguments.noreply();
    let (fixed, tail) = arguments.as_slice().split_first_chunk().ok_or(ProtocolError::UnknownCommand)?;
    let &[name, flags, exptime, len] = fixed;
    let cas = match (verb, tail) {
        (Verb::Cas, &[cas] | &[cas, _]) => Some(cas),
        (Verb::Cas, _) => return Err(ProtocolError::UnknownCommand.into()),
        (_, [] | [_]) => None,
        _ => return Err(ProtocolError::UnknownCommand.into()),
    };
    let bad = Refusal::unless(quiet, ProtocolError::BadFormat);
    let mut request = request(verb);
    request.keys = Keys::Wire(key(name, quiet)?);
    request.flags = u32_of(flags).ok_or(bad)?;
    request.exptime = i32_of(exptime).ok_or(bad)?.into();
    request.cas = cas.map(|cas| u64_of(cas).ok_or(bad)).transpose()?;
    request.quiet = quiet;
    let value_len = value_len(len).ok_or(bad)?;
    Ok((request, Some(DataBlock { value_len, terminated: true })))
}

/// The length of a value.
pub(in crate::protocol) fn value_len(token: &[u8]) -> Option<usize> {
    i32_of(token).and_then(|len| usize::try_from(len).ok()).filter(|&len| len <= MAX_VALUE_LEN)
}
