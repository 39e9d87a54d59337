//! A run of names in order, packed.
//!
//! ```text
//! entry: size     of the rest of the entry, in bytes                            varint
//!        shared   bytes that the name has in common with the name before it     varint
//!        rest     how many more follow                                           varint
//!        ....     those
//!        digest                                                                  32 bytes
//!        length   of the content                                                 varint
//!        count    of copies                                                      varint
//!        slot     of each holder, ascending                                      varint each
//! ```
//! Names of one block or stream differ in their last bytes, so an entry takes about 45 bytes. A lookup reads
//! the first bytes of half a leaf's entries; a change moves the bytes behind it.

use std::cmp::Ordering;
use std::ops::Range;

use arrayvec::ArrayVec;
use naming::{Digest, Name, NameRef};
use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};

use crate::catalog::capacity::COPIES_OF_A_NAME;
use crate::catalog::checksum::Checksum;
use crate::catalog::chunk::Chunk;

/// Entries of a leaf at most.
const MAX_ENTRIES: usize = 96;
/// Bytes of a leaf that has more than one entry at most.
const MAX_BYTES: usize = 8 << 10;
/// Bytes of what goes around a name with few copies.
const ROOM: usize = 64;

/// The holders of a name's copies: ascending.
pub(super) type Slots = ArrayVec<u32, COPIES_OF_A_NAME>;

/// What is recorded of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) digest: Digest,
    pub(super) length: u64,
    pub(super) slots: Slots,
}

impl Entry {
    /// Appends it in the form that leaves and snapshots have, and the checksum is made of.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.digest.as_bytes());
        encode_varint(self.length, out);
        encode_varint(self.slots.len() as u64, out);
        self.slots.iter().for_each(|slot| encode_varint((*slot).into(), out));
    }

    /// The entry that `bytes` begin with, and the bytes behind it; `None` if they begin with none.
    pub(super) fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (digest, mut rest) = bytes.split_first_chunk()?;
        let length = decode_varint(&mut rest).ok()?;
        let count = decode_varint(&mut rest).ok()?;
        let mut slots = Slots::new();
        for _ in 0..count {
            let slot = u32::try_from(decode_varint(&mut rest).ok()?).ok()?;
            let ascends = slots.last().is_none_or(|last| *last < slot);
            if !ascends || slots.try_push(slot).is_err() {
                return None;
            }
        }
        Some((Self { digest: Digest::from_bytes(*digest), length, slots }, rest))
    }
}

/// A run of names with their copies.
#[derive(Clone, Debug, Default)]
pub(super) struct Leaf {
    bytes: Vec<u8>,
    len: usize,
    checksum: Checksum,
}

/// An entry's parts, by where they begin.
#[derive(Clone, Copy, Debug)]
struct Parts {
    start: usize,
    /// Bytes of the name that are those of the name before it.
    shared: usize,
    /// The other bytes of the name.
    suffix: usize,
    value: usize,
    end: usize,
}

/// Where a name stands in a leaf, or would.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Bytes that it has in common with the name before it.
    shared: usize,
    found: Option<Parts>,
    /// The entry behind it, and the bytes that the two have in common.
    behind: Option<(Parts, usize)>,
}

/// The entry that begins at `start`. What a leaf holds was written by it, so nothing here fails.
fn parts(bytes: &[u8], start: usize) -> Parts {
    let mut rest = &bytes[start..];
    let size = varint(&mut rest);
    let end = bytes.len() - rest.len() + size;
    let shared = varint(&mut rest);
    let len = varint(&mut rest);
    let suffix = bytes.len() - rest.len();
    Parts { start, shared, suffix, value: suffix + len, end }
}

/// Almost all are of one byte.
#[inline]
fn varint(bytes: &mut &[u8]) -> usize {
    match *bytes {
        [byte @ ..0x80, rest @ ..] => {
            *bytes = rest;
            usize::from(*byte)
        }
        _ => decode_varint(bytes).unwrap_or(0) as usize,
    }
}

impl Leaf {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn checksum(&self) -> Checksum {
        self.checksum
    }

    /// Bytes of its entries.
    pub(super) fn packed(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of memory it takes.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>() + self.bytes.capacity()
    }

