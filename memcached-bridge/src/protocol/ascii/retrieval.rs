//! `get`, `gets`, `gat`, `gats`.

use super::{Parsed, Refusal, i32_of, next_token, request};
use crate::protocol::{Keys, MAX_KEY_LEN, ProtocolError, Verb};

/// `get <key>+`
pub(super) fn get(verb: Verb, rest: &[u8]) -> Parsed<'_> {
    let mut request = request(verb);
    request.keys = keys(rest)?;
    if request.keys().next().is_none() {
        return Err(ProtocolError::UnknownCommand.into());
    }
    Ok((request, None))
}

/// `gat <exptime> <key>*`; without a key memcached answers `END`.
pub(super) fn get_and_touch(verb: Verb, rest: &[u8]) -> Parsed<'_> {
    let (exptime, rest) = next_token(rest).ok_or(ProtocolError::UnknownCommand)?;
    let mut request = request(verb);
    request.exptime = i32_of(exptime).ok_or(ProtocolError::BadExptime)?.into();
    request.keys = keys(rest)?;
    Ok((request, None))
}

fn keys(rest: &[u8]) -> Result<Keys<'_>, Refusal> {
    let keys = Keys::List(rest);
    let too_long = rest.len() > MAX_KEY_LEN && { keys }.any(|key| key.len() > MAX_KEY_LEN);
    if too_long { Err(ProtocolError::BadFormat.into()) } else { Ok(keys) }
}

/// A datagram that asks for one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SingleGet<'a> {
    /// The key: 1 to 250 bytes, none of them a space, a control character or NUL.
    pub key: &'a [u8],
    /// `gets`: the reply carries the CAS.
    pub with_cas: bool,
}

/// Recognizes exactly `get <key>\r\n` and `gets <key>\r\n` in the whole of `payload` (behind the
/// [UDP frame](crate::protocol::udp::Frame)).
///
/// `None` says nothing: [`parse`](crate::protocol::parse) decides then. Looks at eight bytes at a time and
/// searches for nothing, since the key must end where the datagram does.
#[inline(always)]
pub fn single_get(payload: &[u8]) -> Option<SingleGet<'_>> {
    let (line, end) = payload.split_last_chunk::<2>()?;
    let (verb, rest) = line.split_first_chunk::<4>()?;
    if *end != *b"\r\n" {
        return None;
    }
    let (key, with_cas) = match verb {
        b"get " => (rest, false),
        b"gets" => (rest.strip_prefix(b" ")?, true),
        _ => return None,
    };
    let plain = !key.is_empty() && key.len() <= MAX_KEY_LEN && !has_space_or_control(key);
    plain.then_some(SingleGet { key, with_cas })
}

/// Whether any byte is at most 0x20.
#[inline(always)]
fn has_space_or_control(key: &[u8]) -> bool {
    // Exact as a yes or no for the whole word: see "Determine if a word has a byte less than n" in Anderson's Bit
    // Twiddling Hacks.
    fn word(bytes: [u8; 8]) -> u64 {
        let word = u64::from_le_bytes(bytes);
        word.wrapping_sub(0x2121_2121_2121_2121) & !word & 0x8080_8080_8080_8080
    }
    // Most keys: two words that overlap, and no loop.
    if let (Some(&first), Some(&last), true) = (key.first_chunk(), key.last_chunk(), key.len() <= 16) {
        return word(first) | word(last) != 0;
    }
    let (words, rest) = key.as_chunks::<8>();
    let found = words.iter().fold(0, |found, &bytes| found | word(bytes));
    if rest.is_empty() {
        return found != 0;
    }
    // The last eight bytes overlap the words before; a shorter key is looked at byte by byte.
    match key.last_chunk::<8>() {
        Some(&last) => found | word(last) != 0,
        None => rest.iter().any(|&byte| byte <= b' '),
    }
}
