//! The URI form of names (NDN Packet Format 0.3, section "NDN URI Scheme", and its naming conventions).
//!
//! Letters, digits and `-._~` stand for themselves, so does `:`; other bytes are `%XX`. A component of periods alone, or of no
//! bytes, is written with three periods more, so that none looks relative. Components that are not generic are `<type>=<value>`;
//! those that hold a number or a digest have names of their own.

use std::fmt::{self, Write as _};

use crate::component::{Component, ComponentType, DIGEST_LEN};
use crate::tlv::integer;
use crate::{Name, NameError, NameRef};

const SCHEME: &str = "ndn:";

/// Types that hold a number, and what they are called.
const NUMBERS: [(&str, ComponentType); 5] = [
    ("seg", ComponentType::SEGMENT),
    ("off", ComponentType::BYTE_OFFSET),
    ("v", ComponentType::VERSION),
    ("t", ComponentType::TIMESTAMP),
    ("seq", ComponentType::SEQUENCE),
];

/// Types that hold a digest, and what they are called.
const DIGESTS: [(&str, ComponentType); 2] =
    [("sha256digest", ComponentType::IMPLICIT_DIGEST), ("params-sha256", ComponentType::PARAMETERS_DIGEST)];

pub(crate) fn write(f: &mut fmt::Formatter<'_>, name: NameRef<'_>) -> fmt::Result {
    if name.is_empty() {
        return f.write_str("/");
    }
    name.components().try_for_each(|component| {
        f.write_str("/")?;
        write_component(f, component)
    })
}

fn write_component(f: &mut fmt::Formatter<'_>, component: Component<'_>) -> fmt::Result {
    let kind = component.kind();
    if let Some((word, _)) = DIGESTS.iter().find(|(_, digest)| *digest == kind) {
        write!(f, "{word}=")?;
        return component.value().iter().try_for_each(|byte| write!(f, "{byte:02x}"));
    }
    let word = NUMBERS.iter().find(|(_, number)| *number == kind);
    if let (Some((word, _)), Some(number)) = (word, component.number(kind)) {
        return write!(f, "{word}={number}");
    }
    if kind != ComponentType::GENERIC {
        write!(f, "{kind}=")?;
    }
    if component.value().iter().all(|byte| *byte == b'.') {
        f.write_str("...")?;
    }
    component.value().iter().try_for_each(|&byte| match is_plain(byte) {
        true => f.write_char(byte.into()),
        false => write!(f, "%{byte:02X}"),
    })
}

/// Stands for itself. `:` may, in a path that begins with `/` (RFC 3986, section 3.3), and is common in keys.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte)
}

pub(crate) fn parse(text: &str) -> Result<Name, NameError> {
    let path = text.strip_prefix(SCHEME).unwrap_or(text);
    let path = path.strip_prefix('/').ok_or_else(|| NameError::NoSlash(text.to_owned()))?;
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Ok(Name::root());
    }
    let parts = path.split('/').map(parse_component).collect::<Result<Vec<_>, _>>()?;
    let components = parts.iter().map(|(kind, value)| Component::typed(*kind, value));
    Name::of(components.collect::<Result<Vec<_>, _>>()?)
}

fn parse_component(text: &str) -> Result<(ComponentType, Vec<u8>), NameError> {
    if text.is_empty() {
        return Err(NameError::EmptyComponent(text.to_owned()));
    }
    let Some((word, value)) = text.split_once('=') else {
        return Ok((ComponentType::GENERIC, unescape(text, text)?));
    };
    if let Some((_, kind)) = NUMBERS.iter().find(|(other, _)| *other == word) {
        let number = decimal(value).ok_or_else(|| NameError::BadNumber(text.to_owned()))?;
        return Ok((*kind, integer(number)));
    }
    if let Some((_, kind)) = DIGESTS.iter().find(|(other, _)| *other == word) {
        let digest = hexadecimal(value).ok_or_else(|| NameError::BadDigest(text.to_owned()))?;
        return Ok((*kind, digest));
    }
    let number = decimal(word).ok_or_else(|| NameError::UnknownType(text.to_owned()))?;
    Ok((ComponentType::new(number)?, unescape(value, text)?))
}

fn decimal(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes: Option<Vec<u8>> = pairs.iter().map(hex_byte).collect();
    bytes.filter(|bytes| bytes.len() == DIGEST_LEN && rest.is_empty())
}

fn hex_byte([high, low]: &[u8; 2]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some((digit(*high)? << 4 | digit(*low)?) as u8)
}

/// The bytes of `text`, which is `component` or the part behind its type.
fn unescape(text: &str, component: &str) -> Result<Vec<u8>, NameError> {
    let error = |make: fn(String) -> NameError| make(component.to_owned());
    if text.bytes().all(|byte| byte == b'.') {
        let periods = text.strip_prefix("...").ok_or_else(|| error(NameError::Relative))?;
        return Ok(periods.into());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => {
                let (pair, after) =
                    after.split_first_chunk::<2>().ok_or_else(|| error(NameError::BadEscape))?;
                bytes.push(hex_byte(pair).ok_or_else(|| error(NameError::BadEscape))?);
                rest = after;
            }
            // Written by others without need, and unambiguous: the reserved characters a path may hold.
            _ if is_plain(byte) || b"!$&'()*+,;=@".contains(&byte) => bytes.push(byte),
            _ => return Err(error(NameError::BadCharacter)),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        text.parse::<Name>().unwrap_or_else(|error| panic!("{text}: {error}")).to_string()
    }

    #[test]
    fn what_is_written_is_read() {
        for text in [
            "/",
            "/mc/web/user:42",
            "/a/...",
            "/a/.....",
            "/a/%00%FF%2F%25",
            "/hdfs/c1/bp/17/v=3/seg=0",
            "/t=18446744073709551615/off=256/seq=65536",
            "/32=word/300=...",
            "/50=%00%01",
            "/sha256digest=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
        ] {
            assert_eq!(shown(text), text);
        }
        for (text, written) in [
            ("ndn:/a/b/", "/a/b"),
            ("/8=a", "/a"),
            ("/54=%03", "/v=3"),
            ("/a@b,c", "/a%40b%2Cc"),
            ("/%61%2e", "/a."),
            ("/8=a=b", "/a%3Db"),
        ] {
            assert_eq!(shown(text), written);
        }
    }

    #[test]
    fn what_is_no_name_says_why() {
        for (text, error) in [
            ("", "`` does not begin with `/`"),
            ("mc/web", "`mc/web` does not begin with `/`"),
            ("/a//b", "`` has an empty component; one without bytes is written `...`"),
            ("/a/..", "component `..` is relative; periods alone are written with three more of them"),
            ("/%6", "component `%6` has a `%` without two hexadecimal digits behind it"),
            ("/a b", "component `a b` has a character that must be written as `%XX`"),
            ("/seg=x", "component `seg=x` needs a decimal number of at most 64 bits behind `=`"),
            (
                "/v=18446744073709551616",
                "component `v=18446744073709551616` needs a decimal number of at most 64 bits behind `=`",
            ),
            ("/sha256digest=00", "component `sha256digest=00` needs 64 hexadecimal digits behind `=`"),
            ("/0=a", "component type 0 is not between 1 and 65535"),
            ("/65536=a", "component type 65536 is not between 1 and 65535"),
            ("/1=a", "a component of type 1 has 32 bytes, this one has 1"),
        ] {
            assert_eq!(text.parse::<Name>().unwrap_err().to_string(), error, "{text}");
        }
        assert!(matches!("/k=v".parse::<Name>(), Err(NameError::UnknownType(_))));
    }
}
