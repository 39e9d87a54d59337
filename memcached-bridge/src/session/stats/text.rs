//! `stats` as a text command.

use std::io::Write as _;

use super::groups::Group;
use crate::protocol::{ProtocolError, render};
use crate::session::Server;
use crate::store::Now;

/// Answers the `stats` command in `line`, which comes without its end.
pub(in crate::session) fn answer(line: &[u8], server: &Server, now: Now, out: &mut Vec<u8>) {
    let mut arguments = line.split(|&byte| byte == b' ').filter(|token| !token.is_empty()).skip(1);
    let group = match arguments.next() {
        None => Some(Group::General),
        Some(b"settings") => Some(Group::Settings),
        Some(b"conns") => Some(Group::Connections),
        Some(b"reset") => {
            server.store.reset_counters();
            return out.extend_from_slice(b"RESET\r\n");
        }
        Some(b"detail") => return out.extend_from_slice(detail(arguments.next())),
        // As `memcached -X`: keys are not shown to whoever asks.
        Some(b"cachedump") => return out.extend_from_slice(b"CLIENT_ERROR stats cachedump not allowed\r\n"),
        Some(name) => Group::of_store(name),
    };
    let Some(group) = group else { return render::error(out, ProtocolError::UnknownCommand) };
    group.rows(server, now, &mut |name, value| {
        // A vector takes every byte.
        _ = write!(out, "STAT {name} {value}\r\n");
    });
    render::end(out);
}

/// Statistics by prefix are not kept: they are off, and none are there.
fn detail(mode: Option<&[u8]>) -> &'static [u8] {
    match mode {
        Some(b"on") => b"SERVER_ERROR statistics by prefix are not kept\r\n",
        Some(b"off") => b"OK\r\n",
        Some(b"dump") => b"END\r\n",
        _ => b"CLIENT_ERROR usage: stats detail on|off|dump\r\n",
    }
}
