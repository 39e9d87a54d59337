//! The classic text commands (`doc/protocol.txt`).

use super::{COMPATIBLE_VERSION, Scene, key_of};
use crate::protocol::{Keys, ProtocolError, Request, Verb, render};
use crate::store::arithmetic::{Count, NotCounted};
use crate::store::read::Read;
use crate::store::remove::{Delete, Deleted};
use crate::store::write::{Mode, Stored, Write};
use crate::store::{Busy, Entry, Expiry, Now};

/// The reply to counting what is no number.
pub(super) const NON_NUMERIC: &[u8] = b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n";

/// A retrieval that stopped before its last key.
#[derive(Debug)]
pub(super) struct Stopped {
    /// Bytes of the key list that are unanswered.
    pub(super) left: usize,
    pub(super) why: Stop,
}

/// Why a retrieval stops.
#[derive(Debug)]
pub(super) enum Stop {
    /// There is enough output for now.
    Enough,
    /// Another thread holds the next key's part of the store.
    Busy,
}

/// Answers `get`, `gets`, `gat` and `gats`.
pub(super) fn retrieve(request: &Request<'_>, scene: Scene<'_>, out: &mut Vec<u8>) -> Result<(), Stopped> {
    let touches = matches!(request.verb, Verb::Gat | Verb::Gats);
    let touch = touches.then(|| Expiry::from_wire(request.exptime, scene.now));
    let stopped = |keys, why| {
        let left = if let Keys::List(rest) = keys { rest.len() } else { 0 };
        Err(Stopped { left, why })
    };
    let mut keys = request.keys;
    loop {
        let unanswered = keys;
        let Some(key) = keys.next() else { break };
        let Ok(mut entry) = scene.entry(&key) else { return stopped(unanswered, Stop::Busy) };
        entry.read(Read { touch, ..Read::default() }, |seen| {
            let cas = request.with_cas().then_some(seen.item.cas);
            render::value(out, &key, seen.item.flags, seen.item.value(), cas);
        });
        if out.len() >= scene.enough && matches!(keys, Keys::List(_)) {
            return stopped(keys, Stop::Enough);
        }
    }
    render::end(out);
    Ok(())
}

/// Answers every other classic command but `stats` and `quit`.
pub(super) fn answer(request: &Request<'_>, scene: Scene<'_>, out: &mut Vec<u8>) -> Result<(), Busy> {
    match request.verb {
        Verb::Version => {
            render::Sink::put(out, format!("VERSION {COMPATIBLE_VERSION}\r\n").as_bytes());
        }
        Verb::FlushAll => {
            scene.store().flush_all(request.exptime, scene.now);
            out.extend_from_slice(b"OK\r\n");
        }
        // The level is taken and not heeded: the node's own log has its own filter.
        Verb::Verbosity => out.extend_from_slice(b"OK\r\n"),
        _ => {
            let key = key_of(request);
            answer_at(scene.entry(&key)?, request, scene.now, out);
        }
    }
    Ok(())
}

/// Answers a command that changes the item of one key.
fn answer_at(mut entry: Entry<'_>, request: &Request<'_>, now: Now, out: &mut Vec<u8>) {
    let reply: &[u8] = match request.verb {
        Verb::Incr | Verb::Decr => return count(&mut entry, request, out),
        Verb::Set => write(Mode::Set, &mut entry, request, now),
        Verb::Add => write(Mode::Add, &mut entry, request, now),
        Verb::Replace => write(Mode::Replace, &mut entry, request, now),
        Verb::Append => write(Mode::Append, &mut entry, request, now),
        Verb::Prepend => write(Mode::Prepend, &mut entry, request, now),
        Verb::Cas => write(Mode::Cas, &mut entry, request, now),
        Verb::Delete => match entry.delete(Delete::default()) {
            Deleted::NotFound => b"NOT_FOUND\r\n",
            Deleted::Deleted | Deleted::Exists => b"DELETED\r\n",
        },
        Verb::Touch if entry.touch(Expiry::from_wire(request.exptime, now)) => b"TOUCHED\r\n",
        Verb::Touch => b"NOT_FOUND\r\n",
        _ => return render::error(out, ProtocolError::UnknownCommand),
    };
    out.extend_from_slice(reply);
}

fn write(mode: Mode, entry: &mut Entry<'_>, request: &Request<'_>, now: Now) -> &'static [u8] {
    let write = Write {
        mode,
        value: request.value,
        flags: request.flags,
        expiry: Expiry::from_wire(request.exptime, now),
        cas: request.cas.unwrap_or(0),
        accept_stale: false,
        binary_key: false,
    };
    match entry.write(write) {
        Stored::Stored(_) => b"STORED\r\n",
        Stored::NotStored => b"NOT_STORED\r\n",
        Stored::Exists => b"EXISTS\r\n",
        Stored::NotFound => b"NOT_FOUND\r\n",
    }
}

fn count(entry: &mut Entry<'_>, request: &Request<'_>, out: &mut Vec<u8>) {
    let up = request.verb == Verb::Incr;
    let count = Count { up, delta: request.delta, cas: 0, vivify: None, touch: None };
    match entry.count(count, |counted| counted.number) {
        Ok(number) => {
            render::decimal(out, number);
            out.extend_from_slice(b"\r\n");
        }
        Err(NotCounted::NonNumeric) => out.extend_from_slice(NON_NUMERIC),
        Err(NotCounted::NotFound | NotCounted::Exists) => out.extend_from_slice(b"NOT_FOUND\r\n"),
    }
}
