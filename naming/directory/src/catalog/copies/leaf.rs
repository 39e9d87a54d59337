//! A run of names in order, packed.
//!
//! ```text
//! entry: shared   bytes that the name has in common with the name before it     varint
//!        rest     how many more follow                                           varint
//!        ....     those
//!        digest                                                                  32 bytes
//!        length   of the content                                                 varint
//!        count    of copies                                                      varint
//!        slot     of each holder, ascending                                      varint each
//! ```
//! Names of one block or stream differ in their last bytes, so an entry takes about 45 bytes. A lookup reads
//! half a leaf; a change moves the bytes behind it.

use std::cmp::Ordering;
use std::ops::Range;

use arrayvec::ArrayVec;
use naming::{Digest, Name, NameRef};
use prost::encoding::{decode_varint, encode_varint};

use crate::catalog::capacity::COPIES_OF_A_NAME;
use crate::catalog::checksum::Checksum;
use crate::catalog::chunk::Chunk;

/// Entries of a leaf at most.
const MAX_ENTRIES: usize = 96;
/// Bytes of a leaf that has more than one entry at most.
const MAX_BYTES: usize = 8 << 10;

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

/// Walks over a leaf.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    /// The name at hand.
    name: Vec<u8>,
    /// Where its entry begins, where its digest stands, and where the next entry begins.
    start: usize,
    value: usize,
    next: usize,
}

impl<'a> Cursor<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, name: Vec::new(), start: 0, value: 0, next: 0 }
    }

    /// Goes to the next entry. What a leaf holds was written by it, so nothing here fails.
    fn advance(&mut self) -> bool {
        let mut rest = &self.bytes[self.next..];
        if rest.is_empty() {
            return false;
        }
        self.start = self.next;
        let shared = varint(&mut rest);
        let (suffix, mut rest) = split(rest, varint);
        self.name.truncate(shared);
        self.name.extend(suffix);
        self.value = self.bytes.len() - rest.len();
        rest = &rest[Digest::LEN..];
        varint(&mut rest);
        for _ in 0..varint(&mut rest) {
            varint(&mut rest);
        }
        self.next = self.bytes.len() - rest.len();
        true
    }

    fn value(&self) -> &'a [u8] {
        &self.bytes[self.value..self.next]
    }
}

fn split(mut bytes: &[u8], len: impl Fn(&mut &[u8]) -> usize) -> (&[u8], &[u8]) {
    let len = len(&mut bytes);
    bytes.split_at(len)
}

fn varint(bytes: &mut &[u8]) -> usize {
    decode_varint(bytes).unwrap_or(0) as usize
}

impl Leaf {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn checksum(&self) -> Checksum {
        self.checksum
    }

    /// Bytes of memory it takes.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>() + self.bytes.capacity()
    }

    pub(super) fn get(&self, name: NameRef<'_>) -> Option<Entry> {
        let mut cursor = Cursor::new(&self.bytes);
        while cursor.advance() {
            match cursor.name[..].cmp(name.as_bytes()) {
                Ordering::Less => {}
                Ordering::Equal => return Entry::read(cursor.value()).map(|(entry, _)| entry),
                Ordering::Greater => return None,
            }
        }
        None
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Name, Entry)> + '_ {
        let mut cursor = Cursor::new(&self.bytes);
        std::iter::from_fn(move || {
            cursor.advance().then_some(())?;
            let name = NameRef::from_bytes(&cursor.name).ok()?.to_name();
            Some((name, Entry::read(cursor.value())?.0))
        })
    }

    /// Puts, replaces or removes what is recorded of `name`. Whether it came to stand behind all others.
    pub(super) fn set(&mut self, name: NameRef<'_>, entry: Option<&Entry>) -> bool {
        let name = name.as_bytes();
        let mut cursor = Cursor::new(&self.bytes);
        let mut before = Vec::new();
        // Where the change begins, and the entry behind it, whose name may share more or less now.
        let (mut start, mut old, mut behind) = (self.bytes.len(), None, None);
        while cursor.advance() {
            match cursor.name[..].cmp(name) {
                Ordering::Less => before.clone_from(&cursor.name),
                Ordering::Equal => {
                    start = cursor.start;
                    old = Some(Checksum::of_item(Chunk::Copies, name, cursor.value()));
                }
                Ordering::Greater => {
                    start = start.min(cursor.start);
                    behind = Some((cursor.name, cursor.value..cursor.next));
                    break;
                }
            }
        }
        let mut fresh = Vec::new();
        if let Some(entry) = entry {
            write_name(&mut fresh, &before, name);
            let value = fresh.len();
            entry.write(&mut fresh);
            self.checksum += Checksum::of_item(Chunk::Copies, name, &fresh[value..]);
        }
        let appended = old.is_none() && behind.is_none();
        let mut end = self.bytes.len();
        if let Some((next, Range { start: value, end: after })) = behind {
            write_name(&mut fresh, if entry.is_some() { name } else { &before }, &next);
            fresh.extend(&self.bytes[value..after]);
            end = after;
        }
        if let Some(old) = old {
            self.checksum -= old;
        }
        self.len = self.len + usize::from(entry.is_some()) - usize::from(old.is_some());
        let growth = fresh.len().saturating_sub(end - start);
        if self.bytes.capacity() - self.bytes.len() < growth {
            // In steps of an eighth, since most of a leaf's bytes come one entry at a time, and doubling
            // would leave a quarter empty.
            self.bytes.reserve_exact(growth + self.bytes.len() / 8);
        }
        self.bytes.splice(start..end, fresh);
        appended
    }

    /// If it is too full: cuts it, and gives the second part and its first name. Where names only ever come
    /// at the end (`appended`), the first part stays full.
    pub(super) fn overflow(&mut self, appended: bool) -> Option<(Name, Self)> {
        if self.len <= 1 || (self.len <= MAX_ENTRIES && self.bytes.len() <= MAX_BYTES) {
            return None;
        }
        let before = if appended { self.len - 1 } else { self.len / 2 };
        let mut cursor = Cursor::new(&self.bytes);
        for _ in 0..=before {
            cursor.advance();
        }
        let at = NameRef::from_bytes(&cursor.name).ok()?.to_name();
        let right = self.split_off(at.as_name());
        Some((at, right))
    }

    /// Takes the entries from `at` on.
    pub(super) fn split_off(&mut self, at: NameRef<'_>) -> Self {
        let (mut left, mut right) = (Builder::default(), Builder::default());
        for (name, entry) in self.iter() {
            let half = if name.as_name() < at { &mut left } else { &mut right };
            half.push(name.as_name(), &entry);
        }
        *self = left.finish();
        right.finish()
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
        write_name(&mut self.leaf.bytes, &self.last, name.as_bytes());
        let value = self.leaf.bytes.len();
        entry.write(&mut self.leaf.bytes);
        self.leaf.checksum += Checksum::of_item(Chunk::Copies, name.as_bytes(), &self.leaf.bytes[value..]);
        self.leaf.len += 1;
        name.as_bytes().clone_into(&mut self.last);
    }

    pub(super) fn finish(mut self) -> Leaf {
        self.leaf.bytes.shrink_to_fit();
        self.leaf
    }
}

fn write_name(out: &mut Vec<u8>, before: &[u8], name: &[u8]) {
    let shared = before.iter().zip(name).take_while(|(one, other)| one == other).count();
    encode_varint(shared as u64, out);
    encode_varint((name.len() - shared) as u64, out);
    out.extend(&name[shared..]);
}