    /// Where `name` stands. Names in between are not put together to be compared: what an entry shares with
    /// the one before it tells how it stands to `name`, unless it shares exactly as much as that one does
    /// with `name`.
    pub(super) fn find(&self, name: NameRef<'_>) -> Place {
        let name = name.as_bytes();
        let (mut matched, mut start) = (0, 0);
        while start < self.bytes.len() {
            let entry = parts(&self.bytes, start);
            start = entry.end;
            match entry.shared.cmp(&matched) {
                Ordering::Greater => continue,
                Ordering::Less => {
                    return Place { shared: matched, found: None, behind: Some((entry, entry.shared)) };
                }
                Ordering::Equal => {}
            }
            let (suffix, rest) = (&self.bytes[entry.suffix..entry.value], &name[matched..]);
            let common = common_len(suffix, rest);
            match suffix[common..].cmp(&rest[common..]) {
                Ordering::Less => matched += common,
                Ordering::Equal => {
                    let next = (start < self.bytes.len()).then(|| parts(&self.bytes, start));
                    let behind = next.map(|next| (next, next.shared));
                    return Place { shared: matched, found: Some(entry), behind };
                }
                Ordering::Greater => {
                    return Place { shared: matched, found: None, behind: Some((entry, matched + common)) };
                }
            }
        }
        Place { shared: matched, found: None, behind: None }
    }

    /// What is recorded there.
    pub(super) fn at(&self, place: &Place) -> Option<Entry> {
        let found = place.found?;
        Entry::read(&self.bytes[found.value..found.end]).map(|(entry, _)| entry)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Name, Entry)> + '_ {
        let mut walk = Walk::new(&self.bytes);
        std::iter::from_fn(move || {
            let entry = walk.next()?;
            let value = Entry::read(&self.bytes[entry.value..entry.end])?.0;
            Some((NameRef::from_bytes(&walk.name).ok()?.to_name(), value))
        })
    }

    /// Tells the slot of each copy, without putting names together: a split asks it of all leaves.
    pub(super) fn each_slot(&self, mut tell: impl FnMut(u32)) {
        let mut start = 0;
        while start < self.bytes.len() {
            let entry = parts(&self.bytes, start);
            start = entry.end;
            let mut rest = &self.bytes[entry.value + Digest::LEN..entry.end];
            varint(&mut rest);
            for _ in 0..varint(&mut rest) {
                tell(varint(&mut rest) as u32);
            }
        }
    }

    /// Puts, replaces or removes what is recorded of `name`, which stands at `place`. Whether it came to
    /// stand behind all others.
    pub(super) fn set(&mut self, name: NameRef<'_>, place: Place, entry: Option<&Entry>) -> bool {
        let name = name.as_bytes();
        if let Some(found) = place.found {
            let value = &self.bytes[found.value..found.end];
            self.checksum -= Checksum::of_item(Chunk::Copies, name, value);
            self.len -= 1;
        }
        let mut value = Vec::with_capacity(ROOM);
        if let Some(entry) = entry {
            entry.write(&mut value);
            self.checksum += Checksum::of_item(Chunk::Copies, name, &value);
            self.len += 1;
        }
        match (place.found, entry.is_some()) {
            (Some(found), true) => {
                let mut fresh = Vec::with_capacity(name.len() + value.len() + ROOM);
                write_entry(&mut fresh, found.shared, &self.bytes[found.suffix..found.value], &value);
                self.splice(found.start..found.end, &fresh);
            }
            (Some(found), false) => self.cut(found, place.behind),
            (None, true) => self.insert(name, place, &value),
            (None, false) => {}
        }
        place.found.is_none() && place.behind.is_none()
    }

    /// Takes an entry out. The one behind it may have shared more with it than it does with the one before.
    fn cut(&mut self, entry: Parts, behind: Option<(Parts, usize)>) {
        let Some((next, shared)) = behind.filter(|(next, _)| next.shared > entry.shared) else {
            return self.splice(entry.start..entry.end, &[]);
        };
        let regained = &self.bytes[entry.suffix..entry.suffix + shared - entry.shared];
        let suffix = [regained, &self.bytes[next.suffix..next.value]].concat();
        let mut fresh = Vec::with_capacity(suffix.len() + next.end - next.value + ROOM);
        write_entry(&mut fresh, entry.shared, &suffix, &self.bytes[next.value..next.end]);
        self.splice(entry.start..next.end, &fresh);
    }

    /// Puts an entry in. The one behind it may share more with it than it does with the one before.
    fn insert(&mut self, name: &[u8], place: Place, value: &[u8]) {
        let room = name.len() + value.len() + ROOM;
        let Some((next, shared)) = place.behind else {
            let mut fresh = Vec::with_capacity(room);
            write_entry(&mut fresh, place.shared, &name[place.shared..], value);
            return self.splice(self.bytes.len()..self.bytes.len(), &fresh);
        };
        let mut fresh = Vec::with_capacity(room + next.end - next.start);
        write_entry(&mut fresh, place.shared, &name[place.shared..], value);
        let suffix = &self.bytes[next.suffix + shared - next.shared..next.value];
        write_entry(&mut fresh, shared, suffix, &self.bytes[next.value..next.end]);
        self.splice(next.start..next.end, &fresh);
    }

    fn splice(&mut self, range: Range<usize>, fresh: &[u8]) {
        let growth = fresh.len().saturating_sub(range.len());
        if self.bytes.capacity() - self.bytes.len() < growth {
            // In steps of an eighth, since most of a leaf's bytes come one entry at a time, and doubling
            // would leave a quarter empty.
            self.bytes.reserve_exact(growth + self.bytes.len() / 8);
        }
        self.bytes.splice(range, fresh.iter().copied());
    }

    /// If it is too full: cuts it, and gives the second part and its first name. Where names only ever come
    /// at the end (`appended`), the first part stays full.
    pub(super) fn overflow(&mut self, appended: bool) -> Option<(Name, Self)> {
        if self.len <= 1 || (self.len <= MAX_ENTRIES && self.bytes.len() <= MAX_BYTES) {
            return None;
        }
        let before = if appended { self.len - 1 } else { self.len / 2 };
        let mut walk = Walk::new(&self.bytes);
        let entry = (0..=before).try_fold(None, |_, _| walk.next().map(Some))??;
        let at = NameRef::from_bytes(&walk.name).ok()?.to_name();
        let right = self.split_at(entry, at.as_name());
        Some((at, right))
    }

    /// Takes the entries from `at` on.
    pub(super) fn split_off(&mut self, at: NameRef<'_>) -> Self {
        let mut walk = Walk::new(&self.bytes);
        while let Some(entry) = walk.next() {
            if *walk.name >= *at.as_bytes() {
                let first = walk.name;
                return NameRef::from_bytes(&first)
                    .map_or_else(|_| Self::default(), |first| self.split_at(entry, first));
            }
        }
        Self::default()
    }

    /// Takes the entries from this one on, whose name is `first`. Only they are hashed.
    fn split_at(&mut self, entry: Parts, first: NameRef<'_>) -> Self {
        let first = first.as_bytes();
        let mut right = Self::default();
        write_entry(&mut right.bytes, 0, first, &self.bytes[entry.value..entry.end]);
        right.bytes.extend(&self.bytes[entry.end..]);
        right.bytes.shrink_to_fit();
        let mut walk = Walk::new(&right.bytes);
        while let Some(entry) = walk.next() {
            let value = &right.bytes[entry.value..entry.end];
            right.checksum += Checksum::of_item(Chunk::Copies, &walk.name, value);
            right.len += 1;
        }
        self.bytes.truncate(entry.start);
        self.bytes.shrink_to_fit();
        self.checksum -= right.checksum;
        self.len -= right.len;
        right
    }
}

