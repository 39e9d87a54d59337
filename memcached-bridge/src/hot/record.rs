//! A record of the hot table: a header, and the reply to a `get` of its key, rendered when it is installed.

use fabric::packet::checksum::Sum;
use fabric::time::Nanos;

use crate::coherence::Stamp;

/// Records begin and end at multiples of this.
pub(super) const UNIT: usize = 16;
pub(super) const HEADER: usize = 80;
const END: &[u8] = b"END\r\n";
const VALUE: &[u8] = b"VALUE ";
const LINE_END: &[u8] = b"\r\n";
/// Bytes of a reply that are neither its first line nor its value.
const AROUND_VALUE: usize = 2 * LINE_END.len() + END.len();
const MAX_KEY: usize = 250;

/// The greatest frequency: two bits, as in S3-FIFO.
pub(super) const MAX_FREQUENCY: u8 = 3;

/// A value to install.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// 1 to 250 bytes.
    pub key: &'a [u8],
    /// The flags clients store with it.
    pub flags: u32,
    /// Its CAS unique.
    pub cas: u64,
    /// Its bytes.
    pub value: &'a [u8],
    /// When the request that fetched it was sent.
    pub installed: Nanos,
    /// From when on it must not be answered any more.
    pub expires: Nanos,
    /// The epochs it was fetched under.
    pub stamp: Stamp,
}

/// What an eviction policy and a replacement keep of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) frequency: u8,
    pub(super) hits: u32,
}

/// How long the parts of a record are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    flags: Decimal,
    length: Decimal,
    line: u16,
    reply: u32,
}

impl Shape {
    /// `None` if the key is none, or the record longer than 1 MiB.
    pub(super) fn of(item: &Item<'_>) -> Option<Shape> {
        if item.key.is_empty() || item.key.len() > MAX_KEY {
            return None;
        }
        let (flags, length) = (Decimal::of(u64::from(item.flags)), Decimal::of(item.value.len() as u64));
        let line = VALUE.len() + item.key.len() + 1 + flags.bytes().len() + 1 + length.bytes().len();
        let reply = line + AROUND_VALUE + item.value.len();
        let fits = (HEADER + reply).div_ceil(UNIT) <= usize::from(u16::MAX);
        fits.then_some(Shape { flags, length, line: line as u16, reply: reply as u32 })
    }

    pub(super) fn units(&self) -> usize {
        (HEADER + self.reply as usize).div_ceil(UNIT)
    }
}

/// The header's fields in their order. Little-endian.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) hash: u64,
    pub(super) expires: Nanos,
    pub(super) installed: Nanos,
    pub(super) refresh_not_before: Nanos,
    pub(super) cas: u64,
    pub(super) stamp: Stamp,
    pub(super) hits: u32,
    pub(super) flags: u32,
    pub(super) units: u16,
    pub(super) reply_len: u32,
    pub(super) line_len: u16,
    get_sum: u16,
    line_sum: u16,
    value_sum: u16,
    pub(super) key_len: u8,
    pub(super) frequency: u8,
}

const REFRESH_AT: usize = 24;
const HITS_AT: usize = 56;
const FREQUENCY_AT: usize = 79;

