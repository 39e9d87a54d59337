//! Replies over TCP: whole, and what they have to be.

use std::ops::Range;

use super::order::fingerprint;
use super::{Keys, Order};

/// Values up to this size are compared byte for byte; of larger ones only their first and last bytes, and one in
/// [`THOROUGH_ONE_IN`] as a whole, since the comparison would take as long as receiving them.
const THOROUGH_BYTES: usize = 1024;
const THOROUGH_ONE_IN: u32 = 16;

const END: &[u8] = b"END\r\n";

/// What every reply to the requests of an order looks like: all keys are there and have values of one size, so all
/// replies have one length.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// The line before the value of key 0, with its end.
    line: Vec<u8>,
    /// Where the key stands in it.
    key: Range<usize>,
    /// Where the part of the key stands in it that is the key's index.
    digits: Range<usize>,
    /// The value of key 0, with its end.
    value: Vec<u8>,
    value_bytes: usize,
    items: usize,
}

impl Layout {
    pub(super) fn of(order: &Order) -> Self {
        let keys = order.keys();
        let start = "VALUE ".len();
        Self {
            line: format!("VALUE {} 0 {}\r\n", keys.key(0), keys.value_bytes).into_bytes(),
            key: start..start + Keys::KEY_BYTES,
            digits: start + "v00000-".len()..start + Keys::KEY_BYTES,
            value: [&keys.value(0)[..], b"\r\n"].concat(),
            value_bytes: keys.value_bytes,
            items: order.keys_per_get(),
        }
    }

    /// Whether `line` is, as far as it goes, the line before a value.
    fn begins(&self, line: &[u8]) -> bool {
        let (before, after) = (self.digits.start, self.digits.end);
        let fits = |range: Range<usize>| {
            let end = range.end.min(line.len());
            line.get(range.start..end) == self.line.get(range.start..end)
        };
        let digits = &line[before.min(line.len())..after.min(line.len())];
        fits(0..before.min(line.len()))
            && digits.iter().all(u8::is_ascii_digit)
            && (line.len() <= after || fits(after..self.line.len()))
    }
}

/// A reply that is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, got {got:?}")]
pub(super) struct Unexpected {
    expected: &'static str,
    got: String,
}

impl Unexpected {
    fn new(expected: &'static str, got: &[u8]) -> Self {
        Self { expected, got: String::from_utf8_lossy(&got[..got.len().min(60)]).into_owned() }
    }
}

/// Reads the replies of one connection, piece by piece.
#[derive(Debug, Default)]
pub(super) struct ReplyReader {
    /// Whole items of the present reply.
    items: usize,
    /// The sum of their keys' fingerprints.
    fingerprint: u64,
    /// Bytes that have come of the present line.
    line: Vec<u8>,
    /// The present value, once its line is whole.
    value: Option<Value>,
    values: u32,
}

#[derive(Debug)]
struct Value {
    key: [u8; Keys::KEY_BYTES],
    /// Bytes that have come of it and of its end.
    at: usize,
    thorough: bool,
}

impl ReplyReader {
    /// Takes in the next bytes, and hands the sum of its keys' fingerprints to `ended` for each reply that they end.
    ///
    /// # Errors
    /// [`Unexpected`] for the first byte that no right reply has there.
    pub(super) fn read(
        &mut self,
        layout: &Layout,
        mut bytes: &[u8],
        mut ended: impl FnMut(u64),
    ) -> Result<(), Unexpected> {
        while !bytes.is_empty() {
            bytes = match self.value.take() {
                Some(value) => self.read_value(layout, value, bytes)?,
                None if self.items < layout.items => self.read_line(layout, bytes)?,
                None => {
                    let rest = self.read_end(bytes)?;
                    if self.line.is_empty() {
                        ended(std::mem::take(&mut self.fingerprint));
                        self.items = 0;
                    }
                    rest
                }
            };
        }
        Ok(())
    }

