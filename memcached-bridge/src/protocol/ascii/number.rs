//! Numbers as `strtol` and `strtoul` read them, which is how memcached does.
//!
//! White space and a sign may lead, anything may follow after white space, and what is too wide for the field but
//! not for 64 bits is cut down to it.

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// `(negative, magnitude)`; `None` if there are no digits, other bytes follow them, or 64 bits do not hold them.
fn read(token: &[u8]) -> Option<(bool, u64)> {
    let start = token.iter().position(|&byte| !is_space(byte))?;
    let (negative, digits) = match &token[start..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let mut magnitude = 0u64;
    let mut len = 0;
    for digit in digits.iter().take_while(|byte| byte.is_ascii_digit()) {
        magnitude = magnitude.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        len += 1;
    }
    let ends = digits.get(len).is_none_or(|&byte| is_space(byte));
    (len > 0 && ends).then_some((negative, magnitude))
}

/// An unsigned number of 64 bits. A negative one wraps around, but is refused if it then has its top bit set.
pub(in crate::protocol) fn u64_of(token: &[u8]) -> Option<u64> {
    let (negative, magnitude) = read(token)?;
    let value = if negative { magnitude.wrapping_neg() } else { magnitude };
    if value > i64::MAX as u64 && token.contains(&b'-') {
        return None;
    }
    Some(value)
}

/// An unsigned number, cut down to 32 bits.
pub(crate) fn u32_of(token: &[u8]) -> Option<u32> {
    u64_of(token).map(|value| value as u32)
}

/// A signed number, cut down to 32 bits.
pub(crate) fn i32_of(token: &[u8]) -> Option<i32> {
    let (negative, magnitude) = read(token)?;
    let value =
        if negative { 0i64.checked_sub_unsigned(magnitude)? } else { i64::try_from(magnitude).ok()? };
    Some(value as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each as memcached 1.6.18 took it (`set k <flags>`, `incr k <delta>`, `touch k <exptime>`).
    #[test]
    fn numbers_are_read_as_memcached_reads_them() {
        assert_eq!(u32_of(b"4294967295"), Some(u32::MAX));
        assert_eq!(u32_of(b"4294967296"), Some(0));
        assert_eq!(u32_of(b"18446744073709551616"), None);
        assert_eq!(u32_of(b"-1"), None);
        assert_eq!(u32_of(b"-18446744073709551615"), Some(1));
        assert_eq!(u32_of(b"+1"), Some(1));
        assert_eq!(u32_of(b"\t1"), Some(1));
        assert_eq!(u32_of(b"1\tz"), Some(1));
        assert_eq!(u32_of(b"\tz"), None);
        assert_eq!(u32_of(b"0x1"), None);
        assert_eq!(u32_of(b""), None);
        assert_eq!(u64_of(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(u64_of(b"18446744073709551615\t-"), None);
        assert_eq!(u64_of(b"-9223372036854775809"), Some(i64::MAX as u64));
        assert_eq!(i32_of(b"-1"), Some(-1));
        assert_eq!(i32_of(b"4294967297"), Some(1));
        assert_eq!(i32_of(b"9223372036854775807"), Some(-1));
        assert_eq!(i32_of(b"9223372036854775808"), None);
        assert_eq!(i32_of(b"-9223372036854775808"), Some(0));
        assert_eq!(i32_of(b"-9223372036854775809"), None);
    }
}
