//! The Internet checksum: whole (RFC 1071), from parts, and by increments (RFC 1624).

use std::net::{Ipv4Addr, Ipv6Addr};

/// The ones' complement sum of a run of bytes, taken as big-endian 16-bit words.
///
/// Sums of neighbouring runs combine in constant time with [`then`](Sum::then), at odd lengths too (RFC 1071,
/// section 2 (B)), so the sum of a body that is sent often can be kept beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    value: u16,
    odd: bool,
}

impl Sum {
    /// The sum of no bytes.
    pub const EMPTY: Sum = Sum { value: 0, odd: false };

    /// The sum of `bytes`; an odd last byte counts as the high half of a word.
    pub fn of(bytes: &[u8]) -> Sum {
        // Byte order does not matter to the sum (RFC 1071, section 2 (B)): add native words, swap once.
        let (words, rest) = bytes.as_chunks::<4>();
        let mut total: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        total += u64::from(u32::from_ne_bytes(last));
        Sum { value: u16::from_be(fold(total)), odd: bytes.len() % 2 == 1 }
    }

    /// The sum of four words, without a loop.
    #[inline(always)]
    pub fn of_four(words: [u8; 8]) -> Sum {
        let words = u64::from_ne_bytes(words);
        Sum { value: u16::from_be(fold((words & 0xffff_ffff) + (words >> 32))), odd: false }
    }

    /// The sum of a run of `len` bytes whose [`value`](Sum::value) is known.
    #[inline]
    pub fn of_run(value: u16, len: usize) -> Sum {
        Sum { value, odd: len % 2 == 1 }
    }

    /// The sum of one word.
    pub fn of_word(word: u16) -> Sum {
        Sum { value: word, odd: false }
    }

    /// The sum of this run with `next` right behind it.
    #[inline]
    #[must_use]
    pub fn then(self, next: Sum) -> Sum {
        let aligned = if self.odd { next.value.swap_bytes() } else { next.value };
        Sum { value: add(self.value, aligned), odd: self.odd ^ next.odd }
    }

    /// The sum of this run with `bytes` right behind it.
    #[must_use]
    pub fn then_bytes(self, bytes: &[u8]) -> Sum {
        self.then(Sum::of(bytes))
    }

    /// The sum itself: what a run that contains its own right checksum has as `0xffff`.
    #[inline]
    pub fn value(self) -> u16 {
        self.value
    }

    /// The checksum to put into a header.
    #[inline]
    pub fn checksum(self) -> u16 {
        !self.value
    }

    /// The checksum to put into a UDP header, where 0 means "none" and is sent as `0xffff` (RFC 768).
    #[inline]
    pub fn udp_checksum(self) -> u16 {
        or_all_ones(!self.value)
    }
}

/// Folds a sum of words to 16 bits, carries added back in. A number plus itself with its halves swapped has the sum of
/// both halves in its upper one, and the carry of that sum comes in from the lower one.
#[inline(always)]
pub(super) fn fold(sum: u64) -> u16 {
    let sum = (sum.wrapping_add(sum.rotate_left(32)) >> 32) as u32;
    (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16
}

#[inline]
fn add(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    sum + u16::from(carry)
}

#[inline]
pub(super) fn or_all_ones(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

/// The sum of the IPv4 pseudo header (RFC 768): addresses, protocol and L4 length.
pub fn pseudo_v4(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, l4_len: u16) -> Sum {
    let addresses = Sum::of(&src.octets()).then_bytes(&dst.octets());
    addresses.then(Sum::of_word(u16::from(protocol))).then(Sum::of_word(l4_len))
}

/// The sum of the IPv6 pseudo header (RFC 8200, section 8.1).
pub fn pseudo_v6(src: Ipv6Addr, dst: Ipv6Addr, protocol: u8, l4_len: u32) -> Sum {
    let addresses = Sum::of(&src.octets()).then_bytes(&dst.octets());
    addresses.then_bytes(&l4_len.to_be_bytes()).then(Sum::of_word(u16::from(protocol)))
}

/// The checksum after some of the words it covers changed from `old` to `new`: HC' = ~(~HC + ~m + m') (RFC 1624,
/// equation 3). The changed run must begin at an even offset of what is covered. For UDP, a checksum of 0 (none)
/// must be left alone by the caller.
pub fn adjust(checksum: u16, old: Sum, new: Sum) -> u16 {
    !add(add(!checksum, !old.value), new.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, word by word.
    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for word in bytes.chunks(2) {
            sum += u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    #[test]
    fn four_words_are_summed_like_any_bytes() {
        for words in [[0; 8], [0xff; 8], [0x12, 0x34, 0, 0, 0, 1, 0xfe, 0xdc]] {
            assert_eq!(Sum::of_four(words), Sum::of(&words));
        }
    }

    #[test]
    fn the_example_of_rfc_1071() {
        let sum = Sum::of(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.value(), 0xddf2);
        assert_eq!(sum.checksum(), 0x220d);
    }

    #[test]
    fn the_example_of_rfc_1624() {
        // Section 4: the result must be 0x0000, not 0xffff.
        assert_eq!(adjust(0xdd2f, Sum::of_word(0x5555), Sum::of_word(0x3285)), 0x0000);
    }

    #[test]
    fn a_udp_checksum_is_never_zero() {
        assert_eq!(Sum::of_word(0xffff).checksum(), 0);
        assert_eq!(Sum::of_word(0xffff).udp_checksum(), 0xffff);
    }

    #[test]
    fn the_longest_run_of_ones_does_not_overflow() {
        assert_eq!(Sum::of(&vec![0xff; 1 << 20]).value(), 0xffff);
        assert_eq!(fold(u64::MAX), 0xffff);
    }

    proptest! {
        #[test]
        fn sum_is_the_definition(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(Sum::of(&bytes).value(), naive(&bytes));
        }

        #[test]
        fn parts_sum_to_the_whole(bytes in prop::collection::vec(any::<u8>(), 0..300), cuts in prop::collection::vec(0_usize..300, 0..5)) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let whole = cuts.windows(2).fold(Sum::EMPTY, |sum, cut| sum.then(Sum::of(&bytes[cut[0]..cut[1]])));
            prop_assert_eq!(whole, Sum::of(&bytes));
        }

        #[test]
        fn adjusting_is_summing_anew(mut bytes in prop::collection::vec(any::<u8>(), 2..200), at in 0_usize..100, new in prop::collection::vec(any::<u8>(), 2..40)) {
            // Some word beside the changed one is not zero, as the version field of a header never is.
            bytes.extend([0x45, 0]);
            let at = (at * 2).min((bytes.len() - 2) & !1);
            let len = new.len().min(bytes.len() - at);
            prop_assume!(at + len <= bytes.len() - 2);
            let before = Sum::of(&bytes).checksum();
            let old = Sum::of(&bytes[at..at + len]);
            bytes[at..at + len].copy_from_slice(&new[..len]);
            prop_assert_eq!(adjust(before, old, Sum::of(&new[..len])), Sum::of(&bytes).checksum());
        }
    }
}
