//! The meta commands (`doc/protocol.txt`, "Meta Commands").
//!
//! A reply is a two-letter code, then one field for each flag that asks for one, in the order of the request. The
//! flags act in that order, too: `t` before `T` shows the old end.

use super::ascii::NON_NUMERIC;
use super::{Scene, key_of};
use crate::protocol::{Keys, MetaFlags, Request, Verb, base64, render};
use crate::store::arithmetic::{Count, Counted, NotCounted};
use crate::store::read::{Read, Seen};
use crate::store::remove::{Delete, Deleted};
use crate::store::write::{Mode, Stored, Write};
use crate::store::{Busy, Entry, Expiry, Now};

/// Answers a meta command.
pub(super) fn answer(
    request: &Request<'_>,
    flags: MetaFlags<'_>,
    scene: Scene<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Busy> {
    let Some(key) = request.key() else {
        out.extend_from_slice(b"MN\r\n");
        return Ok(());
    };
    let mut entry = scene.entry(&key)?;
    let call = Call { request, flags, now: scene.now };
    match request.verb {
        Verb::MetaGet => call.get(&mut entry, out),
        Verb::MetaSet => call.set(&mut entry, out),
        Verb::MetaDelete => call.delete(&mut entry, out),
        Verb::MetaArithmetic => call.arithmetic(&mut entry, out),
        Verb::MetaDebug => call.debug(&mut entry, out),
        _ => out.extend_from_slice(b"MN\r\n"),
    }
    Ok(())
}

struct Call<'a> {
    request: &'a Request<'a>,
    flags: MetaFlags<'a>,
    now: Now,
}