/// Puts the names of a leaf together, one after the other.
struct Walk<'a> {
    bytes: &'a [u8],
    start: usize,
    /// Of the entry that was last given.
    name: Vec<u8>,
}

impl<'a> Walk<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, start: 0, name: Vec::new() }
    }

    fn next(&mut self) -> Option<Parts> {
        (self.start < self.bytes.len()).then_some(())?;
        let entry = parts(self.bytes, self.start);
        self.start = entry.end;
        self.name.truncate(entry.shared);
        self.name.extend_from_slice(&self.bytes[entry.suffix..entry.value]);
        Some(entry)
    }
}

/// Packs names that come in order.
#[derive(Debug, Default)]
pub(super) struct Builder {
    leaf: Leaf,
    last: Vec<u8>,
}

impl Builder {
    pub(super) fn is_full(&self) -> bool {
        self.leaf.len >= MAX_ENTRIES || self.leaf.bytes.len() >= MAX_BYTES
    }

    pub(super) fn push(&mut self, name: NameRef<'_>, entry: &Entry) {
        let shared = common_len(&self.last, name.as_bytes());
        let mut value = Vec::with_capacity(ROOM);
        entry.write(&mut value);
        write_entry(&mut self.leaf.bytes, shared, &name.as_bytes()[shared..], &value);
        self.leaf.checksum += Checksum::of_item(Chunk::Copies, name.as_bytes(), &value);
        self.leaf.len += 1;
        name.as_bytes().clone_into(&mut self.last);
    }

    pub(super) fn finish(mut self) -> Leaf {
        self.leaf.bytes.shrink_to_fit();
        self.leaf
    }
}

fn common_len(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

fn write_entry(out: &mut Vec<u8>, shared: usize, suffix: &[u8], value: &[u8]) {
    let (shared, len) = (shared as u64, suffix.len() as u64);
    let size = encoded_len_varint(shared) + encoded_len_varint(len) + suffix.len() + value.len();
    encode_varint(size as u64, out);
    encode_varint(shared, out);
    encode_varint(len, out);
    out.extend_from_slice(suffix);
    out.extend_from_slice(value);
}