#[inline]
fn u64_at(bytes: &[u8; HEADER], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[inline]
fn u32_at(bytes: &[u8; HEADER], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

#[inline]
fn u16_at(bytes: &[u8; HEADER], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

impl Header {
    /// Fields the caller does not use are not loaded: this is inlined.
    #[inline]
    pub(super) fn read(bytes: &[u8; HEADER]) -> Header {
        Header {
            hash: u64_at(bytes, 0),
            expires: Nanos(u64_at(bytes, 8)),
            installed: Nanos(u64_at(bytes, 16)),
            refresh_not_before: Nanos(u64_at(bytes, REFRESH_AT)),
            cas: u64_at(bytes, 32),
            stamp: Stamp { bucket_epoch: u64_at(bytes, 40), pool_epoch: u64_at(bytes, 48) },
            hits: u32_at(bytes, HITS_AT),
            flags: u32_at(bytes, 60),
            units: u16_at(bytes, 64),
            reply_len: u32_at(bytes, 66),
            line_len: u16_at(bytes, 70),
            get_sum: u16_at(bytes, 72),
            line_sum: u16_at(bytes, 74),
            value_sum: u16_at(bytes, 76),
            key_len: bytes[78],
            frequency: bytes[FREQUENCY_AT],
        }
    }

    fn write(&self, bytes: &mut [u8; HEADER]) {
        let words = [
            self.hash,
            self.expires.0,
            self.installed.0,
            self.refresh_not_before.0,
            self.cas,
            self.stamp.bucket_epoch,
            self.stamp.pool_epoch,
        ];
        for (at, word) in bytes.chunks_exact_mut(8).zip(words) {
            at.copy_from_slice(&word.to_le_bytes());
        }
        bytes[HITS_AT..60].copy_from_slice(&self.hits.to_le_bytes());
        bytes[60..64].copy_from_slice(&self.flags.to_le_bytes());
        bytes[64..66].copy_from_slice(&self.units.to_le_bytes());
        bytes[66..70].copy_from_slice(&self.reply_len.to_le_bytes());
        let halves = [self.line_len, self.get_sum, self.line_sum, self.value_sum];
        for (at, half) in bytes[70..78].chunks_exact_mut(2).zip(halves) {
            at.copy_from_slice(&half.to_le_bytes());
        }
        bytes[78] = self.key_len;
        bytes[FREQUENCY_AT] = self.frequency;
    }
}

impl Header {
    /// Bytes of the value: what the reply has besides its line, the ends of lines and `END`.
    #[inline]
    pub(super) fn value_len(&self) -> usize {
        self.reply_len as usize - usize::from(self.line_len) - AROUND_VALUE
    }
}

/// Counts one more hit.
#[inline]
pub(super) fn touch(header: &mut [u8; HEADER]) {
    let hits = u32_at(header, HITS_AT).saturating_add(1);
    header[HITS_AT..HITS_AT + 4].copy_from_slice(&hits.to_le_bytes());
    header[FREQUENCY_AT] = (header[FREQUENCY_AT] + 1).min(MAX_FREQUENCY);
}

pub(super) fn set_frequency(header: &mut [u8; HEADER], frequency: u8) {
    header[FREQUENCY_AT] = frequency;
}

pub(super) fn set_refresh_not_before(header: &mut [u8; HEADER], time: Nanos) {
    header[REFRESH_AT..REFRESH_AT + 8].copy_from_slice(&time.0.to_le_bytes());
}

/// The key of the record whose reply is `reply`.
#[inline]
pub(super) fn key(reply: &[u8], key_len: u8) -> &[u8] {
    &reply[VALUE.len()..VALUE.len() + usize::from(key_len)]
}

/// Renders the record of `item` into `record`, which has room for its shape.
pub(super) fn render(record: &mut [u8], hash: u64, item: &Item<'_>, shape: &Shape, usage: Usage) {
    let (head, body) = record.split_at_mut(HEADER);
    let reply = &mut body[..shape.reply as usize];
    let line_len = usize::from(shape.line);
    write_parts(
        reply,
        &[
            VALUE,
            item.key,
            b" ",
            shape.flags.bytes(),
            b" ",
            shape.length.bytes(),
            LINE_END,
            item.value,
            LINE_END,
            END,
        ],
    );
    let header = Header {
        hash,
        expires: item.expires,
        installed: item.installed,
        refresh_not_before: Nanos(0),
        cas: item.cas,
        stamp: item.stamp,
        hits: usage.hits,
        flags: item.flags,
        units: shape.units() as u16,
        reply_len: shape.reply,
        line_len: shape.line,
        get_sum: Sum::of(reply).value(),
        line_sum: Sum::of(&reply[..line_len]).value(),
        value_sum: Sum::of(item.value).value(),
        key_len: item.key.len() as u8,
        frequency: usage.frequency,
    };
    if let Some(head) = head.first_chunk_mut() {
        header.write(head);
    }
}

fn write_parts(mut out: &mut [u8], parts: &[&[u8]]) {
    for part in parts {
        let (here, rest) = out.split_at_mut(part.len());
        here.copy_from_slice(part);
        out = rest;
    }
}

/// Whether two keys are the same, eight bytes at a time: most are too short to be worth a call of `memcmp`.
#[inline]
pub(super) fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let ((eights, rest), (others, other_rest)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
    let differing = eights.iter().zip(others).fold(0, |differing, (one, other)| {
        differing | (u64::from_ne_bytes(*one) ^ u64::from_ne_bytes(*other))
    });
    differing == 0 && rest.iter().zip(other_rest).all(|(one, other)| one == other)
}

/// A value found in the hot table. Whether it may be answered is for the caller to say: see
/// [`expires`](Hit::expires) and [`stamp`](Hit::stamp).
#[derive(Clone, Copy, Debug)]
pub struct Hit<'a> {
    header: &'a [u8; HEADER],
    reply: &'a [u8],
}

impl<'a> Hit<'a> {
    #[inline]
    pub(super) fn new(header: &'a [u8; HEADER], reply: &'a [u8]) -> Self {
        Self { header, reply }
    }

    /// From when on it must not be answered any more.
    #[inline]
    pub fn expires(&self) -> Nanos {
        Header::read(self.header).expires
    }

    /// When the request that fetched it was sent.
    pub fn installed(&self) -> Nanos {
        Header::read(self.header).installed
    }

    /// The epochs it was fetched under.
    #[inline]
    pub fn stamp(&self) -> Stamp {
        Header::read(self.header).stamp
    }

    /// Before this another refresh is not to be sent, since one is under way.
    #[inline]
    pub fn refresh_not_before(&self) -> Nanos {
        Header::read(self.header).refresh_not_before
    }

    /// The whole reply to a `get` of this key alone: `VALUE <key> <flags> <bytes>\r\n<data>\r\nEND\r\n`.
    #[inline]
    pub fn get_reply(&self) -> &'a [u8] {
        self.reply
    }

    /// The same without `END\r\n`: one value of a reply to several keys.
    pub fn get_entry(&self) -> &'a [u8] {
        &self.reply[..self.reply.len() - END.len()]
    }

    /// Bytes of the reply to a `get` or, with CAS, a `gets` of this key alone.
    #[inline]
    pub fn reply_len(&self, with_cas: bool) -> usize {
        match with_cas {
            false => self.reply.len(),
            true => self.reply.len() + 1 + Decimal::of(self.cas()).bytes().len(),
        }
    }

    /// Writes the reply to a `get` to the front of `out`. Returns its length, or 0 if `out` is too short for it.
    #[inline]
    pub fn write_get(&self, out: &mut [u8]) -> usize {
        let Some(out) = out.get_mut(..self.reply.len()) else { return 0 };
        out.copy_from_slice(self.reply);
        self.reply.len()
    }

    /// Writes the reply to a `gets`, which has the CAS unique behind the length. Returns its length, or 0 if
    /// `out` is too short for it.
    pub fn write_gets(&self, out: &mut [u8]) -> usize {
        let cas = Decimal::of(self.cas());
        let len = self.reply.len() + 1 + cas.bytes().len();
        let Some(out) = out.get_mut(..len) else { return 0 };
        let (line, tail) = self.reply.split_at(usize::from(Header::read(self.header).line_len));
        write_parts(out, &[line, b" ", cas.bytes(), tail]);
        len
    }

    /// The checksum of the bytes [`write_get`](Hit::write_get) writes, in constant time.
    #[inline]
    pub fn get_sum(&self) -> Sum {
        Sum::of_run(Header::read(self.header).get_sum, self.reply.len())
    }

    /// The checksum of the bytes [`write_gets`](Hit::write_gets) writes, without a look at the value.
    pub fn gets_sum(&self) -> Sum {
        let header = Header::read(self.header);
        Sum::of_run(header.line_sum, usize::from(header.line_len))
            .then_bytes(b" ")
            .then_bytes(Decimal::of(header.cas).bytes())
            .then_bytes(LINE_END)
            .then(self.value_sum())
            .then_bytes(LINE_END)
            .then_bytes(END)
    }

    /// The checksum of the value's bytes alone.
    pub fn value_sum(&self) -> Sum {
        let header = Header::read(self.header);
        Sum::of_run(header.value_sum, header.value_len())
    }

    /// The key.
    pub fn key(&self) -> &'a [u8] {
        key(self.reply, Header::read(self.header).key_len)
    }

    /// The value's bytes.
    pub fn value(&self) -> &'a [u8] {
        let header = Header::read(self.header);
        let start = usize::from(header.line_len) + LINE_END.len();
        &self.reply[start..start + header.value_len()]
    }

    /// The flags clients stored with it.
    pub fn flags(&self) -> u32 {
        Header::read(self.header).flags
    }

    /// Its CAS unique.
    pub fn cas(&self) -> u64 {
        Header::read(self.header).cas
    }

    /// Hits of the key since it was first installed, this one included.
    pub fn hits(&self) -> u32 {
        Header::read(self.header).hits
    }
}

/// A number in decimal, without allocation.
#[derive(Clone, Copy, Debug)]
struct Decimal {
    digits: [u8; 20],
    start: u8,
}

impl Decimal {
    fn of(mut number: u64) -> Self {
        let mut digits = [0; 20];
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return Self { digits, start: start as u8 };
            }
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.digits[usize::from(self.start)..]
    }
}
