//! The binary protocol (`doc/protocol-binary.txt`): headers, opcodes, keys; replies.
//!
//! What memcached 1.6.18 makes of wrong lengths is kept where it is sound, with these differences:
//!
//! - The body of an unknown opcode is dropped once. memcached drops its extras and key twice, and so loses its place.
//! - `touch`, `gat` and `stat` with a value are refused. memcached reads the value as the next request.

mod header;
mod reply;
mod status;

pub use header::Header;
pub use reply::Reply;
pub use status::Status;

use super::{DataBlock, Dialect, Head, Invalid, Keys, MAX_KEY_LEN, ProtocolError, Request, Verb};

/// The first byte of every request.
pub const MAGIC_REQUEST: u8 = 0x80;
/// The first byte of every reply.
pub const MAGIC_RESPONSE: u8 = 0x81;
/// Bytes of a header.
pub const HEADER_LEN: usize = 24;
/// The expiry with which `incr` and `decr` do not create a missing item.
const DO_NOT_CREATE: u32 = u32::MAX;

/// What an opcode means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// What is asked for.
    pub verb: Verb,
    /// The quiet form.
    pub quiet: bool,
    /// The reply repeats the key (`getk`, `gatk`).
    pub returns_key: bool,
}

/// What `opcode` means; `None` if memcached does not know it.
pub fn command(opcode: u8) -> Option<Command> {
    let (verb, quiet) = match opcode {
        0x00 | 0x0c => (Verb::Get, false),
        0x09 | 0x0d => (Verb::Get, true),
        0x01 => (Verb::Set, false),
        0x02 => (Verb::Add, false),
        0x03 => (Verb::Replace, false),
        0x04 => (Verb::Delete, false),
        0x05 => (Verb::Incr, false),
        0x06 => (Verb::Decr, false),
        0x07 => (Verb::Quit, false),
        0x08 => (Verb::FlushAll, false),
        0x0a => (Verb::Noop, false),
        0x0b => (Verb::Version, false),
        0x0e => (Verb::Append, false),
        0x0f => (Verb::Prepend, false),
        0x10 => (Verb::Stats, false),
        0x11 => (Verb::Set, true),
        0x12 => (Verb::Add, true),
        0x13 => (Verb::Replace, true),
        0x14 => (Verb::Delete, true),
        0x15 => (Verb::Incr, true),
        0x16 => (Verb::Decr, true),
        0x17 => (Verb::Quit, true),
        0x18 => (Verb::FlushAll, true),
        0x19 => (Verb::Append, true),
        0x1a => (Verb::Prepend, true),
        0x1c => (Verb::Touch, false),
        0x1d | 0x23 => (Verb::Gat, false),
        0x1e | 0x24 => (Verb::Gat, true),
        0x20..=0x22 => (Verb::Sasl, false),
        _ => return None,
    };
    let returns_key = matches!(opcode, 0x0c | 0x0d | 0x23 | 0x24);
    Some(Command { verb, quiet, returns_key })
}

/// Reads header, extras and key of one request.
pub(super) fn parse_head(input: &[u8]) -> Head<'_> {
    if input.first().is_some_and(|&magic| magic != MAGIC_REQUEST) {
        return refuse(ProtocolError::BinaryMagic, input.len(), 0);
    }
    let Some(header) = Header::parse(input) else { return Head::Incomplete };
    let body_len = header.body_len as usize;
    let consumed = HEADER_LEN + header.prefix_len();
    // Wrong or not: memcached waits for extras and key. A client that still sends would not get to read the error.
    let Some(prefix) = input.get(HEADER_LEN..consumed) else { return Head::Incomplete };
    let Some(value_len) = body_len.checked_sub(header.prefix_len()) else {
        return refuse(ProtocolError::BinaryLengths, input.len(), 0);
    };
    let Some(command) = command(header.opcode) else {
        return refuse(ProtocolError::BinaryUnknown, consumed, value_len);
    };
    if usize::from(header.key_len) > MAX_KEY_LEN || !lengths_fit(command.verb, header, value_len) {
        return refuse(ProtocolError::BinaryArguments, input.len(), 0);
    }
    let (extras, key) = prefix.split_at(header.extras_len.into());
    let request = request(command, header, extras, key);
    let block = carries_value(command.verb).then_some(DataBlock { value_len, terminated: false });
    Head::Complete { request, consumed, block }
}

fn refuse(error: ProtocolError, consumed: usize, swallow: usize) -> Head<'static> {
    Head::Invalid(Invalid { error, quiet: false, consumed, swallow })
}

fn carries_value(verb: Verb) -> bool {
    matches!(verb, Verb::Set | Verb::Add | Verb::Replace | Verb::Append | Verb::Prepend | Verb::Sasl)
}

/// memcached's checks of each command's lengths, and that nothing follows where it would be read as a request.
fn lengths_fit(verb: Verb, header: Header, value_len: usize) -> bool {
    let (extras, key) = (header.extras_len, header.key_len > 0);
    match verb {
        Verb::Get | Verb::Delete => extras == 0 && key && value_len == 0,
        Verb::Set | Verb::Add | Verb::Replace => extras == 8 && key,
        Verb::Append | Verb::Prepend => extras == 0 && key,
        Verb::Incr | Verb::Decr => extras == 20 && key && value_len == 0,
        Verb::Touch | Verb::Gat => extras == 4 && key && value_len == 0,
        Verb::FlushAll => (extras == 0 || extras == 4) && !key && value_len == 0,
        Verb::Stats => extras == 0 && value_len == 0,
        Verb::Sasl if header.opcode == 0x20 => extras == 0 && !key && value_len == 0,
        Verb::Sasl => extras == 0 && key,
        _ => extras == 0 && !key && value_len == 0,
    }
}

fn request<'a>(command: Command, header: Header, extras: &'a [u8], key: &'a [u8]) -> Request<'a> {
    let dialect = Dialect::Binary { opcode: header.opcode, opaque: header.opaque };
    let mut request = Request::new(command.verb, dialect);
    request.quiet = command.quiet;
    request.cas = (header.cas != 0).then_some(header.cas);
    match command.verb {
        Verb::Stats | Verb::Sasl => request.value = key,
        _ if key.is_empty() => {}
        _ => request.keys = Keys::Wire(key),
    }
    match *extras {
        // Set, add, replace: flags, expiry.
        [f0, f1, f2, f3, e0, e1, e2, e3] => {
            request.flags = u32::from_be_bytes([f0, f1, f2, f3]);
            request.exptime = u32::from_be_bytes([e0, e1, e2, e3]).into();
        }
        // Touch, get and touch, flush: expiry.
        [e0, e1, e2, e3] => request.exptime = u32::from_be_bytes([e0, e1, e2, e3]).into(),
        // Increment, decrement: delta, initial value, expiry.
        [ref delta @ .., e0, e1, e2, e3] if delta.len() == 16 => {
            let expiry = u32::from_be_bytes([e0, e1, e2, e3]);
            let number =
                |at: usize| delta[at..at + 8].iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
            request.delta = number(0);
            request.initial = (expiry != DO_NOT_CREATE).then_some(number(8));
            request.exptime = expiry.into();
        }
        _ => {}
    }
    request
}
