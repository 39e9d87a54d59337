//! Time as memcached counts it: whole seconds, and expiry times that are relative, absolute or past.

use fabric::time::Nanos;

/// The longest relative expiry in seconds (30 days); a larger number is a Unix time (`doc/protocol.txt`).
pub const MAX_RELATIVE_SECONDS: i64 = 60 * 60 * 24 * 30;

/// What the shell's clocks show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time.
    pub at: Nanos,
    /// Seconds since the Unix epoch.
    pub unix: u64,
}

impl Now {
    /// Monotonic whole seconds. They begin at 2, so that 0 can say "never" and 1 "already past".
    pub(crate) fn seconds(self) -> u32 {
        u32::try_from(self.at.0 / 1_000_000_000).unwrap_or(u32::MAX - 2) + 2
    }
}

/// When an item ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expiry(u32);

impl Expiry {
    /// Not by time.
    pub const NEVER: Expiry = Expiry(0);
    const PAST: Expiry = Expiry(1);

    /// Reads an expiry as a client writes it: 0 is never, a negative number is past, up to
    /// [`MAX_RELATIVE_SECONDS`] counts from now, and anything larger is a Unix time.
    pub fn from_wire(seconds: i64, now: Now) -> Self {
        if seconds == 0 {
            return Expiry::NEVER;
        }
        let from_now = match seconds {
            ..0 => return Expiry::PAST,
            0..=MAX_RELATIVE_SECONDS => seconds,
            _ => seconds.saturating_sub_unsigned(now.unix),
        };
        let end = i64::from(now.seconds()).saturating_add(from_now);
        Expiry(u32::try_from(end).map_or(if end < 0 { 1 } else { u32::MAX }, |end| end.max(1)))
    }

    /// Whether the end has come.
    pub fn is_past(self, now: Now) -> bool {
        self != Expiry::NEVER && self.0 <= now.seconds()
    }

    /// Whole seconds that are left; `None` if it never ends.
    pub fn remaining(self, now: Now) -> Option<u32> {
        (self != Expiry::NEVER).then(|| self.0.saturating_sub(now.seconds()))
    }

    /// Whether it ends, and does so before `other` (as `mg`'s `R` flag compares).
    pub(super) fn is_before(self, other: Expiry) -> bool {
        self != Expiry::NEVER && self.0 < other.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_is_relative_up_to_thirty_days_then_absolute_and_past_if_negative() {
        let now = Now { at: Nanos(5_000_000_000), unix: 1_700_000_000 };
        let remaining = |seconds| Expiry::from_wire(seconds, now).remaining(now);
        assert_eq!(remaining(0), None);
        assert_eq!(remaining(1), Some(1));
        assert_eq!(remaining(MAX_RELATIVE_SECONDS), Some(MAX_RELATIVE_SECONDS as u32));
        assert_eq!(remaining(1_700_000_060), Some(60));
        for past in [-1, i64::MIN, MAX_RELATIVE_SECONDS + 1, 1_699_999_999] {
            assert!(Expiry::from_wire(past, now).is_past(now), "{past}");
        }
        assert!(!Expiry::from_wire(i64::MAX, now).is_past(now));
    }

    #[test]
    fn an_item_ends_on_the_second_not_after_it() {
        let at = |seconds: u64| Now { at: Nanos(seconds * 1_000_000_000), unix: 0 };
        let expiry = Expiry::from_wire(2, at(10));
        assert!(!expiry.is_past(at(11)));
        assert!(expiry.is_past(at(12)));
    }
}
