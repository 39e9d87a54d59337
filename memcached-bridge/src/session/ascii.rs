//! The classic text commands (`doc/protocol.txt`).

use super::{COMPATIBLE_VERSION, OUTPUT_BYTES, key_of};
use crate::protocol::{Keys, ProtocolError, Request, Verb, render};
use crate::session::Server;
use crate::store::arithmetic::{Count, NotCounted};
use crate::store::read::Read;
use crate::store::remove::{Delete, Deleted};
use crate::store::write::{Mode, Stored, Write};
use crate::store::{Expiry, Now, Store};

/// The reply to counting what is no number.
pub(super) const NON_NUMERIC: &[u8] = b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n";

/// Answers `get`, `gets`, `gat` and `gats` until `out` is full enough. Returns how many bytes of the key list are
/// unanswered then.
pub(super) fn retrieve(request: &Request<'_>, server: &Server, now: Now, out: &mut Vec<u8>) -> Option<usize> {
    let touches = matches!(request.verb, Verb::Gat | Verb::Gats);
    let touch = touches.then(|| Expiry::from_wire(request.exptime, now));
    let mut keys = request.keys;
    while let Some(key) = keys.next() {
        server.store.read(&key, Read { touch, ..Read::default() }, now, |seen| {
            let cas = request.with_cas().then_some(seen.item.cas);
            render::value(out, &key, seen.item.flags, seen.item.value(), cas);
        });
        if out.len() >= OUTPUT_BYTES
            && let Keys::List(rest) = keys
        {
            return Some(rest.len());
        }
    }
    render::end(out);
    None
}

/// Answers every other classic command but `stats` and `quit`.
pub(super) fn answer(request: &Request<'_>, store: &Store, now: Now, out: &mut Vec<u8>) {
    let reply: &[u8] = match request.verb {
        Verb::Incr | Verb::Decr => return count(request, store, now, out),
        Verb::Version => {
            render::Sink::put(out, format!("VERSION {COMPATIBLE_VERSION}\r\n").as_bytes());
            return;
        }
        Verb::Set => write(Mode::Set, request, store, now),
        Verb::Add => write(Mode::Add, request, store, now),
        Verb::Replace => write(Mode::Replace, request, store, now),
        Verb::Append => write(Mode::Append, request, store, now),
        Verb::Prepend => write(Mode::Prepend, request, store, now),
        Verb::Cas => write(Mode::Cas, request, store, now),
        Verb::Delete => delete(request, store, now),
        Verb::Touch if store.touch(&key_of(request), Expiry::from_wire(request.exptime, now), now) => {
            b"TOUCHED\r\n"
        }
        Verb::Touch => b"NOT_FOUND\r\n",
        Verb::FlushAll => {
            store.flush_all(request.exptime, now);
            b"OK\r\n"
        }
        // The level is taken and not heeded: the node's own log has its own filter.
        Verb::Verbosity => b"OK\r\n",
        _ => return render::error(out, ProtocolError::UnknownCommand),
    };
    out.extend_from_slice(reply);
}

fn write(mode: Mode, request: &Request<'_>, store: &Store, now: Now) -> &'static [u8] {
    let write = Write {
        mode,
        key: &key_of(request),
        value: request.value,
        flags: request.flags,
        expiry: Expiry::from_wire(request.exptime, now),
        cas: request.cas.unwrap_or(0),
        accept_stale: false,
        binary_key: false,
    };
    match store.write(write, now) {
        Stored::Stored(_) => b"STORED\r\n",
        Stored::NotStored => b"NOT_STORED\r\n",
        Stored::Exists => b"EXISTS\r\n",
        Stored::NotFound => b"NOT_FOUND\r\n",
    }
}

fn delete(request: &Request<'_>, store: &Store, now: Now) -> &'static [u8] {
    let delete = Delete { key: &key_of(request), cas: None, invalidate: false, touch: None };
    match store.delete(delete, now) {
        Deleted::NotFound => b"NOT_FOUND\r\n",
        Deleted::Deleted | Deleted::Exists => b"DELETED\r\n",
    }
}

fn count(request: &Request<'_>, store: &Store, now: Now, out: &mut Vec<u8>) {
    let count = Count {
        key: &key_of(request),
        up: request.verb == Verb::Incr,
        delta: request.delta,
        cas: 0,
        vivify: None,
        touch: None,
    };
    match store.count(count, now, |counted| counted.number) {
        Ok(number) => {
            render::decimal(out, number);
            out.extend_from_slice(b"\r\n");
        }
        Err(NotCounted::NonNumeric) => out.extend_from_slice(NON_NUMERIC),
        Err(NotCounted::NotFound | NotCounted::Exists) => out.extend_from_slice(b"NOT_FOUND\r\n"),
    }
}
