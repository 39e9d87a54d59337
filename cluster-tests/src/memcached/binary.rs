//! The binary protocol (`BinaryProtocolRevamped`).

use super::command::{Command, Item, Outcome};

const HEADER: usize = 24;
const REQUEST: u8 = 0x80;
const RESPONSE: u8 = 0x81;
/// An expiry that tells increment and decrement not to create the item.
const DO_NOT_CREATE: [u8; 4] = [0xff; 4];

pub(super) fn encode(key: &[u8], command: &Command) -> Vec<u8> {
    let stored_for = |seconds: u32, item: &Item| [item.flags.to_be_bytes(), seconds.to_be_bytes()].concat();
    let stored = |item: &Item| stored_for(0, item);
    let counted = |by: u64| [&by.to_be_bytes()[..], &[0; 8], &DO_NOT_CREATE].concat();
    let nothing: &[u8] = &[];
    match command {
        Command::Get | Command::Gets => request(0x00, key, nothing, nothing, 0),
        Command::Gat => request(0x1d, key, &[0; 4], nothing, 0),
        Command::Set(item) => request(0x01, key, &stored(item), &item.value, 0),
        Command::SetFor(item, seconds) => request(0x01, key, &stored_for(*seconds, item), &item.value, 0),
        Command::Add(item) => request(0x02, key, &stored(item), &item.value, 0),
        Command::Replace(item) => request(0x03, key, &stored(item), &item.value, 0),
        Command::Append(value) => request(0x0e, key, nothing, value, 0),
        Command::Prepend(value) => request(0x0f, key, nothing, value, 0),
        Command::Cas(item, unique) => request(0x01, key, &stored(item), &item.value, *unique),
        Command::Increment(by) => request(0x05, key, &counted(*by), nothing, 0),
        Command::Decrement(by) => request(0x06, key, &counted(*by), nothing, 0),
        Command::Delete => request(0x04, key, nothing, nothing, 0),
        Command::Touch => request(0x1c, key, &[0; 4], nothing, 0),
    }
}

fn request(opcode: u8, key: &[u8], extras: &[u8], value: &[u8], cas: u64) -> Vec<u8> {
    let body_len = (extras.len() + key.len() + value.len()) as u32;
    let mut bytes = vec![REQUEST, opcode];
    bytes.extend((key.len() as u16).to_be_bytes());
    bytes.extend([extras.len() as u8, 0, 0, 0]);
    bytes.extend(body_len.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(cas.to_be_bytes());
    [&bytes, extras, key, value].concat()
}

/// Reads a response; `None` while it is not complete.
pub(super) fn decode(command: &Command, reply: &[u8]) -> Option<Outcome> {
    let (header, rest) = reply.split_at_checked(HEADER)?;
    let body_len = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    let body = rest.get(..body_len as usize)?;
    if header[0] != RESPONSE {
        return Some(Outcome::Error(format!("magic {:#04x}", header[0])));
    }
    let cas = u64::from_be_bytes(header[16..24].try_into().ok()?);
    Some(match u16::from_be_bytes([header[6], header[7]]) {
        0x00 => success(command, header, body, cas),
        0x01 => Outcome::Absent,
        0x02 => Outcome::Exists,
        0x05 => Outcome::NotStored,
        0x06 => Outcome::NotANumber,
        status => Outcome::Error(format!("status {status:#06x} {}", String::from_utf8_lossy(body))),
    })
}

fn success(command: &Command, header: &[u8], body: &[u8], cas: u64) -> Outcome {
    let skipped = usize::from(header[4]) + usize::from(u16::from_be_bytes([header[2], header[3]]));
    let malformed = || Outcome::Error("a malformed success response".to_owned());
    match command {
        Command::Get | Command::Gets | Command::Gat => {
            let (Some(&[a, b, c, d]), Some(value)) = (body.first_chunk(), body.get(skipped..)) else {
                return malformed();
            };
            Outcome::Value { item: Item::new(u32::from_be_bytes([a, b, c, d]), value), cas: Some(cas) }
        }
        Command::Increment(_) | Command::Decrement(_) => {
            body.first_chunk().map_or_else(malformed, |number| Outcome::Number(u64::from_be_bytes(*number)))
        }
        _ => Outcome::Done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_get_request_of_the_specification() {
        let mut expected = vec![0x80, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 5];
        expected.extend([0; 12]);
        expected.extend(b"Hello");
        assert_eq!(encode(b"Hello", &Command::Get), expected);
    }

    #[test]
    fn the_get_response_of_the_specification() {
        let mut reply = vec![0x81, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        reply.extend([0xde, 0xad, 0xbe, 0xef]);
        reply.extend(b"World");
        let world = Outcome::Value { item: Item::new(0xdead_beef, "World"), cas: Some(1) };
        assert_eq!(decode(&Command::Get, &reply), Some(world));
        assert_eq!(decode(&Command::Get, &reply[..reply.len() - 1]), None);
        reply[7] = 1;
        assert_eq!(decode(&Command::Get, &reply), Some(Outcome::Absent));
    }
}
