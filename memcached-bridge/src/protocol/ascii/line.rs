//! Lines and their tokens.

use crate::protocol::{MAX_LINE_LEN, MAX_MULTIGET_LINE_LEN, ProtocolError};

/// memcached takes a long line for a multiget only if fewer spaces than this precede it.
const MAX_LEADING_SPACES: usize = 100;

/// The first line of `input`, without its end, and the bytes it takes; `None` if its end has not arrived.
pub(super) fn take(input: &[u8]) -> Result<Option<(&[u8], usize)>, ProtocolError> {
    let end = find(input, b'\n');
    let len = end.unwrap_or(input.len());
    if len > MAX_LINE_LEN && (len > MAX_MULTIGET_LINE_LEN || !is_multiget(input)) {
        return Err(ProtocolError::LineTooLong);
    }
    let Some(end) = end else { return Ok(None) };
    let line = match &input[..end] {
        [line @ .., b'\r'] if !line.is_empty() => line,
        line => line,
    };
    let line = &line[..find(line, 0).unwrap_or(line.len())];
    Ok(Some((line, end + 1)))
}

fn is_multiget(line: &[u8]) -> bool {
    let Some(start) = line.iter().position(|&byte| byte != b' ') else { return false };
    let verbs: [&[u8]; 4] = [b"get ", b"gets ", b"gat ", b"gats "];
    start <= MAX_LEADING_SPACES && verbs.iter().any(|verb| line[start..].starts_with(verb))
}

/// Where `needle` first is. Looks at eight bytes at a time: the lowest byte that a zero test marks is always right.
#[inline]
pub(in crate::protocol) fn find(haystack: &[u8], needle: u8) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let pattern = ONES * u64::from(needle);
    let (words, rest) = haystack.as_chunks::<8>();
    for (index, &word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(word) ^ pattern;
        let marks = word.wrapping_sub(ONES) & !word & (ONES << 7);
        if marks != 0 {
            return Some(index * 8 + marks.trailing_zeros() as usize / 8);
        }
    }
    rest.iter().position(|&byte| byte == needle).map(|index| words.len() * 8 + index)
}

/// The first token of `line` and what follows it.
pub(in crate::protocol) fn next_token(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = line.iter().position(|&byte| byte != b' ')?;
    let line = &line[start..];
    let end = find(line, b' ').unwrap_or(line.len());
    Some(line.split_at(end))
}

/// The tokens behind the verb. Keeps the first eight and counts all.
pub(in crate::protocol) struct Arguments<'a> {
    first: [&'a [u8]; 8],
    count: usize,
}

impl<'a> Arguments<'a> {
    pub(in crate::protocol) fn of(rest: &'a [u8]) -> Self {
        let mut arguments = Self { first: [&[]; 8], count: 0 };
        let mut rest = rest;
        while let Some((token, after)) = next_token(rest) {
            if let Some(slot) = arguments.first.get_mut(arguments.count) {
                *slot = token;
            }
            arguments.count += 1;
            rest = after;
        }
        arguments
    }

    pub(in crate::protocol) fn len(&self) -> usize {
        self.count
    }

    /// The arguments that were kept.
    pub(in crate::protocol) fn as_slice(&self) -> &[&'a [u8]] {
        &self.first[..self.count.min(self.first.len())]
    }

    /// Whether the last argument is `noreply`.
    pub(in crate::protocol) fn noreply(&self) -> bool {
        self.as_slice().last().is_some_and(|last| *last == b"noreply")
    }
}
