//! Requests with a longer life for their item than the pool allows, with the pool's in its place.

use std::ops::Range;

use crate::protocol::ascii::{i32_of, line_of};
use crate::protocol::binary::HEADER_LEN;
use crate::protocol::{Dialect, MetaFlags, Request, Verb, render};

/// Up to here an expiry counts from now, beyond it is a Unix time (memcached's `REALTIME_MAXDELTA`).
pub const MAX_TTL_SECONDS: u32 = 60 * 60 * 24 * 30;
/// The binary expiry that makes no item, of `incr` and `decr`.
const DO_NOT_CREATE: i64 = u32::MAX as i64;

/// The longest life of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxTtl {
    /// In seconds; 1 to [`MAX_TTL_SECONDS`].
    pub seconds: u32,
}

impl MaxTtl {
    /// The head of `request`, which is in `head`, with what lives too long in it lowered. `None` if nothing does. `unix`
    /// is the time in seconds.
    ///
    /// An `ms` without a `T` gets one; if it had as many flags as there may be, what is returned is no request any more.
    pub fn lower(self, request: &Request<'_>, head: &[u8], unix: u64) -> Option<Vec<u8>> {
        match request.dialect {
            Dialect::Binary { .. } => self.lower_binary(request, head, unix),
            Dialect::Meta(flags) => self.lower_meta(request, flags, head, unix),
            Dialect::Ascii => self.lower_ascii(request, head, unix),
        }
    }

    fn is_exceeded(self, exptime: i64, unix: u64) -> bool {
        match u64::try_from(exptime) {
            Err(_) => false,
            Ok(0) => true,
            Ok(ttl) if ttl <= u64::from(MAX_TTL_SECONDS) => ttl > u64::from(self.seconds),
            Ok(at) => at > unix + u64::from(self.seconds),
        }
    }

    fn lower_binary(self, request: &Request<'_>, head: &[u8], unix: u64) -> Option<Vec<u8>> {
        let at = match request.verb {
            Verb::Set | Verb::Add | Verb::Replace => 4,
            Verb::Touch | Verb::Gat => 0,
            Verb::Incr | Verb::Decr if request.exptime != DO_NOT_CREATE => 16,
            _ => return None,
        };
        if !self.is_exceeded(request.exptime, unix) {
            return None;
        }
        let mut head = head.to_vec();
        head.get_mut(HEADER_LEN + at..)?
            .first_chunk_mut()
            .map(|place| *place = self.seconds.to_be_bytes())?;
        Some(head)
    }

    fn lower_ascii(self, request: &Request<'_>, head: &[u8], unix: u64) -> Option<Vec<u8>> {
        let index = match request.verb {
            Verb::Gat | Verb::Gats => 1,
            Verb::Touch => 2,
            Verb::Set | Verb::Add | Verb::Replace | Verb::Cas => 3,
            _ => return None,
        };
        if !self.is_exceeded(request.exptime, unix) {
            return None;
        }
        let token = tokens(head).nth(index)?;
        let mut lowered = head[..token.start].to_vec();
        render::decimal(&mut lowered, self.seconds.into());
        lowered.extend_from_slice(&head[token.end..]);
        Some(lowered)
    }

    /// `T` sets a life; `N` is that of an item which is made. What `ms` stores without a `T` lives for ever.
    fn lower_meta(
        self,
        request: &Request<'_>,
        flags: MetaFlags<'_>,
        head: &[u8],
        unix: u64,
    ) -> Option<Vec<u8>> {
        let exceeds = |flag: u8, argument: &[u8]| {
            // As the server reads it: what is too wide for 32 bits is cut down, and so may be 0 or small again.
            let ttl = i32_of(argument).map(i64::from);
            matches!(flag, b'T' | b'N') && ttl.is_none_or(|ttl| self.is_exceeded(ttl, unix))
        };
        let adds = request.verb == Verb::MetaSet && !flags.has(b'T');
        if !adds && !flags.iter().any(|(flag, argument)| exceeds(flag, argument)) {
            return None;
        }
        let line = line_of(head);
        let mut lowered = line[..line.len() - flags.as_bytes().len()].to_vec();
        for (flag, argument) in flags.iter() {
            lowered.extend_from_slice(&[b' ', flag]);
            match exceeds(flag, argument) {
                true => render::decimal(&mut lowered, self.seconds.into()),
                false => lowered.extend_from_slice(argument),
            }
        }
        if adds {
            lowered.extend_from_slice(b" T");
            render::decimal(&mut lowered, self.seconds.into());
        }
        lowered.extend_from_slice(b"\r\n");
        Some(lowered)
    }
}

