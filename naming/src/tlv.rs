//! NDN's type-length-value encoding (NDN Packet Format 0.3, section "TLV").
//!
//! A number is one byte below 253, else a marker (253, 254, 255) and 2, 4 or 8 bytes, most significant first; only
//! the shortest form is valid. Shortest forms compare as the numbers do when compared byte by byte, which is what
//! makes [names](crate::name) cheap to compare.

use crate::NameError;

/// The type of a name element.
pub const NAME: u64 = 7;

/// A number and the bytes behind it.
pub(crate) type Read<'a, T> = Result<(T, &'a [u8]), NameError>;

/// Appends `number` in its shortest form.
pub fn write_number(out: &mut Vec<u8>, number: u64) {
    match number {
        0..=252 => out.push(number as u8),
        253..=0xffff => {
            out.push(253);
            out.extend((number as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(254);
            out.extend((number as u32).to_be_bytes());
        }
        _ => {
            out.push(255);
            out.extend(number.to_be_bytes());
        }
    }
}

/// Bytes that [`write_number`] takes.
pub const fn number_len(number: u64) -> usize {
    match number {
        0..=252 => 1,
        253..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

/// The number at the front of `bytes`, which begin `at` bytes into whatever is read, and the bytes behind it.
///
/// # Errors
/// If bytes are missing or there is a shorter form.
pub fn read_number(bytes: &[u8], at: usize) -> Result<(u64, &[u8]), NameError> {
    let (&first, rest) = bytes.split_first().ok_or(NameError::Truncated { missing: 1 })?;
    let len = match first {
        ..=252 => return Ok((first.into(), rest)),
        253 => 2,
        254 => 4,
        255 => 8,
    };
    let missing = NameError::Truncated { missing: len - rest.len().min(len) };
    let (number, rest) = rest.split_at_checked(len).ok_or(missing)?;
    let number = number.iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
    if number_len(number) != 1 + len {
        return Err(NameError::NotShortest { at });
    }
    Ok((number, rest))
}

/// The element at the front of `bytes`, which begin `at` bytes into whatever is read: its type and value, and the
/// bytes behind it.
///
/// # Errors
/// If bytes are missing or a number is not in its shortest form.
pub(crate) fn read_element(bytes: &[u8], at: usize) -> Read<'_, (u64, &[u8])> {
    let (kind, rest) = read_number(bytes, at)?;
    let (len, rest) = read_number(rest, at + bytes.len() - rest.len())?;
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    let missing = NameError::Truncated { missing: len.saturating_sub(rest.len()) };
    let (value, rest) = rest.split_at_checked(len).ok_or(missing)?;
    Ok(((kind, value), rest))
}

/// A non-negative integer as an element's value: 1, 2, 4 or 8 bytes.
pub fn integer(number: u64) -> Vec<u8> {
    let skip = match number {
        0..=0xff => 7,
        0x100..=0xffff => 6,
        0x1_0000..=0xffff_ffff => 4,
        _ => 0,
    };
    number.to_be_bytes()[skip..].to_vec()
}

/// The non-negative integer that `value` holds in its shortest form, if it does.
pub fn read_integer(value: &[u8]) -> Option<u64> {
    let number = value.iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
    let shortest = match value.len() {
        1 => true,
        2 => number > 0xff,
        4 => number > 0xffff,
        8 => number > 0xffff_ffff,
        _ => false,
    };
    shortest.then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbers() -> impl Strategy<Value = u64> {
        let edges =
            prop::sample::select(vec![0, 252, 253, 254, 255, 0xffff, 0x1_0000, 0xffff_ffff, u64::MAX]);
        prop_oneof![edges, any::<u64>(), 0..70_000_u64]
    }

    proptest! {
        #[test]
        fn numbers_come_back_and_compare_as_their_bytes(one in numbers(), other in numbers()) {
            let bytes = |number| {
                let mut out = Vec::new();
                write_number(&mut out, number);
                out
            };
            prop_assert_eq!(bytes(one).len(), number_len(one));
            let written = bytes(one);
            prop_assert_eq!(read_number(&written, 0), Ok((one, &[][..])));
            prop_assert_eq!(one.cmp(&other), bytes(one).cmp(&bytes(other)));
        }

        #[test]
        fn integers_come_back(number in numbers()) {
            prop_assert_eq!(read_integer(&integer(number)), Some(number));
        }

        #[test]
        fn whatever_is_read_is_written_the_same(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            if let Ok((number, rest)) = read_number(&bytes, 0) {
                let mut out = Vec::new();
                write_number(&mut out, number);
                prop_assert_eq!([&out, rest].concat(), bytes);
            }
        }
    }

    #[test]
    fn longer_forms_are_refused() {
        for bytes in [&[253, 0, 252][..], &[254, 0, 0, 255, 255], &[255, 0, 0, 0, 0, 255, 255, 255, 255]] {
            assert_eq!(read_number(bytes, 5), Err(NameError::NotShortest { at: 5 }), "{bytes:?}");
        }
        assert_eq!(read_number(&[253, 1], 0), Err(NameError::Truncated { missing: 1 }));
        assert_eq!(read_number(&[], 0), Err(NameError::Truncated { missing: 1 }));
        for value in [&[][..], &[0, 1], &[0, 0, 1], &[0, 0, 255, 255], &[0; 8]] {
            assert_eq!(read_integer(value), None, "{value:?}");
        }
    }
}
