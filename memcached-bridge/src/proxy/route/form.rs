//! What requests do and what replies say, as far as it matters to routes; and requests as those get them that follow a
//! decision.

use crate::protocol::binary::{HEADER_LEN, Header};
use crate::protocol::delimit::{Kind, Piece, Shape};
use crate::protocol::{Dialect, MetaFlags, Request, Verb, ascii, base64, render};
use crate::proxy::in_flight::InFlight;

/// What a request does to copies of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// The same whatever a copy has: it can go to all at once.
    Sets,
    /// It depends on what is there: one copy decides, and the others follow if it was done.
    Decides,
    /// It is a read that touches: it is answered by one, and the others do it, too.
    Touches,
    /// None.
    Reads,
}

impl Effect {
    pub(super) fn of(request: &Request<'_>) -> Self {
        use crate::protocol::Class;
        if request.class() == Class::Read {
            return Effect::Reads;
        }
        let is_plain = request.cas.is_none();
        match (request.verb, request.dialect) {
            (Verb::Gat | Verb::Gats | Verb::MetaGet, _) => Effect::Touches,
            (Verb::Set | Verb::Delete, _) if is_plain => Effect::Sets,
            (Verb::MetaSet, Dialect::Meta(flags)) if is_plain && mode_stores(flags) => Effect::Sets,
            (Verb::MetaDelete, _) if is_plain => Effect::Sets,
            _ => Effect::Decides,
        }
    }
}

/// Whether `ms` with these flags stores whatever is there.
fn mode_stores(flags: MetaFlags<'_>) -> bool {
    flags.mode().is_none_or(|mode| mode.eq_ignore_ascii_case(&b's'))
}

/// Appends `request`, whose loud form is `head` and `rest`, as a copy gets it when another one has done it: without the
/// condition that was met there, for what the copy has may be something else.
pub(super) fn push_followed(out: &mut Vec<u8>, request: &Request<'_>, head: &[u8], rest: &[u8]) {
    match request.dialect {
        Dialect::Binary { opcode, .. } => {
            let start = out.len();
            out.extend_from_slice(head);
            if let Some(place) = out.get_mut(start + HEADER_LEN - 8..start + HEADER_LEN) {
                place.fill(0);
            }
            out[start + 1] = match request.verb {
                Verb::Add | Verb::Replace => SET,
                _ => opcode,
            };
        }
        Dialect::Meta(flags) => push_meta(out, request, flags, head),
        Dialect::Ascii if matches!(request.verb, Verb::Add | Verb::Replace | Verb::Cas) => {
            push_set(out, head);
        }
        Dialect::Ascii => out.extend_from_slice(head),
    }
    out.extend_from_slice(rest);
}

const SET: u8 = 0x01;

/// `<verb> <key> <flags> <exptime> <bytes> ...` as a `set`.
fn push_set(out: &mut Vec<u8>, head: &[u8]) {
    out.extend_from_slice(b"set");
    for word in
        ascii::line_of(head).split(|&byte| byte == b' ').filter(|word| !word.is_empty()).skip(1).take(4)
    {
        out.push(b' ');
        out.extend_from_slice(word);
    }
    out.extend_from_slice(b"\r\n");
}

