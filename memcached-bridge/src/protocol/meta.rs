//! The meta commands `mg`, `ms`, `md`, `ma`, `me`, `mn` (`doc/protocol.txt`, "Meta Commands").
//!
//! memcached knows one set of flags and takes each of them with every command; so does this.

use super::ascii::{Arguments, Parsed, Refusal, i32_of, next_token, u32_of, u64_of};
use super::{DataBlock, Dialect, Keys, MAX_KEY_LEN, MetaFlags, ProtocolError, Request, Verb, base64};

/// Tokens behind the verb at most.
const MAX_ARGUMENTS: usize = 18;
/// Bytes of an opaque at most, the flag's letter included.
const MAX_OPAQUE_LEN: usize = 32;

/// `mg <key> <flags>*`
pub(super) fn get(rest: &[u8]) -> Parsed<'_> {
    let (key, rest) = key(rest)?;
    if too_many(rest) {
        return Err(ProtocolError::MetaGetFlagsTooLong.into());
    }
    Ok((request(Verb::MetaGet, key, rest)?, None))
}

/// `md <key> <flags>*`
pub(super) fn delete(rest: &[u8]) -> Parsed<'_> {
    let (key, rest) = key(rest)?;
    if too_many(rest) {
        return Err(ProtocolError::MetaFlagsTooLong.into());
    }
    Ok((request(Verb::MetaDelete, key, rest).map_err(unnamed)?, None))
}

/// `ma <key> <flags>*`
pub(super) fn arithmetic(rest: &[u8]) -> Parsed<'_> {
    let (key, rest) = key(rest)?;
    if too_many(rest) {
        return Err(ProtocolError::MetaFlagsTooLong.into());
    }
    let request = request(Verb::MetaArithmetic, key, rest).map_err(unnamed)?;
    match MetaFlags(rest).mode() {
        None | Some(b'I' | b'+' | b'D' | b'-') => Ok((request, None)),
        Some(_) => Err(ProtocolError::BadArithmeticMode.into()),
    }
}

/// `ms <key> <length> <flags>*` and the value. If its flags are wrong, the value is swallowed.
pub(super) fn set(rest: &[u8]) -> Parsed<'_> {
    let (key, rest) = key(rest)?;
    let (len, flags) = next_token(rest).ok_or(ProtocolError::BadFormat)?;
    if too_many(rest) {
        return Err(ProtocolError::MetaFlagsTooLong.into());
    }
    let value_len = super::ascii::storage::value_len(len).ok_or(ProtocolError::BadFormat)?;
    let block = DataBlock { value_len, terminated: true };
    let refuse = |error| Refusal::with_data(error, block.wire_len());
    let request = request(Verb::MetaSet, key, flags).map_err(refuse)?;
    match MetaFlags(flags).mode() {
        None | Some(b'E' | b'A' | b'P' | b'R' | b'S') => Ok((request, Some(block))),
        Some(_) => Err(refuse(ProtocolError::BadSetMode)),
    }
}

/// `me <key> [b]`
pub(super) fn debug(rest: &[u8]) -> Parsed<'_> {
    let arguments = Arguments::of(rest);
    let &[key, ref flags @ ..] = arguments.as_slice() else { return Err(ProtocolError::BadFormat.into()) };
    let encoded = flags.first() == Some(&&b"b"[..]);
    if key.len() > MAX_KEY_LEN || encoded && base64::decode(key).is_none() {
        return Err(ProtocolError::BadFormat.into());
    }
    let flags: &[u8] = if encoded { b"b" } else { b"" };
    let mut request = Request::new(Verb::MetaDebug, Dialect::Meta(MetaFlags(flags)));
    request.keys = if encoded { Keys::Base64(key) } else { Keys::Wire(key) };
    Ok((request, None))
}

/// `mn`
pub(super) fn noop() -> Parsed<'static> {
    Ok((Request::new(Verb::Noop, Dialect::Meta(MetaFlags::default())), None))
}

fn key(rest: &[u8]) -> Result<(&[u8], &[u8]), ProtocolError> {
    let (key, rest) = next_token(rest).ok_or(ProtocolError::UnknownCommand)?;
    if key.len() > MAX_KEY_LEN {
        return Err(ProtocolError::BadFormat);
    }
    Ok((key, rest))
}

fn too_many(rest: &[u8]) -> bool {
    MetaFlags(rest).tokens().count() > MAX_ARGUMENTS - 1
}

/// `md` and `ma` say the same of every wrong flag, but for the opaque, which memcached measures later.
fn unnamed(error: ProtocolError) -> ProtocolError {
    match error {
        ProtocolError::OpaqueTooLong => error,
        _ => ProtocolError::InvalidOrDuplicateFlag,
    }
}

/// Reads the flags. The last wrong number is the one that is reported, but a flag that is unknown or stands twice
/// ends the reading at once.
fn request<'a>(verb: Verb, key: &'a [u8], flags: &'a [u8]) -> Result<Request<'a>, ProtocolError> {
    let flags = MetaFlags(flags);
    let mut request = Request::new(verb, Dialect::Meta(flags));
    request.keys = Keys::Wire(key);
    if verb == Verb::MetaArithmetic {
        request.delta = 1;
    }
    let mut seen = 0u128;
    let mut wrong = None;
    for (flag, argument) in flags.iter() {
        if flag >= 127 || seen >> flag & 1 == 1 {
            return Err(ProtocolError::DuplicateFlag);
        }
        seen |= 1 << flag;
        match apply(&mut request, key, flag, argument) {
            Ok(()) => {}
            Err(error @ ProtocolError::InvalidFlag) => return Err(error),
            // A bad `F` leaves the message of another bad flag as it is.
            Err(ProtocolError::BadFormat) => wrong = wrong.or(Some(ProtocolError::BadFormat)),
            Err(error) => wrong = Some(error),
        }
    }
    if let Some(error) = wrong {
        return Err(error);
    }
    if flags.opaque().is_some_and(|opaque| opaque.len() + 1 > MAX_OPAQUE_LEN) {
        return Err(ProtocolError::OpaqueTooLong);
    }
    Ok(request)
}

fn apply<'a>(
    request: &mut Request<'a>,
    key: &'a [u8],
    flag: u8,
    argument: &[u8],
) -> Result<(), ProtocolError> {
    match flag {
        b'b' if base64::decode(key).is_none() => return Err(ProtocolError::KeyEncoding),
        b'b' => request.keys = Keys::Base64(key),
        b'T' => request.exptime = i32_of(argument).ok_or(ProtocolError::BadToken)?.into(),
        b'N' | b'R' => _ = i32_of(argument).ok_or(ProtocolError::BadToken)?,
        b'F' => request.flags = u32_of(argument).ok_or(ProtocolError::BadFormat)?,
        b'C' => request.cas = Some(u64_of(argument).ok_or(ProtocolError::BadToken)?),
        b'M' if argument.len() != 1 => return Err(ProtocolError::ModeLength),
        b'J' => request.initial = Some(u64_of(argument).ok_or(ProtocolError::BadInitial)?),
        b'D' => request.delta = u64_of(argument).ok_or(ProtocolError::BadMetaDelta)?,
        b'q' => request.quiet = true,
        b'l' | b'O' | b'P' | b'L' | b'k' | b's' | b't' | b'c' | b'f' | b'v' | b'h' | b'u' | b'M' | b'I' => {}
        _ => return Err(ProtocolError::InvalidFlag),
    }
    Ok(())
}
