//! Text commands: a line, and for storage commands a data block behind it.
//!
//! A line ends with `\n`, a `\r` before it is dropped, and it is cut at its first NUL byte, because memcached
//! reads it as a C string. Spaces, any number of them, part the tokens; nothing else does.

mod counters;
mod deletion;
mod keyless;
mod line;
mod number;
mod retrieval;
pub(super) mod storage;
mod touch;

pub use retrieval::{SingleGet, single_get};

pub(super) use line::{Arguments, find, next_token};
pub(super) use number::u64_of;
pub(crate) use number::{i32_of, u32_of};

use super::{DataBlock, Dialect, Head, Invalid, MAX_KEY_LEN, ProtocolError, Request, Verb, meta};

/// A line that was read: the request, and what follows the line.
pub(super) type Parsed<'a> = Result<(Request<'a>, Option<DataBlock>), Refusal>;

/// A line that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    error: ProtocolError,
    quiet: bool,
    swallow: usize,
}

impl Refusal {
    /// Refused, and `noreply` swallows the error.
    fn unless(quiet: bool, error: ProtocolError) -> Self {
        Self { error, quiet, swallow: 0 }
    }

    /// Refused together with the `swallow` bytes behind the line.
    pub(super) fn with_data(error: ProtocolError, swallow: usize) -> Self {
        Self { error, quiet: false, swallow }
    }
}

impl From<ProtocolError> for Refusal {
    fn from(error: ProtocolError) -> Self {
        Self { error, quiet: false, swallow: 0 }
    }
}

/// The line at the front of `input` as a command is read from it; nothing if there is none.
pub(crate) fn line_of(input: &[u8]) -> &[u8] {
    line::take(input).ok().flatten().map_or(b"", |(line, _)| line)
}

/// Reads one command line, ASCII or meta.
pub(super) fn parse_head(input: &[u8]) -> Head<'_> {
    let (line, consumed) = match line::take(input) {
        Ok(Some(taken)) => taken,
        Ok(None) => return Head::Incomplete,
        Err(error) => {
            return Head::Invalid(Invalid { error, quiet: false, consumed: input.len(), swallow: 0 });
        }
    };
    match parse_line(line) {
        Ok((request, block)) => Head::Complete { request, consumed, block },
        Err(Refusal { error, quiet, swallow }) => Head::Invalid(Invalid { error, quiet, consumed, swallow }),
    }
}

fn parse_line(line: &[u8]) -> Parsed<'_> {
    let (verb, rest) = next_token(line).ok_or(ProtocolError::UnknownCommand)?;
    match verb {
        b"get" | b"bget" => retrieval::get(Verb::Get, rest),
        b"gets" => retrieval::get(Verb::Gets, rest),
        b"gat" => retrieval::get_and_touch(Verb::Gat, rest),
        b"gats" => retrieval::get_and_touch(Verb::Gats, rest),
        b"set" => storage::store(Verb::Set, rest),
        b"add" => storage::store(Verb::Add, rest),
        b"replace" => storage::store(Verb::Replace, rest),
        b"append" => storage::store(Verb::Append, rest),
        b"prepend" => storage::store(Verb::Prepend, rest),
        b"cas" => storage::store(Verb::Cas, rest),
        b"incr" => counters::count(Verb::Incr, rest),
        b"decr" => counters::count(Verb::Decr, rest),
        b"touch" => touch::touch(rest),
        b"delete" => deletion::delete(rest),
        b"flush_all" => keyless::flush_all(rest),
        b"verbosity" => keyless::verbosity(rest),
        b"stats" => keyless::bare(Verb::Stats),
        b"version" => keyless::bare(Verb::Version),
        b"quit" => keyless::bare(Verb::Quit),
        b"mg" => meta::get(rest),
        b"ms" => meta::set(rest),
        b"md" => meta::delete(rest),
        b"ma" => meta::arithmetic(rest),
        b"me" => meta::debug(rest),
        b"mn" => meta::noop(),
        _ => Err(ProtocolError::UnknownCommand.into()),
    }
}

fn request(verb: Verb) -> Request<'static> {
    Request::new(verb, Dialect::Ascii)
}

/// Checks the length of a key.
fn key(token: &[u8], quiet: bool) -> Result<&[u8], Refusal> {
    if token.len() > MAX_KEY_LEN {
        return Err(Refusal::unless(quiet, ProtocolError::BadFormat));
    }
    Ok(token)
}