impl Call<'_> {
    fn get(&self, entry: &mut Entry<'_>, out: &mut Vec<u8>) {
        let expiry = |flag| self.expiry(flag);
        let read = Read {
            may_win: true,
            touch: expiry(b'T'),
            vivify: expiry(b'N'),
            refill: expiry(b'R'),
            untraced: self.flags.has(b'u'),
        };
        let hit = entry.read(read, |seen| self.hit(&seen, out));
        if hit.is_none() && !self.request.quiet {
            out.extend_from_slice(b"EN");
            self.echo(out);
            out.extend_from_slice(b"\r\n");
        }
    }

    fn hit(&self, seen: &Seen<'_>, out: &mut Vec<u8>) {
        let item = seen.item;
        self.success(item.value().len(), out);
        let mut expiry = seen.expiry_before;
        for (flag, argument) in self.flags.iter() {
            match flag {
                b'T' | b'N' => expiry = item.expiry,
                b's' => number(out, b's', item.value().len() as u64),
                b't' => self.remaining(expiry, out),
                b'c' => number(out, b'c', item.cas),
                b'f' => number(out, b'f', item.flags.into()),
                b'l' => number(out, b'l', seen.idle_seconds.into()),
                b'h' => number(out, b'h', seen.hit_before.into()),
                b'O' => opaque(out, argument),
                b'k' => key(out, item.key(), item.binary_key),
                _ => {}
            }
        }
        for (mark, is_set) in [(b" Z", seen.token_sent), (b" X", item.stale), (b" W", seen.won)] {
            if is_set {
                out.extend_from_slice(mark);
            }
        }
        out.extend_from_slice(b"\r\n");
        if self.flags.has(b'v') {
            out.extend_from_slice(item.value());
            out.extend_from_slice(b"\r\n");
        }
    }

    fn set(&self, entry: &mut Entry<'_>, out: &mut Vec<u8>) {
        let mode = match (self.flags.mode(), self.request.cas) {
            (Some(b'E'), _) => Mode::Add,
            (Some(b'A'), _) => Mode::Append,
            (Some(b'P'), _) => Mode::Prepend,
            (_, Some(_)) => Mode::Cas,
            (Some(b'R'), None) => Mode::Replace,
            (_, None) => Mode::Set,
        };
        let write = Write {
            mode,
            value: self.request.value,
            flags: self.request.flags,
            expiry: Expiry::from_wire(self.request.exptime, self.now),
            cas: self.request.cas.unwrap_or(0),
            accept_stale: self.flags.has(b'I'),
            binary_key: self.binary_key(),
        };
        let (code, cas): (&[u8], _) = match entry.write(write) {
            Stored::Stored(_) if self.request.quiet => return,
            Stored::Stored(cas) => (b"HD", cas),
            Stored::NotStored => (b"NS", 0),
            Stored::Exists => (b"EX", 0),
            Stored::NotFound => (b"NF", 0),
        };
        out.extend_from_slice(code);
        for (flag, argument) in self.flags.iter() {
            match flag {
                b'O' => opaque(out, argument),
                b'k' => key(out, &key_of(self.request), self.binary_key()),
                b'c' => number(out, b'c', cas),
                _ => {}
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    fn delete(&self, entry: &mut Entry<'_>, out: &mut Vec<u8>) {
        let delete =
            Delete { cas: self.request.cas, invalidate: self.flags.has(b'I'), touch: self.expiry(b'T') };
        let code: &[u8] = match entry.delete(delete) {
            Deleted::Deleted if self.request.quiet => return,
            Deleted::Deleted => b"HD",
            Deleted::NotFound => b"NF",
            Deleted::Exists => b"EX",
        };
        out.extend_from_slice(code);
        self.echo(out);
        out.extend_from_slice(b"\r\n");
    }

    fn arithmetic(&self, entry: &mut Entry<'_>, out: &mut Vec<u8>) {
        let vivify = self.expiry(b'N').map(|expiry| (self.request.initial.unwrap_or(0), expiry));
        let count = Count {
            up: !matches!(self.flags.mode(), Some(b'D' | b'-')),
            delta: self.request.delta,
            cas: self.request.cas.unwrap_or(0),
            vivify,
            touch: self.expiry(b'T'),
        };
        let code: &[u8] = match entry.count(count, |counted| self.counted(&counted, out)) {
            Ok(()) => return,
            Err(NotCounted::NonNumeric) => return out.extend_from_slice(NON_NUMERIC),
            Err(NotCounted::NotFound) => b"NF",
            Err(NotCounted::Exists) => b"EX",
        };
        out.extend_from_slice(code);
        self.echo(out);
        out.extend_from_slice(b"\r\n");
    }

    fn counted(&self, counted: &Counted<'_>, out: &mut Vec<u8>) {
        // A number that was created is no usual outcome, so `q` does not hide it.
        if self.request.quiet && !counted.created {
            return;
        }
        let item = counted.item;
        let mut expiry = counted.expiry_before;
        let mut digits = Vec::with_capacity(20);
        render::decimal(&mut digits, counted.number);
        self.success(digits.len(), out);
        for (flag, argument) in self.flags.iter() {
            match flag {
                b'T' | b'N' => expiry = item.expiry,
                b'c' => number(out, b'c', item.cas),
                b't' => self.remaining(expiry, out),
                b'O' => opaque(out, argument),
                b'k' => key(out, &key_of(self.request), self.binary_key()),
                _ => {}
            }
        }
        out.extend_from_slice(b"\r\n");
        if self.flags.has(b'v') {
            out.extend_from_slice(&digits);
            out.extend_from_slice(b"\r\n");
        }
    }

    fn debug(&self, entry: &mut Entry<'_>, out: &mut Vec<u8>) {
        let read = Read { untraced: true, ..Read::default() };
        let found = entry.read(read, |seen| {
            let item = seen.item;
            out.extend_from_slice(b"ME ");
            match item.binary_key {
                true => base64::encode(item.key(), |text| out.extend_from_slice(text)),
                false => out.extend_from_slice(item.key()),
            }
            // memcached shows how long ago it ends: a negative number.
            let expiry = item.expiry.remaining(self.now).map_or(-1, |seconds| -i64::from(seconds));
            let fetched = if item.fetched { "yes" } else { "no" };
            let (idle, cas, size) = (seen.idle_seconds, item.cas, item.measured());
            let line = format!(" exp={expiry} la={idle} cas={cas} fetch={fetched} cls=1 size={size}\r\n");
            out.extend_from_slice(line.as_bytes());
        });
        if found.is_none() {
            out.extend_from_slice(b"EN\r\n");
        }
        entry.count_meta();
    }

    /// `VA <length>` if the value is wanted, else `HD`.
    fn success(&self, value_len: usize, out: &mut Vec<u8>) {
        if !self.flags.has(b'v') {
            return out.extend_from_slice(b"HD");
        }
        out.extend_from_slice(b"VA ");
        render::decimal(out, value_len as u64);
    }

    /// The fields that every reply can have.
    fn echo(&self, out: &mut Vec<u8>) {
        for (flag, argument) in self.flags.iter() {
            match flag {
                b'O' => opaque(out, argument),
                b'k' => key(out, &key_of(self.request), self.binary_key()),
                _ => {}
            }
        }
    }

    fn remaining(&self, expiry: Expiry, out: &mut Vec<u8>) {
        match expiry.remaining(self.now) {
            Some(seconds) => number(out, b't', seconds.into()),
            None => out.extend_from_slice(b" t-1"),
        }
    }

    /// The argument of `flag` as an expiry. The parser has checked that it is a number.
    fn expiry(&self, flag: u8) -> Option<Expiry> {
        let argument = self.flags.argument(flag)?;
        let token = argument.split(u8::is_ascii_whitespace).find(|token| !token.is_empty())?;
        let seconds: i64 = std::str::from_utf8(token).ok()?.parse().ok()?;
        Some(Expiry::from_wire((seconds as i32).into(), self.now))
    }

    fn binary_key(&self) -> bool {
        matches!(self.request.keys, Keys::Base64(_))
    }
}

fn number(out: &mut Vec<u8>, flag: u8, number: u64) {
    out.extend_from_slice(&[b' ', flag]);
    render::decimal(out, number);
}

fn opaque(out: &mut Vec<u8>, argument: &[u8]) {
    out.extend_from_slice(b" O");
    out.extend_from_slice(argument);
}

fn key(out: &mut Vec<u8>, key: &[u8], binary: bool) {
    out.extend_from_slice(b" k");
    if !binary {
        return out.extend_from_slice(key);
    }
    base64::encode(key, |text| out.extend_from_slice(text));
    out.extend_from_slice(b" b");
}