    fn read_line<'a>(&mut self, layout: &Layout, bytes: &'a [u8]) -> Result<&'a [u8], Unexpected> {
        let missing = layout.line.len() - self.line.len();
        let (piece, rest) = bytes.split_at(missing.min(bytes.len()));
        self.line.extend_from_slice(piece);
        if !layout.begins(&self.line) {
            return Err(Unexpected::new("the line before a value", &[&self.line, rest].concat()));
        }
        if self.line.len() < layout.line.len() {
            return Ok(rest);
        }
        let digits = &self.line[layout.digits.clone()];
        let index = digits.iter().fold(0, |index, digit| index * 10 + u64::from(digit - b'0'));
        self.fingerprint = self.fingerprint.wrapping_add(fingerprint(index));
        let mut key = [0; Keys::KEY_BYTES];
        key.copy_from_slice(&self.line[layout.key.clone()]);
        self.line.clear();
        self.values = self.values.wrapping_add(1);
        let thorough = layout.value_bytes <= THOROUGH_BYTES || self.values.is_multiple_of(THOROUGH_ONE_IN);
        self.value = Some(Value { key, at: 0, thorough });
        Ok(rest)
    }

    fn read_value<'a>(
        &mut self,
        layout: &Layout,
        mut value: Value,
        bytes: &'a [u8],
    ) -> Result<&'a [u8], Unexpected> {
        let missing = layout.value.len() - value.at;
        let (piece, rest) = bytes.split_at(missing.min(bytes.len()));
        if !value.fits(layout, piece) {
            return Err(Unexpected::new("the key's value", piece));
        }
        value.at += piece.len();
        if value.at < layout.value.len() {
            self.value = Some(value);
        } else {
            self.items += 1;
        }
        Ok(rest)
    }

    /// Reads the line after the last value, which stays empty while it is not whole.
    fn read_end<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Unexpected> {
        let (piece, rest) = bytes.split_at((END.len() - self.line.len()).min(bytes.len()));
        self.line.extend_from_slice(piece);
        if !END.starts_with(&self.line) {
            return Err(Unexpected::new("END", &[&self.line, rest].concat()));
        }
        if self.line.len() == END.len() {
            self.line.clear();
        }
        Ok(rest)
    }
}

impl Value {
    /// Whether `piece` is what comes next.
    fn fits(&self, layout: &Layout, piece: &[u8]) -> bool {
        let key_bytes = self.key.len().min(layout.value_bytes);
        let part = |range: Range<usize>, of: &[u8]| {
            let (start, end) = (range.start.max(self.at), range.end.min(self.at + piece.len()));
            start >= end || piece[start - self.at..end - self.at] == of[start..end]
        };
        let rest = if self.thorough { key_bytes } else { layout.value_bytes };
        part(0..key_bytes, &self.key) && part(rest..layout.value.len(), &layout.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::testing::reply;
    use proptest::prelude::*;

    fn order(items: usize, value_bytes: usize) -> Order {
        Order::zipf_of_several(Keys { count: 50, value_bytes }, items, 0.99, 3)
    }

    fn read(order: &Order, pieces: &[&[u8]]) -> Result<Vec<u64>, Unexpected> {
        let (layout, mut reader, mut ended) = (Layout::of(order), ReplyReader::default(), Vec::new());
        for piece in pieces {
            reader.read(&layout, piece, |fingerprint| ended.push(fingerprint))?;
        }
        Ok(ended)
    }

    #[test]
    fn an_error_or_a_miss_is_no_reply() {
        let (one, two) = (order(1, 8), order(2, 8));
        for wrong in [&b"SERVER_ERROR Host is down\r\n"[..], b"END\r\n", b"E", b"VALUE v00008-00000000x"] {
            assert!(read(&one, &[wrong]).is_err(), "{}", String::from_utf8_lossy(wrong));
        }
        assert!(read(&two, &[&reply(two.keys(), &[7])]).is_err(), "one key of two");
        assert!(read(&one, &[&reply(one.keys(), &[7, 8])]).is_err(), "two keys for one");
        assert!(
            read(&one, &[b"VALUE v00008-000000007 0 8\r\nv00008-1\r\nEND\r\n"]).is_err(),
            "another's value"
        );
    }

    #[test]
    fn a_large_value_is_compared_as_a_whole_now_and_then() {
        let order = order(1, 4096);
        let mut wrong = reply(order.keys(), &[7]);
        wrong[2000] ^= 1;
        let replies = wrong.repeat(THOROUGH_ONE_IN as usize);
        assert!(read(&order, &[&replies[..wrong.len()]]).is_ok());
        assert!(read(&order, &[&replies]).is_err());
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            value_bytes in 0_usize..80,
            gets in prop::collection::vec(prop::collection::vec(0_usize..50, 3), 1..4),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let order = order(3, value_bytes);
            let bytes: Vec<u8> = gets.iter().flat_map(|indices| reply(order.keys(), indices)).collect();
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            ends.push(bytes.len());
            ends.sort_unstable();
            let mut start = 0;
            let pieces: Vec<&[u8]> =
                ends.iter().map(|end| &bytes[std::mem::replace(&mut start, *end)..*end]).collect();
            let sums = gets.iter().map(|indices| {
                indices.iter().fold(0_u64, |sum, index| sum.wrapping_add(fingerprint(*index as u64)))
            });
            prop_assert_eq!(read(&order, &pieces), Ok(sums.collect()));
        }

        #[test]
        fn no_byte_can_be_wrong(at in any::<prop::sample::Index>(), flip in 1_u8.., value_bytes in 1_usize..80) {
            let order = order(2, value_bytes);
            let right = reply(order.keys(), &[7, 31]);
            let mut wrong = right.clone();
            wrong[at.index(right.len())] ^= flip;
            let right = read(&order, &[&right]);
            prop_assert_ne!(read(&order, &[&wrong]), right);
        }

        #[test]
        fn foreign_bytes_do_no_harm(bytes in any::<Vec<u8>>()) {
            let _ = read(&order(2, 8), &[&bytes]);
        }
    }
}
