//! Quiet requests: sent to the server in their loud form, and what the client is not told then.

use crate::protocol::binary::Header;
use crate::protocol::{Dialect, MetaFlags, Request, Verb};

/// Which replies the client did not ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quiet {
    /// It wants each.
    No,
    /// None, not even errors: `noreply`.
    Always,
    /// A reply that begins with this code: `EN` or `HD`.
    Code([u8; 2]),
    /// The number, or that there is one: `ma` with `q`.
    Counted,
    /// A binary reply with this status.
    Status(u16),
}

const KEY_NOT_FOUND: u16 = 1;

impl Quiet {
    /// What is not to be told of `request`. As memcached 1.6.18 does it.
    pub(super) fn of(request: &Request<'_>) -> Quiet {
        if !request.quiet {
            return Quiet::No;
        }
        match (request.dialect, request.verb) {
            (Dialect::Ascii, _) => Quiet::Always,
            (Dialect::Meta(_), Verb::MetaGet) => Quiet::Code(*b"EN"),
            (Dialect::Meta(_), Verb::MetaArithmetic) => Quiet::Counted,
            (Dialect::Meta(_), _) => Quiet::Code(*b"HD"),
            (Dialect::Binary { .. }, Verb::Get | Verb::Gat) => Quiet::Status(KEY_NOT_FOUND),
            (Dialect::Binary { .. }, _) => Quiet::Status(0),
        }
    }

    /// Whether the client is not told of a reply that begins so.
    pub(super) fn hides(self, reply: &[u8]) -> bool {
        match self {
            Quiet::No => false,
            Quiet::Always => true,
            Quiet::Code(code) => reply.starts_with(&code),
            Quiet::Counted => reply.starts_with(b"HD") || reply.starts_with(b"VA"),
            Quiet::Status(status) => Header::parse(reply).is_some_and(|header| header.status == status),
        }
    }
}

/// A counter that is made if it is missing says so in spite of `q`, and nothing in a loud reply tells that it was made.
/// Such a command is sent as it is, with `mn` behind it.
pub(super) fn needs_noop(request: &Request<'_>) -> bool {
    let Dialect::Meta(flags) = request.dialect else { return false };
    request.verb == Verb::MetaArithmetic && request.quiet && flags.has(b'N')
}

/// Appends the head of a text request that is `quiet` in its loud form.
pub(super) fn push_loud(out: &mut Vec<u8>, request: &Request<'_>, head: &[u8]) {
    let line = line(head);
    match request.dialect {
        Dialect::Meta(flags) => push_without_q(out, line, flags),
        _ => out.extend_from_slice(without_noreply(line)),
    }
    out.extend_from_slice(b"\r\n");
}

/// The line that memcached reads: up to its end or its first NUL.
fn line(head: &[u8]) -> &[u8] {
    let line = head.strip_suffix(b"\n").unwrap_or(head);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    line.split(|&byte| byte == 0).next().unwrap_or(line)
}

fn without_noreply(line: &[u8]) -> &[u8] {
    let trimmed = line.trim_suffix_spaces();
    trimmed.strip_suffix(b"noreply").unwrap_or(trimmed).trim_suffix_spaces()
}

fn push_without_q(out: &mut Vec<u8>, line: &[u8], flags: MetaFlags<'_>) {
    out.extend_from_slice(&line[..line.len() - flags.as_bytes().len()]);
    for token in flags.tokens().filter(|token| token[0] != b'q') {
        out.push(b' ');
        out.extend_from_slice(token);
    }
}

trait TrimSpaces {
    fn trim_suffix_spaces(&self) -> &Self;
}

impl TrimSpaces for [u8] {
    fn trim_suffix_spaces(&self) -> &[u8] {
        let end = self.iter().rposition(|&byte| byte != b' ').map_or(0, |last| last + 1);
        &self[..end]
    }
}

/// The opcode that asks the same as `opcode`, and for a reply in any case.
pub(super) fn loud_opcode(opcode: u8) -> u8 {
    match opcode {
        0x09 => 0x00,
        0x0d => 0x0c,
        0x11..=0x18 => opcode - 0x10,
        0x19 => 0x0e,
        0x1a => 0x0f,
        0x1e => 0x1d,
        0x24 => 0x23,
        loud => loud,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::binary::command;
    use crate::protocol::{Protocol, Step};

    fn loud(text: &str) -> String {
        let Step::Complete { request, consumed } = Protocol::Text.parse(text.as_bytes()) else {
            panic!("{text:?}");
        };
        assert!(request.quiet, "{text:?}");
        let mut out = Vec::new();
        let head = &text.as_bytes()[..consumed - request.value.len()];
        push_loud(&mut out, &request, head);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_requests_are_made_loud() {
        for (quiet, expected) in [
            ("delete a noreply\r\n", "delete a\r\n"),
            ("delete noreply noreply  \n", "delete noreply\r\n"),
            ("touch a 0 noreply\0 x\r\n", "touch a 0\r\n"),
            ("incr a 1 noreply\r\n", "incr a 1\r\n"),
            ("mg a q v\r\n", "mg a v\r\n"),
            ("mg q v q k\r\n", "mg q v k\r\n"),
            ("mg a q\r\n", "mg a\r\n"),
            ("md a  Oq  q I\r\n", "md a Oq I\r\n"),
        ] {
            assert_eq!(loud(quiet), expected);
        }
    }

    #[test]
    fn every_quiet_opcode_has_a_loud_one() {
        for opcode in 0..=u8::MAX {
            let Some(quiet) = command(opcode) else { continue };
            let loud = command(loud_opcode(opcode)).unwrap();
            assert_eq!((loud.verb, loud.returns_key), (quiet.verb, quiet.returns_key), "{opcode:#x}");
            assert!(!loud.quiet, "{opcode:#x}");
        }
    }
}
