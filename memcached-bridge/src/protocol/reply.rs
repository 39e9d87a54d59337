//! Replies of servers to what the node itself asks.

use super::ascii::{find, next_token, u32_of, u64_of};

/// The reply to `mg <key> v f c t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaGetReply<'a> {
    /// The item.
    Hit {
        /// The value, without `\r\n`.
        value: &'a [u8],
        /// The client's flags.
        flags: u32,
        /// The CAS.
        cas: u64,
        /// Seconds until it expires; `None` if it does not.
        ttl: Option<u32>,
        /// The item is marked stale, or somebody holds its recache token (`W`, `X`, `Z`).
        stale: bool,
        /// The node now holds that token (`W`), which was meant for a client: to be given back by
        /// [`mark_stale`](super::render::mark_stale).
        won: bool,
        /// The key, if it was asked for (`k`).
        key: Option<&'a [u8]>,
    },
    /// There is no such item.
    Miss,
    /// An error, a reply to something else, or an incomplete one.
    Error,
}

/// Reads the whole of `reply` as the reply to `mg <key> v f c t` (more return flags do not matter).
pub fn parse_meta_get_reply(reply: &[u8]) -> MetaGetReply<'_> {
    if matches!(reply, b"EN\r\n") {
        return MetaGetReply::Miss;
    }
    hit(reply).unwrap_or(MetaGetReply::Error)
}

fn hit(reply: &[u8]) -> Option<MetaGetReply<'_>> {
    let (line, data) = split_line(reply)?;
    let (status, rest) = next_token(line)?;
    let (len, rest) = next_token(rest)?;
    if status != b"VA" {
        return None;
    }
    let value = data.strip_suffix(b"\r\n").filter(|value| Some(value.len()) == length(len))?;
    let (mut flags, mut cas, mut ttl, mut key) = (None, None, None, None);
    let (mut stale, mut won) = (false, false);
    for token in rest.split(|&byte| byte == b' ').filter(|token| !token.is_empty()) {
        let (&flag, argument) = token.split_first()?;
        match flag {
            b'f' => flags = Some(u32_of(argument)?),
            b'c' => cas = Some(u64_of(argument)?),
            b't' if argument == b"-1" => ttl = Some(None),
            b't' => ttl = Some(Some(u32_of(argument)?)),
            b'k' => key = Some(argument),
            b'W' => (stale, won) = (true, true),
            b'X' | b'Z' => stale = true,
            _ => {}
        }
    }
    Some(MetaGetReply::Hit { value, flags: flags?, cas: cas?, ttl: ttl?, stale, won, key })
}

/// One item of a reply to `get` or `gets`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The client's flags.
    pub flags: u32,
    /// The CAS; only in replies to `gets` and `gats`.
    pub cas: Option<u64>,
    /// The value, without `\r\n`.
    pub data: &'a [u8],
    /// The whole block as it stands, `VALUE` to `\r\n`.
    pub block: &'a [u8],
}

/// The items of a reply to `get` or `gets`: `VALUE <key> <flags> <bytes> [<cas>]\r\n<data>\r\n`, then `END\r\n`.
///
/// Iterates over the items that are there; then [`end`](Values::end) says why there are no more. To read a stream,
/// keep the bytes from [`rest`](Values::rest) on and go on once there are more.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    rest: &'a [u8],
    end: ValuesEnd,
}

/// Why there are no more items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValuesEnd {
    /// `END\r\n` was read.
    End,
    /// The bytes end within an item or before the next one.
    Incomplete,
    /// Something else stands there: an error line, or no reply at all.
    Error,
}

impl<'a> Values<'a> {
    /// The items at the front of `reply`.
    pub fn new(reply: &'a [u8]) -> Self {
        Self { rest: reply, end: ValuesEnd::Incomplete }
    }

    /// What was not read yet: the bytes behind the last item, or behind `END\r\n`.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Why there are no more items. Meaningful once the iterator has returned `None`.
    pub fn end(&self) -> ValuesEnd {
        self.end
    }

    /// The item at the front and its length. `Err` is the end.
    fn first(&self) -> Result<(Value<'a>, usize), ValuesEnd> {
        let rest = self.rest;
        let Some((line, data)) = split_line(rest) else {
            // A line that does not even begin like one of these cannot become one.
            let may_become = starts_alike(rest, b"VALUE ") || starts_alike(rest, b"END\r\n");
            return Err(if may_become { ValuesEnd::Incomplete } else { ValuesEnd::Error });
        };
        let header = header(line).ok_or(ValuesEnd::Error)?;
        let (key, flags, len, cas) = header;
        let Some((data, after)) = data.split_at_checked(len) else { return Err(ValuesEnd::Incomplete) };
        match after {
            [b'\r', b'\n', ..] => {}
            [] | [b'\r'] => return Err(ValuesEnd::Incomplete),
            _ => return Err(ValuesEnd::Error),
        }
        let block = &rest[..rest.len() - after.len() + 2];
        Ok((Value { key, flags, cas, data, block }, block.len()))
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        if self.end == ValuesEnd::End {
            return None;
        }
        if let Some(rest) = self.rest.strip_prefix(b"END\r\n") {
            (self.rest, self.end) = (rest, ValuesEnd::End);
            return None;
        }
        match self.first() {
            Ok((value, len)) => {
                self.rest = &self.rest[len..];
                Some(value)
            }
            Err(end) => {
                self.end = end;
                None
            }
        }
    }
}

fn starts_alike(bytes: &[u8], pattern: &[u8]) -> bool {
    let len = bytes.len().min(pattern.len());
    bytes[..len] == pattern[..len]
}

type Header<'a> = (&'a [u8], u32, usize, Option<u64>);

fn header(line: &[u8]) -> Option<Header<'_>> {
    let mut tokens = line.strip_prefix(b"VALUE ")?.split(|&byte| byte == b' ');
    let (key, flags, len) = (tokens.next()?, u32_of(tokens.next()?)?, length(tokens.next()?)?);
    let cas = match tokens.next() {
        Some(cas) => Some(u64_of(cas)?),
        None => None,
    };
    (!key.is_empty() && tokens.next().is_none()).then_some((key, flags, len, cas))
}

fn length(token: &[u8]) -> Option<usize> {
    super::ascii::storage::value_len(token)
}

/// A line without its `\r\n`, and what follows.
fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = find(bytes, b'\n')?;
    let line = bytes[..end].strip_suffix(b"\r")?;
    Some((line, &bytes[end + 1..]))
}
