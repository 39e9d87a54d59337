//! The parser under an empty store, against what memcached 1.6.18 answered to the same bytes.

use crate::protocol::{Dialect, Protocol, Replies, Request, Step, Verb, render};

#[test]
fn answers_are_memcacheds() {
    let recorded = include_str!("recorded_replies/memcached.txt");
    let cases = recorded.lines().filter(|line| !line.starts_with('#'));
    let mut wrong = Vec::new();
    for (request, reply) in cases.map(|line| line.split_once('\t').unwrap()) {
        let answer = escape(&answer(&unescape(request)));
        if answer != reply {
            wrong.push(format!("{request}\n  memcached {reply}\n  parser    {answer}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const CLOSED: &[u8] = b"<closed>";

/// What a server with an empty store answers to `input`.
fn answer(mut input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        match Protocol::Text.parse(input) {
            Step::Incomplete => return out,
            Step::Complete { request, consumed } => {
                input = &input[consumed..];
                if request.verb == Verb::Quit {
                    out.extend(CLOSED);
                    return out;
                }
                reply(&request, &mut out);
            }
            Step::Invalid(invalid) if invalid.is_fatal() => {
                out.extend(CLOSED);
                return out;
            }
            Step::Invalid(invalid) => {
                // memcached sends the error once it has swallowed the value.
                let Some(rest) = input.get(invalid.consumed + invalid.swallow..) else { return out };
                input = rest;
                if !invalid.quiet {
                    render::error(&mut out, invalid.error);
                }
            }
        }
    }
}

fn reply(request: &Request<'_>, out: &mut Vec<u8>) {
    let usual = matches!(request.verb, Verb::MetaGet | Verb::MetaSet);
    match request.replies() {
        Replies::Never => return,
        Replies::Unusual if usual => return,
        _ => {}
    }
    let line: &[u8] = match request.verb {
        Verb::Get | Verb::Gets | Verb::Gat | Verb::Gats => b"END",
        Verb::Set | Verb::Add => b"STORED",
        Verb::Replace | Verb::Append | Verb::Prepend => b"NOT_STORED",
        Verb::Cas | Verb::Incr | Verb::Decr | Verb::Touch | Verb::Delete => b"NOT_FOUND",
        Verb::FlushAll | Verb::Verbosity => b"OK",
        Verb::Version => b"VERSION 1.6.18",
        Verb::Noop => b"MN",
        Verb::MetaGet | Verb::MetaDebug => b"EN",
        Verb::MetaSet => b"HD",
        Verb::MetaDelete | Verb::MetaArithmetic => b"NF",
        Verb::Stats | Verb::Quit | Verb::Sasl => panic!("not recorded"),
    };
    out.extend(line);
    if let Dialect::Meta(flags) = request.dialect {
        for (flag, argument) in flags.iter() {
            match flag {
                b'O' => out.extend([b" O", argument].concat()),
                b'k' => out.extend([b" k", &request.key().unwrap()[..]].concat()),
                _ => {}
            }
        }
    }
    out.extend(b"\r\n");
}

/// The fixture's escapes: `\r \n \t \0 \xNN` and `{k*251}`.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (byte, times, len) = match first {
            '\\' if rest[1..].starts_with('x') => (u8::from_str_radix(&rest[2..4], 16).unwrap(), 1, 4),
            '\\' => (b"\r\n\t\0"["rnt0".find(&rest[1..2]).unwrap()], 1, 2),
            '{' => {
                let (times, _) = rest[3..].split_once('}').unwrap();
                (rest.as_bytes()[1], times.parse().unwrap(), times.len() + 4)
            }
            other => (u8::try_from(other).unwrap(), 1, 1),
        };
        bytes.extend(std::iter::repeat_n(byte, times));
        rest = &rest[len..];
    }
    bytes
}

fn escape(bytes: &[u8]) -> String {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    text.replace('\r', "\\r").replace('\n', "\\n")
}
