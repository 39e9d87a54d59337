//! Requests and replies to bytes, into memory that the caller has.

use super::{Dialect, ProtocolError, Request, Verb, base64};

/// Where bytes go.
pub trait Sink {
    /// Appends `bytes`.
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// A sink of fixed size: what does not fit is not written, and [`finish`](Fixed::finish) says so.
#[derive(Debug)]
pub struct Fixed<'a> {
    buffer: &'a mut [u8],
    len: usize,
    fits: bool,
}

impl<'a> Fixed<'a> {
    /// An empty sink over `buffer`.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, len: 0, fits: true }
    }

    /// How many bytes were written; `None` if some did not fit.
    pub fn finish(self) -> Option<usize> {
        self.fits.then_some(self.len)
    }
}

impl Sink for Fixed<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        match self.buffer.get_mut(self.len..end) {
            Some(room) if self.fits => {
                room.copy_from_slice(bytes);
                self.len = end;
            }
            _ => self.fits = false,
        }
    }
}

/// Decimal digits of `number`.
pub fn decimal(out: &mut impl Sink, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.put(&digits[at..]);
}

/// `VALUE <key> <flags> <bytes> [<cas>]\r\n`
pub fn value_header(out: &mut impl Sink, key: &[u8], flags: u32, len: usize, cas: Option<u64>) {
    out.put(b"VALUE ");
    out.put(key);
    field(out, flags.into());
    field(out, len as u64);
    if let Some(cas) = cas {
        field(out, cas);
    }
    out.put(b"\r\n");
}

/// A whole item of a reply to `get` (`cas` is `None`) or `gets`.
pub fn value(out: &mut impl Sink, key: &[u8], flags: u32, data: &[u8], cas: Option<u64>) {
    value_header(out, key, flags, data.len(), cas);
    out.put(data);
    out.put(b"\r\n");
}

/// The last line of a reply to `get` or `gets`.
pub fn end(out: &mut impl Sink) {
    out.put(b"END\r\n");
}

/// The reply line of `error`. Writes nothing if memcached closes the connection without one.
pub fn error(out: &mut impl Sink, error: ProtocolError) {
    if let Some(reply) = error.reply() {
        out.put(reply.as_bytes());
        out.put(b"\r\n");
    }
}

/// What the node asks to fill its cache: `mg <key> v f c t\r\n`, with a base64 key if the key has bytes that a
/// line cannot have. A key of more than 187 such bytes (binary only) has no text form; the server refuses it.
pub fn meta_get(out: &mut impl Sink, key: &[u8]) {
    out.put(b"mg ");
    if is_plain(key) {
        out.put(key);
        out.put(b" v f c t\r\n");
    } else {
        base64::encode(key, |group| out.put(group));
        out.put(b" v f c t b\r\n");
    }
}

/// What gives a recache token back that the node has won: `md <key> I C<cas>\r\n` marks the item stale again if it is still the
/// one with this CAS, and so the next client that asks wins.
pub fn mark_stale(out: &mut impl Sink, key: &[u8], cas: u64) {
    out.put(b"md ");
    let plain = is_plain(key);
    match plain {
        true => out.put(key),
        false => base64::encode(key, |group| out.put(group)),
    }
    out.put(b" I C");
    decimal(out, cas);
    out.put(if plain { b"\r\n" } else { b" b\r\n" });
}

/// Whether `key` can stand in a line as it is.
pub(crate) fn is_plain(key: &[u8]) -> bool {
    key.iter().all(|&byte| byte > b' ')
}

/// An ASCII or meta request with its value. Clear [`Request::quiet`] to ask for a reply to an ASCII request that
/// came with `noreply`. Returns whether there is a text form: not for binary requests.
pub fn request(out: &mut impl Sink, request: &Request<'_>) -> bool {
    match request.dialect {
        Dialect::Ascii => ascii(out, request),
        Dialect::Meta(flags) => meta(out, request, flags.as_bytes()),
        Dialect::Binary { .. } => return false,
    }
    true
}

fn ascii(out: &mut impl Sink, request: &Request<'_>) {
    out.put(request.verb.name().as_bytes());
    if matches!(request.verb, Verb::Gat | Verb::Gats) {
        signed(out, request.exptime);
    }
    for key in request.keys() {
        out.put(b" ");
        out.put(&key);
    }
    let stores = stores(request.verb);
    match request.verb {
        Verb::Incr | Verb::Decr | Verb::Verbosity => field(out, request.delta),
        Verb::Touch | Verb::FlushAll => signed(out, request.exptime),
        _ if stores => {
            field(out, request.flags.into());
            signed(out, request.exptime);
            field(out, request.value.len() as u64);
        }
        _ => {}
    }
    if request.verb == Verb::Cas {
        field(out, request.cas.unwrap_or(0));
    }
    if request.quiet {
        out.put(b" noreply");
    }
    out.put(b"\r\n");
    if stores {
        out.put(request.value);
        out.put(b"\r\n");
    }
}

fn meta(out: &mut impl Sink, request: &Request<'_>, flags: &[u8]) {
    out.put(request.verb.name().as_bytes());
    match request.keys {
        super::Keys::Wire(key) | super::Keys::Base64(key) => {
            out.put(b" ");
            out.put(key);
        }
        _ => {}
    }
    if request.verb == Verb::MetaSet {
        field(out, request.value.len() as u64);
    }
    if !flags.is_empty() {
        out.put(b" ");
        out.put(flags);
    }
    out.put(b"\r\n");
    if request.verb == Verb::MetaSet {
        out.put(request.value);
        out.put(b"\r\n");
    }
}

fn stores(verb: Verb) -> bool {
    matches!(verb, Verb::Set | Verb::Add | Verb::Replace | Verb::Append | Verb::Prepend | Verb::Cas)
}

fn field(out: &mut impl Sink, number: u64) {
    out.put(b" ");
    decimal(out, number);
}

pub(crate) fn signed(out: &mut impl Sink, number: i64) {
    out.put(if number < 0 { b" -" } else { b" " });
    decimal(out, number.unsigned_abs());
}
