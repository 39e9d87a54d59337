//! `stats` as a text command.

use std::io::Write as _;

use super::groups::Group;
use crate::protocol::{ProtocolError, render};
use crate::session::Scene;
use crate::store::Busy;

/// Answers the `stats` command in `line`, which comes without its end.
pub(in crate::session) fn answer(line: &[u8], scene: Scene<'_>, out: &mut Vec<u8>) -> Result<(), Busy> {
    let mut arguments = line.split(|&byte| byte == b' ').filter(|token| !token.is_empty()).skip(1);
    let group = match arguments.next() {
        None => Some(Group::General),
        Some(b"settings") => Some(Group::Settings),
        Some(b"conns") => Some(Group::Connections),
        Some(b"reset") => {
            scene.store().reset_counters_if(scene.patience)?;
            out.extend_from_slice(b"RESET\r\n");
            return Ok(());
        }
        Some(b"detail") => {
            out.extend_from_slice(detail(arguments.next()));
            return Ok(());
        }
        // As `memcached -X`: keys are not shown to whoever asks.
        Some(b"cachedump") => {
            out.extend_from_slice(b"CLIENT_ERROR stats cachedump not allowed\r\n");
            return Ok(());
        }
        Some(name) => Group::of_store(name),
    };
    let Some(group) = group else {
        render::error(out, ProtocolError::UnknownCommand);
        return Ok(());
    };
    group.rows(scene, &mut |name, value| {
        // A vector takes every byte.
        _ = write!(out, "STAT {name} {value}\r\n");
    })?;
    render::end(out);
    Ok(())
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
