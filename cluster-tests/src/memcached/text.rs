//! The text protocol and the meta commands (`protocol.txt`).

use super::command::{Command, Item, Outcome};
use std::collections::HashMap;

pub(super) fn encode(key: &[u8], command: &Command) -> Vec<u8> {
    let store_for = |seconds: u32, verb: &str, item: &Item, more: &str| {
        let tail = format!(" {} {seconds} {}{more}", item.flags, item.value.len());
        [verb.as_bytes(), b" ", key, tail.as_bytes(), b"\r\n", &item.value, b"\r\n"].concat()
    };
    let store = |verb: &str, item: &Item, more: &str| store_for(0, verb, item, more);
    let line = |before: &str, after: &str| [before.as_bytes(), key, after.as_bytes(), b"\r\n"].concat();
    let bare = |value: &Vec<u8>| Item { flags: 0, value: value.clone() };
    match command {
        Command::Get => line("get ", ""),
        Command::Gets => line("gets ", ""),
        Command::Gat => line("gat 0 ", ""),
        Command::Set(item) => store("set", item, ""),
        Command::SetFor(item, seconds) => store_for(*seconds, "set", item, ""),
        Command::Add(item) => store("add", item, ""),
        Command::Replace(item) => store("replace", item, ""),
        Command::Append(value) => store("append", &bare(value), ""),
        Command::Prepend(value) => store("prepend", &bare(value), ""),
        Command::Cas(item, unique) => store("cas", item, &format!(" {unique}")),
        Command::Increment(by) => line("incr ", &format!(" {by}")),
        Command::Decrement(by) => line("decr ", &format!(" {by}")),
        Command::Delete => line("delete ", ""),
        Command::Touch => line("touch ", " 0"),
    }
}

pub(super) fn encode_meta(key: &[u8], command: &Command) -> Vec<u8> {
    let store = |value: &[u8], flags: &str| {
        let tail = format!(" {}{flags}", value.len());
        [b"ms ", key, tail.as_bytes(), b"\r\n", value, b"\r\n"].concat()
    };
    let line = |verb: &str, flags: &str| [verb.as_bytes(), b" ", key, flags.as_bytes(), b"\r\n"].concat();
    match command {
        Command::Get => line("mg", " f v"),
        Command::Gets => line("mg", " f c v"),
        Command::Gat => line("mg", " f v T0"),
        Command::Set(item) => store(&item.value, &format!(" F{}", item.flags)),
        Command::SetFor(item, seconds) => store(&item.value, &format!(" F{} T{seconds}", item.flags)),
        Command::Add(item) => store(&item.value, &format!(" F{} ME", item.flags)),
        Command::Replace(item) => store(&item.value, &format!(" F{} MR", item.flags)),
        Command::Append(value) => store(value, " MA"),
        Command::Prepend(value) => store(value, " MP"),
        Command::Cas(item, unique) => store(&item.value, &format!(" F{} C{unique}", item.flags)),
        Command::Increment(by) => line("ma", &format!(" v D{by}")),
        Command::Decrement(by) => line("ma", &format!(" v MD D{by}")),
        Command::Delete => line("md", ""),
        Command::Touch => line("mg", " T0"),
    }
}

/// Reads a reply to one command in either encoding; `None` while it is not complete.
pub(super) fn decode(reply: &[u8]) -> Option<Outcome> {
    let (line, rest) = split_line(reply)?;
    let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
    Some(match words.as_slice() {
        ["VALUE", _key, flags, len, cas @ ..] => {
            let value = body(rest, len)?;
            rest.get(value.len() + 2..).filter(|tail| tail.starts_with(b"END\r\n"))?;
            let cas = cas.first().and_then(|cas| cas.parse().ok());
            Outcome::Value { item: Item::new(flags.parse().ok()?, value), cas }
        }
        ["VA", len, flags @ ..] => {
            let value = body(rest, len)?;
            let flag = |letter: char| flags.iter().find_map(|flag| flag.strip_prefix(letter));
            match (flag('f'), std::str::from_utf8(value).ok().and_then(|text| text.trim_end().parse().ok())) {
                (Some(client_flags), _) => {
                    let cas = flag('c').and_then(|cas| cas.parse().ok());
                    Outcome::Value { item: Item::new(client_flags.parse().ok()?, value), cas }
                }
                (None, Some(number)) => Outcome::Number(number),
                (None, None) => Outcome::Error(line.to_owned()),
            }
        }
        ["END" | "EN" | "NOT_FOUND" | "NF"] => Outcome::Absent,
        ["STORED" | "DELETED" | "TOUCHED" | "HD", ..] => Outcome::Done,
        ["NOT_STORED" | "NS", ..] => Outcome::NotStored,
        ["EXISTS" | "EX", ..] => Outcome::Exists,
        ["CLIENT_ERROR", "cannot", "increment", ..] => Outcome::NotANumber,
        [number] if number.bytes().all(|byte| byte.is_ascii_digit()) => Outcome::Number(number.parse().ok()?),
        _ => Outcome::Error(line.to_owned()),
    })
}

