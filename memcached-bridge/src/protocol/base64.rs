//! base64 as memcached reads it in keys (RFC 4648's alphabet).
//!
//! Its decoder skips bytes outside of the alphabet and stops behind the first padded group, so that many spellings
//! name one key. Reading it more strictly would let a write pass under a spelling that is not recognized.

use arrayvec::ArrayVec;

use super::MAX_KEY_LEN;

/// A key of 250 base64 characters decodes to at most so many bytes.
pub(crate) const DECODED_MAX: usize = MAX_KEY_LEN / 4 * 3;

/// A decoded key.
pub(crate) type Decoded = ArrayVec<u8, DECODED_MAX>;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const SKIP: u8 = 0x80;

const VALUES: [u8; 256] = {
    let mut values = [SKIP; 256];
    let mut i = 0;
    while i < ALPHABET.len() {
        values[ALPHABET[i] as usize] = i as u8;
        i += 1;
    }
    values[b'=' as usize] = 0;
    values
};

/// Decodes `text`; `None` if memcached would not, or if it is longer than a key.
pub(crate) fn decode(text: &[u8]) -> Option<Decoded> {
    if text.len() > MAX_KEY_LEN {
        return None;
    }
    let digits = || text.iter().copied().filter(|&byte| VALUES[byte as usize] != SKIP);
    let count = digits().count();
    if count == 0 || !count.is_multiple_of(4) {
        return None;
    }
    let mut decoded = Decoded::new();
    let mut digits = digits();
    while let (Some(a), Some(b), Some(c), Some(d)) =
        (digits.next(), digits.next(), digits.next(), digits.next())
    {
        let group = [a, b, c, d];
        let [a, b, c, d] = group.map(|digit| VALUES[digit as usize]);
        let padding = group.iter().filter(|&&digit| digit == b'=').count();
        let bytes = [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d];
        let kept = bytes.get(..3usize.checked_sub(padding)?).filter(|kept| !kept.is_empty())?;
        decoded.try_extend_from_slice(kept).ok()?;
        if padding > 0 {
            break;
        }
    }
    Some(decoded)
}

/// Encodes `bytes`, group by group.
pub(crate) fn encode(bytes: &[u8], mut put: impl FnMut(&[u8])) {
    for group in bytes.chunks(3) {
        let [a, b, c] = [group[0], group.get(1).copied().unwrap_or(0), group.get(2).copied().unwrap_or(0)];
        let digits = [a >> 2, (a & 3) << 4 | b >> 4, (b & 15) << 2 | c >> 6, c & 63];
        let mut text = digits.map(|digit| ALPHABET[digit as usize]);
        text[group.len() + 1..].fill(b'=');
        put(&text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What memcached 1.6.18 answered to `mg <text> b k`, or that it could not decode the key.
    #[test]
    fn decodes_what_memcached_decodes() {
        let table: [(&str, Option<&[u8]>); 14] = [
            ("Zm9v", Some(b"foo")),
            ("Zm9v!", Some(b"foo")),
            ("Z!g==", Some(b"f")),
            ("Zh==", Some(b"f")),
            ("Zm9=", Some(b"fo")),
            ("Zg==Zm9v", Some(b"f")),
            ("Zg=a", Some(b"f\0")),
            ("AA==", Some(b"\0")),
            ("Zm9", None),
            ("Zm9v=", None),
            ("====", None),
            ("Z===", None),
            ("!!!", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(decode(text.as_bytes()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn encoding_round_trips() {
        for len in 1..=DECODED_MAX {
            let bytes: Vec<u8> = (0..len).map(|i| (i * 37) as u8).collect();
            let mut text = Vec::new();
            encode(&bytes, |group| text.extend_from_slice(group));
            assert_eq!(decode(&text).as_deref(), Some(&bytes[..]));
        }
    }
}
