//! Streams of binary requests.
//!
//! Left out is what memcached 1.6.18 loses its place at: an unknown opcode with a body, and `touch`, `gat` or `stat` with
//! a value.

use memcached_bridge::protocol::binary::{Header, MAGIC_REQUEST};

use super::filler;
use super::random::Random;

/// The reply to the no-op that ends a stream.
pub const LAST_REPLY: &[u8] = b"\x81\x0a\0\0\0\0\0\0\0\0\0\0LAST\0\0\0\0\0\0\0\0";
const LAST_REQUEST: &[u8] = b"\x80\x0a\0\0\0\0\0\0\0\0\0\0LAST\0\0\0\0\0\0\0\0";

const NOOP: u8 = 0x0a;
const GETS: &[u8] = &[0x00, 0x09, 0x0c, 0x0d];
const TOUCHES: &[u8] = &[0x1c, 0x1d, 0x1e, 0x23, 0x24];
const STORES: &[u8] = &[0x01, 0x01, 0x01, 0x02, 0x03, 0x11, 0x11, 0x12, 0x13];
const CONCATENATIONS: &[u8] = &[0x0e, 0x0f, 0x19, 0x1a];
const COUNTS: &[u8] = &[0x05, 0x06, 0x15, 0x16];
const DELETES: &[u8] = &[0x04, 0x14];
const FLUSHES: &[u8] = &[0x08, 0x18];
const UNKNOWN: &[u8] = &[0x1b, 0x1f, 0x25, 0x30, 0x42, 0x7f, 0xff];

const KEYS: &[&[u8]] = &[b"a", b"b", b"counter", b"n", b"with space", b"\0\r\n\xff"];
/// Stored in several chunks by memcached, which does not count in such items.
const BIG: &[u8] = b"big";
/// memcached reads on behind a value that is white space alone, and behind a number of 64 bits, where a minus sign that
/// some older item has left there makes it no number. So there are none of the former, and no minus signs.
const VALUES: &[&[u8]] = &[
    b"",
    b"0",
    b"1",
    b"9",
    b"10",
    b"99",
    b"18446744073709551615",
    b"12 ",
    b" 7",
    b"+5",
    b"x",
    b"hello",
    b"\r\nx",
    b"\x80\0\0\0",
];

/// Makes streams.
pub struct Generator<'a> {
    pub random: &'a mut Random,
    pub unix: u64,
}

/// What a request is made of.
#[derive(Default)]
struct Parts<'a> {
    cas: u64,
    extras: &'a [u8],
    key: &'a [u8],
    value: &'a [u8],
}