fn push_meta(out: &mut Vec<u8>, request: &Request<'_>, flags: MetaFlags<'_>, head: &[u8]) {
    let line = ascii::line_of(head);
    out.extend_from_slice(&line[..line.len() - flags.as_bytes().len()]);
    for token in flags.tokens() {
        let stays = match token[0] {
            b'C' => false,
            b'M' if request.verb == Verb::MetaSet => !matches!(token.get(1), Some(b'E' | b'e' | b'R' | b'r')),
            _ => true,
        };
        if stays {
            out.push(b' ');
            out.extend_from_slice(token);
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a text get like `request` for `key` alone.
pub(super) fn push_get(out: &mut Vec<u8>, request: &Request<'_>, key: &[u8]) {
    out.extend_from_slice(request.verb.name().as_bytes());
    if matches!(request.verb, Verb::Gat | Verb::Gats) {
        render::signed(out, request.exptime);
    }
    out.push(b' ');
    out.extend_from_slice(key);
    out.extend_from_slice(b"\r\n");
}

/// Appends a delete of `key` in text.
pub(super) fn push_delete(out: &mut Vec<u8>, key: &[u8]) {
    out.extend_from_slice(b"md ");
    if render::is_plain(key) {
        out.extend_from_slice(key);
        out.extend_from_slice(b"\r\n");
    } else {
        base64::encode(key, |group| out.extend_from_slice(group));
        out.extend_from_slice(b" b\r\n");
    }
}

/// Appends an addition of `key` in text, which does nothing if the key is there.
pub(super) fn push_add(out: &mut Vec<u8>, key: &[u8], flags: u32, exptime: u64, value: &[u8]) {
    out.extend_from_slice(b"ms ");
    let plain = render::is_plain(key);
    if plain {
        out.extend_from_slice(key);
    } else {
        base64::encode(key, |group| out.extend_from_slice(group));
    }
    out.push(b' ');
    render::decimal(out, value.len() as u64);
    out.extend_from_slice(if plain { b" ME F" } else { b" b ME F" });
    render::decimal(out, flags.into());
    out.extend_from_slice(b" T");
    render::decimal(out, exptime);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Whether a binary or text reply that begins so says that what was asked is done.
pub(super) fn is_done(is_binary: bool, reply: &[u8]) -> bool {
    if is_binary {
        return Header::parse(reply).is_some_and(|header| header.status == 0);
    }
    const DONE: [&[u8]; 7] = [b"STORED", b"DELETED", b"TOUCHED", b"OK", b"HD", b"VA ", b"MN"];
    reply.first().is_some_and(u8::is_ascii_digit) || DONE.iter().any(|done| reply.starts_with(done))
}

/// Whether a reply that begins so says that its key is not there.
pub(super) fn is_miss(front: &InFlight, piece: &Piece, bytes: &[u8]) -> bool {
    const KEY_NOT_FOUND: u16 = 1;
    match front.shape {
        Shape::Items => piece.kind == Kind::End,
        Shape::Meta => bytes.starts_with(b"EN") || bytes.starts_with(b"NF"),
        Shape::Line => bytes.starts_with(b"NOT_FOUND"),
        Shape::Binary => Header::parse(bytes).is_some_and(|header| header.status == KEY_NOT_FOUND),
        _ => false,
    }
}

/// Whether a reply that begins so may say that its key is not there, where it would have to be.
pub(super) fn is_unmet(front: &InFlight, piece: &Piece, bytes: &[u8]) -> bool {
    const NOT_STORED: u16 = 5;
    let needs_the_key = matches!(front.verb, Verb::Append | Verb::Prepend | Verb::Replace | Verb::MetaSet);
    let is_refused = match front.shape {
        Shape::Meta => bytes.starts_with(b"NS"),
        Shape::Line => bytes.starts_with(b"NOT_STORED"),
        Shape::Binary => Header::parse(bytes).is_some_and(|header| header.status == NOT_STORED),
        _ => false,
    };
    is_miss(front, piece, bytes) || needs_the_key && is_refused
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Head, Protocol};

    fn followed(protocol: Protocol, bytes: &[u8]) -> Vec<u8> {
        let Head::Complete { request, consumed, .. } = protocol.parse_head(bytes) else {
            panic!("{bytes:?}")
        };
        let (head, rest) = bytes.split_at(consumed);
        let mut out = Vec::new();
        push_followed(&mut out, &request, head, rest);
        out
    }

    #[test]
    fn who_follows_is_told_without_conditions() {
        for (asked, expected) in [
            ("add a 5 60 1\r\n1\r\n", "set a 5 60 1\r\n1\r\n"),
            ("cas  a 5 60  1 77\r\n1\r\n", "set a 5 60 1\r\n1\r\n"),
            ("replace a 5 -1 1\r\n1\r\n", "set a 5 -1 1\r\n1\r\n"),
            ("append a 5 60 1\r\n1\r\n", "append a 5 60 1\r\n1\r\n"),
            ("incr a 5\r\n", "incr a 5\r\n"),
            ("touch a 5\r\n", "touch a 5\r\n"),
            ("ms a 1 T60 ME F5\r\n1\r\n", "ms a 1  T60 F5\r\n1\r\n"),
            ("ms a 1 C7 MR\r\n1\r\n", "ms a 1\r\n1\r\n"),
            ("ms a 1 MA\r\n1\r\n", "ms a 1  MA\r\n1\r\n"),
            ("md a C7\r\n", "md a\r\n"),
            ("ma a N0 J5 D3 C7\r\n", "ma a  N0 J5 D3\r\n"),
        ] {
            let followed = String::from_utf8(followed(Protocol::Text, asked.as_bytes())).unwrap();
            let words = |text: &str| {
                text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>()
            };
            assert_eq!(words(&followed), words(expected), "{asked}");
        }
        let mut cas = vec![0x80, 0x03, 0, 1, 8, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 7];
        cas.extend([9; 8]);
        cas.extend([0; 8]);
        cas.extend(b"kv");
        let mut expected = cas.clone();
        expected[1] = SET;
        expected[16..24].fill(0);
        assert_eq!(followed(Protocol::Binary, &cas), expected);
    }

    #[test]
    fn what_depends_on_what_is_there_is_decided_by_one() {
        for (asked, effect) in [
            ("set a 0 0 1\r\n", Effect::Sets),
            ("delete a\r\n", Effect::Sets),
            ("ms a 1\r\n", Effect::Sets),
            ("ms a 1 MS\r\n", Effect::Sets),
            ("md a\r\n", Effect::Sets),
            ("ms a 1 ME\r\n", Effect::Decides),
            ("ms a 1 C5\r\n", Effect::Decides),
            ("md a C5\r\n", Effect::Decides),
            ("cas a 0 0 1 5\r\n", Effect::Decides),
            ("incr a 1\r\n", Effect::Decides),
            ("touch a 1\r\n", Effect::Decides),
            ("ma a\r\n", Effect::Decides),
            ("gat 0 a\r\n", Effect::Touches),
            ("mg a T0 v\r\n", Effect::Touches),
            ("mg a v\r\n", Effect::Reads),
            ("gets a\r\n", Effect::Reads),
        ] {
            let Head::Complete { request, .. } = Protocol::Text.parse_head(asked.as_bytes()) else {
                panic!("{asked}")
            };
            assert_eq!(Effect::of(&request), effect, "{asked}");
        }
    }
}