/// The items of a reply to `get` of several keys, and the keys in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    /// The items by key.
    pub items: HashMap<String, Item>,
    /// The keys in the order of the reply.
    pub order: Vec<String>,
}

/// Reads a reply to `get` or `gets` of any number of keys; `None` while it is not complete, an error if it is not
/// such a reply.
pub fn values(reply: &[u8]) -> Option<Result<Values, String>> {
    let (mut values, mut rest) = (Values::default(), reply);
    loop {
        let (line, after) = split_line(rest)?;
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["END"] => return Some(Ok(values)),
            ["VALUE", key, flags, len, ..] => {
                let value = body(after, len)?;
                let Ok(flags) = flags.parse() else { return Some(Err(line.to_owned())) };
                values.items.insert((*key).to_owned(), Item::new(flags, value));
                values.order.push((*key).to_owned());
                rest = &after[value.len() + 2..];
            }
            _ => return Some(Err(line.to_owned())),
        }
    }
}

fn split_line(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    Some((std::str::from_utf8(&bytes[..end]).unwrap_or("(not text)"), &bytes[end + 2..]))
}

/// The value that `rest` begins with, once it is there with its line end.
fn body<'a>(rest: &'a [u8], len: &str) -> Option<&'a [u8]> {
    let len: usize = len.parse().ok()?;
    rest.get(len..len + 2).filter(|end| *end == b"\r\n")?;
    Some(&rest[..len])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_in_both_encodings() {
        let value = |cas| Outcome::Value { item: Item::new(1, "abc"), cas };
        let replies: &[(&[u8], Option<Outcome>)] = &[
            (b"VALUE a 1 3\r\nabc\r\nEND\r\n", Some(value(None))),
            (b"VALUE a 1 3 9\r\nabc\r\nEND\r\n", Some(value(Some(9)))),
            (b"VALUE a 1 3\r\nabc\r\nEN", None),
            (b"VALUE a 1 3\r\nab", None),
            (b"VALUE a", None),
            (b"VA 3 f1 c9\r\nabc\r\n", Some(value(Some(9)))),
            (b"VA 2\r\n11\r\n", Some(Outcome::Number(11))),
            (b"END\r\n", Some(Outcome::Absent)),
            (b"EN\r\n", Some(Outcome::Absent)),
            (b"HD\r\n", Some(Outcome::Done)),
            (b"11\r\n", Some(Outcome::Number(11))),
            (b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n", Some(Outcome::NotANumber)),
            (b"SERVER_ERROR busy\r\n", Some(Outcome::Error("SERVER_ERROR busy".to_owned()))),
        ];
        for (reply, outcome) in replies {
            assert_eq!(decode(reply), *outcome, "{}", String::from_utf8_lossy(reply));
        }
    }

    #[test]
    fn several_values() {
        let reply = b"VALUE b 0 2\r\n\r\n\r\nVALUE a 7 1\r\nx\r\nEND\r\n";
        let read = values(reply).expect("complete").expect("values");
        assert_eq!(read.order, ["b", "a"]);
        assert_eq!(read.items["b"], Item::new(0, "\r\n"));
        assert!(values(&reply[..reply.len() - 1]).is_none());
        assert_eq!(values(b"ERROR\r\n"), Some(Err("ERROR".to_owned())));
    }
}