impl Generator<'_> {
    pub fn stream(&mut self) -> Vec<u8> {
        let mut stream = Vec::new();
        for _ in 0..1 + self.random.below(40) {
            self.command(&mut stream);
        }
        // Nothing follows what closes the connection: what memcached has not read takes its last replies along.
        match self.random.below(20) {
            0 => self.request(&mut stream, 0x07, Parts::default()),
            1 => self.request(&mut stream, 0x17, Parts::default()),
            2 | 3 => self.wrong_lengths(&mut stream),
            4 => {
                // memcached forgets the replies that it has not sent yet.
                self.request(&mut stream, NOOP, Parts::default());
                stream.extend_from_slice(b"get this is not a binary request\r\n");
            }
            _ => stream.extend_from_slice(LAST_REQUEST),
        }
        stream
    }

    /// Appends one command, and what has to precede it.
    pub fn command(&mut self, out: &mut Vec<u8>) {
        match self.random.below(20) {
            0..6 => self.store(out),
            6..10 => {
                let (opcode, key) = (self.random.pick(GETS), self.read_key());
                self.request(out, opcode, Parts { key: &key, ..Parts::default() });
            }
            10 | 11 => {
                let (opcode, key, extras) = (self.random.pick(TOUCHES), self.read_key(), self.expiry());
                self.request(out, opcode, Parts { key: &key, extras: &extras, ..Parts::default() });
            }
            12 | 13 => self.concatenate(out),
            14 | 15 => self.count(out),
            16 => {
                let (opcode, key, cas) = (self.random.pick(DELETES), self.read_key(), self.cas());
                self.request(out, opcode, Parts { key: &key, cas, ..Parts::default() });
            }
            17 if self.random.one_in(3) => {
                let opcode = self.random.pick(FLUSHES);
                let extras: &[u8] = if self.random.one_in(2) { &[0; 4] } else { &[] };
                self.request(out, opcode, Parts { extras, ..Parts::default() });
            }
            18 => self.statistics(out),
            _ => self.keyless(out),
        }
    }

    fn store(&mut self, out: &mut Vec<u8>) {
        let opcode = self.random.pick(STORES);
        let (key, value) = self.item();
        let flags: [u8; 4] =
            if self.random.one_in(4) { [1, 2, 3, self.random.below(40) as u8] } else { [0; 4] };
        let extras = [flags, self.expiry()].concat();
        let cas = self.cas();
        self.request(out, opcode, Parts { cas, extras: &extras, key: &key, value: &value });
    }

    fn concatenate(&mut self, out: &mut Vec<u8>) {
        let opcode = self.random.pick(CONCATENATIONS);
        let (key, value) = self.item();
        let cas = self.cas();
        self.request(out, opcode, Parts { cas, key: &key, value: &value, ..Parts::default() });
    }

    fn count(&mut self, out: &mut Vec<u8>) {
        // memcached does not count in place while an earlier reply with the item waits to be sent. The no-op makes it
        // leave; a proxy keeps that for itself, and the second request makes it leave under `-R 1`.
        self.request(out, NOOP, Parts::default());
        self.request(out, 0x1c, Parts { key: b"settled", extras: &[0; 4], ..Parts::default() });
        let opcode = self.random.pick(COUNTS);
        let (key, cas) = (self.key(), self.cas());
        let number = |random: &mut Random| random.pick(&[0, 1, 5, 100, u64::MAX]).to_be_bytes();
        let (delta, initial) = (number(self.random), number(self.random));
        let expiry = if self.random.one_in(3) { [0xff; 4] } else { self.expiry() };
        let extras = [&delta[..], &initial, &expiry].concat();
        self.request(out, opcode, Parts { cas, extras: &extras, key: &key, ..Parts::default() });
    }

    fn statistics(&mut self, out: &mut Vec<u8>) {
        let names: [&[u8]; 8] = [
            b"reset",
            b"resetting",
            b"sizes",
            b"conns",
            b"nonsense",
            b"detail",
            b"detail off",
            b"detail dump",
        ];
        let key = self.random.pick(&names);
        self.request(out, 0x10, Parts { key, ..Parts::default() });
    }

    fn keyless(&mut self, out: &mut Vec<u8>) {
        let unknown = self.random.pick(UNKNOWN);
        match self.random.below(6) {
            0 => self.request(out, 0x0b, Parts::default()),
            1 => self.request(out, 0x20, Parts::default()),
            2 => {
                let opcode = self.random.pick(&[0x21, 0x22]);
                self.request(
                    out,
                    opcode,
                    Parts { key: b"PLAIN", value: b"\0user\0password", ..Parts::default() },
                );
            }
            3 => self.request(out, unknown, Parts::default()),
            _ => self.request(out, NOOP, Parts::default()),
        }
    }

    /// A request that memcached does not read on from.
    fn wrong_lengths(&mut self, out: &mut Vec<u8>) {
        let start = out.len();
        let parts = [
            (0x00, Parts::default()),
            (0x0c, Parts { key: b"k", extras: &[0; 4], ..Parts::default() }),
            (0x09, Parts { key: &[b'k'; 251], ..Parts::default() }),
            (0x01, Parts { key: b"k", extras: &[0; 7], ..Parts::default() }),
            (0x12, Parts { extras: &[0; 8], ..Parts::default() }),
            (0x0e, Parts { key: b"k", extras: &[0; 8], ..Parts::default() }),
            (0x05, Parts { key: b"k", extras: &[0; 8], ..Parts::default() }),
            (0x16, Parts { extras: &[0; 20], ..Parts::default() }),
            (0x04, Parts { key: b"k", extras: &[0], ..Parts::default() }),
            (0x08, Parts { extras: &[0; 3], ..Parts::default() }),
            (0x18, Parts { key: b"k", ..Parts::default() }),
            (NOOP, Parts { key: b"k", ..Parts::default() }),
            (0x0b, Parts { extras: &[0; 4], ..Parts::default() }),
            (0x10, Parts { key: b"items", extras: &[0; 4], ..Parts::default() }),
            (0x1c, Parts { key: b"k", ..Parts::default() }),
            (0x24, Parts { extras: &[0; 4], ..Parts::default() }),
            (0x20, Parts { key: b"k", ..Parts::default() }),
            (0x21, Parts::default()),
            (0x17, Parts { key: b"k", ..Parts::default() }),
        ];
        let index = self.random.below(parts.len() + 1);
        match parts.into_iter().nth(index) {
            Some((opcode, parts)) => self.request(out, opcode, parts),
            None => {
                self.request(out, 0x01, Parts { key: b"k", extras: &[0; 8], ..Parts::default() });
                // The body is said to be shorter than extras and key.
                out[start + 11] = 8;
            }
        }
    }

    fn request(&mut self, out: &mut Vec<u8>, opcode: u8, parts: Parts<'_>) {
        let header = Header {
            magic: MAGIC_REQUEST,
            opcode,
            key_len: parts.key.len() as u16,
            extras_len: parts.extras.len() as u8,
            // Reserved, and not looked at.
            data_type: self.random.below(2) as u8,
            status: self.random.below(3) as u16,
            body_len: (parts.extras.len() + parts.key.len() + parts.value.len()) as u32,
            opaque: self.random.below(1 << 30) as u32,
            cas: parts.cas,
        };
        out.extend_from_slice(&header.to_bytes());
        out.extend_from_slice(parts.extras);
        out.extend_from_slice(parts.key);
        out.extend_from_slice(parts.value);
    }

    fn key(&mut self) -> Vec<u8> {
        if self.random.one_in(40) {
            vec![b'k'; 249 + self.random.below(2)]
        } else {
            self.random.pick(KEYS).to_vec()
        }
    }

    fn read_key(&mut self) -> Vec<u8> {
        if self.random.one_in(10) { BIG.to_vec() } else { self.key() }
    }

    fn item(&mut self) -> (Vec<u8>, Vec<u8>) {
        if self.random.one_in(40) {
            return (BIG.to_vec(), filler(1_048_400 + self.random.below(200)));
        }
        let value = match self.random.below(40) {
            0 => filler(70_000),
            1..7 => filler(self.random.below(4000)),
            _ => self.random.pick(VALUES).to_vec(),
        };
        (self.key(), value)
    }

    fn cas(&mut self) -> u64 {
        if self.random.one_in(6) { self.random.below(300) as u64 } else { 0 }
    }

    fn expiry(&mut self) -> [u8; 4] {
        let seconds = match self.random.below(6) {
            0 => 1000,
            1 => (self.unix + 1000) as u32,
            2 => 3_000_000,
            _ => 0,
        };
        seconds.to_be_bytes()
    }
}
