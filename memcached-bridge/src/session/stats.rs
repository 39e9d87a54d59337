//! `stats`, and what a shell has to count for it.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};

use fabric::counters::Counters;

use super::{COMPATIBLE_VERSION, Server};
use crate::protocol::{ProtocolError, render};
use crate::store::Now;

/// What only the shell knows: the process and its sockets.
#[derive(Debug, Default)]
pub struct ServerFacts {
    /// The process id.
    pub pid: u32,
    /// Threads that serve.
    pub threads: usize,
    /// The most connections at a time.
    pub max_connections: usize,
    /// Monotonic nanoseconds at the start.
    pub started: Now,
    /// Connections open now.
    pub curr_connections: AtomicU64,
    /// Connections accepted since the start.
    pub total_connections: AtomicU64,
    /// Connections closed at once because there were too many.
    pub rejected_connections: AtomicU64,
    /// Bytes received.
    pub bytes_read: AtomicU64,
    /// Bytes sent.
    pub bytes_written: AtomicU64,
}

/// Answers the `stats` command in `line`.
pub(super) fn answer(line: &[u8], server: &Server, now: Now, out: &mut Vec<u8>) {
    let text = line.trim_ascii_end();
    let mut arguments = text.split(|&byte| byte == b' ').filter(|token| !token.is_empty()).skip(1);
    match arguments.next() {
        None => general(server, now, out),
        Some(b"reset") => {
            server.store.reset_counters();
            return out.extend_from_slice(b"RESET\r\n");
        }
        Some(b"settings") => settings(server, out),
        // There are no slab classes to tell about.
        Some(b"items" | b"slabs" | b"sizes" | b"conns") => {}
        Some(_) => return render::error(out, ProtocolError::UnknownCommand),
    }
    render::end(out);
}

fn general(server: &Server, now: Now, out: &mut Vec<u8>) {
    let Server { store, facts } = server;
    let usage = store.usage();
    let counted = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    stat(out, "pid", facts.pid);
    stat(out, "uptime", now.at.since(facts.started.at).as_secs());
    stat(out, "time", now.unix);
    stat(out, "version", COMPATIBLE_VERSION);
    stat(out, "smartswitch_version", env!("CARGO_PKG_VERSION"));
    stat(out, "pointer_size", usize::BITS);
    stat(out, "max_connections", facts.max_connections);
    stat(out, "curr_connections", counted(&facts.curr_connections));
    stat(out, "total_connections", counted(&facts.total_connections));
    stat(out, "rejected_connections", counted(&facts.rejected_connections));
    usage.counters.values(|index, value| stat(out, crate::store::StoreCounters::NAMES[index], value));
    stat(out, "bytes_read", counted(&facts.bytes_read));
    stat(out, "bytes_written", counted(&facts.bytes_written));
    stat(out, "limit_maxbytes", usage.limit_bytes);
    stat(out, "threads", facts.threads);
    stat(out, "bytes", usage.bytes);
    stat(out, "curr_items", usage.curr_items);
}

fn settings(server: &Server, out: &mut Vec<u8>) {
    let limits = server.store.limits();
    stat(out, "maxbytes", limits.memory_bytes);
    stat(out, "maxconns", server.facts.max_connections);
    stat(out, "evictions", "on");
    stat(out, "cas_enabled", "yes");
    stat(out, "item_size_max", limits.item_bytes);
    stat(out, "num_threads", server.facts.threads);
    stat(out, "binding_protocol", "ascii");
    stat(out, "flush_enabled", "yes");
}

fn stat(out: &mut Vec<u8>, name: &str, value: impl Display) {
    out.extend_from_slice(format!("STAT {name} {value}\r\n").as_bytes());
}