/// Where the words of a command line are.
fn tokens(head: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let line = line_of(head);
    let mut at = 0;
    std::iter::from_fn(move || {
        at += line[at..].iter().position(|&byte| byte != b' ')?;
        let start = at;
        at += line[at..].iter().position(|&byte| byte == b' ').unwrap_or(line.len() - at);
        Some(start..at)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::{Head, Protocol};

    const UNIX: u64 = 1_700_000_000;
    const HOUR: MaxTtl = MaxTtl { seconds: 3600 };

    /// The head as it is sent on, if it is a request.
    fn sent(protocol: Protocol, input: &[u8]) -> Option<Vec<u8>> {
        let Head::Complete { request, consumed, .. } = protocol.parse_head(input) else { return None };
        let head = &input[..consumed];
        Some(HOUR.lower(&request, head, UNIX).unwrap_or_else(|| head.to_vec()))
    }

    #[test]
    fn text_requests_get_the_pools_life_if_theirs_is_longer() {
        for (asked, expected) in [
            ("set a 5 0 1\r\n", "set a 5 3600 1\r\n"),
            ("set a 5 3600 1 noreply\r\n", "set a 5 3600 1 noreply\r\n"),
            ("set  a 5  3601 1 noreply\r\n", "set  a 5  3600 1 noreply\r\n"),
            ("set a 5 -1 1\r\n", "set a 5 -1 1\r\n"),
            ("cas a 0 2592000 1 7\r\n", "cas a 0 3600 1 7\r\n"),
            ("add a 0 1700003600 1\r\n", "add a 0 1700003600 1\r\n"),
            ("add a 0 1700003601 1\r\n", "add a 0 3600 1\r\n"),
            ("touch a 0\r\n", "touch a 3600\r\n"),
            ("gats 99999 a b 0\r\n", "gats 3600 a b 0\r\n"),
            ("flush_all 0\r\n", "flush_all 0\r\n"),
            ("incr a 0\r\n", "incr a 0\r\n"),
            ("get a 0\r\n", "get a 0\r\n"),
            ("ms a 1\r\n", "ms a 1 T3600\r\n"),
            ("ms a 1 q T60 I\r\n", "ms a 1 q T60 I\r\n"),
            ("ms a 1 T0 q\r\n", "ms a 1 T3600 q\r\n"),
            ("ms a 1 MA N0 T60\r\n", "ms a 1 MA N3600 T60\r\n"),
            ("mg a v T0\r\n", "mg a v T3600\r\n"),
            ("mg a v R90000\r\n", "mg a v R90000\r\n"),
            ("mg a v\r\n", "mg a v\r\n"),
            ("ma YQ== b N0 J5\r\n", "ma YQ== b N3600 J5\r\n"),
            ("md a I T90000\r\n", "md a I T3600\r\n"),
            // 0, 2,000,000 and 60 to a server, which keeps 32 bits of it.
            ("ms a 1 T-4294967296\r\n", "ms a 1 T3600\r\n"),
            ("ma a N-4292967296\r\n", "ma a N3600\r\n"),
            ("mg a T4294967356\r\n", "mg a T4294967356\r\n"),
            ("me a\r\n", "me a\r\n"),
        ] {
            let sent = sent(Protocol::Text, asked.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(sent).unwrap(), expected, "{asked}");
        }
    }

    #[test]
    fn binary_requests_get_the_pools_life_if_theirs_is_longer() {
        let head = |opcode: u8, extras: &[u8]| {
            let mut head =
                vec![0x80, opcode, 0, 1, extras.len() as u8, 0, 0, 0, 0, 0, 0, extras.len() as u8 + 1];
            head.resize(HEADER_LEN, 0);
            [&head, extras, b"k"].concat()
        };
        let (never, hour, short) = ([0; 4], 3600u32.to_be_bytes(), 60u32.to_be_bytes());
        let counted = |expiry: [u8; 4]| [&[1; 16][..], &expiry].concat();
        for (opcode, asked, expected) in [
            (0x01, [[7; 4], never].concat(), [[7; 4], hour].concat()),
            (0x12, [[7; 4], short].concat(), [[7; 4], short].concat()),
            (0x1c, never.to_vec(), hour.to_vec()),
            (0x1d, never.to_vec(), hour.to_vec()),
            (0x05, counted(never), counted(hour)),
            (0x05, counted([0xff; 4]), counted([0xff; 4])),
            (0x00, Vec::new(), Vec::new()),
        ] {
            let sent = sent(Protocol::Binary, &head(opcode, &asked));
            assert_eq!(sent, Some(head(opcode, &expected)), "{opcode:#x}");
        }
    }

    proptest! {
        #[test]
        fn a_binary_request_differs_in_nothing_but_a_life_within_the_limit(
            opcode in 0u8..=0x24,
            extras in prop_oneof![Just(0usize), Just(4), Just(8), Just(20)],
            lives in proptest::collection::vec(prop_oneof![Just(0), Just(3600), Just(3601), any::<u32>()], 5),
            key in proptest::collection::vec(any::<u8>(), 1..20),
        ) {
            let mut head = vec![0x80, opcode, 0, key.len() as u8, extras as u8, 0, 0, 0, 0, 0, 0];
            head.push((extras + key.len()) as u8);
            head.resize(HEADER_LEN, 3);
            head.extend(lives.iter().flat_map(|life| life.to_be_bytes()).take(extras));
            head.extend_from_slice(&key);
            let Head::Complete { request, .. } = Protocol::Binary.parse_head(&head) else { return Ok(()) };
            let Some(lowered) = HOUR.lower(&request, &head, UNIX) else { return Ok(()) };
            let places: Vec<usize> = (0..head.len()).filter(|&at| head[at] != lowered[at]).collect();
            let (first, last) = (places[0], places[places.len() - 1]);
            prop_assert!(lowered.len() == head.len() && first >= HEADER_LEN && last / 4 == first / 4);
            let Head::Complete { request: other, consumed, .. } = Protocol::Binary.parse_head(&lowered) else {
                panic!("{lowered:?} is no request")
            };
            prop_assert_eq!((consumed, other.exptime), (lowered.len(), 3600));
        }

        /// Whatever is a request stays the same one; only flags may be too many with one more.
        #[test]
        fn what_is_lowered_is_the_same_request_and_needs_it_no_more(
            verb in "(set|add|cas|touch|gat|gats|ms|mg|ma|md|me|get|incr)",
            words in proptest::collection::vec("[a-zA-Z0-9=]{1,4}|0|-1|3601|2592001|T0|N0|T9999|T-4294967296|N-4292967296|q| ", 0..20),
        ) {
            let line = format!("{verb} {}\r\n", words.join(" "));
            let Head::Complete { request, .. } = Protocol::Text.parse_head(line.as_bytes()) else { return Ok(()) };
            let Some(lowered) = HOUR.lower(&request, line.as_bytes(), UNIX) else { return Ok(()) };
            match Protocol::Text.parse_head(&lowered) {
                Head::Complete { request: other, consumed, .. } => {
                    prop_assert_eq!(consumed, lowered.len());
                    prop_assert_eq!(HOUR.lower(&other, &lowered, UNIX), None);
                    prop_assert!(request.keys().eq(other.keys()));
                    let rest = |request: Request<'_>| (request.verb, request.flags, request.cas, request.delta, request.quiet);
                    prop_assert_eq!(rest(request), rest(other));
                }
                other => prop_assert!(verb == "ms" && words.len() > 17, "{other:?}"),
            }
        }
    }
}
