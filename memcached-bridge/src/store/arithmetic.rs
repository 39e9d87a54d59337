//! Counting in place: incr and decr.

use super::{Entry, Expiry, Item};

/// A request to count.
#[derive(Clone, Copy, Debug)]
pub struct Count {
    /// Up, or down to no less than 0.
    pub up: bool,
    /// By how much.
    pub delta: u64,
    /// The CAS asked for; 0 is none.
    pub cas: u64,
    /// If the key is missing, store this value, which ends so.
    pub vivify: Option<(u64, Expiry)>,
    /// A new end for the item, also for one that is made here.
    pub touch: Option<Expiry>,
}

/// What was counted, under the shard's lock.
#[derive(Debug)]
pub struct Counted<'a> {
    /// The number that is stored now.
    pub number: u64,
    /// The item, its end already moved if that was asked for.
    pub item: &'a Item,
    /// When it was to end before; never, if this request made it.
    pub expiry_before: Expiry,
    /// This request made it.
    pub created: bool,
}

/// Why nothing was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotCounted {
    /// The key is not there.
    NotFound,
    /// The value is no number.
    NonNumeric,
    /// The item has another CAS.
    Exists,
}

impl Entry<'_> {
    /// Counts, and hands the outcome to `see`, which must not call the store. Up wraps at 2^64, down
    /// stops at 0. A number with fewer digits than before is filled up with spaces, so the value's length stays.
    ///
    /// # Errors
    /// [`NotCounted`]; the store is then as it was.
    pub fn count<R>(&mut self, count: Count, see: impl FnOnce(Counted<'_>) -> R) -> Result<R, NotCounted> {
        let Some(slot) = self.find() else {
            let Some((initial, expiry)) = count.vivify else {
                self.count_miss(count.up);
                return Err(NotCounted::NotFound);
            };
            let item =
                Item::new(self.key, [initial.to_string().as_bytes(), b""], 0, count.touch.unwrap_or(expiry));
            let slot = self.link(None, item).0;
            let item = self.shard.table.item(slot);
            return Ok(see(Counted { number: initial, item, expiry_before: Expiry::NEVER, created: true }));
        };
        let old = self.shard.table.item(slot);
        if old.value().is_empty() {
            return Err(NotCounted::NonNumeric);
        }
        if count.cas != 0 && count.cas != old.cas {
            return Err(NotCounted::Exists);
        }
        let number = number(old.value()).ok_or(NotCounted::NonNumeric)?;
        let number =
            if count.up { number.wrapping_add(count.delta) } else { number.saturating_sub(count.delta) };
        let counters = &mut self.shard.counters;
        *(if count.up { &mut counters.incr_hits } else { &mut counters.decr_hits }) += 1;

        let digits = number.to_string();
        let item = self.shard.table.item_mut(slot);
        let slot = if digits.len() <= item.value().len() {
            let (head, tail) = item.value_mut().split_at_mut(digits.len());
            head.copy_from_slice(digits.as_bytes());
            tail.fill(b' ');
            item.cas = self.store.next_cas();
            slot
        } else {
            // A key that came in base64 goes out as it is from here on, as in memcached.
            let longer = Item::new(self.key, [digits.as_bytes(), b""], item.flags, item.expiry);
            self.link(Some(slot), longer).0
        };
        let item = self.shard.table.item_mut(slot);
        let expiry_before = item.expiry;
        if let Some(expiry) = count.touch {
            item.expiry = expiry;
        }
        Ok(see(Counted { number, item, expiry_before, created: false }))
    }

    fn count_miss(&mut self, up: bool) {
        let counters = &mut self.shard.counters;
        *(if up { &mut counters.incr_misses } else { &mut counters.decr_misses }) += 1;
    }
}

/// Reads a counter as memcached does, with C's `strtoull`: space before it, a plus sign, and anything behind a space
/// are let pass; a minus sign is not.
fn number(value: &[u8]) -> Option<u64> {
    let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let start = value.iter().position(|byte| !is_space(byte))?;
    let text = &value[start..];
    let text = text.strip_prefix(b"+").unwrap_or(text);
    let end = text.iter().position(is_space).unwrap_or(text.len());
    let digits = &text[..end];
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn counters_are_read_as_memcached_reads_them() {
        for (value, expected) in [
            (&b"10"[..], Some(10)),
            (b"10 ", Some(10)),
            (b"  10", Some(10)),
            (b"12 ab", Some(12)),
            (b"+12", Some(12)),
            (b"18446744073709551615", Some(u64::MAX)),
            (b"018446744073709551615", Some(u64::MAX)),
            (b"18446744073709551616", None),
            (b"-1", None),
            (b"+", None),
            (b"", None),
            (b"  ", None),
            (b"1a", None),
        ] {
            assert_eq!(number(value), expected, "{:?}", String::from_utf8_lossy(value));
        }
    }
}
